"""Numbers that users give: what they may be, said before any work."""

from __future__ import annotations

from numbers import Real
from typing import Any

__all__ = ["positive_number", "whole_number"]

LARGEST = 2**63 - 1


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number as an int, or say that it is none.

    Examples
    --------
    >>> whole_number("steps", 1e3)
    1000
    >>> whole_number("steps", 0)
    Traceback (most recent call last):
    ValueError: steps=0: expected a whole number, 1 or more
    """
    if not _is_number(value) or value != int(value) or value < least:
        raise ValueError(f"{name}={value!r}: expected a whole number, {least} or more")
    return int(value)


def positive_number(name: str, value: Any) -> float:
    """Return a number above 0, or say that it is none.

    Examples
    --------
    >>> positive_number("lr", 1e-4)
    0.0001
    >>> positive_number("lr", float("nan"))
    Traceback (most recent call last):
    ValueError: lr=nan: expected a number above 0
    """
    if not _is_number(value) or value <= 0:
        raise ValueError(f"{name}={value!r}: expected a number above 0")
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return -LARGEST <= float(value) <= LARGEST  # neither infinite nor NaN
