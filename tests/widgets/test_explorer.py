"""The embedding explorer without a browser: its groups and colours, numbers, missing values, progress."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.plot.embedding import STYLES, group_styles
from rinalmo_kit.widgets import EmbeddingExplorer

FIVE = ["GGGAAACCC", "ACGUACGU", "GGGGCCCC", "AUAUAUAU", "GCGCGCGC"]


def floats(raw):
    return np.frombuffer(raw, dtype="<f4")


def explorer_of(n: int = 40, *, coordinates=None, **columns) -> EmbeddingExplorer:
    table = pd.DataFrame({"sequence": ["ACGU"] * n, **columns})
    places = np.arange(2.0 * n).reshape(n, 2) if coordinates is None else coordinates
    return EmbeddingExplorer(table, coordinates=places, fold_model=None)


@pytest.fixture(scope="module")
def map_of_five():
    return rk.evaluation.tsne_map(rk.embed(FIVE, pool="mean"))


def test_groups_have_the_colours_of_the_figure(map_of_five):
    families = ["b", "a", "a", "c", "b"]  # two of equal size: by name, in both
    table = pd.DataFrame({"sequence": FIVE, "family": families})
    explorer = EmbeddingExplorer(table, coordinates=map_of_five)
    ax = rk.plot.embedding_map(map_of_five.coordinates, families)
    drawn = {dots.get_label(): dots.get_facecolor()[0] for dots in ax.collections}
    shown = dict(zip(explorer.groups["labels"], explorer.groups["colors"], strict=True))
    assert list(shown) == ["a", "b", "c"]
    for name, color in shown.items():
        assert [f"{round(255 * part):02X}" for part in drawn[name][:3]] == [
            color[k : k + 2] for k in (1, 3, 5)
        ]
    explorer.place({"new": "ACGUACGU"})
    after = dict(zip(explorer.groups["labels"], explorer.groups["colors"], strict=True))
    assert after == {**shown, "(placed)": ""}, "what is placed changes no colour"
    assert explorer.groups["labels"][int(floats(explorer.codes)[-1])] == "(placed)"


def test_eighty_eight_families_look_different_and_more_than_can_be_told_apart_are_said():
    few = explorer_of(88, family=[f"RF{k:05d}" for k in range(88)])
    looks = set(zip(few.groups["colors"], few.groups["markers"], strict=True))
    assert len(looks) == 88 and few.groups["note"] == ""
    many = explorer_of(STYLES + 1, family=[f"RF{k:05d}" for k in range(STYLES + 1)])
    assert many.groups["note"] == "97 groups: colours and markers repeat after 96"
    with pytest.warns(UserWarning, match="97 groups: colours and markers repeat after 96"):
        rk.plot.embedding_map(np.zeros((STYLES + 1, 2)), [f"g{k}" for k in range(STYLES + 1)])
    assert [style[:2] for style in group_styles(["x", "y", "y"])] == [("y", 2), ("x", 1)]


ODD = [np.nan, np.inf, -np.inf, 1e300, -1e300]


@pytest.mark.parametrize(
    "column",
    [
        np.r_[np.linspace(0, 1, 35), ODD],
        pd.array([*range(38), None, None], dtype="Int64"),
        pd.array([*np.linspace(0, 1, 38), None, np.inf], dtype="Float64"),
        np.arange(40, dtype="u8") + 2**20,
        np.full(40, np.nan),
        np.r_[np.full(20, np.inf), np.full(20, -np.inf)],
        [None] * 40,
        [*["a", None, np.nan, pd.NA, ""] * 8],
        [*[True, False, None, True] * 10],
        pd.date_range("2020-01-01", periods=40),
        [[1], {"a": 2}] * 20,
    ],
    ids=lambda column: str(getattr(column, "dtype", type(column[1]).__name__)),
)
def test_odd_values_do_not_break_it(column):
    explorer = explorer_of(score=column)
    assert explorer.color == "score" and len(floats(explorer.codes)) == 40
    json.dumps(explorer.groups, allow_nan=False)
    if "low" in explorer.groups:
        assert explorer.groups["low"] < explorer.groups["high"]
        missing = ~np.isfinite(pd.to_numeric(explorer.table["score"]).to_numpy(np.float64, na_value=np.nan))
        assert np.isnan(floats(explorer.codes)).sum() == explorer.groups["missing"] == missing.sum()
    else:
        labels = np.array(explorer.groups["labels"], dtype=object)[floats(explorer.codes).astype(int)]
        assert len(labels) == 40
    assert "data:image/png;base64," in explorer.static_mimebundle()["text/html"]


def test_rows_without_a_place_stay_in_the_table_and_are_said():
    places = np.arange(80.0).reshape(40, 2)
    places[3, 0], places[5, 1] = np.nan, np.inf
    explorer = explorer_of(coordinates=places, family=["a", "b"] * 20)
    assert (
        np.isnan(floats(explorer.x)).nonzero()[0].tolist()
        == [3, 5]
        == np.isnan(floats(explorer.y)).nonzero()[0].tolist()
    )
    assert explorer.message["text"] == "2 of 40 rows have no place on the map: not a finite number"
    assert "data:image/png;base64," in explorer.static_mimebundle()["text/html"]
    vectors = np.random.default_rng(0).normal(size=(40, 4))
    vectors[7, 2] = np.nan
    table = pd.DataFrame({"sequence": ["ACGU"] * 40})
    explorer = EmbeddingExplorer(table, vectors, fold_model=None)
    assert np.isnan(floats(explorer.x)).nonzero()[0].tolist() == [7] and explorer.can_place


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, 5])
def test_a_row_without_a_sequence_is_named(missing):
    table = pd.DataFrame({"sequence": [*FIVE, missing]}, dtype=object)
    with pytest.raises(ValueError, match="row 5 has no sequence to embed"):
        EmbeddingExplorer(table)


def test_two_columns_of_one_name_are_rejected():
    table = pd.DataFrame([["ACGU", 1, 2]] * 5, columns=["sequence", "a", "a"])
    with pytest.raises(ValueError, match="two columns 'a'"):
        EmbeddingExplorer(table, coordinates=np.zeros((5, 2)))


def test_progress_is_shown_while_it_embeds_maps_and_places(capsys, map_of_five):
    explorer = EmbeddingExplorer({str(k): one for k, one in enumerate(FIVE)}, progress=True)
    shown = capsys.readouterr().err
    assert "embed: 100%" in shown and "map: 100%" in shown
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), names="message")
    explorer._handle_custom_msg({"do": "place", "text": "".join(f">r{k}\nACGUACGU\n" for k in range(20))}, [])
    assert [one["text"] for one in seen] == [
        "embedding: 0 of 20 RNAs are finished …",
        "embedding: 16 of 20 RNAs are finished …",
        "looking for the places of 20 RNAs …",
        "20 placed and selected",
    ]
    assert [bool(one.get("busy")) for one in seen] == [True, True, True, False]
    assert explorer.placed == list(range(5, 25))
    explorer._handle_custom_msg({"do": "place", "text": "ACGX"}, [])
    assert explorer.message["wrong"] and not explorer.message.get("busy")


def test_a_map_with_progress_is_the_same_map():
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    a, b = (rk.evaluation.tsne_map(vectors, progress=progress) for progress in (False, True))
    np.testing.assert_array_equal(a.coordinates, b.coordinates)


def test_numbers_have_a_colour_bar_in_the_figure():
    ax = rk.plot.embedding_map([[0, 0], [1, 1], [2, 2], [np.nan, 3]], values=[1.0, 5.0, np.inf, 2.0])
    grey, dots = ax.collections
    assert len(grey.get_offsets()) == 1 and dots.get_array().tolist() == [1, 5]
    assert len(ax.figure.axes) == 2
    with pytest.raises(ValueError, match="labels and values"):
        rk.plot.embedding_map([[0, 0]], ["a"], values=[1])
    with pytest.raises(ValueError, match="values are not numbers"):
        rk.plot.embedding_map([[0, 0]], values=["a"])
    with pytest.raises(ValueError, match=r"values have shape \(2,\), there are 1 points"):
        rk.plot.embedding_map([[0, 0]], values=[1, 2])
