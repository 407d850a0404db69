"""The input of a job: a file that is the same at every start, cut into the same chunks of records."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..rna.sequences import read_fasta

__all__ = [
    "DamagedInputError",
    "Fingerprint",
    "check_input",
    "chunks",
    "fingerprint",
    "open_input",
    "unchanged",
]


class DamagedInputError(ValueError):
    """An input that can be read up to a place that the message names; the records before it are not lost."""


class Fingerprint(NamedTuple):
    """What a file is known by: its content, and what the system says of it, which is quicker to compare."""

    sha256: str
    size: int
    time: int
    inode: int


def check_input(path: Path) -> None:
    """Make sure, before anything is written, that there is a file that can be read as often as is needed.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
    ValueError
        For a pipe, a device, standard input or another open descriptor, by whatever path.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # also: too long, NUL
        if isinstance(error, PermissionError):
            raise
        shown = str(path)
        shown = shown if len(shown) < 200 else f"{shown[:100]} … ({len(shown)} characters)"
        raise FileNotFoundError(f"no such file: {shown}") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder: expected a FASTA file")
    place = os.path.abspath(path)  # noqa: PTH100 - not what a link such as /dev/stdin leads to at the moment
    descriptor = place.startswith(("/dev/", "/proc/")) and not place.startswith("/dev/shm/")
    if descriptor or not stat.S_ISREG(mode):
        raise ValueError(
            f"{path} is a pipe or device, which cannot be read again when the job resumes: write it to a file first"
        )


def open_input(path: Path) -> BinaryIO:
    """Open a file so that errors of whatever reads it can name it."""
    return open(os.fspath(path), "rb")  # noqa: PTH123 - Path.open gives the stream no text for a name


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a file."""
    with path.open("rb") as raw:
        about = os.fstat(raw.fileno())
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    return Fingerprint(sha256, about.st_size, about.st_mtime_ns, about.st_ino)


def unchanged(path: Path, raw: BinaryIO, before: Fingerprint) -> Fingerprint:
    """Return the fingerprint that a file has now, whose content must be as before.

    Parameters
    ----------
    path : Path
        The file; written again with the same content, it is unchanged.
    raw : BinaryIO
        The file as it is being read, which tells of it where the path was removed.
    before : Fingerprint

    Raises
    ------
    ValueError
        If it was cut, written to or replaced.
    """
    about = path.stat() if path.exists() else os.fstat(raw.fileno())
    if (about.st_size, about.st_mtime_ns, about.st_ino) == before[1:]:
        return before
    now = fingerprint(path) if path.exists() else None
    if now is None or now.sha256 != before.sha256:
        raise ValueError(
            f"{path} changed while the job ran ({before.size:,} bytes at its start, {about.st_size:,} now). "
            "Finished shards are of the file as it was: put that back and call again, or choose another folder"
        )
    return now


def chunks(raw: BinaryIO, *, shard_size: int, nucleotides: int) -> Iterator[list[tuple[str, str]]]:
    r"""Cut the records of a file, packed or not, into chunks: the same ones at every start.

    Parameters
    ----------
    raw : binary stream
        At its beginning; its position tells how far the file was read.
    shard_size, nucleotides : int
        A chunk is full at so many records, or with the one that reaches so many nucleotides.

    Raises
    ------
    DamagedInputError
        Where the file cannot be read on; the whole records before are yielded first.

    Examples
    --------
    >>> import io
    >>> list(chunks(io.BytesIO(b">a\nAC\n>b\nGU\n>c\nA\n"), shard_size=2, nucleotides=100))
    [[('a', 'AC'), ('b', 'GU')], [('c', 'A')]]
    """
    chunk: list[tuple[str, str]] = []
    total, fault = 0, None
    try:
        for record in read_fasta(raw):
            chunk.append(record)
            total += len(record[1])
            if len(chunk) == shard_size or total >= nucleotides:
                yield chunk
                chunk, total = [], 0
    except ValueError as error:
        fault = error
    if chunk:
        yield chunk
    if fault is not None:
        raise DamagedInputError(str(fault)) from fault
