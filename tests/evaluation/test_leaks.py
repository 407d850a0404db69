"""Guards against testing on what a model was trained on."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reproduction.trained_on import training_fingerprints
from rinalmo_kit import datasets
from rinalmo_kit.datasets import load_table
from rinalmo_kit.evaluation import evaluate, fingerprints, leakage
from rinalmo_kit.evaluation.leakage import TRAINING_SETS, LeakWarning, TrainedOn
from rinalmo_kit.model import pretrained
from rinalmo_kit.rna import families


def found(model, dataset, query=None):
    table = load_table(dataset)
    return leakage.find(TRAINING_SETS[model], table.query(query) if query else table, dataset=dataset)


def test_exact_duplicates():
    assert leakage.exact_duplicates([], ["A"]).tolist() == []
    assert leakage.exact_duplicates(["gat"], ["GAU", "GAUU", "gaT"]).tolist() == [0, 2]
    assert str(leakage.exact_duplicates(["A"], []).dtype) == "int64"


def test_every_official_model_with_a_head_is_listed():
    assert {name for name in pretrained.OFFICIAL if "-" in name} <= set(TRAINING_SETS)
    assert all(what.dataset in datasets.TABLES for trained in TRAINING_SETS.values() for what in trained)
    assert str(TRAINING_SETS["giga-ss-archiveII-5s"][0]) == "archiveII without 5s"


def test_a_test_set_that_was_trained_on(data):
    assert found("giga-ss-bprna", "bprna", "split == 'TS0'").empty
    rows = found("giga-ss-bprna", "bprna", "split == 'TR0'")
    assert len(rows) == 8568 and set(rows["why"]) == {"same set"}
    assert found("giga-ss-archiveII-5s", "archiveII", "family == '5s'").empty
    rows = found("giga-ss-archiveII-5s", "archiveII")
    assert set(rows["family"]) == set(families.FAMILIES) - {"5s"} and len(rows) == 1936 - 642


def test_rows_that_are_in_the_training_set(data):
    """The overlaps that the tables' READMEs state: TestSetB and ArchiveII rows that are in bpRNA."""
    rows = found("giga-ss-bprna", "rivas", "split == 'TestSetB'")
    assert set(rows["why"]) == {"same sequence"} and 100 < len(rows) < 215
    training = set(load_table("bprna").query("split != 'TS0'")["sequence"])
    assert set(rows["sequence"]) <= training
    clean = load_table("rivas").query("split == 'TestSetB'")
    assert not training & set(clean[~clean["id"].isin(rows["id"])]["sequence"])
    assert 100 < len(found("giga-ss-bprna", "archiveII")) < 400
    assert len(found("nano-ss", "archiveII")) == 694, "ss_more has rows of ArchiveII"
    rows = leakage.find([TrainedOn("rivas", "TrainSetA")], load_table("rivas").query("split == 'TestSetB'"))
    assert rows.empty, "TestSetB is honest for models of TrainSetA"


def test_one_warning_with_all_rows(data):
    table = load_table("archiveII").query("family in ('tRNA', '5s')")
    with pytest.warns(LeakWarning) as caught:
        rows = leakage.warn(TRAINING_SETS["giga-ss-archiveII-5s"], table, dataset="archiveII", model="m")
    assert len(caught) == 1 and len(caught[0].message.rows) == len(rows) == 279
    message = str(caught[0].message)
    assert (
        "279 of 921 test rows are in the data that m was trained on: 279 of archiveII without 5s" in message
    )
    assert rows["id"][0] in message and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert leakage.warn(
            TRAINING_SETS["giga-ss-archiveII-5s"], table.query("family == '5s'"), dataset="archiveII"
        ).empty


