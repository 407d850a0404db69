"""Wrong arguments are answered where they are given, and what is shown is short: one kind for all public functions."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference.folding import fold_each
from rinalmo_kit.recipes import RECIPES, with_changes
from rinalmo_kit.recipes.splits import splits_of
from rinalmo_kit.training.plan import plan
from rinalmo_kit.widgets import EmbeddingExplorer, TrainingMonitor

NAN, RNA = float("nan"), "GGGGAAAACCCC"
PACKAGE = Path(rk.__file__).parent


@pytest.fixture(scope="module")
def hairpin():
    return rk.fold(RNA)


WRONG = {
    "fold None": lambda s: rk.fold(None),
    "fold a number": lambda s: rk.fold(5),
    "fold a missing value": lambda s: rk.fold([None]),
    "threshold above 1": lambda s: rk.fold(RNA, threshold=1.5),
    "threshold NaN": lambda s: rk.fold(RNA, threshold=NAN),
    "min_loop below 0": lambda s: rk.fold(RNA, min_loop=-1),
    "gamma 0": lambda s: rk.fold(RNA, gamma=0),
    "canonical_only": lambda s: rk.fold(RNA, canonical_only="no"),
    "canonical_only None": lambda s: rk.fold(RNA, canonical_only=None),
    "decoding": lambda s: rk.fold(RNA, decoding=5),
    "model None": lambda s: rk.fold(RNA, model=None),
    "refold None": lambda s: rk.refold(None),
    "refold several": lambda s: rk.refold([s]),
    "refold text": lambda s: rk.refold(RNA),
    "fold_each None": lambda s: list(fold_each(None)),
    "fold_each without sequence": lambda s: list(fold_each([("a", None)])),
    "fold_each name alone": lambda s: list(fold_each([("a",)])),
    "whiten": lambda s: rk.embed(RNA, whiten="no"),
    "pool": lambda s: rk.embed(RNA, pool=5),
    "layer": lambda s: rk.embed(RNA, layer=NAN),
    "device gpu": lambda s: rk.load("nano", device="gpu"),
    "device 5": lambda s: rk.load("nano", device=5),
    "device list": lambda s: rk.load("nano", device=[]),
    "dtype text": lambda s: rk.load("nano", dtype="float16"),
    "dtype int": lambda s: rk.load("nano", dtype=torch.int8),
    "save to None": lambda s: rk.save(rk.load("nano"), None),
    "read None": lambda s: rk.read_structures(None),
    "read nothing": lambda s: rk.read_structures(""),
    "evaluate fold": lambda s: rk.evaluate("nano-ss", [s], fold="1"),
    "evaluate output": lambda s: rk.evaluate("nano-ss", [s], output=5),
    "changes": lambda s: with_changes(RECIPES["mrl"], 5),
    "scores of unequally many": lambda s: rk.metrics.regression_scores([1, 0], [1]),
    "scores of none": lambda s: rk.metrics.multiclass_scores([], []),
    "scores of NaN": lambda s: rk.metrics.regression_scores([NAN, 1], [1, 1]),
    "scores of None": lambda s: rk.metrics.binary_scores(None, None),
    "yes-or-no of text": lambda s: rk.metrics.binary_scores(["a"], ["b"]),
    "seed": lambda s: rk.evaluation.tsne_map(np.eye(8), seed=1.5),
    "seed below 0": lambda s: rk.evaluation.tsne_map(np.eye(8), seed=-1),
    "mutate None": lambda s: rk.evaluation.mutation_effects(None, len),
    "attention of None": lambda s: rk.evaluation.attention_of_pairs(None),
    "maps of a list": lambda s: rk.evaluation.average_product_corrected([]),
    "examples of no family": lambda s: rk.datasets.load_structures("examples", family="tRNAs"),
    "numbers of None": lambda s: rk.datasets.read_numbers(None),
    "dot-bracket None": lambda s: rk.Structure.from_dot_bracket("ACGU", None),
    "draw None": lambda s: rk.plot.structure(None),
    "draw a list": lambda s: rk.plot.structure([s]),
    "draw beside 5": lambda s: rk.plot.structure(s, reference=5),
    "arcs of text": lambda s: rk.plot.arcs("x"),
    "arcs beside 5": lambda s: rk.plot.arcs(s, reference=5),
    "page of None": lambda s: rk.plot.structure_html(None),
    "curves of None": lambda s: rk.plot.training_curves(None),
    "perplexity of text": lambda s: rk.plot.perplexity("x"),
    "perplexity of another table": lambda s: rk.plot.perplexity(pd.DataFrame()),
    "log of None": lambda s: rk.plot.training_log(None),
    "reliability of a list": lambda s: rk.plot.reliability([]),
    "reliability of another table": lambda s: rk.plot.reliability(pd.DataFrame()),
    "boxes of None": lambda s: rk.plot.score_boxes(None),
    "table of text": lambda s: rk.plot.score_table("x"),
    "monitor of None": lambda s: TrainingMonitor(None),
    "explorer of None": lambda s: EmbeddingExplorer(None),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_answered_by_us(case, hairpin):
    with pytest.raises((ValueError, TypeError)) as caught:
        WRONG[case](hairpin)
    where = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert where.is_relative_to(PACKAGE), f"{caught.value!r} comes from {where}"
    words = str(caught.value)
    assert "expected" in words or "there are" in words or "empty" in words or "must be" in words, words
    assert "NoneType' object" not in words and "has no attribute" not in words


def test_viennarna_is_not_asked_for_nothing():
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    for value in (None, [], 5, ""):  # a list would end Python
        with pytest.raises((ValueError, TypeError), match="expected"):
            rk.evaluation.viennarna(value)


MISSPELT = {
    "nano-ss": lambda: rk.load("nano_ss"),
    "pico-ncrna-0": lambda: rk.predict(RNA, model="pico-ncrna"),
    "giga": lambda: rk.load("gigaa"),
    "ss-bprna": lambda: rk.evaluate("nano-ss", "ss-bprn"),
    "classification": lambda: rk.evaluate("nano-ss", {"sequence": [RNA]}, task="clasification"),
    "mean": lambda: rk.embed(RNA, pool="men"),
    "greedy": lambda: rk.fold(RNA, decoding="gredy"),
    "strong": lambda: rk.fold(RNA, pseudoknots="stron"),
    "viennarna": lambda: rk.fold(RNA, energy="vienna-rna"),
    "bprna": lambda: rk.datasets.load_table("bprnaa"),
    "epochs": lambda: with_changes(RECIPES["mrl"], {"epoch": 3}),
    "h100": lambda: plan(10**6, model="mega", gpu="H-100", steps=3),
    "mega": lambda: plan(10**6, model="megaa", gpu="h100", steps=3),
    "tRNA": lambda: rk.datasets.load_structures("examples", family="tRNAs"),
    "published/fig3c_ts0": lambda: rk.datasets.read_numbers("published/fig3c-ts0"),
}


@pytest.mark.parametrize("meant", MISSPELT)
def test_a_misspelt_name_is_asked_back(meant):
    with pytest.raises(ValueError, match=rf"\(did you mean '{meant}'\?\)"):
        MISSPELT[meant]()


def test_no_query_reaches_a_user():
    table = pd.DataFrame({"sequence": ["ACGU"], "label": ["a"], "split": ["train"], "id": ["x"]})
    recipe = with_changes(RECIPES["ncrna-0"], {})
    with pytest.raises(ValueError, match="none where") as caught:
        splits_of(recipe, table=table)
    assert "==" not in str(caught.value) and "@" not in str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_the_sources_of_recipes_name_files(name):
    assert "spec §" not in RECIPES[name].source


NAMESPACES = [
    "",
    ".cli",
    ".datasets",
    ".datasets.corpus",
    ".evaluation",
    ".metrics",
    ".model",
    ".plot",
    ".recipes",
]


@pytest.mark.parametrize("name", [*NAMESPACES, ".widgets"])
def test_tab_completion_shows_the_public_names(name):
    module = importlib.import_module(f"rinalmo_kit{name}")
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize("name", [".inference", ".rna", ".training"])
def test_tab_completion_shows_the_public_modules(name):
    module = importlib.import_module(f"rinalmo_kit{name}")
    assert set(dir(module)) <= set(module.PUBLIC)
    for part in module.PUBLIC:
        assert importlib.import_module(f"rinalmo_kit{name}.{part}")
    assert sorted(dir(module)) == sorted(module.PUBLIC)


def test_tab_completion_of_widgets_shows_what_one_uses(tmp_path):
    monitor = TrainingMonitor(tmp_path)
    assert {"run", "result", "stop", "observe"} < set(dir(monitor)) and len(dir(monitor)) < 20
    assert all(hasattr(monitor, name) for name in dir(monitor))
    monitor.close()
    table = pd.DataFrame({"sequence": ["ACGU"] * 2})
    explorer = EmbeddingExplorer(table, coordinates=np.eye(2), fold_model=None)
    assert {"selection", "place"} < set(dir(explorer)) and len(dir(explorer)) < 20
    assert all(hasattr(explorer, name) for name in dir(explorer))


def test_objects_show_three_digits(hairpin):
    known = rk.read_structures(rk.datasets.EXAMPLES)[0]
    scores = rk.metrics.structure_scores(known, rk.Structure(known.sequence, known.pairs[:13]))
    assert repr(scores) == "StructureScores(precision=1.0, recall=0.65, f1=0.788, inf=0.806)"
    assert scores.f1 == pytest.approx(26 / 33) and isinstance(scores, tuple)
    result = rk.evaluate("nano-ss", [known], draws=0)
    assert repr(result).startswith(
        "<Evaluation of nano-ss on own data, n = 1: precision 0.952, recall 1, f1 0.976"
    )
    assert repr(rk.evaluate("nano-ss", [known, known], draws=5)).count(" to ") == 6
    assert repr(rk.evaluation.tsne_map(np.eye(8))) == "<Map of 8 vectors>"
    made = plan(10**6, model="mega", gpu="h100", steps=3)
    assert repr(made) == str(made)
