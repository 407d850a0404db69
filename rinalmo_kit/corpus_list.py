"""A pretraining corpus out of whatever sequences a user has in hand, without LMDB."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .corpus_file import FILE, Corpus
from .tokens import clean, read_sequences, tokenize

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ListCorpus", "as_corpus"]


class ListCorpus(Corpus):
    """A corpus in memory, with the interface of :class:`rinalmo_kit.corpus.Corpus`.

    Parameters
    ----------
    records : sequence of (str, str)
        Name and sequence.
    families : sequence, optional
        Cluster of each sequence; None or "" there, or no families at all: a cluster for each sequence.
    holdout : float
        Share of the clusters that is held out; one at least, if there are two.
    seed : int
        Fixes which.

    Examples
    --------
    >>> corpus = ListCorpus([("a", "ACGU"), ("b", "GGAUC"), ("c", "ACGA")], families=["x", None, "x"])
    >>> corpus, [corpus.sequence(i)[0] for i in corpus.members(0)]
    (ListCorpus(3 sequences in 2 clusters, 1 of them held out), ['a', 'c'])
    """

    def __init__(
        self,
        records: Sequence[tuple[str, str]],
        *,
        families: Sequence[Any] | None = None,
        holdout: float = 0.01,
        seed: int = 0,
    ) -> None:
        if not records:
            raise ValueError("there are no sequences to train on")
        if families is None:
            families = [None] * len(records)
        clusters: dict[Any, list[int]] = {}
        for i, family in enumerate(families):  # None, NaN and "" mean that there is none
            clusters.setdefault(family if isinstance(family, str) and family else i, []).append(i)
        self.records = []
        for i in (i for members in clusters.values() for i in members):
            name, sequence = records[i]
            self.records.append((name, clean(sequence, name=name)))
            if not self.records[-1][1]:
                raise ValueError(f"{name!r} is empty: leave it out")
        self.sizes = np.array([len(members) for members in clusters.values()])
        self.lengths = np.array([len(sequence) for _, sequence in self.records])
        number = min(max(1, round(holdout * len(clusters))), len(clusters) - 1) if holdout else 0
        self.holdout = np.sort(np.random.default_rng(seed).permutation(len(clusters))[:number])

    def __reduce__(self) -> Any:
        return object.__reduce_ex__(self, 2)

    def __repr__(self) -> str:
        return super().__repr__().replace("Corpus", "ListCorpus", 1)

    def sequence(self, index: int) -> tuple[str, str]:
        """Return name and sequence."""
        return self.records[index]

    def tokens(self, index: int) -> Tensor:
        """Return the token ids of a whole sequence: int64, (L + 2,)."""
        return tokenize([self.records[index][1]])[0]


def as_corpus(source: Corpus | pd.DataFrame | str | os.PathLike | Any) -> Corpus:
    """Return the corpus that a user means.

    Parameters
    ----------
    source
        A corpus, or its folder or ``.lmdb`` file; a table, or its ``.parquet`` or ``.csv`` file, with the columns
        ``sequence`` and, if there are any, ``id`` and ``family``; a FASTA file; a list of sequences or a mapping of
        names to sequences. All but the first are kept in memory, with 1 % of their clusters held out.

    Raises
    ------
    ValueError
        Names the sequence with a letter outside the vocabulary, or the column that is missing.

    Examples
    --------
    >>> as_corpus(["ACGU", "GGCC"])
    ListCorpus(2 sequences in 2 clusters, 1 of them held out)
    """
    if isinstance(source, Corpus):
        return source
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir() or path.suffix == Path(FILE).suffix:
            return Corpus(path)
        if path.suffix in (".parquet", ".csv"):
            import pandas as pd

            source = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if hasattr(source, "columns"):
        if "sequence" not in source:
            raise ValueError(
                f"the table has no column 'sequence'; it has {', '.join(map(str, source.columns))}"
            )
        names = source["id"] if "id" in source else [f"row {i}" for i in range(len(source))]
        records = list(zip(map(str, names), source["sequence"], strict=True))
        return ListCorpus(records, families=list(source["family"]) if "family" in source else None)
    return ListCorpus(read_sequences(source))
