"""Data of pretraining: sequences that are cropped, corrupted and put into batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from ..datasets.corpus.store import CorpusDataset, SequenceCorpus
from ..recipes.recipe import PAPER
from ..rna.alphabet import MASK, PAD, VOCABULARY
from .batch_plan import BatchPlan
from .seeds import torch_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch", "MaskedDataset", "batches_of", "collate", "corrupt", "token_batches"]

REPLACEMENTS = torch.tensor([VOCABULARY.index(letter) for letter in "ACGTN"])


CHUNK = 32  # batches' worth of sequences that are sorted by length together


def corrupt(tokens: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Select 15 % of the nucleotides; mask 80 % of them, replace 10 % (paper, "Pre-training").

    Replacements are drawn from A, C, G, T and N ("Tokenization"; the section "Pre-training" says the whole
    vocabulary, and the official code for it is not public).

    Parameters
    ----------
    tokens : Tensor
        int64, any shape.
    generator : torch.Generator
        On the CPU, as the tokens.

    Returns
    -------
    corrupted : Tensor
        int64, of the same shape.
    chosen : Tensor
        bool, of the same shape; never ``<cls>``, ``<eos>`` or ``<pad>``.

    Examples
    --------
    >>> from rinalmo_kit import tokenize
    >>> tokens = tokenize(["ACGU" * 100])
    >>> corrupted, chosen = corrupt(tokens, generator=torch.Generator().manual_seed(0))
    >>> bool((corrupted == tokens)[~chosen].all()), 30 < int(chosen.sum()) < 90
    (True, True)
    """
    draw = torch.rand(tokens.shape, generator=generator)
    fate = torch.rand(tokens.shape, generator=generator)
    random = REPLACEMENTS[torch.randint(len(REPLACEMENTS), tokens.shape, generator=generator)]
    chosen = (draw < PAPER.mask_fraction) & (tokens > MASK)
    corrupted = torch.where(chosen & (fate < PAPER.mask_token_prob), MASK, tokens)
    return torch.where(chosen & (fate >= 1 - PAPER.random_token_prob), random, corrupted), chosen


class Batch(NamedTuple):
    """Sequences of a batch: int64, int64 and bool (B, L), and what the dataset was asked for."""

    tokens: Tensor
    corrupted: Tensor
    chosen: Tensor
    items: list[tuple[int, int, int]]


class MaskedDataset(Dataset):
    """Cropped and corrupted sequences; an item depends on the seed, its epoch and its number alone."""

    def __init__(self, corpus: SequenceCorpus, *, seed: int, max_tokens: int) -> None:
        self.cropped, self.seed = CorpusDataset(corpus, seed=seed, max_tokens=max_tokens), seed

    def __getitem__(self, item: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor, tuple[int, int, int]]:
        epoch, index, _ = item
        tokens = self.cropped[epoch, index]
        generator = torch.Generator().manual_seed(torch_seed(self.seed, epoch, index))
        return tokens, *corrupt(tokens, generator=generator), item


def collate(rows: list[tuple[Tensor, Tensor, Tensor, tuple[int, int, int]]]) -> Batch:
    """Pad the sequences of a batch."""
    tokens, corrupted, chosen, items = zip(*rows, strict=True)
    return Batch(
        pad_sequence(list(tokens), batch_first=True, padding_value=PAD),
        pad_sequence(list(corrupted), batch_first=True, padding_value=PAD),
        pad_sequence(list(chosen), batch_first=True, padding_value=False),
        list(items),
    )


@dataclass(frozen=True)
class EpochBatches:
    """Batches of an epoch, as rows ``starts[i]`` to ``stops[i]``: little to keep in memory for millions."""

    epoch: int
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for start, stop in zip(self.starts, self.stops, strict=True):
            yield [(self.epoch, row, place) for place, row in enumerate(self.rows[start:stop].tolist())]


