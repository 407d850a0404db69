"""The encoder's blocks on a CPU without gradients: the formulas of ``blocks.py`` with reused buffers.

Beside its matrix products, a straightforward implementation spends its time on memory: intermediate results in new
pages, which the system has to clear first, and passes over them for biases, factors and residuals. Here they go into
buffers that are reused, and the products themselves add the residual and scale by SwiGLU's beta.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .attention import PackedBatch
    from .blocks import Block, SwiGLU

__all__ = ["is_supported", "run_blocks"]

KEPT = 4096  # tokens of the largest batch whose buffers are kept


_kept = threading.local()


class Buffers:
    """Reusable memory by name and type; its content is overwritten after the next call with that name."""

    def __init__(self) -> None:
        self.flat: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, name: str, like: Tensor, *shape: int) -> Tensor:
        count = int(torch.Size(shape).numel())
        flat = self.flat.get((name, like.dtype))
        if flat is None or len(flat) < count:
            with torch.inference_mode(False):  # no_grad may use it next
                flat = self.flat[name, like.dtype] = torch.empty(count, dtype=like.dtype)
        return flat[:count].view(shape)


def is_supported(x: Tensor, blocks: Sequence[nn.Module]) -> bool:
    """Tell whether :func:`run_blocks` can replace calling the blocks one after the other.

    It cannot with gradients, autocast, dropout, hooks, or parts other than those of :mod:`rinalmo_kit.model.rinalmo`.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> blocks = RiNALMo(Config(dim=64, blocks=1, heads=4)).eval().transformer.blocks
    >>> with torch.no_grad():
    ...     is_supported(torch.ones(3, 64), blocks)
    True
    >>> is_supported(torch.ones(3, 64), blocks)  # gradients
    False
    """
    from .blocks import Attention, Block, SwiGLU

    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    plain = {Block, Attention, SwiGLU, nn.Sequential, nn.Linear, nn.LayerNorm, nn.Dropout, nn.Identity}
    return not any(
        type(part) not in plain or part.training or part._forward_hooks or part._forward_pre_hooks
        for block in blocks
        for part in block.modules()
    )


def run_blocks(
    blocks: Sequence[Block], x: Tensor, packing: PackedBatch, rotations: tuple[Tensor, Tensor]
) -> Tensor:
    """Apply Transformer blocks to a packed batch, without gradients.

    Parameters
    ----------
    blocks : sequence of Block
        For which :func:`is_supported` is true.
    x : Tensor
        (N, dim).
    packing : PackedBatch
        The sequences of the batch.
    rotations : (Tensor, Tensor)
        Cosine and sine of ``packing.rotations``.

    Returns
    -------
    Tensor
        (N, dim), in memory of its own.
    """
    from .attention import attend

    tokens, dim = x.shape
    if tokens <= KEPT:
        buffers = _kept.buffers = getattr(_kept, "buffers", None) or Buffers()
    else:
        buffers = Buffers()
    for block in blocks:
        attention = block.mh_attn
        swiglu, last = cast("SwiGLU", block.transition[0]), cast("nn.Linear", block.transition[2])
        x = block.attn_layer_norm(x)  # the residual starts here
        qkv = torch.mm(x, attention.Wqkv.weight.t(), out=buffers("qkv", x, tokens, 3 * dim))
        q, k, v = qkv.view(tokens, 3, attention.heads, -1).unbind(1)
        q, k = (
            rotated(part, rotations, buffers(name, x, *part.shape)) for name, part in (("q", q), ("k", k))
        )
        mixed = attend(q, k, v, packing, 0.0, out=buffers("mixed", x, *q.shape))
        x.addmm_(mixed.flatten(1), attention.out_proj.weight.t())
        x.addmm_(gated(block.out_layer_norm(x), swiglu, buffers), last.weight.t()).add_(last.bias)
    return x


def rotated(x: Tensor, rotations: tuple[Tensor, Tensor], out: Tensor) -> Tensor:
    """Apply rotary positions as :func:`rinalmo_kit.model.attention.rotate`: (N, heads, d_head)."""
    cos, sin = (part.view(len(x), 1, -1) for part in rotations)
    (x1, x2), (y1, y2) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(x1, cos, out=y1).addcmul_(x2, sin, value=-1)
    torch.mul(x2, cos, out=y2).addcmul_(x1, sin)
    return out


def gated(x: Tensor, swiglu: SwiGLU, buffers: Buffers) -> Tensor:
    """Compute SwiGLU; the products give beta · a and gate / beta, so SiLU and one multiplication remain."""
    shape = len(x), swiglu.linear.out_features
    beta = float(swiglu.beta)
    by = beta if abs(beta) > 1e-3 else 1.0  # nothing is divided by less
    a, gate = (
        torch.addmm(part.bias, x, part.weight.t(), beta=by, alpha=by, out=buffers(name, x, *shape))
        for part, by, name in ((swiglu.linear, by, "a"), (swiglu.linear_gate, 1 / by, "gate"))
    )
    if by != beta:
        return gate.mul_(a).mul_(a.mul_(beta).sigmoid_())
    return F.silu(a, inplace=True).mul_(gate)
