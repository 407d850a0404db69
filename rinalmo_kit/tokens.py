"""Vocabulary, cleaning of sequences, token ids and FASTA.

The vocabulary and its ids are those of the released RiNALMo weights (spec §1.2; paper, "Tokenization").
Unlike the official tokenizer, which turns an unknown character into ``<unk>`` without a word, every
character outside the vocabulary is refused here with its place.
"""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

__all__ = [
    "CLS",
    "EOS",
    "MASK",
    "PAD",
    "UNK",
    "VOCABULARY",
    "Sequences",
    "clean",
    "read_fasta",
    "read_sequences",
    "tokenize",
]

VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>", *"ACGTIRYKMSWBDHVN-")
CLS, PAD, EOS, UNK, MASK = range(5)

Sequences = str | os.PathLike | Iterable[str] | Mapping[str, str]
"""What :func:`read_sequences`, and so ``fold`` and ``embed``, accept."""

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


def read_sequences(source: Sequences) -> list[tuple[str, str]]:
    r"""Turn whatever a user has in hand into (name, sequence) records; nothing is validated yet.

    Parameters
    ----------
    source : str, os.PathLike, iterable of str, or mapping
        A sequence; FASTA text (starts with ``>``); a path to a FASTA file, ``.gz`` or not (a string is a
        path if it holds a ``.``, ``/`` or ``\``, which no sequence does); several sequences;
        or ``{name: sequence}``.

    Returns
    -------
    list of (str, str)
        Unnamed sequences are called ``sequence 1``, ``sequence 2``, …

    Examples
    --------
    >>> read_sequences({"a": "ACG"}), read_sequences(["AC", "GU"])
    ([('a', 'ACG')], [('sequence 1', 'AC'), ('sequence 2', 'GU')])
    >>> read_sequences(">tRNA first try\nGCG\nUUU\n")
    [('tRNA', 'GCGUUU')]
    """
    if isinstance(source, os.PathLike):
        return list(read_fasta(source))
    if isinstance(source, str):
        if source.lstrip("\ufeff \t\r\n").startswith(">"):
            return list(read_fasta(io.StringIO(source.lstrip("\ufeff \t\r\n"))))
        if is_path(source):
            if not Path(source).exists():
                raise FileNotFoundError(
                    f"no such file: {source} (a string with '.', '/' or '\\' is taken for a path; no sequence has one)"
                )
            return list(read_fasta(source))
        return [("sequence", source)]
    if isinstance(source, Mapping):
        return [(str(name), sequence) for name, sequence in source.items()]
    return [(f"sequence {i}", sequence) for i, sequence in enumerate(source, 1)]


def is_path(text: str) -> bool:
    """Tell a path from a sequence: it holds a dot, a slash or a backslash, which no sequence does."""
    one_line = len(text) < 4096 and "\n" not in text
    return one_line and any(c in text for c in "./\\")


def open_text(path: str | os.PathLike) -> TextIO:
    """Open a text file for reading, unpacking ``.gz`` on the way; a byte-order mark is dropped."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def read_fasta(source: str | os.PathLike | TextIO) -> Iterator[tuple[str, str]]:
    r"""Read FASTA one record at a time.

    Parameters
    ----------
    source : path or text stream
        ``.gz`` is unpacked; Unix, Windows and old Mac line ends are the same.

    Yields
    ------
    (str, str)
        Name (the header up to the first white space; ``record 3`` if the header is empty) and the
        sequence as it stands, lines joined.

    Raises
    ------
    ValueError
        If text comes before the first header (with the line number).

    Examples
    --------
    >>> list(read_fasta(io.StringIO(">a\r\nACG\r\nU\r\n>b\r\nGG\r\n")))
    [('a', 'ACGU'), ('b', 'GG')]
    """
    if isinstance(source, str | os.PathLike):
        with open_text(source) as stream:
            yield from read_fasta(stream)
        return
    name, lines, count = None, [], 0
    for number, line in enumerate(source, 1):
        line = line.strip()
        if line.startswith(">"):
            if name is not None:
                yield name, "".join(lines)
            count += 1
            words = line[1:].split()
            name, lines = (words[0] if words else f"record {count}"), []
        elif line and name is None:
            where = getattr(source, "name", "FASTA text")
            raise ValueError(
                f"{where}, line {number}: expected a FASTA header ('>name'), found {line[:40]!r}"
            )
        elif line:
            lines.append(line)
    if name is not None:
        yield name, "".join(lines)
