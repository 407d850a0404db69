"""What the folding studio sends to the page."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..plot.coordinates import in_layout
from ..rna.folded import GUESS
from ..rna.pairs import to_dot_bracket
from ..structure import Structure

SHOWN = 0.02
"""Pairs less probable than this are not sent to the page."""


def strip_position_numbers(text: str) -> str:
    r"""Remove the numbers and blanks that databases print between nucleotides; headers stay.

    Examples
    --------
    >>> strip_position_numbers(">tRNA 1\n  1 gcgg auuu\n 61 acca")
    '>tRNA 1\ngcggauuu\nacca'
    """
    lines = text.splitlines()
    return "\n".join(line if line.startswith(">") else re.sub(r"[\d\s]", "", line) for line in lines)


def structure_payload(s: Structure, *, places: bool = True) -> dict[str, Any]:
    """Return what a page needs to draw a structure; without `places`, no layout is computed.

    Examples
    --------
    >>> structure_payload(Structure.from_dot_bracket("GGGAAAACCC", "(((....)))"))["pairs"][0]
    [0, 9, None, True]
    """
    from ..plot.secondary_structure import _view

    view = _view(s) if places else np.zeros(0, dtype=complex)
    straight = {*map(tuple, s.pairs[in_layout(s.pairs, len(s))].tolist())}
    p = s.probabilities
    pairs = [
        [i, j, None if p is None else round(float(p[i, j]), 4), (i, j) in straight]
        for i, j in s.pairs.tolist()
    ]
    confidence = s.base_confidence
    return {
        "name": s.name,
        "sequence": s.sequence,
        "dot_bracket": to_dot_bracket(s.pairs, len(s), drop=True),
        "pairs": pairs,
        "x": np.round(view.real, 2).tolist(),
        "y": np.round(-view.imag, 2).tolist(),
        "base_confidence": [] if confidence is None else np.round(confidence, 3).tolist(),
        "confidence": None if s.confidence is None else round(s.confidence, 3),
        "guess": s.confidence is not None and s.confidence < GUESS,
        "method": s.method,
    }


def candidates(s: Structure) -> bytes:
    """Return the pairs that are at all probable: i, j and 10,000 p, as little-endian int32, the most probable first."""
    if s.probabilities is None:
        return b""
    i, j = np.nonzero(np.triu(s.probabilities, 1) >= SHOWN)
    p = s.probabilities[i, j]
    order = np.argsort(-p, kind="stable")[:60_000]
    return np.stack((i, j, np.round(10_000 * p)), axis=1)[order].astype("<i4").tobytes()
