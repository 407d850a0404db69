"""The important figures look as they did: compared with the pictures in tests/images, within a tolerance.

After a change that is meant to be seen, look at the pictures that RINALMO_KIT_NEW_IMAGES=1 makes anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

import rinalmo_kit as rk
from rinalmo_kit import plot

IMAGES = Path(__file__).parent / "images"
TRNA = rk.datasets.load_structures("examples", family="tRNA")[0]
KNOT = rk.Structure.from_dot_bracket(
    "GGCGCAAGCCAAUUCGGAAAUGCGCCAAAGGCAAAA", "((((((..[[[[........))))))...]]]]..."
)
OTHER = rk.Structure(TRNA.sequence, TRNA.pairs[3:], "other")


def probabilities(length: int) -> np.ndarray:
    places = np.abs(np.add.outer(np.arange(length), np.arange(length)) - length)
    return np.exp(-places / 3.0)


def samples() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"method": np.repeat(["a", "b"], 60), "family": np.tile(["tRNA", "5S", "SRP"], 40)})
    return rows.assign(f1=np.clip(rng.normal(0.6, 0.2, 120), 0, 1))


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.repeat([f"RF{n:05d}" for n in range(20)], 8)
    return rng.normal(size=(20, 2)).repeat(8, 0) * 20 + rng.normal(size=(160, 2)), labels


FIGURES: dict[str, Callable[[], Any]] = {
    "structure": lambda: plot.structure(TRNA),
    "structure_reference": lambda: plot.structure(OTHER, color_by=None, reference=TRNA),
    "structure_elements": lambda: plot.structure(TRNA, color_by="elements"),
    "pseudoknot": lambda: plot.structure(KNOT),
    "structures": lambda: plot.structures(TRNA, {"other": OTHER})[0],
    "arcs": lambda: plot.arcs(OTHER, reference=TRNA),
    "probability_map": lambda: plot.probability_map(probabilities(len(TRNA)), reference=TRNA),
    "score_boxes": lambda: plot.score_boxes(samples(), group="family"),
    "score_table": lambda: plot.score_table(samples().pivot_table("f1", "method", "family")),
    "embedding_map": lambda: plot.embedding_map(*vectors()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_looks_as_it_did(name: str, tmp_path: Path):
    with mpl.rc_context({"font.family": "DejaVu Sans"}):  # comes with Matplotlib
        figure = FIGURES[name]().figure
        figure.savefig(tmp_path / f"{name}.png", dpi=100)
    known = IMAGES / f"{name}.png"
    if os.environ.get("RINALMO_KIT_NEW_IMAGES"):
        IMAGES.mkdir(exist_ok=True)
        shutil.copy(tmp_path / f"{name}.png", known)
    shutil.copy(known, tmp_path / f"{name}-expected.png")
    difference = compare_images(tmp_path / f"{name}-expected.png", tmp_path / f"{name}.png", tol=6)
    assert difference is None, difference


def test_a_changed_figure_is_seen(tmp_path: Path):
    for name, colors in (("a", "nucleotide"), ("b", None)):
        plot.structure(TRNA, color_by=colors).figure.savefig(tmp_path / f"{name}.png", dpi=100)
    assert compare_images(tmp_path / "a.png", tmp_path / "b.png", tol=6) is not None
