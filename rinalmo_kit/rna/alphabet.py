"""The vocabulary, and cleaning of sequences.

The vocabulary and its ids are those of the released RiNALMo weights (spec §1.2; paper, "Tokenization").
Unlike the official tokenizer, which turns an unknown character into ``<unk>`` silently, every
character outside the vocabulary is rejected here with its position.
"""

from __future__ import annotations

import re
from typing import NewType

import numpy as np

__all__ = ["CLS", "EOS", "MASK", "PAD", "UNK", "VOCABULARY", "CleanSequence", "clean"]

CleanSequence = NewType("CleanSequence", str)
"""A sequence that :func:`clean` returned: upper case, U for T, every letter in the vocabulary."""

VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>", *"ACGTIRYKMSWBDHVN-")
"""Symbols of the model; the place of one is its token id (spec §1.2)."""


CLS, PAD, EOS, UNK, MASK = range(5)


_IDS = {symbol: i for i, symbol in enumerate(VOCABULARY) if len(symbol) == 1} | {"U": 8}


_BYTE_TO_ID = np.full(256, UNK, dtype=np.int64)
for _symbol, _id in _IDS.items():
    _BYTE_TO_ID[[ord(_symbol), ord(_symbol.lower())]] = _id


_ALLOWED = re.compile("[ACGTUIRYKMSWBDHVN-]*", re.IGNORECASE | re.ASCII).fullmatch


_STRANDS = "two strands are not supported: expected one RNA"


_WHITESPACE = {ord(c): None for c in " \t\r\n\v\f\ufeff"}


def clean(sequence: str, *, name: str = "sequence") -> CleanSequence:
    r"""Return the sequence in upper case with U for T, or say what is wrong with it and where.

    White space (spaces, tabs, line ends of any system) is dropped, so a sequence copied over several
    lines is read as one. The gap ``-`` and the IUPAC codes are symbols of the model and are kept.

    Parameters
    ----------
    sequence : str
        Nucleotides, one letter each: A C G U (or T), the IUPAC codes R Y K M S W B D H V N, inosine I
        and the gap ``-``; upper or lower case.
    name : str
        What to call the sequence in an error.

    Raises
    ------
    ValueError
        Names the sequence, the position (from 1, white space not counted) and the first character that
        is not in the vocabulary; ``&`` and ``+``, which separate strands, are named as such.

    Examples
    --------
    >>> clean("gat tac\r\na")
    'GAUUACA'
    >>> clean("ACXU", name="tRNA-7")
    Traceback (most recent call last):
    ValueError: 'tRNA-7', position 3: 'X' is not a nucleotide code; allowed are A C G U T I R Y K M S W B D H V N and -
    """
    if not isinstance(sequence, str):
        raise TypeError(f"{name!r}: a sequence must be a str, not {type(sequence).__name__}")
    sequence = sequence.translate(_WHITESPACE)
    if not _ALLOWED(sequence):
        _reject(sequence, name)
    return CleanSequence(sequence.upper().replace("T", "U"))


def _reject(sequence: str, name: str) -> None:
    """Raise an error that names the first character that is not a nucleotide code, and its position."""
    for position, letter in enumerate(sequence, 1):
        if letter.upper() not in _IDS or not letter.isascii():
            raise ValueError(
                f"{name!r}, position {position}: {letter!r} is not a nucleotide code; "
                + (_STRANDS if letter in "&+" else "allowed are A C G U T I R Y K M S W B D H V N and -")
            )
