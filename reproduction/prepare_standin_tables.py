"""Write tables that stand in for datasets of the paper, each with a sidecar that says what it holds instead.

``python -m reproduction.prepare_standin_tables SOURCE TARGET`` reads the tables of this project's experiments
from SOURCE and writes them to TARGET, tidied, with their sidecars; then set ``RINALMO_KIT_DATA`` to TARGET.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from rinalmo_kit.datasets.catalogue import CATALOGUE, count_rows
from rinalmo_kit.datasets.loading import TABLES, tidied_table
from rinalmo_kit.datasets.sidecar import Sidecar, write_sidecar

__all__ = ["NOTES", "SUBSETS", "main", "write_tables"]

NOTES = {
    "bprna": "long CRW, SRP and tmRNA structures are missing from TR0 and VL0, half of TS0 is held out",
    "rivas": "half of TestSetB is held out",
    "archiveII": "about half of each family is held out",
    "splice": (
        "windows of another study (Splice2Deep): human to train on, human and Arabidopsis to test on, instead of GS_1"
    ),
    "rfam88": (
        "the 88 largest families of Rfam 14.9 seeds with mean length up to 200, instead of Rfam-novel"
    ),
    "mrl": (
        "the training rows are 24,957 designed and human UTRs of fixed 50 nt, not the paper's of 25 to 100 nt, "
        "half of each test set is held out"
    ),
    "te_el": (
        "Muscle rows with a trusted sequence only, PC3 and HEK only the top 1,000 and bottom 500 by TE: "
        "not to be compared with the paper"
    ),
}
"""Name of a dataset → what its table in the experiments holds instead of the published data."""


SUBSETS = ("bprna", "rivas", "archiveII")
"""Datasets whose rows here are all rows of the published dataset."""


def write_tables(
    source: str | os.PathLike, target: str | os.PathLike, names: Iterable[str] = tuple(NOTES)
) -> list[Path]:
    """Write the tidied tables of datasets, and a sidecar beside each; return the tables' paths.

    Parameters
    ----------
    source : path
        Folder of the tables, such as ``ss_bprna/bprna_tr0_vl0_ts0.parquet``.
    target : path
        Folder to write to; tables that are there already are replaced.
    names : iterable of str
        Keys of :data:`NOTES`.

    Raises
    ------
    FileNotFoundError
        If a table is not in the source folder.
    ValueError
        If the two folders are the same, a name is unknown, or a row is wrong (file, row, column).
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if source.resolve() == target.resolve():
        raise ValueError(f"{target}: choose a folder other than that of the source tables")
    written = []
    for name in names:
        if name not in NOTES:
            raise ValueError(f"unknown table {name!r}; known: {', '.join(NOTES)}")
        if not (path := source / TABLES[name]).exists():
            raise FileNotFoundError(f"no table of {name!r}: {path} is missing")
        table, result = tidied_table(name, path), target / TABLES[name]
        result.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(result, index=False)
        rows = count_rows(table, CATALOGUE[name])
        write_sidecar(result, Sidecar(NOTES[name], rows, subset=name in SUBSETS))
        written.append(result)
    return written


def main(arguments: list[str] | None = None) -> None:
    """Run the program with the words of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduction.prepare_standin_tables", description=__doc__
    )
    parser.add_argument("source", help="folder with the tables of the experiments")
    parser.add_argument("target", help="folder to write the tables and their sidecars to")
    options = parser.parse_args(arguments)
    for path in write_tables(options.source, options.target):
        print(path)


if __name__ == "__main__":
    main()
