"""Cells of tables: what is missing, the text of one, and numbers of several in one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["arrays_as_text", "cell_text", "is_missing"]


def is_missing(value: Any) -> bool:
    """Return whether a cell holds None, NaN, NaT or pd.NA."""
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def cell_text(value: Any, what: str) -> str:
    """Return the text of a cell, letter for letter.

    Parameters
    ----------
    value
        Text, or a number, truth value or date, which is written out; bytes are UTF-8.
    what : str
        What is expected, for the error.

    Raises
    ------
    ValueError
        If there is nothing, or nothing that has a text.

    Examples
    --------
    >>> cell_text("007", "an id"), cell_text(7, "an id")
    ('007', '7')
    """
    import pandas as pd

    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"expected {what}, found {value!r}, which is not UTF-8") from None
    if not pd.api.types.is_scalar(value):
        raise ValueError(f"expected {what}, found a {type(value).__name__}")
    if is_missing(value) or not str(value).strip():
        raise ValueError(f"expected {what}, found {value!r}")
    return str(value)


def arrays_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose cells that hold arrays are text, numbers separated by spaces, as CSV needs it.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"name": ["a"], "prediction": [np.array([0.5, np.nan, 1 / 3])]})
    >>> arrays_as_text(table)["prediction"].tolist()
    ['0.5 nan 0.333333']
    """
    changed = {
        name: [" ".join(f"{value:.6g}" for value in cell) for cell in table[name]]
        for name in table
        if len(table) and isinstance(table[name].iloc[0], np.ndarray)
    }
    return table.assign(**changed) if changed else table
