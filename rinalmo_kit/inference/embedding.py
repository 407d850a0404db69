"""Embed RNAs: rows of nucleotides or one vector an RNA, of any block, whitened or not."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._utils.choices import did_you_mean
from .._utils.defaults import ENCODER
from .._utils.given import yes_or_no
from .._utils.progress import progress_bar
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.whitening import POOLS, Pool, Whitening, whitening_of
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

__all__ = ["embed", "fit_whitening"]


@torch.inference_mode()
def embed(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = ENCODER,
    pool: Pool | None = None,
    layer: int | Sequence[int] | None = None,
    whiten: bool = False,
    progress: bool = False,
) -> list[NDArray[np.float32]] | NDArray[np.float32]:
    """Embed sequences with the encoder.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        A single string is treated as a list of one.
    model : Encoder, name or path
        See :func:`rinalmo_kit.load`.
    pool : {None, "cls", "mean", "std"}
        None gives one row a nucleotide; ``"cls"`` the row of ``<cls>``, which the paper uses for maps and
        classification; ``"mean"`` and ``"std"`` mean and standard deviation of each coordinate over nucleotides.
        ``<cls>`` and ``<eos>`` are never among the nucleotide rows.
    layer : int, or sequence of int such as a range, optional
        Block whose output is taken, 1 the first, -1 the last; of several, the mean of their outputs. Default: the
        output of the last block after the last LayerNorm, which none of the blocks' own outputs has gone through.
    whiten : bool
        Apply the whitening that is stored with the model (:class:`rinalmo_kit.model.whitening.Whitening`): vectors of
        length 1 whose neighbours are more often related RNAs. It belongs to one pool and layer; the pool must be
        given. :func:`fit_whitening` fits one to your own RNAs.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray, each float32 (L, dim), or one ndarray (number of sequences, dim) with `pool`
        In the order of the input; with `whiten`, as wide as the whitening. What a sequence gets does not depend on the
        others beside it.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary, before any is computed; for a block
        that the model does not have, and for `whiten` where the model has no whitening for this pool and layer.
    MemoryError
        Names the sequence that does not fit into memory by itself; several that do not are encoded in smaller batches.

    Examples
    --------
    >>> [e.shape for e in embed(["GGGAAACCC", "ACGU"])], embed("ACGU", pool="cls").shape
    ([(9, 320), (4, 320)], (1, 320))
    """
    check_pool(pool)
    yes_or_no("whiten", whiten)
    records = ready_records(sequences)
    texts = [text for _, text in records]
    for record in records:
        warn_if_unusual(*record)
    model = ready_model(model)
    layers = block_numbers(model, layer)
    if whiten:
        whitening_for(model, pool, layers)
    results: list[Any] = [None] * len(texts)
    with progress_bar(len(texts), "embed", shown=progress) as bar:
        for batch, rows in embeddings(model, texts, pool, layer=layers, whiten=whiten):
            if isinstance(rows, Exception):
                raise MemoryError(too_large(*records[batch[0]], model, error=rows))
            for i, one in zip(batch, rows, strict=True):
                results[i] = one
            bar.update(len(batch))
    if pool is None:
        return results
    return np.stack(results) if results else np.zeros((0, width_of(model, whiten=whiten)), dtype=np.float32)


@torch.inference_mode()
def embeddings(
    model: Encoder,
    texts: list[CleanSequence],
    pool: Pool | None,
    *,
    layer: Sequence[int] | None = None,
    whiten: bool = False,
) -> Iterator[tuple[list[int], list[NDArray[np.float32]] | Exception]]:
    """Yield indices of clean sequences and their embeddings, batch by batch; see :func:`run_with_oom_retry`.

    `layer` holds numbers of blocks, as from :func:`block_numbers`.
    """
    whitening = whitening_for(model, pool, layer) if whiten else None
    layer = layer if whitening is None else whitening.layers

    def compute(batch: list[int]) -> list[NDArray[np.float32]]:
        rows = [
            _pooled(one.float(), pool) for one in encode_sequences(model, [texts[i] for i in batch], layer)
        ]
        found = [finite(one.numpy().copy(), model) for one in on_cpu(rows)]
        return found if whitening is None else [whitening.apply(one) for one in found]

    lengths = [len(text) for text in texts]
    yield from run_with_oom_retry(
        batches_by_length(lengths, token_budget(model.config, model.device)), lengths, compute
    )


def on_cpu(rows: list[Tensor]) -> list[Tensor]:
    """Return tensors on the CPU; those of a GPU are copied together, which is waited for once."""
    if all(one.device.type == "cpu" for one in rows):
        return rows
    flat = torch.cat([one.flatten() for one in rows]).cpu()
    parts = flat.split([one.numel() for one in rows])
    return [part.view(one.shape) for part, one in zip(parts, rows, strict=True)]


def _pooled(rows: Tensor, pool: Pool | None) -> Tensor:
    """Pool the rows of one sequence, those of ``<cls>`` and ``<eos>`` included."""
    if pool == "cls":
        return rows[0]
    nucleotides = rows[1:-1]
    if pool == "mean":
        return nucleotides.mean(0)
    return nucleotides.std(0, correction=0) if pool == "std" else nucleotides


def fit_whitening(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = ENCODER,
    pool: Pool = "std",
    layer: int | Sequence[int] | None = None,
    width: int = 256,
    progress: bool = False,
) -> Whitening:
    """Fit a whitening of pooled embeddings to RNAs, without labels.

    Parameters
    ----------
    sequences
        What :func:`embed` takes: a few thousand RNAs of all the kinds that you will embed, none that you test on.
    model, pool, layer, progress
        See :func:`embed`.
    width : int
        Numbers in a whitened vector, at most.

    Returns
    -------
    Whitening
        For ``model.info.whitening``, which :func:`rinalmo_kit.save` keeps and ``embed(whiten=True)`` uses.

    Raises
    ------
    ValueError
        As :func:`embed`, and for no more sequences than `width`.

    Examples
    --------
    >>> import rinalmo_kit as rk
    >>> model, rng = rk.load("nano", device="cpu"), np.random.default_rng(0)
    >>> rnas = ["".join(rng.choice(list("ACGU"), 30)) for _ in range(20)]
    >>> model.info.whitening = fit_whitening(rnas, model=model, width=8)
    >>> embed(rnas[:2], model=model, pool="std", whiten=True).shape
    (2, 8)
    """
    model = ready_model(model)
    if pool is None:
        raise ValueError(f"pool=None: a whitening is for one of {', '.join(POOLS)}")
    vectors = embed(sequences, model=model, pool=pool, layer=layer, progress=progress)
    return whitening_of(vectors, pool=pool, layers=block_numbers(model, layer), width=width)


def check_pool(pool: object) -> None:
    """Raise ValueError unless this is None or a way of pooling."""
    if pool is not None and (not isinstance(pool, str) or pool not in POOLS):
        meant = did_you_mean(pool, POOLS)
        raise ValueError(
            f"pool={pool!r}{meant}: expected None, {', '.join(map(repr, POOLS[:-1]))} or {POOLS[-1]!r}"
        )


def block_numbers(model: Encoder, layer: object) -> tuple[int, ...] | None:
    """Return the numbers of blocks that the option `layer` means, from 1, ascending, each once.

    Examples
    --------
    >>> import rinalmo_kit as rk
    >>> block_numbers(rk.load("nano", device="cpu"), [-1, 2, 2])
    (2, 6)
    """
    if layer is None:
        return None
    blocks = model.config.blocks
    given: list[Any] = list(layer) if isinstance(layer, Sequence) else [layer]
    try:
        numbers = [operator.index(one) for one in given if not isinstance(one, bool)]
    except TypeError:
        numbers = []
    if isinstance(layer, str) or len(numbers) != len(given) or not numbers:
        raise ValueError(f"layer={layer!r}: expected a whole number or several, such as -1 or range(3, 6)")
    if bad := [one for one in numbers if not 1 <= abs(one) <= blocks]:
        raise ValueError(
            f"layer={bad[0]}: {model.name} has {blocks} blocks, expected 1 to {blocks}, or -1 (the last) to -{blocks}"
        )
    return tuple(sorted({one if one > 0 else blocks + 1 + one for one in numbers}))


def whitening_for(model: Encoder, pool: Pool | None, layers: Sequence[int] | None = None) -> Whitening:
    """Return the whitening of a model, or raise ValueError unless it has one for this pool and these blocks."""
    found = model.info.whitening
    if found is None:
        raise ValueError(
            f"whiten=True: no whitening is stored with {model.name}: leave it out, or fit one, "
            "model.info.whitening = rinalmo_kit.inference.embedding.fit_whitening(sequences, model=model)"
        )
    if pool != found.pool:
        raise ValueError(
            f"whiten=True: the whitening of {model.name} is for pool={found.pool!r}, not {pool!r}"
        )
    if layers is not None and tuple(layers) != found.layers:
        place = "the default layer" if found.layers is None else f"layer={list(found.layers)}"
        raise ValueError(f"whiten=True: the whitening of {model.name} is for {place}: leave layer out")
    return found


def width_of(model: Encoder, *, whiten: bool) -> int:
    """Return how many numbers a row of embeddings has."""
    return model.info.whitening.width if whiten and model.info.whitening is not None else model.config.dim
