"""How objects are shown: numbers with three digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["short", "short_repr"]


def short(value: Any) -> str:
    """Return the repr of a value, its numbers, however deep, with three digits.

    Examples
    --------
    >>> short(0.97560975), short({"a": (1 / 3, 2, "x")}), short([1e-5])
    ('0.976', "{'a': (0.333, 2, 'x')}", '[1e-05]')
    """
    if isinstance(value, float):
        return f"{value:.3g}" if value != int(value or 0) or abs(value) >= 1e6 else f"{value:.1f}"
    if type(value) is tuple:
        return f"({', '.join(map(short, value))}{',' * (len(value) == 1)})"
    if type(value) is list:
        return f"[{', '.join(map(short, value))}]"
    if isinstance(value, Mapping) and type(value).__repr__ is dict.__repr__:
        return f"{{{', '.join(f'{key!r}: {short(one)}' for key, one in value.items())}}}"
    return repr(value)


def short_repr(thing: Any, names: Any) -> str:
    """Return the repr of an object with these fields, numbers with three digits.

    Examples
    --------
    >>> short_repr(1j / 3, ["real", "imag"])
    'complex(real=0.0, imag=0.333)'
    """
    return f"{type(thing).__name__}({', '.join(f'{name}={short(getattr(thing, name))}' for name in names)})"
