"""Files of secondary structures: dot-bracket, CT, BPSEQ, bpRNA's ``.st``, and CSV or Parquet tables.

The ending of a file chooses its format; :data:`FORMATS` is the one place where endings are listed.
A bracket without its partner or a nucleotide with two is an error, not a pair quietly dropped.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from .files import whole_file
from .structure import CLOSING, OPENING, UNPAIRED, Structure
from .tokens import VOCABULARY, clean, open_text

__all__ = ["FORMATS", "format_structure", "read_structures", "write_structures"]

_RNAFOLD_ENERGY = re.compile(r"\s+[(\[{]?\s*[-+]?\d.*$")
_CT_ENERGY = re.compile(r"^(ENERGY|dG)\s*=\s*\S+(\s*\[initially\s+\S+\])?\s*", re.IGNORECASE)
_COMMENT_NAME = re.compile(r"^#\s*name:\s*(.*)", re.IGNORECASE)
_BRACKETS_ONLY = set(OPENING[:4] + CLOSING[:4] + UNPAIRED) - {"-"}  # symbols that no sequence holds
_LETTERS = frozenset("".join(VOCABULARY[5:]) + "U")


def read_structures(path: str | os.PathLike) -> list[Structure]:
    r"""Read all structures of a file, or of all files of known endings in a folder and its subfolders.

    * ``.dbn .db .dot .fa .fasta .fna``: records of ``>name`` or ``#Name: name`` (may be absent), a
      sequence line and a dot-bracket line of any bracket levels, with or without RNAfold's energy.
    * ``.st`` (bpRNA): the same, one record; the annotation after it is ignored.
    * ``.ct``: ``length name``, then ``i base i-1 i+1 partner i`` a nucleotide; any number of structures.
    * ``.bpseq``: ``i base partner`` a nucleotide.
    * ``.csv .parquet``: columns ``sequence``, ``dot_bracket`` and ``name`` or ``id``.

    Lines that start with ``#`` are comments. Text may be packed (``.gz``), have Windows line ends, a
    byte-order mark, blank lines, lower case and T. A record without a name is called as its file.

    Raises
    ------
    ValueError
        Names the file, the line or row, the record and what was expected there.

    Examples
    --------
    >>> import tempfile
    >>> hairpin = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> path = write_structures([hairpin], Path(tempfile.mkdtemp()) / "hairpin.ct")
    >>> read_structures(path)
    [<Structure 'hairpin': 10 nt, 3 pairs>]
    """
    path = Path(path)
    if path.is_dir():
        shown = (p for p in path.rglob("*") if "/." not in f"/{p.relative_to(path).as_posix()}")
        files = sorted(p for p in shown if _split(p)[1] in FORMATS and p.is_file())
        if not files:
            raise ValueError(f"{path}: no file with one of the endings {', '.join(FORMATS)}")
        return [structure for file in files for structure in read_structures(file)]
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    form = _format(path)
    with _at(path):
        structures = list(islice(form.parse(path), None if form.several else 1))
        if not structures:
            raise ValueError("expected a structure, found none")
    return structures


def write_structures(structures: Iterable[Structure], path: str | os.PathLike) -> Path:
    """Write structures to a file and return its path; the ending chooses the format, as for reading.

    The file appears whole or not at all: it is written beside its place and then moved there. White
    space in a name becomes single spaces. Text is packed where the path ends in ``.gz``.

    Raises
    ------
    ValueError
        For an unknown ending, no structure, one without nucleotides, or several in ``.st`` or ``.bpseq``.
    """
    path, structures = Path(path), list(structures)
    form, ending = _format(path), _split(path)[1]
    if not structures or not all(map(len, structures)):
        raise ValueError(f"{path}: no structures to write, or one without nucleotides")
    if len(structures) > 1 and not form.several:
        raise ValueError(f"{path}: {ending} holds one structure, not {len(structures)}; use .dbn or .ct")
    if form.render is None:
        content = _render_table(structures, ending)
    else:
        content = "".join(format_structure(s, ending) for s in structures).encode()
    content = gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def format_structure(structure: Structure, format: str) -> str:
    """Return a structure as the text of a file with the ending `format`: ``"dbn"``, ``"ct"``, ``"bpseq"`` ….

    CT is written as Zuker's mfold does: tab-separated, the "next" index of the last nucleotide is 0.

    Examples
    --------
    >>> print(format_structure(Structure("GAAAC", [(0, 4)], name="loop"), "dbn"), end="")
    >loop
    GAAAC
    (...)
    """
    render = _format(Path(f"x.{format.removeprefix('.')}")).render
    if render is None:
        raise ValueError(f"format {format!r} is a table; use write_structures")
    return render(structure, " ".join(structure.name.split()))


def _split(path: Path) -> tuple[str, str]:
    """Name of a file without ending, and the ending in lower case; ``.gz`` of a text format is left out."""
    path = Path(re.sub(r"(?<!\.parquet)\.gz$", "", path.name, flags=re.IGNORECASE))
    return path.stem, path.suffix.lower()


def _format(path: Path) -> Format:
    try:
        return FORMATS[_split(path)[1]]
    except KeyError:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; known are {', '.join(FORMATS)}") from None


@contextmanager
def _at(where: str | Path) -> Iterator[None]:
    """Put the place before the message of an error about the content."""
    try:
        yield
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{where}: not a UTF-8 text file, or a damaged .gz file ({error})") from None
    except ValueError as error:
        raise ValueError(f"{where}, {error}") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text, stripped, of every line that is not blank."""
    with open_text(path) as stream:
        yield from ((number, line.strip()) for number, line in enumerate(stream, 1) if line.strip())


