"""How RNAs are put into batches: by length, within a budget of tokens, within memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._utils.warn import warn_user
from ..model.devices import to_device
from ..model.rinalmo import Encoder
from ..model.tasks import task_of
from ..model.tokenizer import token_ids
from ..rna.alphabet import CleanSequence, clean
from .threads import computed_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAINED_LENGTH = 1022
"""Longest sequence in pretraining, nucleotides (paper, "Pre-training")."""


TOKEN_BUDGET = 768
"""Tokens encoded at a time on a CPU: enough to keep the matrix products efficient, few enough to stay in cache."""


TOKEN_BUDGET_GPU = 32_768
"""Tokens encoded at a time on a GPU."""


PADDED_BUDGET = 400_000
"""Positions that a batch is padded to at most, for a regression head, if one sequence has fewer."""


def ready_sequence(name: str, sequence: str) -> CleanSequence:
    """Return a sequence cleaned; reject an empty one."""
    cleaned = clean(sequence, name=name)
    if not cleaned:
        raise ValueError(f"{name!r} is empty: expected at least one nucleotide")
    return cleaned


def warn_if_unusual(name: str, sequence: str, *, gaps: bool = False) -> None:
    """Warn about a sequence longer than the training length or, if `gaps`, with gaps."""
    if len(sequence) > TRAINED_LENGTH:
        warn_user(
            f"{name!r} has {len(sequence)} nucleotides; the models were trained on at most {TRAINED_LENGTH}. "
            "It is computed whole, but expect a less reliable result"
        )
    if gaps and "-" in sequence:
        warn_user(
            f"{name!r}, position {sequence.index('-') + 1}: a gap is kept as a position that never pairs; "
            "remove gaps to fold the RNA itself"
        )


def run_with_oom_retry(
    batches: Iterable[list[int]],
    lengths: list[int],
    compute: Callable[[list[int]], Any],
    device: torch.device | None = None,
) -> Iterator[tuple[list[int], Any]]:
    """Compute batch after batch; retry in halves what memory does not suffice for.

    Parameters
    ----------
    batches : iterable of list of int
        Indices of sequences, as from :func:`batches_by_length`.
    lengths : list of int
        Of the sequences.
    compute : callable
        From the indices of a batch to its results.
    device : torch.device, optional
        Where it computes. With it, several batches of a CPU may be computed at a time, by a thread each
        (:mod:`rinalmo_kit.inference.threads`).

    Yields
    ------
    batch : list of int
        A batch, or the part of one that fitted. No later batch has more tokens than half of one that did not fit.
    results : Any
        Of `compute`; for a sequence that does not fit by itself the error that said so.

    Examples
    --------
    >>> def compute(batch):
    ...     if len(batch) > 2:
    ...         raise MemoryError
    ...     return [f"result {i}" for i in batch]
    >>> [batch for batch, _ in run_with_oom_retry([[0, 1, 2, 3], [4]], [9] * 5, compute)]
    [[0, 1], [2, 3], [4]]
    """
    limit = float("inf")
    longest = partial(_longest, lengths)
    for whole, first_try in computed_ahead(compute, batches, longest, device):
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            tokens = sum(lengths[i] + 2 for i in batch)
            fits = tokens <= limit or len(batch) == 1
            if fits:
                try:
                    results = first_try() if batch is whole else compute(batch)
                except (MemoryError, RuntimeError) as error:
                    if not is_memory_error(error):
                        raise
                    fits, results = False, error.with_traceback(None)  # whose frames hold what did not fit
            if fits or len(batch) == 1:
                yield batch, results
                continue
            if tokens <= limit:
                limit = tokens / 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]


def _longest(lengths: Sequence[int], batch: Sequence[int]) -> int:
    return max(lengths[i] for i in batch)


def finite(found: NDArray[np.float32], model: Encoder) -> NDArray[np.float32]:
    """Return what a model gives, or raise ValueError if it is not a number."""
    if not np.isfinite(found).all():
        raise ValueError(
            f"{model.name} gives numbers that are not finite: its weights are damaged, or too large for {model.dtype}"
        )
    return found


def is_memory_error(error: Exception) -> bool:
    """Tell whether memory ran out, on a GPU or in the CPU's allocator, which raises a mere RuntimeError."""
    words = "out of memory|not enough memory|can't allocate memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(re.search(words, str(error)))


def too_large(name: str, sequence: str, model: Encoder, error: Exception | None = None) -> str:
    """Say that memory does not suffice for one sequence, and what may help; and how much was needed, if known."""
    needed = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
    return (
        f"{name!r} has {len(sequence)} nucleotides, too many for the memory of {model.device}, even by itself: "
        f"use a device with more memory, a smaller model, or cut the sequence{needed}"
    )


def token_budget(config: Any, device: torch.device) -> int:
    """Tokens to encode at a time; a narrow model takes more, whose calls would else take longer than what they do.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> token_budget(Config.pico(), torch.device("cpu")), token_budget(Config.giga(), torch.device("cpu"))
    (1562, 768)
    """
    return TOKEN_BUDGET_GPU if device.type == "cuda" else max(TOKEN_BUDGET, 300_000 // config.dim)


def batches_by_length(lengths: list[int], budget: int = TOKEN_BUDGET) -> Iterator[list[int]]:
    """Yield indices in batches of at most `budget` tokens, or of one longer sequence, sorted by length.

    Examples
    --------
    >>> list(batches_by_length([5, 100, 7], budget=20))
    [[0, 2], [1]]
    """
    batch: list[int] = []
    tokens = 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[i] + 2 > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i] + 2
    if batch:
        yield batch


def encode_sequences(
    model: Encoder,
    sequences: Sequence[CleanSequence],
    layers: Sequence[int] | None = None,
    *,
    side_by_side: bool = False,
) -> list[Tensor]:
    """Return the representation of each sequence, (L + 2, dim) with ``<cls>`` and ``<eos>``, from one packed batch.

    With `layers`, the mean of the outputs of these blocks, numbered from 1, or all `side_by_side`.
    """
    tokens = token_ids(sequences)
    packing = model.packing(tokens)  # on the CPU still: nothing waits for a GPU
    tokens = to_device(tokens, model.device)
    if layers is None:
        rows = model.encode(tokens, packing)
    else:
        first, *others = model.block_outputs(tokens, packing, layers)
        rows = torch.cat([first, *others], dim=1) if side_by_side else sum(others, first) / len(layers)
    return list(rows.split(packing.lengths))


def batches_for(model: Encoder, lengths: list[int]) -> Iterator[list[int]]:
    """Yield batches in which no sequence changes what another one gets: a regression head sees the padding."""
    budget = token_budget(model.config, model.device)
    task = task_of(model.head)
    if task is None or not task.padded:
        yield from batches_by_length(lengths, budget)
        return
    fits = [i for i, length in enumerate(lengths) if length + 2 <= (model.pad_to or 0)]
    most = max(1, PADDED_BUDGET // (model.pad_to or 1))
    for batch in batches_by_length([lengths[i] for i in fits], budget):
        for start in range(0, len(batch), most):
            yield [fits[i] for i in batch[start : start + most]]
    yield from ([i] for i, length in enumerate(lengths) if length + 2 > (model.pad_to or 0))
