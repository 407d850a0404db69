"""Chemical probing: reactivities of nucleotides as evidence for or against their pairing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .._utils.files import user_path
from .._utils.text_files import open_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_reactivity", "pseudo_energies", "read_reactivity", "with_reactivity"]

SLOPE, INTERCEPT = 2.6, -0.8
"""kcal/mol; Deigan et al., PNAS 2009 (SHAPE; also in use for normalised DMS)."""

RT = 0.61632
"""kcal/mol, at 37 °C."""


def as_reactivity(
    reactivity: ArrayLike | Mapping[int, float], length: int, *, name: str = "sequence"
) -> NDArray[np.float64]:
    """Return reactivities as float64 (L,), or raise ValueError saying what is wrong with them.

    They are one number a nucleotide, or {0-based position: number}.

    Examples
    --------
    >>> as_reactivity([0.1, None, float("nan")], 3)
    array([0.1, nan, nan])
    """
    if isinstance(reactivity, Mapping):
        if outside := [position for position in reactivity if not 0 <= position < length]:
            raise ValueError(
                f"{name!r} has {length} nucleotides: position {outside[0] + 1} of the reactivities lies outside"
            )
        reactivity = [reactivity.get(position, np.nan) for position in range(length)]
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


def read_reactivity(path: str | os.PathLike) -> dict[int, float]:
    """Read reactivities from a file with a position, from 1, and a number on each line; −999 or NaN for none.

    Returns
    -------
    dict
        0-based position → reactivity, of those that have one.

    Raises
    ------
    ValueError
        Names the file and the line that is not a position and a number, or whose position came before.
    """
    found: dict[int, float] = {}
    with open_text(user_path(path)) as lines:
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].replace(",", " ").split()
            if not words:
                continue
            try:
                position, value = int(words[0]), float(words[-1])
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: expected a position and a number, found {line[:40]!r}"
                ) from None
            if position < 1 or position - 1 in found or np.isinf(value):
                raise ValueError(
                    f"{path}, line {number}: expected positions from 1, each once, found {line[:40]!r}"
                )
            if value > -500 and not np.isnan(value):
                found[position - 1] = value
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
