"""Files of secondary structures: dot-bracket, CT, BPSEQ, bpRNA's ``.st``, JSON, and CSV, TSV or Parquet tables.

The ending of a file chooses its format; :data:`FORMATS` is the one place where endings are listed.
A bracket without its partner or a nucleotide with two is an error, not a pair quietly dropped.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .files import user_path, whole_file
from .structure import Structure
from .structure_rows import parse_bpseq, parse_ct, render_bpseq, render_ct
from .structure_tables import parse_json, parse_table, render_json, render_table
from .structure_text import at, parse_brackets, parse_st, render_dbn, render_st, split_name, title
from .text_files import check_to_end, open_text, pack

__all__ = ["FORMATS", "format_structure", "read_structures", "write_structures"]


def read_structures(path: str | os.PathLike) -> list[Structure]:
    r"""Read all structures of a file, or of all files of known endings in a folder and its subfolders.

    * ``.dbn .db .dot .fa .fasta .fna``: records of ``>name`` or ``#Name: name`` (may be absent), a
      sequence line and one or more dot-bracket lines of any bracket levels, each of which is a structure
      with the record's name. RNAfold's energy is left out, as are its lines about the ensemble (``-p``).
    * ``.st`` (bpRNA): the same; the annotation after it is ignored.
    * ``.ct``: ``length name``, then ``i base i-1 i+1 partner i`` a nucleotide; any number of structures.
    * ``.bpseq``: ``i base partner`` a nucleotide, 0 or −1 for no partner.
    * ``.csv .tsv .parquet``: columns ``sequence``, ``dot_bracket`` and ``name`` or ``id``.
    * ``.json .jsonl``: an object a structure, with ``sequence``, ``dot_bracket`` or ``pairs``, and ``name``.

    Lines that start with ``#`` or ``;`` are comments. Text may be packed (gzip, bzip2, xz or zstd, whatever
    the file is called), have line ends of any system, a byte-order mark, blank lines, lower case and T.
    A record without a name is called as its file. In a folder, a file that cannot be read is left out, with
    a warning.

    Raises
    ------
    ValueError
        Names the file, the line or row, the record and what was expected there; of a folder, if none of its
        files can be read.

    Examples
    --------
    >>> import tempfile
    >>> hairpin = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> path = write_structures([hairpin], Path(tempfile.mkdtemp()) / "hairpin.ct")
    >>> read_structures(path)
    [<Structure 'hairpin': 10 nt, 3 pairs>]
    """
    path = user_path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    form = _format(path)
    try:
        with at(path):
            structures = list(form.parse(path))
            if not structures:
                raise ValueError("expected a structure, found none")
    except ValueError:
        if form.render is not None and path.is_file():
            with open_text(path) as stream:
                check_to_end(stream)
        raise
    return structures


def _read_folder(path: Path) -> list[Structure]:
    shown = (p for p in path.rglob("*") if "/." not in f"/{p.relative_to(path).as_posix()}")
    files = sorted(p for p in shown if split_name(p)[1] in FORMATS and p.is_file())
    if not files:
        raise ValueError(f"{path}: no file with one of the endings {', '.join(FORMATS)}")
    structures, wrong = [], []
    for file in files:
        try:
            structures += read_structures(file)
        except (ValueError, OSError) as error:
            wrong.append(error)
    if len(wrong) == len(files):
        raise ValueError(f"{path}: none of {len(files)} files can be read; the first: {wrong[0]}") from wrong[
            0
        ]
    for error in wrong:
        warnings.warn(f"left out: {error}", stacklevel=3)
    return structures


def write_structures(structures: Structure | Iterable[Structure], path: str | os.PathLike) -> Path:
    """Write structures to a file and return its path; the ending chooses the format, as for reading.

    The file appears whole or not at all: it is written beside its place and then moved there. White
    space in a name becomes single spaces. Text is packed where the path ends in ``.gz``, ``.bz2``, ``.xz`` or,
    with the package zstandard, ``.zst``.

    Raises
    ------
    ValueError
        For an unknown ending, no structure, one without nucleotides, or several in ``.st`` or ``.bpseq``.
    """
    path = user_path(path)
    structures = [structures] if isinstance(structures, Structure) else list(structures)
    form, ending = _format(path), split_name(path)[1]
    if not structures or not all(map(len, structures)):
        raise ValueError(f"{path}: no structures to write, or one without nucleotides")
    if len(structures) > 1 and not form.several:
        raise ValueError(f"{path}: {ending} holds one structure, not {len(structures)}; use .dbn or .ct")
    if form.render is None:
        content = render_table(structures, ending)
    else:
        content = "".join(format_structure(s, ending) for s in structures).encode()
    content = pack(content, path.suffix)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def format_structure(structure: Structure, format: str) -> str:
    """Return a structure as the text of a file with the ending `format`: ``"dbn"``, ``"ct"``, ``"json"`` ….

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
    return render(structure, title(structure.name))


class Format(NamedTuple):
    """How the files of one ending are read and written."""

    parse: Callable[[Path], Iterator[Structure]]
    render: Callable[[Structure, str], str] | None  # of a structure and its name; None: a table
    several: bool = True  # False: one structure a file is written


FORMATS: dict[str, Format] = {
    **dict.fromkeys((".dbn", ".db", ".dot", ".fa", ".fasta", ".fna"), Format(parse_brackets, render_dbn)),
    ".st": Format(parse_st, render_st, several=False),
    ".ct": Format(parse_ct, render_ct),
    ".bpseq": Format(parse_bpseq, render_bpseq, several=False),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), Format(parse_table, None)),
    **dict.fromkeys((".json", ".jsonl"), Format(parse_json, render_json)),
}
"""Ending → format. Text formats are also read and written with a further ending of :data:`~.text_files.PACKED`."""


def _format(path: Path) -> Format:
    ending = split_name(path)[1]
    if ending in FORMATS:
        return FORMATS[ending]
    if ending in (".sto", ".stk", ".stockholm"):
        raise ValueError(
            f"{path} is a Stockholm alignment, which is not read: convert it (esl-reformat fasta FILE)"
        )
    raise ValueError(f"{path}: unknown ending {path.suffix!r}; known are {', '.join(FORMATS)}")
