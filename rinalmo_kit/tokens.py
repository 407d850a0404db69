"""Vocabulary, cleaning of sequences, and token ids.

The vocabulary and its ids are those of the released RiNALMo weights (spec §1.2; paper, "Tokenization").
Unlike the official tokenizer, which turns an unknown character into ``<unk>`` without a word, every
character outside the vocabulary is refused here with its place.
"""

from __future__ import annotations

import re

import numpy as np
import torch

from .sequences import Sequences, is_path, read_fasta, read_sequences
from .text_files import open_text

__all__ = [
    "CLS",
    "EOS",
    "MASK",
    "PAD",
    "UNK",
    "VOCABULARY",
    "Sequences",
    "clean",
    "is_path",
    "open_text",
    "read_fasta",
    "read_sequences",
    "tokenize",
]

VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>", *"ACGTIRYKMSWBDHVN-")
CLS, PAD, EOS, UNK, MASK = range(5)

_IDS = {symbol: i for i, symbol in enumerate(VOCABULARY) if len(symbol) == 1} | {"U": 8}
_BYTE_TO_ID = np.full(256, UNK, dtype=np.int64)
for _symbol, _id in _IDS.items():
    _BYTE_TO_ID[[ord(_symbol), ord(_symbol.lower())]] = _id
_ALLOWED = re.compile("[ACGTUIRYKMSWBDHVN-]*", re.IGNORECASE | re.ASCII).fullmatch
_WHITESPACE = {ord(c): None for c in " \t\r\n\v\f\ufeff"}


def clean(sequence: str, *, name: str = "sequence") -> str:
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
        is not in the vocabulary.

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
        _refuse(sequence, name)
    return sequence.upper().replace("T", "U")


def _refuse(sequence: str, name: str) -> None:
    """Name the first character that is no nucleotide code, and its place."""
    for position, letter in enumerate(sequence, 1):
        if letter.upper() not in _IDS or not letter.isascii():
            raise ValueError(
                f"{name!r}, position {position}: {letter!r} is not a nucleotide code; "
                "allowed are A C G U T I R Y K M S W B D H V N and -"
            )


def tokenize(sequences: Sequences, *, pad_to: int | None = None, special_tokens: bool = True) -> torch.Tensor:
    """Turn sequences into token ids: ``<cls>``, one id a nucleotide, ``<eos>``, then ``<pad>``.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence} or path to FASTA
        See :func:`read_sequences`. An empty sequence gives ``<cls> <eos>``, as in the official tokenizer.
    pad_to : int, optional
        Number of tokens of every row, ``<cls>`` and ``<eos>`` included. Default: the longest row.
        Nothing is ever cut.
    special_tokens : bool
        False leaves ``<cls>`` and ``<eos>`` out, as pretraining does for a crop from inside a sequence.

    Returns
    -------
    torch.Tensor
        int64, (number of sequences, tokens).

    Raises
    ------
    ValueError
        For a character outside the vocabulary (see :func:`clean`), or a row longer than `pad_to`.

    Examples
    --------
    >>> tokenize(["ACGU", "gg"])
    tensor([[0, 5, 6, 7, 8, 2],
            [0, 7, 7, 2, 1, 1]])
    """
    if isinstance(sequences, list) and all(isinstance(one, str) for one in sequences):  # single letters, too
        sequences = {f"sequence {i}": one for i, one in enumerate(sequences, 1)}
    records = [(name, clean(text, name=name)) for name, text in read_sequences(sequences)]
    extra = 2 if special_tokens else 0
    longest = max((len(text) + extra for _, text in records), default=0)
    width = longest if pad_to is None else pad_to
    tokens = torch.full((len(records), width), PAD, dtype=torch.int64)
    for row, (name, text) in enumerate(records):
        if len(text) + extra > width:
            raise ValueError(
                f"{name!r} needs {len(text) + extra} tokens, more than pad_to={width}; nothing is cut: raise pad_to"
            )
        ids = torch.from_numpy(_BYTE_TO_ID[np.frombuffer(text.encode("ascii"), dtype=np.uint8)])
        start = 1 if special_tokens else 0
        tokens[row, start : start + len(text)] = ids
        if special_tokens:
            tokens[row, 0], tokens[row, len(text) + 1] = CLS, EOS
    return tokens
