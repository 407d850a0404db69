"""Optional software: imported where it is wanted, and where it fails, an error says what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from .warn import warn_user

__all__ = ["importing", "optional", "usable"]


@contextmanager
def importing(module: str, absent: str) -> Iterator[None]:
    """Import optional software in a ``with`` block; tells what is absent from what is there and does not work.

    Parameters
    ----------
    module : str
        The package that is imported from.
    absent : str
        What to say where it is not installed: what needs it, and how to get it.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    ImportError
        If it is there, but importing it fails, in whatever way; says how.

    Examples
    --------
    >>> with importing("an_abacus", "counting needs an abacus: pip install abacus"):
    ...     import an_abacus
    Traceback (most recent call last):
    ModuleNotFoundError: counting needs an abacus: pip install abacus
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever its author, or a shadow of the same name, lets out
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise ModuleNotFoundError(absent, name=module) from error
        wrong = f"{type(error).__name__}: {error}".strip(": ")
        _, pip, packages = absent.partition("pip install ")
        again = f", or install it anew: {pip}{packages}" if packages else ""
        raise ImportError(
            f"{module} is there, but cannot be used: importing it ended with {wrong}. "
            f"Mend or remove {_place(module)}{again}",
            name=module,
        ) from error


def optional(module: str, absent: str, *, needs: Sequence[str] = ()) -> ModuleType:
    """Import an optional module and return it; what it needs to have tells it from another one of its name.

    Parameters
    ----------
    module, absent : str
        As for :func:`importing`.
    needs : sequence of str
        Names that are used.

    Raises
    ------
    ModuleNotFoundError, ImportError
        As for :func:`importing`; also if a name is missing.

    Examples
    --------
    >>> optional("json", "JSON needs json", needs=["loads"]).__name__
    'json'
    >>> optional("json", "JSON needs json", needs=["fold"])
    Traceback (most recent call last):
    ImportError: json has no 'fold': ...json/__init__.py is another module of this name, or too old a version
    """
    with importing(module.partition(".")[0], absent):
        found = importlib.import_module(module)
    if missing := [name for name in needs if not hasattr(found, name)]:
        raise ImportError(
            f"{module} has no {missing[0]!r}: {_place(module)} is another module of this name, or too old a version",
            name=module,
        )
    return found


def usable(module: str, *, needs: Sequence[str] = ()) -> bool:
    """Return whether optional software can be used; where it is installed and cannot, a warning says why.

    Examples
    --------
    >>> usable("json", needs=["loads"]), usable("an_abacus")
    (True, False)
    """
    try:
        optional(module, "", needs=needs)
    except ModuleNotFoundError:
        return False
    except ImportError as error:
        warn_user(f"left out: {error}")
        return False
    return True


def _place(module: str) -> str:
    """Find where a module lies, without importing it."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is None:
            return module
        return spec.origin or str(next(iter(spec.submodule_search_locations or ()), module))
    except Exception:  # of a broken one, nothing is certain
        return module
