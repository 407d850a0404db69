"""Structures to train and test on: a few inside the package, the tables of the experiments beside it.

The tables are found through the environment variable ``RINALMO_KIT_DATA``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .formats import read_structures
from .structure import Structure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXAMPLES", "TABLES", "data_dir", "load_structures", "read_numbers"]

EXAMPLES = Path(__file__).parent / "examples.dbn"
"""37 well-known RNAs of six families that come with the package."""

TABLES = {
    "bprna": "ss_bprna/bprna_tr0_vl0_ts0.parquet",
    "archiveII": "ss_archiveII/archiveII.parquet",
    "rivas": "ss_rivas/rivas.parquet",
}
"""Name of a dataset → its table under the data folder."""


def data_dir() -> Path:
    """Folder with the tables: ``$RINALMO_KIT_DATA``, or its subfolder ``data``.

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


def load_structures(dataset: str, split: str | None = None) -> list[Structure]:
    """Read the structures of a dataset.

    Parameters
    ----------
    dataset : str
        ``"examples"``, which needs no files (names are ``family/accession``), or a name in :data:`TABLES`.
    split : str, optional
        A value of the table's ``split`` column, such as ``"TR0"``; all rows by default.

    Returns
    -------
    list of Structure

    Raises
    ------
    FileNotFoundError
        If the tables are not at hand.
    ValueError
        For an unknown dataset or split, or a row that is no structure (with its id).

    Examples
    --------
    >>> print(load_structures("examples")[0])
    >tRNA/yeast-Phe
    GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA
    (((((((..((((........)))).((((.........)))).....(((((.......))))))))))))....
    """
    if dataset == "examples" and split is None:
        return read_structures(EXAMPLES)
    import pandas as pd

    if dataset not in TABLES:
        raise ValueError(f"unknown dataset {dataset!r}; known: examples, {', '.join(TABLES)}")
    path = data_dir() / TABLES[dataset]
    if not path.exists():
        raise FileNotFoundError(f"dataset {dataset!r} is not under RINALMO_KIT_DATA: {path} is missing")
    table = pd.read_parquet(path)
    if split is not None:
        if split not in set(table["split"]):
            raise ValueError(f"{dataset!r} has no split {split!r}; it has {sorted(set(table['split']))}")
        table = table[table["split"] == split]
    rows = zip(table["id"], table["sequence"], table["dot_bracket"], strict=True)
    return [Structure.from_dot_bracket(sequence, pairs, name=name) for name, sequence, pairs in rows]


def read_numbers(name: str) -> pd.DataFrame:
    """Read one of the project's files of published or measured numbers, ``data/<name>.csv``.

    Examples
    --------
    >>> published = read_numbers("published/fig3c_ts0")
    >>> published.set_index("method").loc["RiNALMo", "f1"]
    np.float64(0.747)
    """
    import pandas as pd

    package = Path(__file__).parent
    folders = [package / "data", package.parent / "data"]  # in an installed wheel; in a clone
    path = next((f / f"{name}.csv" for f in folders if (f / f"{name}.csv").exists()), None)
    if path is None:
        known = sorted(f"{p.parent.name}/{p.stem}" for f in folders for p in f.glob("*/*.csv"))
        raise ValueError(f"no file of numbers {name!r}; there are {', '.join(known)}")
    return pd.read_csv(path)
