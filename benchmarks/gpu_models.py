"""Random encoders and RNAs that ``python -m benchmarks gpu`` measures with, and giving their memory back."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from tests.helpers.golden import CONFIGS

from .gpu import Bench, with_patience

SEED = 0


def config_of(size: str) -> Config:
    """Return the configuration of a size; ``tiny`` is that of the golden data."""
    return CONFIGS[size]


def random_model(bench: Bench, size: str, *, dtype: torch.dtype = torch.float32, **changes: Any) -> RiNALMo:
    """Return an encoder with random weights, made on the device."""
    torch.manual_seed(SEED)
    with torch.device(bench.device):
        return RiNALMo(replace(config_of(size), **changes)).to(dtype).eval()


def random_sequences(number: int, shortest: int, longest: int) -> list[str]:
    """Return so many RNAs of random length, the same in each run."""
    random = np.random.default_rng(SEED)
    lengths = random.integers(shortest, longest + 1, number)
    return ["".join(random.choice(list("ACGU"), length)) for length in lengths]


def clear(bench: Bench) -> None:
    """Give back the memory of what is measured no more."""
    gc.collect()
    if bench.device.type == "cuda":
        with_patience(torch.cuda.empty_cache)
