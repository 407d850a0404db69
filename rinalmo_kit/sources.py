"""From the files as their authors publish them to the tidy tables of :mod:`rinalmo_kit.tables`.

Each parser takes the folder, archive or file with the originals of one dataset and returns its checked
table. What is known of each layout, and from where, stands in the parser's docstring.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .archives import unpacked
from .extras import optional
from .formats import read_structures
from .ncrna import length_predictable
from .rda import read_dna_sets
from .tables import FAMILIES, check_table
from .tokens import open_text, read_fasta

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PARSERS", "archiveII", "bprna", "mrl", "rfam88", "rivas", "splice", "splice_folds", "te_el"]


def bprna(source: Path) -> pd.DataFrame:
    """Read ``bpRNA_dataset.zip``: folders TR0, VL0 and TS0 with one ``.st`` file a structure.

    The folder names are those the official code moves (read in its source), the ``.st`` files those its
    reader takes; ``.ct``, ``.bpseq`` and ``.dbn`` are read too. The family is the second word of the file's
    name: ``bpRNA_RFAM_40177``.
    """
    wanted = r"(^|/)(TR0|VL0|TS0)/[^/]+\.(st|ct|bpseq|dbn)$"

    def about(path: Path) -> dict[str, str]:
        return {"split": path.parent.name, "family": [*path.stem.split("_"), ""][1]}

    return _structures("bprna", source, wanted, about)


def rivas(source: Path) -> pd.DataFrame:
    """Read ``Rivas.tar.gz``: folders TrainSetA, TestSetA, TrainSetB and TestSetB with BPSEQ files.

    That the sets are folders of BPSEQ files is known from their author's other release and from programs
    that read them; this archive itself was not at hand. They name no families. X, an unknown nucleotide of
    some of these sequences, becomes N.
    """
    sets = "TrainSetA|TestSetA|TrainSetB|TestSetB"
    wanted = rf"(^|/)({sets})/(.+/)?[^/]+\.(bpseq|ct|st|dbn)$"

    def about(path: Path) -> dict[str, str]:
        return {"split": next(part for part in reversed(path.parts) if part in sets.split("|")), "family": ""}

    return _structures("rivas", source, wanted, about, unknown=True)


def archiveII(source: Path) -> pd.DataFrame:
    """Read ``ct-splits.tar.gz``: ``ct/fam-fold/<family>/{train,valid,test}/*.ct``.

    The test folder of a family holds the whole family, so the nine of them are the whole set (the layout is
    read in the source of the official code and in a third party's that checks the 3,865 files).
    """
    wanted = rf"(^|fam-fold/)({'|'.join(FAMILIES)})/test/[^/]+\.ct$"
    return _structures("archiveII", source, wanted, lambda path: {"family": path.parent.parent.name})


def _structures(
    name: str, source: Path, wanted: str, about: Callable[[Path], dict[str, str]], *, unknown: bool = False
) -> pd.DataFrame:
    """Read one structure a file; `about` tells its further columns from its path."""
    import pandas as pd

    rows, seen = [], {}
    with unpacked(source, wanted) as (folder, files):
        for path in files:
            place = path.relative_to(folder)
            key = (path.stem, *about(place).values())
            if key in seen:
                raise ValueError(
                    f"{source}: {seen[key]} and {place} are the same structure; leave one of them"
                )
            seen[key] = place
            if unknown and path.suffix == ".bpseq":
                text = path.read_text(encoding="utf-8-sig")
                path.write_text(re.sub(r"(?m)^([ \t]*\d+[ \t]+)[Xx](?=\s)", r"\1N", text), encoding="utf-8")
            [structure] = read_structures(path)[:1]
            texts = {"sequence": structure.sequence, "dot_bracket": structure.dot_bracket}
            rows.append({"where": f"{source}: {place}", "id": path.stem, **texts, **about(place)})
    return check_table(pd.DataFrame(rows), name, source=str(source))


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

    The names and columns are read in the source of those programs; the files themselves were not at hand.
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


def _splice_row(where: str, sequence: str, label: int, site: str, **rest: object) -> dict[str, object]:
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


def _fold_rows(path: Path, place: str) -> Iterator[dict[str, object]]:
    fold = int(path.parent.name.removeprefix("db_")) - 1
    for number, line in _lines(path):
        where, fields = f"{place}, line {number}", line.split(";")
        if len(fields) != 3:
            raise ValueError(f"{where}: expected 'group;sequence;label', found {line[:40]!r}")
        row = _splice_row(where, fields[1], _label(fields[2], where), _site(path))
        yield {**row, "species": "GS_1", "split": "train", "fold": fold}


def _raw_rows(path: Path, place: str) -> Iterator[dict[str, object]]:
    negative = path.name.startswith("NEG_")
    for number, line in _lines(path):
        where, fields = f"{place}, line {number}", line.split(";")
        if negative and number == 1:  # its header
            continue
        if len(fields) < 2 + negative:
            raise ValueError(f"{where}: expected the sequence in column {2 + negative}, found {line[:40]!r}")
        row = _splice_row(where, fields[1 + negative], int(not negative), _site(path))
        yield {**row, "species": "GS_1", "split": "train", "fold": 0}


def _without_repeats(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Drop raw rows with letters other than ACGT, repeats, and positives that are also negatives."""
    kept = {}
    for row in sorted(rows, key=lambda row: row["label"]):
        if set(row["sequence"]) <= set("ACGT"):
            kept.setdefault((row["site"], row["sequence"]), row)
    return list(kept.values())


def _species_rows(path: Path, place: str) -> Iterator[dict[str, object]]:
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


# --- ncRNA families --------------------------------------------------------------------------------------


def rfam88(source: Path, *, smallest: int = 400) -> pd.DataFrame:
    """Read Rfam-novel of ncrna-deep, ``train_test_val_sets_177_families.RDa``, and filter it as the paper does.

    The file holds the Biostrings sets ``x_train``, ``x_val`` and ``x_test``, whose names are the families
    (read in the source of ncrna-deep and of the official preparation). The same three as FASTA
    (``x_train.fasta`` …) are read too. In the order of the official preparation (spec §5, ncRNA): families
    of all three sets; sequences of A, C, G, T alone; no family that length alone tells
    (:func:`rinalmo_kit.ncrna.length_predictable`); up to 200 nt; families with at least `smallest` training
    sequences. Classes are balanced later, by :func:`rinalmo_kit.ncrna.resample`.
    """
    import pandas as pd

    rows = []
    with unpacked(
        source, r"(train_test_val_sets_177_families\.RDa|(^|/)(x_)?(train|val|test)\.fa(sta)?)$"
    ) as (_, files):
        for path in files:
            if path.suffix == ".RDa":
                sets = {name.removeprefix("x_"): records for name, records in read_dna_sets(path).items()}
            else:
                sets = {path.stem.removeprefix("x_"): list(read_fasta(path))}
            for split, records in sets.items():
                where = f"{source}: {path.name}, {split}"
                rows += [
                    {
                        "where": f"{where}, record {i}",
                        "id": f"{split}_{i}",
                        "label": label,
                        "sequence": text.upper(),
                        "split": split,
                    }
                    for i, (label, text) in enumerate(records, 1)
                ]
    table = pd.DataFrame(rows)
    if table.empty or set(table["split"]) != {"train", "val", "test"}:
        raise ValueError(f"{source}: expected the sets x_train, x_val and x_test")
    everywhere = table.groupby("label")["split"].nunique() == 3
    table = table[table["label"].map(everywhere) & ~table["sequence"].str.contains("[^ACGT]")]
    table = table[~table["label"].isin(length_predictable(table))]
    table = table[table["sequence"].str.len() <= 200]
    sizes = table.loc[table["split"] == "train", "label"].value_counts()
    return check_table(
        table[table["label"].isin(sizes.index[sizes >= smallest])], "rfam88", source=str(source)
    )


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


PARSERS = {
    "bprna": bprna,
    "rivas": rivas,
    "archiveII": archiveII,
    "splice": splice,
    "rfam88": rfam88,
    "mrl": mrl,
    "te_el": te_el,
}
"""Name of a dataset → its parser."""
