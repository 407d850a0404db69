"""FASTA, one record at a time, and the names of other formats that are taken for it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

from .._utils.files import user_path
from .._utils.text_files import TextFileError, bad_byte, check_to_end, decoration, open_text
from .._utils.warn import warn_user

__all__ = ["other_format", "read_fasta"]

OTHER_FORMATS = {
    "# STOCKHOLM": "a Stockholm alignment: convert it to FASTA (esl-reformat fasta FILE)",
    "CLUSTAL": "a Clustal alignment: convert it to FASTA",
    "LOCUS ": "a GenBank record: export it as FASTA",
    "ID   ": "an EMBL record: export it as FASTA",
    "@": "FASTQ or SAM: convert it to FASTA (seqkit fq2fa FILE)",
    "<!DOCTYPE": "a web page: the download went wrong",
    "<html": "a web page: the download went wrong",
    "<?xml": "XML",
    "version https://git-lfs": "a pointer of Git LFS: run git lfs pull",
}
"""First words of files of other formats, and what to say of them."""


def other_format(line: str) -> str | None:
    """Return the name of the known other format that begins with this line; None if there is none.

    Examples
    --------
    >>> other_format("# STOCKHOLM 1.0")
    'a Stockholm alignment: convert it to FASTA (esl-reformat fasta FILE)'
    """
    return next((what for start, what in OTHER_FORMATS.items() if line.startswith(start)), None)


def read_fasta(source: Any) -> Iterator[tuple[str, str]]:
    r"""Read FASTA one record at a time.

    Parameters
    ----------
    source : path, or open text or binary file
        Packed or not; Unix, Windows and old Mac line ends are the same. Lines that begin with ``#`` or ``;``
        are comments.

    Yields
    ------
    (str, str)
        Name (the header up to the first white space; ``record 3`` if the header is empty) and the
        sequence as it stands, lines joined. In a name U+FFFD stands for a byte that is not UTF-8, with one
        warning a file.

    Raises
    ------
    ValueError
        If text comes before the first header (with the line number), a sequence holds a byte that is not
        UTF-8 (with line and byte), or a packed file is damaged; what was whole before is yielded first.

    Examples
    --------
    >>> list(read_fasta(io.StringIO(">a\r\nACG\r\nU\r\n>b\r\nGG\r\n")))
    [('a', 'ACGU'), ('b', 'GG')]
    """
    if isinstance(source, str | os.PathLike):
        with open_text(source) as stream:
            yield from _checked(stream, stream, str(user_path(source)))
        return
    if isinstance(source, io.RawIOBase | io.BufferedIOBase) or (
        not isinstance(source, io.TextIOBase)
        and hasattr(source, "read")
        and isinstance(source.read(0), bytes)
    ):
        source = open_text(cast("BinaryIO", source))
    yield from _checked(_lines(source), source, getattr(source, "name", None) or "FASTA text")


def _checked(lines: Iterable[str], stream: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield records; if one is wrong because the file is damaged, say so."""
    try:
        yield from _fasta(lines, where)
    except ValueError:
        check_to_end(stream)
        raise


def _lines(stream: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a stream; a bare carriage return ends one, too."""
    for line in stream:
        if "\r" in line:
            yield from line.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
        else:
            yield line


def _fasta(lines: Iterable[str], where: str) -> Iterator[tuple[str, str]]:
    parts: list[str] = []
    name, count, told = None, 0, False
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            line = line.replace("\ufeff>", ">")  # files that were joined
            wrong = bad_byte(line)
            if wrong and line.lstrip().startswith((">", "#", ";")):
                line = decoration(line)
                if not told and line.lstrip().startswith(">"):
                    told = True
                    warn_user(
                        f"{where}, line {number}, {wrong}: U+FFFD stands for it, and for others, in names"
                    )
            elif wrong:
                record = f", in the sequence of {name!r}" if name is not None else ""
                raise TextFileError(f"{where}, line {number}, {wrong}{record}: save the file as UTF-8")
        line = line.strip()
        if not line:
            continue
        if line[0] == ">":
            if name is not None:
                yield name, "".join(parts)
            count += 1
            words = line[1:].split(None, 1)
            name, parts = (words[0] if words else f"record {count}"), []
        elif line[0] in "#;":
            if not count and (what := other_format(line)):
                raise ValueError(f"{where} is {what}")
        elif name is None:
            if what := other_format(line):
                raise ValueError(f"{where} is {what}")
            if "sequence" in re.split("[,;\t]", line.lower()):
                raise ValueError(f"{where} is a table: pass it as a DataFrame, such as pandas.read_csv(path)")
            raise ValueError(
                f"{where}, line {number}: expected a FASTA header ('>name'), found {line[:40]!r}"
            )
        else:
            parts.append(line)
    if name is not None:
        yield name, "".join(parts)
