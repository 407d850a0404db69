"""Options that several commands have."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any

from .arguments import settings


def _trainer_options(options: argparse.Namespace, function: Callable) -> dict[str, Any]:
    """Return the options for Lightning, among which none of the function's own may be."""
    found = settings(options.trainer)
    if ours := found.keys() & inspect.signature(function).parameters.keys():
        raise ValueError(f"--trainer {min(ours)}: Lightning's Trainer has no such option")
    return found
