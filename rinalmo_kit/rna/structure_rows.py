"""Formats with a row a nucleotide: CT and BPSEQ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .alphabet import VOCABULARY
from .folded import FoldedRNA
from .structure_text import COMMENT, comment_name, is_number, lines, named

__all__ = ["parse_bpseq", "parse_ct", "render_bpseq", "render_ct"]

_LETTERS = frozenset("".join(VOCABULARY[5:]) + "U")


_SEVERAL = "; a nucleotide in several pairs cannot be represented"


Row = tuple[int, str, str, str]  # line, index, base, partner


def whole(text: str) -> int:
    """Return a whole number above 0, or 0 for any other text.

    Examples
    --------
    >>> whole("12"), whole("-1"), whole("x")
    (12, 0, 0)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def without_energy(text: str) -> str:
    """Return the name in a CT header, without the energy that mfold and RNAstructure put before it.

    Examples
    --------
    >>> without_energy("dG = -1.2 [initially -2.0] tRNA"), without_energy("ENERGY=-1,5 x"), without_energy("dG = y")
    ('tRNA', 'x', 'dG = y')
    """
    text = " ".join(text.split())
    for key in ("energy", "dg"):
        if text.lower().startswith(key) and (rest := text[len(key) :].lstrip()).startswith("="):
            value, _, rest = rest[1:].lstrip().partition(" ")
            if not is_number(value):
                continue
            if rest.lower().startswith("[initially") and "]" in rest:
                rest = rest.partition("]")[2]
            return rest.strip()
    return text


def ct_header(line: str) -> tuple[int, str]:
    r"""Return the length and name in the header of a CT record; the length is 0 if it is none.

    Examples
    --------
    >>> ct_header("9 ENERGY = -3.2  x"), ct_header(">seq length: 9\t seq name: x_1")
    ((9, 'x'), (9, 'x_1'))
    """
    if line.startswith(">"):  # of E2Efold and UFold
        before, _, name = line.partition("seq name:")
        return whole(before.partition("seq length:")[2].strip()), name.strip()
    length, *rest = line.split(None, 1)
    return whole(length), without_energy("".join(rest))


def _is_about(line: str) -> bool:
    """Return whether a line before the rows is one like ``Organism: …`` of the Comparative RNA Web Site."""
    key, colon, _ = line.partition(":")
    return bool(colon) and key.replace(" ", "").isalpha()


def _is_row(fields: list[str], index: int) -> bool:
    return len(fields) > 4 and fields[0] == str(index) and fields[2] == str(index - 1)


def _is_decoration(line: str) -> bool:
    """Return whether any letter may occur in a line: it is not a row, in which all but the base are numbers."""
    fields = line.split()
    return len(fields) < 3 or not all(f.lstrip("-").isdecimal() for f in (fields[0], *fields[2:3]))


def parse_ct(path: Path) -> Iterator[FoldedRNA]:
    """Read any number of records: ``length name``, then ``i base i-1 i+1 partner i`` a nucleotide."""
    count, length, start, name = 0, 0, 0, None
    rest = list(lines(path, _is_decoration))
    place = 0
    while place < len(rest):
        number, line = rest[place]
        if line.startswith(COMMENT):
            name = comment_name(line) or name
        elif not _is_about(line):
            _check_ct_header(rest, place, length, start)
            count, start = count + 1, number
            length, found = ct_header(line)
            name = named(found or name, path, count)
            rows, place = _ct_rows(rest, place + 1, length, name)
            if len(rows) < length:
                raise ValueError(f"line {start}, record {name!r}: expected {length} rows, found {len(rows)}")
            if place < len(rest) and _is_row(rest[place][1].split(), length + 1):
                _check_ct_header(rest, place, length, start)
            yield from_rows(rows, name)
            name = None
            continue
        place += 1


def _check_ct_header(rest: list[tuple[int, str]], place: int, length: int, start: int) -> None:
    """Make sure that a header stands there, rather than more rows than the last header said."""
    number, line = rest[place]
    extra = 0
    while place + extra < len(rest) and _is_row(rest[place + extra][1].split(), length + extra + 1):
        extra += 1
    if extra == 1 and place + 1 < len(rest) and _is_row(rest[place + 1][1].split(), 1):
        extra = 0  # a name of numbers
    if extra or not ct_header(line)[0]:
        more = f"; line {start} says {length} nucleotides, but there are {length + extra} rows"
        raise ValueError(
            f"line {number}: expected a header 'length name' after {length} rows, found {line[:40]!r}"
            + (more if extra and start else "")
        )


