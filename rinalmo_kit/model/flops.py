"""Parameters of a model, and the operations of its forward pass, by formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..rna.alphabet import VOCABULARY
from .config import Config

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["encoder_flops", "forward_flops", "head_flops", "parameters"]

CHANNELS = 64  # of the structure head (spec §3.1)


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

    A token takes ``2 · (4 d² + 3 d h)`` operations a block in the linear maps (two for each of their weights) and
    ``4 d L`` in attention: scores and weighted sum over the L tokens of its sequence.

    Parameters
    ----------
    config : Config
    lengths : array-like of int
        Tokens of each sequence.

    Examples
    --------
    >>> forward_flops(Config(64, 1, heads=4), [10])
    (980480.0, 25600.0)
    """
    d, h = config.dim, config.ffn_hidden
    tokens = np.asarray(lengths, dtype=np.float64)
    linear = float(tokens.sum()) * config.blocks * 2 * (4 * d * d + 3 * d * h)
    return linear, config.blocks * 4 * d * float((tokens**2).sum())


def encoder_flops(config: Config, lengths: ArrayLike) -> float:
    """Count all operations of the encoder's forward pass, for the tokens of each sequence.

    Examples
    --------
    >>> f"{encoder_flops(Config.giga(), [1024]):.3g}"
    '1.51e+12'
    """
    return sum(forward_flops(config, lengths))


def head_flops(lengths: ArrayLike) -> float:
    """Count the operations of the structure head, for the nucleotides of each sequence (spec §3.1).

    They are those of 3 × 3 and 1 × 1 convolutions of L × L maps of 64 channels. Of the two blocks the first begins with
    a 1 × 1 convolution that is split into rows and columns and costs nothing.

    Examples
    --------
    >>> head_flops([100]) / 100**2
    173184.0
    """
    convolutions = CHANNELS**2 * (2 * 9 + 3) + CHANNELS * 9
    return 2.0 * convolutions * float((np.asarray(lengths, dtype=float) ** 2).sum())