def _named(name: str | None, path: Path, number: int) -> str:
    return name or (_split(path)[0] if number == 1 else f"{_split(path)[0]} {number}")


def _parse_brackets(path: Path) -> Iterator[Structure]:
    count, name, sequence, start = 1, None, None, 0  # start: first line of an unfinished record
    for number, line in chain(_lines(path), [(0, ">")]):
        record = _named(name, path, count)
        if line.startswith("#"):
            name = name or "".join(_COMMENT_NAME.findall(line))
        elif line.startswith(">"):
            if start:
                missing = "a sequence" if sequence is None else "its structure (fold would predict it)"
                raise ValueError(f"line {start}, record {record!r}: expected {missing} in the next line")
            name, start = line[1:].strip() or name, number
        elif sequence is None:
            with _at(f"line {number}"):
                if _BRACKETS_ONLY & set(line):
                    raise ValueError(f"record {record!r}: expected a sequence, found {line[:40]!r}")
                sequence, start = clean(line, name=record), number
        else:
            brackets = "".join(_RNAFOLD_ENERGY.sub("", line).split())
            with _at(f"line {number}"):
                if len(brackets) != len(sequence) or not set(brackets) & (_BRACKETS_ONLY | {"-"}):
                    expected = f"expected a structure of {len(sequence)} symbols on one line"
                    raise ValueError(f"record {record!r}: {expected}, found {len(brackets)}: {line[:40]!r}")
                yield Structure.from_dot_bracket(sequence, brackets, name=record)
            count, name, sequence, start = count + 1, None, None, 0


def _parse_ct(path: Path) -> Iterator[Structure]:
    count, length, start, name, rows = 0, 0, 0, None, []
    for number, line in _lines(path):
        fields = line.split()
        if line.startswith("#"):
            name = "".join(_COMMENT_NAME.findall(line)) or name
        elif len(rows) < length:
            if len(fields) < 5:
                expected = f"expected row {len(rows) + 1} of {length}, 'i base i-1 i+1 partner i'"
                raise ValueError(f"line {number}, record {name!r}: {expected}, found {line[:40]!r}")
            rows.append((number, fields[0], fields[1], fields[4]))
            if len(rows) == length:
                yield _from_rows(rows, name)
                name = None
        else:
            further = len(fields) > 4 and fields[:3:2] == [str(length + 1), str(length)]
            if further or not fields[0].isdecimal() or not int(fields[0]):
                expected = f"expected a header 'length name' after {length} rows"
                raise ValueError(f"line {number}: {expected}, found {line[:40]!r}")
            count, length, start, rows = count + 1, int(fields[0]), number, []
            name = _named(_CT_ENERGY.sub("", " ".join(fields[1:])) or name, path, count)
    if len(rows) < length:
        raise ValueError(f"line {start}, record {name!r}: expected {length} rows, found {len(rows)}")


def _parse_bpseq(path: Path) -> Iterator[Structure]:
    name, rows = _named(None, path, 1), []
    for number, line in _lines(path):
        fields = line.split()
        if line.startswith("#"):
            name = "".join(_COMMENT_NAME.findall(line)) or name
        elif len(fields) != 3:
            raise ValueError(f"line {number}: expected 'i base partner' or '# comment', found {line[:40]!r}")
        else:
            rows.append((number, *fields))
    if rows:
        yield _from_rows(rows, name)


