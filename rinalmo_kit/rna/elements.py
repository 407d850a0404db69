"""Structural elements of an RNA: stems, hairpins, bulges, interior loops, multiloops, external nucleotides.

They are those of forgi (Thiel et al. 2019, doi:10.12688/f1000research.18458.2), by lines of our own, which need no
package; tests compare the two.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .pairs import pairs_from_dot_bracket, to_dot_bracket

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COLUMNS",
    "ELEMENTS",
    "KINDS",
    "Element",
    "element_kinds",
    "element_table",
    "find_elements",
    "loop_elements",
]

ELEMENTS = {
    "s": "stem",
    "h": "hairpin loop",
    "i": "interior loop or bulge",
    "m": "multibranch loop",
    "f": "5′ end",
    "t": "3′ end",
}
"""Letter of forgi's element string → what it stands for."""


KINDS = {
    "stem": "s",
    "pseudoknot": "s",
    "hairpin": "h",
    "bulge": "i",
    "interior loop": "i",
    "multiloop": "m",
    "pseudoknot loop": "m",
    "external": "m",
    "5′ end": "f",
    "3′ end": "t",
}
"""Kind of an element → its letter in forgi's element string."""


LETTERS = "shimft"  # the order of a table


COLUMNS = ("element", "kind", "start", "end", "strands", "nucleotides", "stems", "crosses")


class Element(NamedTuple):
    """A structural element; positions count from 1, as in forgi."""

    name: str  # letter and number, in the order of the sequence
    kind: str
    strands: tuple[
        tuple[int, int], ...
    ]  # first and last nucleotide of each stretch; of a loop, unpaired ones alone
    stems: tuple[str, ...] = ()  # what a loop joins
    crosses: tuple[str, ...] = ()  # the stems that a stem crosses

    @property
    def nucleotides(self) -> int:
        """Number of nucleotides."""
        return sum(last - first + 1 for first, last in self.strands)


def find_elements(pairs: ArrayLike, length: int) -> list[Element]:
    """Return the structural elements of a structure, stems first.

    A stem that crosses a longer one is a "pseudoknot"; the unpaired nucleotides that it cuts off from a loop
    are a "pseudoknot loop". Loops without unpaired nucleotides are left out, except multiloops.

    Parameters
    ----------
    pairs : array_like of int, shape (n, 2)
        0-based.
    length : int

    Examples
    --------
    >>> for one in find_elements([(1, 12), (2, 11), (4, 10), (5, 9)], 14):
    ...     print(one.name, one.kind, one.strands)
    s0 stem ((2, 3), (12, 13))
    s1 stem ((5, 6), (10, 11))
    h0 hairpin ((7, 9),)
    i0 bulge ((4, 4),)
    f0 5′ end ((1, 1),)
    t0 3′ end ((14, 14),)
    """
    brackets = to_dot_bracket(pairs, length, drop=True)
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    partner = np.full(length, -1)
    partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    stems = _stems(partner, brackets)
    names = {p: one.name for one in stems for a, b in one.strands for p in range(a - 1, b)}
    loops: dict[tuple[str, int], list[tuple[int, int]]] = {}
    around: dict[tuple[str, int], list[int]] = {}
    for p, q in _gaps(partner):
        key = _kind(partner, brackets, p, q)
        if key is not None:
            loops.setdefault(key, []).append((p + 2, q))
            around.setdefault(key, []).extend(x for x in (p, q) if 0 <= x < length)
    found, counts = stems, dict.fromkeys("himft", 0)
    for key in sorted(loops, key=lambda key: (LETTERS.index(KINDS[key[0]]), key[1])):
        strands = tuple((a, b) for a, b in loops[key] if a <= b)
        if not strands and key[0] != "multiloop":
            continue
        kind = "bulge" if key[0] == "interior loop" and len(strands) == 1 else key[0]
        letter = KINDS[kind]
        joined = tuple(dict.fromkeys(names[p] for p in sorted(around[key])))
        found.append(Element(f"{letter}{counts[letter]}", kind, strands, joined))
        counts[letter] += 1
    return found


