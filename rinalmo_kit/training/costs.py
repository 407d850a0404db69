"""Operations and memory of a training step, by formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ..model.config import Config
from ..model.flops import forward_flops
from ..recipes.recipe import PAPER
from ..rna.alphabet import VOCABULARY

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["activation_bytes", "training_flops"]


def training_flops(config: Config, lengths: ArrayLike, *, frozen: bool = False) -> tuple[float, float]:
    """Count the floating-point operations of a training step: forward, and twice that backward.

    To those of :func:`rinalmo_kit.model.flops.forward_flops` (with the backward pass about 6 N a token) come
    ``2 · (d² + 22 d)`` in the language-model head, which sees 15 % of the tokens. What gradient checkpointing
    computes again is not counted: utilisation is that of the model's own operations.

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
    >>> from rinalmo_kit.model.flops import parameters
    >>> total, attention = training_flops(Config.giga(), [1024] * 100)
    >>> round(total / (6 * parameters(Config.giga()) * 102400), 2), round(attention / total, 2)
    (1.13, 0.12)
    """
    d, tokens = config.dim, float(np.sum(lengths))
    linear, attention = forward_flops(config, lengths)
    head = PAPER.mask_fraction * tokens * 2 * (d * d + len(VOCABULARY) * d)
    passes = 1 if frozen else 3
    return passes * (linear + attention) + 3 * head, passes * attention


def activation_bytes(
    config: Config, *, precision: Literal["32", "bf16"] = "bf16", gradient_checkpointing: bool = False
) -> tuple[float, float]:
    """Return the bytes that autograd keeps for the backward pass, for each token.

    A block keeps the inputs and outputs of its two LayerNorms, qkv, the rotated q and k, and the result of attention,
    once for attention and once for the map after it (11 vectors of width d in all), and five of the hidden width h from
    the SwiGLU. With autocast to bf16 these take 2 bytes a number, but for the inputs of the LayerNorms and two of the
    SwiGLU's. Two dropout masks (1 byte) and a few numbers a row or head come on top. With checkpointing a block keeps
    its input alone, and all of one block at a time.

    Parameters
    ----------
    config : Config
    precision : {"32", "bf16"}
    gradient_checkpointing : bool

    Returns
    -------
    kept, passing : float
        What stays from the forward to the backward pass, and what is held for one block at a time.

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
    ends = 4 * d + PAPER.mask_fraction * (
        4 * low * d + 8 * len(VOCABULARY)
    )  # last LayerNorm, language-model head
    if gradient_checkpointing:
        return config.blocks * 4 * d + ends, block
    return config.blocks * block + ends, 0.0
