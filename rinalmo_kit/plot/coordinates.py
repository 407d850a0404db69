"""Coordinates of the nucleotides of a drawing: loops as circles, stems as ladders, turned and stretched apart."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..rna.pairs import as_pairs, to_dot_bracket
from .branches import place_loops
from .loops import PAIR, find_loops, tail

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PAIR", "in_layout", "layout"]


def layout(
    pairs: ArrayLike, length: int, *, method: Literal["circles", "puzzler"] = "circles"
) -> NDArray[np.floating]:
    """Place nucleotides in the plane: loops round, stems as straight ladders.

    Two-sided loops keep the helix straight where they can. Where parts of the drawing would lie
    on each other, stems are turned, and where that is not enough, the loop is stretched.

    Parameters
    ----------
    pairs : array_like of int, shape (n, 2)
        0-based. Pairs that cross longer stems (in dot-bracket not written with ``()``) and pairs of
        neighbours do not influence the layout.
    length : int
        Number of nucleotides L.
    method : {"circles", "puzzler"}
        Ours, or RNApuzzler of ViennaRNA (Wiegreffe et al. 2019, doi:10.1093/bioinformatics/bty817).

    Returns
    -------
    ndarray, shape (L, 2)
        Neighbours along the backbone are 1 apart, in stretched loops more; paired nucleotides 1.5, by the puzzler 1.4.
        Stems run 5' to 3' clockwise.

    Raises
    ------
    ValueError
        If a pair lies outside the sequence, a nucleotide is in two pairs, or the method is unknown.
    ImportError
        For "puzzler" without ViennaRNA.

    Examples
    --------
    >>> layout([(0, 5)], 6).round(2).tolist()[0], layout([(0, 5)], 6).shape
    ([0.0, 0.0], (6, 2))
    """
    if method not in ("circles", "puzzler"):
        raise ValueError(f'method is "circles" or "puzzler", not {method!r}')
    pairs = as_pairs(pairs, length=length)
    nested = pairs[in_layout(pairs, length)]
    if method == "puzzler" and length:
        return _puzzler(nested, length)
    xy = _circles(nested.tobytes(), length)
    return np.stack((xy.real, xy.imag), axis=1)


@lru_cache(64)
def _circles(nested: bytes, length: int) -> NDArray[np.complexfloating]:
    """Return our layout; kept, because a notebook draws the same structure more than once."""
    partner = [-1] * length
    for i, j in np.frombuffer(nested, dtype=np.int64).reshape(-1, 2).tolist():
        partner[i], partner[j] = j, i
    loops = find_loops(partner)
    return place_loops(loops, length) if loops[0].path else tail(length, 0)


def _puzzler(nested: NDArray[np.int64], length: int) -> NDArray[np.floating]:
    try:
        import RNA
    except ImportError as error:
        raise ImportError('the layout "puzzler" needs ViennaRNA: pip install viennarna') from error
    brackets = np.full(length, ".")
    brackets[nested[:, 0]], brackets[nested[:, 1]] = "(", ")"
    before = RNA.cvar.rna_plot_type  # ViennaRNA's functions take the layout from a global variable
    try:
        RNA.cvar.rna_plot_type = RNA.PLOT_TYPE_PUZZLER
        found = RNA.get_xy_coordinates("".join(brackets))
    finally:
        RNA.cvar.rna_plot_type = before
    places = [(found.get(k).X, found.get(k).Y) for k in range(length)]
    return np.array(places, dtype=float) / 25  # its step along the backbone


def in_layout(pairs: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return (n,) True for the nested pairs that shape the layout."""
    symbols = np.array([*to_dot_bracket(pairs, length, drop=True), ""])
    return (symbols[pairs[:, 0]] == "(") & (pairs[:, 1] - pairs[:, 0] > 1)
