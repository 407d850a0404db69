"""RiNALMo, the RNA language model: load it, embed and fold with it, train it.

>>> import rinalmo_kit as rk
>>> rk.fold("GGGGAAAACCCC").sequence
'GGGGAAAACCCC'
"""

from ._utils import openmp as _openmp  # noqa: F401  (before torch)

# isort: split
import importlib
from typing import Any

from . import datasets, metrics
from .checks import check
from .inference.embedding import embed
from .inference.folding import fold, refold
from .inference.prediction import predict
from .model.checkpoint import save
from .model.pretrained import load, models
from .model.tokenizer import tokenize
from .structure import Structure, read_structures, write_structures

__version__ = "0.1.0"

__all__ = [
    "Structure",
    "check",
    "datasets",
    "embed",
    "evaluate",
    "evaluation",
    "explain",
    "finetune",
    "fold",
    "load",
    "metrics",
    "models",
    "plot",
    "predict",
    "pretrain",
    "read_structures",
    "recipes",
    "refold",
    "save",
    "tokenize",
    "widgets",
    "write_structures",
]

_LAZY = {  # what needs an extra, or is slow to import
    "finetune": ".training.finetuning:finetune",
    "pretrain": ".training.pretraining:pretrain",
    "evaluate": ".evaluation.scoring:evaluate",
}
_MOVED = {  # names that left the front: "module:name", or the modules that a namespace became
    "Config": ".model.config:Config",
    "ModelOutput": ".model.rinalmo:ModelOutput",
    "RiNALMo": ".model.rinalmo:RiNALMo",
    "VOCABULARY": ".rna.alphabet:VOCABULARY",
    "adapt": ".model.multimolecule:adapt",
    "baselines": ".evaluation.baselines .evaluation.folding_programs",
    "confidence": ".inference.confidence",
    "corpus": ".datasets.corpus.build .datasets.corpus.store",
    "estimate": ".inference.estimate:estimate",
    "formats": ".rna.formats .structure",
    "hub": ".model.checkpoint .model.pretrained",
    "jobs": ".inference.bulk .inference.job_input .inference.shards",
    "leaks": ".evaluation.leakage",
    "maps": ".evaluation.embedding_maps",
    "plan": ".training.plan:plan",
    "programs": ".evaluation.folding_programs",
    "splits": ".recipes.splits .recipes.user_data .datasets.user_tables",
    "tokens": ".rna.alphabet .rna.sequences ._utils.text_files .model.tokenizer",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module, __name__), attribute)
    if name in ["cli", "evaluation", "inference", "model", "plot", "recipes", "training", "widgets"]:
        return importlib.import_module(f".{name}", __name__)
    if name == "explain":
        return importlib.import_module(".evaluation.interpretation", __name__)
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._utils.moved import Namespace
    from ._utils.warn import warn_user

    modules, _, attribute = _MOVED[name].partition(":")
    places = [f"{__name__}{module}" for module in modules.split()]
    where = " and ".join(places) if not attribute else f"{places[0]}.{attribute}"
    warn_user(f"{__name__}.{name} is now {where}", DeprecationWarning)
    found = [importlib.import_module(place) for place in places]
    if attribute:
        return getattr(found[0], attribute)
    return found[0] if len(found) == 1 else Namespace(name, found)


def __dir__() -> list[str]:
    return sorted(__all__)
