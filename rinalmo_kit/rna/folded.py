"""An RNA with its base pairs, checked: what formats read and write, and scores and plots take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from .._utils.given import of_kind
from .alphabet import clean
from .decoding import as_probabilities
from .pairs import as_pairs, pairs_from_dot_bracket, to_dot_bracket

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["GUESS", "FoldedRNA"]


GUESS = 0.4
"""Confidence below which a fold is called a guess."""


@dataclass(frozen=True, eq=False)
class FoldedRNA:
    """An RNA with its base pairs: the data and checks of :class:`rinalmo_kit.Structure`, which says what each field is.

    Examples
    --------
    >>> s = FoldedRNA("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> print(s)
    >hairpin
    GGGAAAACCC
    (((....)))
    >>> s.pairs[0]
    array([0, 9])
    """

    sequence: str
    pairs: NDArray[np.int64]
    name: str = "sequence"
    probabilities: NDArray[np.floating] | None = None
    confidence: float | None = None
    method: str = ""
    energy: str | None = None

    if TYPE_CHECKING:  # pairs are given as anything like an array

        def __init__(
            self,
            sequence: str,
            pairs: ArrayLike,
            name: str = "sequence",
            probabilities: ArrayLike | None = None,
            confidence: float | None = None,
            method: str = "",
            energy: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        sequence = clean(self.sequence, name=self.name)
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "pairs", as_pairs(self.pairs, length=len(sequence), name=self.name))
        if self.probabilities is not None:
            if (shape := tuple(np.shape(self.probabilities))) != (len(sequence), len(sequence)):
                raise ValueError(
                    f"{self.name!r}: probabilities have shape {shape}, the sequence has {len(sequence)} nucleotides"
                )
            found = as_probabilities(self.probabilities, name=self.name)
            object.__setattr__(self, "probabilities", found)

    @classmethod
    def from_dot_bracket(cls, sequence: str, dot_bracket: str, *, name: str = "sequence") -> Self:
        """Make a structure from a dot-bracket string of the sequence's length.

        Examples
        --------
        >>> FoldedRNA.from_dot_bracket("GGCAAAGCC", "((.[..)])").pairs.tolist()
        [[0, 8], [1, 6], [3, 7]]
        """
        of_kind(f"{name!r}: dot_bracket", dot_bracket, str, "a string of dots and brackets")
        sequence, dot_bracket = clean(sequence, name=name), "".join(dot_bracket.split())
        if len(sequence) != len(dot_bracket):
            raise ValueError(
                f"{name!r}: the sequence has {len(sequence)} nucleotides, the dot-bracket {len(dot_bracket)} symbols"
            )
        return cls(sequence, pairs_from_dot_bracket(dot_bracket, name=name), name=name)

    @property
    def dot_bracket(self) -> str:
        """Dot-bracket string; pseudoknots use ``[] {} <>`` and then ``Aa Bb …``."""
        return to_dot_bracket(self.pairs, len(self.sequence), name=self.name)

    @property
    def partner(self) -> NDArray[np.int64]:
        """(L,) partner of every nucleotide, −1 where unpaired."""
        partner = np.full(len(self), -1, dtype=np.int64)
        partner[self.pairs[:, 0]], partner[self.pairs[:, 1]] = self.pairs[:, 1], self.pairs[:, 0]
        return partner

    @property
    def base_confidence(self) -> NDArray[np.float64] | None:
        """(L,) probability that each nucleotide is as it is shown: paired with its partner, or unpaired.

        None for a structure without probabilities.
        """
        if self.probabilities is None:
            return None
        confidence = 1 - np.minimum(1, self.probabilities.sum(axis=1, dtype=np.float64))
        i, j = self.pairs.T
        confidence[i] = confidence[j] = self.probabilities[i, j]
        return confidence

    def __len__(self) -> int:
        return len(self.sequence)

    def __eq__(self, other: object) -> bool:
        """Equal if name-independent content is: the sequence and the pairs."""
        if not isinstance(other, FoldedRNA):
            return NotImplemented
        return self.sequence == other.sequence and np.array_equal(self.pairs, other.pairs)

    __hash__ = None  # type: ignore[assignment]  # how Python spells "not hashable"

    def __str__(self) -> str:
        return f">{self.name}\n{self.sequence}\n{self.dot_bracket}"

    def __repr__(self) -> str:
        return f"<Structure {self.name!r}: {len(self)} nt, {len(self.pairs)} pairs>"
