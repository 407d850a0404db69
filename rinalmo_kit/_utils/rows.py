"""Which rows of a table: conditions as data, read by hand from a small language and never evaluated.

A condition is text such as ``split == 'train' and length <= 500`` in a recipe, in a run's notes or in a model file,
whose author nobody knows. :func:`parse` knows comparisons of one column with values, ``and``, ``or`` and parentheses,
and nothing else: what it does not know is rejected.
"""

from __future__ import annotations

import operator
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Clause", "Fold", "Joined", "parse", "part_of", "select"]

FORM = "split == 'train' and length <= 500, or family in ('tRNA', '5s'), or fold != (@fold + 9) % 10"


DEEPEST = 20
"""Parentheses inside each other."""


TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<fold>@fold\b)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign>==|!=|<=|>=|[<>()\[\],+%])
    )""",
    re.VERBOSE,
)


COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


class Fold(NamedTuple):
    """The number of the fold, moved on: ``(fold + shift) % modulo``, or the fold itself without a modulo."""

    shift: int = 0
    modulo: int | None = None

    def of(self, fold: int) -> int:
        """Return the number for a fold."""
        return fold + self.shift if self.modulo is None else (fold + self.shift) % self.modulo


class Clause(NamedTuple):
    """One comparison: a column, an operator, and a value, or several for ``in`` and ``not in``."""

    column: str
    operator: str
    value: str | float | Fold | tuple[str | float, ...]


class Joined(NamedTuple):
    """Conditions of which all, or any, are to hold."""

    how: Literal["and", "or"]
    parts: tuple[Clause | Joined, ...]


def parse(text: str) -> Clause | Joined:
    """Read a condition.

    Parameters
    ----------
    text : str
        Comparisons (``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``) of a column with text in quotes,
        numbers, a list in parentheses, or ``@fold``, the number of the fold; joined by ``and``, ``or``, parentheses.

    Raises
    ------
    ValueError
        For anything else; says where, and shows the form.

    Examples
    --------
    >>> parse("split == 'train'")
    Clause(column='split', operator='==', value='train')
    >>> parse("fold == (@fold + 9) % 10").value.of(0)
    9
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a condition such as {FORM}; found {type(text).__name__}")
    return _Parser(text).whole()


def select(table: pd.DataFrame, text: str, *, fold: int = 0) -> pd.DataFrame:
    """Return the rows of a table for which a condition holds.

    Parameters
    ----------
    table : DataFrame
        Beside its columns, ``length`` is the length of the sequence and ``part`` its :func:`part_of`.
    text : str
        As for :func:`parse`.
    fold : int
        What ``@fold`` stands for.

    Raises
    ------
    ValueError
        For a condition that cannot be read, a column that the table does not have, or values that do not compare.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"sequence": ["ACGU", "GG", "GGGG"], "fold": [0, 1, 2]})
    >>> select(table, "length == 4 and fold != @fold", fold=2).index.tolist()
    [0]
    """
    return table[_holds(table, parse(text), fold)]


def part_of(sequence: str) -> int:
    """Return a number from 0 to 9 that depends on the sequence alone: equal sequences never part."""
    return zlib.crc32(sequence.encode()) % 10


COMPUTED: dict[str, Callable[[str], int]] = {"length": len, "part": part_of}
"""Columns that every table has: what they are of a sequence."""


def _holds(table: pd.DataFrame, condition: Clause | Joined, fold: int) -> NDArray[np.bool_]:
    if isinstance(condition, Joined):
        found = [_holds(table, part, fold) for part in condition.parts]
        return (np.logical_and if condition.how == "and" else np.logical_or).reduce(found)
    column, sign, value = condition
    if column in COMPUTED and "sequence" in table:
        values = table["sequence"].map(COMPUTED[column])
    elif column in table:
        values = table[column]
    else:
        raise ValueError(f"the table has no column {column!r}; it has {', '.join(map(str, table.columns))}")
    value = value.of(fold) if isinstance(value, Fold) else value
    if sign in COMPARE:
        try:
            found = COMPARE[sign](values, value)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"the column {column!r} cannot be compared with {value!r}: {error}") from error
    else:
        found = values.isin(value)
        found = ~found if sign == "not in" else found
    return found.to_numpy(dtype=bool, na_value=False)


class _Parser:
    """Reads a condition from left to right; a step knows the token before it, and looks at one more."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.kind, self.token = "", ""
        self.step()

    def step(self) -> str:
        """Go to the next token; → the one that was there."""
        before, self.start = self.token, self.at
        match = TOKEN.match(self.text, self.at)
        if match is None:
            if self.text[self.at :].strip():
                raise self.wrong()
            self.kind = self.token = ""
        else:
            self.kind, self.token = str(match.lastgroup), match[str(match.lastgroup)]
            self.at = match.end()
        return before

    def wrong(self) -> ValueError:
        rest = self.text[self.start :].strip()
        found = "the end" if not rest else repr(rest[:40])
        return ValueError(f"expected a condition such as {FORM}; found {found} at position {self.start + 1}")

    def take(self, *tokens: str) -> str:
        if self.kind not in ("word", "sign") or self.token not in tokens:
            raise self.wrong()
        return self.step()

    def whole(self) -> Clause | Joined:
        found = self.any_of()
        if self.kind:
            raise self.wrong()
        return found

    def any_of(self) -> Clause | Joined:
        return self.joined("or", lambda: self.joined("and", self.one))

    def joined(self, how: Literal["and", "or"], part: Callable[[], Clause | Joined]) -> Clause | Joined:
        parts = [part()]
        while self.kind == "word" and self.token == how:
            self.step()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(how, tuple(parts))

    def one(self) -> Clause | Joined:
        if self.token == "(" and self.kind == "sign":
            self.depth += 1
            if self.depth > DEEPEST:
                raise self.wrong()
            self.step()
            found = self.any_of()
            self.take(")")
            self.depth -= 1
            return found
        if self.kind != "word" or self.token in ("and", "or", "not", "in"):
            raise self.wrong()
        column = self.step()
        if self.kind == "word":
            sign = "not in" if self.token == "not" else "in"
            if sign == "not in":
                self.step()
            self.take("in")
            return Clause(column, sign, self.several())
        return Clause(column, self.take(*COMPARE), self.value())

    def value(self) -> str | float | Fold:
        if self.kind == "fold":
            self.step()
            return Fold()
        return self.moved_fold() if self.token == "(" and self.kind == "sign" else self.plain()

    def moved_fold(self) -> Fold:
        """``(@fold + 9) % 10``, from the parenthesis on."""
        self.step()
        if self.kind != "fold":
            raise self.wrong()
        self.step()
        self.take("+")
        shift = self.whole_number()
        self.take(")")
        self.take("%")
        return Fold(shift, self.whole_number(least=1))

    def whole_number(self, least: int = 0) -> int:
        if self.kind != "number" or not self.token.isdecimal() or not least <= float(self.token) < 1e9:
            raise self.wrong()
        return int(self.step())

    def plain(self) -> str | float:
        if self.kind == "text":
            return re.sub(r"\\(.)", r"\1", self.step()[1:-1])
        if self.kind != "number" or len(self.token) > 40:
            raise self.wrong()
        number = self.step()
        return int(number) if number.lstrip("-").isdecimal() else float(number)

    def several(self) -> tuple[str | float, ...]:
        closing = {"(": ")", "[": "]"}[self.take("(", "[")]
        found = []
        while self.token != closing or self.kind != "sign":
            found.append(self.plain())
            if self.token != closing:
                self.take(",")
        self.step()
        return tuple(found)
