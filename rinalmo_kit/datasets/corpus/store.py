"""The pretraining corpus, an LMDB file or in memory: read by index, drawn from epoch by epoch.

Layout of the file (paper, "Data preprocessing": LMDB). The sequences of a cluster stand side by side, clusters
one after the other: key = number of the sequence, 8 bytes, big-endian; value = ``name`` newline ``sequence``. After
them ``holdout`` (uint32, clusters), ``lengths`` (uint16, nucleotides of each sequence), ``meta`` (JSON) and
``sizes`` (uint32, sequences of each cluster). Numbers are little-endian.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..._utils.extras import optional
from ..._utils.files import user_path
from ...model.tokenizer import tokenize
from ...rna.alphabet import _BYTE_TO_ID, CLS, EOS, clean
from ...rna.sequences import read_sequences
from ..user_tables import as_table, cell_text, ending_of, is_missing, read_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Corpus", "CorpusDataset", "ListCorpus", "SequenceCorpus", "as_corpus", "crop"]

FILE = "corpus.lmdb"


def require_lmdb() -> ModuleType:
    """Import lmdb, or say how to install it."""
    absent = "a pretraining corpus needs lmdb: pip install 'rinalmo-kit[training]'"
    return optional("lmdb", absent, needs=("open",))


def key(i: int) -> bytes:
    """Return the key of a sequence."""
    return int(i).to_bytes(8, "big")


class _File:
    """An LMDB file open for reading: once in a process, as lmdb demands, and opened again after a fork."""

    shared: ClassVar[WeakValueDictionary[tuple[int, int], _File]] = WeakValueDictionary()

    def __init__(self, path: Path) -> None:
        self.path, self.identity = path, _identity(path)
        self.pid, self.environment = 0, cast(Any, None)  # opened at the first reading; lmdb has no types

    @classmethod
    def of(cls, path: Path) -> _File:
        identity = _identity(path)
        file = cls.shared.get(identity)
        if file is None:
            file = cls.shared[identity] = cls(path)
        return file

    def get(self, key: bytes) -> bytes | None:
        if self.pid != os.getpid():
            if self.environment is not None:
                self.environment.close()  # the copy that a fork left here; the parent's stays open
            self.environment, self.pid = self._open(), os.getpid()
        try:
            with self.environment.begin() as transaction:
                return transaction.get(key)
        except require_lmdb().Error as error:
            raise ValueError(f"{self.path} is damaged: copy or build it again ({error})") from error

    def _open(self) -> Any:
        lmdb = require_lmdb()
        if _identity(self.path) != self.identity:
            raise OSError(f"{self.path} was replaced while it was in use")
        try:
            environment = lmdb.open(
                str(self.path), subdir=False, readonly=True, lock=False, readahead=False, max_spare_txns=4
            )
        except lmdb.Error as error:
            raise ValueError(f"{self.path} is not a corpus, or a damaged one: {error}") from error
        whole = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if self.path.stat().st_size < whole:  # reading on would end the process with a bus error
            environment.close()
            raise ValueError(
                f"{self.path} is truncated, it should have {whole} bytes: copy or build it again"
            )
        return environment


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class SequenceCorpus(ABC):
    """Sequences in clusters, some of which are held out, wherever they are stored.

    Sequences are numbered 0, 1, … so that those of a cluster follow each other.
    """

    @property
    @abstractmethod
    def sizes(self) -> NDArray[np.integer]:
        """Return the number of sequences of each cluster, (clusters,)."""

    @property
    @abstractmethod
    def lengths(self) -> NDArray[np.integer]:
        """Return the nucleotides of each sequence, as batching by length needs them, (sequences,)."""

    @property
    @abstractmethod
    def holdout(self) -> NDArray[np.integer]:
        """Return the clusters held out, ascending.

        No held-out sequence has a training sequence in its cluster. The paper holds out 1 % of the sequences at
        random, which leaves neighbours of theirs to train on and gives a lower perplexity.
        """

    @abstractmethod
    def sequence(self, index: int) -> tuple[str, str]:
        """Return name and sequence."""

    def __len__(self) -> int:
        return len(self.sizes)

    def __repr__(self) -> str:
        size = f"{len(self.lengths):,} sequences in {len(self):,} clusters"
        return f"{type(self).__name__}({size}, {len(self.holdout):,} of them held out)"

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Return the bounds of the clusters: c holds ``offsets[c]`` to ``offsets[c + 1] - 1``; (clusters + 1,)."""
        return np.concatenate(([0], np.cumsum(self.sizes, dtype=np.int64)))

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Return the clusters to train on, ascending."""
        kept = np.ones(len(self), dtype=bool)
        kept[self.holdout] = False
        return np.flatnonzero(kept)

    def members(self, cluster: int) -> range:
        """Return the numbers of the sequences of a cluster."""
        return range(int(self.offsets[cluster]), int(self.offsets[cluster + 1]))

    def tokens(self, index: int) -> Tensor:
        """Return the token ids of a whole sequence, ``<cls>`` and ``<eos>`` included: int64, (L + 2,)."""
        letters = np.frombuffer(self.sequence(index)[1].encode(), dtype=np.uint8)
        ids = np.empty(len(letters) + 2, dtype=np.int64)
        ids[0], ids[1:-1], ids[-1] = CLS, _BYTE_TO_ID[letters], EOS
        return torch.from_numpy(ids)

    def epoch(
        self, epoch: int, seed: int = 0, *, clusters: NDArray[np.integer] | None = None
    ) -> NDArray[np.int64]:
        """Draw one sequence of every cluster, in random order (paper, "Pre-training").

        Parameters
        ----------
        epoch, seed : int
            Not negative. The draw is a function of both: every epoch has its own, and it can be repeated.
        clusters : ndarray of int, optional
            Default: the training clusters.

        Returns
        -------
        ndarray of int64, shape (clusters,)
            Numbers of sequences.
        """
        clusters = self.train if clusters is None else np.asarray(clusters)
        rng = np.random.default_rng([seed, epoch])
        drawn = self.offsets[clusters] + rng.integers(self.sizes[clusters], dtype=np.int64)
        return rng.permutation(drawn)


class Corpus(SequenceCorpus):
    """A pretraining corpus, opened for reading.

    It can be pickled and forked, as a DataLoader's workers need; each process opens the file when it first reads.

    Parameters
    ----------
    path : path
        The folder that ``build_corpus`` was given, or the ``corpus.lmdb`` in it.

    Raises
    ------
    FileNotFoundError
        If there is no corpus.
    ValueError
        If the file is not a corpus, or is cut off.

    Examples
    --------
    >>> import tempfile, pandas as pd
    >>> from rinalmo_kit.datasets.corpus.build import build_corpus_from_table
    >>> table = pd.DataFrame({"id": ["a", "b", "c"], "sequence": ["ACGU" * 4, "ACGA" * 5, "GC" * 9],
    ...                       "family": ["x", "y", "x"]})
    >>> folder = tempfile.TemporaryDirectory()
    >>> corpus = build_corpus_from_table(table, folder.name, holdout=0, progress=False)
    >>> corpus
    Corpus(3 sequences in 2 clusters, 0 of them held out)
    >>> [corpus.sequence(i) for i in corpus.members(0)]
    [('a', 'ACGUACGUACGUACGU'), ('c', 'GCGCGCGCGCGCGCGCGC')]
    >>> len(corpus.epoch(0, seed=1)), corpus.lengths
    (2, array([16, 18, 20], dtype=uint16))
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike) -> None:
        path = user_path(path).resolve()
        self.path = path / FILE if path.is_dir() else path
        if not self.path.is_file():
            raise FileNotFoundError(
                f"no corpus: {self.path} is missing; build one with rinalmo-kit corpus build"
            )
        self._file = _File.of(self.path)
        self.meta: dict[str, Any] = self._meta()
        """``counts``, ``job`` (inputs and options), ``tools`` (versions), command, commit and date."""

    def __reduce__(self) -> tuple[type[Corpus], tuple[Path]]:
        return Corpus, (self.path,)

    def _get(self, key: bytes) -> bytes:
        value = self._file.get(key)
        if value is None:
            raise ValueError(
                f"{self.path} is not a corpus of rinalmo-kit: it has no {key.decode(errors='replace')!r}"
            )
        return value

    def _meta(self) -> dict[str, Any]:
        try:
            meta = json.loads(self._get(b"meta"))
            if isinstance(meta, dict) and isinstance(meta.get("job"), dict):
                return meta
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise ValueError(f"{self.path} is damaged, its 'meta' is not what a build writes: build it again")

    @cached_property
    def sizes(self) -> NDArray[np.uint32]:
        """Return the number of sequences of each cluster."""
        return np.frombuffer(self._get(b"sizes"), dtype="<u4")

    @cached_property
    def lengths(self) -> NDArray[np.uint16]:
        """Return the nucleotides of each sequence."""
        return np.frombuffer(self._get(b"lengths"), dtype="<u2")

    @cached_property
    def holdout(self) -> NDArray[np.int64]:
        """Return the clusters held out, ascending."""
        return np.frombuffer(self._get(b"holdout"), dtype="<u4").astype(np.int64)

    def sequence(self, index: int) -> tuple[str, str]:
        """Return name and sequence."""
        if not 0 <= index < len(self.lengths):
            raise IndexError(f"sequence {index} of a corpus of {len(self.lengths)}")
        name, sequence = self._get(key(index)).split(b"\n")
        return name.decode(), sequence.decode()


