"""Evaluation on test sets: scores averaged as in the paper, with confidence intervals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._utils.defaults import STRUCTURE
from .._utils.files import check_output, user_path
from .._utils.numbers_given import whole_number
from .._utils.progress import progress_bar
from .._utils.provenance import provenance
from .._utils.rows import select
from .._utils.warn import warn_user
from ..metrics import bootstrap_intervals
from ..model.rinalmo import Encoder
from ..model.task_base import Task
from ..model.tasks import TASKS
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.splits import Splits
from ..rna.folded import FoldedRNA
from ..rna.rules import Energy
from .matching import holds_structures, matched_scores
from .predictors import Baseline, ModelPredictor, name_of_energy, predictors_of
from .score_files import add_lines, read_lines
from .tables import printed_scores

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Evaluation", "evaluate"]


class Evaluation(NamedTuple):
    """What :func:`evaluate` returns.

    Attributes
    ----------
    samples : pandas.DataFrame
        One row a test sequence: name, group, fold, length; for structures precision, recall, f1, inf (tolerant to
        ±1) and f1_strict, of structures that were predicted before all scores of
        :func:`~rinalmo_kit.evaluation.matching.matched_scores`; else target and prediction.
    scores : pandas.DataFrame
        One row a score: model, recipe, group ("all", or a family, species, test set), fold ("all", or a number),
        metric, value, low, high (95 % bootstrap interval over the sequences), n, data (what the rows are, if they
        are not the paper's). Of more than 20 families none is listed by itself; group "family mean" is the mean of
        their means, with n families and the interval over families.
    """

    samples: pd.DataFrame
    scores: pd.DataFrame

    def __repr__(self) -> str:
        table = select(self.scores, "group == 'all' and fold == 'all'")
        first = table.iloc[0]
        scores = []
        for metric, value, low, high in table[["metric", "value", "low", "high"]].itertuples(index=False):
            interval = "" if low is None or low != low else f" ({low:.3g} to {high:.3g})"
            scores.append(f"{metric} {value:.3g}{interval}")
        return f"<Evaluation of {first['model']} on {first['recipe']}, n = {first['n']}: {', '.join(scores)}>"

    def table(
        self,
        metrics: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        group: str | None = "all",
    ) -> pd.DataFrame:
        """Return scores of all folds together as a table to print.

        See :func:`~rinalmo_kit.evaluation.tables.printed_scores`.

        Parameters
        ----------
        metrics : str or sequence of str
            Such as ``"f1"`` or ``["r2", "spearman"]``.
        by : str or sequence of str, optional
            Columns that name the rows. Default: the method, of :func:`compare`, or the model.
        group : str or None
            Rows of this group; None takes those of all groups, which `by` has to tell apart.
        """
        scores = self.scores[self.scores["fold"].astype(str) == "all"]
        if group is not None:
            scores = scores[scores["group"] == group]
        if by is None:
            by = "method" if "method" in scores else "model"
        return printed_scores(scores, metrics, by=by)

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
    model: Encoder
    | Baseline
    | Callable[[str], FoldedRNA | str]
    | str
    | os.PathLike
    | FoldedRNA
    | Mapping[str, FoldedRNA]
    | Sequence[Any] = STRUCTURE,
    on: Any = "ss-bprna",
    *,
    task: str | None = None,
    target: str | None = None,
    fold: int | None = None,
    limit: int | None = None,
    energy: Energy | Literal["model"] | None = "model",
    canonical_only: bool = False,
    output: str | os.PathLike | None = None,
    draws: int = 1000,
    progress: bool = False,
) -> Evaluation:
    """Score a model, a baseline, your own folding function, or structures that were predicted before.

    A model is tested on the test rows of a recipe or on data of your own. Structures of any program are scored against
    known ones, matched by name (:func:`~rinalmo_kit.evaluation.matching.match_structures`); those without a partner,
    or with another sequence, are left out with a warning that names them.

    Structures: the mean over structures of precision, recall, F1 and INF. Splice sites, families: the rates over all
    rows. MRL: R² in the unit of the target, predictions below 0 raised to 0. Recipes with folds: the mean over the
    folds' scores, each fold's model on its own test rows (paper, Methods; spec §4.2, §5).

    Parameters
    ----------
    model : Encoder, name, path, folder, list of these, a baseline, or a function
        For a recipe with folds, as TE and EL: the models in the order of the folds, or the folder with ``fold-0``,
        ``fold-1``, … that ``rinalmo-kit finetune --fold all`` makes. ``"trivial"`` is the fold with the most pairs, the
        most frequent class or the mean of the training targets; ``"simple"`` a classical learner
        (:func:`rinalmo_kit.evaluation.baselines.simple`); ``"viennarna"`` folds by free energy. A function takes a
        sequence and returns its Structure or dot-bracket string; a baseline of your own is a
        :class:`rinalmo_kit.evaluation.Baseline`. Predicted structures are a file or folder of structures, or
        Structures: one, a list, or by name.
    on : str, Recipe, or data
        Name of a recipe, or your own data in any form that :func:`rinalmo_kit.finetune` takes. Rows marked ``test``
        are taken; without a column ``split``, all rows, but of a table that the model was trained on those that were
        kept for testing. For predicted structures: the known ones, in the same forms.
    task, target : str, optional
        For your own data.
    fold : int, optional
        Evaluate this fold alone.
    limit : int, optional
        Score at most this many test rows, the same ones every time; the scores say so.
    energy : {"model", "viennarna", "linearpartition"} or None
        For structure models, as for :func:`rinalmo_kit.fold`. The table names a model by itself, None, as
        ``"nano-ss, alone"``, and one with an energy model as ``"nano-ss, viennarna"``.
    canonical_only : bool
        For predicted structures: leave pairs other than A-U, G-C and G-U out on both sides.
    output : path, optional
        Add the scores to this CSV, with command, commit and date; older lines for the same are replaced.
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

    Your own folding function:

    >>> def hairpin(sequence):
    ...     return "((((" + "." * (len(sequence) - 8) + "))))"
    >>> evaluate(hairpin, load_structures("examples", family="tRNA"), draws=0).scores["model"][0]
    'hairpin'

    Structures against structures, or files of them:

    >>> known = load_structures("examples", family="tRNA")
    >>> evaluate(known, known)["mcc_strict"]
    1.0
    """
    import pandas as pd

    if output is not None:
        output = user_path(output)
        check_output(output)
        read_lines(output)
    if limit is not None:
        whole_number("limit", limit)
    whole_number("draws", draws, least=0)
    if holds_structures(model):
        given = {"task": task, "target": target, "fold": fold, "limit": limit}
        unused = [name for name, value in given.items() if value is not None] + ["energy"] * (
            energy != "model"
        )
        if unused:
            raise ValueError(f"{unused[0]}: expected a model, and these are predicted structures")
        return _of_structures(model, on, canonical_only=canonical_only, output=output, draws=draws)
    if canonical_only:
        raise ValueError("canonical_only: expected predicted structures, or a path of them")
    predictors = predictors_of(model, energy=energy)
    seen = {one.trained_on() for one in predictors}
    experiment = resolve(on, task=task, target=target, default_task="structure", trained_on=seen)
    kind, recipe = experiment.task, experiment.recipe
    for one in predictors:
        one.check(recipe)
    folds = _folds(recipe, fold)
    predictors = _one_a_fold(predictors, len(folds))
    parts, labels = [], None
    for number, one in zip(folds, predictors, strict=True):
        wanted = ("train", "test") if one.learns(recipe) else ("test",)
        splits = experiment.splits(fold=number, test_limit=limit, wanted=wanted)
        labels = one.labels or splits.labels
        one.warn_of_leaks(recipe, splits.test)
        rows = _sample_rows(one, recipe, splits, progress=progress)
        parts.append(pd.DataFrame(rows).assign(fold=number))
    samples = pd.concat(parts, ignore_index=True)
    if kind.classifies and samples["target"].nunique() == 1:
        warn_user(
            f"all {len(samples)} test rows are of the class {samples['target'][0]!r}: only the accuracy says something"
        )
    lines = _scores(
        kind.for_labels(labels), samples, labels, draws=draws, of_families=recipe.group == "family"
    )
    name, note = model_name(model) + name_of_energy(energy), _data_note(recipe, limit)
    return _evaluation(samples, lines, model=name, recipe=recipe.name, note=note, output=output)


def _evaluation(
    samples: pd.DataFrame,
    lines: Iterable[dict[str, Any]],
    *,
    model: str,
    recipe: str,
    note: str,
    output: str | os.PathLike | None,
) -> Evaluation:
    """Return the lines of the table of scores, with what they are of, and add them to a file."""
    import pandas as pd

    scores = pd.DataFrame(list(lines))
    scores.insert(0, "model", model)
    scores.insert(1, "recipe", recipe)
    scores["data"] = note
    if output is not None:
        add_lines(user_path(output), scores.assign(**provenance()))
    return Evaluation(samples, scores)


def _of_structures(
    predicted: Any, reference: Any, *, canonical_only: bool, output: str | os.PathLike | None, draws: int
) -> Evaluation:
    """Score predicted structures against known ones."""
    samples, note = matched_scores(predicted, reference, canonical_only=canonical_only)
    samples["fold"] = 0
    metrics = [
        name
        for name in samples
        if name.removesuffix("_strict") in ("precision", "recall", "f1", "inf", "mcc")
    ]
    values = samples[metrics].to_numpy()
    lines = _lines(
        "all",
        "all",
        len(samples),
        lambda chosen: dict(zip(metrics, values[chosen].mean(axis=0).tolist(), strict=True)),
        draws=draws,
    )
    names = [
        str(one) if isinstance(one, str | os.PathLike) else "structures" for one in (predicted, reference)
    ]
    return _evaluation(samples, lines, model=names[0], recipe=names[1], note=note, output=output)


def _folds(recipe: Recipe, fold: int | None) -> list[int]:
    """Return the folds to evaluate: all, if each has its own test rows, else one, since all have the same."""
    if fold is not None:
        return [fold]
    return list(range(recipe.folds)) if "@fold" in recipe.test else [0]


def _one_a_fold(predictors: list[Baseline], number: int) -> list[Baseline]:
    if len(predictors) == 1 and not isinstance(predictors[0], ModelPredictor):
        return predictors * number
    if len(predictors) != number:
        raise ValueError(
            f"this recipe has {number} folds with test rows of their own, and {len(predictors)} model was given: give "
            "one model a fold, a folder with fold-0, fold-1, …, or fold=… for one of them"
        )
    return predictors


def model_name(model: Any) -> str:
    """Return the name under which a model, or the first of several, stands in the table of scores."""
    if isinstance(model, list | tuple):
        return model_name(model[0])
    return str(model) if isinstance(model, str | os.PathLike) else predictors_of(model)[0].name


def _data_note(recipe: Recipe, limit: int | None) -> str:
    from ..datasets.loading import TABLES, data_note

    note = (data_note(recipe.dataset) or "") if recipe.dataset in TABLES else recipe.dataset
    return note if limit is None else f"a sample of {limit} test rows. {note}".strip()


def _sample_rows(
    predictor: Baseline, recipe: Recipe, splits: Splits, *, progress: bool
) -> list[dict[str, Any]]:
    """Predict the test rows and put target and prediction, or scores, side by side."""
    task = TASKS[recipe.task]
    sequences = [example.sequence for example in splits.test]
    if predictor.learns(recipe):
        predictor.fit(recipe, splits.train)
    if splits.labels:
        predictor.check_labels(recipe, splits.labels)
    answers: Iterable[Any]
    if (
        task.predicts_structures
    ):  # one at a time: the probabilities of all structures would not fit into memory
        answers = predictor.fold([(example.name, example.sequence) for example in splits.test])
    else:
        answers = predictor.predict(recipe, sequences, progress=progress)
    rows = []
    with progress_bar(len(sequences), "evaluate", shown=progress and task.predicts_structures) as bar:
        for example, answer in zip(splits.test, answers, strict=True):
            base = {"name": example.name, "group": example.group, "length": len(example)}
            rows.append(base | task.sample(example.target, answer))
            bar.update()
    return rows


MANY = 20
"""Groups that are listed one by one; of more families the mean of their means is given."""


def _scores(
    task: Task, samples: pd.DataFrame, labels: Any, *, draws: int, of_families: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the lines of the table of scores: of all rows, of each group or of families on average, of each fold."""
    parts = [("all", "all", samples)]
    groups, folds = sorted(set(samples["group"])), sorted(set(samples["fold"]))
    many = of_families and len(groups) > MANY
    if len(groups) > 1 and not many:
        parts += [(group, "all", samples[samples["group"] == group]) for group in groups]
    if len(folds) > 1:
        parts += [("all", str(fold), samples[samples["fold"] == fold]) for fold in folds]
    for group, fold, part in parts:
        yield from _lines(group, fold, len(part), _score(task, part, labels), draws=draws)
    if many:
        families = [part for _, part in samples.groupby("group", sort=True)]
        yield from _lines(
            "family mean", "all", len(families), _mean_of_means(task, families, labels), draws=draws
        )


def _lines(
    group: str, fold: str, n: int, score: Callable[[NDArray[np.int64]], dict[str, float]], *, draws: int
) -> Iterator[dict[str, Any]]:
    """Yield a line for each metric of a function from indices to scores, with its interval."""
    intervals = bootstrap_intervals(n, score, draws=draws)
    for metric, value in score(np.arange(n)).items():
        low, high = intervals.get(metric, (None, None))
        line = {"group": group, "fold": fold, "metric": metric, "value": value, "low": low, "high": high}
        yield {**line, "n": n}


def _mean_of_means(
    task: Task, families: Sequence[pd.DataFrame], labels: Sequence[str] | None
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return a function from indices of families to the mean of their scores."""
    of_each = [_score(task, part, labels)(np.arange(len(part))) for part in families]
    metrics = list(of_each[0])
    values = np.array([[one[metric] for metric in metrics] for one in of_each])
    return lambda chosen: dict(zip(metrics, values[chosen].mean(axis=0).tolist(), strict=True))


def _score(
    task: Task, part: pd.DataFrame, labels: Sequence[str] | None
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return a function from indices of rows to their scores; of several folds, to the mean of each fold's."""
    folds = part["fold"].to_numpy()
    if len(set(folds)) > 1:
        pieces = {fold: _score(task, part[folds == fold], labels) for fold in sorted(set(folds))}
        position = np.zeros(len(part), dtype=np.int64)
        for fold in pieces:
            position[folds == fold] = np.arange((folds == fold).sum())

        def mean_of_folds(chosen: NDArray[np.int64]) -> dict[str, float]:
            here = [(pieces[fold], position[chosen[folds[chosen] == fold]]) for fold in pieces]
            found = [score(rows) for score, rows in here if len(rows)]
            return {metric: float(np.mean([one[metric] for one in found])) for metric in found[0]}

        return mean_of_folds
    return task.scorer({name: part[name].to_numpy() for name in part}, labels)
