"""Names that users choose from lists: what a misspelt one may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = ["did_you_mean"]


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """Return a question for the nearest of the known names, to stand behind a misspelt one; empty if none is near.

    Examples
    --------
    >>> did_you_mean("gigaa", ["giga", "mega"]), did_you_mean("Nano_SS", ["nano-ss"]), did_you_mean("x", ["giga"])
    (" (did you mean 'giga'?)", " (did you mean 'nano-ss'?)", '')
    """
    if not isinstance(given, str):
        return ""
    plain = {_plain(name): name for name in reversed(list(known))}
    near = difflib.get_close_matches(_plain(given), plain, n=1, cutoff=0.7)
    return f" (did you mean {plain[near[0]]!r}?)" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")
