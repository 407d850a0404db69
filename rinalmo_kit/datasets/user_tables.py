"""Tables of users: CSV, TSV, Parquet, and files of structures."""

from __future__ import annotations

import csv
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.cells import cell_text, is_missing
from .._utils.files import user_path
from .._utils.text_files import open_text
from ..structure import Structure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_table", "cell_text", "ending_of", "is_missing", "missing_columns", "names_table", "read_table"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd")


SOURCE = "rinalmo_kit source"
"""Key of ``DataFrame.attrs`` under which :func:`read_table` notes the file."""


LOOKS = {
    b"PK\3\4": "an Excel workbook or another ZIP archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind: save the sheet as CSV",
    b"PAR1": "Parquet: give its name the ending .parquet",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "HDF5",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
    b">": "FASTA",
}


BINARY = 8
"""Of :data:`LOOKS` the first are never the beginning of a table."""


def read_table(path: str | os.PathLike, *, task: str | None = None) -> pd.DataFrame | list[Structure]:
    r"""Return a user's table from CSV, TSV or Parquet; for structures also from :mod:`rinalmo_kit.rna.formats`.

    The ending, in any case, says what a file is; text tables may be compressed. Every cell of a text table is the
    text that stands there: ``007`` and ``NA`` are no numbers.

    Parameters
    ----------
    path : path
    task : str, optional
        ``"structure"`` for every format of structures too.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as a table: names the file, the line where there is one, and what it looks like.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.csv")
    >>> _ = path.write_text("id,sequence,label\n00001,ACGU,NA\n")
    >>> read_table(path).to_dict("records")
    [{'id': '00001', 'sequence': 'ACGU', 'label': 'NA'}]
    """
    from ..structure import read_structures

    path = user_path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    ending = ending_of(path)
    if ending == ".parquet":
        table = _read_parquet(path)
    elif ending in SEPARATORS:
        table = _read_text(path, SEPARATORS[ending])
    elif task == "structure":
        return read_structures(path)
    else:
        raise ValueError(f"{path}: expected .csv, .tsv or .parquet{_looks(path)}")
    table.attrs[SOURCE] = str(path)
    return table


def ending_of(path: str | os.PathLike) -> str:
    """Return the ending of a file's name in lower case, without that of a packing program.

    Examples
    --------
    >>> ending_of("Mine.CSV.gz"), ending_of("x.parquet")
    ('.csv', '.parquet')
    """
    name = Path(path).name.lower()
    packed = next((ending for ending in PACKED if name.endswith(ending)), "")
    return Path(name.removesuffix(packed)).suffix


def names_table(text: str, *, known: Iterable[str], task: str | None) -> bool:
    """Return whether a text is the path of a table and not a name among the known ones.

    Examples
    --------
    >>> names_table("mine.csv", known=["mrl"], task=None), names_table("mlr", known=["mrl"], task=None)
    (True, False)
    """
    return text not in known and (task is not None or any(c in text for c in "./\\~"))


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.is_file() and path.name.lower().endswith(PACKED):
        raise ValueError(f"{path}: Parquet is compressed inside; unpack it first")
    try:
        return pd.read_parquet(path)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # of a damaged file, pyarrow raises what it comes to
        raise ValueError(
            f"{path} is not a Parquet table, or a damaged one{_looks(path)} ({error})"
        ) from error


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    header, *rows = _rows(path, _decoded(path), separator)
    if not rows:
        raise ValueError(f"{path}: the table has a header and no rows{_looks(path)}")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _decoded(path: Path) -> str:
    """Return the text of a file, which has to be UTF-8; a byte that is not is named by its line."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected a table")
    _check_text(path, _head(path))
    try:
        with open_text(path) as stream:
            buffer = getattr(stream, "buffer", None)
            raw = stream.read().encode("utf-8", "surrogateescape") if buffer is None else buffer.read()
    except (EOFError, zlib.error, OSError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged or cut off: {error}; copy it again") from error
    _check_text(path, raw)
    if b"\0" in raw:
        raise ValueError(f"{path} is not a table of text: it holds NUL bytes")
    if not raw.strip():
        raise ValueError(f"{path} is empty: expected a table with a header")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ValueError(
            f"{path}, line {line}, byte {column}: 0x{raw[error.start]:02x} is not UTF-8. "
            "Is it Latin-1 or Windows-1252? Save the table as UTF-8"
        ) from None


def _rows(path: Path, text: str, separator: str) -> Iterator[list[str]]:
    """Yield the header and the rows of a table of text, each of as many cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    with _long_cells():
        try:
            for row in reader:
                if len(row) <= 1 and not "".join(row).strip():  # a blank line
                    continue
                if not header:
                    header = _header(path, row, separator)
                    yield header
                elif len(row) != len(header):
                    raise ValueError(
                        f"{path} is not a table: line {reader.line_num} has {len(row)} cells, "
                        f"the header {len(header)}"
                    )
                else:
                    yield row
        except csv.Error as error:
            raise ValueError(f"{path} is not a table: line {reader.line_num}: {error}") from error


