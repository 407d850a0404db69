"""What a file that cannot be read looks like: its format, told by its first lines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import islice, pairwise

from .._utils.text_files import open_text
from .fasta import other_format

__all__ = ["looks_like"]

LINES = 60
"""Lines that are looked at."""

_SEQUENCE = re.compile(r"[ACGTUNRYKMSWBDHVI-]+[&+]?[ACGTUN]*", re.I | re.A)
_BRACKETS = re.compile(r"[.()\[\]{}<>,:_~|&+-]+(\s.*)?")


def _rows(pattern: str) -> Callable[[list[str]], bool]:
    """Return a function that says whether the first rows, comments and a header aside, are of a pattern."""
    row = re.compile(pattern)

    def fit(lines: list[str]) -> bool:
        data = [line for line in lines if line[:1] not in "#;>" and ":" not in line.split(None, 1)[0]][:5]
        return bool(data) and sum(row.fullmatch(line) is not None for line in data) >= max(1, len(data) - 1)

    return fit


def _folded(lines: list[str]) -> bool:
    """Return whether a sequence is followed by brackets of its length."""
    return any(
        _SEQUENCE.fullmatch(one)
        and _BRACKETS.fullmatch(next_)
        and len(next_.split()[0]) == len(one)
        and set(next_) & set(".([{<")
        for one, next_ in pairwise(lines)
    )


_WORD = r"[A-Za-z]\s+"
KINDS: tuple[tuple[str, tuple[str, ...], Callable[[list[str]], bool]], ...] = (
    (
        "a Stockholm alignment: name it .sto",
        (".sto", ".stk", ".stockholm", ".seed"),
        lambda t: _starts(t, "# STOCKHOLM"),
    ),
    ("RNAML, which is not read: convert it to CT", (), lambda t: any("<rnaml" in line for line in t)),
    (
        "PostScript of ViennaRNA: a dot plot (dp.ps) is for rinalmo_kit.structure.read_probabilities",
        (),
        lambda t: _starts(t, "%!PS"),
    ),
    ("output of NUPACK: keep the sequence and the dot-bracket alone", (), lambda t: _starts(t, "% NUPACK")),
    ("a file of PDB", (), lambda t: _starts(t, "HEADER    ", "ATOM  ", "REMARK ")),
    ("a file of mmCIF", (), lambda t: _starts(t, "data_")),
    ("bpRNA's .st: name it .st", (".st",), lambda t: _starts(t, "#Name:") and _folded(t) and _annotated(t)),
    ("dot-bracket: name it .dbn", (".dbn", ".db", ".dot", ".fa", ".fasta", ".fna", ".st"), _folded),
    ("BPSEQ: name it .bpseq", (".bpseq",), _rows(rf"\d+\s+{_WORD}-?\d+")),
    ("CT: name it .ct", (".ct",), _rows(rf"\d+\s+{_WORD}\d+\s+\d+\s+\d+(\s+\d+)*")),
    (
        "a table of probabilities, which is for rinalmo_kit.structure.read_probabilities",
        (),
        _rows(r"\d+\s+\d+\s+[\d.eE+-]+"),
    ),
    (
        "posterior probabilities, which are for rinalmo_kit.structure.read_probabilities",
        (),
        _rows(rf"\d+\s+{_WORD}\d+:[\d.].*"),
    ),
    ("JSON: name it .json", (".json", ".jsonl"), lambda t: _starts(t, "{", "[{")),
    ("a table: name it .csv", (".csv",), lambda t: "sequence" in t[0].lower().split(",")),
    ("a table: name it .tsv", (".tsv",), lambda t: "sequence" in t[0].lower().split("\t")),
    (
        "FASTA without structures: fold predicts them",
        (),
        lambda t: _starts(t, ">") and all(line[:1] == ">" or _SEQUENCE.fullmatch(line) for line in t),
    ),
)
"""What it is and what to do, the endings that it may have, and whether the first lines are of it; in this order."""


def _starts(lines: list[str], *starts: str) -> bool:
    return lines[0].startswith(starts)


def _annotated(lines: list[str]) -> bool:
    return any(re.fullmatch("[SHBIMXE]{4,}", line) for line in lines)


def looks_like(path: str | os.PathLike, *, ending: str = "") -> str:
    r"""Return what a text file looks like and what to do with it; "" if that is unknown, or what its ending says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "fold.txt")
    >>> _ = path.write_text(">x\nGGGAAACCC\n(((...))) (-1.20)\n")
    >>> looks_like(path, ending=".txt")
    'dot-bracket: name it .dbn'
    """
    try:
        with open_text(path) as stream:
            lines = [text for line in islice(stream, LINES) if (text := line.strip())]
    except (ValueError, OSError):  # not text, or damaged: another error says so
        return ""
    if not lines:
        return ""
    lines = [line.lstrip("\ufeff")[:10_000] for line in lines]
    for what, endings, fits in KINDS:
        if fits(lines):
            return "" if ending in endings else what
    return other_format(lines[0]) or ""
