"""Progress bars."""

from __future__ import annotations

from typing import Any


def progress_bar(total: int | None, what: str, *, shown: bool) -> Any:
    """Open a tqdm bar that counts RNAs."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not shown, desc=what, unit="RNA")
