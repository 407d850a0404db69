"""Progress bars."""

from __future__ import annotations

import io
import sys
from typing import Any

from tqdm import tqdm


class PageBar(tqdm):
    """Show a bar in a notebook as text that is replaced: the saved page keeps its last state."""

    handle: Any = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        from IPython.display import display

        content = {"text/plain": str(self) if msg is None else msg}
        if not content["text/plain"]:  # the bar is closed
            return
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def progress_bar(total: int | None, what: str, *, shown: bool, unit: str = "RNA") -> Any:
    """Open a tqdm bar that counts RNAs, or other units; in a notebook its last state stays in the saved page."""
    options: dict[str, Any] = {"total": total, "disable": not shown, "desc": what, "unit": unit}
    if shown and in_notebook():
        return PageBar(**options, file=io.StringIO(), ncols=88, ascii=False)
    return tqdm(**options)


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
