"""Weights of the golden models: a pure function of key, shape and seed, so that no file is needed.

The recipe (splitmix64 of crc32 of the key and the index) is that of the golden data's README.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo

CONFIGS = {
    "tiny": Config(64, 2, 4),
    "nano": Config.nano(),
    "micro": Config.micro(),
    "mega": Config.mega(),
    "giga": Config.giga(),
}


def uniform(key: str, size: int, seed: int = 1) -> np.ndarray:
    """Return float32 numbers in [-1, 1), a function of the key and the seed."""
    start = np.uint64(zlib.crc32(f"{seed}:{key}".encode()) << 32)
    z = np.arange(size, dtype=np.uint64) + start  # all arithmetic is modulo 2⁶⁴
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def golden_state(keys_and_shapes: Mapping[str, Sequence[int]], seed: int = 1) -> dict[str, torch.Tensor]:
    """Return the golden weights of the given parameters."""
    state = {}
    for key, shape in keys_and_shapes.items():
        shape = tuple(shape)
        u = uniform(key, math.prod(shape), seed).reshape(shape)
        if key.endswith(".beta"):
            value = np.float32(1) + np.float32(0.5) * u
        elif "layer_norm.weight" in key:
            value = np.float32(1) + np.float32(0.3) * u
        elif "layer_norm.bias" in key:
            value = np.float32(0.3) * u
        elif key.endswith(".bias"):
            value = np.float32(0.1) * u
        elif key == "embedding.weight":
            value = np.float32(1.75) * u
            value[1] = 0
        else:
            gain = 1.25 if "Wqkv" in key else 1.0
            value = u * np.float32(gain * math.sqrt(3 / math.prod(shape[1:])))
        state[key] = torch.from_numpy(value)
    return state


def golden_model(name: str) -> RiNALMo:
    """Return a golden model, ready to encode."""
    with torch.device("meta"):
        model = RiNALMo(CONFIGS[name])
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    model.load_state_dict(golden_state(shapes), assign=True)
    return model.eval()


def state_hash(state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of all keys and values, in the order of the keys."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].detach().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def write_derived_files(folder: Path) -> None:
    """Write what follows from the recipe of the weights: the small model's heads and fine-tuned checkpoints."""
    dim = CONFIGS["tiny"].dim
    lm = golden_model("tiny").state_dict()
    heads = {
        "ss": (StructureHead(dim), "lm.", {"threshold": 0.17}),
        "mrl": (
            RibosomeLoadHead(dim),
            "lm.",
            {"scaler._mean": torch.tensor([7.25]), "scaler._std": torch.tensor([1.5])},
        ),
        "splice": (ClassificationHead(dim, 128, 1), "rinalmo.", {}),
        "ncrna": (ClassificationHead(dim, 256, 88), "rinalmo.", {}),
    }
    for task, (module, prefix, more) in heads.items():
        shapes = {f"{task}.{key}": value.shape for key, value in module.state_dict().items()}
        head = {key.removeprefix(f"{task}."): value for key, value in golden_state(shapes).items()}
        save_file(head, folder / f"head_{task}_tiny.safetensors")
        state = {prefix + key: value for key, value in lm.items()}
        state |= {f"pred_head.{key}": value for key, value in head.items()} | more
        torch.save(state, folder / f"tiny_ft_{task}.pt")
    wrapped = {"epoch": 24, "state_dict": state, "hyper_parameters": {"lm_config": "tiny", "n_classes": 88}}
    torch.save(wrapped, folder / "tiny_ft_ncrna_lightning.ckpt")