def _stems(partner: NDArray[np.int64], brackets: str) -> list[Element]:
    """Return the stems: stacked pairs without a bulge."""
    made: list[list[int]] = []  # first pair i, j, number of pairs
    for i, j in enumerate(partner.tolist()):
        if j > i:
            if made and i and partner[i - 1] == j + 1 and made[-1][0] + made[-1][2] == i:
                made[-1][2] += 1
            else:
                made.append([i, j, 1])
    stems = []
    for k, (i, j, n) in enumerate(made):
        crossing = tuple(f"s{m}" for m, (a, b, _) in enumerate(made) if i < a < j < b or a < i < b < j)
        kind = "stem" if brackets[i] == "(" else "pseudoknot"
        stems.append(Element(f"s{k}", kind, ((i + 1, i + n), (j - n + 2, j + 1)), (), crossing))
    return stems


def _gaps(partner: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the paired nucleotides around each stretch between pairs, which may be empty; −1 and L at the ends."""
    paired = [-1, *np.flatnonzero(partner >= 0).tolist(), len(partner)]
    return list(pairwise(paired))


def _kind(partner: NDArray[np.int64], brackets: str, p: int, q: int) -> tuple[str, int] | None:
    """Return the kind of the stretch between p and q, and a number for its loop; None between pairs that stack."""
    length = len(partner)
    if p < 0:
        return "5′ end", 0
    if q == length:
        return "3′ end", 0
    a, b = int(partner[p]), int(partner[q])
    if a == q:
        return "hairpin", p
    if b < a and not (partner[b + 1 : a] >= 0).any():
        return None if b + 1 == a and p + 1 == q else ("interior loop", min(p, b))
    enclosing = np.flatnonzero(partner[: p + 1] >= q)
    if not len(enclosing):
        return "external", p
    closing = max((int(i) for i in enclosing if brackets[i] == "("), default=-1)
    knotted = (
        {brackets[p], brackets[q]} - {"(", ")"} or closing < 0 or _branches(brackets, partner, closing) < 2
    )
    return ("pseudoknot loop", p) if knotted else ("multiloop", closing)


def _branches(brackets: str, partner: NDArray[np.int64], closing: int) -> int:
    """Return the number of nested stems that start in the loop of a pair."""
    count, k = 0, closing + 1
    while k < partner[closing]:
        if brackets[k] == "(":
            count, k = count + 1, int(partner[k])
        k += 1
    return count


def element_table(pairs: ArrayLike, length: int) -> pd.DataFrame:
    """Return the structural elements as a table, a row an element.

    Returns
    -------
    pandas.DataFrame
        ``element`` (s0, h0 …), ``kind``, ``start`` and ``end`` (from 1, the last one included), ``strands`` (as text,
        "3-6 11-14"), ``nucleotides``, ``stems`` that a loop joins, and stems that a stem ``crosses``.

    Examples
    --------
    >>> element_table([(0, 7), (1, 6)], 8)[["element", "kind", "strands"]]
      element     kind  strands
    0      s0     stem  1-2 7-8
    1      h0  hairpin      3-6
    """
    import pandas as pd

    rows = [
        (
            one.name,
            one.kind,
            one.strands[0][0] if one.strands else pd.NA,
            one.strands[-1][1] if one.strands else pd.NA,
            " ".join(f"{a}-{b}" if a < b else str(a) for a, b in one.strands),
            one.nucleotides,
            " ".join(one.stems),
            " ".join(one.crosses),
        )
        for one in find_elements(pairs, length)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"start": "Int64", "end": "Int64", "nucleotides": "int64"})


def loop_elements(dot_bracket: str) -> NDArray[np.str_]:
    """Return the element of each nucleotide as one of the letters of :data:`ELEMENTS`.

    Parameters
    ----------
    dot_bracket : str
        Of any bracket levels; nucleotides between the stems of a pseudoknot, or of the exterior loop, count as a
        multibranch loop, as in forgi.

    Returns
    -------
    ndarray of str, shape (L,)

    Raises
    ------
    ValueError
        For brackets without a partner.

    Examples
    --------
    >>> "".join(loop_elements("..((((....))))."))
    'ffsssshhhhsssst'
    """
    return np.array(
        [KINDS[kind] for kind in element_kinds(pairs_from_dot_bracket(dot_bracket), len(dot_bracket))]
    )


def element_kinds(pairs: ArrayLike, length: int) -> list[str]:
    """Return the kind of element of each nucleotide, one of the keys of :data:`KINDS`.

    Examples
    --------
    >>> element_kinds([(0, 4)], 5)
    ['stem', 'hairpin', 'hairpin', 'hairpin', 'stem']
    """
    kinds = ["5′ end"] * length
    for one in find_elements(pairs, length):
        for first, last in one.strands:
            kinds[first - 1 : last] = [one.kind] * (last - first + 1)
    return kinds
