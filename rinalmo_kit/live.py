"""What the widgets share: their files, and what a saved page shows in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .extras import optional

anywidget = optional(
    "anywidget", "widgets need anywidget: pip install 'rinalmo-kit[notebooks]'", needs=("AnyWidget",)
)

__all__ = ["LiveWidget", "asset"]


def asset(*names: str) -> str:
    """Join files of the folder ``assets``: a page takes one script and one style sheet of a widget."""
    return "\n".join((Path(__file__).parent / "assets" / name).read_text(encoding="utf-8") for name in names)


class LiveWidget(anywidget.AnyWidget):
    """A widget with something to show where there is no kernel."""

    def saved(self) -> dict[str, str]:
        """Give what stands for the widget in a saved page, by media type."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = super()._repr_mimebundle_(**options)
        if found is None:
            return None
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return {**data, **self.saved()}, metadata
