"""Two opinions on every pair made one: a small network weighs the model's probability against the energy model's.

Both are right about different RNAs: the model about families that it was trained on, the energy model about stacks of
any family. What each says of a pair, of the pairs stacked on it, and of other partners of the two nucleotides tells
which of them to believe. The network has a few hundred numbers, fitted on validation RNAs
(``reproduction/decoding.py``); it is part of the model file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "Mixer", "pair_features", "worth_a_look"]

LEAST_MODEL, LEAST_ENERGIES = 2e-3, 5e-3
"""Pairs that the model and the energy model both give less than this do not pair."""

CLIP = 1e-4
"""Log-odds are those of probabilities from this to 1 minus this."""

OF_EACH = (
    "of the pair",
    "of the pair inside",
    "of the pair outside",
    "paired",
    "other partner",
    "all paired",
)
FEATURES = (
    *(f"{what}, {whose}" for whose in ("model", "energies") for what in OF_EACH),
    "expected F1 of the model",
    "distance",
    "length",
)
"""What the network reads of a pair, in this order; see :func:`pair_features`."""

MOST_UNITS, LARGEST = 256, 1e6


@dataclass(frozen=True)
class Mixer:
    """A network with one hidden layer of ReLUs, from :data:`FEATURES` of a pair to the probability that it forms.

    Parameters
    ----------
    units : tuple of tuple of float
        One row a hidden unit: its bias, a weight for each feature, and its weight in the output.
    bias : float
        Of the output.

    Examples
    --------
    >>> zeros = (0.0,) * len(FEATURES)
    >>> mixer = Mixer(units=((0.0, *zeros, 1.0),), bias=2.0)
    >>> p = np.zeros((8, 8), dtype=np.float32); p[0, 7] = p[7, 0] = 0.5
    >>> round(float(mixer.mix(p, p, expected=0.5)[0, 7]), 3)
    0.881
    """

    units: tuple[tuple[float, ...], ...]
    bias: float

    def __post_init__(self) -> None:
        width = len(FEATURES) + 2
        if not isinstance(self.units, tuple | list) or not 1 <= len(self.units) <= MOST_UNITS:
            raise ValueError(f"units: expected 1 to {MOST_UNITS} rows")
        for row in self.units:
            if not isinstance(row, tuple | list) or len(row) != width or not all(map(_is_number, row)):
                raise ValueError(f"units: expected rows of {width} numbers")
        if not _is_number(self.bias):
            raise ValueError(f"bias={self.bias!r}: expected a number")
        object.__setattr__(self, "units", tuple(tuple(map(float, row)) for row in self.units))

    def mix(
        self, model: NDArray[np.floating], energies: NDArray[np.floating], *, expected: float
    ) -> NDArray[np.float32]:
        """Return the probabilities of both together.

        Parameters
        ----------
        model, energies : ndarray, shape (L, L)
            Symmetric pairing probabilities; of the model, 0 where no pair is allowed.
        expected : float
            F1 that the model expects of its own pairs, decoded greedily without a threshold.

        Returns
        -------
        ndarray of float32, shape (L, L)
            Symmetric.
        """
        mixed = np.zeros(model.shape, dtype=np.float32)
        i, j = worth_a_look(model, energies)
        if len(i):
            weights = np.array(self.units)
            features = pair_features(model, energies, i, j, expected)
            # einsum is computed here; a product by BLAS leaves its threads spinning for 30 ms
            hidden = np.maximum(0, np.einsum("pf,uf->pu", features, weights[:, 1:-1]) + weights[:, 0])
            logits = np.einsum("pu,u->p", hidden, weights[:, -1]) + self.bias
            mixed[i, j] = mixed[j, i] = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return mixed

    def as_json(self) -> dict[str, Any]:
        """Return what a model file says of the network."""
        return {"units": self.units, "bias": self.bias}

    @classmethod
    def from_json(cls, found: Any) -> Mixer:
        """Make the network of what a model file says; raise ValueError for nonsense."""
        if not isinstance(found, Mapping) or set(found) != {"units", "bias"}:
            raise ValueError("mixer: expected units and bias")
        return cls(**found)


def worth_a_look(
    model: NDArray[np.floating], energies: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs i < j that the model allows, and that it or the energy model gives some probability."""
    likely = (model > LEAST_MODEL) | ((energies > LEAST_ENERGIES) & (model > 0))
    i, j = np.nonzero(np.triu(likely, 1))
    return i, j


def pair_features(
    model: NDArray[np.floating],
    energies: NDArray[np.floating],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    expected: float,
) -> NDArray[np.float64]:
    """Return the features of pairs.

    Of the model, then of the energies: the log-odds of the pair, of (i + 1, j − 1) and of (i − 1, j + 1); how much i
    and j are paired in all; how much more probable the best pair of either is; how much of the RNA is paired. Then the
    F1 that the model expects of its pairs, and the logarithms of j − i and of the length.

    Returns
    -------
    ndarray, shape (number of pairs, number of FEATURES)
    """
    length, columns = len(model), []
    for p in (model, energies):
        paired, best, own = p.sum(axis=1), p.max(axis=1), p[i, j]
        columns += [
            _log_odds(own),
            _log_odds(
                p[i + 1, j - 1]
            ),  # i < j: both lie inside; the pair itself or none, where j − i is small
            _log_odds(np.where((i > 0) & (j < length - 1), p[i - 1, np.minimum(j + 1, length - 1)], 0)),
            paired[i] + paired[j],
            np.maximum(best[i], best[j]) - own,
            np.full(len(i), paired.mean()),
        ]
    columns += [np.full(len(i), expected), np.log(j - i), np.full(len(i), np.log(length))]
    return np.stack(columns, axis=1, dtype=np.float64)


def _log_odds(p: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(p, CLIP, 1 - CLIP, dtype=np.float64)
    return np.log(p / (1 - p))


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value) and abs(value) <= LARGEST
