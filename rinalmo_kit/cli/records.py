"""Records that a command works on: an invalid one is skipped and named, the others are processed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from .._utils.files import user_path
from .._utils.text_files import open_text
from ..rna.sequences import read_fasta

__all__ = ["Source", "source_of"]

CHUNK, LETTERS = 1000, 500_000  # records and nucleotides of a chunk at most


def source_of(given: str) -> Path | BinaryIO:
    """Return the path that a user named, or standard input for ``-``."""
    if given == "-" and sys.stdin is None:
        raise ValueError("standard input is closed: give a file, or pipe something in")
    if given != "-":
        return user_path(given)
    return cast("BinaryIO", getattr(sys.stdin, "buffer", sys.stdin))  # a notebook's has no buffer


class Source:
    """FASTA records of a file or of standard input, up to the first fault of the file.

    Parameters
    ----------
    given : str
        Path, or ``-``. It is read once, and so may be a pipe.
    quiet : bool
        No progress bar.
    one : bool
        Whether there may be one record alone.

    Attributes
    ----------
    fault : Exception or None
        What ended the records before the end of the file.
    skipped : int
        Records that were skipped.

    Raises
    ------
    ValueError
        If there is no record, or a second one where there may be one; nothing has been done then.
    """

    def __init__(self, given: str, *, quiet: bool = False, one: bool = False) -> None:
        self.given, self.quiet, self.skipped = given, quiet, 0
        self.fault: Exception | None = None
        records = self._records()
        first = list(islice(records, 2 if one else 1))
        if not first:
            raise self.fault or ValueError(f"{given} holds no FASTA record")
        if len(first) > 1:
            raise ValueError(
                f"{given} holds several records, and such a file one structure: give a folder with -o"
            )
        self.records = chain(first, records)

    def _records(self) -> Iterator[tuple[str, str]]:
        try:
            yield from read_fasta(source_of(self.given))
        except (ValueError, OSError) as error:
            self.fault = error

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self.records

    def chunks(self) -> Iterator[list[tuple[str, str]]]:
        """Yield the records some at a time."""
        chunk: list[tuple[str, str]] = []
        letters = 0
        for record in self.records:
            chunk.append(record)
            letters += len(record[1])
            if len(chunk) == CHUNK or letters >= LETTERS:
                yield chunk
                chunk, letters = [], 0
        if chunk:
            yield chunk

    def bar(self) -> Any:
        """Open a progress bar; how many there are is known of a file that can be read twice."""
        from tqdm import tqdm

        return tqdm(total=None if self.quiet else self._count(), unit="RNA", disable=self.quiet)

    def _count(self) -> int | None:
        if self.given == "-" or not user_path(self.given).is_file():
            return None
        try:
            with open_text(self.given) as lines:
                return sum(line.startswith(">") for line in lines)
        except (ValueError, OSError):
            return None

    def skip(self, error: Exception) -> None:
        """Print why a record is skipped, and count it."""
        from tqdm import tqdm

        self.skipped += 1
        tqdm.write(f"rinalmo-kit: skipped: {error}", file=sys.stderr)

    def report(self, finished: int, what: str) -> int:
        """Print how many records were skipped and return the exit code."""
        if self.fault is not None:
            print(f"rinalmo-kit: error: {self.fault}", file=sys.stderr)
        if self.skipped:
            print(f"rinalmo-kit: {finished} {what}, {self.skipped} skipped", file=sys.stderr)
        return 1 if self.skipped or self.fault is not None else 0
