"""How RNAs are put into batches: by length, within a budget of tokens, within memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..model.rinalmo import Encoder
from ..model.tasks import task_of
from ..model.tokenizer import tokenize
from ..rna.alphabet import clean

TRAINED_LENGTH = 1022
"""Longest sequence in pretraining, nucleotides (paper, "Pre-training")."""


TOKEN_BUDGET = 768
"""Tokens encoded at a time on a CPU: enough to keep the matrix products efficient, few enough to stay in cache."""


TOKEN_BUDGET_GPU = 32_768
"""Tokens encoded at a time on a GPU (not measured: no GPU was at hand)."""


PADDED_BUDGET = 400_000
"""Positions that a batch is padded to at most, for a regression head, if one sequence has fewer."""


def ready_sequence(name: str, sequence: str) -> str:
    """Clean a sequence that is to be computed on; refuse an empty one."""
    sequence = clean(sequence, name=name)
    if not sequence:
        raise ValueError(f"{name!r} is empty: expected at least one nucleotide")
    return sequence


def notice(name: str, sequence: str, *, gaps: bool = False) -> None:
    """Warn of what is computed as asked, but may not be what was meant."""
    if len(sequence) > TRAINED_LENGTH:
        warnings.warn(
            f"{name!r} has {len(sequence)} nucleotides; the models were trained on at most {TRAINED_LENGTH}. "
            "It is computed whole, but expect a less reliable result",
            stacklevel=3,
        )
    if gaps and "-" in sequence:
        warnings.warn(
            f"{name!r}, position {sequence.index('-') + 1}: a gap is kept as a position that never pairs; "
            "remove gaps to fold the RNA itself",
            stacklevel=3,
        )


def within_memory(
    batches: Iterable[list[int]], lengths: list[int], compute: Callable[[list[int]], Any]
) -> Iterator[tuple[list[int], Any]]:
    """Compute batch after batch; what memory does not suffice for is tried again in halves.

    Parameters
    ----------
    batches : iterable of list of int
        Indices of sequences, as from :func:`batches_by_length`.
    lengths : list of int
        Of the sequences.
    compute : callable
        From the indices of a batch to its results.

    Yields
    ------
    batch : list of int
        A batch, or the part of one that fitted. No later batch has more tokens than half of one that did not fit.
    results : Any
        Of `compute`; None for a sequence that does not fit by itself.

    Examples
    --------
    >>> def compute(batch):
    ...     if len(batch) > 2:
    ...         raise MemoryError
    ...     return [f"result {i}" for i in batch]
    >>> [batch for batch, _ in within_memory([[0, 1, 2, 3], [4]], [9] * 5, compute)]
    [[0, 1], [2, 3], [4]]
    """
    limit = float("inf")
    for whole in batches:
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            tokens = sum(lengths[i] + 2 for i in batch)
            fits = tokens <= limit or len(batch) == 1
            if fits:
                try:
                    results = compute(batch)
                except (MemoryError, RuntimeError) as error:
                    if not _is_memory_error(error):
                        raise
                    fits, results = False, None
            if fits or len(batch) == 1:
                yield batch, results
                continue
            if tokens <= limit:
                limit = tokens / 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]


def _is_memory_error(error: Exception) -> bool:
    """Tell whether memory ran out, on a GPU or in the CPU's allocator, which raises a mere RuntimeError."""
    words = "out of memory|not enough memory|can't allocate memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(re.search(words, str(error)))


def too_large(name: str, sequence: str, model: Encoder) -> str:
    """Say that memory does not suffice for one sequence, and what may help."""
    return (
        f"{name!r} has {len(sequence)} nucleotides, too many for the memory of {model.device}, even by itself: "
        "use a device with more memory, a smaller model, or cut the sequence"
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
    batch, tokens = [], 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[i] + 2 > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i] + 2
    if batch:
        yield batch


def represent(model: Encoder, sequences: list[str]) -> list[Tensor]:
    """Representation of each sequence, (L + 2, dim) with ``<cls>`` and ``<eos>``, from one packed batch."""
    tokens = tokenize(sequences).to(model.device)
    packing = model.packing(tokens)
    return list(model.encode(tokens, packing).split(packing.lengths))


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
