"""Reading R's ``.RDa`` files as far as the ncRNA data need it: Biostrings sets of named DNA sequences.

The format is that of R's ``save()`` (R Internals, "Serialization Formats"): XDR, version 2 or 3, packed or
not. Nothing of the file is run: functions, promises and byte code are rejected. Packages that read ``.RDa``
do not know raw vectors in external pointers, which is where Biostrings keeps the nucleotides.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_dna_sets"]

_NULL = {254, 253, 252, 251, 247, 242, 241}  # NULL, the special environments, a missing argument


_MAGIC = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}


_DAMAGE = (
    EOFError,
    struct.error,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    RecursionError,
    OSError,
    lzma.LZMAError,
    zlib.error,
)


_DNA = str.maketrans(dict(zip(map(chr, [*range(1, 17), 32, 64]), "ACMGRSVTWYHKDBN-+.", strict=True)))


def read_dna_sets(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Read every ``DNAStringSet`` of an ``.RDa`` file.

    Returns
    -------
    dict of str to list of (str, str)
        Name of the R variable → (name, sequence) of each member, DNA letters as they stand.

    Raises
    ------
    ValueError
        If the file is damaged, no ``save()`` file, or holds something else than data.
    """
    try:
        content = path.read_bytes()
        content = _MAGIC.get(content[:2], bytes)(content)
        variables = _Reader(content).item()
        return {name: _dna(value) for name, value in variables.items() if _is_dna(value)}
    except _DAMAGE as error:
        raise ValueError(f"{path}: not an .RDa file of DNAStringSets, or damaged ({error!r})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _is_dna(value: Any) -> bool:
    return (
        isinstance(value, _Object)
        and "class" in value.attributes
        and (value.attributes["class"].value == ["DNAStringSet"])
    )


def _dna(value: _Object) -> list[tuple[str, str]]:
    """Cut the members of a set out of the shared pools: group is the pool (from 1), start the place in it."""
    pointers = value.attributes["pool"].attributes["xp_list"].value
    pools = [pointer.tag.value.tobytes().decode("latin-1") for pointer in pointers]
    ranges = value.attributes["ranges"].attributes
    if ranges["NAMES"] is None:
        raise ValueError("its sequences have no names; the names are the families")
    places = zip(*(ranges[key].value for key in ("NAMES", "group", "start", "width")), strict=True)
    return [
        (name, pools[group - 1][start - 1 : start - 1 + width].translate(_DNA))
        for name, group, start, width in places
    ]


@dataclass(eq=False)
class _Object:
    """An R value with its attributes; `tag` is what an external pointer holds."""

    value: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    tag: Any = None


class _Reader:
    """Reads one item after the other; `seen` are those that later ones may refer to."""

    def __init__(self, content: bytes) -> None:
        self.stream = io.BytesIO(content)
        self.seen: list[Any] = []
        if self.take(7) not in (b"RDX2\nX\n", b"RDX3\nX\n"):
            raise ValueError("not a file of R's save() in its binary (XDR) format")
        version, _, _ = (self.integer() for _ in range(3))
        if version == 3:
            self.take(self.integer())  # name of the native encoding

    def take(self, count: int) -> bytes:
        found = self.stream.read(count)
        if count < 0 or len(found) < count:
            raise EOFError("the file ends too early")
        return found

    def integer(self) -> int:
        return struct.unpack(">i", self.take(4))[0]

    def numbers(self, kind: str) -> np.ndarray:
        count = self.integer()
        if count == -1:
            raise ValueError("vectors of more than 2³¹ elements are not read")
        return np.frombuffer(self.take(count * np.dtype(kind).itemsize), dtype=kind)

    def item(self, flags: int | None = None) -> Any:
        flags = self.integer() if flags is None else flags
        kind, attributed = flags & 255, bool(flags & 512)
        if kind in _NULL:
            return None
        if kind == 255:
            return self.seen[(flags >> 8 or self.integer()) - 1]
        if kind == 2:
            return self.pairs(flags)
        if kind == 1:
            self.seen.append(self.item())
            return self.seen[-1]
        if kind == 4:
            return self.environment()
        if kind in (249, 250):  # a namespace or package, by name
            self.integer()
            self.seen.append([self.item() for _ in range(self.integer())])
            return self.seen[-1]
        if kind == 238:
            return self.alternative()
        if kind == 9:
            length = self.integer()
            return None if length == -1 else self.take(length).decode("utf-8", "replace")
        value = _Object()
        if kind == 22:
            self.seen.append(value)
            self.item()
            value.tag = self.item()
        elif kind in (16, 19):
            value.value = [self.item() for _ in range(self.integer())]
        elif kind in (10, 13, 14, 24):
            value.value = self.numbers({10: ">i4", 13: ">i4", 14: ">f8", 24: "u1"}[kind])
        elif kind != 25:
            raise ValueError(f"holds an R value of type {kind}, which is not data")
        if attributed:
            value.attributes = self.item()
        return value

    def pairs(self, flags: int) -> dict[str, Any]:
        """Read a pair list: tag, or number, → value; a last pair may end in a value instead of NULL."""
        found: dict[str, Any] = {}
        while flags & 255 == 2:
            if flags & 512:
                self.item()
            tag = self.item() if flags & 1024 else str(len(found))
            found[tag] = self.item()
            flags = self.integer()
        if flags & 255 != 254:
            found[str(len(found))] = self.item(flags)
        return found

    def environment(self) -> _Object:
        value = _Object()
        self.integer()
        self.seen.append(value)
        for _ in range(4):
            self.item()
        return value

    def alternative(self) -> _Object:
        """Read a vector in one of R's short forms: ``1:n``, numbers to be shown as text, or notes on its order."""
        info, state = self.item(), self.item()
        self.item()
        form = info["0"]
        if form in ("compact_intseq", "compact_realseq"):
            count, first, step = state.value
            return _Object(np.arange(count) * step + first)
        if form == "deferred_string":
            return _Object([f"{number:.15g}" for number in state["0"].value])
        if form.startswith("wrap_"):
            return state["0"] if isinstance(state, dict) else state.value[0]
        raise ValueError(f"holds a vector in the form {form!r}, which is not read")
