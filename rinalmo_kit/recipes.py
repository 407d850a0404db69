"""The paper's training as data: one frozen dataclass entry per experiment, with where each choice comes from.

:func:`rinalmo_kit.finetune` carries a recipe out, :func:`rinalmo_kit.evaluate` scores it the paper's way;
:func:`rinalmo_kit.pretrain` follows :data:`PAPER`.
Where the paper's text and the official code differ (spec §7), the entry's ``source`` says which it follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .metadata import LARGEST_SIZE
from .model import Config
from .rows import parse
from .tables import FAMILIES

__all__ = [
    "PAPER",
    "RECIPES",
    "RECIPES_OF_PAPER",
    "Pretraining",
    "Recipe",
    "Schedule",
    "changed",
    "recipe_named",
]


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the run, as a share of its peak: linear warm-up, then a decay to a floor.

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

    def factor(self, step: int, *, total: int) -> float:
        """Share of the peak rate at a step (from 0) of a run of `total` steps."""
        if step < self.warmup_steps:
            return self.warmup_from + (1 - self.warmup_from) * (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        steps = self.decay_steps or max(1, total - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / steps)
        fallen = progress if self.decay == "linear" else 0.5 * (1 - math.cos(math.pi * progress))
        return 1 - (1 - self.floor) * fallen


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune an encoder for a task, and how the result is scored.

    Parameters
    ----------
    name : str
    task : {"structure", "binary", "multiclass", "regression"}
    dataset : str
        Name for :func:`rinalmo_kit.datasets.load_table`.
    target : str
        Column of the table that is learned.
    train, validation, test : str
        Which rows, as conditions on the table's columns (:func:`rinalmo_kit.rows.parse`). ``@fold`` is the fold;
        ``length`` is the sequence's length and ``part`` a number 0–9 that depends on the sequence alone.
    loss : {"pairs", "pairs-by-length", "binary", "classes", "mse", "huber"}
        See :func:`rinalmo_kit.finetuning.loss_of`.
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
        the last LayerNorm. Shares are those of giga's 33 blocks, so that other depths thaw alike.
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
        Of the examples with likely pairs (:mod:`rinalmo_kit.thermodynamics`), if any are given, each epoch takes so
        many in turn.
    steps : int or None
        Stop after this many steps, in the middle of an epoch if need be.
    start : str or Config
        Model to start from, unless told otherwise; a Config means random weights.
    source : str
        Where the recipe comes from.
    """

    name: str
    task: Literal["structure", "binary", "multiclass", "regression"]
    dataset: str
    target: str
    train: str
    validation: str
    test: str
    loss: Literal["pairs", "pairs-by-length", "binary", "classes", "mse", "huber"]
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
    start: str | Config = "pico"

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
        """Say in a few lines what the recipe does and where it comes from."""
        thaw = ", ".join(f"{share:.0%} of the blocks from epoch {epoch}" for epoch, share in self.unfreeze)
        folds = f", {self.folds} folds" if self.folds > 1 else ""
        return (
            f"{self.name}: {self.task} on {self.dataset} ({self.target}), scored by {self.metric}{folds}\n"
            f"  {self.epochs} epochs, batch {self.batch_size}, {self.optimizer} {self.lr:g}, {self.loss} loss; "
            f"trained: head, {thaw or 'no block'}\n  {self.source}"
        )


def _text(lines: str) -> str:
    return " ".join(lines.split())


def _structure(name: str, dataset: str, *, train: str, validation: str, test: str, source: str) -> Recipe:
    """Fine-tuning for structure: the paper's gradual unfreezing, three of giga's blocks every three epochs."""
    return Recipe(
        name=name,
        task="structure",
        dataset=dataset,
        target="dot_bracket",
        train=train,
        validation=validation,
        test=test,
        loss="pairs",
        metric="f1",
        epochs=15,
        batch_size=1,
        lr=1e-4,
        schedule=Schedule(decay="linear", decay_steps=7000, floor=0.1),
        unfreeze=tuple((3 * i, 3 * i / 33) for i in (1, 2, 3, 4)),
        encoder_lr=0.1,
        group="family",
        source=source
        + " "
        + _text("""
            Learning rate 1e-4 of the paper (the script's default is 5e-4); decay over 7000 steps and a tenth of
            the rate for thawed blocks are the code's (spec §5, §7.5), where the paper is silent. The weights of
            the last epoch, the threshold with the best mean F1 on the validation set (spec §4.3).
        """),
    )


