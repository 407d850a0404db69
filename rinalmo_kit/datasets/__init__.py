"""The datasets of the paper: find, load, get and check them."""

from .._utils.numbers import read_numbers
from .catalogue import CATALOGUE
from .loading import (
    EXAMPLES,
    TABLES,
    available,
    cache_dir,
    data_dir,
    data_note,
    find_table,
    load_structures,
    load_table,
)

__all__ = [
    "CATALOGUE",
    "EXAMPLES",
    "TABLES",
    "available",
    "cache_dir",
    "data_dir",
    "data_note",
    "find_table",
    "load_structures",
    "load_table",
    "read_numbers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
