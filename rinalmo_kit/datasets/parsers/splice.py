"""Parsers of the splice-site datasets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._utils.extras import optional
from ..._utils.text_files import open_text
from ..schemas import check_table
from .archives import unpacked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["splice", "splice_folds"]

Row = dict[str, Any]
"""A row of the table, under the names of its columns."""


# --- splice sites ---------------------------------------------------------------------------------------

_SPLICE = (
    r"GS_1/(.+/)?(db_\d+/Test_(donor|acceptor)_400|NEG_600_(donor|acceptor))\.csv$"
    r"|GS/POS_(donor|acceptor)_600\.csv$"
    r"|(Danio|Fly|Thaliana|Worm)/SA_(sequences|labels)_(donor|acceptor)_400_Final_3(\.positive|\.negative)?\.(fasta|txt)$"
)


def splice(source: Path) -> pd.DataFrame:
    """Read GS_1 of Spliceator, training rows in either of its two forms, and the four test species.

    * Ready folds: ``GS_1/db_1 … db_10/Test_<site>_400.csv``, ``group;sequence;label`` without header: fold
      *i* is the Test file of ``db_<i+1>`` (as the official code reads them).
    * Raw: ``GS_1/…/NEG_600_<site>.csv`` (header, sequence third) and ``GS/POS_<site>_600.csv`` (no header,
      sequence second), as Spliceator's code reads them: the central 400 of 600 nt, rows with other letters
      than ACGT and repeats left out, positives that are also negatives too. The folds are then drawn by
      :func:`splice_folds`; the authors' own order of rows is not known, so theirs differ.
    * Test species: ``<species>/SA_sequences_<site>_400_Final_3.fasta``, one sequence a line, with
      ``SA_labels_…``; or ``….positive.txt`` and ``….negative.txt`` (the layout of SpliceBERT's copy).

    The names and columns are read in the source of those programs; the files themselves were not available.
    """
    import pandas as pd

    with unpacked(source, _SPLICE) as (folder, files):
        places = {path: f"{source}: {path.relative_to(folder)}" for path in files}
        folds = [path for path in files if path.parent.name.startswith("db_")]
        raw = [path for path in files if path.name.startswith(("NEG_", "POS_"))] if not folds else []
        tests = [path for path in files if path.name.startswith("SA_sequences_")]
        rows = [row for path in folds for row in _fold_rows(path, places[path])]
        raw_rows = [row for path in raw for row in _raw_rows(path, places[path])]
        test_rows = [row for path in tests for row in _species_rows(path, places[path])]
    table = pd.DataFrame(rows + _without_repeats(raw_rows) + test_rows)
    if table.empty or set(table["split"]) != {"train", "test"}:
        raise ValueError(f"{source}: expected training files of GS_1 and files of the test species")
    if not folds:
        table["fold"] = splice_folds(table)
    return check_table(table, "splice", source=str(source))


def splice_folds(table: pd.DataFrame) -> pd.Series:
    """Draw the fold of every row, 0 to 9: stratified by label over the training rows of each site; −1 for test rows.

    ``StratifiedKFold(10, shuffle=True, random_state=2020)``, as for GS_1 (spec §5, splice).
    """
    import pandas as pd

    splitter = sklearn_splits().StratifiedKFold(10, shuffle=True, random_state=2020)
    folds = pd.Series(-1, index=table.index, dtype="int64")
    for _, rows in table[table["split"] == "train"].groupby("site"):
        for fold, (_, chosen) in enumerate(splitter.split(rows, rows["label"])):
            folds[rows.index[chosen]] = fold
    return folds


def sklearn_splits() -> Any:
    """Import scikit-learn's splitters, or say what to install."""
    return optional(
        "sklearn.model_selection", "drawing the folds needs scikit-learn: pip install scikit-learn"
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with open_text(path) as stream:
        yield from ((number, line.strip()) for number, line in enumerate(stream, 1) if line.strip())


def _splice_row(where: str, sequence: str, label: int, site: str, **rest: object) -> Row:
    """Make a row of the central 400 nucleotides."""
    if len(sequence) not in (400, 600):
        raise ValueError(f"{where}: expected a sequence of 400 or 600 nucleotides, found {len(sequence)}")
    margin = (len(sequence) - 400) // 2
    middle = sequence[margin : margin + 400].upper()
    name = re.sub(r"\W+", "_", where.rpartition(": ")[2])
    return {"where": where, "id": name, "sequence": middle, "label": label, "site": site, **rest}


def _site(path: Path) -> str:
    return next(site for site in ("donor", "acceptor") if site in path.name)


def _label(text: str, where: str) -> int:
    if text not in ("0", "1"):
        raise ValueError(f"{where}: expected the label 0 or 1, found {text!r}")
    return int(text)


def _fold_rows(path: Path, place: str) -> Iterator[Row]:
    fold = int(path.parent.name.removeprefix("db_")) - 1
    for number, line in _lines(path):
        where, fields = f"{place}, line {number}", line.split(";")
        if len(fields) != 3:
            raise ValueError(f"{where}: expected 'group;sequence;label', found {line[:40]!r}")
        row = _splice_row(where, fields[1], _label(fields[2], where), _site(path))
        yield {**row, "species": "GS_1", "split": "train", "fold": fold}


def _raw_rows(path: Path, place: str) -> Iterator[Row]:
    negative = path.name.startswith("NEG_")
    for number, line in _lines(path):
        where, fields = f"{place}, line {number}", line.split(";")
        if negative and number == 1:  # its header
            continue
        if len(fields) < 2 + negative:
            raise ValueError(f"{where}: expected the sequence in column {2 + negative}, found {line[:40]!r}")
        row = _splice_row(where, fields[1 + negative], int(not negative), _site(path))
        yield {**row, "species": "GS_1", "split": "train", "fold": 0}


def _without_repeats(rows: list[Row]) -> list[Row]:
    """Drop raw rows with letters other than ACGT, repeats, and positives that are also negatives."""
    kept: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: row["label"]):
        if set(row["sequence"]) <= set("ACGT"):
            kept.setdefault((row["site"], row["sequence"]), row)
    return list(kept.values())


def _species_rows(path: Path, place: str) -> Iterator[Row]:
    sequences = list(_lines(path))
    if path.suffix == ".txt":
        labels = [int(".positive." in path.name)] * len(sequences)
    else:
        other = path.with_name(path.name.replace("SA_sequences_", "SA_labels_"))
        if not other.exists():
            raise ValueError(f"{place}: the labels, {other.name}, are not beside it")
        labels = [
            _label(text, f"{place.replace('SA_sequences_', 'SA_labels_')}, line {number}")
            for number, text in _lines(other)
        ]
        if len(labels) != len(sequences):
            raise ValueError(f"{place}: {len(sequences)} sequences, but {len(labels)} labels")
    for (number, sequence), label in zip(sequences, labels, strict=True):
        row = _splice_row(f"{place}, line {number}", sequence, label, _site(path))
        yield {**row, "species": path.parent.name, "split": "test", "fold": -1}
