"""Warnings that show the line of the user that led to them."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["warn_user"]

PACKAGE = __name__.partition(".")[0]

BETWEEN = ("importlib.", "contextlib", "torch.utils._contextlib")
"""Modules of decorators and imports, which stand between a user and the package."""


def warn_user(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the package, however far from it the warning arises.

    Parameters
    ----------
    message : str or Warning
    category : type of Warning
        Of a message that is a string.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_user("'b' is short")
    >>> str(caught[0].message)
    "'b' is short"
    """
    frame: FrameType | None = sys._getframe(1)
    assert frame is not None
    place, inside = frame, True
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        ours = module.partition(".")[0] == PACKAGE
        if inside and not ours and not module.startswith(BETWEEN):
            place, inside = frame, False  # the last one called all others: Lightning and pandas call us, too
        inside = inside or ours
        frame = frame.f_back
    names = place.f_globals
    warnings.warn_explicit(
        message,
        type(message) if isinstance(message, Warning) else category,
        place.f_code.co_filename,
        place.f_lineno,
        module=names.get("__name__", "<unknown>"),
        registry=names.setdefault("__warningregistry__", {}),
    )
