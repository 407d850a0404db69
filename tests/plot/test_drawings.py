"""What an author does with a drawing: print it, restyle it in a drawing program, bring coordinates of one's own."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import rinalmo_kit as rk
from rinalmo_kit import plot
from rinalmo_kit.plot import style

EXAMPLES = rk.datasets.load_structures("examples")
TRNA = next(s for s in EXAMPLES if len(s) == 76)
KNOT = rk.Structure.from_dot_bracket(
    "GGCGCAAGCCAAUUCGGAAAUGCGCCAAAGGCAAAA", "((((((..[[[[........))))))...]]]]..."
)
LONG = rk.Structure("GACU" * 150, [(k, 599 - k) for k in range(0, 200, 3)], name="long")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def segments(ax: mpl.axes.Axes, label: str) -> list[np.ndarray]:
    return [line for c in ax.collections if c.get_label() == label for line in c.get_segments()]


def ids(figure: mpl.figure.Figure) -> list[str]:
    page = io.StringIO()
    figure.savefig(page, format="svg")
    root = ET.fromstring(page.getvalue())
    return [one.get("id", "") for one in root.iter() if one.tag.endswith("}g")]


@pytest.mark.parametrize(
    "s", [KNOT, *(one for one in EXAMPLES if "[" in one.dot_bracket)], ids=lambda s: s.name
)
def test_arcs_of_pseudoknots_are_inside_the_limits(s: rk.Structure):
    ax = plot.structure(s)
    arcs = np.concatenate(segments(ax, "_crossing_pairs"))
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert left <= arcs[:, 0].min() and arcs[:, 0].max() <= right
    assert low <= arcs[:, 1].min() and arcs[:, 1].max() <= high


@pytest.mark.parametrize("s", EXAMPLES[::4], ids=lambda s: s.name)
def test_labels_cover_no_base(s: rk.Structure):
    ax = plot.structure(s, letters=False, layout="circles")
    ax.figure.canvas.draw()
    (bases,) = [c for c in ax.collections if c.get_label() == "_bases"]
    places = ax.transData.transform(bases.get_offsets())
    radius = abs(np.diff(ax.transData.transform([[0, 0], [0.42, 0]])[:, 0])[0])
    for text in ax.texts:
        box = text.get_window_extent()
        nearest = np.clip(places, (box.x0, box.y0), (box.x1, box.y1))
        assert np.hypot(*(places - nearest).T).min() > 0.8 * radius, text.get_text()
    for (x0, y0), (x1, y1) in segments(ax, "_leaders"):
        a, b = ax.transData.transform([[x0, y0], [x1, y1]])
        along = a + np.linspace(0.2, 1, 9)[:, None] * (b - a)
        assert np.hypot(*(places[:, None] - along).transpose(2, 0, 1)).min() > 0.9 * radius


def test_letters_are_readable_in_print_or_explained():
    figure = plot.structure(TRNA).figure
    letters = [text for text in figure.axes[0].texts if text.get_text() in set("ACGU")]
    assert len(letters) == 76 and min(text.get_fontsize() for text in letters) >= 7
    rna = rk.Structure("GACU" * 30, [(k, 119 - k) for k in range(50)])
    ax = plot.structure(rna)
    assert not [text for text in ax.texts if text.get_text() in set("ACGU")]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list("ACGU")


def test_keys_are_shown_on_request():
    assert plot.structure(TRNA).get_legend() is None
    assert [text.get_text() for text in plot.structure(TRNA, key=True).get_legend().get_texts()] == list(
        "ACGU"
    )
    assert plot.structure(TRNA, color_by="elements", reference=TRNA, key=False).get_legend() is None
    ax = plot.structure(TRNA, color_by=np.arange(76.0), key="reactivity")
    (bar,) = ax.child_axes
    assert [text.get_text() for text in bar.texts] == ["reactivity"]
    assert not plot.structure(TRNA, color_by=np.arange(76.0), key=False).child_axes
    long = plot.structure(LONG, color_by=np.arange(600.0), key="reactivity", reference=LONG)
    assert [text.get_text() for text in long.child_axes[0].texts] == ["reactivity"]


def test_svg_holds_a_named_group_for_each_base_pair_and_label():
    figure = plot.structure(TRNA).figure
    found = ids(figure)
    assert {f"base-{k}" for k in range(1, 77)} <= {*found}
    assert {f"pair-{i + 1}-{j + 1}" for i, j in TRNA.pairs.tolist()} <= {*found}
    assert {"number-10", "tick-10", "end-5", "end-3", "backbone"} <= {*found}
    page = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(page, format="svg")
    base = re.search(r'<g id="base-1">(.*?)<g id="base-2">', page.getvalue(), re.DOTALL)
    assert base is not None and ">G</text>" in base.group(1), "the letter is in the group of its base"
    knot = ids(plot.structure(KNOT).figure)
    assert {"pair-9-33", "pair-12-30"} <= {*knot}
    assert {"pair-1-600", "end-3"} <= {*ids(plot.structure(LONG).figure)}


def test_names_in_svg_are_unique_in_a_figure_of_several_panels():
    found = [one for one in ids(plot.structures(TRNA, {"same": TRNA})[0].figure) if "pair-" in one]
    assert len(found) == len(set(found)) == 2 * len(TRNA.pairs)


def test_predictions_are_turned_like_the_reference():
    known = next(s for s in EXAMPLES if "SAM-riboswitch" in s.name)
    nested = rk.Structure(known.sequence, [pair for pair in known.pairs.tolist() if pair[0] < 8])
    drawn = plot.structures(known, {"closing stem alone": nested})
    places = [next(line for line in ax.lines if line.get_label() == "_backbone").get_xydata() for ax in drawn]
    reference, predicted = (xy @ (1, 1j) - (xy @ (1, 1j)).mean() for xy in places)
    apart = [abs(reference - predicted * np.exp(1j * angle)).sum() for angle in np.radians(range(0, 360, 90))]
    assert np.argmin(apart) == 0
    np.testing.assert_allclose(np.angle((predicted.conj() * reference).sum()), 0, atol=1e-6)


def test_above_500_nt_pairs_are_arcs_unless_asked_otherwise():
    ax = plot.structure(LONG)
    assert len(segments(ax, "_pairs")) == len(LONG.pairs) and not segments(ax, "_bases") and ax.axison
    assert not plot.structure(LONG, layout="circles").axison
    assert "arcs" in (plot.structure.__doc__ or "").splitlines()[0]
    short = plot.structure(TRNA, layout="arcs", color_by="elements")
    assert short.images[0].get_array().shape == (1, 76, 4)
    with pytest.raises(ValueError, match='layout is "auto", "circles"'):
        plot.structure(TRNA, layout="radial")


def test_coordinates_of_r2dt_in_and_out(tmp_path: Path):
    path = plot.write_r2dt(KNOT, tmp_path / "knot.json")
    molecule = json.loads(path.read_text())["rnaComplexes"][0]["rnaMolecules"][0]
    assert molecule["sequence"][0].keys() == {"residueIndex", "residueName", "x", "y"}
    assert molecule["basePairs"][0]["residueIndex1"] == 1
    rna, layout = plot.read_r2dt(path)
    assert rna == KNOT
    np.testing.assert_allclose(layout, plot.layout(KNOT.pairs, len(KNOT)), atol=1e-3)
    ax = plot.structure(rna, layout=layout)
    (bases,) = [c for c in ax.collections if c.get_label() == "_bases"]
    np.testing.assert_allclose(bases.get_offsets(), layout)


def test_r2dt_ends_and_doubled_pairs_are_understood(tmp_path: Path):
    def base(index: int, name: str) -> dict:
        return {"residueIndex": index, "residueName": name, "x": 20.0 * index, "y": 5.0}

    names = ["5'", *"GAAAC", "3'"]
    pairs = [
        {"residueIndex1": i, "residueIndex2": j, "basePairType": "canonical"} for i, j in ((1, 5), (5, 1))
    ]
    molecule = {"name": "molecule", "sequence": [base(*one) for one in enumerate(names)], "basePairs": pairs}
    path = tmp_path / "URS1.json"
    path.write_text(json.dumps({"rnaComplexes": [{"name": "complex", "rnaMolecules": [molecule]}]}))
    rna, layout = plot.read_r2dt(path)
    assert (rna.sequence, rna.name, rna.pairs.tolist()) == ("GAAAC", "URS1", [[0, 4]])
    assert layout[:, 0].tolist() == [1, 2, 3, 4, 5] and set(layout[:, 1]) == {-0.25}


def test_coordinates_that_do_not_fit_are_rejected(tmp_path: Path):
    (tmp_path / "x.json").write_text('{"rnaComplexes": []}')
    with pytest.raises(ValueError, match=r"x\.json: not a drawing in R2DT's JSON"):
        plot.read_r2dt(tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(76, 2\)"):
        plot.structure(TRNA, layout=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(76, 2\)"):
        plot.write_r2dt(TRNA, tmp_path / "y.json", layout=np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("draw", "old"),
    [
        (lambda **named: plot.arcs(TRNA, **named), "other"),
        (lambda **named: plot.probability_map(np.zeros((76, 76)), **named), "target"),
        (lambda **named: plot.attention_map(np.eye(76), **named), "target"),
        (lambda **named: plot.structures(predictions={"a": TRNA}, **named), "target"),
    ],
)
def test_earlier_names_of_reference_work_with_a_warning(draw, old: str):
    with pytest.warns(DeprecationWarning, match=f"{old}= is now reference="):
        draw(**{old: TRNA})
    with pytest.raises(TypeError, match=f"not {old}= beside it"):
        draw(**{old: TRNA, "reference": TRNA})


def test_orange_is_a_wrong_pair_and_never_a_knot():
    for ax in (plot.structure(KNOT), plot.arcs(KNOT)):
        colors = {
            mpl.colors.to_hex(c).upper() for one in ax.collections for c in np.atleast_2d(one.get_edgecolor())
        }
        assert style.KNOT in colors and style.PREDICTED not in colors


def test_predictions_of_a_long_map_are_as_wide_as_its_references():
    p = np.zeros((600, 600))
    p[99, 399] = p[399, 99] = 0.9
    ax = plot.probability_map(p, reference=[(99, 399)])
    shown = np.argwhere(ax.images[0].get_array() > 0)
    assert np.ptp(shown, axis=0).tolist() == [3, 3] and np.abs(shown.mean(axis=0) - (99, 399)).max() <= 0.5
    (squares,) = [c for c in ax.collections if c.get_label() == "_reference"]
    assert squares.get_paths()[0].get_extents().width == 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position", "position")


@pytest.mark.parametrize("engine", [None, "constrained"])
def test_labels_of_maps_side_by_side_stay_apart(engine: str | None):
    figure, axes = plt.subplots(1, 2, figsize=(7.1, 3), layout=engine)
    for ax in axes:
        plot.probability_map(np.zeros((80, 80)), reference=TRNA.pairs, ax=ax)
    figure.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in axes]
    assert boxes[0].x1 < boxes[1].x0 and boxes[1].x1 <= figure.bbox.x1
