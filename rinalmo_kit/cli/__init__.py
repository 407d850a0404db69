"""The command ``rinalmo-kit``, one file for each group of commands."""

from .main import main

__all__ = ["main"]