def token_batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], *, tokens_per_batch: int, epoch: int, seed: int
) -> EpochBatches:
    """Divide sequences into batches of similar length and at most `tokens_per_batch` tokens.

    Sequences are sorted by length within chunks of their (random) order, so that batches need little padding and an
    epoch does not run from short to long; then the batches are shuffled. A sequence that is longer than a batch may
    be gets one of its own.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Numbers of sequences, in random order.
    lengths : ndarray of int, shape (n,)
        Their tokens.
    tokens_per_batch, epoch, seed : int

    Returns
    -------
    sequence of lists of (epoch, number of the sequence, place in the batch)

    Examples
    --------
    >>> rows, lengths = np.arange(4), np.array([5, 40, 6, 50])
    >>> sorted(token_batches(rows, lengths, tokens_per_batch=50, epoch=0, seed=0))
    [[(0, 0, 0), (0, 2, 1)], [(0, 1, 0)], [(0, 3, 0)]]
    """
    each = max(1, int(CHUNK * tokens_per_batch / max(1.0, lengths.mean())))
    order = np.concatenate(
        [i + np.argsort(lengths[i : i + each], kind="stable") for i in range(0, len(rows), each)]
    )
    rows, ends = rows[order], lengths[order].cumsum()
    starts = [0]
    while starts[-1] < len(rows):
        before = ends[starts[-1] - 1] if starts[-1] else 0
        full = int(np.searchsorted(ends, before + tokens_per_batch, side="right"))
        border = (starts[-1] // each + 1) * each  # the next chunk begins with short ones again
        starts.append(max(starts[-1] + 1, min(full, border)))
    bounds = np.minimum(starts, len(rows))
    shuffled = np.random.default_rng([seed, epoch, 1]).permutation(len(bounds) - 1)
    return EpochBatches(epoch, rows, bounds[:-1][shuffled], bounds[1:][shuffled])


def batches_of(
    corpus: SequenceCorpus,
    *,
    tokens_per_batch: int,
    max_tokens: int,
    steps: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    held_out: bool = False,
    workers: int = 0,
) -> DataLoader:
    """Load the batches of a run, or one sequence of each held-out cluster, always the same with the same masks.

    Parameters
    ----------
    corpus : SequenceCorpus
    tokens_per_batch, max_tokens : int
    steps, epochs, seed : int, optional
        Of the run.
    held_out : bool
    workers : int
        Processes that load.

    Returns
    -------
    DataLoader
        Yields :class:`Batch`; its batch sampler is a :class:`rinalmo_kit.training.batch_plan.BatchPlan`.

    Examples
    --------
    >>> from rinalmo_kit.datasets.corpus.store import ListCorpus
    >>> corpus = ListCorpus([("a", "ACGU"), ("b", "GGAUC")], holdout=0)
    >>> [batch] = batches_of(corpus, tokens_per_batch=20, max_tokens=6, epochs=1)
    >>> batch.tokens.shape
    torch.Size([2, 6])
    """
    clusters = corpus.holdout if held_out else corpus.train
    if not len(clusters):
        raise ValueError(f"{corpus!r} leaves nothing to train on" if not held_out else "nothing is held out")
    if held_out:
        seed, epochs = 0, 1

    def epoch(number: int) -> EpochBatches:
        rows = corpus.epoch(number, seed, clusters=clusters)
        lengths = np.minimum(np.asarray(corpus.lengths)[rows].astype(np.int64) + 2, max_tokens)
        return token_batches(rows, lengths, tokens_per_batch=tokens_per_batch, epoch=number, seed=seed)

    plan = BatchPlan(epoch, epochs=epochs, steps=steps)
    dataset = MaskedDataset(corpus, seed=seed, max_tokens=max_tokens)
    return DataLoader(
        dataset,
        batch_sampler=plan,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def plan_of(data: DataLoader) -> BatchPlan:
    """Return the plan of the batches that a loader of :func:`batches_of` yields."""
    return cast("BatchPlan", data.batch_sampler)
