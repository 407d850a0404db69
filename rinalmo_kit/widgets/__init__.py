"""Live widgets for notebooks (extra ``notebooks``): folding studio, embedding explorer, training monitor."""

from __future__ import annotations

import importlib
from typing import Any

from .folding_studio import FoldingStudio

__all__ = ["EmbeddingExplorer", "FoldingStudio", "TrainingMonitor"]

_LAZY = {
    "EmbeddingExplorer": ".embedding_explorer",
    "TrainingMonitor": ".training_monitor",
}  # these need other extras, too


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name], __package__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
