"""Averaged weights: an exponential moving average of a run's weights, validated and kept in their place."""

from __future__ import annotations

import torch
from torch import Tensor

from .._utils.extras import importing

with importing(
    "lightning.pytorch.callbacks.weight_averaging", "averaged weights need Lightning 2.6 or newer"
):
    from lightning.pytorch.callbacks.weight_averaging import WeightAveraging

__all__ = ["AveragedWeights"]

WARMUP = 10  # after n steps the average is over about n / 10 of them, until the decay allows more


class AveragedWeights(WeightAveraging):
    """Keep a moving average of the weights; it is validated, stored in checkpoints and what the run ends with.

    Parameters
    ----------
    decay : float
        Share of the average that stays at each step; less in the first steps, so that the initial weights are soon
        gone.
    """

    def __init__(self, decay: float) -> None:
        def average(averaged: tuple[Tensor, ...], current: tuple[Tensor, ...], number: Tensor) -> None:
            done = float(number)
            weight = 1 - min(decay, done / (done + WARMUP))
            torch._foreach_lerp_(list(averaged), list(current), weight)

        super().__init__(multi_avg_fn=average, use_buffers=False)
