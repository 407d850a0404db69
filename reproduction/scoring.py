"""Scores of the shipped models on complete test sets, and how far their confidence can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rinalmo_kit._utils.rows import select
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.evaluation.baselines import installed
from rinalmo_kit.evaluation.predictors import ModelPredictor
from rinalmo_kit.inference.confidence import reliability
from rinalmo_kit.inference.folding import fold
from rinalmo_kit.metrics import structure_scores
from rinalmo_kit.recipes.named import recipe_named
from rinalmo_kit.recipes.recipe import Recipe
from rinalmo_kit.recipes.splits import splits_of
from rinalmo_kit.structure import Structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinalmo_kit.model.rinalmo import Encoder

    from .embedded_weights import Job

__all__ = ["scores", "trust"]

SEED = 20261124


def fold_all(sequences: list[str], model: Encoder) -> list[Structure]:
    """Fold every sequence of a list."""
    return cast("list[Structure]", fold(sequences, model=model))


PROGRAMS = ("viennarna", "viennarna-mea", "linearpartition")
"""Programs to compare folds with, where they are installed."""


def scores(job: Job) -> None:
    """Score every model, folding by its own rules and alone, beside the baselines on complete test sets."""
    recipes: tuple[str | Recipe, ...] = (
        "ss-bprna",
        "ss-rfam-new",
        *map(unseen, ("newfam", "pseudobase")),
    )
    models = [job.stored(name) for name in ("nano-ss", "pico-ss") if job.file(name).exists()]
    folds = [ModelPredictor(model, energy=energy) for model in models for energy in ("model", None)]
    programs = [name for name in PROGRAMS if name in installed()]
    for recipe in recipes if folds else ():
        for one in (*folds, *programs):
            job.score(one, recipe)
    for task in job.tasks:
        if job.file(f"pico-{task}").exists():
            for one in (job.stored(f"pico-{task}"), "simple", "trivial"):
                job.score(one, task)


def trust(job: Job) -> None:
    """Compare confidence with what was measured: F1 of structures, states of nucleotides; count crossing pairs."""
    import pandas as pd

    model = job.stored("nano-ss" if job.file("nano-ss").exists() else "pico-ss")
    rng, parts, rows = np.random.default_rng(SEED), [], []
    sets = {"TS0": recipe_named("ss-bprna"), "NF-15": unseen("newfam"), "PseudoBase++": unseen("pseudobase")}
    for name, recipe in sets.items():
        test = splits_of(recipe, test_limit=20 if job.smoke else 1000, wanted=("test",)).test
        folded, targets = fold_all([e.sequence for e in test], model), [e.target for e in test]
        parts.append(reliability(folded, targets).assign(set=name))
        rows.append({"set": name, "n": len(test), **calibration_errors(folded, targets)})
        if name == "TS0":
            shuffled = ["".join(rng.permutation(list(e.sequence))) for e in test]
    sure = [s.confidence for s in fold_all(shuffled, model) if s.confidence is not None]
    parts.append(pd.DataFrame([{"confidence": np.mean(sure), "n": len(sure), "set": "TS0, shuffled"}]))
    job.note("confidence", pd.concat(parts, ignore_index=True))
    job.note("calibration", pd.DataFrame(rows))


def calibration_errors(folded: Sequence[Structure], targets: Sequence[Structure]) -> dict[str, float]:
    """Return the expected calibration errors of structures and of nucleotides, and how often pairs cross wrongly.

    The last is the share of folds with crossing pairs among those whose targets have none; NaN if all have some.
    """
    f1 = np.array([structure_scores(t, s).f1 for t, s in zip(targets, folded, strict=True)])
    confidence = np.array([s.confidence for s in folded], dtype=np.float64)
    right = np.concatenate([s.partner == t.partner for t, s in zip(targets, folded, strict=True)])
    sure = np.concatenate([cast("NDArray[np.float64]", s.base_confidence) for s in folded])
    nested = [
        has_crossing(s.pairs) for t, s in zip(targets, folded, strict=True) if not has_crossing(t.pairs)
    ]
    return {
        "structures": expected_calibration_error(confidence, f1),
        "nucleotides": expected_calibration_error(sure, right),
        "crossing_without_target": float(np.mean(nested)) if nested else math.nan,
    }


def expected_calibration_error(confidence: NDArray[np.float64], seen: NDArray[Any]) -> float:
    """Return the mean difference of confidence and what was seen in ten bins of confidence, weighted by their size.

    Examples
    --------
    >>> expected_calibration_error(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0, 0, 1, 0]))
    0.25
    """
    bins = np.digitize(confidence, np.linspace(0, 1, 11)[1:-1])
    error = 0.0
    for one in np.unique(bins):
        inside = bins == one
        error += abs(seen[inside].mean() - confidence[inside].mean()) * inside.mean()
    return float(error)


def has_crossing(pairs: NDArray[np.int64]) -> bool:
    """Return whether two pairs cross."""
    i, j = pairs.T
    return bool(((i[:, None] < i) & (i < j[:, None]) & (j[:, None] < j)).any())


def unseen(dataset: str) -> Recipe:
    """Make a recipe that only tests: the rows of a set of structures that are not in TR0 or VL0."""
    known = select(load_table("bprna"), "split != 'TS0'")["sequence"]
    table = load_table(dataset)
    duplicates = table["sequence"][table["sequence"].isin(set(known))].tolist()
    test = f"sequence not in {duplicates}"
    return replace(recipe_named("ss-bprna"), name=f"ss-{dataset}", dataset=dataset, test=test, group=None)
