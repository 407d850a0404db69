"""What can be evaluated, as objects with the same methods: models, baselines, and folding functions of your own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from .._utils.files import user_path
from ..inference.folding import fold_each, folding_model
from ..inference.prediction import predict, predicting_model
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.tasks import TASKS, task_of
from ..recipes.recipe import Recipe
from ..recipes.splits import Example
from ..rna.folded import FoldedRNA
from ..rna.rules import Energy
from ..structure import Structure
from . import leakage
from .baselines import BASELINES, most_pairs, simple, trivial

__all__ = ["Baseline", "FoldingFunction", "ModelPredictor", "predictors_of"]


class Baseline:
    """Something that :func:`rinalmo_kit.evaluate` can score. A baseline of your own overrides what it can do.

    Attributes
    ----------
    name : str
        For the table of scores.
    labels : tuple of str or None
        Names of the classes that it knows; None: those of the training rows.

    Examples
    --------
    >>> import rinalmo_kit as rk
    >>> class Unpaired(Baseline):
    ...     name = "unpaired"
    ...     def fold(self, records):
    ...         return [rk.Structure(sequence, [], name) for name, sequence in records]
    >>> tRNAs = rk.datasets.load_structures("examples", family="tRNA")
    >>> rk.evaluate(Unpaired(), tRNAs, draws=0)["f1"]
    0.0
    """

    name: str = "baseline"
    labels: tuple[str, ...] | None = None

    def check(self, recipe: Recipe) -> None:
        """Raise ValueError if there is no answer for the task of a recipe; by default, if no method is overridden."""
        method = "fold" if TASKS[recipe.task].predicts_structures else "predict"
        if getattr(type(self), method) is getattr(Baseline, method):
            raise ValueError(
                f"{self.name} has no method {method}: it has no answer for {recipe.name}, which has "
                f"{TASKS[recipe.task].answers} to predict"
            )

    def check_labels(self, recipe: Recipe, labels: Sequence[str]) -> None:
        """Raise ValueError if the classes of the test rows are not those that are known."""

    def learns(self, recipe: Recipe) -> bool:
        """Return whether :meth:`fit` is to be called with the training rows."""
        return type(self).fit is not Baseline.fit

    def fit(self, recipe: Recipe, train: Sequence[Example]) -> None:
        """Learn from training examples."""

    def fold(self, records: Iterable[tuple[str, str]]) -> Iterable[Structure]:
        """Return the structure of each (name, sequence)."""
        raise NotImplementedError

    def predict(self, recipe: Recipe, sequences: Sequence[str], *, progress: bool = False) -> Sequence[Any]:
        """Return the class, the number, or the numbers of nucleotides of each sequence."""
        raise NotImplementedError

    def trained_on(self) -> int | None:
        """Return the fingerprint of the user's table that this was trained on, if there is one."""
        return None

    def warn_of_leaks(self, recipe: Recipe, test: Sequence[Example]) -> None:
        """Warn if test rows are known to be in the training data."""


