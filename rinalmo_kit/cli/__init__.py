"""The command ``rinalmo-kit``, one file for each group of commands."""

from .main import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return sorted(__all__)
