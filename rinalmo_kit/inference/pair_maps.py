"""Pairing probabilities of RNAs that are encoded: how their maps are put together for the structure head."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from ..model.batched_structure_head import INFERENCE_ENTRIES, PaddedMaps, batches_by_entries
from ..model.rinalmo import Encoder
from ..model.tasks import TASKS
from .batching import finite, run_with_oom_retry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["map_batches", "pair_probability_maps"]

SHORT = 48
"""Nucleotides up to which maps are computed together on a CPU too; from about 60 one after the other is as fast."""


CPU_ENTRIES = 8192
"""Entries of the padded maps that are computed together on a CPU: about as many as its cache holds."""


def map_batches(lengths: Sequence[int], device: torch.device) -> Iterator[list[int]]:
    """Yield indices of RNAs, sorted by length, whose maps go through the head together.

    On a GPU as many as :data:`INFERENCE_ENTRIES` allow. On a CPU only RNAs of up to :data:`SHORT` nucleotides share a
    batch; the others follow one by one, in their order. An RNA of one nucleotide, which has no map, is alone.

    Examples
    --------
    >>> list(map_batches([90, 1, 20, 60, 20], torch.device("cpu")))
    [[1], [2, 4], [0], [3]]
    """
    cpu = device.type == "cpu"
    together = [i for i, length in enumerate(lengths) if length > 1 and (length <= SHORT or not cpu)]
    yield from ([i] for i, length in enumerate(lengths) if length == 1)
    for batch in batches_by_entries(
        [lengths[i] for i in together], CPU_ENTRIES if cpu else INFERENCE_ENTRIES
    ):
        yield [together[i] for i in batch]
    if cpu:
        yield from ([i] for i, length in enumerate(lengths) if length > SHORT)


def pair_probability_maps(
    model: Encoder, encoded: Mapping[int, Tensor]
) -> Iterator[tuple[int, NDArray[np.float32] | Exception]]:
    """Yield the numbers of RNAs and their pairing probabilities, float32 (L, L), batch by batch of maps.

    Parameters
    ----------
    model : Encoder
        With a structure head.
    encoded : mapping of int to Tensor
        Numbers of RNAs and their representations, (L + 2, dim) each.

    Yields
    ------
    number : int
    probabilities : ndarray or Exception
        Symmetric with a zero diagonal. In place of them comes the error of an RNA for which memory does not suffice by
        itself, or the ValueError that the model gives numbers that are not finite.
    """
    numbers = sorted(encoded)
    lengths = [len(encoded[number]) - 2 for number in numbers]

    def compute(batch: list[int]) -> list[NDArray[np.float32]]:
        return _probabilities(model, [encoded[numbers[i]] for i in batch])

    for batch, found in run_with_oom_retry(
        map_batches(lengths, model.device), lengths, compute, model.device
    ):
        if isinstance(found, Exception):
            yield numbers[batch[0]], found
            continue
        for i, one in sorted(zip(batch, found, strict=True), key=lambda pair: pair[0]):
            yield numbers[i], _finite_or_error(model, encoded[numbers[i]], one)


def _probabilities(model: Encoder, rows: list[Tensor]) -> list[NDArray[np.float32]]:
    """Return the pairing probabilities of RNAs whose maps are computed together."""
    if len(rows[0]) == 3:
        return [np.zeros((1, 1), dtype=np.float32)]
    task = TASKS["structure"]
    if len(rows) == 1:
        return [_from_logits(task.apply_head(model, rows)[0])]
    entries = len(rows) * max(len(one) for one in rows) ** 2  # all of them, which were chosen to fit
    maps = cast(PaddedMaps, task.apply_head_padded(model, rows, entries=entries))
    whole = [_from_logits(group.logits) for group in maps.groups]
    found = [
        (row, one[:length, :length].copy())
        for group, all_ in zip(maps.groups, whole, strict=True)
        for row, length, one in zip(group.rows, group.lengths, all_, strict=True)
    ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _from_logits(logits: Tensor) -> NDArray[np.float32]:
    """Return probabilities, (…, L, L), equal on both sides of the diagonal to the last bit."""
    probabilities = logits.float().sigmoid().triu(1)
    return (probabilities + probabilities.mT).cpu().numpy().copy()


def _finite_or_error(
    model: Encoder, rows: Tensor, found: NDArray[np.float32]
) -> NDArray[np.float32] | ValueError:
    """Return probabilities that are finite, computed anew in float32 if half precision did not hold the maps."""
    try:
        if model.dtype.itemsize == 2 and not np.isfinite(found).all():
            head = copy.deepcopy(cast("torch.nn.Module", model.head)).float()
            found = _from_logits(head(rows[1:-1].float()))
        return finite(found, model)
    except ValueError as error:
        return error
