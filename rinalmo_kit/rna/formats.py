"""Files of secondary structures: dot-bracket, CT, BPSEQ, bpRNA's ``.st``, JSON, tables, Stockholm alignments.

The ending of a file chooses its format; :data:`FORMATS` lists endings and what reads and writes them,
:data:`READ_ONLY` those that are read alone.
A bracket without its partner or a nucleotide with two is an error, not a pair quietly dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .folded import FoldedRNA
from .stockholm import parse_stockholm
from .structure_rows import parse_bpseq, parse_ct, render_bpseq, render_ct
from .structure_tables import parse_json, parse_table, render_json
from .structure_text import parse_brackets, parse_st, render_dbn, render_st, split_name, title

__all__ = ["FORMATS", "NAMES", "READ_ONLY", "Format", "format_structure"]


def format_structure(structure: FoldedRNA, format: str) -> str:
    """Return a structure as the text of a file with the ending `format`: ``"dbn"``, ``"ct"``, ``"json"`` ….

    CT is written as Zuker's mfold does: tab-separated, the "next" index of the last nucleotide is 0.

    Examples
    --------
    >>> from rinalmo_kit import Structure
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
    """How the files of one ending are read and written.

    Parameters
    ----------
    name : str
        What a user calls the format, such as in ``rinalmo-kit fold -f``.
    parse : callable
        Takes a path and yields the structures of the file.
    render : callable or None
        Takes a structure and its name and returns text; None for a table.
    several : bool
        Whether a file can hold several structures when it is written.
    media_type : str
    """

    name: str
    parse: Callable[[Path], Iterator[FoldedRNA]]
    render: Callable[[FoldedRNA, str], str] | None
    several: bool = True
    media_type: str = "text/plain"


FORMATS: dict[str, Format] = {
    **dict.fromkeys(
        (".dbn", ".db", ".dot", ".fa", ".fasta", ".fna"), Format("dbn", parse_brackets, render_dbn)
    ),
    ".ct": Format("ct", parse_ct, render_ct),
    ".bpseq": Format("bpseq", parse_bpseq, render_bpseq, several=False),
    ".st": Format("st", parse_st, render_st, several=False),
    **dict.fromkeys(
        (".json", ".jsonl"), Format("json", parse_json, render_json, media_type="application/json")
    ),
    ".csv": Format("csv", parse_table, None, media_type="text/csv"),
    ".tsv": Format("tsv", parse_table, None, media_type="text/tab-separated-values"),
    ".parquet": Format("parquet", parse_table, None, media_type="application/vnd.apache.parquet"),
}
"""Ending → format that is read and written: readers, writers, command line and folding studio take it from here.

Text formats are also read and written with a further ending of :data:`~.text_files.PACKED`.
"""


READ_ONLY: dict[str, Format] = dict.fromkeys(
    (".sto", ".stk", ".stockholm", ".seed"), Format("stockholm", parse_stockholm, None)
)
"""Ending → format that is read and not written."""


NAMES = tuple(dict.fromkeys(form.name for form in FORMATS.values()))
"""Names of the formats; the first is the default."""


def _format(path: Path, *, writing: bool = True) -> Format:
    ending = split_name(path)[1]
    if ending in FORMATS:
        return FORMATS[ending]
    if ending in READ_ONLY and not writing:
        return READ_ONLY[ending]
    if ending in READ_ONLY:
        raise ValueError(f"{path}: {READ_ONLY[ending].name} is read and not written; choose .dbn or .ct")
    raise ValueError(f"{path}: unknown ending {path.suffix!r}; known are {', '.join(FORMATS)}")
