"""Opening of text files as users have them: packed or not, of any system and encoding, whole or damaged.

What a file is, its first bytes say and not its name. A file that is not text, that is in UTF-16 or that is
damaged gives a :class:`TextFileError`, which names the file and says what to do.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TextIO

from .files import user_path

__all__ = [
    "PACKED",
    "TextFileError",
    "bad_byte",
    "check_to_end",
    "decoration",
    "open_text",
    "pack",
    "read_text",
    "without_packing",
]

CHUNK = 1 << 16


class TextFileError(ValueError):
    """A file that is not text or is damaged; the message begins with its name."""


class _Gzip:
    """A gzip member; of a damaged one everything before the fault is given."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def __getattr__(self, name: str) -> Any:  # eof and unused_data
        return getattr(self._inner, name)

    def feed(self, data: bytes) -> Iterator[bytes]:
        before = self._inner.copy()
        try:
            yield self._inner.decompress(data)
        except zlib.error:
            for k in range(len(data)):
                yield before.decompress(data[k : k + 1])


class _Other:
    """A member of bzip2, xz or zstd, given in small steps, so that little before a fault is lost."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._given = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            found = self._inner.decompress(data, 512 if self._given < 1 << 16 else 1 << 13)
            self._given += len(found)
            yield found
            if self._inner.eof or self._inner.needs_input:
                return
            data = b""


class _Zstandard:
    """The package zstandard, which knows no steps."""

    def __init__(self, module: Any) -> None:
        self._inner = module.ZstdDecompressor().decompressobj()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(data)


def _zstandard() -> Any:
    """Return the first module that there is for zstd, or None."""
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _zstd_member() -> Any:
    module = _zstandard()
    if module is None:
        raise ImportError
    return _Zstandard(module) if module.__name__ == "zstandard" else _Other(module.ZstdDecompressor())


_MAGIC: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f\x8b": ("gzip", _Gzip),
    b"BZh": ("bzip2", lambda: _Other(bz2.BZ2Decompressor())),
    b"\xfd7zXZ\0": ("xz", lambda: _Other(lzma.LZMADecompressor())),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd_member),
}
"""First bytes → what packs like this, and how a member of it is unpacked."""


def _packing(head: bytes) -> bytes | None:
    magic = next((magic for magic in _MAGIC if head.startswith(magic)), None)
    return None if magic == b"BZh" and not head[3:4].isdigit() else magic


_NO_TEXT = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program of Windows",
    b"PK\x03\x04": "a ZIP archive (also .xlsx and .pt files are): unpack it first",
    b"PAR1": "a Parquet table (give it the ending .parquet)",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"BAM\x01": "a BAM file",
}


def _what_instead(head: bytes) -> str | None:
    """Return what a file is that begins with these bytes; None for text in UTF-8."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "but UTF-32: save it as UTF-8"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "but UTF-16: save it as UTF-8"
    for magic, name in _NO_TEXT.items():
        if head.startswith(magic):
            return f"but {name}"
    if len(head) > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "but a safetensors file"
    if head[:4].count(0) == 3:
        return "but UTF-32: save it as UTF-8"
    if b"\0" in head:
        halves = [half for half in (head[::2], head[1::2]) if not half.strip(b"\0")]
        wide = len(halves) == 1 and len(head) > 3
        return "but UTF-16: save it as UTF-8" if wide else "but binary data"
    return None


class _Stream(io.RawIOBase):
    """Bytes of a binary stream, of which some were read already to look at them."""

    def __init__(self, stream: BinaryIO | io.RawIOBase, name: str, *, owned: bool = True) -> None:
        self.inner, self.name, self._owned = stream, name, owned
        self._head = b""

    def readable(self) -> bool:
        return True

    def head(self, size: int = 16) -> bytes:
        """Return the first bytes, which are read again later."""
        while len(self._head) < size and (more := self.inner.read(size - len(self._head))):
            self._head += more
        return self._head

    def readinto(self, buffer: Any) -> int:
        if self._head:
            found, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            found = (getattr(self.inner, "read1", None) or self.inner.read)(len(buffer)) or b""
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if self._owned and not self.closed:
            self.inner.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """The content of packed members, one after the other; what is whole before a fault is given first."""

    def __init__(self, packed: _Stream, magic: bytes) -> None:
        self.name, self._packed, self._magic = packed.name, packed, magic
        self._kind, self._member = _MAGIC[magic]
        self._read = self._bytes = self._lines = 0
        self._pieces, self._rest = self._unpack(), memoryview(b"")
        self._fault: TextFileError | None = None

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            if self._fault:
                raise self._fault
            try:
                piece = next(self._pieces, None)
            except TextFileError as fault:
                self._fault = fault
                continue
            if piece is None:
                return 0
            self._bytes += len(piece)
            self._lines += piece.count(b"\n")
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _more(self) -> bytes:
        data = self._packed.read(CHUNK) or b""
        self._read += len(data)
        return data

    def _unpack(self) -> Iterator[bytes]:
        data = self._more()
        while data:
            try:
                member = self._member()
            except ImportError:
                raise TextFileError(
                    f"{self.name} is packed by {self._kind}: unpack it first, or pip install zstandard"
                ) from None
            while True:
                try:
                    yield from member.feed(data)
                except MemoryError:
                    raise
                except Exception as error:  # each has errors of its own
                    raise self._broken(f"damaged ({error})") from None
                if member.eof:
                    break
                if not (data := self._more()):
                    raise self._broken("cut off")
            data = member.unused_data.lstrip(b"\0")  # tapes end in zeros
            while len(data) < len(self._magic) and (more := self._more()):
                data = (data + more).lstrip(b"\0")
            if data and not data.startswith(self._magic):
                raise self._broken("followed by bytes that belong to no packed data")

    def _broken(self, how: str) -> TextFileError:
        return TextFileError(
            f"{self.name}: the {self._kind} file is {how}; it was read to byte {self._read:,}, which gave "
            f"{self._lines:,} lines ({self._bytes:,} bytes) of text. Fetch or write it again"
        )


