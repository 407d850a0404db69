"""Whether a file is what its name says, and whole: for files that come without a checksum.

What is packed is unpacked to its end, so that the checksums inside are compared; nothing is unpickled or run.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["CHECKSUMMED", "check_content"]

CHECKSUMMED = frozenset((".pt", ".ckpt", ".zip", ".xlsx", ".gz", ".tgz", ".bz2", ".xz"))
"""Endings of files that have checksums of all their content inside."""


LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch.save began before they were archives
)


HTML = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<script", b"<body")


def check_content(path: Path, name: str | None = None) -> None:
    """Make sure that a file has the structure that its name says, to its last byte.

    Parameters
    ----------
    path : Path
    name : str, optional
        Its name, where it is still to get it. Known endings: ``.pt``, ``.ckpt``, ``.safetensors``, ``.zip``, ``.xlsx``,
        ``.gz``, ``.tgz``, ``.bz2``, ``.xz``, ``.RDa`` and ``.parquet``; of others only web pages are recognised.

    Raises
    ------
    ValueError
        If it is empty, a web page, cut off, damaged, or something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> _ = path.write_text("<!DOCTYPE html><title>Sign in</title>")
    >>> check_content(path, "model.pt")
    Traceback (most recent call last):
    ValueError: model.pt is a web page (it begins with '<!DOCTYPE html><title>Sign in</t'), not the file
    """
    name = name or str(path)
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ValueError(f"{name} is empty")
    begins = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begins.lower().startswith(HTML):
        shown = begins[:32].decode("latin-1")
        raise ValueError(f"{name} is a web page (it begins with {shown!r}), not the file")
    check = _CHECKS.get(Path(name).suffix.lower())
    if check is None:
        return
    try:
        check(path, start)
    except _DAMAGE as error:
        raise ValueError(
            f"{name} is cut off, damaged or something else ({error or type(error).__name__})"
        ) from None


class _Damaged(Exception):
    pass


_DAMAGE = (
    *(_Damaged, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError),
    *(RuntimeError, ValueError, KeyError),
)


def _zip(path: Path, start: bytes) -> list[str]:
    """Read every member, compare its CRC, and return the names."""
    if not start.startswith(b"PK\x03\x04"):
        raise _Damaged(f"a zip archive begins with PK, this file with {start[:8]!r}")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members or min(member.header_offset for member in members):
            raise _Damaged("its table of contents does not fit its length")
        if (broken := archive.testzip()) is not None:
            raise _Damaged(f"the checksum of {broken} differs")
    return [member.filename for member in members]


def _torch(path: Path, start: bytes) -> None:
    if start.startswith(LEGACY):  # no checksum inside; a cut one does not load
        return
    if not any(name.rpartition("/")[2] == "data.pkl" for name in _zip(path, start)):
        raise _Damaged("a zip archive, but not one of torch.save")


def _safetensors(path: Path, start: bytes) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise _Damaged(error) from None


def _parquet(path: Path, start: bytes) -> None:
    with path.open("rb") as file:
        file.seek(-4, 2)
        if not (start.startswith(b"PAR1") and file.read() == b"PAR1"):
            raise _Damaged("Parquet begins and ends with PAR1")


Opener = Callable[[Path], BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]
"""Opens a file to read its unpacked bytes."""


def _packed(opened: Opener) -> Callable[[Path, bytes], None]:
    def check(path: Path, start: bytes) -> None:
        with opened(path) as file:
            while file.read(1 << 20):
                pass

    return check


def _rda(path: Path, start: bytes) -> None:
    openers: dict[bytes, Opener] = {b"\x1f\x8b": gzip.GzipFile, b"BZ": bz2.BZ2File, b"\xfd7": lzma.LZMAFile}
    with openers.get(start[:2], lambda path: path.open("rb"))(path) as file:
        if file.read(5) not in (b"RDX2\n", b"RDX3\n"):
            raise _Damaged("not a file of R's save()")
        while file.read(1 << 20):
            pass


_CHECKS: dict[str, Callable[[Path, bytes], object]] = {
    ".pt": _torch,
    ".ckpt": _torch,
    ".safetensors": _safetensors,
    ".zip": _zip,
    ".xlsx": _zip,
    ".gz": _packed(gzip.GzipFile),
    ".tgz": _packed(gzip.GzipFile),
    ".bz2": _packed(bz2.BZ2File),
    ".xz": _packed(lzma.LZMAFile),
    ".rda": _rda,
    ".rdata": _rda,
    ".parquet": _parquet,
}