class FoldingFunction(Baseline):
    """A function from a sequence to its structure.

    Parameters
    ----------
    function : callable
        Takes a sequence of A, C, G, U and other letters; returns a Structure or a dot-bracket string.
    name : str, optional
        Default: the function's.

    Examples
    --------
    >>> [s] = FoldingFunction(lambda sequence: "." * len(sequence)).fold([("a", "ACGU")])
    >>> s
    <Structure 'a': 4 nt, 0 pairs>
    """

    def __init__(self, function: Callable[[str], FoldedRNA | str], name: str | None = None) -> None:
        inner = function.func if isinstance(function, partial) else function
        self.function = function
        self.name = name or str(getattr(inner, "__name__", type(inner).__name__))

    def check(self, recipe: Recipe) -> None:
        """Raise ValueError for other tasks than structure."""
        if not TASKS[recipe.task].predicts_structures:
            raise ValueError(f"{self.name!r} folds; it has no prediction for {recipe.name}")

    def fold(self, records: Iterable[tuple[str, str]]) -> Iterator[Structure]:
        """Return the structure of each (name, sequence), checked."""
        for name, sequence in records:
            try:
                found = self.function(sequence)
            except Exception as error:
                error.add_note(f"while {self.name} folded {name!r}")
                raise
            yield self._checked(name, sequence, found)

    def _checked(self, name: str, sequence: str, found: Any) -> Structure:
        """Return what the function gave as a structure of the sequence, or say what is wrong with it."""
        if not isinstance(found, FoldedRNA | str):
            raise TypeError(
                f"{self.name} of {name!r}: expected a Structure or a dot-bracket string, found a "
                f"{type(found).__name__}"
            )
        try:
            if isinstance(found, str):
                return Structure.from_dot_bracket(sequence, found, name=name)
            if len(found) != len(sequence):
                raise ValueError(f"it has {len(found)} nucleotides, expected {len(sequence)}")
        except ValueError as error:
            raise ValueError(f"{self.name} gave no structure of {name!r}: {error}") from error
        return Structure(sequence, found.pairs, name)


class NamedFoldingFunction(FoldingFunction):
    """One of :data:`rinalmo_kit.evaluation.baselines.BASELINES`, which takes the name of the RNA for its messages."""

    def __init__(self, name: str) -> None:
        super().__init__(BASELINES[name], name)

    def fold(self, records: Iterable[tuple[str, str]]) -> Iterator[Structure]:
        function: Callable[..., Structure] = BASELINES[self.name]
        return (function(sequence, name=name) for name, sequence in records)


class Trivial(Baseline):
    """The answer that does not look at the sequence; of structures, the most canonical pairs."""

    name = "trivial"

    def learns(self, recipe: Recipe) -> bool:
        return not TASKS[recipe.task].predicts_structures

    def fit(self, recipe: Recipe, train: Sequence[Example]) -> None:
        self.answer = trivial(recipe.task, [example.target for example in train])

    def fold(self, records: Iterable[tuple[str, str]]) -> Iterator[Structure]:
        return (most_pairs(sequence, name=name) for name, sequence in records)

    def predict(self, recipe: Recipe, sequences: Sequence[str], *, progress: bool = False) -> Sequence[Any]:
        return TASKS[recipe.task].answer_all(self.answer, sequences)


class Simple(Baseline):
    """A classical learner: :func:`rinalmo_kit.evaluation.baselines.simple`."""

    name = "simple"

    def check(self, recipe: Recipe) -> None:
        if TASKS[recipe.task].whole:
            raise ValueError(
                f"'simple' predicts classes and numbers; {recipe.name} is about {TASKS[recipe.task].answers}"
            )

    def fit(self, recipe: Recipe, train: Sequence[Example]) -> None:
        self.train = [example.sequence for example in train], [example.target for example in train]

    def predict(self, recipe: Recipe, sequences: Sequence[str], *, progress: bool = False) -> Sequence[Any]:
        return simple(recipe.task, *self.train, sequences).tolist()


