"""Token ids of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..rna.alphabet import _BYTE_TO_ID, CLS, EOS, PAD, CleanSequence, clean
from ..rna.sequences import Sequences, read_sequences

__all__ = ["token_ids", "tokenize"]


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
    for name, text in records:
        if len(text) + extra > width:
            raise ValueError(
                f"{name!r} needs {len(text) + extra} tokens, more than pad_to={width}; nothing is cut: raise pad_to"
            )
    return token_ids([text for _, text in records], width=width, special_tokens=special_tokens)


def token_ids(
    sequences: Sequence[CleanSequence], *, width: int | None = None, special_tokens: bool = True
) -> torch.Tensor:
    """Return the token ids of clean sequences, int64 (number of sequences, width); see :func:`tokenize`.

    Parameters
    ----------
    sequences : sequence of CleanSequence
        From :func:`rinalmo_kit.rna.alphabet.clean`; they are not looked at again.
    width : int, optional
        Tokens of a row, at least those of the longest sequence, which is the default.
    special_tokens : bool
        Put ``<cls>`` and ``<eos>`` around each sequence.

    Examples
    --------
    >>> token_ids([clean("gg")], width=6)
    tensor([[0, 7, 7, 2, 1, 1]])
    """
    start = int(special_tokens)
    if width is None:
        width = max(map(len, sequences), default=0) + 2 * start
    tokens = torch.full((len(sequences), width), PAD, dtype=torch.int64)
    for row, text in zip(tokens, sequences, strict=True):
        row[start : start + len(text)] = torch.from_numpy(
            _BYTE_TO_ID[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]
        )
        if special_tokens:
            row[0], row[len(text) + 1] = CLS, EOS
    return tokens
