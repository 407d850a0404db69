"""Dot-bracket text, as many programs write it, and what all text formats of structures share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from .._utils.text_files import TextFileError, bad_byte, decoration, open_text, without_packing
from .._utils.warn import warn_user
from .alphabet import clean
from .fasta import other_format
from .folded import FoldedRNA
from .pairs import CLOSING, OPENING, UNPAIRED

__all__ = ["parse_brackets", "parse_st", "render_dbn", "render_st"]

BRACKETS_ONLY = set(OPENING[:4] + CLOSING[:4] + UNPAIRED) - {"-"}  # symbols that no sequence holds


COMMENT = ("#", ";")


PRINTED = (
    *("frequency of mfe structure", "free energy of ensemble", "log partition coefficient"),
    *("partition function calculation time", "base pairing probabilities calculation time"),
    *("outputing base pairing", "outputting base pairing", "done!"),
    *("training mode:", "use constraints:", "use evidence:", "warning:"),
)
"""How lines begin that RNAfold, LinearPartition and EternaFold print among the structures, in lower case."""


def split_name(path: Path) -> tuple[str, str]:
    """Name of a file without ending, and the ending in lower case; the packing of a text format is left out.

    Examples
    --------
    >>> split_name(Path("a.b.CT.gz")), split_name(Path("a.parquet.gz"))
    (('a.b', '.ct'), ('a.parquet', '.gz'))
    """
    inner = Path(without_packing(path.name))
    path = Path(path.name) if inner.suffix.lower() == ".parquet" else inner
    return path.stem, path.suffix.lower()


@contextmanager
def at(where: str | os.PathLike) -> Iterator[None]:
    """Add the place to the message of an error about the content."""
    try:
        yield
    except TextFileError:  # has it
        raise
    except ValueError as error:
        raise ValueError(f"{where}, {error}") from None


def lines(
    path: Path, is_decoration: Callable[[str], bool] | None = None, *, first: str = ""
) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text, stripped, of every line that is not blank.

    A byte that is not UTF-8 is replaced where it does not matter, with one warning a file; elsewhere it is an
    error. A file of another known format is rejected as what it is, unless its first line begins with `first`.
    """
    told = begun = False
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.isascii():
                wrong = bad_byte(line)
                line = line.lstrip("\ufeff")  # files that were joined
                if wrong and not (is_decoration or _is_decoration)(line.strip()):
                    raise TextFileError(f"{path}, line {number}, {wrong}: save the file as UTF-8")
                if wrong and not told:
                    told = True
                    text = f"{path}, line {number}, {wrong}: U+FFFD stands for it, and for others, in names"
                    warn_user(text)
                line = decoration(line)
            if line := line.strip():
                expected = bool(first) and line.startswith(first)
                if not (begun or expected) and (what := other_format(line)):
                    raise ValueError(f"line {number}: this is {what}")
                begun = True
                yield number, line


def _is_decoration(line: str) -> bool:
    return line.startswith((">", *COMMENT))


def comment_name(line: str) -> str:
    """Return the name in a comment ``#Name: name`` of bpRNA, or "".

    Examples
    --------
    >>> comment_name("#Name: tRNA 7"), comment_name("# named"), comment_name("#")
    ('tRNA 7', '', '')
    """
    text = line[1:].lstrip()
    return text[5:].strip() if line.startswith("#") and text[:5].lower() == "name:" else ""


def named(name: str | None, path: Path, number: int) -> str:
    """Return a name; a record without one is called as its file, with its number from the second on."""
    stem = split_name(path)[0]
    return name or (stem if number == 1 else f"{stem} {number}")


def title(name: str) -> str:
    r"""Return a name for one line of text in UTF-8: white space becomes single spaces.

    Examples
    --------
    >>> title(" my\tRNA\n")
    'my RNA'
    """
    return decoration(" ".join(name.split()).replace("\0", "\ufffd"))


def is_number(text: str) -> bool:
    """Return whether a text is a number, with a decimal point or comma.

    Examples
    --------
    >>> [is_number(text) for text in ("-3,20", "1e-5", "NAN", "x1")]
    [True, True, False, False]
    """
    try:
        return any(c.isdigit() for c in text) and len(text) < 50 and float(text.replace(",", ".")) is not None
    except ValueError:
        return False


