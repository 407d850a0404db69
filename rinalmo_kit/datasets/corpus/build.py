"""FASTA files, or a table, to a pretraining corpus (paper, "Data preprocessing"; spec §6)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._utils.files import output_lock, remove_left_over, user_path
from ..._utils.hardware import available_threads
from ..._utils.numbers_given import whole_number
from ..._utils.provenance import provenance
from ..._utils.run_folders import check_folder, differences, read_facts, write_facts
from ..._utils.warn import warn_user
from ..user_tables import as_table, cell_text, is_missing
from . import stages
from .store import FILE, Corpus, held_out, require_lmdb

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["build_corpus", "build_corpus_from_table"]

LONGEST = 65_535  # MMseqs2's own limit


WORK = "corpus.work"


def build_corpus(
    fastas: str | os.PathLike | Iterable[str | os.PathLike],
    output: str | os.PathLike,
    *,
    min_length: int = 16,
    max_length: int = 8192,
    min_identity: float | None = 0.7,
    coverage: float = 0.8,
    families: Mapping[str, str] | None = None,
    holdout: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Build a pretraining corpus from FASTA files; an interrupted build is resumed.

    Four stages, each with its result in ``output/corpus.work`` until the corpus is complete: (1) letters checked, U for
    T, upper case, length filter; (2) ``seqkit rmdup -s -P``; (3) ``mmseqs easy-linclust``; (4) LMDB. With
    ``-P`` a reverse complement is not a duplicate: as an RNA it is another molecule. Text is streamed; memory
    holds the number and place of every sequence, about 100 bytes.

    MMseqs2 (14 was tried) does not give quite the same clusters each time: on 130,000 sequences their number
    varied by 0.1 %. A finished stage 3 is kept, and the rest follows from it and `seed`.

    Parameters
    ----------
    fastas : path or list of paths
        ``.gz`` too. Of equal sequences the first in this order stays.
    output : path
        Folder; gets ``corpus.lmdb`` and ``rejected.tsv`` (file, line, name, reason).
    min_length, max_length : int
        Nucleotides, both included; at most 65,535.
    min_identity, coverage : float
        ``--min-seq-id`` and ``-c``. ``min_identity=None``: nothing is clustered, and each sequence is a
        cluster, or each family.
    families : {name: family}, optional
        With ``min_identity=None``: clusters to take instead. A name that is not in it is its own cluster.
    holdout : float
        Fraction of the clusters, drawn by `seed`, that is held out. (The paper holds out sequences.)
    seed : int
        Not negative.
    threads : int, optional
        For seqkit and mmseqs. Default: as many as this process may use.
    progress : bool
        Show progress bars.

    Returns
    -------
    Corpus

    Raises
    ------
    FileNotFoundError
        If an input, seqkit or mmseqs is missing.
    BlockingIOError
        If another process is building in `output`.
    FileExistsError
        If `output` holds the finished corpus of other inputs or options. An unfinished build of others is
        started anew, with a warning.
    ValueError
        For an option out of range, text that is not FASTA (file and line), or if nothing is left to keep.
    OSError
        If a tool fails or the disk is full. What is finished is kept for the next run.

    Examples
    --------
    >>> build_corpus(["rnacentral.fasta.gz", "rfam.fasta"], "corpus")  # doctest: +SKIP
    Corpus(130,496 sequences in 50,359 clusters, 504 of them held out)
    """
    given = [fastas] if isinstance(fastas, str | os.PathLike) else fastas
    paths = [user_path(path) for path in given]
    if not paths:
        raise ValueError("no FASTA files were given")
    check_options(min_length, max_length, holdout, min_identity, coverage, seed=seed)
    threads = available_threads() if threads is None else whole_number("threads", threads)
    if families is not None and min_identity is not None:
        raise ValueError("families take the place of clustering: give min_identity=None with them")
    require_lmdb()
    output = user_path(output)
    check_folder(output)
    job = {
        "inputs": [digest(path) for path in paths],
        "min_length": min_length,
        "max_length": max_length,
        "min_identity": min_identity,
        "coverage": coverage,
        "families": families and digest(json.dumps(sorted(families.items())).encode()),
        "holdout": holdout,
        "seed": seed,
    }
    with corpus_lock(output):
        _build(paths, output, job, families, threads, progress=progress)
    return Corpus(output)


