"""Progress bars."""

from __future__ import annotations

from typing import Any


def progress_bar(total: int | None, what: str, *, shown: bool, unit: str = "RNA") -> Any:
    """Open a tqdm bar that counts RNAs, or other units."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not shown, desc=what, unit=unit)