def _from_rows(rows: list[tuple[int, str, str, str]], name: str) -> Structure:
    """Make a structure of (line, index, base, partner) rows, or say which of them is wrong."""
    partners, several = [], "; a nucleotide in several pairs cannot be represented"
    where = [f"line {line}, record {name!r}" for line, *_ in rows]
    for i, (_, index, base, partner) in enumerate(rows, 1):
        if index != str(i):
            note = {"1": "; .bpseq holds one structure", str(i - 1): several}.get(index, "")
            raise ValueError(f"{where[i - 1]}: expected the row of nucleotide {i}, found {index!r}{note}")
        if base.upper() not in _LETTERS:
            raise ValueError(f"{where[i - 1]}: {base!r} of nucleotide {i} is not a nucleotide code")
        if not partner.isdecimal() or int(partner) > len(rows) or int(partner) == i:
            raise ValueError(f"{where[i - 1]}: {i} of {len(rows)} cannot pair with {partner!r} (0 for none)")
        partners.append(int(partner))
    for i, j in enumerate(partners, 1):
        if j and partners[j - 1] != i:
            other = f"{j} (line {rows[j - 1][0]}) has partner {partners[j - 1] or 'none'}"
            raise ValueError(f"{where[i - 1]}: nucleotide {i} has partner {j}, but {other}{several}")
    pairs = [(i, j - 1) for i, j in enumerate(partners) if i < j - 1]
    return Structure("".join(base for _, _, base, _ in rows), pairs, name=name)


def _parse_table(path: Path) -> Iterator[Structure]:
    import pandas as pd

    if _split(path)[1] == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if "sequence" not in table or "dot_bracket" not in table:
        raise ValueError(f"expected the columns sequence, dot_bracket and name or id, found {list(table)}")
    names = table.get("name", table.get("id", [None] * len(table)))
    rows = zip(names, table["sequence"], table["dot_bracket"], strict=True)
    for number, (name, *texts) in enumerate(rows, 1):
        name = _named(None if pd.isna(name) else str(name), path, number)
        with _at(f"row {number}"):
            if not all(isinstance(text, str) and text for text in texts):
                raise ValueError(f"record {name!r}: expected a sequence and a structure, found {texts}")
            yield Structure.from_dot_bracket(*texts, name=name)


def _render_ct(structure: Structure, title: str) -> str:
    rows = enumerate(zip(structure.sequence, structure.partner + 1, strict=True), 1)
    lines = (f"{i}\t{base}\t{i - 1}\t{(i + 1) % (len(structure) + 1)}\t{j}\t{i}\n" for i, (base, j) in rows)
    return f"{len(structure)}\t{title}\n" + "".join(lines)


def _render_bpseq(structure: Structure, title: str) -> str:
    rows = enumerate(zip(structure.sequence, structure.partner + 1, strict=True), 1)
    return f"#Name: {title}\n" + "".join(f"{i} {base} {j}\n" for i, (base, j) in rows)


def _render_table(structures: list[Structure], ending: str) -> bytes:
    import pandas as pd

    rows = [(" ".join(s.name.split()), s.sequence, s.dot_bracket) for s in structures]
    table = pd.DataFrame(rows, columns=["name", "sequence", "dot_bracket"])
    return table.to_parquet(index=False) if ending == ".parquet" else table.to_csv(index=False).encode()


class Format(NamedTuple):
    """How the files of one ending are read and written."""

    parse: Callable[[Path], Iterator[Structure]]
    render: Callable[[Structure, str], str] | None  # of a structure and its name; None: a table
    several: bool = True  # False: only the first structure of a file counts


_DOT_BRACKET = Format(_parse_brackets, lambda s, name: f">{name}\n{s.sequence}\n{s.dot_bracket}\n")

FORMATS: dict[str, Format] = {
    **dict.fromkeys((".dbn", ".db", ".dot", ".fa", ".fasta", ".fna"), _DOT_BRACKET),
    ".st": Format(_parse_brackets, lambda s, name: f"#Name: {name}\n{s.sequence}\n{s.dot_bracket}\n", False),
    ".ct": Format(_parse_ct, _render_ct),
    ".bpseq": Format(_parse_bpseq, _render_bpseq, False),
    ".csv": Format(_parse_table, None),
    ".parquet": Format(_parse_table, None),
}
"""Ending → format. Text formats are also read and written with a further ``.gz``."""
