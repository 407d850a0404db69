"""Parsers of the 5' UTR datasets: ribosome load, translation efficiency, expression."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..._utils.text_files import open_text
from ..schemas import check_table
from .archives import unpacked
from .splice import sklearn_splits

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["mrl", "te_el"]

# --- 5' UTRs ---------------------------------------------------------------------------------------------


def mrl(source: Path, *, per_length: int = 100) -> pd.DataFrame:
    """Read ``GSM4084997_varying_length_25to100.csv.gz`` of GSE114002 and split it as the paper does.

    Columns utr, set, total_reads and rl (read in the source of the official code). Rows without rl are
    dropped; set is random or human; at least 10 reads; every UTR that occurs twice goes, both times; the
    `per_length` rows of most reads of every length from 25 to 100 are Random7600 and Human7600; the other
    random ones are for training (spec §5, MRL). Ties in the number of reads may fall differently elsewhere.
    """
    import pandas as pd

    with unpacked(source, r"GSM4084997_varying_length_25to100\.csv(\.gz)?$") as (folder, files):
        table = _read_csv(files[0], ["utr", "set", "total_reads", "rl"], numbers=["total_reads", "rl"])
        table["where"] = table["where"].str.replace(f"{folder}/", f"{source}: ", regex=False)
    table = table.dropna(subset="rl")
    table = table[table["set"].isin(["random", "human"]) & (table["total_reads"] >= 10)]
    table = table.drop_duplicates("utr", keep=False).assign(length=lambda t: t["utr"].str.len())
    parts = []
    for kind in ("random", "human"):
        rows = table[table["set"] == kind]
        scored = rows[rows["length"].between(25, 100)].sort_values("total_reads", ascending=False)
        chosen = scored.groupby("length").head(per_length)
        parts.append(chosen.sort_index().assign(split=f"{kind}7600"))
        if kind == "random":
            parts.insert(0, rows.drop(chosen.index).assign(split="train"))
    table = pd.concat(parts)
    table = table.assign(id="mrl_" + table.index.astype(str), sequence=table["utr"], target=table["rl"])
    return check_table(table, "mrl", source=str(source))


def te_el(source: Path) -> pd.DataFrame:
    """Read ``Muscle_sequence.csv``, ``pc3_sequence.csv`` and ``HEK_sequence.csv`` of the UTR-LM capsule.

    Columns utr (padded in front with the literal ``<pad>``), te_log and rnaseq_log; ten folds by
    ``KFold(10, shuffle=True, random_state=42)`` over the rows in their order (read in the source of the
    official code; spec §5, TE/EL).
    """
    import pandas as pd

    parts, names = [], {"Muscle": "Muscle", "pc3": "PC3", "HEK": "HEK"}
    with unpacked(source, r"(^|/)(Muscle|pc3|HEK)_sequence\.csv$") as (folder, files):
        if len(files) != 3:
            raise ValueError(f"{source}: expected Muscle_sequence.csv, pc3_sequence.csv and HEK_sequence.csv")
        for path in files:
            table = _read_csv(path, ["utr", "te_log", "rnaseq_log"], numbers=["te_log", "rnaseq_log"])
            table["where"] = table["where"].str.replace(f"{folder}/", f"{source}: ", regex=False)
            kind = names[path.name.partition("_")[0]]
            splitter = sklearn_splits().KFold(10, shuffle=True, random_state=42)
            table["fold"] = 0
            for fold, (_, chosen) in enumerate(splitter.split(table)):
                table.loc[chosen, "fold"] = fold
            sequence = table["utr"].str.replace("<pad>", "", regex=False)
            name = kind + "_" + table.index.astype(str)
            columns = {"log_te": table["te_log"], "log_el": table["rnaseq_log"]}
            parts.append(table.assign(id=name, sequence=sequence, dataset=kind, **columns))
    return check_table(pd.concat(parts, ignore_index=True), "te_el", source=str(source))


def _read_csv(path: Path, columns: list[str], *, numbers: list[str]) -> pd.DataFrame:
    """Read some columns of a CSV, with `where` every row comes from; a cell of `numbers` may be empty."""
    import pandas as pd

    damage = (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        EOFError,
        OSError,
        zlib.error,
    )
    try:
        with open_text(path) as stream:  # whatever it is packed with
            table = pd.read_csv(stream, dtype=str, keep_default_na=False)
    except damage as error:
        raise ValueError(f"{path}: not a CSV file, or damaged ({error})") from None
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are {', '.join(table)}")
    table = table[columns].assign(where=[f"{path}, line {line}" for line in range(2, len(table) + 2)])
    for column in numbers:
        filled = table[column].replace(["", "NA", "NaN", "nan"], None)
        values = pd.to_numeric(filled, errors="coerce")
        wrong = values.isna() & filled.notna()
        if wrong.any():
            row = table[wrong].iloc[0]
            raise ValueError(f"{row['where']}: column {column}: expected a number, found {row[column]!r}")
        table[column] = values
    return table
