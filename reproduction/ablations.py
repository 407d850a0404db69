"""The paper's architecture with one part exchanged: learned positions for RoPE, GELU for SwiGLU.

To compare in pretraining from random weights; the files of such models cannot be loaded by name or path.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rinalmo_kit.model.attention import PackedBatch
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

__all__ = ["AblatedRiNALMo"]


class AblatedRiNALMo(RiNALMo):
    """RiNALMo with learned absolute positions, or with a plain GELU feed-forward network.

    Parameters
    ----------
    config : Config
    positions : {"rope", "learned"}
        Learned positions are added to the embedding of the tokens, as in BERT.
    activation : {"swiglu", "gelu"}
        GELU's hidden layer is half again as wide, so that the number of weights is the same.
    longest : int
        Tokens that learned positions reach.

    Raises
    ------
    ValueError
        For another value, and in use for a sequence beyond `longest`.

    Examples
    --------
    >>> from rinalmo_kit import tokenize
    >>> model = AblatedRiNALMo(Config(32, 1, heads=2), positions="learned", activation="gelu").eval()
    >>> model(tokenize(["ACGU"])).logits.shape
    torch.Size([1, 6, 22])
    """

    def __init__(
        self,
        config: Config,
        *,
        positions: Literal["rope", "learned"] = "rope",
        activation: Literal["swiglu", "gelu"] = "swiglu",
        longest: int = 1024,
    ) -> None:
        if positions not in ("rope", "learned") or activation not in ("swiglu", "gelu"):
            raise ValueError(
                f"positions={positions!r}, activation={activation!r}: 'rope' or 'learned', 'swiglu' or 'gelu'"
            )
        super().__init__(config)
        names = {"rope": "RoPE", "learned": "learned positions", "swiglu": "SwiGLU", "gelu": "GELU"}
        self.name = f"{names[positions]}, {names[activation]}"
        self.positions = nn.Embedding(longest, config.dim) if positions == "learned" else None
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=0.02)
        if activation == "gelu":
            hidden = round(1.5 * config.ffn_hidden)
            for block in self.transformer.blocks:
                block.transition = nn.Sequential(
                    nn.Linear(config.dim, hidden), nn.GELU(), nn.Linear(hidden, config.dim)
                )

    def encode(self, tokens: Tensor, packing: PackedBatch, *, maps: list[Tensor] | None = None) -> Tensor:
        """As :meth:`RiNALMo.encode`; with learned positions nothing is rotated."""
        if self.positions is not None:
            packing = Unrotated(packing.lengths, packing.batch_index, packing.positions, packing.backend)
        return super().encode(tokens, packing, maps=maps)

    def embed_tokens(self, tokens: Tensor, packing: PackedBatch) -> Tensor:
        """As :meth:`RiNALMo.embed_tokens`, with the learned positions."""
        x = super().embed_tokens(tokens, packing)
        if self.positions is None:
            return x
        if packing.width > len(self.positions.weight):
            raise ValueError(f"{packing.width} tokens: learned positions end at {len(self.positions.weight)}")
        return x + self.positions(packing.positions)


class Unrotated(PackedBatch):
    """A packing whose rotary angles are all zero."""

    def rotations(self, d_head: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines of 1 and sines of 0."""
        ones = torch.ones(len(self.positions), 1, 1, d_head // 2, dtype=dtype, device=self.positions.device)
        return ones, torch.zeros_like(ones)