def _build(
    paths: list[Path],
    output: Path,
    job: dict[str, Any],
    families: Mapping[str, str] | None,
    threads: int,
    *,
    progress: bool,
) -> None:
    """Carry out the stages of a build that are not finished yet."""
    min_identity, lengths = job["min_identity"], (job["min_length"], job["max_length"])
    if not finished(output, job):
        tools = stages.tool_version("seqkit") | (
            {} if min_identity is None else stages.tool_version("mmseqs")
        )
        with explain_disk_full(output):
            work = prepare_work_folder(output, job)
            unique, counts = _unique(paths, output, lengths, threads, progress=progress)
            numbers, offsets = stages.index_fasta(unique)
            counts["duplicates"] = counts["kept"] - len(numbers)
            if min_identity is None:
                names = (name for name, _ in stages.records_at(unique, offsets, range(len(numbers))))
                labels = stages.family_labels((families or {}).get(name) for name in names)
            else:
                options = {"--min-seq-id": min_identity, "-c": job["coverage"], "--threads": threads}
                labels = stages.cluster(unique, work / "clusters.tsv", numbers, options, progress=progress)
            order, sizes = stages.group(labels)
            stages.write_corpus(
                output,
                stages.records_at(unique, offsets, order),
                sizes=sizes,
                holdout=held_out(len(sizes), job["holdout"], job["seed"]),
                meta={"counts": counts, "job": job, "tools": tools, **provenance()},
                letters=unique.stat().st_size,
                progress=progress,
            )
    shutil.rmtree(output / WORK, ignore_errors=True)


def _unique(
    paths: list[Path], output: Path, lengths: tuple[int, int], threads: int, *, progress: bool
) -> tuple[Path, dict[str, int]]:
    """Carry out stages 1 and 2; return the FASTA file of unique sequences, and the counts."""
    work = output / WORK
    filtered, unique = work / "filtered.fasta", work / "unique.fasta"
    if not filtered.exists():
        stages.filter_fasta(paths, filtered, output / stages.REJECTED, lengths=lengths, progress=progress)
    counts = read_facts(work / "counts.json", remedy=f"delete the folder {work} to start anew")
    if not unique.exists():
        stages.deduplicate(filtered, unique, threads, kept=counts["kept"], progress=progress)
    return unique, counts


def build_corpus_from_table(
    table: pd.DataFrame | str | os.PathLike,
    output: str | os.PathLike,
    *,
    min_length: int = 16,
    max_length: int = 8192,
    holdout: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Corpus:
    """Build a pretraining corpus from a table, with its families as clusters; needs neither seqkit nor mmseqs.

    Parameters
    ----------
    table : DataFrame, path, or what else :func:`rinalmo_kit.datasets.user_tables.as_table` takes
        Columns ``id``, ``sequence``, and optionally ``family`` (a row without one is its own cluster) and
        ``split``. It is held in memory.
    output : path
        Folder; gets ``corpus.lmdb`` and ``rejected.tsv``.
    min_length, max_length : int
        Nucleotides, both included.
    holdout : float, optional
        Fraction of the families that is held out, drawn by `seed`. Default: the rows whose ``split`` is not
        ``train``; they make clusters of their own, but share their families with training rows, as in the
        paper's random hold-out. Without that column: 0.01.
    seed : int
        Not negative.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Corpus

    Raises
    ------
    FileExistsError
        If `output` holds the corpus of another table or of other options.
    ValueError
        If a column is missing, or nothing is left to keep.

    Examples
    --------
    See :class:`rinalmo_kit.datasets.corpus.store.Corpus`.
    """
    import pandas as pd

    by_option = 0.01 if holdout is None else holdout
    check_options(min_length, max_length, by_option, seed=seed)
    output = user_path(output)
    check_folder(output)
    source = str(user_path(table)) if isinstance(table, str | os.PathLike) else "table"
    table = as_table(table)
    if missing := {"id", "sequence"} - {*table}:
        columns = ", ".join(map(str, table))
        raise ValueError(f"{source} has no column {' and '.join(sorted(missing))}; it has {columns}")
    by_split = holdout is None and "split" in table
    holdout = by_option
    table = table.reindex(columns=["id", "sequence", "family", "split"]).reset_index(drop=True)
    table["id"] = list(_texts(table["id"], "an id", source))
    job = {
        "inputs": [digest(pd.util.hash_pandas_object(table.astype(str)).to_numpy().tobytes())],
        "min_length": min_length,
        "max_length": max_length,
        "holdout": "split" if by_split else holdout,
        "seed": seed,
    }
    with corpus_lock(output):
        if finished(output, job):
            return Corpus(output)
        output.mkdir(parents=True, exist_ok=True)
        with explain_disk_full(output):
            held = ((table["split"] != "train") & by_split).to_numpy()
            records, rows, counts = _unique_rows(table, held, source, output, (min_length, max_length))
            families = zip(table["family"].iloc[rows], held[rows], strict=True)
            labels = stages.family_labels(None if is_missing(f) or f == "" else (f, h) for f, h in families)
            order, sizes = stages.group(labels)
            held = held[rows][order][np.cumsum(sizes) - sizes]
            stages.write_corpus(
                output,
                (records[i] for i in order),
                sizes=sizes,
                holdout=np.flatnonzero(held) if by_split else held_out(len(sizes), holdout, seed),
                meta={"counts": counts, "job": job, "tools": {}, **provenance()},
                letters=sum(len(name.encode()) + len(sequence) + 1 for name, sequence in records),
                progress=progress,
            )
    return Corpus(output)


def _texts(values: Iterable[Any], what: str, source: str) -> Iterator[str]:
    """Yield the texts of a column; an error names the row."""
    for number, value in enumerate(values, 1):
        try:
            yield cell_text(value, what)
        except ValueError as error:
            raise ValueError(f"{source}, row {number}: {error}") from None


def _unique_rows(
    table: pd.DataFrame, held: NDArray[np.bool_], source: str, output: Path, lengths: tuple[int, int]
) -> tuple[list[tuple[str, str]], list[int], dict[str, int]]:
    """Return the kept (name, sequence), their rows, and the counts; of equal ones the held-out one stays."""
    names, texts = table["id"].tolist(), table["sequence"].tolist()
    rows = np.argsort(~held, kind="stable").tolist()
    given = (((source, i), " ".join(str(names[i]).split()), texts[i]) for i in rows)
    found: dict[str, tuple[str, int]] = {}
    counts: Counter[str] = Counter(stages.COUNTS)
    with stages.rejection_log(output / stages.REJECTED) as log:
        for (_, i), name, sequence in stages.filter_records(given, lengths, counts, log):
            found.setdefault(sequence, (name, i))
    counts["duplicates"] = counts["kept"] - len(found)
    return [(name, text) for text, (name, _) in found.items()], [i for _, i in found.values()], counts


# --- options of a build, and its unfinished work --------------------------------------


def check_options(
    min_length: int,
    max_length: int,
    holdout: float,
    min_identity: float | None = None,
    coverage: float = 1,
    *,
    seed: int = 0,
) -> None:
    """Reject options out of range."""
    whole_number("min_length", min_length)
    whole_number("max_length", max_length)
    whole_number("seed", seed, least=0)
    if not 0 < min_length <= max_length <= LONGEST:
        raise ValueError(
            f"min_length={min_length}, max_length={max_length}: expected 1 to {LONGEST}, the first no greater"
        )
    for name, value in {"holdout": holdout, "min_identity": min_identity, "coverage": coverage}.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= 1):
            raise ValueError(f"{name}={value}: expected a fraction from 0 to 1")


