"""Output files of the commands: the ending chooses the format, and finished records are not lost."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import importlib.util
import io
import lzma
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from .._utils.cells import arrays_as_text
from .._utils.filenames import file_name
from .._utils.files import (
    atomic_write,
    check_output,
    is_same,
    is_stream,
    left_over,
    open_stream,
    output_lock,
    remove_left_over,
    user_path,
)
from ..rna.formats import FORMATS, format_structure
from ..rna.structure_text import title
from ..structure import Structure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STRUCTURES", "TABLES", "Output", "Writer", "structures", "tables"]

STRUCTURES = {ending: form.name for ending, form in FORMATS.items()}
"""Endings of files of structures, and what is in them."""


TABLES = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
"""Endings of tables."""


SINGLE = {form.name for form in FORMATS.values() if not form.several}
"""Formats that hold one structure a file."""


PACKERS: dict[str, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    ".gz": lambda stream: gzip.GzipFile("", "wb", fileobj=stream, mtime=0),
    ".bz2": lambda stream: bz2.BZ2File(stream, "wb"),
    ".xz": lambda stream: lzma.LZMAFile(stream, "wb"),
}


FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the next record will fare no better


ROWS = 1000  # of a row group in Parquet


class Output(NamedTuple):
    """An output that a user named: what goes into it and where it is."""

    path: Path | None  # None: standard output
    content: str
    packing: str = ""
    folder: bool = False

    @property
    def place(self) -> Path:
        """Path of an output that is not standard output."""
        if self.path is None:
            raise ValueError("standard output has no path")
        return self.path

    @property
    def part(self) -> Path:
        """The file's name until it is finished."""
        return self.place.with_name(f"{self.place.name}.part")

    @classmethod
    def of(
        cls, given: str | None, format: str | None, endings: Mapping[str, str], *, folders: bool = False
    ) -> Output:
        """Return the output that a path and a format name.

        Parameters
        ----------
        given : str or None
            As the user gave it. A folder exists or ends with a slash, and gets a file for each record.
        format : str or None
            What the user said is to be in it: of standard output and folders, where no ending says so.
        endings : mapping
            Known endings and what is in such a file; the first is the default.
        folders : bool
            Whether each record may be a file.

        Raises
        ------
        ValueError
            For an ending that is unknown, or contradicts `format`.

        Examples
        --------
        >>> Output.of("my.ct.GZ", None, STRUCTURES)[1:]
        ('ct', '.gz', False)
        """
        default = format or next(iter(endings.values()))
        if given in (None, "-"):
            return cls(None, default)
        path = user_path(given)
        rest, packing = (
            (path.stem, path.suffix.lower()) if path.suffix.lower() in PACKERS else (path.name, "")
        )
        ending = Path(rest).suffix.lower()
        content = endings.get(ending)
        if content is None and is_stream(path):
            return cls(path, default)
        if path.is_dir() or given.endswith(("/", os.sep)) or (format in SINGLE and content is None):
            if not folders:
                raise IsADirectoryError(f"{given} is a folder: expected the name of a file")
            return cls(path, default, folder=True)
        if content is None:
            known = f"{', '.join(endings)}; text also with {', '.join(PACKERS)}"
            raise ValueError(f"{given}: unknown ending {ending or path.suffix!r}; known are {known}")
        if content == "parquet" and packing:
            raise ValueError(f"{given}: Parquet is packed as it is; leave {path.suffix} out")
        if format not in (None, content):
            raise ValueError(f"{given}: a file with this ending holds {content}, not {format}; leave -f out")
        return cls(path, content, packing)

    def check(self, inputs: Iterable[str]) -> None:
        """Make sure, before the work, that all can be written, and nothing that is read."""
        inputs = ["/dev/stdin" if one == "-" else one for one in inputs]
        if self.content == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ImportError("tables in Parquet need pyarrow: pip install 'rinalmo-kit[tables]'")
        if self.path is None and sys.stdout is None:
            raise ValueError("standard output is closed: name an --output")
        if self.path is None:
            check_output(Path("/dev/stdout"), inputs=inputs if Path("/dev/stdout").exists() else ())
        elif self.folder:
            if self.path.exists() and not self.path.is_dir():
                raise NotADirectoryError(f"{self.path} is a file: expected a folder")
            self.path.mkdir(parents=True, exist_ok=True)
            check_output(self.path / f"record.{self.content}")
        else:
            check_output(self.path, inputs=inputs)
            if not is_stream(self.path):
                check_output(self.part, inputs=inputs)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the output; see :func:`rinalmo_kit._utils.files.output_lock`."""
        return nullcontext() if self.path is None else output_lock(self.path)


# --- one file ------------------------------------------------------------------------------------------


class Writer:
    """Writes records as they are finished, into one file or stream.

    A file is called ``OUTPUT.part`` until it is whole: what was finished before a crash is there, and a
    complete-looking file is complete.

    Parameters
    ----------
    output : Output
    rows : callable
        Takes the stream and the content, such as ``"csv"``, and gives a context with a function that writes one record.

    Attributes
    ----------
    finished : int
        Records that were written.
    whole : bool
        Set it to False where the input ended too early: the file then keeps the name ``OUTPUT.part``.
    """

    def __init__(self, output: Output, rows: Callable[[Any, str], AbstractContextManager]) -> None:
        self.output, self.rows, self.finished, self.whole = output, rows, 0, True
        self.is_file = output.path is not None and not is_stream(output.path)

    def __enter__(self) -> Writer:
        self.open = ExitStack()
        self.stream = self.open.enter_context(self._stream())
        self.add = self.open.enter_context(self.rows(self.stream, self.output.content))
        return self

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        path, packing = self.output.path, self.output.packing
        if path is None:
            yield sys.stdout
            return
        with ExitStack() as stack:
            file = self.output.part.open("wb") if self.is_file else open_stream(path)
            raw: IO[bytes] = stack.enter_context(file)
            if packing:
                raw = cast("IO[bytes]", stack.enter_context(PACKERS[packing](raw)))
            text = self.output.content != "parquet"
            yield stack.enter_context(io.TextIOWrapper(raw, "utf-8", newline="\n")) if text else raw

    def write(self, record: Any, count: int = 1) -> None:
        """Write a record, or a table of `count` records; it is on its way to the disk when this returns."""
        self.add(record)
        self.stream.flush()
        self.finished += count

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.open.close()
        if not self.is_file:
            return
        part = self.output.part
        if not self.finished:
            part.unlink()
        elif kind is None and self.whole:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(self.output.place)
            remove_left_over(self.output.place)
        else:
            print(f"rinalmo-kit: {self.finished} finished records are kept in {part}", file=sys.stderr)


COLUMNS = ("name", "sequence", "dot_bracket")


@contextmanager
def structures(stream: Any, content: str) -> Iterator[Callable[[Structure], object]]:
    """Yield a function that writes one structure to a stream."""
    if content == "parquet":
        import pyarrow as pa

        waiting: list[tuple[str, ...]] = []

        def flush() -> None:
            columns = zip(*waiting, strict=True) if waiting else ()
            add(pa.table({k: pa.array(v, pa.string()) for k, v in zip(COLUMNS, columns, strict=False)}))
            waiting.clear()

        def write(structure: Structure) -> None:
            waiting.append(_row(structure))
            if len(waiting) == ROWS:
                flush()

        with _parquet(stream) as add:
            try:
                yield write
            finally:
                if waiting:
                    flush()
    elif content in ("csv", "tsv"):
        rows = csv.writer(stream, delimiter="," if content == "csv" else "\t", lineterminator="\n")
        rows.writerow(COLUMNS)
        yield lambda structure: rows.writerow(_row(structure))
    else:
        yield lambda structure: stream.write(format_structure(structure, content))


def _row(structure: Structure) -> tuple[str, str, str]:
    return title(structure.name), structure.sequence, structure.dot_bracket


@contextmanager
def tables(stream: Any, content: str) -> Iterator[Callable[[pd.DataFrame], object]]:
    """Yield a function that writes the next rows of a table to a stream."""
    if content == "parquet":
        import pyarrow as pa

        with _parquet(stream) as add:
            yield lambda table: add(pa.Table.from_pandas(table, preserve_index=False))
        return
    separator, header = "," if content == "csv" else "\t", True

    def write(table: pd.DataFrame) -> None:
        nonlocal header
        arrays_as_text(table).to_csv(
            stream, sep=separator, header=header, index=False, float_format="%.6g", lineterminator="\n"
        )
        header = False

    yield write


@contextmanager
def _parquet(stream: BinaryIO) -> Iterator[Callable[[Any], None]]:
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer = None

        def add(table: Any) -> None:
            nonlocal writer
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(stream, table.schema))
            writer.write_table(table)

        yield add


# --- a file for each record ------------------------------------------------------------------------------


class Folder:
    """Writes each structure to a file of its own; the names of the records become names of files.

    A record whose file cannot be written raises a ValueError that names it; the next ones can.
    """

    def __init__(self, output: Output, inputs: Iterable[str]) -> None:
        self.folder, self.ending, self.finished, self.whole = output.place, f".{output.content}", 0, True
        self.taken: dict[str, int] = {}
        for path in map(user_path, inputs):  # is not written over
            if path.name.endswith(self.ending) and is_same(path.parent, self.folder):
                file_name(path.name.removesuffix(self.ending), self.taken)
        self.left = left_over(self.folder)

    def __enter__(self) -> Folder:
        return self

    def write(self, structure: Structure) -> None:
        """Write one structure."""
        path = self.folder / file_name(structure.name, self.taken, self.ending)
        remove_left_over(path, self.left)
        try:
            with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
                with structures(file, self.ending[1:]) as write:
                    write(structure)
        except OSError as error:
            if error.errno in FATAL:
                raise
            reason = error.strerror or error
            raise ValueError(f"{structure.name!r} cannot be written to {path}: {reason}") from error
        self.finished += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.finished and not (kind is None and self.whole):
            print(f"rinalmo-kit: {self.finished} finished records are kept in {self.folder}", file=sys.stderr)
