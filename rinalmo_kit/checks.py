"""Is my set-up right? Versions, device, attention backends, and known results recomputed."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ._utils.defaults import STRUCTURE
from ._utils.files import atomic_write
from .datasets.loading import load_structures
from .inference.embedding import embed
from .inference.folding import fold_each
from .model.attention import attention_backends
from .model.fused_blocks import MULTIPLE, compiler_works
from .model.pretrained import load
from .model.rinalmo import Encoder

__all__ = ["CheckReport", "check"]

REFERENCE = Path(__file__).parent / "weights" / "reference.json"


TOLERANCE = 1e-3  # of embeddings of order 1, in float32


HALF_COSINE = 0.98  # between embeddings in half precision and in float32


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check` found; shown as one line, ``print(report.details)`` shows the rest.

    Attributes
    ----------
    facts : dict
        Line by line.
    ok : bool
        Whether every recomputed result agrees.
    device : str
        Where models run, in words.
    """

    facts: dict[str, str]
    ok: bool
    device: str = "the CPU"

    @property
    def details(self) -> str:
        """Return versions, device, attention backends and recomputed results as a table."""
        width = max(map(len, self.facts))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.facts.items())

    def __repr__(self) -> str:
        if self.ok:
            return f"ready: folds on {self.device}"
        wrong = ", ".join(key for key, value in self.facts.items() if value.startswith("WRONG"))
        return (
            f"NOT READY: on {self.device} a known RNA gets a WRONG result ({wrong}). "
            "print(rinalmo_kit.check().details), or rinalmo-kit check --details, shows it"
        )


def check() -> CheckReport:
    """Refold a reference RNA on every backend, and say whether this set-up is ready and where it folds.

    The reference, ``weights/reference.json``, was written when the embedded weights were released: the
    structure of a real tRNA and a part of its embedding.

    Returns
    -------
    CheckReport
        One line; its ``details`` are versions, device and attention backends. ``ok`` is False if a result differs.

    Examples
    --------
    >>> print(check())  # doctest: +ELLIPSIS
    ready: folds on the ...
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
    facts["attention"] = attention_facts(model.device)
    facts["blocks"] = block_facts(model.device)
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
    if model.device.type == "cuda":
        name, verdict, right = half_precision(model, reference)
        facts[name], ok = verdict, ok and right
    facts["result"] = "this set-up computes what it should" if ok else "THIS SET-UP COMPUTES WRONG RESULTS"
    return CheckReport(facts, ok, _device_in_words(model.device))


def _device_in_words(device: torch.device) -> str:
    if device.type == "cuda":
        return f"the GPU ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    name = "the CPU" if device.type == "cpu" else f"the device {device.type}"
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def attention_facts(device: torch.device) -> str:
    """Return the attention backends of a device, the one that is taken first, by precision and dropout.

    Examples
    --------
    >>> attention_facts(torch.device("cpu"))
    'loop, padded; half precision: loop, padded; in training with dropout: loop, padded'
    """
    cases = {"": (torch.float32, 0.0), "half precision: ": (torch.float16, 0.0)}
    cases["in training with dropout: "] = (torch.float16, 0.1)
    return "; ".join(
        what + ", ".join(attention_backends(device, dtype, dropout=dropout))
        for what, (dtype, dropout) in cases.items()
    )


def block_facts(device: torch.device) -> str:
    """Say how the blocks are computed on a device."""
    if device.type == "cpu":
        return "buffers that are reused"
    if device.type != "cuda":
        return "one operation after the other"
    works = "torch.compile works" if compiler_works("cuda") else "torch.compile does not work"
    return f"fused, feed-forward widths padded to a multiple of {MULTIPLE}; {works}"


@torch.inference_mode()
def half_precision(model: Encoder, reference: dict[str, Any]) -> tuple[str, str, bool]:
    """Embed the reference in half precision on a GPU; return a name, a verdict, and whether it agrees."""
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    half = copy.deepcopy(model).to(dtype)
    half.attention = attention_backends(model.device, dtype)[0]
    rows = embed(reference["sequence"], model=half)[0][:: reference["every"]]
    wanted = np.array(reference["embedding"])
    cosine = (rows * wanted).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(wanted, axis=1)
    right = bool(cosine.min() > HALF_COSINE)
    verdict = "as expected" if right else "WRONG"
    name = f"reference, {half.attention}, {str(dtype).removeprefix('torch.')}"
    return name, f"{verdict} (cosine of embeddings {cosine.min():.4f})", right


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
