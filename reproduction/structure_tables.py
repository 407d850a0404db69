"""Write the table of structure scores into README, guide and model card.

``python -m reproduction.structure_tables`` after new scores were measured: the table that starts with ``| TS0`` and the
notes below it are written anew, from ``data/measured/scores.csv`` and ``data/published``. The README has a short one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rinalmo_kit._utils.cells import is_missing
from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit.evaluation.structure_table import structure_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DOCUMENTS", "SHORT", "main", "markdown", "replaced", "short"]

ROOT = Path(__file__).parents[1]

DOCUMENTS = ("README.md", "docs/accuracy.md", "rinalmo_kit/weights/MODEL_CARD.md")

SHORT = (
    "RiNALMo",
    "RNAformer, 6 cycles",
    "RNA-FM",
    "nano-ss",
    "UFold",
    "sincFold, stored",
    "SPOT-RNA",
    "MXfold2, stored",
    "linearpartition",
    "viennarna",
)
"""Rows of the short table."""

HEADER = "| TS0 | precision | recall | F1 | strict F1 | parameters | trained on | rows | from |"

SHORT_HEADER = "| TS0 | F1 | strict F1 | parameters | rows | from |"

NOTES = "Notes: "


def markdown(table: pd.DataFrame) -> list[str]:
    """Return the lines of a table of :func:`rinalmo_kit.evaluation.structure_table` in Markdown, with its notes.

    Notes of published numbers are numbered and stand in one line below the table.

    Examples
    --------
    >>> table = structure_table().loc[["UFold"]]
    >>> for line in markdown(table)[2:]:
    ...     print(line)
    | UFold | 0.61 | 0.74 | 0.65 | – |  | TR0 | 1305 | second-hand [1] |
    <BLANKLINE>
    Notes: [1] 0.78 (±1), quoted elsewhere, is of a checkpoint trained on TS0, too (uci-cbcl/UFold#11).
    """
    lines, notes = [HEADER, "|" + "---|" * HEADER[1:].count("|")], []
    for name, row in table.iterrows():
        source = row["kind"] + (", all pairs pooled" if row["mean"] == "pairs" else "")
        if row["note"] and source == "measured":
            source += f": {row['note']}"
        elif row["note"]:
            notes.append(row["note"])
            source += f" [{len(notes)}]"
        scores = [_number(row[key]) for key in ("precision", "recall", "f1", "f1_strict")]
        cells = [
            str(name),
            *scores,
            _size(row["parameters_M"]),
            row["trained_on"],
            _rows(row["rows"]),
            source,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if notes:
        lines += ["", NOTES + " ".join(f"[{n}] {note}." for n, note in enumerate(notes, start=1))]
    return lines


def short(table: pd.DataFrame) -> list[str]:
    """Return the lines of a short table in Markdown, without notes: the rows that :data:`SHORT` names, the best first.

    Examples
    --------
    >>> for line in short(structure_table())[2:5:2]:
    ...     print(line)
    | RiNALMo | 0.75 | – | 651 M | 1305 | second-hand |
    | RNA-FM | 0.68 | – | 100 M | 1305 | second-hand |
    """
    lines = [SHORT_HEADER, "|" + "---|" * SHORT_HEADER[1:].count("|")]
    for name, row in table.loc[[name for name in table.index if name in SHORT]].iterrows():
        cells = [str(name), _number(row["f1"]), _number(row["f1_strict"]), _size(row["parameters_M"])]
        lines.append(f"| {' | '.join([*cells, _rows(row['rows']), row['kind']])} |")
    return lines


def _size(millions: float) -> str:
    return f"{float(f'{millions:.3g}'):g} M" if millions == millions else ""


def _rows(number: object) -> str:
    return "" if is_missing(number) else str(number)


def _number(value: float) -> str:
    return f"{value:.2f}" if value == value else "\N{EN DASH}"


def replaced(text: str, lines: Sequence[str]) -> str:
    r"""Return a document with other lines in place of its table that starts with ``| TS0`` and of the notes below it.

    Raises
    ------
    ValueError
        If it has no such table.

    Examples
    --------
    >>> replaced("Scores:\n\n| TS0 | F1 |\n|---|---|\n| a | 0.5 |\n\nMore.", ["| TS0 |", "|---|"])
    'Scores:\n\n| TS0 |\n|---|\n\nMore.'
    """
    old = text.split("\n")
    start = next((n for n, line in enumerate(old) if line.startswith("| TS0")), None)
    if start is None:
        raise ValueError("the document has no table that starts with '| TS0'")
    end = next(n for n in range(start, len(old) + 1) if n == len(old) or not old[n].startswith("|"))
    if old[end : end + 1] == [""] and old[end + 1 : end + 2] and old[end + 1].startswith(NOTES):
        end += 2
    return "\n".join([*old[:start], *lines, *old[end:]])


def main() -> None:
    """Run ``python -m reproduction.structure_tables``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("documents", nargs="*", default=DOCUMENTS, help="default: README, guide, model card")
    table = structure_table()
    for path in (ROOT / name for name in parser.parse_args().documents):
        lines = short(table) if path.name == "README.md" else markdown(table)
        text = replaced(path.read_text(encoding="utf-8"), lines)
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