class ListCorpus(SequenceCorpus):
    """A corpus in memory.

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
        if not 0 <= holdout <= 1:
            raise ValueError(f"holdout={holdout}: expected a fraction from 0 to 1")
        if families is None:
            families = [None] * len(records)
        clusters: dict[Any, list[int]] = {}
        for i, family in enumerate(families):  # None, NaN and "" mean that there is none
            alone = is_missing(family) or family == ""
            clusters.setdefault((i,) if alone else str(family), []).append(i)
        self.records: list[tuple[str, str]] = []
        for i in (i for members in clusters.values() for i in members):
            name, sequence = records[i]
            self.records.append((name, clean(sequence, name=name)))
            if not self.records[-1][1]:
                raise ValueError(f"{name!r} is empty: leave it out")
        self._sizes = [len(members) for members in clusters.values()]
        self._holdout = np.sort(held_out(len(clusters), holdout, seed))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Return the number of sequences of each cluster."""
        return np.array(self._sizes)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Return the nucleotides of each sequence."""
        return np.array([len(sequence) for _, sequence in self.records])

    @property
    def holdout(self) -> NDArray[np.int64]:
        """Return the clusters held out, ascending."""
        return self._holdout

    def sequence(self, index: int) -> tuple[str, str]:
        """Return name and sequence."""
        return self.records[index]


def held_out(clusters: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """Draw the clusters to hold out: at least one of two or more, unless the fraction is 0; never all."""
    number = min(max(round(fraction * clusters), int(fraction > 0)), clusters - 1)
    return np.random.default_rng(seed).permutation(clusters)[:number]


def as_corpus(source: SequenceCorpus | pd.DataFrame | str | os.PathLike | Any) -> SequenceCorpus:
    """Return the corpus that a user means.

    Parameters
    ----------
    source
        A corpus, or its folder or ``.lmdb`` file; a table, or its ``.parquet``, ``.csv`` or ``.tsv`` file, with the
        columns ``sequence`` and, if there are any, ``id`` and ``family``; a FASTA file; a list of sequences or a
        mapping of names to sequences. All but the first are kept in memory, with 1 % of their clusters held out.

    Raises
    ------
    ValueError
        Names the sequence with a letter outside the vocabulary, or the column that is missing.

    Examples
    --------
    >>> as_corpus(["ACGU", "GGCC"])
    ListCorpus(2 sequences in 2 clusters, 1 of them held out)
    """
    if isinstance(source, SequenceCorpus):
        return source
    if isinstance(source, str | os.PathLike):
        path = user_path(source)
        if path.is_dir() or path.suffix == Path(FILE).suffix:
            return Corpus(path)
        if ending_of(path) in (".parquet", ".csv", ".tsv"):
            source = read_table(path)
    if hasattr(source, "columns") or callable(getattr(source, "to_pandas", None)):
        return _of_table(as_table(source))
    return ListCorpus(read_sequences(source))


def _of_table(table: pd.DataFrame) -> ListCorpus:
    if "sequence" not in table:
        raise ValueError(f"the table has no column 'sequence'; it has {', '.join(map(str, table.columns))}")
    names, sequences = [f"row {i}" for i in range(1, len(table) + 1)], table["sequence"].tolist()
    for row, sequence in zip(names, sequences, strict=True):
        if not isinstance(sequence, str):
            raise ValueError(f"{row}: expected a sequence, found {sequence!r}")
    if "id" in table:
        for i, name in enumerate(table["id"]):
            try:
                names[i] = cell_text(name, "an id")
            except ValueError as error:
                raise ValueError(f"{names[i]}: {error}") from None
    records = list(zip(names, sequences, strict=True))
    return ListCorpus(records, families=list(table["family"]) if "family" in table else None)


def crop(sequence: str | Tensor, rng: np.random.Generator, *, max_tokens: int = 1024) -> Tensor:
    """Cut a random window of at most `max_tokens` tokens out of a sequence (paper, "Pre-training").

    All windows of the tokenised sequence are equally likely, so ``<cls>`` and ``<eos>`` are there only where
    the window touches that end.

    Parameters
    ----------
    sequence : str or Tensor
        A sequence, or its token ids, int64, (L + 2,).
    rng : numpy.random.Generator
        Not used where nothing is to be cut.
    max_tokens : int
        At least 1.

    Returns
    -------
    Tensor
        int64, (min(L + 2, max_tokens),).

    Examples
    --------
    >>> crop("ACGUACGU", np.random.default_rng(1), max_tokens=6)
    tensor([6, 7, 8, 5, 6, 7])
    >>> crop("ACG", np.random.default_rng(1), max_tokens=6)
    tensor([0, 5, 6, 7, 2])
    """
    tokens = tokenize([sequence])[0] if isinstance(sequence, str) else sequence
    if max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: expected at least 1")
    if len(tokens) <= max_tokens:
        return tokens
    start = int(rng.integers(len(tokens) - max_tokens + 1))
    return tokens[start : start + max_tokens]


class CorpusDataset(Dataset):
    """Token ids of a corpus for a DataLoader whose sampler yields pairs (epoch, number of the sequence).

    An item depends on seed, epoch and number alone, whichever worker loads it. It is not corrupted yet.

    Parameters
    ----------
    corpus : SequenceCorpus
    seed : int
        Fixes the crops.
    max_tokens : int
        Longer sequences are cropped (:func:`crop`), anew in every epoch.

    Examples
    --------
    A sampler for an epoch is ``[(epoch, i) for i in corpus.epoch(epoch, seed)]``; ``dataset[epoch, i]`` is an
    int64 tensor of at most `max_tokens`.
    """

    def __init__(self, corpus: SequenceCorpus, *, seed: int = 0, max_tokens: int = 1024) -> None:
        self.corpus, self.seed, self.max_tokens = corpus, seed, max_tokens

    def __len__(self) -> int:
        return len(self.corpus.lengths)

    def __getitem__(self, item: tuple[int, int]) -> Tensor:
        epoch, index = item
        tokens = self.corpus.tokens(index)
        if len(tokens) <= self.max_tokens:  # making a generator costs more than the rest
            return tokens
        rng = np.random.default_rng([self.seed, int(epoch), int(index)])
        return crop(tokens, rng, max_tokens=self.max_tokens)
