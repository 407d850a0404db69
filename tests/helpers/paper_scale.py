"""Lets a notebook take its ``SCALE = "paper"`` path in a minute: official models are small stand-ins, runs are short.

What a notebook calls stays real: recipes, tables, training, scores and figures. Only sizes and numbers of rows shrink.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import rinalmo_kit as rk
from rinalmo_kit.model import multimolecule, pretrained
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo

SMALL = Config(32, 3, heads=2)
ROWS, STEPS = 12, 2


def stand_in(name: str) -> RiNALMo:
    """Return a small model with the head, and what else is known, of an official one."""
    torch.manual_seed(0)
    model = RiNALMo(SMALL).eval()
    kind = name.partition("-")[2].partition("-")[0]
    if kind == "ss":
        model.head, model.threshold = StructureHead(SMALL.dim), 0.5
    elif kind == "splice":
        model.head = ClassificationHead(SMALL.dim, SMALL.dim, 1)
    elif kind == "ncrna":
        model.labels = tuple(sorted(rk.datasets.load_table("rfam88")["label"].unique()))
        model.head = ClassificationHead(SMALL.dim, SMALL.dim, len(model.labels))
    elif kind == "mrl":
        model.head, model.scaler = RibosomeLoadHead(SMALL.dim), (1.0, 2.0)
    return model.eval()


def shrink() -> None:
    """Put small official models and short runs in place of the paper's, in this process."""
    folder = Path(tempfile.mkdtemp())

    def official_file(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        return path if path.exists() else rk.save(stand_in(name), path)

    pretrained.official_file = official_file
    for size in ("micro", "mega", "giga"):
        setattr(Config, size, staticmethod(lambda: SMALL))
    multimolecule.adapt = lambda _: stand_in("giga")
    rk.finetune = with_fewer(rk.finetune, steps=True)
    rk.evaluate = with_fewer(rk.evaluate)
    rk.evaluation.compare = with_fewer(rk.evaluation.compare)
    pretrain = rk.pretrain

    def short(*given: Any, **options: Any) -> Any:
        few = {"steps": 10 * options.get("accumulate_grad_batches", 1), "tokens_per_batch": 2048}
        return pretrain(*given, **options | few | {"validate_every": 5, "accelerator": "cpu", "workers": 0})

    rk.pretrain = short


def with_fewer(function: Callable[..., Any], *, steps: bool = False) -> Callable[..., Any]:
    """Return the function for a few rows of a table; a training ends after a few steps."""

    @functools.wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        if options.get("limit") is None:
            options["limit"] = ROWS
        if steps:
            options["changes"] = {"steps": STEPS} | dict(options.get("changes") or {})
        return function(*given, **options)

    return call
