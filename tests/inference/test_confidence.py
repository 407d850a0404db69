"""Confidence of folds: what a model expects, how that is read, and that strangeness does not look sure."""

from __future__ import annotations

import numpy as np
import pytest

import rinalmo_kit as rk
from rinalmo_kit.inference.confidence import apply_calibration, calibrate, expected_f1, reliability
from rinalmo_kit.inference.folding import refold
from rinalmo_kit.structure import Structure


def test_expected_f1_is_the_f1_of_certain_probabilities():
    pairs = np.array([[0, 11], [1, 10], [2, 9]])
    p = np.zeros((12, 12))
    p[pairs[:, 0], pairs[:, 1]] = p[pairs[:, 1], pairs[:, 0]] = 1
    assert expected_f1(p, pairs) == 1
    assert expected_f1(p, pairs[:1]) == pytest.approx(2 * 1 / (1 + 3))
    assert expected_f1(p, np.zeros((0, 2), dtype=int)) == 0


def test_reading_rises_and_recovers_a_known_relation():
    rng = np.random.default_rng(0)
    expected = rng.random(4000)
    observed = np.clip(expected**2 + rng.normal(0, 0.05, 4000), 0, 1)
    reading = calibrate(expected, observed)
    x, y = zip(*reading, strict=True)
    assert list(x) == sorted(x) and list(y) == sorted(y)
    for value in (0.2, 0.5, 0.9):
        assert apply_calibration(reading, value) == pytest.approx(value**2, abs=0.03)
    falling = calibrate([0.1, 0.2, 0.3, 0.4], [0.9, 0.5, 0.7, 0.8], points=4)
    assert [y for _, y in falling] == sorted(y for _, y in falling)
    assert apply_calibration(reading, 0.0) == 0


def test_reliability_sets_confidence_beside_what_was_seen():
    target = Structure.from_dot_bracket("GGGAAAACCC", "(((....)))")
    good = Structure(target.sequence, target.pairs, confidence=0.9)
    bad = Structure(target.sequence, [], confidence=0.1)
    table = reliability([bad, good], [target, target], bins=2)
    assert table["confidence"].tolist() == [0.1, 0.9] and table["f1"].tolist() == [0.0, 1.0]


def test_refolding_changes_the_confidence_with_the_pairs(tmp_path):
    model = rk.load(device="cpu")
    model.calibration = ((0.1, 0.05), (0.9, 0.8))
    s = rk.fold("GGGGAAAACCCC" * 3, model=model, decoding="greedy")
    assert 0 <= s.confidence <= 0.8
    assert refold(s, model=model, threshold=1.0).confidence == 0
    assert refold(s).confidence is None
    path = rk.save(model, tmp_path / "m.safetensors")
    assert rk.load(path, device="cpu").calibration == model.calibration
