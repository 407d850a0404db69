"""The stages of building a corpus: filter, duplicates, clusters, LMDB. Each result appears whole or not at all."""

from __future__ import annotations

import json
import mmap
import re
import shutil
import subprocess
import tempfile
from array import array
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..._utils.files import atomic_write
from ..._utils.progress import progress_bar
from ..._utils.text_files import TextFileError, open_text
from ...rna.alphabet import clean
from ...rna.sequences import read_fasta
from .store import FILE, key, require_lmdb

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cluster", "deduplicate", "filter_fasta", "filter_records", "tool_version", "write_corpus"]

TRANSACTION = 50_000  # sequences written at a time


COUNTS = {"records": 0, "refused": 0, "too_short": 0, "too_long": 0, "kept": 0}


REJECTED, EARLIER_REJECTED = "rejected.tsv", "refused.tsv"
"""Table of the rejected records in the folder of a corpus, and its name in version 0.1.0."""


SCRATCH = "mmseqs-"


INSTALL = {
    "seqkit": "apt-get install seqkit (conda: conda install -c bioconda seqkit)",
    "mmseqs": "apt-get install mmseqs2 (conda: conda install -c bioconda mmseqs2)",
}


Place = tuple[str, int]  # file and line


# 1. letters and lengths


def read_places(path: Path) -> Iterator[tuple[Place, str, str]]:
    """Yield the place of the header, the name and the text of every record of a FASTA file."""
    headers: deque[int] = deque()
    number = found = 0

    def lines(stream: TextIO) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(stream, 1):
            if line.lstrip().startswith(">"):
                headers.append(number)
            yield line

    try:
        with open_text(path) as stream:
            for name, text in read_fasta(lines(stream)):
                yield (str(path), headers.popleft()), name, text
                found += 1
    except TextFileError as error:
        raise ValueError(f"{path} is broken after line {number}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not found:
        raise ValueError(f"{path} holds no FASTA record")


def filter_records(
    records: Iterable[tuple[Place, str, Any]],
    lengths: tuple[int, int],
    counts: Counter[str],
    log: TextIO,
) -> Iterator[tuple[Place, str, str]]:
    """Yield the records to keep, cleaned; count all, and write those that are not a sequence to `log`."""
    first = None
    for place, name, text in records:
        counts["records"] += 1
        try:
            sequence = clean(text, name=name)
        except (ValueError, TypeError) as error:
            counts["refused"] += 1
            first = first or f"; the first rejected is {place[0]}, line {place[1]}: {error}"
            log.write(f"{place[0]}\t{place[1]}\t{name}\t{error}\n")
            continue
        if len(sequence) < lengths[0]:
            counts["too_short"] += 1
        elif len(sequence) > lengths[1]:
            counts["too_long"] += 1
        else:
            counts["kept"] += 1
            yield place, name, sequence
    if not counts["kept"]:
        raise ValueError(
            f"no sequence to keep: of {counts['records']} records {counts['refused']} have a letter that is not a "
            f"nucleotide code, {counts['too_short']} are shorter than {lengths[0]} and {counts['too_long']} "
            f"longer than {lengths[1]} nt{first or ''}"
        )


@contextmanager
def rejection_log(path: Path) -> Iterator[TextIO]:
    """Open the table of rejected records, which appears whole, and remove the one of an earlier version."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("file\tline\tname\treason\n")
        yield stream
    path.with_name(EARLIER_REJECTED).unlink(missing_ok=True)


def filter_fasta(
    paths: list[Path], result: Path, rejected: Path, *, lengths: tuple[int, int], progress: bool
) -> None:
    """Write the kept records as ``>number name``: mmseqs needs names that differ, and changes some names."""
    counts: Counter[str] = Counter(COUNTS)
    records = (record for path in paths for record in read_places(path))
    with atomic_write(result) as temporary, progress_bar(None, "1/4 filter", shown=progress) as bar:
        with temporary.open("w", encoding="utf-8") as stream, rejection_log(rejected) as log:
            for number, (_, name, sequence) in enumerate(filter_records(records, lengths, counts, log)):
                stream.write(f">{number} {name}\n{sequence}\n")
                bar.update()
        with atomic_write(result.with_name("counts.json")) as numbers:
            numbers.write_text(json.dumps(counts), encoding="utf-8")


# 2. and 3.: external programs


def deduplicate(source: Path, result: Path, threads: int, *, kept: int, progress: bool) -> None:
    """Run ``seqkit rmdup -s -P``, and check that no record was lost."""
    options = ["-s", "-P", "-w", "0", "-j", str(threads)]
    with atomic_write(result) as temporary, progress_bar(kept, "2/4 seqkit rmdup", shown=progress) as bar:
        command = ["seqkit", "rmdup", *options, "-o", str(temporary), str(source)]
        said = run(command, result.with_name("seqkit.log"), bar)
        removed = re.search(r"(\d+) duplicated records? removed", said)
        try:
            left = len(index_fasta(temporary)[0])
        except ValueError:  # a record is cut off
            left = -1
        if removed is None or left + int(removed[1]) != kept:
            raise OSError(
                f"seqkit did not write all of {kept} records: is the disk full? {said[-500:].strip()}"
            )
        bar.update(kept)


def cluster(
    source: Path, result: Path, numbers: NDArray[np.int64], options: dict[str, float], *, progress: bool
) -> NDArray[np.int64]:
    """Run ``mmseqs easy-linclust`` unless its table is there; return the labels."""
    if result.exists():
        return cluster_labels(result, numbers)
    # --dbtype 2: left alone, mmseqs takes a corpus that begins with ambiguity codes for proteins.
    folder = Path(tempfile.mkdtemp(dir=result.parent, prefix=SCRATCH))
    command = ["mmseqs", "easy-linclust", source, folder / "of", folder / "tmp", "--dbtype", 2]
    command += [word for option in options.items() for word in option]
    try:
        with progress_bar(len(numbers), "3/4 mmseqs easy-linclust", shown=progress) as bar:
            run([str(word) for word in command], result.with_name("mmseqs.log"), bar)
            labels = cluster_labels(folder / "of_cluster.tsv", numbers)
            bar.update(len(numbers))
        (folder / "of_cluster.tsv").replace(result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return labels


def tool_version(name: str) -> dict[str, str]:
    """Return the version of a program, or say how to install it."""
    if shutil.which(name) is None:
        raise FileNotFoundError(f"building a corpus needs {name}, which is not on PATH: {INSTALL[name]}")
    done = subprocess.run([name, "version"], capture_output=True, text=True, check=False)
    return {name: done.stdout.strip() or "unknown"}


def run(command: list[str], log: Path, bar: Any) -> str:
    """Run a program, refreshing the progress bar; return what it printed."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    process.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    bar.refresh()
        except BaseException:
            process.kill()
            process.wait()
            raise
    said = re.sub(r"\x1b\[\d*m", "", log.read_text(encoding="utf-8", errors="replace"))
    if process.returncode:
        tail = "\n".join(said.strip().splitlines()[-8:])
        raise OSError(
            f"{command[0]} failed with exit code {process.returncode} (is the disk full?). "
            f"What is finished is kept; run again to resume. Its last output:\n{tail}"
        )
    return said


# reading the results of stages 2 and 3


def index_fasta(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number and byte offset of each record of a FASTA file of ours; the last offset is its end."""
    numbers, offsets = array("q"), array("q", [0])
    with path.open("rb") as stream:
        for header, sequence in zip(stream, stream, strict=True):
            numbers.append(int(header[1:].partition(b" ")[0]))
            offsets.append(offsets[-1] + len(header) + len(sequence))
    return np.array(numbers), np.array(offsets)


def records_at(path: Path, offsets: NDArray[np.int64], order: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield name and sequence of the records of a FASTA of ours in the order asked for."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for i in order:
            header, sequence, _ = text[offsets[i] : offsets[i + 1]].split(b"\n")
            yield header.partition(b" ")[2].decode(), sequence.decode()


def cluster_labels(path: Path, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    r"""Return for each sequence the first one of its cluster, from the table of mmseqs.

    Examples
    --------
    >>> table = Path(tempfile.mkdtemp()) / "clusters.tsv"
    >>> _ = table.write_text("7\t7\n7\t2\n4\t4\n")
    >>> cluster_labels(table, np.array([2, 4, 7]))
    array([0, 1, 0])
    """
    pairs = np.fromfile(path, dtype=np.int64, sep=" ").reshape(-1, 2)
    where = np.searchsorted(numbers, pairs).clip(max=len(numbers) - 1)
    if len(pairs) != len(numbers) or (numbers[where] != pairs).any() or np.bincount(where[:, 1]).max() > 1:
        raise OSError(
            f"mmseqs put {len(np.unique(pairs[:, 1]))} of {len(numbers)} sequences into clusters: is the disk full?"
        )
    representative, member = where.T
    first = np.full(len(numbers), len(numbers))
    np.minimum.at(first, representative, member)
    labels = np.empty(len(numbers), dtype=np.int64)
    labels[member] = first[representative]
    return labels


def family_labels(families: Iterable[Hashable | None]) -> NDArray[np.int64]:
    """Return for each sequence the first one of its family; one whose family is None is alone.

    Examples
    --------
    >>> family_labels(["tRNA", None, "tRNA", None])
    array([0, 1, 0, 3])
    """
    known: dict[Hashable, int] = {}
    return np.array(
        [i if f is None else known.setdefault(f, i) for i, f in enumerate(families)], dtype=np.int64
    )


def group(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order that puts clusters side by side, and their sizes.

    Examples
    --------
    >>> group(np.array([0, 1, 0, 3]))
    (array([0, 2, 1, 3]), array([2, 1, 1]))
    """
    return np.argsort(labels, kind="stable"), np.unique(labels, return_counts=True)[1]


# 4. the file


def write_corpus(
    output: Path,
    records: Iterable[tuple[str, str]],
    *,
    sizes: NDArray[np.integer],
    holdout: NDArray[np.integer],
    meta: dict[str, Any],
    letters: int,
    progress: bool,
) -> None:
    """Write ``output/corpus.lmdb``, whole or not at all.

    `records` are name and sequence, cluster by cluster; `sizes` the sequences of each cluster; `holdout` the
    clusters held out; `letters` an upper bound for the bytes of names and sequences together.
    """
    lmdb = require_lmdb()
    total = int(np.sum(sizes))
    lengths, written = np.zeros(total, dtype="<u2"), 0
    # At worst a value takes twice its size, in pages of its own. Address space is not disk space.
    room = 3 * letters + 300 * total + 16 * len(sizes) + (64 << 20)
    with atomic_write(output / FILE) as temporary, progress_bar(total, "4/4 write", shown=progress) as bar:
        try:
            with lmdb.open(str(temporary), subdir=False, map_size=room, lock=False, sync=False) as file:
                stream = iter(records)
                while chunk := list(islice(stream, TRANSACTION)):
                    with file.begin(write=True) as transaction:
                        for i, (name, sequence) in enumerate(chunk, written):
                            lengths[i] = len(sequence)
                            transaction.put(key(i), f"{name}\n{sequence}".encode(), append=True)
                    written += len(chunk)
                    bar.update(len(chunk))
                tables = {
                    b"holdout": np.sort(holdout).astype("<u4").tobytes(),
                    b"lengths": lengths.tobytes(),
                    b"meta": json.dumps(meta).encode(),
                    b"sizes": np.asarray(sizes).astype("<u4").tobytes(),
                }
                with file.begin(write=True) as transaction:
                    transaction.cursor().putmulti(list(tables.items()), append=True)
                file.sync(True)
        except lmdb.Error as error:
            raise OSError(f"{output / FILE} could not be written, none of it was left: {error}") from error