def split_energy(line: str) -> tuple[str, str]:
    """Split a line into the structure and the energy behind it with all that follows, in linear time.

    Examples
    --------
    >>> split_energy("((..)) ( -3.20)"), split_energy("((..))-3,2"), split_energy("((..)) [-1.0 x]")
    (('((..))', '( -3.20)'), ('((..))-', '3,2'), ('((..))', '[-1.0 x]'))
    """
    first = next((k for k, c in enumerate(line) if c in "0123456789"), None)
    if first is None:
        return line.rstrip(), ""
    start = first
    if start > 1 and line[start - 1] in ".," and (line[start - 2].isspace() or line[start - 2] in "+-([{"):
        start -= 1  # .5
    blank_before = len(line[:start].rstrip())
    for k in (start, blank_before):  # a sign, with or without blanks after it
        if k > 1 and line[k - 1] in "+-" and (line[k - 2].isspace() or line[k - 2] in "([{"):
            start = k - 1
            break
    before = line[:start].rstrip()
    if before.endswith(("(", "[", "{")):
        before = before[:-1]
    return before.rstrip(), line[len(before) :].strip()


def parse_brackets(path: Path) -> Iterator[FoldedRNA]:
    """Read records of a name, a sequence and one or more structures, with all that RNAfold prints of them."""
    return _parse(path, annotated=False)


def parse_st(path: Path) -> Iterator[FoldedRNA]:
    """Read bpRNA's ``.st``: as dot-bracket, with an annotation after the structure."""
    return _parse(path, annotated=True)


def _parse(path: Path, *, annotated: bool) -> Iterator[FoldedRNA]:
    count, name, record, sequence = 0, None, "", None
    start = done = 0  # first line of a record without structure yet; structures of a sequence
    for number, line in chain(lines(path), [(0, ">")]):
        if line.startswith(COMMENT):
            name = name or comment_name(line)
            if done and annotated:  # files that were joined
                sequence, done = None, 0
        elif line.startswith(">"):
            if start and sequence is not None and line[1:].strip().lower() == "structure":  # of CONTRAfold
                continue
            if start:
                missing = "a sequence" if sequence is None else "its structure (fold would predict it)"
                raise ValueError(f"line {start}, record {record!r}: expected {missing} in the next line")
            name, start, sequence, done = line[1:].strip() or name, number, None, 0
            record = named(name, path, count + 1)
        elif line.lower().startswith(PRINTED):
            continue
        elif done and annotated:
            if not line[0].isalpha() or not line[0].isascii():
                wanted = "expected bpRNA's annotation after the structure"
                raise ValueError(f"line {number}, record {record!r}: {wanted}, found {line[:40]!r}")
        elif sequence is None or (done and not _is_further(line, len(sequence))):
            record, done = named(name, path, count + 1), 0
            with at(f"line {number}"):
                sequence, start = _sequence(line, record), number
        elif not (done and _is_ensemble(line)):
            with at(f"line {number}"):
                yield FoldedRNA.from_dot_bracket(
                    sequence, _brackets(line, record, len(sequence)), name=record
                )
            count, name, start, done = count + (not done), None, 0, done + 1


def _sequence(line: str, record: str) -> str:
    if BRACKETS_ONLY & set(line):
        raise ValueError(f"record {record!r}: expected a sequence, found {line[:40]!r}")
    words = line.split()
    while len(words) > 1 and is_number(words[-1]):  # of RNAsubopt: energy and range
        words.pop()
    joined = "".join(words)
    for strand in "&+":
        if strand in joined:
            raise ValueError(
                f"record {record!r} has two strands, joined by {strand!r} at position {joined.index(strand) + 1}: "
                "give each strand a record of its own"
            )
    return clean(joined, name=record)


def _brackets(line: str, record: str, length: int) -> str:
    brackets = "".join(split_energy(line)[0].split())
    if len(brackets) == length and "+" in brackets:
        raise ValueError(
            f"record {record!r}: '+' at position {brackets.index('+') + 1} marks a G-quadruplex (RNAfold -g), which "
            "base pairs cannot represent: fold without -g"
        )
    if len(brackets) != length or not set(brackets) & (BRACKETS_ONLY | {"-"}):
        expected = f"expected a structure of {length} symbols on one line"
        raise ValueError(f"record {record!r}: {expected}, found {len(brackets)}: {line[:40]!r}")
    return brackets


def _is_further(line: str, length: int) -> bool:
    """Return whether a line belongs to the record above: a further structure, or what RNAfold says of the ensemble."""
    return bool(BRACKETS_ONLY & set(split_energy(line)[0])) or _is_ensemble(line)


def _is_ensemble(line: str) -> bool:
    """Return whether a line is RNAfold's about the ensemble: ``.((,.)) [ -3.4]``, centroid and MEA."""
    return split_energy(line)[1].startswith(("[", "{"))


def render_dbn(structure: FoldedRNA, name: str) -> str:
    """Return a record of three lines."""
    return f">{name}\n{structure.sequence}\n{structure.dot_bracket}\n"


def render_st(structure: FoldedRNA, name: str) -> str:
    """Return bpRNA's record, without the annotation."""
    return f"#Name: {name}\n{structure.sequence}\n{structure.dot_bracket}\n"
