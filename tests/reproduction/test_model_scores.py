"""What rk.models() reads agrees with the measured scores, and the wheel ships no other measured numbers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from reproduction.model_scores import COLUMNS, model_scores
from rinalmo_kit._utils import numbers
from rinalmo_kit.datasets import read_numbers

ROOT = Path(__file__).resolve().parents[2]


def test_the_scores_of_models_are_the_measured_ones():
    found = read_numbers("measured/model_scores")
    pd.testing.assert_frame_equal(found, model_scores(read_numbers("measured/scores")), check_dtype=False)
    assert list(found) == COLUMNS and found["model"].is_unique and "nano-ss" in set(found["model"])


def test_other_measured_numbers_are_only_in_a_checkout(monkeypatch, tmp_path):
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    for source, target in shipped["force-include"].items():
        path = tmp_path / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(ROOT / source)
    assert [p.name for p in (tmp_path / "rinalmo_kit/data/measured").iterdir()] == ["model_scores.csv"]
    monkeypatch.setattr(numbers, "data_folders", lambda: [tmp_path / "rinalmo_kit/data"])
    assert len(read_numbers("published/fig3c_ts0")) and len(read_numbers("measured/model_scores"))
    with pytest.raises(ValueError, match=r"no file of numbers 'measured/scores'.*run this in a checkout"):
        read_numbers("measured/scores")
