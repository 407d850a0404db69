"""Names of records as names of files: legal on every system, and no two alike."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["LONGEST", "file_name"]

LONGEST = 180
"""Bytes of a name in UTF-8 before its number and ending; file systems take 255 of all together."""


_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])(?:\.|$)", re.IGNORECASE
)  # devices of Windows


def file_name(name: str, taken: dict[str, int], ending: str = "") -> str:
    """Return a file name for the name of a record, which no earlier call with the same `taken` returned.

    Letters, marks and digits of every script, dots, pluses, dashes and underscores stay; anything else becomes ``_``.
    A name that is taken, whatever its case or Unicode normalisation, gets a number.

    Parameters
    ----------
    name : str
    taken : dict
        What was given out so far; begin with an empty one for each folder.
    ending : str
        Such as ``".ct"``.

    Examples
    --------
    >>> taken = {}
    >>> [file_name(name, taken, ".ct") for name in ("a/b", "A|B", "../x", "con", "β-globin", "tRNA.v2")]
    ['a_b.ct', 'A_B-2.ct', '_x.ct', '_con.ct', 'β-globin.ct', 'tRNA.v2.ct']
    """
    base = chosen = _legal(name)
    number = taken.get(_key(base), 0)
    while _key(chosen) in taken:
        number += 1
        chosen = f"{base}-{number}"
    taken[_key(base)] = max(number, 1)
    taken.setdefault(_key(chosen), 1)
    return chosen + ending


def _legal(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    name = re.sub("/+", "_", "".join(c if _stays(c) else "/" for c in name))
    name = name.encode()[:LONGEST].decode(errors="ignore").rstrip(".").lstrip("-.") or "record"
    return f"_{name}" if _RESERVED.match(name) else name


def _stays(letter: str) -> bool:
    return letter.isalnum() or letter in "_.+-" or unicodedata.category(letter).startswith("M")


def _key(name: str) -> str:
    """Return what two names share that some file system takes for one."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
