"""Structures to train and test on: a few inside the package, the tables of the experiments beside it.

The tables are found through the environment variable ``RINALMO_KIT_DATA``.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.choices import did_you_mean
from .._utils.files import cache_folder
from ..rna.pairs import OPENING
from ..structure import Structure, read_structures
from .catalogue import CATALOGUE, count_rows
from .schemas import SCHEMAS, check_table
from .sidecar import read_sidecar
from .user_tables import read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EXAMPLES",
    "TABLES",
    "available",
    "cache_dir",
    "data_dir",
    "data_note",
    "find_table",
    "is_subset",
    "load_structures",
    "load_table",
]

EXAMPLES = Path(__file__).parent / "examples.dbn"
"""37 well-known RNAs of six families that come with the package."""


TABLES = {name: entry.table for name, entry in CATALOGUE.items() if entry.table}
"""Name of a dataset → its ready table under the data folder."""


def data_dir() -> Path:
    """Return the folder with the ready tables: ``$RINALMO_KIT_DATA``, or its subfolder ``data``.

    Raises
    ------
    FileNotFoundError
        If the variable is not set, or names no folder.
    """
    value = os.environ.get("RINALMO_KIT_DATA")
    if not value:
        raise FileNotFoundError("set the environment variable RINALMO_KIT_DATA to the folder with the tables")
    root = Path(value).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"RINALMO_KIT_DATA={value!r} is not a folder")
    return root / "data" if (root / "data").is_dir() else root


def cache_dir() -> Path:
    """Return the folder with the tables that ``rinalmo-kit data get`` makes: ``data`` in ``$RINALMO_KIT_CACHE``."""
    return cache_folder() / "data"


def find_table(name: str) -> Path:
    """Return the path of a table: the ready one under ``$RINALMO_KIT_DATA``, else the one built in the cache.

    Raises
    ------
    ValueError
        For an unknown dataset.
    FileNotFoundError
        If there is neither; says how to get one.
    """
    if name not in TABLES:
        raise ValueError(f"unknown dataset {name!r}{did_you_mean(name, TABLES)}; known: {', '.join(TABLES)}")
    made = cache_dir() / f"{name}.parquet"
    try:
        ready = data_dir() / TABLES[name]
    except FileNotFoundError as error:
        if os.environ.get("RINALMO_KIT_DATA"):  # a folder that is not there is never passed over
            raise
        if made.exists():
            return made
        hint = f", or run rinalmo-kit data get {name}" if CATALOGUE[name].files else ""
        raise FileNotFoundError(f"dataset {name!r} is not available: {error}{hint}") from None
    if ready.exists():
        return ready
    if made.exists():
        return made
    hint = f"; rinalmo-kit data get {name} makes it from the original files" if CATALOGUE[name].files else ""
    raise FileNotFoundError(f"dataset {name!r} is not under RINALMO_KIT_DATA: {ready} is missing{hint}")


def available(*names: str) -> bool:
    """Return whether the tables of all these datasets are available.

    Examples
    --------
    >>> available()
    True
    """
    try:
        return all(find_table(name) for name in names)
    except FileNotFoundError:
        return False


def load_table(name: str) -> pd.DataFrame:
    """Load the tidy table of a dataset, every row checked.

    Parameters
    ----------
    name : str
        A key of :data:`TABLES`. The columns are those of :data:`rinalmo_kit.datasets.schemas.SCHEMAS`.

    Returns
    -------
    pandas.DataFrame
        Sequences in upper-case RNA. A copy: change it as you like.

    Raises
    ------
    ValueError
        For an unknown dataset, or a row that cannot be right (file, row, id, column, what was expected).
    FileNotFoundError
        If there is no table; says how to get one.
    """
    path = find_table(name)
    return _load_table(name, path, path.stat().st_mtime_ns).copy()


@lru_cache(maxsize=16)
def _load_table(name: str, path: Path, _changed: int) -> pd.DataFrame:
    return (
        check_table(read_table(path), name, source=str(path)) if is_built(path) else tidied_table(name, path)
    )


def tidied_table(name: str, path: Path) -> pd.DataFrame:
    """Read the table of a dataset from a file and return its rows in the columns of the schema, every row checked."""
    table = _TIDY.get(name, lambda table: table)(read_table(path))
    return check_table(table, name, source=str(path))


def is_built(path: Path) -> bool:
    """Return whether a table was built from the source files, by ``rinalmo-kit data get``."""
    return path.parent == cache_dir()


def data_note(name: str) -> str | None:
    """Return what the available table holds instead of the paper's data; None if it is the paper's.

    Scores carry this sentence wherever they are written. It is the note of the table's sidecar
    (:mod:`rinalmo_kit.datasets.sidecar`) with the numbers of rows; without a sidecar, the numbers alone.

    Parameters
    ----------
    name : str
        A key of :data:`TABLES`.

    Raises
    ------
    FileNotFoundError
        If there is no table.
    """
    path, entry = find_table(name), CATALOGUE[name]
    if not entry.paper:
        return "an extra set, not one of the paper's"
    found = count_rows(load_table(name), entry)
    missing = [
        f"{key} {found.get(key, 0):,} of {n:,}" for key, n in entry.counts.items() if found.get(key) != n
    ]
    if is_built(path):
        return f"made from the original files, but rows differ: {', '.join(missing)}" if missing else None
    sidecar = read_sidecar(path)
    counted = entry.counts if found.keys() & entry.counts else found
    described = sidecar.rows if sidecar is not None and sidecar.rows else counted
    here, stated = sum(found.get(key, 0) for key in described), sum(entry.counts.values())
    shown = ", ".join(missing) if len(missing) <= 4 else f"{here:,} of {stated:,}"
    if sidecar is not None and sidecar.note:
        return f"{sidecar.note} ({shown} rows)" if missing else sidecar.note
    details = f" ({shown})" if len(missing) <= 4 else ""
    return f"{here:,} rows; the paper has {stated:,}{details}" if missing else None


def is_subset(name: str) -> bool:
    """Return whether every row of the available table can be taken for one of the published dataset.

    The table's sidecar says so; without one, no group may have more rows than the paper states.
    """
    path, entry = find_table(name), CATALOGUE[name]
    if not is_built(path) and (sidecar := read_sidecar(path)) is not None:
        return sidecar.subset
    found = count_rows(load_table(name), entry)
    return not entry.resampled and all(n <= entry.counts.get(key, 0) for key, n in found.items())


def _tidy_archive(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["in_paper_lengthcut"]] if "in_paper_lengthcut" in table else table


def _tidy_rivas(table: pd.DataFrame) -> pd.DataFrame:
    """Write the unknown nucleotide of these files, X, as N: the vocabulary has no X."""
    return table.assign(sequence=table["sequence"].str.replace("X", "N"))


def _tidy_splice(table: pd.DataFrame) -> pd.DataFrame:
    """Train on human; test on human and on Arabidopsis, whose training rows are left out."""
    from .parsers.splice import splice_folds

    if "fold" in table:
        return table
    table = table[(table["species"] == "human") | (table["split"] == "test")]
    return table.assign(fold=splice_folds(table))


def _tidy_mrl(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the two test sets, the designed and human 5′ UTRs for training, and apart from them the random library.

    The random library is of another replicate, with a spread 1.4 times as wide: what learns from it is off scale.
    """
    if "source" not in table:
        return table
    splits = {"human_designed_n50_25k": "train", "egfp_unmod1_n50_top20k": "replicate"}
    splits |= {"random7600": "random7600", "human7600": "human7600"}
    table = table[table["source"].isin(list(splits))]
    return table.assign(split=table["source"].map(splits), target=table["mrl"])