def open_text(source: str | os.PathLike | BinaryIO) -> TextIO:
    r"""Open text for reading, whatever packs it: gzip, bzip2, xz or zstd are known by their first bytes.

    Joined packed members are read one after the other, and read to the end their checksums are checked.
    Lines end as on any system, a byte-order mark is dropped. A byte that is not UTF-8 comes as a lone
    surrogate, which no sequence may hold; :func:`decoration` and :func:`bad_byte` are for lines with such.

    Parameters
    ----------
    source : path or binary stream
        Of a stream such as ``sys.stdin.buffer`` what is left is read, once.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    TextFileError
        At once for UTF-16 and what is not text; while reading, where packed data are damaged or cut off,
        after everything before the fault was given.

    Examples
    --------
    >>> open_text(io.BytesIO(bz2.compress(b"ACGU\r\n"))).read()
    'ACGU\n'
    """
    if isinstance(source, str | os.PathLike):
        path = user_path(source)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: expected a file")
        if not path.exists():
            raise FileNotFoundError(f"no such file: {path}")
        stream: BinaryIO = path.open("rb")
        name = str(path)
    else:
        stream, name = source, _name_of(source)
    raw = _Stream(stream, name, owned=stream is not source)
    try:
        if magic := _packing(raw.head()):
            raw = _Stream(_Unpacked(raw, magic), name)
            if _packing(raw.head()):
                raise TextFileError(f"{name} is packed twice: unpack it once")
        if instead := _what_instead(raw.head()):
            raise TextFileError(f"{name}: not a UTF-8 text file, {instead}")
    except BaseException:
        raw.close()
        raise
    buffered = io.BufferedReader(raw, CHUNK)
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape")


def check_to_end(stream: Any) -> None:
    """Read what is left of packed text that :func:`open_text` opened, to say if it is damaged.

    To be called before an error about the content is raised: damage may be its cause.
    """
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if isinstance(raw, _Stream) and isinstance(raw.inner, _Unpacked):
        while raw.read(CHUNK):
            pass


def _name_of(stream: Any) -> str:
    name = getattr(stream, "name", None)
    return "standard input" if name in ("<stdin>", 0) else name if isinstance(name, str) else "the stream"


def decoration(text: str) -> str:
    r"""Return text with U+FFFD for every byte that is not UTF-8: for a header or comment, which mean nothing.

    Examples
    --------
    >>> decoration("M\udcfcller") == "M\ufffdller"
    True
    """
    return text if text.isascii() else "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def bad_byte(text: str) -> str | None:
    r"""Return which byte of a line read by :func:`open_text` is the first that is not UTF-8; None if all are.

    Examples
    --------
    >>> bad_byte("AC\udcfcGU")
    'byte 3: 0xFC is not UTF-8'
    """
    if text.isascii():
        return None
    k = next((k for k, c in enumerate(text) if "\udc80" <= c <= "\udcff"), None)
    if k is None:
        return None
    place = len(text[:k].encode("utf-8")) + 1
    return f"byte {place}: 0x{ord(text[k]) & 0xFF:02X} is not UTF-8"


def read_text(path: str | os.PathLike) -> str:
    r"""Return the whole text of a file of which every byte must be UTF-8, such as a table.

    Raises
    ------
    TextFileError
        As :func:`open_text`; or names the line and the byte that is not UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "x.csv.gz")
    >>> _ = path.write_bytes(pack(b"id,sequence\n", ".gz"))
    >>> read_text(path)
    'id,sequence\n'
    """
    with open_text(path) as stream:
        text = stream.read()
    if not text.isascii():
        for number, line in enumerate(text.split("\n"), 1):
            if wrong := bad_byte(line):
                raise TextFileError(f"{user_path(path)}, line {number}, {wrong}: save the file as UTF-8")
    return text


def _pack_zstd(data: bytes) -> bytes:
    module = _zstandard()
    if module is None:
        raise ImportError(".zst needs zstandard: pip install zstandard, or choose .gz")
    return module.ZstdCompressor().compress(data) if module.__name__ == "zstandard" else module.compress(data)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": _pack_zstd,
}
"""Ending of a packed file → how it is written; what is read goes by its first bytes."""


def pack(data: bytes, ending: str) -> bytes:
    r"""Return data packed as a further ending such as ``.gz`` says; as they are for any other.

    Examples
    --------
    >>> pack(b"ACGU", ".GZ")[:2], pack(b"ACGU", ".dbn")
    (b'\x1f\x8b', b'ACGU')
    """
    return PACKED.get(ending.lower(), bytes)(data)


def without_packing(name: str) -> str:
    """Return the name of a file without a last ``.gz``, ``.bz2``, ``.xz`` or ``.zst``, in any case.

    Examples
    --------
    >>> without_packing("x.fa.GZ"), without_packing("x.fa"), without_packing(".gz")
    ('x.fa', 'x.fa', '.gz')
    """
    stem, dot, ending = name.rpartition(".")
    return stem if stem and dot + ending.lower() in PACKED else name
