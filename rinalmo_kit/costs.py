"""What a model costs: operations and bytes of a training step, and what GPUs offer.

The formulas count what the model of :mod:`rinalmo_kit.model` does on a GPU with flash-attn (packed tokens, nothing
computed for padding); the tests compare them with torch's own counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .model import Config
from .recipes import PAPER
from .tokens import VOCABULARY

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

__all__ = ["GPUS", "activation_bytes", "forward_flops", "parameters", "peak_flops", "training_flops"]

GB = 1e9


class GPU(NamedTuple):
    """A GPU: peak of its dense matrix units in bf16 (fp16 where it has no bf16), FLOP/s, and memory in bytes."""

    flops: float
    memory: float


GPUS: dict[str, GPU] = {
    "a100-80gb": GPU(312e12, 80 * GB),
    "a100-40gb": GPU(312e12, 40 * GB),
    "h100": GPU(989.4e12, 80 * GB),
    "h100-pcie": GPU(756e12, 80 * GB),
    "h100-nvl": GPU(835.5e12, 94 * GB),
    "h200": GPU(989.4e12, 141 * GB),
    "b200": GPU(2250e12, 180 * GB),
    "l40s": GPU(362e12, 48 * GB),
    "l40": GPU(181e12, 48 * GB),
    "l4": GPU(121e12, 24 * GB),
    "a10g": GPU(70e12, 24 * GB),
    "a6000": GPU(154.8e12, 48 * GB),
    "a40": GPU(149.7e12, 48 * GB),
    "rtx-4090": GPU(165.2e12, 24 * GB),
    "rtx-3090": GPU(71e12, 24 * GB),
    "v100-32gb": GPU(125e12, 32 * GB),
    "t4": GPU(65e12, 16 * GB),
}
"""Data sheets of the vendor, without sparsity and with sums in float32; Lightning's table, which is used for the
rest, has the numbers with sparsity for some cards and those of the ordinary cores for others."""


def parameters(config: Config) -> int:
    """Count the parameters, the language-model head included (spec §1.1).

    Examples
    --------
    >>> parameters(Config.giga())
    650901793
    """
    d, h, v = config.dim, config.ffn_hidden, len(VOCABULARY)
    block = 4 * d * d + 3 * d * h + 2 * h + d + 4 * d + 1
    return v * d + config.blocks * block + 2 * d + d * d + d + 2 * d + v * d + v


def forward_flops(config: Config, lengths: ArrayLike) -> tuple[float, float]:
    """Count the operations of the encoder's forward pass: those of the linear maps, and those of attention.

    Parameters and formulas are those of :func:`training_flops`.

    Examples
    --------
    >>> forward_flops(Config(64, 1, heads=4), [10])
    (980480.0, 25600.0)
    """
    d, h = config.dim, config.ffn_hidden
    lengths = np.asarray(lengths, dtype=np.float64)
    linear = float(lengths.sum()) * config.blocks * 2 * (4 * d * d + 3 * d * h)
    return linear, config.blocks * 4 * d * float((lengths**2).sum())


def training_flops(config: Config, lengths: ArrayLike, *, frozen: bool = False) -> tuple[float, float]:
    """Count the floating-point operations of a training step: forward, and twice that backward.

    A token takes ``2 · (4 d² + 3 d h)`` operations a block in the linear maps (two for each of their weights: about
    6 N a token with the backward pass), ``4 d L`` in attention (scores and weighted sum over the L tokens of its
    sequence) and ``2 · (d² + 22 d)`` in the language-model head, which sees 15 % of the tokens. What gradient
    checkpointing computes again is not counted: utilisation is that of the model's own operations.

    Parameters
    ----------
    config : Config
    lengths : array-like of int
        Tokens of each sequence.
    frozen : bool
        Only the head is trained.

    Returns
    -------
    (float, float)
        All operations, and those of attention among them.

    Examples
    --------
    >>> total, attention = training_flops(Config.giga(), [1024] * 100)
    >>> round(total / (6 * parameters(Config.giga()) * 102400), 2), round(attention / total, 2)
    (1.13, 0.12)
    """
    d, tokens = config.dim, float(np.sum(lengths))
    linear, attention = forward_flops(config, lengths)
    head = PAPER.chosen * tokens * 2 * (d * d + len(VOCABULARY) * d)
    passes = 1 if frozen else 3
    return passes * (linear + attention) + 3 * head, passes * attention


def activation_bytes(
    config: Config, *, precision: Literal["32", "bf16"] = "bf16", gradient_checkpointing: bool = False
) -> tuple[float, float]:
    """Bytes that autograd keeps for the backward pass, for each token.

    A block keeps the inputs and outputs of its two LayerNorms, qkv, the rotated q and k, and the result of attention,
    once for attention and once for the map after it (11 vectors of width d in all), and five of the hidden width h from
    the SwiGLU. With autocast to bf16 these take 2 bytes a number, but for the inputs of the LayerNorms and two of the
    SwiGLU's. Two dropout masks (1 byte) and a few numbers a row or head come on top. With checkpointing a block keeps
    its input alone, and the whole of one block is there at a time.

    Parameters
    ----------
    config : Config
    precision : {"32", "bf16"}
    gradient_checkpointing : bool

    Returns
    -------
    kept, passing : float
        What stays from the forward to the backward pass, and what is there for one block at a time.

    Examples
    --------
    >>> [round(b / 1000) for b in activation_bytes(Config.giga())]
    [2769, 0]
    >>> [round(b / 1000) for b in activation_bytes(Config.giga(), gradient_checkpointing=True)]
    [176, 84]
    """
    d, h = config.dim, config.ffn_hidden
    low = 2 if precision == "bf16" else 4
    swiglu = h * (3 * low + 2 * 4)
    block = 2 * 4 * d + 9 * low * d + swiglu + 2 * d + 4 * (4 + config.heads)
    ends = 4 * d + PAPER.chosen * (4 * low * d + 8 * len(VOCABULARY))  # last LayerNorm, language-model head
    if gradient_checkpointing:
        return config.blocks * 4 * d + ends, block
    return config.blocks * block + ends, 0.0


def peak_flops(device: torch.device | str, *, half: bool = False) -> float | None:
    """Peak of a device, FLOP/s; None where it is not known.

    GPUs: from :data:`GPUS`, else from Lightning's table. CPU: measured once by multiplying matrices.
    """
    import torch

    device = torch.device(device)
    if device.type == "cpu":
        return _cpu_peak(torch.get_num_threads(), torch.bfloat16 if half else torch.float32)
    if device.type != "cuda":
        return None
    if half and (known := gpu_named(torch.cuda.get_device_name(device))):
        return GPUS[known].flops
    try:
        from lightning.fabric.utilities.throughput import get_available_flops

        return get_available_flops(device, torch.bfloat16 if half else torch.float32)
    except Exception:  # absent, broken, or a card that it does not know
        return None


def gpu_named(name: str) -> str | None:
    """Find the entry of :data:`GPUS` for a name as CUDA gives it.

    Examples
    --------
    >>> gpu_named("NVIDIA A100-SXM4-80GB"), gpu_named("NVIDIA GeForce RTX 4090"), gpu_named("NVIDIA X1")
    ('a100-80gb', 'rtx-4090', None)
    """
    words = set(name.lower().replace("-", " ").split())
    matching = [key for key in GPUS if set(key.split("-")) <= words]
    return max(matching, key=len, default=None)


_PEAKS: dict[tuple[int, Any], float] = {}


def _cpu_peak(threads: int, dtype: torch.dtype) -> float:
    """Speed of a matrix product with this many threads, the best of a few; about a tenth of a second."""
    import time

    import torch

    if (threads, dtype) not in _PEAKS:
        a, b = torch.rand(2, 768, 768).to(dtype).unbind(0)
        best = math.inf
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - start)
        _PEAKS[threads, dtype] = 2 * 768**3 / best
    return _PEAKS[threads, dtype]
