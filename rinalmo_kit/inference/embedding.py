"""Embed RNAs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .._utils.defaults import ENCODER
from .._utils.progress import progress_bar
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..rna.alphabet import CleanSequence
from ..rna.sequences import Sequences
from .batching import (
    batches_by_length,
    encode_sequences,
    finite,
    run_with_oom_retry,
    token_budget,
    too_large,
    warn_if_unusual,
)
from .folding import ready_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embed"]


@torch.inference_mode()
def embed(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = ENCODER,
    pool: Literal["cls", "mean"] | None = None,
    progress: bool = False,
) -> list[NDArray[np.float32]] | NDArray[np.float32]:
    """Embed sequences with the encoder.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        A single string is treated as a list of one.
    model : Encoder, name or path
        See :func:`rinalmo_kit.load`.
    pool : {None, "cls", "mean"}
        None gives one row a nucleotide; ``"cls"`` the row of ``<cls>``, which the paper uses for maps and
        classification; ``"mean"`` the mean over nucleotides. ``<cls>`` and ``<eos>`` are never among the
        nucleotide rows and never in the mean.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray, each float32 (L, dim), or one ndarray (number of sequences, dim) with `pool`
        In the order of the input. What a sequence gets does not depend on the others beside it.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary, before any is computed.
    MemoryError
        Names the sequence that does not fit into memory by itself; several that do not are encoded in smaller batches.

    Examples
    --------
    >>> [e.shape for e in embed(["GGGAAACCC", "ACGU"])], embed("ACGU", pool="cls").shape
    ([(9, 320), (4, 320)], (1, 320))
    """
    if pool not in (None, "cls", "mean"):
        raise ValueError(f"pool={pool!r}: expected None, 'cls' or 'mean'")
    records = ready_records(sequences)
    texts = [text for _, text in records]
    for record in records:
        warn_if_unusual(*record)
    model = ready_model(model)
    results: list[Any] = [None] * len(texts)
    with progress_bar(len(texts), "embed", shown=progress) as bar:
        for batch, rows in embeddings(model, texts, pool):
            if isinstance(rows, Exception):
                raise MemoryError(too_large(*records[batch[0]], model, error=rows))
            for i, one in zip(batch, rows, strict=True):
                results[i] = one
            bar.update(len(batch))
    if pool is None:
        return results
    return np.stack(results) if results else np.zeros((0, model.config.dim), dtype=np.float32)


@torch.inference_mode()
def embeddings(
    model: Encoder, texts: list[CleanSequence], pool: Literal["cls", "mean"] | None
) -> Iterator[tuple[list[int], list[NDArray[np.float32]] | Exception]]:
    """Yield indices of clean sequences and their embeddings, batch by batch; see :func:`run_with_oom_retry`."""

    def compute(batch: list[int]) -> list[NDArray[np.float32]]:
        found = []
        for rows in encode_sequences(model, [texts[i] for i in batch]):
            rows = rows.float()
            pooled = rows[0] if pool == "cls" else rows[1:-1].mean(0) if pool == "mean" else rows[1:-1]
            found.append(finite(pooled.cpu().numpy().copy(), model))
        return found

    lengths = [len(text) for text in texts]
    yield from run_with_oom_retry(
        batches_by_length(lengths, token_budget(model.config, model.device)), lengths, compute
    )
