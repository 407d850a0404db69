"""Base class of the widgets: their files, their messages, and their static form in a saved page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .._utils.extras import optional

__all__ = ["LiveWidget", "asset", "said"]

anywidget = optional(
    "anywidget", "widgets need anywidget: pip install 'rinalmo-kit[notebooks]'", needs=("AnyWidget",)
)


def asset(*names: str) -> str:
    """Return the joined text of files of the folder ``static``; a page takes one script and one style sheet."""
    return "\n".join((Path(__file__).parent / "static" / name).read_text(encoding="utf-8") for name in names)


def said(error: BaseException) -> str:
    """Return the message of an error; of an unusual one with its type.

    Examples
    --------
    >>> said(ValueError("no pairs")), said(KeyError("pair"))
    ('no pairs', "KeyError: 'pair'")
    """
    plain = isinstance(error, ValueError | OSError | RuntimeError | MemoryError | ImportError) and str(error)
    return plain or f"{type(error).__name__}: {error}".rstrip(": ")


if TYPE_CHECKING:
    from anywidget import AnyWidget
else:
    AnyWidget = anywidget.AnyWidget


class LiveWidget(AnyWidget):
    """A widget with something to show where there is no kernel; what its page sends is looked at before it is taken.

    Attributes
    ----------
    from_page : frozenset of str
        The traits that a page may set.
    offered : tuple of str
        The names that tab completion offers; all, if it is empty.
    """

    from_page: ClassVar[frozenset[str]] = frozenset()
    offered: ClassVar[tuple[str, ...]] = ()
    message: Any

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._on_message)

    def __dir__(self) -> list[str]:
        return (
            sorted((*self.offered, "close", "observe", "unobserve")) if self.offered else [*super().__dir__()]
        )

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Set the traits that a page sends; an invalid one is reported to the page and keeps its old value."""
        for name, value in sync_data.items():
            if name == "_view_count":
                super().set_state({name: value})
                continue
            try:
                if name not in self.from_page:
                    raise ValueError(f"{name} is not for the page to set")
                super().set_state({name: value})
            except Exception as error:
                self.complain(said(error))
                if name in self.keys:
                    self.send_state(name)

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        """Run what the page asks for, and report errors to it."""
        try:
            if not isinstance(content, dict):
                raise ValueError(f"expected a message with words, found {type(content).__name__}")
            self.do(content)
        except Exception as error:
            self.complain(said(error))

    def do(self, content: dict[str, Any]) -> None:
        """Run what a page asks for."""
        raise NotImplementedError

    def complain(self, text: str) -> None:
        """Show what is wrong."""
        self.message = {"text": text, "wrong": True}

    def static_mimebundle(self) -> dict[str, str]:
        """Return the static form of the widget for a saved page, by media type."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = super()._repr_mimebundle_(**options)
        if found is None:
            return None
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return {**data, **self.static_mimebundle()}, metadata
