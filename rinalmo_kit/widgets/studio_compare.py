"""Structures that the folding studio compares a fold with: a known one, and ViennaRNA's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..evaluation.folding_programs import viennarna
from ..inference.energies import viennarna_module
from ..rna.pairs import pairs_from_dot_bracket
from ..structure import Structure
from .base import said
from .cancelling import SHORT, Cancelled, run_elsewhere

__all__ = ["COMPARED_UP_TO", "References", "by_viennarna"]

KNOWN = {"reference": "known structure"}
"""Name of what is compared → what a person is told."""


COMPARED_UP_TO = 1500
"""Nucleotides of the longest RNA that ViennaRNA folds beside the model."""


def given_reference(text: str, shown: Structure) -> Structure:
    """Return the known structure that a person gives for an RNA, as dot-bracket.

    Raises
    ------
    ValueError
        If it is not of the RNA's length, or no dot-bracket.
    """
    text = "".join(text.split())
    if len(text) != len(shown):
        raise ValueError(
            f"the reference has {len(text)} positions, {shown.name!r} has {len(shown)}: "
            "a known structure is one symbol a nucleotide"
        )
    return Structure(shown.sequence, pairs_from_dot_bracket(text, name="reference"), "reference")


class References:
    """Known structures of RNAs: each belongs to the sequence that it was given with.

    Attributes
    ----------
    settled : bool
        What was given last belongs to an RNA.
    restoring : bool
        What is given now is what an RNA already has.

    Examples
    --------
    >>> known, s = References(), Structure("GGGAAAACCC", [])
    >>> known.give("(((....)))", s), known.of(s), known.of(Structure("ACGU", []))
    (True, <Structure 'reference': 10 nt, 3 pairs>, None)
    """

    def __init__(self) -> None:
        self._known: dict[str, Structure] = {}
        self.settled = self.restoring = False

    def of(self, s: Structure | None) -> Structure | None:
        """Return the known structure of an RNA, if it has one."""
        return None if s is None else self._known.get(s.sequence)

    def give(self, text: str, s: Structure) -> bool:
        """Take the dot-bracket that a person gives for an RNA, empty for none; return whether there is one.

        Raises
        ------
        ValueError
            If it does not fit the RNA.
        """
        self._known.pop(s.sequence, None)
        self.settled = not text.strip()
        if not self.settled:
            self._known[s.sequence] = given_reference(text, s)
            self.settled = True
            return True
        return False

    @contextmanager
    def restore(self, s: Structure) -> Iterator[str]:
        """Yield the text of the known structure of an RNA, to be shown."""
        known = self.of(s)
        self.restoring = self.settled = True
        try:
            yield "" if known is None else known.dot_bracket
        finally:
            self.restoring = False


def by_viennarna(folded: list[Structure], stop: threading.Event) -> tuple[dict[int, Structure], list[str]]:
    """Fold by ViennaRNA what is not long, by number, and say what went wrong; nothing where it is not installed."""
    found = {}
    try:
        for k, one in enumerate(folded):
            if stop.is_set():
                raise Cancelled
            if len(one) <= SHORT:
                found[k] = viennarna(one.sequence, name=one.name)
            elif len(one) <= COMPARED_UP_TO:
                viennarna_module()
                pairs = run_elsewhere("RNA", "mfe", {"letters": one.sequence}, stop)
                found[k] = Structure.from_dot_bracket(one.sequence, pairs, name=one.name)
    except ModuleNotFoundError:
        return {}, []
    except Exception as error:
        return found, [f"No comparison with ViennaRNA: {said(error)}"]
    return found, []
