"""Chemical probing: reactivities of nucleotides as evidence for or against their pairing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_reactivity", "pseudo_energies", "with_reactivity"]

SLOPE, INTERCEPT = 2.6, -0.8
"""kcal/mol; Deigan et al., PNAS 2009 (SHAPE; also in use for normalised DMS)."""

RT = 0.61632
"""kcal/mol, at 37 °C."""


def as_reactivity(reactivity: ArrayLike, length: int, *, name: str = "sequence") -> NDArray[np.float64]:
    """Return reactivities as float64 (L,), or raise ValueError saying what is wrong with them.

    Examples
    --------
    >>> as_reactivity([0.1, None, float("nan")], 3)
    array([0.1, nan, nan])
    """
    try:
        found = np.array(
            [np.nan if one is None else one for one in np.asarray(reactivity, dtype=object)], dtype=np.float64
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"{name!r}: reactivity: expected one number a nucleotide, NaN where there is none"
        ) from None
    if found.shape != (length,):
        raise ValueError(f"{name!r}: {len(found)} reactivities for {length} nucleotides: expected one each")
    if np.isinf(found).any():
        raise ValueError(
            f"{name!r}: the reactivity of nucleotide {int(np.argmax(np.isinf(found))) + 1} is infinite"
        )
    return found


def pseudo_energies(reactivity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the energy that pairing costs each nucleotide, kcal/mol: 2.6 ln(r + 1) − 0.8, 0 where there is no number.

    Negative reactivities count as 0 (Deigan et al., PNAS 2009, eq. 1).

    Examples
    --------
    >>> pseudo_energies(np.array([0.0, 1.0, np.nan])).round(2)
    array([-0.8,  1. ,  0. ])
    """
    energies = SLOPE * np.log1p(np.maximum(reactivity, 0)) + INTERCEPT
    return np.where(np.isnan(reactivity), 0.0, energies)


def with_reactivity(p: NDArray[np.floating], reactivity: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return pairing probabilities whose log-odds are shifted by the pseudo-energies of both nucleotides, over RT.

    Examples
    --------
    >>> p = np.array([[0.0, 0.5], [0.5, 0.0]])
    >>> with_reactivity(p, np.array([0.0, 0.0]))[0, 1].round(2), with_reactivity(p, np.array([2.0, 2.0]))[0, 1].round(2)
    (np.float32(0.93), np.float32(0.0))
    """
    cost = pseudo_energies(reactivity) / RT
    shift = np.exp(-np.clip(cost[:, None] + cost[None, :], -50, 50))
    odds = p.astype(np.float64) * shift
    return np.asarray(odds / (odds + 1 - p.astype(np.float64)), dtype=np.float32)
