"""Terminal output of a command: UTF-8 whatever the terminal's encoding; a failure to print never ends the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

__all__ = ["screen"]


@contextmanager
def screen() -> Iterator[None]:
    """Make standard output UTF-8, and standard error a place where nothing fails, for as long as a command runs.

    Examples
    --------
    >>> with screen():
    ...     print("β-globin")
    β-globin
    """
    notes = sys.stderr
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(
            encoding="utf-8", errors="surrogateescape"
        )  # names of files come back as they were
    if hasattr(notes, "reconfigure"):
        notes.reconfigure(encoding="utf-8", errors="backslashreplace")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stderr = Notes(nowhere if notes is None else notes)  # None: it was closed before the start
        try:
            yield
        finally:
            sys.stderr = notes


class Notes:
    """A stream that leaves out what cannot be shown, where its reader has gone or the disk is full."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, if it can be."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if it can be."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