def _tidy_te_el(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["sequence_doubtful"]] if "sequence_doubtful" in table else table


RFAM = {"pairs": 4, "canonical": 0.8, "length": 500, "rows": 20}
"""Of ``rfam``: fewest pairs, least share of canonical ones, longest sequence, and most test rows of a family."""


def _tidy_rfam(table: pd.DataFrame) -> pd.DataFrame:
    """Keep rows with a split and a structure worth scoring; a few of each family to validate and test on.

    The split is that of ``family_split.csv`` beside the table. ``seen`` says whether nano-ss was trained on the
    family: it is one of ``ss_more``, or one of its sequences is in ``ss_more`` or in TR0 or VL0.
    """
    import pandas as pd

    if "split" in table:
        return table
    splits = pd.read_csv(find_table("rfam").with_name("family_split.csv"), keep_default_na=False)
    trained, bprna = load_table("ss_more"), load_table("bprna")
    known = {*trained["sequence"], *bprna["sequence"][bprna["split"] != "TS0"]}
    seen = {*trained["family"], *table["family"][table["sequence"].isin(known)]}
    pairs = sum(table["dot_bracket"].str.count(re.escape(symbol)) for symbol in OPENING)
    table = table[(pairs >= RFAM["pairs"]) & (table["frac_canonical"] >= RFAM["canonical"])]
    table = table[table["sequence"].str.len() <= RFAM["length"]]
    table = table.drop_duplicates("sequence")
    table = table.assign(
        split=table["family"].map(splits.set_index("family")["split"]).fillna(""),
        seen=table["family"].isin(seen).map({True: "yes", False: "no"}),
    )
    table = table[table["split"] != ""]
    shuffled = table.sample(frac=1, random_state=0)
    few = shuffled.groupby("family").cumcount() < RFAM["rows"]
    return shuffled[few | (shuffled["split"] == "train")].sort_index()


