"""The table of structure scores: measured beside published, each row with its own provenance."""

import pandas as pd
import pytest

from reproduction.structure_tables import markdown, replaced
from rinalmo_kit.datasets import read_numbers
from rinalmo_kit.evaluation import evaluate, structure_table
from tests.helpers.examples import hairpins

SCORES = {"precision": 0.7, "recall": 0.6, "f1": 0.64, "f1_strict": 0.61, "inf": 0.65}


def scores(model, recipe="ss-bprna", group="all", n=653):
    line = {"model": model, "recipe": recipe, "group": group, "fold": "all", "n": n}
    line |= {"command": f"evaluate {model}", "commit": "abc", "date": "2026-11-26"}
    return pd.DataFrame([line | {"metric": metric, "value": value} for metric, value in SCORES.items()])


def test_measured_rows_stand_among_published_ones_with_their_provenance():
    measured = [scores("nano-ss"), scores("nano-ss, alone"), scores("mine")]
    measured += [scores("mine", group="RFAM"), scores("mine", recipe="ss-newfam")]
    table = structure_table(measured=pd.concat(measured))
    assert table.index.is_unique and set(table.loc["nano-ss", ["kind", "mean"]]) == {"measured", "structures"}
    assert table.loc["nano-ss", "source"] == "evaluate nano-ss, abc, 2026-11-26"
    assert table.loc["nano-ss, alone", "parameters_M"] == 7.6 and table.loc["mine", "rows"] == 653
    for name, row in table[table["kind"] == "measured"].iterrows():
        assert row[["precision", "recall", "f1", "f1_strict"]].tolist() == [0.7, 0.6, 0.64, 0.61], name
    others = table[table["kind"] != "measured"]
    assert others["source"].str.len().min() > 0 and set(table["mean"]) == {"structures", "pairs", ""}
    assert table.loc["sincFold, stored", ["f1", "f1_strict", "rows"]].tolist() == [0.633, 0.601, 653]
    best = table["f1"].fillna(table["f1_strict"])
    assert best.dropna().is_monotonic_decreasing and best.index[-1] == "eFold"


def test_what_has_seen_the_test_set_is_left_out_and_footnotes_are_given():
    table = structure_table(measured=scores("nano-ss").iloc[:0])
    assert "UFold, all data" not in table.index and "MXfold2" not in table.index
    assert "trained on TS0" in table.loc["UFold", "note"]
    assert "not reproduced" in table.loc["RNA-FM", "note"]
    assert table.loc["eFold", "kind"] == "not measured" and "measured" not in set(table["kind"])
    published = read_numbers("published/ss_small_models")
    assert "UFold, all data" in set(published["method"]) and published["source"].notna().all()


def test_new_families_are_means_of_family_means():
    rows = [scores("viennarna", "ss-rfam-new", "family mean", 93), scores("viennarna", "ss-rfam-new")]
    table = structure_table("new families", measured=pd.concat(rows))
    assert set(table["mean"]) == {"families"} and table.loc["viennarna", "rows"] == 93
    assert table.loc["RNAfold", "f1_strict"] == 0.383 and "sincFold, released" not in table.index
    with pytest.raises(ValueError, match="unknown test set 'TS1'; known: TS0, new families"):
        structure_table("TS1")


def test_scores_of_an_evaluation_need_no_provenance():
    found = evaluate("trivial", hairpins(6, seed=0), draws=0).scores.assign(recipe="ss-bprna")
    row = structure_table(measured=found).loc["trivial"]
    assert row["f1"] == found.set_index("metric").loc["f1", "value"] and row["source"] == ""


def test_markdown_rounds_and_numbers_the_notes():
    lines = markdown(structure_table(measured=scores("nano-ss")).loc[["nano-ss", "UFold", "eFold", "RNA-FM"]])
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert lines[2].startswith("| nano-ss | 0.70 | 0.60 | 0.64 | 0.61 | 7.6 M | ")
    assert lines[2].endswith("| 653 | measured: with ViennaRNA, as it folds by default |")
    assert lines[4].startswith("| eFold | – | – | – | – | 2.8 M |") and "| not measured [2] |" in lines[4]
    assert lines[6] == "" and lines[7].startswith("Notes: [1] 0.78 (±1)") and " [3] 0.704" in lines[7]


def test_a_document_gets_the_new_table_and_keeps_the_rest():
    lines = markdown(structure_table(measured=scores("nano-ss")))
    text = "# A\n\n| TS0 | F1 | |\n|---|---|---|\n| old | 0.5 | |\n\nAfter.\n"
    once = replaced(text, lines)
    assert (
        once.startswith("# A\n\n| TS0 | precision")
        and once.endswith(".\n\nAfter.\n")
        and "| old |" not in once
    )
    assert replaced(once, lines) == once
    with pytest.raises(ValueError, match="no table that starts with"):
        replaced("# A\n", lines)
