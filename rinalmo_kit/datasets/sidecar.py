"""The file beside a table that says what the table holds instead of the published data, and how many rows of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._utils.files import atomic_write

__all__ = ["Sidecar", "read_sidecar", "sidecar_path", "write_sidecar"]


@dataclass(frozen=True)
class Sidecar:
    """A description of one table that is not, or not all of, the published dataset.

    Parameters
    ----------
    note : str
        What the table holds instead; scores on it carry this sentence.
    rows : mapping of str to int
        Rows of each group, under the keys of :func:`rinalmo_kit.datasets.catalogue.count_rows`.
    subset : bool
        Whether every row is one of the published dataset.
    """

    note: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    subset: bool = False


def sidecar_path(table: Path) -> Path:
    """Return the path of a table's sidecar.

    Examples
    --------
    >>> sidecar_path(Path("mrl.parquet")).name
    'mrl.parquet.json'
    """
    return table.with_name(f"{table.name}.json")


def read_sidecar(table: Path) -> Sidecar | None:
    """Read the sidecar of a table; None where there is none.

    Raises
    ------
    ValueError
        If the file is not such a description (names the file and what was expected).
    """
    path = sidecar_path(table)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    expected = 'expected {"note": "a sentence", "rows": {"group": 12}, "subset": false}'
    if not isinstance(content, dict) or not content.keys() <= {"note", "rows", "subset"}:
        raise ValueError(f"{path}: {expected}, found {json.dumps(content)[:60]}")
    one = Sidecar(**content)
    if not (isinstance(one.note, str) and isinstance(one.subset, bool) and isinstance(one.rows, dict)):
        raise ValueError(f"{path}: {expected}, found {json.dumps(content)[:60]}")
    for key, number in one.rows.items():
        if type(number) is not int or number < 0:
            raise ValueError(f"{path}, rows, {key!r}: expected a whole number, found {number!r}")
    return one


def write_sidecar(table: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar of a table and return its path."""
    content = {"note": sidecar.note, "rows": dict(sidecar.rows), "subset": sidecar.subset}
    with atomic_write(sidecar_path(table)) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return sidecar_path(table)
