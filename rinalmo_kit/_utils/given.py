"""Arguments that users give: whether they are of the kind that is expected, said before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["of_kind", "same_length", "table_with", "yes_or_no"]


def yes_or_no(name: str, value: Any) -> bool:
    """Return a bool, or say that a value is none.

    Examples
    --------
    >>> yes_or_no("progress", True)
    True
    >>> yes_or_no("progress", "no")
    Traceback (most recent call last):
    TypeError: progress='no': expected True or False
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r}: expected True or False")
    return bool(value)


def of_kind(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raise TypeError, in words, unless a value is of one of these kinds.

    Examples
    --------
    >>> of_kind("s", "GGGG", (int, float), "a number")
    Traceback (most recent call last):
    TypeError: s: expected a number, found a str
    """
    if not isinstance(value, kinds):
        found = "nothing (None)" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"{name}: expected {expected}, found {found}")


def table_with(name: str, value: Any, columns: Sequence[str] = ()) -> None:
    """Raise TypeError unless a value is a DataFrame, and ValueError unless it has these columns."""
    import pandas as pd

    of_kind(name, value, pd.DataFrame, "a pandas DataFrame")
    if missing := [column for column in columns if column not in value]:
        raise ValueError(
            f"no column {missing[0]!r}; there are {', '.join(map(str, value.columns)) or 'none'}"
        )


def same_length(targets: Any, predicted: Any) -> None:
    """Raise ValueError unless targets and predictions are as many, one at least, and no number is missing."""
    for name, values in (("targets", targets), ("predictions", predicted)):
        if values.ndim != 1:
            raise ValueError(f"{name} have shape {values.shape}, expected (n,)")
        if values.dtype.kind == "f" and (bad := np.flatnonzero(~np.isfinite(values))).size:
            raise ValueError(f"{name}: number {bad[0] + 1} is {values[bad[0]]}: expected a finite one")
    if len(targets) != len(predicted) or not len(targets):
        raise ValueError(
            f"{len(targets)} targets and {len(predicted)} predictions: expected as many, and at least one"
        )
