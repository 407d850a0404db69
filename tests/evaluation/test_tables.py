"""Scores as tables to print."""

from __future__ import annotations

import pandas as pd
import pytest

from rinalmo_kit.datasets import load_structures
from rinalmo_kit.evaluation import compare, evaluate, printed_scores

TRNAS = load_structures("examples", family="tRNA")


@pytest.fixture(scope="module")
def found():
    return compare(["trivial", "viennarna"], TRNAS, draws=50)


def test_a_row_a_method_with_its_interval(found):
    table = found.table("f1")
    assert list(table.index) == ["trivial", "viennarna"] and list(table) == ["F1", "95 % interval", "n"]
    row = found.scores.query("method == 'viennarna' and metric == 'f1' and group == 'all'").iloc[0]
    assert table.loc["viennarna", "F1"] == round(row["value"], 3)
    assert table.loc["viennarna", "95 % interval"] == f"{row['low']:.3f} to {row['high']:.3f}"
    assert set(table["n"]) == {len(TRNAS)}
    assert table.index.name is None and table.columns.name == "method"


def test_several_metrics_each_with_its_own(found):
    assert list(found.table(["f1", "inf"])) == [
        "F1",
        "95 % interval of F1",
        "INF",
        "95 % interval of INF",
        "n",
    ]


def test_one_model_is_named_by_its_name_and_without_draws_there_is_no_interval():
    table = evaluate("most-pairs", TRNAS, draws=0).table("f1_strict")
    assert list(table.index) == ["most-pairs"] and list(table) == ["strict F1", "n"]


def test_rows_named_by_two_columns_keep_their_order():
    rows = [("b", "x", 0.5), ("a", "y", 0.25), ("a", "x", 1 / 3)]
    scores = pd.DataFrame(rows, columns=["test", "method", "value"]).assign(
        metric="f1", low=None, high=None, n=7
    )
    table = printed_scores(scores, "f1", by=["test", "method"])
    assert list(table.index) == [("b", "x"), ("a", "y"), ("a", "x")]
    assert table["F1"].tolist() == [0.5, 0.25, 0.333]


def test_no_negative_zero():
    scores = pd.DataFrame(
        {"method": ["a"], "metric": "r2", "value": -0.0001, "low": -0.01, "high": -0.0002, "n": 3}
    )
    assert printed_scores(scores, "r2").loc["a", "95 % interval"] == "-0.010 to 0.000"


def test_what_is_not_there_and_what_is_there_twice_is_an_error(found):
    with pytest.raises(ValueError, match=r"'r2': there are .*f1"):
        found.table("r2")
    for nothing in ({"metrics": []}, {"metrics": "f1", "by": []}):
        with pytest.raises(ValueError, match="expected one name at least"):
            found.table(**nothing)
    with pytest.raises(ValueError, match=r"two scores of f1 for .*trivial.*: select one group and fold"):
        printed_scores(pd.concat([found.scores, found.scores]), "f1")
