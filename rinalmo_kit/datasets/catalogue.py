"""The catalogue of datasets, ``data/catalogue.toml``: addresses, licences, citations, counts of the paper."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._utils.numbers import data_folders

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CATALOGUE", "Dataset", "SourceFile", "count_rows"]


@dataclass(frozen=True)
class SourceFile:
    """A file as its authors publish it.

    Parameters
    ----------
    name : str
        Its name; empty for an address that is not one file.
    url : str
        Where it is; empty if it cannot be downloaded without a browser.
    sha256 : str or None
        None where none is known.
    sha256_source, note : str
        Who says so; what to know of the address.
    """

    name: str = ""
    url: str = ""
    sha256: str | None = None
    sha256_source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Dataset:
    """An entry of the catalogue.

    Parameters
    ----------
    name, title, task, licence, note : str
    paper : bool
        Whether the paper uses it; False for an extra set.
    table : str
        The ready table under the data folder; empty if there is none.
    citations : tuple of str
        DOIs.
    files : tuple of SourceFile
        What ``rinalmo-kit data get`` fetches and :mod:`rinalmo_kit.datasets.parsers` reads.
    also : tuple of SourceFile
        Further addresses.
    count_by : tuple of str
        Columns whose values, joined by a blank, are the keys of the counts.
    counts : mapping of str to int
        Rows that the paper states, with `counts_source`.
    resampled : bool
        The counts are those after :func:`rinalmo_kit.datasets.resampling.resample`.
    """

    name: str
    title: str
    task: str
    licence: str
    paper: bool = False
    table: str = ""
    citations: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    also: tuple[SourceFile, ...] = ()
    count_by: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    counts_source: str = ""
    note: str = ""
    resampled: bool = False


def _read() -> dict[str, Dataset]:
    path = next(f / "catalogue.toml" for f in data_folders() if (f / "catalogue.toml").exists())
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    for entry in entries.values():
        for key in ("files", "also"):
            entry[key] = tuple(SourceFile(**file) for file in entry.get(key, ()))
        for key in ("citations", "count_by"):
            entry[key] = tuple(entry.get(key, ()))
    return {name: Dataset(name=name, **entry) for name, entry in entries.items()}


CATALOGUE = _read()
"""Name → entry, for every dataset of the paper and the extra ones."""


def count_rows(table: pd.DataFrame, dataset: Dataset) -> dict[str, int]:
    """Count the rows of a tidy table as the catalogue does.

    Examples
    --------
    >>> import pandas as pd
    >>> count_rows(pd.DataFrame({"split": ["TR0", "TS0", "TR0"]}), CATALOGUE["bprna"])
    {'TR0': 2, 'TS0': 1}
    """
    if dataset.resampled:
        from .resampling import resample

        table = resample(table)
    if not dataset.count_by:
        return {}
    sizes = table.groupby(list(dataset.count_by), observed=True).size()
    return {
        " ".join(map(str, key)) if isinstance(key, tuple) else str(key): int(n) for key, n in sizes.items()
    }
