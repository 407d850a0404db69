"""The paper's pretraining, as data."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Config

__all__ = ["PAPER", "Pretraining"]


@dataclass(frozen=True)
class Pretraining:
    """The paper's pretraining, as data.

    Attributes
    ----------
    chosen, masked, replaced : float
        Share of the tokens that is to be predicted, and of these the shares that are masked or replaced by another
        letter; the rest stays as it is (paper, "Pre-training").
    max_tokens : int
        Longer sequences are cropped (spec §6).
    sequences, gpus : int
        "The batch size was set to 192 per GPU", of seven.
    steps : int
        Length of the cosine in the released configuration (spec §6); the paper does not say how long it trained.
    warmup_steps, warmup_from : int, float
        "During the warm-up period, learning rate increases from 1e-7 to 5e-5 for 2000 steps".
    final_lr : float
        "For the cosine annealing schedule, the minimum learning rate was set to 1e-5".
    weight_decay : float
        Of AdamW, in the released configuration (spec §6), for all parameters, biases and norms among them.
    clip : float
        "The gradient norm was clipped to 1.0".
    """

    chosen: float = 0.15
    masked: float = 0.8
    replaced: float = 0.1
    max_tokens: int = 1024
    sequences: int = 192
    gpus: int = 7
    steps: int = 200_000
    warmup_steps: int = 2000
    warmup_from: float = 1e-7
    final_lr: float = 1e-5
    weight_decay: float = 0.01
    clip: float = 1.0

    @property
    def tokens_per_batch(self) -> int:
        """Tokens of a batch, if all its sequences are of full length."""
        return self.sequences * self.gpus * self.max_tokens

    def lr(self, config: Config) -> float:
        """Peak learning rate: 5e-5 for giga (paper), 1e-4 for the smaller ones (released configuration, spec §6)."""
        return 5e-5 if config.dim >= Config.giga().dim else 1e-4


PAPER = Pretraining()
