"""The batches of a run, computed from the number of the epoch so that a run can be resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..model.batched_structure_head import batches_by_entries

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["BatchPlan", "map_batches", "shuffled_batches"]

WINDOW = 4096  # rows that are sorted by length together


class Batches(Protocol):
    """The batches of an epoch: a list of lists, or whatever has a length and yields lists."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[list[Any]]: ...


class BatchPlan:
    """Every batch of a run, epoch after epoch, as a function of the epoch's number alone.

    Parameters
    ----------
    epoch : callable
        Number of an epoch, from 0 → its batches, each a list of what the dataset is asked for.
    epochs : int, optional
        Length of the run.
    steps : int, optional
        Length of the run in batches; the last epoch may be cut. At least one of the two is needed.

    Attributes
    ----------
    start : int
        Number of the batch at which iteration begins; a resumed run starts later.
    rank, world : int
        Of several processes each takes its share of every batch.

    Examples
    --------
    >>> plan = BatchPlan(lambda epoch: [[0, 1], [2]], epochs=2)
    >>> len(plan), list(plan), plan.epoch_at(2)
    (4, [[0, 1], [2], [0, 1], [2]], 1)
    """

    def __init__(
        self,
        epoch: Callable[[int], Batches],
        *,
        epochs: int | None = None,
        steps: int | None = None,
    ) -> None:
        self.epoch = epoch
        self.start, self.rank, self.world = 0, 0, 1
        self.first = [0]  # number of the first batch of each epoch seen so far
        if epochs is not None:
            for number in range(epochs):
                self._batches(number)
            steps = self.first[-1] if steps is None else min(steps, self.first[-1])
        if steps is None:
            raise ValueError("a plan needs a number of epochs or of steps")
        self.steps = steps

    def _batches(self, number: int) -> Batches:
        batches = self.epoch(number)
        if not len(batches):
            raise ValueError(f"epoch {number} has no batch: there is nothing to train on")
        if number + 1 == len(self.first):
            self.first.append(self.first[-1] + len(batches))
        return batches

    def epoch_at(self, position: int) -> int:
        """Return the epoch to which the batch with this number belongs."""
        while self.first[-1] <= position:
            self._batches(len(self.first) - 1)
        return int(np.searchsorted(self.first, position, side="right")) - 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Any]]:
        if self.start >= self.steps:
            return
        first = self.epoch_at(self.start)
        position = self.first[first]
        for number in itertools.count(first):
            for batch in self._batches(number):
                if position >= self.start:
                    yield batch[self.rank :: self.world] or batch[:1]
                position += 1
                if position == self.steps:
                    return


def shuffled_batches(rows: ArrayLike, *, batch_size: int, seed: tuple[int, ...]) -> list[list[int]]:
    """Shuffle rows, by their numbers, into batches.

    Examples
    --------
    >>> sorted(sum(shuffled_batches([0, 2, 5], batch_size=2, seed=(0, 0)), []))
    [0, 2, 5]
    """
    rows = np.random.default_rng(seed).permutation(rows)
    return [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]


def map_batches(
    rows: ArrayLike, lengths: ArrayLike, *, entries: int, most: int, seed: tuple[int, ...]
) -> list[list[int]]:
    """Shuffle rows, by their numbers, into batches of similar length whose padded maps keep a budget.

    Rows are sorted by length within windows of their random order, and the batches shuffled, so that an epoch does not
    run from short to long and a row does not always meet the same others.

    Parameters
    ----------
    rows, lengths : array-like of int, shape (n,)
        Numbers of sequences, and their lengths.
    entries : int
        Most entries, L × L padded to the longest, of a batch of several; see
        :func:`rinalmo_kit.model.batched_structure_head.batches_by_entries`.
    most : int
        Most sequences of a batch.
    seed : tuple of int

    Examples
    --------
    >>> sorted(map_batches([0, 1, 2, 3], [50, 9, 8, 45], entries=6000, most=8, seed=(0, 0)))
    [[2, 1], [3, 0]]
    """
    rng = np.random.default_rng(seed)
    rows, lengths = np.asarray(rows), np.asarray(lengths)
    order, batches = rng.permutation(len(rows)), []
    for start in range(0, len(order), WINDOW):
        window = order[start : start + WINDOW]
        for batch in batches_by_entries(lengths[window].tolist(), entries, most=most):
            batches.append(rows[window[batch]].tolist())
    return [batches[i] for i in rng.permutation(len(batches))]