def digest(source: Path | bytes) -> str:
    """Return a fingerprint of what a file, or a value, holds."""
    if isinstance(source, bytes):
        return hashlib.blake2b(source).hexdigest()
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def finished(output: Path, job: dict[str, Any]) -> bool:
    """Tell whether the corpus is finished; raise FileExistsError if it is another one."""
    if not (output / FILE).exists():
        return False
    if differing := differences(Corpus(output).meta.get("job", {}), job):
        raise FileExistsError(
            f"{output / FILE} was built otherwise: choose another folder, or delete the file first\n  "
            + "\n  ".join(differing)
        )
    return True


def rejected_records(output: Path) -> Path:
    """Return the table of the rejected records of a corpus, under its earlier name if 0.1.0 wrote it."""
    earlier, path = output / stages.EARLIER_REJECTED, output / stages.REJECTED
    return earlier if earlier.exists() and not path.exists() else path


def prepare_work_folder(output: Path, job: dict[str, Any]) -> Path:
    """Return the folder for the stages, emptied unless its content belongs to this job."""
    work = output / WORK
    ours = tuple(f".{name}." for name in (FILE, stages.REJECTED, stages.EARLIER_REJECTED))
    for leftover in (*output.glob(".*.tmp"), *work.glob(".*.tmp")):  # of a run that was killed
        if leftover.name.startswith(ours) or leftover.parent == work:
            leftover.unlink()
    for leftover in work.glob(f"{stages.SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if (work / "job.json").exists():
        old = read_facts(work / "job.json", remedy=f"delete the folder {work} to start anew")
        differing = "; ".join(differences(old, job))
        if not differing:
            return work
        warn_user(f"{work} is of another, unfinished build ({differing}): starting anew")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_facts(work / "job.json", job)
    return work


@contextmanager
def corpus_lock(output: Path) -> Iterator[None]:
    """Hold the lock of a corpus, and remove the temporary files of a killed process."""
    with output_lock(output):
        for name in (FILE, stages.REJECTED, stages.EARLIER_REJECTED):
            remove_left_over(output / name)
        yield


@contextmanager
def explain_disk_full(output: Path) -> Iterator[None]:
    """Raise OSError that says what to do if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise OSError(
                f"no room to write in {output}: {error.strerror}. What is finished is kept: make room, run again"
            ) from error
        raise
