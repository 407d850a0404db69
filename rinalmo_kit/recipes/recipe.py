"""Recipes: an experiment as data, and how fields of it are changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .._utils.choices import did_you_mean
from .._utils.defaults import LANGUAGE_MODEL
from .._utils.given import of_kind
from .._utils.rows import parse
from ..model.config import Config
from ..model.metadata import LARGEST_SIZE
from ..model.tasks import TASKS

__all__ = ["PAPER", "Pretraining", "Recipe", "Schedule", "with_changes"]


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the run, as a share of its peak: linear warm-up, then a decay to a floor.

    Parameters
    ----------
    warmup_steps : int
        Steps from `warmup_from` to the peak.
    warmup_from : float
    decay : {"constant", "linear", "cosine"}
    decay_steps : int or None
        Length of the decay after the warm-up, after which the rate stays at the floor; None: to the end of the run.
    floor : float
        Share of the peak at the end of the decay.

    Examples
    --------
    >>> schedule = Schedule(decay="linear", decay_steps=100, floor=0.1)
    >>> [round(schedule.factor(step, total=500), 3) for step in (0, 50, 100, 400)]
    [1.0, 0.55, 0.1, 0.1]
    """

    warmup_steps: int = 0
    warmup_from: float = 0.0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    decay_steps: int | None = None
    floor: float = 1.0

    def factor(self, step: int, *, total: int, over: float | None = None) -> float:
        """Return the share of the peak rate at a step (from 0) of a run of `total` steps.

        Where a clock ends the run, `over` is the share of its time that is over, which the decay follows.
        """
        if step < self.warmup_steps:
            return self.warmup_from + (1 - self.warmup_from) * (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        steps = self.decay_steps or max(1, total - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / steps) if over is None else over
        fallen = progress if self.decay == "linear" else 0.5 * (1 - math.cos(math.pi * progress))
        return 1 - (1 - self.floor) * fallen


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune an encoder for a task, and how the result is scored.

    Parameters
    ----------
    name : str
    task : str
        Name in :data:`rinalmo_kit.model.tasks.TASKS`.
    dataset : str
        Name for :func:`rinalmo_kit.datasets.load_table`.
    target : str
        Column of the table that is learned.
    train, validation, test : str
        Which rows, as conditions on the table's columns (:func:`rinalmo_kit._utils.rows.parse`). ``@fold`` is the fold;
        ``length`` is the sequence's length and ``part`` a number 0–9 that depends on the sequence alone.
    loss : str
        One of the task's: for structures the mean cross-entropy over pairs of nucleotides (``"pairs"``), or their sum
        divided by the length (``"pairs-by-length"``); for classes ``"binary"`` (cross-entropy of one logit) or
        ``"classes"``; for numbers ``"mse"`` or ``"huber"`` (delta 1).
    metric : str
        The paper's headline score.
    epochs, batch_size : int
    lr : float
        Peak rate of the head.
    optimizer : {"adam", "adamw"}
    weight_decay : float
    schedule : Schedule
    unfreeze : tuple of (int, float)
        (epoch, share of the blocks): from this epoch on, this share of the blocks is trained, from the top, with
        the last LayerNorm. Shares are those of giga's 33 blocks, so that other depths are unfrozen alike.
    encoder_lr : float
        Rate of the encoder beside that of the head.
    train_embedding, train_beta : bool
        Whether the token embedding, and the beta of the SwiGLUs, are trained where the blocks are.
    best : str or None
        Keep the weights of the epoch with the highest of this validation score; None: the last.
    folds : int
    group : str or None
        Column by which test scores are also given.
    class_names : (str, str) or None
        What 0 and 1 of the target mean.
    experiment : str
        Scores of recipes with the same experiment are averaged, as the paper does with donor and acceptor.
    pad_to : int or None
        Tokens to pad to, for a regression head.
    window : int or None
        Show a classifier or a regression only so many nucleotides in the middle of each sequence.
    lowest : float or None
        Predictions below it are raised to it before they are scored.
    noise : int
        Per cent of random flanks around each sequence (paper, "boundary noise").
    balance : bool
        Resample the training rows of each class (paper, "ncRNA family classification").
    gradient_clip : float or None
    mutate : float
        Share of the base pairs and unpaired nucleotides that half of the structures have drawn anew in every epoch.
    max_lengths : tuple of int
        One entry an epoch, the last for all that follow: longer sequences are left out of it whole. Empty: all
        sequences in all epochs.
    unlabelled : int
        Of the examples with likely pairs (:mod:`reproduction.thermodynamics`), if any are given, each epoch takes so
        many in turn.
    steps : int or None
        Stop after this many steps, in the middle of an epoch if need be.
    seconds : float or None
        Stop after this time in training and let the learning rate follow it; `epochs` and `steps` are not looked at.
    map_entries : int or None
        For structures: batches of similar length whose maps, L × L padded to the longest, have at most so many
        entries, and at most `batch_size` sequences. On a GPU these go through the head together.
    ema : float or None
        Decay of a moving average of the weights, which is validated and what the run ends with; 0.998 is usual.
    start : str or Config
        Model to start from by default; a Config means random weights.
    source : str
        Where the recipe comes from.
    """

    name: str
    task: str
    dataset: str
    target: str
    train: str
    validation: str
    test: str
    loss: str
    metric: str
    epochs: int
    batch_size: int
    lr: float
    source: str
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    schedule: Schedule = Schedule()
    unfreeze: tuple[tuple[int, float], ...] = ((0, 1.0),)
    encoder_lr: float = 1.0
    train_embedding: bool = False
    train_beta: bool = True
    best: str | None = None
    folds: int = 1
    group: str | None = None
    class_names: tuple[str, str] | None = None
    experiment: str = ""
    pad_to: int | None = None
    window: int | None = None
    lowest: float | None = None
    noise: int = 0
    balance: bool = False
    gradient_clip: float | None = None
    mutate: float = 0.0
    max_lengths: tuple[int, ...] = ()
    unlabelled: int = 0
    steps: int | None = None
    seconds: float | None = None
    map_entries: int | None = None
    ema: float | None = None
    start: str | Config = LANGUAGE_MODEL

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            try:
                parse(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}={getattr(self, name)!r}: {error}") from error
        for name in ("pad_to", "window"):
            if (getattr(self, name) or 0) > LARGEST_SIZE:  # as the file of the model could not say
                raise ValueError(f"{name}={getattr(self, name)}: expected at most {LARGEST_SIZE:,}")

    def describe(self) -> str:
        """Return a few lines on what the recipe does and where it comes from."""
        unfrozen = ", ".join(
            f"{share:.0%} of the blocks from epoch {epoch}" for epoch, share in self.unfreeze
        )
        folds = f", {self.folds} folds" if self.folds > 1 else ""
        length = f"{self.seconds:g} s" if self.seconds else f"{self.epochs} epochs"
        return (
            f"{self.name}: {self.task} on {self.dataset} ({self.target}), scored by {self.metric}{folds}\n"
            f"  {length}, batch {self.batch_size}, {self.optimizer} {self.lr:g}, {self.loss} loss; "
            f"trained: head, {unfrozen or 'no block'}\n  {self.source}"
        )


def _text(lines: str) -> str:
    return " ".join(lines.split())


LEAST = {
    "mutate": 0,
    "unlabelled": 0,
    "epochs": 1,
    "batch_size": 1,
    "steps": 1,
    "folds": 1,
    "pad_to": 1,
    "window": 1,
    "map_entries": 1,
    "lr": 0,
    "encoder_lr": 0,
}


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with other values in some of its fields.

    Raises
    ------
    ValueError
        For an unknown field, or a value that it cannot have; says which it can.

    Examples
    --------
    >>> from rinalmo_kit.recipes import RECIPES
    >>> with_changes(RECIPES["mrl"], {"epochs": 3}).epochs
    3
    >>> with_changes(RECIPES["mrl"], {"epochs": "three"})
    Traceback (most recent call last):
    ...
    ValueError: epochs='three': expected a whole number, 1 or more
    """
    kinds = get_type_hints(Recipe)
    of_kind("changes", changes, Mapping, "a dict of fields and values")
    for name, value in changes.items():
        if name not in kinds:
            raise ValueError(
                f"the recipe has no field {name!r}{did_you_mean(name, kinds)}; it has {', '.join(sorted(kinds))}"
            )
        wanted = _expected(name, kinds[name], value)
        if name == "best" and value is not None and value not in (known := TASKS[recipe.task].monitors):
            wanted = f"None or one of {', '.join(known)}"
        if name in ("task", "loss"):
            losses = dict.fromkeys(loss for task in TASKS.values() for loss in task.losses)
            known = tuple(TASKS if name == "task" else losses)
            wanted = "" if value in known else f"one of {', '.join(known)}"
        if wanted:
            raise ValueError(f"{name}={value!r}: expected {wanted}")
    return replace(recipe, **changes)


def _expected(name: str, kind: Any, value: Any) -> str:
    """Return what a field takes, if it does not take this value; else an empty text."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and NoneType in kinds:
        return ""
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return "" if value in get_args(kind) else f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return "" if isinstance(value, tuple | list) else "several values, as in (1, 2)"
    if kind in (int, float):
        fits = isinstance(value, int | kind) and not isinstance(value, bool)
        if fits and math.isfinite(value) and value >= LEAST.get(name, -math.inf):
            return ""
        least = f", {LEAST[name]} or more" if name in LEAST else ""
        return ("a whole number" if kind is int else "a number") + least
    if isinstance(value, kinds):
        return ""
    return {bool: "True or False", str: "text"}.get(kind, f"a {kind.__name__}")


@dataclass(frozen=True)
class Pretraining:
    """The paper's pretraining, as data.

    Attributes
    ----------
    mask_fraction, mask_token_prob, random_token_prob : float
        Share of the tokens that are predicted, and of these the shares that are masked or replaced by another
        letter; the rest stays as it is (paper, "Pre-training").
    max_tokens : int
        Longer sequences are cropped (spec §6).
    sequences_per_gpu, gpus : int
        "The batch size was set to 192 per GPU", of seven.
    steps : int
        Length of the cosine in the released configuration (spec §6); the paper does not say how long it trained.
    warmup_steps, warmup_from : int, float
        "During the warm-up period, learning rate increases from 1e-7 to 5e-5 for 2000 steps".
    final_lr : float
        "For the cosine annealing schedule, the minimum learning rate was set to 1e-5".
    weight_decay : float
        Of AdamW, in the released configuration (spec §6), for all parameters, biases and norms among them.
    gradient_clip_norm : float
        "The gradient norm was clipped to 1.0".
    """

    mask_fraction: float = 0.15
    mask_token_prob: float = 0.8
    random_token_prob: float = 0.1
    max_tokens: int = 1024
    sequences_per_gpu: int = 192
    gpus: int = 7
    steps: int = 200_000
    warmup_steps: int = 2000
    warmup_from: float = 1e-7
    final_lr: float = 1e-5
    weight_decay: float = 0.01
    gradient_clip_norm: float = 1.0

    @property
    def tokens_per_batch(self) -> int:
        """Tokens of a batch, if all its sequences are of full length."""
        return self.sequences_per_gpu * self.gpus * self.max_tokens

    def lr(self, config: Config) -> float:
        """Return the peak learning rate: 5e-5 for giga (paper), 1e-4 for smaller ones (released, spec §6)."""
        return 5e-5 if config.dim >= Config.giga().dim else 1e-4


PAPER = Pretraining()
"""The paper's pretraining."""