def _splice(site: str) -> Recipe:
    return Recipe(
        name=f"splice-{site}",
        task="binary",
        dataset="splice",
        target="label",
        train=f"site == '{site}' and split == 'train' and fold != @fold",
        validation=f"site == '{site}' and split == 'train' and fold == @fold",
        test=f"site == '{site}' and split == 'test'",
        loss="binary",
        metric="f1",
        epochs=2,
        batch_size=32,
        lr=1e-5,
        optimizer="adamw",
        weight_decay=1e-6,
        folds=10,
        group="species",
        class_names=(f"no {site} site", f"{site} site"),
        experiment="splice",
        source=_text("""
            Paper, "Multi-species splice-site prediction": rate 1e-5, two epochs, batch 32. Cross-entropy of a
            single logit, AdamW with weight decay 1e-6 and no training of the embedding as in the code (spec §5,
            §7.9). Fold 0 of ten is the validation set; the paper's score is the mean of donor and acceptor F1.
        """),
    )


def _ncrna(noise: int) -> Recipe:
    return Recipe(
        name=f"ncrna-{noise}",
        task="multiclass",
        dataset="rfam88",
        target="label",
        train="split == 'train'",
        validation="split == 'val'",
        test="split == 'test'",
        loss="classes",
        metric="accuracy",
        epochs=25,
        batch_size=128,
        lr=8e-6,
        optimizer="adamw",
        weight_decay=0.01,
        train_beta=False,
        best="accuracy",
        experiment="ncrna",
        noise=noise,
        balance=True,
        source=_text("""
            Paper, "ncRNA family classification": AdamW 8e-6, weight decay 0.01, 25 epochs, batch 128 (the
            script's default is 64), best validation accuracy, training classes resampled. The betas of the
            SwiGLUs stay frozen as in the code (spec §5).
        """),
    )


def _utr(kind: str, cell: str) -> Recipe:
    return Recipe(
        name=f"{kind}-{cell.lower()}",
        task="regression",
        dataset="te_el",
        target=f"log_{kind}",
        train=f"dataset == '{cell}' and fold != @fold and fold != (@fold + 9) % 10",
        validation=f"dataset == '{cell}' and fold == (@fold + 9) % 10",
        test=f"dataset == '{cell}' and fold == @fold",
        loss="huber",
        metric="spearman",
        epochs=30,
        batch_size=8 if cell == "Muscle" else 32,
        lr=8e-5,
        schedule=Schedule(decay="linear", decay_steps=3000, floor=0.1),
        unfreeze=((5, 1.0),),
        encoder_lr=0.1,
        best="r2",
        folds=10,
        experiment=kind,
        pad_to=102,
        source=_text("""
            Paper, "Translation efficiency and expression level prediction": rate 8e-5, decay over 3000 steps
            (the script has 1e-4 and 600: no weights were released, so the paper is followed), Huber loss, 30
            epochs, head only in the first five, ten folds. Validation is the fold before the test fold, best
            validation R² (spec §5). Padded to 102 tokens always; the code pads to the longest of a batch, on
            which a prediction then depends (spec §3.4).
        """),
    )


