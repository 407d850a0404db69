"""Charts: what the Axes hold, and what is rejected."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from rinalmo_kit import plot


@pytest.fixture(autouse=True)
def agg() -> Iterator[None]:
    mpl.use("Agg", force=True)
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def scores(groups: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "f1": float(np.clip(rng.normal(mean, 0.1), 0, 1)), "family": f"family {g}"}
        for method, mean in (("ours", 0.7), ("theirs", 0.5))
        for g in range(groups)
        for _ in range(20)
    ]
    return pd.DataFrame(rows)


def test_boxes_stand_for_the_scores_of_each_method():
    rows = scores()
    ax = plot.score_boxes(rows)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ours", "theirs"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert np.allclose([dot.get_ydata()[0] for dot in dots], rows.groupby("method")["f1"].mean())
    assert ax.get_ylabel() == "F1"


def test_boxes_by_family_say_how_many_there_are():
    rows = scores(3).drop(index=[0, 1])  # of the first method and family
    ax = plot.score_boxes(rows, group="family")
    assert [t.get_text() for t in ax.get_xticklabels()] == [
        "family 0\n(18)",
        "family 1\n(20)",
        "family 2\n(20)",
    ]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ours", "theirs"]
    assert len([line for line in ax.lines if line.get_marker() == "o"]) == 6
    assert plot.score_boxes(scores(9), group="family").figure.get_figwidth() > 7


def test_densities_are_of_each_method_and_as_wide_as_its_scores():
    rows = scores()
    ax = plot.score_densities(rows)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ours", "theirs"]
    ends = {to_hex(line.get_color()): line.get_xdata()[[0, -1]] for line in ax.lines}
    colors = [to_hex(line.get_color()) for line in ax.get_legend().get_lines()]
    for color, (_, values) in zip(colors, rows.groupby("method")["f1"], strict=True):
        assert np.allclose(ends[color], (values.min(), values.max()))
    with pytest.raises(ValueError, match="no column 'inf'; there are method, f1, family"):
        plot.score_densities(rows, value="inf")


def test_boxes_of_categories_are_those_that_occur_in_their_order():
    rows = scores(2)
    rows["family"] = pd.Categorical(rows["family"], ["none", "family 1", "family 0"], ordered=True)
    ax = plot.score_boxes(rows.sort_values("family", kind="stable"), group="family")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["family 1\n(20)", "family 0\n(20)"]


def test_boxes_need_their_columns():
    with pytest.raises(ValueError, match="no column 'inf'; there are method, f1, family"):
        plot.score_boxes(scores(), value="inf")


def test_the_best_of_each_column_is_bold():
    table = pd.DataFrame(
        {"F1": [0.75, 0.554, np.nan], "perplexity": [3.6, 3.2, 4.0], "from": ["<b>", None, "here"]},
        index=["a", "b", "c"],
    )
    ax = plot.score_table(table, lowest_is_best=["perplexity"])
    body = {t.get_text(): t.get_weight() for t in ax.texts if t.get_position()[1] > 1}
    assert body["0.75"] == body["3.20"] == "bold" and body["0.55"] == body["3.60"] == "normal"
    assert {"–", "<b>", "here", "a"} <= set(body)


def test_equally_good_ones_are_all_bold():
    ax = plot.score_table(pd.DataFrame({"F1": [0.701, 0.699]}, index=["a", "b"]))
    assert [t.get_weight() for t in ax.texts if t.get_text() == "0.70"] == ["bold", "bold"]


def test_numbers_of_a_score_table_are_set_to_the_right_as_text_too():
    table = pd.DataFrame({"size": ["1,600", "7.5", None], "from": ["7.5 M", "1", "x"]}, index=["a", "b", "c"])
    sides = {text.get_text(): text.get_ha() for text in plot.score_table(table).texts}
    assert sides["size"] == sides["1,600"] == sides["7.5"] == "right"
    assert sides["from"] == sides["7.5 M"] == sides["1"] == "left"


def test_confusion_shows_shares_of_the_true_class():
    ax = plot.confusion(list("aaab"), list("aabb"), labels=["b", "a"])
    assert np.allclose(ax.images[0].get_array(), [[1, 0], [1 / 3, 2 / 3]])
    assert {t.get_text() for t in ax.texts} == {"1.00", "0.33", "0.67"}
    many = [f"RF{i:05d}" for i in range(88)]
    assert not plot.confusion(many, many).texts


def test_confusion_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match="2 targets, 1 predictions"):
        plot.confusion(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="not among the labels: c"):
        plot.confusion(["a"], ["c"], labels=["a", "b"])


def test_rates_are_those_of_a_perfect_and_of_a_blind_guess():
    truth = np.array([True, False] * 50)
    guesses = {"perfect": truth.astype(float), "blind": np.zeros(100)}
    ax = plot.roc(truth, guesses)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["perfect (1.000)", "blind (0.500)"]
    ax = plot.precision_recall(truth, guesses)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["perfect (1.000)", "blind (0.500)"]


@pytest.mark.parametrize("draw", [plot.roc, plot.precision_recall])
def test_rates_reject_what_cannot_be_ranked(draw):
    with pytest.raises(ValueError, match="both true and false"):
        draw([True, True], [0.1, 0.2])
    with pytest.raises(ValueError, match="a: 1 scores for 2 targets"):
        draw([True, False], {"a": [0.1]})


def test_regression_says_how_well_it_fits():
    x = np.linspace(0, 10, 500)
    ax = plot.regression(x, x)
    assert "$R^2$ = 1.00" in ax.texts[0].get_text() and "n = 500" in ax.texts[0].get_text()
    assert len(ax.collections[0].get_offsets()) == 500
    with pytest.raises(ValueError, match="expected two or more, as many of each"):
        plot.regression([1.0, 2.0], [1.0])


def test_regression_colours_many_points_by_their_density():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.1, 900), [5.0, -5.0]])
    ax = plot.regression(x, x)
    dots, shares = ax.collections[0], ax.collections[0].get_array()
    assert shares.max() == shares[-1] == 1, "the densest on top"
    alone = np.abs(dots.get_offsets()[:, 0]) == 5
    assert alone.sum() == 2 and shares[alone].max() < 0.05
    assert [text.get_text() for text in ax.child_axes[0].texts] == ["density"], "the colours have a key"
    few = plot.regression(x[:20], x[:20])
    assert few.collections[0].get_array() is None and not few.child_axes


def test_attention_has_known_pairs_on_both_sides():
    ax = plot.attention_map(np.eye(6), reference=[(0, 5), (1, 4)], sequence="GGAACC")
    circles = next(c for c in ax.collections if c.get_label() == "_reference")
    assert sorted(map(tuple, circles.get_offsets())) == [(1, 6), (2, 5), (5, 2), (6, 1)]
    assert [t.get_text() for t in ax.get_xticklabels()] == list("GGAACC")
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(L, L\)"):
        plot.attention_map(np.zeros((2, 3)))


def test_mutations_are_around_zero_and_the_letters_marked():
    effects = np.zeros((5, 4))
    effects[2, 0] = -3
    ax = plot.mutation_map(effects, "ACGTN")
    assert ax.images[0].get_clim() == (-3, 3)
    assert [tuple(p) for p in ax.lines[0].get_xydata()] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    with pytest.raises(ValueError, match=r"shape \(5, 4\), expected \(3, 4\)"):
        plot.mutation_map(effects, "ACG")


def test_letters_of_a_logo_are_as_high_as_their_information():
    ax = plot.sequence_logo([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 1, 1, 1]])
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    assert len(boxes) == 3  # A; A and C; nothing
    assert np.allclose([box.height for box in boxes], [2, 0.5, 0.5])
    assert np.allclose([box.y0 for box in boxes], [0, 0, 0.5])
    with pytest.raises(ValueError, match="row 1 holds no probabilities"):
        plot.sequence_logo([[1, 0, 0, 0], [0, 0, 0, 0]])


def test_names_of_88_families_do_not_lie_on_each_other():
    rng = np.random.default_rng(1)
    centers, labels = rng.normal(0, 10, (88, 2)), rng.integers(0, 88, 2000)
    points = centers[labels] + rng.normal(0, 0.5, (2000, 2))
    ax = plot.embedding_map(points, [f"RF{i:05d}" for i in labels])
    ax.figure.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert len(boxes) > 75 and ax.figure.get_figwidth() > 7
    overlaps = sum(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert overlaps < 5
    named = {t.get_text() for t in ax.texts}
    named |= {t.get_text() for t in ax.get_legend().get_texts()} if ax.get_legend() else set()
    assert len(named) == 88
    looks = {(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) > 80  # colour and marker together tell them apart


def test_style_has_presets_for_one_and_two_columns():
    for columns, width in ((1, 3.4), (2, 7.1)):
        with plot.paper_style(columns):
            assert mpl.rcParams["figure.figsize"][0] == width and mpl.rcParams["svg.fonttype"] == "none"
    with pytest.raises(ValueError, match="1 or 2 columns"), plot.paper_style(3):
        pass


def test_counts_stand_right_and_are_never_the_best():
    table = pd.DataFrame({"F1": [0.75, 0.54], "rows": [1305, None], "from": ["a", "b"]}, index=["x", "y"])
    texts = {text.get_text(): text for text in plot.score_table(table).texts}
    assert texts["1,305"].get_ha() == texts["0.75"].get_ha() == "right" and texts["a"].get_ha() == "left"
    assert texts["0.75"].get_weight() == "bold" and texts["1,305"].get_weight() == "normal"


def test_a_method_has_the_same_colour_beside_any_others():
    def edges(methods):
        rows = pd.DataFrame({"method": np.repeat(methods, 4), "f1": [0.1, 0.3, 0.5, 0.6] * len(methods)})
        ax = plot.score_densities(rows)
        return dict(zip(methods, [line.get_color() for line in ax.lines][::-1], strict=True))

    alone, beside = edges(["nano-ss", "viennarna"]), edges(["trivial", "other", "viennarna", "nano-ss"])
    assert {name: beside[name] for name in alone} == alone
    assert len(set(beside.values())) == 4