def _header(path: Path, row: list[str], separator: str) -> list[str]:
    others = [other for other in NAMES if other != separator and other in row[0]]
    if len(row) == 1 and others:
        raise ValueError(
            f"{path} is not a table separated by {NAMES[separator]}: its first line, {row[0][:60]!r}, "
            f"looks like {NAMES[others[0]]}"
        )
    if twice := sorted({name for name in row if name and row.count(name) > 1}):
        raise ValueError(f"{path}: the column {', '.join(map(repr, twice))} is there twice")
    return [name or f"Unnamed: {i}" for i, name in enumerate(row)]


@contextmanager
def _long_cells() -> Iterator[None]:
    """Raise the csv module's limit on the length of a cell: chromosomes are longer."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_text(path: Path, raw: bytes) -> None:
    if raw.startswith(tuple(LOOKS)[:BINARY]):
        raise ValueError(f"{path} is not a table of text{_looks_of(raw)}")


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none of a pipe, which gives them only once."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(100)


def _looks(path: Path) -> str:
    raw = _head(path)
    return _looks_of(raw) or (" (it is empty)" if path.is_file() and not raw else "")


def _looks_of(raw: bytes) -> str:
    start = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((f"; it looks like {kind}" for magic, kind in LOOKS.items() if start.startswith(magic)), "")


# --- other forms ---------------------------------------------------------------------------------------


def as_table(data: Any, *, task: str | None = None) -> pd.DataFrame:
    """Return a user's data as a DataFrame.

    Parameters
    ----------
    data
        A DataFrame; the path of a table (:func:`read_table`); columns, as ``{"sequence": [...], "label": [...]}``;
        rows, as a list of dicts; Structures; or anything with ``to_pandas()``, such as a Dataset of Hugging Face.
    task : str, optional
        As for :func:`read_table`.

    Raises
    ------
    TypeError
        For anything else, by the name of its type.
    ValueError
        For columns of different lengths, or the same name twice.

    Examples
    --------
    >>> as_table([{"sequence": "ACGU", "label": 1}]).to_dict("list")
    {'sequence': ['ACGU'], 'label': [1]}
    """
    import pandas as pd

    if isinstance(data, str | os.PathLike):
        data = read_table(data, task=task)
    if type(data).__module__.split(".")[0] == "polars":
        if hasattr(data, "collect"):
            raise TypeError(f"a {type(data).__name__} has no rows yet: pass {type(data).__name__}.collect()")
        if hasattr(data, "get_column"):  # its to_pandas needs pyarrow
            data = {name: data.get_column(name).to_list() for name in data.columns}
    if callable(getattr(data, "read_pandas", None)):  # a RecordBatchReader of pyarrow
        data = data.read_pandas()
    if callable(getattr(data, "to_pandas", None)):
        data = data.to_pandas()
    if isinstance(data, Mapping):
        data = _of_columns(data)
    elif not isinstance(data, pd.DataFrame):
        data = _of_rows(data)
    if (twice := data.columns[data.columns.duplicated()]).size:
        raise ValueError(f"the column {twice[0]!r} is there twice")
    return data


def _of_columns(data: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    for name, values in data.items():
        if callable(getattr(values, "to_pandas", None)) and hasattr(values, "features"):
            raise TypeError(f"a {type(data).__name__} of several splits: give one of them, as data[{name!r}]")
        if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
            raise TypeError(
                f"column {name!r} is a {type(values).__name__}: expected columns, as "
                "{'sequence': [...], 'label': [...]}"
            )
    columns = {name: list(values) for name, values in data.items()}
    if len({len(values) for values in columns.values()}) > 1:
        sizes = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise ValueError(f"the columns have different numbers of rows: {sizes}")
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


TAKEN = (
    "expected a DataFrame, a dict of columns, a list of dicts, a Dataset, Structures, or the path of a table"
)


def _of_rows(data: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(data, bytes | set | frozenset | pd.Series | io.IOBase) or not isinstance(data, Iterable):
        raise TypeError(f"a {type(data).__name__} is not a table: {TAKEN}")
    rows = list(data)
    if rows and all(isinstance(row, Structure) for row in rows):
        rows = [{"id": s.name, "sequence": s.sequence, "dot_bracket": s.dot_bracket} for s in rows]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise TypeError(f"item {number} of the {type(data).__name__} is a {type(row).__name__}: {TAKEN}")
    return pd.DataFrame(rows, dtype=object)


def missing_columns(table: pd.DataFrame, wanted: str) -> str:
    """Return what to say of a table that has not the columns that are wanted.

    Examples
    --------
    >>> import pandas as pd
    >>> missing_columns(pd.DataFrame(columns=["ACGUGCA", "a"]), "sequence and label")
    'the table needs the columns sequence and label; it has ACGUGCA, a. Is its first line, the header, missing?'
    """
    names = [str(name) for name in table]
    headless = any(re.fullmatch("[ACGTUNacgtun]{4,}", name) for name in names)
    hint = ". Is its first line, the header, missing?" if headless else ""
    return f"the table needs the columns {wanted}; it has {', '.join(names) or 'none'}{hint}"