def _ours() -> list[Recipe]:
    """Recipes of the embedded models, sized for two CPU cores; see ``embedded.py``."""
    thermo = Recipe(
        name="pico-thermo",
        task="structure",
        dataset="bprna",
        target="dot_bracket",
        train="split == 'TR0'",
        validation="split == 'VL0'",
        test="split == 'TS0'",
        loss="pairs-by-length",
        metric="f1",
        epochs=1,
        batch_size=8,
        lr=1e-3,
        optimizer="adamw",
        weight_decay=0.01,
        schedule=Schedule(warmup_steps=300, decay="cosine", floor=0.1),
        max_lengths=(150,),
        train_embedding=True,
        gradient_clip=1.0,
        group="family",
        source=_text("""
            Ours, not the paper's: the pairing probabilities of ViennaRNA for unlabelled ncRNAs are learned before known
            structures are (thermodynamics.py). The rows of TR0 take the place of the ncRNAs if none are given.
        """),
    )
    structure = replace(
        thermo,
        name="pico-ss",
        epochs=5,
        max_lengths=(150, 200, 300, 200, 500),
        unlabelled=2000,
        lr=8e-4,
        schedule=Schedule(warmup_steps=200, decay="cosine", floor=0.01),
        mutate=0.15,
        source=_text("""
            Ours: all parameters at once, no gradual unfreezing; loss summed over pairs and divided by the length, so
            that long RNAs count; half of the structures mutated pair by pair in every epoch; among them ncRNAs with
            ViennaRNA's pairing probabilities, if they are given, lest what is known of other families be forgotten.
        """),
    )
    families = [
        replace(
            structure,
            name=f"pico-archiveII-{family}",
            dataset="archiveII",
            train=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].train,
            validation=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].validation,
            test=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].test,
        )
        for family in FAMILIES
    ]
    rivas = RECIPES_OF_PAPER["ss-rivas"]
    rows = {name: getattr(rivas, name) for name in ("dataset", "train", "validation", "test")}
    return [thermo, structure, replace(structure, name="pico-rivas", **rows), *families]


RECIPES_OF_PAPER: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in [
        _structure(
            "ss-bprna",
            "bprna",
            train="split == 'TR0'",
            validation="split == 'VL0'",
            test="split == 'TS0'",
            source=_text("""
                Paper, "Secondary structure prediction", intra-family (Fig. 3c).
            """),
        ),
        _structure(
            "ss-rivas",
            "rivas",
            train="split == 'TrainSetA' and length <= 500",
            validation="split == 'TrainSetA' and length > 500",
            test="split == 'TestSetB'",
            source=_text("""
                Paper, Fig. 3e: TrainSetA → TestSetB; "All RNAs in this dataset longer than 500 nucleotides were
                used for validation".
            """),
        ),
        *(
            _structure(
                f"ss-archiveII-{family}",
                "archiveII",
                train=f"family != '{family}' and part != 0",
                validation=f"family != '{family}' and part == 0",
                test=f"family == '{family}'",
                source=_text(f"""
                    Paper, Fig. 4: the eight families of ArchiveII but {family} for training and validation,
                    {family} for testing. A tenth of the sequences is for validation; which, the paper does not
                    say.
                """),
            )
            for family in FAMILIES
        ),
        _splice("donor"),
        _splice("acceptor"),
        _ncrna(0),
        _ncrna(200),
        Recipe(
            name="mrl",
            task="regression",
            dataset="mrl",
            target="target",
            train="split == 'train'",
            validation="split == 'random7600'",
            test="split in ('random7600', 'human7600')",
            loss="mse",
            metric="r2",
            epochs=50,
            batch_size=64,
            lr=1e-4,
            schedule=Schedule(decay="linear", decay_steps=5000, floor=0.1),
            unfreeze=((3, 27 / 33),),
            encoder_lr=0.1,
            group="split",
            pad_to=102,
            lowest=0.0,
            source=_text("""
                Paper, "Mean ribosome loading prediction": rate 1e-4 falling to 1e-5 over 5000 steps, batch 64,
                50 epochs, mean squared error of standardised targets. As in the code (spec §5, §7.7), the
                blocks thaw at epoch 3 (paper: 5), the lowest 6 of 33 never, at a tenth of the rate; but the
                targets' mean is known at the start, where the code spends epoch 0 on it. Random7600 is watched
                and is a reported result, so nothing is selected by it: the last weights count.
            """),
        ),
        *(_utr(kind, cell) for kind in ("te", "el") for cell in ("Muscle", "PC3", "HEK")),
    ]
}