_TIDY = {
    "archiveII": _tidy_archive,
    "rivas": _tidy_rivas,
    "ss_more": _tidy_rivas,  # some of its rows are theirs
    "splice": _tidy_splice,
    "mrl": _tidy_mrl,
    "te_el": _tidy_te_el,
    "rfam": _tidy_rfam,
}


def load_structures(dataset: str, split: str | None = None, *, family: str | None = None) -> list[Structure]:
    """Load the structures of a dataset.

    Parameters
    ----------
    dataset : str
        ``"examples"``, which needs no files (names are ``family/accession``), or a dataset of structures
        in :data:`TABLES`.
    split : str, optional
        A value of the table's ``split`` column, such as ``"TR0"``; all rows by default.
    family : str, optional
        A value of the ``family`` column, such as ``"5s"``; all families by default.

    Returns
    -------
    list of Structure

    Raises
    ------
    FileNotFoundError
        If the tables are not available.
    ValueError
        For an unknown dataset, split or family, or a row that is not a structure (with its id).

    Examples
    --------
    >>> print(load_structures("examples")[0])
    >tRNA/yeast-Phe
    GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA
    (((((((..((((........)))).((((.........)))).....(((((.......))))))))))))....
    >>> len(load_structures("examples", family="tRNA"))
    7
    """
    if dataset == "examples" and split is None:
        structures = read_structures(EXAMPLES)
        families = list(dict.fromkeys(s.name.partition("/")[0] for s in structures))
        if family is not None and family not in families:
            meant = did_you_mean(family, families)
            raise ValueError(
                f"the examples have no family {family!r}{meant}; there are {', '.join(families)}"
            )
        return [s for s in structures if family is None or s.name.startswith(f"{family}/")]
    if dataset not in TABLES or "dot_bracket" not in SCHEMAS[dataset]:
        known = [name for name in TABLES if "dot_bracket" in SCHEMAS[name]]
        known.insert(0, "examples")
        meant = did_you_mean(dataset, known)
        raise ValueError(f"unknown dataset of structures {dataset!r}{meant}; known: {', '.join(known)}")
    table = load_table(dataset)
    for column, wanted in (("split", split), ("family", family)):
        if wanted is None:
            continue
        values = sorted(set(table[column])) if column in table else []
        if wanted not in values:
            shown = ", ".join(map(repr, values[:20])) + (" …" if len(values) > 20 else "")
            raise ValueError(f"{dataset!r} has no {column} {wanted!r}; it has {shown or 'none'}")
        table = table[table[column] == wanted]
    rows = zip(table["id"], table["sequence"], table["dot_bracket"], strict=True)
    return [Structure.from_dot_bracket(sequence, pairs, name=name) for name, sequence, pairs in rows]
