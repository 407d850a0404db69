"""The tidy table of every task: its columns, what may stand in them, and the check of every row.

pandas is imported where it is needed only, so that ``import rinalmo_kit`` stays light.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..rna.alphabet import clean
from ..rna.families import FAMILIES
from ..rna.pairs import CLOSING, OPENING, UNPAIRED, pairs_from_dot_bracket

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMAS", "check_table"]

_SYMBOLS = set(OPENING + CLOSING + UNPAIRED)


_PLAIN_RNA = re.compile("[ACGUIRYKMSWBDHVN-]+")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, found {value!r}")
    return value


def _maybe_empty(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {value!r}")
    return value


def _sequence(value: Any) -> str:
    value = _text(value)
    return value if _PLAIN_RNA.fullmatch(value) else _text(clean(value, name="sequence"))


def _dot_bracket(value: Any) -> str:
    """Return a balanced string; the way to pairs, which says what is wrong, is ten times as long."""
    symbols = set(_text(value))
    balanced = symbols <= _SYMBOLS
    for opening, closing in zip(OPENING, CLOSING, strict=True):
        if opening not in symbols and closing not in symbols:
            continue
        rest = "".join(symbol for symbol in value if symbol in (opening, closing))
        while opening + closing in rest:
            rest = rest.replace(opening + closing, "")
        balanced = balanced and not rest
    if not balanced:
        pairs_from_dot_bracket(value, name="dot_bracket")
    return value


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, found {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, found {value!r}")
    return number


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value).__name__ == "NAType" or value not in allowed:
            raise ValueError(f"expected one of {', '.join(map(str, allowed))}, found {value!r}")
        return value

    return check


_STRUCTURE = {"id": _text, "sequence": _sequence, "dot_bracket": _dot_bracket}


_FOLD = _one_of(*range(10))


SCHEMAS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "bprna": {**_STRUCTURE, "family": _text, "split": _one_of("TR0", "VL0", "TS0")},
    "rivas": {
        **_STRUCTURE,
        "family": _maybe_empty,
        "split": _one_of("TrainSetA", "TestSetA", "TrainSetB", "TestSetB"),
    },
    "archiveII": {**_STRUCTURE, "family": _one_of(*FAMILIES)},
    "splice": {
        "id": _text,
        "sequence": _sequence,
        "label": _one_of(0, 1),
        "site": _one_of("donor", "acceptor"),
        "species": _text,
        "split": _one_of("train", "test"),
        "fold": _one_of(-1, *range(10)),
    },
    "rfam88": {
        "id": _text,
        "sequence": _sequence,
        "label": _text,
        "split": _one_of("train", "val", "test"),
    },
    "mrl": {
        "id": _text,
        "sequence": _sequence,
        "target": _number,
        "split": _one_of("train", "replicate", "random7600", "human7600"),
    },
    "te_el": {
        "id": _text,
        "sequence": _sequence,
        "dataset": _one_of("Muscle", "PC3", "HEK"),
        "log_te": _number,
        "log_el": _number,
        "fold": _FOLD,
    },
    "nrc13": {"id": _text, "sequence": _sequence, "label": _text, "split": _one_of("train", "test")},
    "newfam": {**_STRUCTURE, "family": _text, "split": _one_of("test")},
    "pseudobase": {**_STRUCTURE, "family": _text, "split": _one_of("test")},
    "rnastralign": {**_STRUCTURE, "family": _text, "split": _one_of("all")},
    "rfam14_9_seed": {**_STRUCTURE, "family": _text},
    "rfam": {
        **_STRUCTURE,
        "family": _text,
        "split": _one_of("train", "validation", "test"),
        "seen": _one_of("yes", "no"),
    },
    "ss_more": {
        **_STRUCTURE,
        "family": _maybe_empty,
        "source": _one_of("rfam14_9_seed", "ss_rivas", "ss_rnastralign", "ss_archiveII"),
    },
    "pretrain_ncrna": {
        "id": _text,
        "sequence": _sequence,
        "family": _maybe_empty,
        "split": _one_of("train", "val"),
    },
}
"""Name of a dataset → its columns, each with the function that returns a cell as it should be or raises."""


def check_table(table: pd.DataFrame, name: str, *, source: str) -> pd.DataFrame:
    """Return the tidy table of a dataset, or say which row cannot be right and why.

    Parameters
    ----------
    table : pandas.DataFrame
        Has at least the columns of ``SCHEMAS[name]``; others are dropped. A column ``where`` names the
        place of a row for errors, such as ``"x.csv, line 7"``; without it the row's number is said.
    name : str
        Key of :data:`SCHEMAS`.
    source : str
        File the table comes from, for errors.

    Returns
    -------
    pandas.DataFrame
        The columns in the schema's order, rows numbered from 0; sequences in upper-case RNA.

    Raises
    ------
    ValueError
        Names the file, the row or line, the id, the column and what was expected.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"id": ["a"], "sequence": ["gat"], "target": [6.5], "split": ["train"]})
    >>> check_table(rows, "mrl", source="x.csv").to_dict("records")
    [{'id': 'a', 'sequence': 'GAU', 'target': 6.5, 'split': 'train'}]
    >>> check_table(rows.assign(target=float("nan")), "mrl", source="x.csv")
    Traceback (most recent call last):
    ValueError: x.csv, row 1, 'a': column target: expected a finite number, found nan
    """
    import pandas as pd

    schema = SCHEMAS[name]
    if missing := [column for column in schema if column not in table]:
        raise ValueError(f"{source}: no column {', '.join(missing)}; there are {', '.join(map(str, table))}")
    if table.empty:
        raise ValueError(f"{source}: the table has no rows")
    cells = {column: table[column].tolist() for column in schema}
    for column, check in schema.items():
        values = cells[column]
        for row, value in enumerate(values):
            try:
                values[row] = check(value)
            except ValueError as error:
                raise ValueError(f"{_place(table, row, source)}: column {column}: {error}") from None
    if "dot_bracket" in schema:
        _check_lengths(table, cells["sequence"], cells["dot_bracket"], source)
    return pd.DataFrame(cells)


def _check_lengths(
    table: pd.DataFrame, sequences: Sequence[str], brackets: Sequence[str], source: str
) -> None:
    for row, (sequence, symbols) in enumerate(zip(sequences, brackets, strict=True)):
        if len(sequence) != len(symbols):
            raise ValueError(
                f"{_place(table, row, source)}: the sequence has {len(sequence)} nucleotides, "
                f"the dot-bracket {len(symbols)} symbols"
            )


def _place(table: pd.DataFrame, row: int, source: str) -> str:
    where = table["where"].iloc[row] if "where" in table else f"{source}, row {row + 1}"
    return f"{where}, {table['id'].iloc[row]!r}"
