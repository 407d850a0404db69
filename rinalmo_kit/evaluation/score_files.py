"""Files of scores: CSV to which evaluations add their lines, with the command, the commit and the date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.cells import is_missing
from .._utils.files import atomic_write, remove_left_over
from .._utils.run_folders import patient_lock

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add_lines", "read_lines"]

KEYS = ["model", "recipe", "group", "fold", "metric"]
"""What tells the lines of a file of scores apart."""


def add_lines(path: Path, lines: pd.DataFrame) -> None:
    """Add lines to a CSV of scores; lines for the same model, recipe, group, fold and metric are replaced.

    Of several that add to a file at the same time, each waits for the others.
    """
    import pandas as pd

    with patient_lock(path):
        remove_left_over(path)
        lines = lines.map(_cell)
        old = read_lines(path)
        if old is not None:
            given = set(lines[KEYS].itertuples(index=False, name=None))
            kept = [row not in given for row in old[KEYS].itertuples(index=False, name=None)]
            lines = pd.concat([old[kept], lines]).fillna("") if any(kept) else lines
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            lines.to_csv(temporary, index=False)


def _cell(value: Any) -> str:
    if is_missing(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_lines(path: Path) -> pd.DataFrame | None:
    """Return the lines of a CSV of scores as text; None if there are none yet."""
    import pandas as pd

    if not path.is_file() or not path.stat().st_size:
        return None
    try:
        lines = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a CSV of scores to add to ({error}): choose another output"
        ) from error
    if missing := [name for name in (*KEYS, "value") if name not in lines]:
        raise ValueError(
            f"{path} is not a CSV of scores to add to: its columns are {', '.join(map(str, lines))}, without "
            f"{', '.join(missing)}; choose another output"
        )
    return lines
