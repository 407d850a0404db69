"""Parameters of a model, and the operations of its forward pass, by formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..rna.alphabet import VOCABULARY
from .config import Config

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["forward_flops", "parameters"]


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
