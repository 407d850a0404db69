"""RiNALMo, the RNA language model: load it, embed and fold with it, train it.

>>> import rinalmo_kit as rk
>>> rk.fold("GGGGAAAACCCC").sequence
'GGGGAAAACCCC'
"""

import importlib
from typing import Any

from . import datasets, formats, hub, metrics, structure, tokens
from .checks import check
from .formats import read_structures, write_structures
from .hub import load, save
from .inference import embed, fold, predict, refold
from .model import Config, ModelOutput, RiNALMo
from .structure import Structure
from .tokens import VOCABULARY, tokenize

__version__ = "0.1.0"

__all__ = [
    "VOCABULARY",
    "Config",
    "ModelOutput",
    "RiNALMo",
    "Structure",
    "adapt",
    "baselines",
    "check",
    "confidence",
    "corpus",
    "datasets",
    "embed",
    "estimate",
    "evaluate",
    "evaluation",
    "explain",
    "finetune",
    "fold",
    "formats",
    "hub",
    "jobs",
    "leaks",
    "load",
    "maps",
    "metrics",
    "models",
    "plan",
    "plot",
    "predict",
    "pretrain",
    "programs",
    "read_structures",
    "recipes",
    "refold",
    "save",
    "splits",
    "structure",
    "tokenize",
    "tokens",
    "widgets",
    "write_structures",
]

_LAZY = {  # what needs an extra, or is slow to import
    "adapt": "rinalmo_kit.adapters",
    "baselines": "rinalmo_kit.baselines",
    "explain": "rinalmo_kit.explain",
    "programs": "rinalmo_kit.programs",
    "corpus": "rinalmo_kit.corpus",
    "maps": "rinalmo_kit.maps",
    "plan": "rinalmo_kit.planner",
    "plot": "rinalmo_kit.plot",
    "pretrain": "rinalmo_kit.pretraining",
    "widgets": "rinalmo_kit.widgets",
    "finetune": "rinalmo_kit.finetuning",
    "jobs": "rinalmo_kit.jobs",
    "models": "rinalmo_kit.registry",
    "confidence": "rinalmo_kit.confidence",
    "estimate": "rinalmo_kit.estimates",
    "evaluate": "rinalmo_kit.evaluation",
    "evaluation": "rinalmo_kit.evaluation",
    "leaks": "rinalmo_kit.leaks",
    "recipes": "rinalmo_kit.recipes",
    "splits": "rinalmo_kit.splits",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rinalmo_kit' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return getattr(module, name, module)


def __dir__() -> list[str]:
    return sorted(__all__)
