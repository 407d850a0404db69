"""Files of a folder, or of zip and tar archives that may lie inside each other, read without trust.

Only files that are asked for are read, none is run, links are passed over, and a path that leads out of
the archive is rejected.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

__all__ = ["unpacked"]

_ARCHIVE = re.compile(r"\.(zip|tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz)$", re.IGNORECASE)


_PACKED: dict[bytes, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}


_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError),  # a method of packing that is not known; a password
)


@contextmanager
def unpacked(source: Path, wanted: str) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the files of a folder or archive whose relative path matches the pattern `wanted`.

    Files of archives are copied to a temporary folder that goes away again; so are those of a folder,
    for a parser to change them as it likes.

    Yields
    ------
    Path, list of Path
        The temporary folder and the files in it, sorted.

    Raises
    ------
    FileNotFoundError
        If `source` does not exist.
    ValueError
        If no file matches, an archive is damaged, or a path leads out of it.
    """
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    pattern = re.compile(wanted)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with saying(folder, source):
            for path, stream in _members(source):
                if pattern.search(path):
                    target = folder / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(_content(stream, f"{source}: {path}"))
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            if not files:
                raise ValueError(f"{source}: no file in it matches {wanted!r}; is it the original?")
            yield folder, files


@contextmanager
def saying(folder: Path, source: Path) -> Iterator[None]:
    """Make errors name the file inside `source` instead of its copy in the temporary folder."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(f"{folder}/", f"{source}: ")) from None


def _content(stream: IO[bytes], where: str) -> bytes:
    try:
        return stream.read()
    except _DAMAGE as error:
        raise ValueError(f"{where}: cut off or damaged ({error}); get the file again") from None


def _members(source: Path | IO[bytes], name: str = "") -> Iterator[tuple[str, IO[bytes]]]:
    """Yield relative path and content of every file, those of archives inside included."""
    if isinstance(source, Path) and source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            yield from _opened(path.relative_to(source).as_posix(), path)
    elif isinstance(source, Path) and not _ARCHIVE.search(source.name):
        yield from _opened(source.name, source)
    else:
        name = name or source.name
        try:
            with source.open("rb") if isinstance(source, Path) else source as stream:
                start = stream.read(4)
                stream.seek(0)
                yield from _zipped(stream) if start.startswith(b"PK") else _tarred(stream, start)
        except _DAMAGE as error:
            raise ValueError(f"{name}: not an archive, or damaged ({error})") from None


def _opened(path: str, file: Path | IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    parts = PurePosixPath(path).parts
    if ".." in parts or path.startswith("/") or "\\" in path or ":" in parts[0]:
        raise ValueError(f"the archive holds the unsafe path {path!r}: it is not the original file")
    if any(part.startswith((".", "__MACOSX")) for part in parts):
        return
    if _ARCHIVE.search(path):
        stem = _ARCHIVE.sub("", path)
        nested = file if isinstance(file, Path) else io.BytesIO(_content(file, path))
        yield from ((f"{stem}/{inner}", stream) for inner, stream in _members(nested, path))
    elif isinstance(file, Path):
        with file.open("rb") as stream:
            yield path, stream
    else:
        yield path, file


def _zipped(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as file:
                    yield from _opened(member.filename, file)


def _tarred(stream: IO[bytes], start: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    with contextlib.ExitStack() as stack:
        if opener := _PACKED.get(start[:2]):
            stream = cast("IO[bytes]", stack.enter_context(opener(stream)))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:  # links and devices are skipped
                    yield from _opened(member.name.removeprefix("./"), file)
        while stream.read(1 << 20):  # to its end, where the checksum is
            pass