def test_what_cannot_be_compared_is_said(data, monkeypatch, tmp_path):
    with pytest.warns(LeakWarning, match=r"is unknown: rfam88 train: the available rows are not those"):
        leakage.warn(
            TRAINING_SETS["giga-ncrna-0"], load_table("rfam88").query("split == 'test'"), dataset="rfam88"
        )
    table = load_table("archiveII")
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(tmp_path))
    rows = leakage.find(TRAINING_SETS["giga-ss-archiveII-5s"], table, dataset="archiveII")
    assert len(rows) == 1936 - 642, "the set is known without the training rows"
    assert "archiveII.parquet is missing" in rows.attrs["unchecked"][0]
    own = pd.DataFrame({"id": ["a"], "sequence": ["ACGU"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert leakage.warn(TRAINING_SETS["nano-ss"], own).empty, (
            "own data, nothing to compare with: no noise"
        )


def model(**about):
    return SimpleNamespace(name="mine", about=about)


def recipe(dataset, noise=0):
    return SimpleNamespace(dataset=dataset, noise=noise)


def examples(table):
    rows = zip(table["id"], table["sequence"], strict=True)
    return [SimpleNamespace(name=name, sequence=sequence) for name, sequence in rows]


def test_models_of_our_own_say_what_they_were_trained_on(data):
    mine = model(dataset="te_el", rows="dataset == 'Muscle' and fold != @fold", fold=3)
    [what] = leakage.trained_on(mine)
    assert str(what) == "te_el (dataset == 'Muscle' and fold != 3)"
    table = load_table("te_el").query("dataset == 'Muscle'")
    other = table[table["fold"] == 4]
    with pytest.warns(LeakWarning, match=f"{len(other)} of {len(other)} test rows .* mine was trained on"):
        leakage.warn_if_trained_on(mine, recipe("te_el"), examples(other))
    kept = examples(table[table["fold"] == 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = leakage.warn_if_trained_on(mine, recipe("te_el"), kept)
    assert rows.empty


def test_what_a_model_was_started_from_counts_too(data):
    mine = model(
        dataset="own data", earlier={"dataset": "rivas", "rows": "split == 'TrainSetA'", "start": "nano-ss"}
    )
    test = load_table("rivas").query("split == 'TestSetB'")
    with pytest.warns(LeakWarning, match="of bprna TR0"):
        rows = leakage.warn_if_trained_on(mine, recipe("rivas"), examples(test))
    assert set(rows["trained_on"]) == {"bprna TR0", "bprna VL0"}
    assert leakage.trained_on(SimpleNamespace(name="nano-ss", about={})) == TRAINING_SETS["nano-ss"]
    assert leakage.trained_on(model(pretraining={"start": "nano-ss"})) == TRAINING_SETS["nano-ss"]
    assert leakage.trained_on(SimpleNamespace(name="a.pt")) == ()


def test_noise_does_not_hide_a_row(data):
    mine = model(dataset="rfam88", rows="split == 'train'")
    rows = load_table("rfam88").query("split == 'train'").head(20)
    noisy = examples(rows.assign(sequence="A" + rows["sequence"] + "A"))
    with pytest.warns(LeakWarning, match="20 of 20 test rows"):
        leakage.warn_if_trained_on(mine, recipe("rfam88", noise=200), noisy)


# without the tables


@pytest.fixture
def no_tables(monkeypatch, tmp_path):
    for name in ("RINALMO_KIT_DATA", "RINALMO_KIT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))


def test_the_package_knows_what_its_models_were_trained_on(data):
    """Each model's fingerprints are those of its tables: as ``python -m reproduction.trained_on`` writes them."""
    stored, expected = fingerprints.stored_fingerprints(), training_fingerprints()
    assert set(stored) == set(expected) and len(stored) == 7
    for name, numbers in expected.items():
        assert np.array_equal(stored[name], numbers), name


def test_shipped_rnas_that_were_trained_on_are_found_without_tables(no_tables):
    examples = datasets.load_structures("examples")
    with pytest.warns(
        LeakWarning, match="14 of 37 test rows are in the data that nano-ss was trained on"
    ) as caught:
        scores = evaluate("nano-ss", examples)
    assert set(caught[0].message.rows["why"]) == {"same sequence"} and len(scores.samples) == 37
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        others = leakage.unseen("nano-ss", examples)
        assert len(others) == 23 and not {rna.name for rna in others} & set(caught[0].message.rows["id"])
        assert len(evaluate("nano-ss", others[:3]).samples) == 3
    table = pd.DataFrame({"sequence": [rna.sequence for rna in examples]}, index=range(100, 137))
    assert leakage.unseen("nano-ss", table)["sequence"].tolist() == [rna.sequence for rna in others]
    assert leakage.unseen("nano-ss", table["sequence"].tolist()) == [rna.sequence for rna in others]
    with pytest.raises(
        TypeError, match="rnas: expected a list of structures or sequences, or a table, found a str"
    ):
        leakage.unseen("nano-ss", "ACGU")
    assert leakage.unseen("unknown", examples) == examples and leakage.unseen("nano-ss", []) == []


@pytest.mark.parametrize("change", [str, str.lower, lambda text: text.replace("U", "T")])
def test_letters_and_case_do_not_hide_a_row(no_tables, change):
    sequence = next(
        rna.sequence for rna in datasets.load_structures("examples") if trained_with(rna.sequence)
    )
    rows = leakage.find(TRAINING_SETS["nano-ss"], pd.DataFrame({"id": ["a"], "sequence": [change(sequence)]}))
    assert rows["why"].tolist() == ["same sequence"] and rows.attrs["unchecked"] == []


def trained_with(sequence):
    known = np.concatenate(
        [fingerprints.stored_fingerprints()[str(what)] for what in TRAINING_SETS["nano-ss"]]
    )
    return bool(np.isin(fingerprints.fingerprints([sequence]), known)[0])


def test_models_trained_on_from_ours_are_compared_too(no_tables):
    mine = model(**{"own data": 1, "earlier": {}, "start": "nano-ss"})
    rna = next(rna for rna in datasets.load_structures("examples") if trained_with(rna.sequence))
    with pytest.warns(LeakWarning, match="1 of 1 test rows"):
        leakage.warn_if_trained_on(mine, recipe("own"), [SimpleNamespace(name="a", sequence=rna.sequence)])
