"""A block of the encoder: attention with rotary positions, SwiGLU, residuals."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import cpu_training, fused_blocks
from .attention import PackedBatch, attend, attention_weights, rotate
from .config import Config


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions; no biases."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.Wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(
        self, x: Tensor, packing: PackedBatch, rotations: tuple[Tensor, Tensor], maps: list[Tensor] | None
    ) -> Tensor:
        qkv = self.Wqkv(x).unflatten(-1, (3, self.heads, -1))  # (N, 3, heads, d_head)
        q, k = rotate(qkv[:, :2], *rotations).unbind(1)
        if maps is not None:
            maps.append(attention_weights(q, k, packing))
        out = attend(q, k, qkv[:, 2], packing, self.dropout if self.training else 0.0)
        return self.out_proj(out.flatten(1))


class SwiGLU(nn.Module):
    """``a · sigmoid(beta · a) · g`` with ``a`` and ``g`` two linear maps of the input and a learned beta."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, hidden)
        self.linear_gate = nn.Linear(dim, hidden)
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        a, gate = self.linear(x), self.linear_gate(x)
        if self.training and cpu_training.is_supported(a):
            return cpu_training.gated(a, gate, self.beta)
        if torch.is_grad_enabled():
            return a * torch.sigmoid(self.beta * a) * gate
        return (a * self.beta).sigmoid_().mul_(a).mul_(gate)


class Block(nn.Module):
    """One Transformer block: attention, then feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mh_attn = Attention(config)
        self.attn_layer_norm = nn.LayerNorm(config.dim)
        self.out_layer_norm = nn.LayerNorm(config.dim)
        self.residual_dropout = nn.Dropout(config.residual_dropout)
        hidden = config.ffn_hidden
        # Index 1 is a dropout of rate 0 in the official code: it holds no weights but gives 2 its name.
        self.transition = nn.Sequential(
            SwiGLU(config.dim, hidden), nn.Identity(), nn.Linear(hidden, config.dim)
        )

    def forward(
        self,
        x: Tensor,
        packing: PackedBatch,
        rotations: tuple[Tensor, Tensor],
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        if packing.way != "module" and maps is None and fused_blocks.is_supported(self):
            return fused_blocks.run_block(self, x, packing, rotations)
        y = self.attn_layer_norm(x)
        # The residual starts from y, not x: an oversight its authors kept, the released weights need it.
        x = self.add(y, self.mh_attn(y, packing, rotations, maps))
        return self.add(x, self.transition(self.out_layer_norm(x)))

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Residual connection, with dropout of the branch in training."""
        if self.training and cpu_training.is_supported(branch):
            return cpu_training.residual_dropout(x, branch, self.residual_dropout.p)
        return x + self.residual_dropout(branch)
