"""Scores on test sets, one call a recipe, averaged as in the paper and with confidence intervals."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .._utils.files import check_output, user_path
from .._utils.numbers_given import whole_number
from .._utils.progress import progress_bar
from .._utils.provenance import provenance
from .._utils.rows import select
from ..datasets.user_tables import as_table, names_table
from ..inference.folding import fold_each
from ..inference.prediction import predict
from ..metrics import (
    StructureScores,
    binary_scores,
    bootstrap_intervals,
    multiclass_scores,
    regression_scores,
    structure_scores,
)
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.unwrap import unwrapped
from ..recipes.named import RECIPES, recipe_named
from ..recipes.recipe import Recipe
from ..recipes.splits import Example, Splits, splits_of
from ..recipes.user_data import fingerprint, own_recipe, own_table
from .baselines import BASELINES, simple, trivial
from .score_files import add_lines, read_lines

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Evaluation", "evaluate"]

LEARNED = ("trivial", "simple")
"""Baselines that are learned from the training rows."""


STRUCTURE_COLUMNS = (*StructureScores._fields, "f1_strict")


class Evaluation(NamedTuple):
    """What :func:`evaluate` returns.

    Attributes
    ----------
    samples : pandas.DataFrame
        One row a test sequence: name, group, fold, length; for structures precision, recall, f1, inf (tolerant to
        ±1) and f1_strict; else target and prediction.
    scores : pandas.DataFrame
        One row a score: model, recipe, group ("all", or a family, species, test set), fold ("all", or a number),
        metric, value, low, high (95 % bootstrap interval over the sequences), n, data (what the rows are, if they
        are not the paper's).
    """

    samples: pd.DataFrame
    scores: pd.DataFrame

    def __getitem__(self, key: Any) -> Any:
        """``evaluation["f1"]`` is that score over all test rows; a number indexes the pair itself."""
        if not isinstance(key, str):
            return tuple.__getitem__(self, key)
        table = select(self.scores, "group == 'all' and fold == 'all'")
        table = table[table["metric"] == key]
        if table.empty:
            raise KeyError(f"{key!r}: there are {', '.join(sorted(set(self.scores['metric'])))}")
        return float(table["value"].iloc[0])


def evaluate(
    model: Encoder | str | os.PathLike | Sequence[Any] = "pico-ss",
    on: Any = "ss-bprna",
    *,
    task: str | None = None,
    target: str | None = None,
    fold: int | None = None,
    limit: int | None = None,
    output: str | os.PathLike | None = None,
    draws: int = 1000,
    progress: bool = False,
) -> Evaluation:
    """Score a model, or a baseline, on the test rows of a recipe or on data of your own.

    Structures: the mean over structures of precision, recall, F1 and INF. Splice sites, families: the rates over all
    rows. MRL: R² in the unit of the target, predictions below 0 raised to 0. Recipes with folds: the mean over the
    folds' scores, each fold's model on its own test rows (paper, Methods; spec §4.2, §5).

    Parameters
    ----------
    model : Encoder, name, path, folder, list of these, or a baseline
        For a recipe with folds, as TE and EL: the models in the order of the folds, or the folder with ``fold-0``,
        ``fold-1``, … that ``rinalmo-kit finetune --fold all`` makes. ``"trivial"`` is the fold with the most pairs, the
        most frequent class or the mean of the training targets; ``"simple"`` a classical learner
        (:func:`rinalmo_kit.evaluation.baselines.simple`); ``"viennarna"`` folds by free energy.
    on : str, Recipe, or data
        Name of a recipe, or your own data in any form that :func:`rinalmo_kit.finetune` takes. Rows marked ``test``
        are taken; without a column ``split``, all rows, but of a table that the model was trained on those that were
        kept for testing.
    task, target : str, optional
        For your own data.
    fold : int, optional
        Evaluate this fold alone.
    limit : int, optional
        Score at most this many test rows, the same ones every time; the scores say so.
    output : path, optional
        Add the scores to this CSV, with command, commit and date; older lines for the same give way.
    draws : int
        Bootstrap samples for the intervals; 0 for none.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Evaluation
        ``evaluation.samples``, ``evaluation.scores``, and ``evaluation["f1"]``.

    Warns
    -----
    LeakWarning
        If the model was trained on test rows, or on the family that is tested (:mod:`rinalmo_kit.evaluation.leakage`).

    Examples
    --------
    >>> from rinalmo_kit.datasets import load_structures
    >>> result = evaluate("trivial", load_structures("examples", family="tRNA"), draws=0)
    >>> len(result.samples), 0 < result["f1"] < 1
    (7, True)
    """
    import pandas as pd

    if output is not None:
        output = user_path(output)
        check_output(output)
        read_lines(output)
    if limit is not None:
        whole_number("limit", limit)
    whole_number("draws", draws, least=0)
    models = _models(model)
    seen = {one.about.get("own data") for one in models if isinstance(one, Encoder)}
    recipe, table = _recipe_and_table(on, task, target, seen)
    if isinstance(model, str) and model in BASELINES and recipe.task != "structure":
        raise ValueError(f"{model!r} folds; it has no prediction for {recipe.name}")
    if isinstance(model, str) and model == "simple" and recipe.task == "structure":
        raise ValueError(f"'simple' predicts classes and numbers; {recipe.name} is about structures")
    folds = _folds(recipe, fold)
    models = _one_a_fold(models, len(folds))
    parts, labels = [], None
    for number, one in zip(folds, models, strict=True):
        learned = (
            isinstance(one, str) and recipe.task != "structure"
        )  # the trivial answers come from train rows
        wanted = ("train", "test") if learned else ("test",)
        splits = splits_of(recipe, table, fold=number, test_limit=limit, wanted=wanted)
        labels = getattr(one, "labels", None) or splits.labels
        _warn_of_leaks(one, recipe, splits)
        rows = _sample_rows(one, recipe, splits, progress=progress)
        parts.append(pd.DataFrame(rows).assign(fold=number))
    samples = pd.concat(parts, ignore_index=True)
    if "target" in samples and recipe.task != "regression" and samples["target"].nunique() == 1:
        warnings.warn(
            f"all {len(samples)} test rows are of the class {samples['target'][0]!r}: only the accuracy says something",
            stacklevel=2,
        )
    scores = pd.DataFrame(list(_scores(recipe, samples, labels, draws=draws)))
    scores.insert(0, "model", _name(model))
    scores.insert(1, "recipe", recipe.name)
    scores["data"] = _data_note(recipe, limit)
    if output is not None:
        add_lines(output, scores.assign(**provenance()))
    return Evaluation(samples, scores)


def _recipe_and_table(
    on: Any, task: str | None, target: str | None, trained_on: set[Any]
) -> tuple[Recipe, pd.DataFrame | None]:
    if isinstance(on, Recipe):
        return on, None
    if isinstance(on, str) and not names_table(on, known=RECIPES, task=task):
        return recipe_named(on), None
    task = task or "structure"
    data = as_table(on, task=task)
    table = own_table(data, task=task, target=target)
    recipe = own_recipe(table, task=task, least=1)
    if "split" not in data and fingerprint(table) not in trained_on:
        table["split"] = "test"
    return recipe, table


def _folds(recipe: Recipe, fold: int | None) -> list[int]:
    """Folds to evaluate: all, if each has its own test rows, else one, since all have the same."""
    if fold is not None:
        return [fold]
    return list(range(recipe.folds)) if "@fold" in recipe.test else [0]


def _models(model: Any) -> list[Any]:
    """Return the models that were given, loaded; the names of baselines stay as they are."""
    if isinstance(model, str | os.PathLike) and (user_path(model) / "fold-0").is_dir():
        folders = sorted(
            user_path(model).glob("fold-*"), key=lambda folder: int(folder.name.removeprefix("fold-"))
        )
        model = [folder / "model.safetensors" for folder in folders]
    if isinstance(model, str) and model in (*LEARNED, *BASELINES):
        return [model]
    if isinstance(model, str | os.PathLike) and user_path(model).is_dir():
        if not (user_path(model) / "model.safetensors").exists():
            raise FileNotFoundError(f"{model} holds no model.safetensors: is its training finished?")
        model = user_path(model) / "model.safetensors"
    return [ready_model(one) for one in (model if isinstance(model, list | tuple) else [model])]


def _one_a_fold(models: list[Any], number: int) -> list[Any]:
    if isinstance(models[0], str):
        return models * number
    if len(models) != number:
        raise ValueError(
            f"this recipe has {number} folds with test rows of their own, and {len(models)} model was given: give one "
            "model a fold, a folder with fold-0, fold-1, …, or fold=… for one of them"
        )
    return models


def _name(model: Any) -> str:
    if isinstance(model, list | tuple):
        return _name(model[0])
    return str(model) if isinstance(model, str | os.PathLike) else unwrapped(model).name


def _data_note(recipe: Recipe, limit: int | None) -> str:
    from ..datasets.loading import TABLES, data_note

    note = (data_note(recipe.dataset) or "") if recipe.dataset in TABLES else recipe.dataset
    return note if limit is None else f"a sample of {limit} test rows. {note}".strip()


def _warn_of_leaks(model: Any, recipe: Recipe, splits: Splits) -> None:
    from . import leakage

    if isinstance(model, Encoder):
        leakage.warn_if_trained_on(model, recipe, splits.test)


def _sample_rows(model: Any, recipe: Recipe, splits: Splits, *, progress: bool) -> list[dict[str, Any]]:
    """Predict the test rows and put target and prediction, or scores, side by side."""
    base = [{"name": e.name, "group": e.group, "length": len(e)} for e in splits.test]
    if recipe.task == "structure":
        with progress_bar(len(base), "evaluate", shown=progress) as bar:
            for row, example, predicted in zip(base, splits.test, _folded(model, splits.test), strict=True):
                row.update(structure_scores(example.target, predicted)._asdict())
                row["f1_strict"] = structure_scores(example.target, predicted, shift=0).f1
                bar.update()
        return base
    predicted = _predicted(model, recipe, splits, progress=progress)
    for row, example, value in zip(base, splits.test, predicted, strict=True):
        row.update(target=example.target, prediction=value)
    return base


def _folded(model: Any, examples: list[Example]) -> Any:
    records = [(example.name, example.sequence) for example in examples]
    if isinstance(model, str):
        baseline = BASELINES["most-pairs" if model == "trivial" else model]
        return (baseline(sequence, name=name) for name, sequence in records)
    return fold_each(records, model=model)


def _predicted(model: Any, recipe: Recipe, splits: Splits, *, progress: bool) -> Sequence[Any]:
    if isinstance(model, str):
        targets = [e.target for e in splits.train]
        if model == "trivial":
            return [trivial(recipe.task, targets)] * len(splits.test)
        return simple(
            recipe.task, [e.sequence for e in splits.train], targets, [e.sequence for e in splits.test]
        )
    if recipe.task != "regression" and model.labels and not set(splits.labels) <= set(model.labels):
        raise ValueError(
            f"{model.name} was trained for other classes than those of {recipe.name}: "
            f"{', '.join(model.labels[:3])}, … and {', '.join(splits.labels[:3])}, …"
        )
    with torch.inference_mode():
        table = predict([e.sequence for e in splits.test], model=model, progress=progress)
    if (recipe.task == "regression") != ("prediction" in table):
        kinds = ("numbers", "classes") if recipe.task == "regression" else ("classes", "numbers")
        raise ValueError(f"{recipe.name} has {kinds[0]} to predict; {model.name} predicts {kinds[1]}")
    if recipe.task == "regression":
        values = table["prediction"].to_numpy()
        return np.maximum(values, recipe.lowest) if recipe.lowest is not None else values
    return table["label"].tolist()


def _scores(recipe: Recipe, samples: pd.DataFrame, labels: Any, *, draws: int) -> Iterator[dict[str, Any]]:
    """Yield the lines of the table of scores: of all rows, of each group, of each fold."""
    parts = [("all", "all", samples)]
    groups, folds = sorted(set(samples["group"])), sorted(set(samples["fold"]))
    if len(groups) > 1:
        parts += [(group, "all", samples[samples["group"] == group]) for group in groups]
    if len(folds) > 1:
        parts += [("all", str(fold), samples[samples["fold"] == fold]) for fold in folds]
    for group, fold, part in parts:
        score = _score(recipe, part, labels)
        values = score(np.arange(len(part)))
        intervals = bootstrap_intervals(len(part), score, draws=draws)
        for metric, value in values.items():
            low, high = intervals.get(metric, (None, None))
            line = {"group": group, "fold": fold, "metric": metric, "value": value, "low": low, "high": high}
            yield {**line, "n": len(part)}


def _score(
    recipe: Recipe, part: pd.DataFrame, labels: Sequence[str]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return a function from indices of rows to their scores; of several folds, to the mean of each fold's."""
    folds = part["fold"].to_numpy()
    if len(set(folds)) > 1:
        pieces = {fold: _score(recipe, part[folds == fold], labels) for fold in sorted(set(folds))}
        position = np.zeros(len(part), dtype=np.int64)
        for fold in pieces:
            position[folds == fold] = np.arange((folds == fold).sum())

        def mean_of_folds(chosen: NDArray[np.int64]) -> dict[str, float]:
            here = [(pieces[fold], position[chosen[folds[chosen] == fold]]) for fold in pieces]
            found = [score(rows) for score, rows in here if len(rows)]
            return {metric: float(np.mean([one[metric] for one in found])) for metric in found[0]}

        return mean_of_folds
    if recipe.task == "structure":
        values, lengths = part[list(STRUCTURE_COLUMNS)].to_numpy(), part["length"].to_numpy()

        def means(chosen: NDArray[np.int64]) -> dict[str, float]:
            mean = dict(zip(STRUCTURE_COLUMNS, values[chosen].mean(axis=0).tolist(), strict=True))
            weighted = np.average(values[chosen, STRUCTURE_COLUMNS.index("f1")], weights=lengths[chosen])
            return {**mean, "f1_length_weighted": float(weighted)}

        return means
    targets, predicted = part["target"].to_numpy(), part["prediction"].to_numpy()
    if recipe.task == "regression":
        function = regression_scores
    elif len(labels) == 2:
        function, targets, predicted = binary_scores, targets == labels[1], predicted == labels[1]
    else:
        function = multiclass_scores
        codes = np.unique(np.concatenate((targets, predicted)).astype(str), return_inverse=True)[1]
        targets, predicted = np.split(codes, 2)
    return lambda chosen: function(targets[chosen], predicted[chosen])