def _ct_rows(rest: list[tuple[int, str]], place: int, length: int, name: str) -> tuple[list[Row], int]:
    rows: list[Row] = []
    last = ""  # the "next" index of the row before
    while place < len(rest) and len(rows) < length:
        number, line = rest[place]
        fields = line.split()
        place += 1
        if line.startswith(COMMENT):
            continue
        if len(fields) < 5:
            expected = f"expected row {len(rows) + 1} of {length}, 'i base i-1 i+1 partner i'"
            raise ValueError(f"line {number}, record {name!r}: {expected}, found {line[:40]!r}")
        if rows and last == fields[2] == "0":
            raise ValueError(
                f"line {number}, record {name!r} has two strands, the second from nucleotide {len(rows) + 1} on: "
                "give each strand a record of its own"
            )
        last = fields[3]
        rows.append((number, fields[0], fields[1], fields[4]))
    return rows, place


def parse_bpseq(path: Path) -> Iterator[FoldedRNA]:
    """Read one record of rows ``i base partner``; 0 or -1 means unpaired."""
    name = named(None, path, 1)
    rows: list[Row] = []
    for number, line in lines(path, _is_decoration):
        fields = line.split()
        if line.startswith(COMMENT):
            name = comment_name(line) or name
        elif not rows and _is_about(line):
            continue
        elif len(fields) == 3:
            rows.append((number, fields[0], fields[1], "0" if fields[2] == "-1" else fields[2]))
        else:
            raise ValueError(f"line {number}: expected 'i base partner' or '# comment', found {line[:40]!r}")
    if rows:
        yield from_rows(rows, name)


def from_rows(rows: list[Row], name: str) -> FoldedRNA:
    """Make a structure of (line, index, base, partner) rows, or say which of them is wrong."""
    partners = []
    where = [f"line {line}, record {name!r}" for line, *_ in rows]
    for i, (_, index, base, partner) in enumerate(rows, 1):
        if index != str(i):
            note = {"1": "; .bpseq holds one structure", str(i - 1): _SEVERAL}.get(index, "")
            raise ValueError(f"{where[i - 1]}: expected the row of nucleotide {i}, found {index!r}{note}")
        if base.upper() not in _LETTERS:
            raise ValueError(f"{where[i - 1]}: {base!r} of nucleotide {i} is not a nucleotide code")
        number = whole(partner)
        if (not number and partner.strip("0")) or number > len(rows) or number == i:
            raise ValueError(f"{where[i - 1]}: {i} of {len(rows)} cannot pair with {partner!r} (0 for none)")
        partners.append(number)
    for i, j in enumerate(partners, 1):
        if j and partners[j - 1] != i:
            other = f"{j} (line {rows[j - 1][0]}) has partner {partners[j - 1] or 'none'}"
            raise ValueError(f"{where[i - 1]}: nucleotide {i} has partner {j}, but {other}{_SEVERAL}")
    pairs = [(i, j - 1) for i, j in enumerate(partners) if i < j - 1]
    return FoldedRNA("".join(base for _, _, base, _ in rows), pairs, name=name)


def render_ct(structure: FoldedRNA, name: str) -> str:
    """Return a record as mfold writes it; a name that looks like an energy stands in a comment before it."""
    rows = enumerate(zip(structure.sequence, structure.partner + 1, strict=True), 1)
    text = (f"{i}\t{base}\t{i - 1}\t{(i + 1) % (len(structure) + 1)}\t{j}\t{i}\n" for i, (base, j) in rows)
    header = f"{len(structure)}\t{name}\n"
    if without_energy(name) != name:
        header = f"#Name: {name}\n{len(structure)}\n"
    return header + "".join(text)


def render_bpseq(structure: FoldedRNA, name: str) -> str:
    """Return the name as a comment, and a row a nucleotide."""
    rows = enumerate(zip(structure.sequence, structure.partner + 1, strict=True), 1)
    return f"#Name: {name}\n" + "".join(f"{i} {base} {j}\n" for i, (base, j) in rows)