RECIPES = RECIPES_OF_PAPER | {recipe.name: recipe for recipe in _ours()}
"""Every recipe by its name: those of the paper, and those of the embedded models."""


def recipe_named(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises
    ------
    ValueError
        Lists the known names.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


LEAST = {
    "mutate": 0,
    "unlabelled": 0,
    "epochs": 1,
    "batch_size": 1,
    "steps": 1,
    "folds": 1,
    "pad_to": 1,
    "window": 1,
    "lr": 0,
    "encoder_lr": 0,
}
SCORES = {
    "structure": ("precision", "recall", "f1"),
    "binary": ("accuracy", "precision", "recall", "specificity", "f1"),
    "multiclass": ("accuracy", "f1"),
    "regression": ("r2", "spearman", "pearson"),
}
"""Scores by which the best epoch of a task can be chosen."""


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with other values in some of its fields.

    Raises
    ------
    ValueError
        For a field that there is not, or a value that it cannot have; says which it can.

    Examples
    --------
    >>> changed(RECIPES["mrl"], {"epochs": 3}).epochs
    3
    >>> changed(RECIPES["mrl"], {"epochs": "three"})
    Traceback (most recent call last):
    ...
    ValueError: epochs='three': expected a whole number, 1 or more
    """
    kinds = get_type_hints(Recipe)
    for name, value in changes.items():
        if name not in kinds:
            raise ValueError(f"the recipe has no field {name!r}; it has {', '.join(sorted(kinds))}")
        wanted = _expected(name, kinds[name], value)
        if name == "best" and value is not None and value not in SCORES[recipe.task]:
            wanted = f"None or one of {', '.join(SCORES[recipe.task])}"
        if wanted:
            raise ValueError(f"{name}={value!r}: expected {wanted}")
    return replace(recipe, **changes)


def _expected(name: str, kind: Any, value: Any) -> str:
    """Say what a field takes, if it does not take this value; else nothing."""
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
    chosen, masked, replaced : float
        Share of the tokens that is to be predicted, and of these the shares that are masked or replaced by another
        letter; the rest stays as it is (paper, "Pre-training").
    max_tokens : int
        Longer sequences are cropped (spec §6).
    sequences, gpus : int
        "The batch size was set to 192 per GPU", of seven.
    steps : int
        Length of the cosine in the released configuration (spec §6); the paper does not say how long it trained.
    warmup_steps, warmup_from : int, float
        "During the warm-up period, learning rate increases from 1e-7 to 5e-5 for 2000 steps".
    final_lr : float
        "For the cosine annealing schedule, the minimum learning rate was set to 1e-5".
    weight_decay : float
        Of AdamW, in the released configuration (spec §6), for all parameters, biases and norms among them.
    clip : float
        "The gradient norm was clipped to 1.0".
    """

    chosen: float = 0.15
    masked: float = 0.8
    replaced: float = 0.1
    max_tokens: int = 1024
    sequences: int = 192
    gpus: int = 7
    steps: int = 200_000
    warmup_steps: int = 2000
    warmup_from: float = 1e-7
    final_lr: float = 1e-5
    weight_decay: float = 0.01
    clip: float = 1.0

    @property
    def tokens_per_batch(self) -> int:
        """Tokens of a batch, if all its sequences are of full length."""
        return self.sequences * self.gpus * self.max_tokens

    def lr(self, config: Config) -> float:
        """Peak learning rate: 5e-5 for giga (paper), 1e-4 for the smaller ones (released configuration, spec §6)."""
        return 5e-5 if config.dim >= Config.giga().dim else 1e-4


PAPER = Pretraining()