class ModelPredictor(Baseline):
    """An encoder with a task head.

    Parameters
    ----------
    model : Encoder
    energy : {"model", "viennarna", "linearpartition"} or None
        As for :func:`rinalmo_kit.fold`: what is mixed in where it folds; None: the model alone.
    """

    def __init__(self, model: Encoder, *, energy: Energy | Literal["model"] | None = "model") -> None:
        self.model, self.labels, self.energy = model, model.labels, energy
        self.name = model.name + name_of_energy(energy)

    def check(self, recipe: Recipe) -> None:
        """Raise ValueError if the model has no answer for the task, or the task no use for an energy model."""
        task = TASKS[recipe.task]
        model = folding_model(self.model) if task.predicts_structures else predicting_model(self.model)
        known = task_of(model.head)
        if self.energy != "model" and not task.predicts_structures:
            raise ValueError(
                f"energy={self.energy!r} is for structures; {recipe.name} has {task.answers} to predict"
            )
        if known is not None and known.answers != task.answers:
            raise ValueError(
                f"{recipe.name} has {task.answers} to predict; {model.name} predicts {known.answers}"
            )

    def check_labels(self, recipe: Recipe, labels: Sequence[str]) -> None:
        """Raise ValueError if the model was trained for other classes."""
        if self.labels and not set(labels) <= set(self.labels):
            raise ValueError(
                f"{self.name} was trained for other classes than those of {recipe.name}: "
                f"{', '.join(self.labels[:3])}, … and {', '.join(labels[:3])}, …"
            )

    def fold(self, records: Iterable[tuple[str, str]]) -> Iterator[Structure]:
        """Yield the structure of each (name, sequence)."""
        return fold_each(records, model=self.model, energy=self.energy)

    def predict(self, recipe: Recipe, sequences: Sequence[str], *, progress: bool = False) -> Sequence[Any]:
        """Return the answer for each sequence, not below the lowest of the recipe."""
        with torch.inference_mode():
            table = predict(list(sequences), model=self.model, progress=progress)
        answers = TASKS[recipe.task].answers_in(table)
        if recipe.lowest is not None:
            answers = [np.maximum(answer, recipe.lowest) for answer in answers]
        return list(answers)

    def trained_on(self) -> int | None:
        """Return the fingerprint of the table that the model was trained on, if that was a table of a user."""
        return self.model.about.get("own data")

    def warn_of_leaks(self, recipe: Recipe, test: Sequence[Example]) -> None:
        """Warn of test rows that the model was trained on."""
        leakage.warn_if_trained_on(self.model, recipe, test)


def name_of_energy(energy: Energy | Literal["model"] | None) -> str:
    """Return what follows the name of a model in the table of scores, if it does not fold as it does by default."""
    return "" if energy == "model" else ", alone" if energy is None else f", {energy}"


def predictors_of(model: Any, *, energy: Energy | Literal["model"] | None = "model") -> list[Baseline]:
    """Return what a user names or gives as objects to evaluate: one, or one a fold.

    Parameters
    ----------
    model, energy
        As for :func:`rinalmo_kit.evaluate`.

    Raises
    ------
    FileNotFoundError
        For a folder without a finished model.
    ValueError
        For an `energy` beside what is not a model.

    Examples
    --------
    >>> predictors_of("viennarna")[0].name, predictors_of(["nano-ss"])[0].name
    ('viennarna', 'nano-ss')
    """
    if isinstance(model, str | os.PathLike):
        model = _named(model)
    found = [_predictor(one, energy) for one in (model if isinstance(model, list | tuple) else [model])]
    for one in found:
        if energy != "model" and getattr(one, "energy", "model") != energy:
            raise ValueError(f"energy={energy!r}: expected a model, and {one.name} is not one")
    return found


def _named(name: str | os.PathLike) -> Any:
    """Return what a name or a path stands for: a baseline, the files of a folder, or the name of a model itself."""
    folder = user_path(name)
    if (folder / "fold-0").is_dir():
        folds = sorted(folder.glob("fold-*"), key=lambda fold: int(fold.name.removeprefix("fold-")))
        return [fold / "model.safetensors" for fold in folds]
    if name in ("trivial", "simple"):
        return Trivial() if name == "trivial" else Simple()
    if name in BASELINES:
        return NamedFoldingFunction(str(name))
    if folder.is_dir():
        if not (folder / "model.safetensors").exists():
            raise FileNotFoundError(f"{name} holds no model.safetensors: is its training finished?")
        return Path(folder / "model.safetensors")
    return name


def _predictor(model: Any, energy: Energy | Literal["model"] | None) -> Baseline:
    if isinstance(model, Baseline):
        return model
    if callable(model) and not isinstance(model, nn.Module | type):
        return FoldingFunction(model)
    return ModelPredictor(ready_model(model), energy=energy)
