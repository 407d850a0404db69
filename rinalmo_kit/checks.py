"""Is my set-up right? Versions, device, attention backends, and known results recomputed."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ._utils.defaults import STRUCTURE
from ._utils.files import atomic_write
from .datasets.loading import load_structures
from .inference.embedding import embed
from .inference.folding import fold_each
from .model.attention import attention_backends
from .model.pretrained import load

__all__ = ["CheckReport", "check"]

REFERENCE = Path(__file__).parent / "weights" / "reference.json"


TOLERANCE = 1e-3  # of embeddings of order 1, in float32


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check` found; printed as a table.

    Attributes
    ----------
    facts : dict
        Line by line.
    ok : bool
        Whether every recomputed result agrees.
    """

    facts: dict[str, str]
    ok: bool

    def __repr__(self) -> str:
        width = max(map(len, self.facts))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.facts.items())


def check() -> CheckReport:
    """Report versions, device and attention backends, and refold a reference RNA on every backend.

    The reference, ``weights/reference.json``, was written when the embedded weights were released: the
    structure of a real tRNA and a part of its embedding.

    Returns
    -------
    CheckReport
        Its ``ok`` is False if a result differs; the table says which.

    Examples
    --------
    >>> check().ok
    True
    """
    packages = ["torch", "numpy", "safetensors", "lightning", "ipywidgets", "flash-attn", "viennarna"]
    facts = {"python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    for package in ["rinalmo-kit", *packages]:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
        except Exception as error:  # damaged metadata
            facts[package] = f"cannot be read: {type(error).__name__}: {error}"
    model = load(STRUCTURE)
    name = torch.cuda.get_device_name() if model.device.type == "cuda" else platform.processor() or "cpu"
    facts["device"] = f"{model.device} ({name}), {torch.get_num_threads()} threads"
    half = ", ".join(attention_backends(model.device, torch.float16))
    facts["attention"] = (
        f"{', '.join(attention_backends(model.device, torch.float32))}; half precision: {half}"
    )
    reference = json.loads(REFERENCE.read_text())
    known = [("reference", reference["sequence"])]
    ok = True
    for backend in attention_backends(model.device, torch.float32):
        model.attention = backend
        found = next(fold_each(known, model=model, energy=None)).dot_bracket
        difference = np.abs(
            embed(reference["sequence"], model=model)[0][:: reference["every"]] - reference["embedding"]
        ).max()
        right = found == reference["dot_bracket"] and bool(difference < TOLERANCE)
        ok &= right
        verdict = "as expected" if right else f"WRONG: expected {reference['dot_bracket']}, found {found}"
        facts[f"reference, {backend}"] = f"{verdict} (embedding differs by {difference:.1e})"
    facts["result"] = "this set-up computes what it should" if ok else "THIS SET-UP COMPUTES WRONG RESULTS"
    return CheckReport(facts, ok)


def write_reference(every: int = 25) -> None:
    """Write the reference anew, when the embedded weights change."""
    sequence = load_structures("examples")[0].sequence
    model = load(STRUCTURE, device="cpu")
    content = {
        "about": f"yeast tRNA-Phe folded by {STRUCTURE}, and every {every}th row of its embedding; float32, CPU",
        "sequence": sequence,
        "dot_bracket": next(fold_each([("reference", sequence)], model=model, energy=None)).dot_bracket,
        "every": every,
        "embedding": embed(sequence, model=model)[0][::every].astype(float).round(5).tolist(),
    }
    with atomic_write(REFERENCE) as temporary:
        temporary.write_text(json.dumps(content) + "\n")
