"""The network that mixes the model's probabilities with the energy model's."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rinalmo_kit.rna.mixing import FEATURES, Mixer, pair_features, worth_a_look
from rinalmo_kit.rna.rules import Decoding


def random_probabilities(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = np.triu(rng.random((length, length)) ** 8, 4).astype(np.float32)
    return p + p.T


def random_mixer(units: int = 3, seed: int = 0) -> Mixer:
    rng = np.random.default_rng(seed)
    return Mixer(tuple(map(tuple, rng.normal(size=(units, len(FEATURES) + 2)).tolist())), 0.25)


def by_hand(mixer: Mixer, model: np.ndarray, energies: np.ndarray, expected: float) -> np.ndarray:
    """The same, one pair and one number at a time."""
    length = len(model)
    mixed = np.zeros((length, length))

    def odds(p: np.ndarray, i: int, j: int) -> float:
        value = float(p[i, j]) if 0 <= i < length and 0 <= j < length else 0.0
        value = min(max(value, 1e-4), 1 - 1e-4)
        return math.log(value / (1 - value))

    for i in range(length):
        for j in range(i + 1, length):
            if model[i, j] <= 0 or (model[i, j] <= 2e-3 and energies[i, j] <= 5e-3):
                continue
            read = []
            for p in (model, energies):
                read += [odds(p, i, j), odds(p, i + 1, j - 1), odds(p, i - 1, j + 1)]
                read += [p[i].sum() + p[j].sum(), max(p[i].max(), p[j].max()) - p[i, j], p.sum() / length]
            read += [expected, math.log(j - i), math.log(length)]
            logit = mixer.bias
            for bias, *weights, out in mixer.units:
                logit += out * max(0.0, bias + sum(a * b for a, b in zip(weights, read, strict=True)))
            mixed[i, j] = mixed[j, i] = 1 / (1 + math.exp(-min(30, max(-30, logit))))
    return mixed


@pytest.mark.parametrize("length", [1, 2, 5, 6, 17, 40])
def test_equal_to_the_formula(length):
    model, energies = random_probabilities(length, 1), random_probabilities(length, 2)
    mixer = random_mixer()
    found = mixer.mix(model, energies, expected=0.6)
    np.testing.assert_allclose(found, by_hand(mixer, model, energies, 0.6), atol=1e-5)
    np.testing.assert_array_equal(found, found.T)
    assert found.dtype == np.float32 and not found[model == 0].any()


def test_pairs_that_the_model_does_not_allow_are_left_out():
    model, energies = np.zeros((8, 8), np.float32), random_probabilities(8, 0)
    assert not len(worth_a_look(model, energies)[0])
    assert not random_mixer().mix(model, energies, expected=0.5).any()


def test_each_feature_has_a_name():
    model, energies = random_probabilities(30, 1), random_probabilities(30, 2)
    i, j = worth_a_look(model, energies)
    assert pair_features(model, energies, i, j, 0.5).shape == (len(i), len(FEATURES))


def test_a_file_keeps_it():
    rules = Decoding("mea", energy="viennarna", mixer=random_mixer())
    text = json.dumps(rules.as_json())
    assert Decoding.from_json(json.loads(text)) == rules
    assert "mixer" not in Decoding("mea").as_json()


ROW = [0.0] * (len(FEATURES) + 2)


@pytest.mark.parametrize(
    "found",
    [
        3,
        [],
        {},
        {"units": [ROW]},
        {"units": [ROW], "bias": 0, "more": 1},
        {"units": [], "bias": 0},
        {"units": "abc", "bias": 0},
        {"units": [ROW[:-1]], "bias": 0},
        {"units": [[*ROW, 0.0]], "bias": 0},
        {"units": [["x", *ROW[1:]]], "bias": 0},
        {"units": [[True, *ROW[1:]]], "bias": 0},
        {"units": [[1e30, *ROW[1:]]], "bias": 0},
        {"units": [[math.nan, *ROW[1:]]], "bias": 0},
        {"units": [ROW] * 1000, "bias": 0},
        {"units": [ROW], "bias": None},
        {"units": [ROW], "bias": math.inf},
    ],
)
def test_nonsense_is_rejected(found):
    with pytest.raises(ValueError, match=r"mixer|units|bias"):
        Decoding.from_json({"mixer": found})
