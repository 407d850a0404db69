"""Embed RNAs: rows of nucleotides or one vector an RNA, of any block, whitened or not."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

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
from .windows import Windowed, as_windows, averaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embed", "fit_whitening"]

Combine = Literal["mean", "concat"]
"""What becomes of the outputs of several blocks."""


@torch.inference_mode()
def embed(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = ENCODER,
    pool: Pool | Callable[[NDArray[np.float32]], Any] | None = None,
    layer: int | Sequence[int] | None = None,
    combine: Combine = "mean",
    whiten: bool = False,
    dtype: Any = "float32",
    window: int | None = None,
    overlap: int | None = None,
    progress: bool = False,
) -> list[NDArray[np.floating]] | NDArray[np.floating]:
    """Embed sequences with the encoder.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        A single string is treated as a list of one.
    model : Encoder, name or path
        See :func:`rinalmo_kit.load`.
    pool : {None, "cls", "mean", "std", "max"}, or a function
        None gives one row a nucleotide; ``"cls"`` the row of ``<cls>``, which the paper uses for maps and
        classification; ``"mean"``, ``"std"`` and ``"max"`` mean, standard deviation and maximum of each coordinate
        over nucleotides. ``<cls>`` and ``<eos>`` are never among the nucleotide rows. A function takes the rows of
        one sequence, float32 (L, dim), and returns numbers of one shape for all.
    layer : int, or sequence of int such as a range, optional
        Block whose output is taken, 1 the first, -1 the last; several are combined. Default: the output of the last
        block after the last LayerNorm, which none of the blocks' own outputs has gone through.
    combine : {"mean", "concat"}
        Of several blocks: the mean of their outputs, or all of them side by side, in ascending order.
    whiten : bool
        Apply the whitening that is stored with the model (:class:`rinalmo_kit.model.whitening.Whitening`): vectors of
        length 1 whose neighbours are more often related RNAs. It belongs to one pool and layer; the pool must be
        given. :func:`fit_whitening` fits one to your own RNAs.
    dtype : {"float32", "float16"}
        Of the result; half precision takes half the memory, and is rounded from float32.
    window, overlap : int, optional
        Encode sequences of more than `window` nucleotides in windows of this length, which overlap by `overlap` or
        more (default: a quarter), and average where they do; ``<cls>`` is the mean over windows. Default: every
        sequence is computed whole, with a warning above the length that was trained on, 1022.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray, each (L, dim), or one ndarray (number of sequences, dim) with `pool`
        In the order of the input; with `whiten`, as wide as the whitening; with ``combine="concat"``, dim for each
        block. What a sequence gets does not depend on the others beside it. What was computed in windows is a
        :class:`~rinalmo_kit.inference.windows.Windowed`, whose ``windows`` says which.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary, before any is computed; for a block
        that the model does not have, and for `whiten` where the model has no whitening for this pool and layer; names
        the sequence for which a function gives no numbers, or another shape.
    MemoryError
        Names the sequence that does not fit into memory by itself; several that do not are encoded in smaller batches.

    Examples
    --------
    >>> [e.shape for e in embed(["GGGAAACCC", "ACGU"])], embed("ACGU", pool="cls").shape
    ([(9, 320), (4, 320)], (1, 320))
    >>> embed("ACGU" * 300, pool="mean", window=1022).windows
    [((0, 1022), (178, 1200))]
    """
    function = pool if callable(pool) else None
    named = None if callable(pool) else pool
    check_pool(named)
    yes_or_no("whiten", whiten)
    records = ready_records(sequences)
    texts = [text for _, text in records]
    windows = as_windows(window, overlap)
    spans = [() if windows is None else windows.of(len(text)) for text in texts]
    for record, span in zip(records, spans, strict=True):
        if not span:
            warn_if_unusual(*record)
    model = ready_model(model)
    options = embedding_options(
        model, named, layer, whiten=whiten, combine=combine, dtype=dtype, window=window, overlap=overlap
    )
    if function is not None:  # sees the rows as they are
        options |= {"dtype": "float32"}
    results: list[Any] = [None] * len(texts)
    with progress_bar(len(texts), "embed", shown=progress) as bar:
        for batch, rows in embeddings(model, texts, **options):
            if isinstance(rows, Exception):
                raise MemoryError(too_large(*records[batch[0]], model, error=rows))
            for i, one in zip(batch, rows, strict=True):
                results[i] = one if function is None else pooled_by(function, one, records[i][0])
            bar.update(len(batch))
    if pool is None:
        return [Windowed.of(one, span) if span else one for one, span in zip(results, spans, strict=True)]
    if function is not None:
        _check_same_shape(function, results, records)
    width = width_of(model, **options)
    found = np.stack(results) if results else np.zeros((0, width), dtype=np.float32)
    found = found if function is None else as_half(found, as_dtype(dtype), model)
    return Windowed.of(found, spans) if any(spans) else found


def embedding_options(
    model: Encoder,
    pool: Pool | None,
    layer: object,
    *,
    whiten: bool,
    combine: str = "mean",
    dtype: Any = "float32",
    window: Any = None,
    overlap: Any = None,
) -> dict[str, Any]:
    """Return the options of :func:`embeddings`, checked; those that are not used are left out.

    Raises
    ------
    ValueError
        As :func:`embed`.
    """
    layers = block_numbers(model, layer)
    if combine not in ("mean", "concat"):
        raise ValueError(f"combine={combine!r}: expected 'mean' or 'concat'")
    if combine == "concat" and layers is None:
        raise ValueError("combine='concat': expected layer, too, such as layer=[4, 5, 6]")
    if whiten and combine == "concat":
        raise ValueError("whiten=True: a whitening is for the mean of blocks: leave combine out")
    if whiten:
        whitening_for(model, pool, layers)
    windows, half = as_windows(window, overlap), as_dtype(dtype) == np.float16
    options: dict[str, Any] = {"pool": pool}
    options |= {} if layers is None else {"layer": list(layers)}
    options |= {"whiten": True} if whiten else {}
    options |= {"combine": "concat"} if combine == "concat" else {}
    options |= {"dtype": "float16"} if half else {}
    return options | ({} if windows is None else {"window": windows.length, "overlap": windows.overlap})


@torch.inference_mode()
def embeddings(
    model: Encoder,
    texts: list[CleanSequence],
    pool: Pool | None,
    *,
    layer: Sequence[int] | None = None,
    whiten: bool = False,
    combine: str = "mean",
    dtype: str = "float32",
    window: int | None = None,
    overlap: int | None = None,
) -> Iterator[tuple[list[int], list[NDArray[np.floating]] | Exception]]:
    """Yield indices of clean sequences and their embeddings, batch by batch; see :func:`run_with_oom_retry`.

    The options are those of :func:`embedding_options`. Sequences in windows come last, one by one.
    """
    whitening = whitening_for(model, pool, layer) if whiten else None
    layer = layer if whitening is None else whitening.layers
    windows = as_windows(window, overlap)

    def encoded(pieces: list[CleanSequence]) -> list[Tensor]:
        return encode_sequences(model, pieces, layer, side_by_side=combine == "concat")

    def finished(rows: list[Tensor]) -> list[NDArray[np.floating]]:
        found = [
            finite(one.numpy().copy(), model) for one in on_cpu([_pooled(one.float(), pool) for one in rows])
        ]
        found = found if whitening is None else [whitening.apply(one) for one in found]
        return [as_half(one, np.dtype(dtype), model) for one in found]

    whole = [i for i, text in enumerate(texts) if windows is None or not windows.of(len(text))]
    lengths = [len(texts[i]) for i in whole]
    budget = token_budget(model.config, model.device)
    for batch, found in run_with_oom_retry(
        batches_by_length(lengths, budget),
        lengths,
        lambda batch: finished(encoded([texts[whole[i]] for i in batch])),
        None if callable(pool) else model.device,  # a user's function is called by one thread
    ):
        yield [whole[i] for i in batch], found
    for i in sorted(set(range(len(texts))) - set(whole)):
        spans = windows.of(len(texts[i])) if windows is not None else ()
        yield [i], _of_windows(texts[i], spans, budget, encoded, finished)


def _of_windows(
    text: CleanSequence,
    spans: tuple[tuple[int, int], ...],
    budget: int,
    encoded: Callable[[list[CleanSequence]], list[Tensor]],
    finished: Callable[[list[Tensor]], list[NDArray[np.floating]]],
) -> list[NDArray[np.floating]] | Exception:
    """Return the embedding of one sequence from its windows, or the error that says that one of them does not fit."""
    lengths = [end - start for start, end in spans]
    rows: list[Tensor] = [torch.empty(0)] * len(spans)

    def compute(batch: list[int]) -> list[Tensor]:
        return [
            one.float() for one in on_cpu(encoded([CleanSequence(text[slice(*spans[i])]) for i in batch]))
        ]

    for batch, found in run_with_oom_retry(batches_by_length(lengths, budget), lengths, compute):
        if isinstance(found, Exception):
            return found
        for i, one in zip(batch, found, strict=True):
            rows[i] = one
    return finished([averaged(rows, spans)])


def as_dtype(dtype: Any) -> np.dtype:
    """Return the type of numbers that the option `dtype` means: float32 or float16.

    Examples
    --------
    >>> as_dtype("float16"), as_dtype(torch.float32)
    (dtype('float16'), dtype('float32'))
    """
    try:
        found = np.dtype(str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype)
    except TypeError:
        found = None
    if dtype is None or found not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise ValueError(f"dtype={dtype!r}: expected 'float32' or 'float16'")
    return found


def as_half(found: NDArray[np.floating], dtype: np.dtype, model: Encoder) -> NDArray[np.floating]:
    """Return numbers in a type, or raise ValueError if one is too large for half precision."""
    if dtype != np.float16:
        return found
    with np.errstate(over="ignore"):
        half = found.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{model.name} gives numbers above 65504, too large for dtype='float16'")
    return half


def pooled_by(
    function: Callable[[NDArray[np.float32]], Any], rows: NDArray[Any], name: str
) -> NDArray[np.float32]:
    """Return what a function of a user gives for the rows of a sequence, checked."""
    found = np.asarray(function(rows))
    if found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        raise ValueError(f"{name!r}: pool gave {found.dtype} with something that is not a finite number")
    return found.astype(np.float32)


def _check_same_shape(
    function: Callable[..., Any], results: list[NDArray[np.float32]], records: list[tuple[str, CleanSequence]]
) -> None:
    for one, (name, _) in zip(results, records, strict=True):
        if one.shape != results[0].shape:
            raise ValueError(
                f"{name!r}: pool={getattr(function, '__name__', function)} gave shape {one.shape}, and "
                f"{results[0].shape} for {records[0][0]!r}: expected one shape for all"
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
    if pool == "max":
        return nucleotides.amax(0)
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


def width_of(
    model: Encoder,
    *,
    whiten: bool = False,
    combine: str = "mean",
    layer: Sequence[int] | None = None,
    **_: Any,
) -> int:
    """Return how many numbers a row of embeddings has, with the options of :func:`embedding_options`."""
    if whiten and model.info.whitening is not None:
        return model.info.whitening.width
    return model.config.dim * (len(layer) if combine == "concat" and layer else 1)
