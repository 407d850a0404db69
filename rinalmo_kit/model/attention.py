"""Packed batches, rotary positions, and attention by each available backend."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .._utils.extras import usable
from ..rna.alphabet import PAD
from . import cpu_training
from .devices import to_device

__all__ = ["attention_backends"]

Way = Literal["module", "fused", "compiled"]
"""How the blocks are computed: as modules, by :mod:`rinalmo_kit.model.fused_blocks`, or by those compiled."""


@dataclass
class PackedBatch:
    """The sequences of a batch one after the other, without padding, in (tokens, …) matrices.

    What the blocks need of it is made once: after :meth:`to`, no block waits for the device.
    """

    lengths: list[int]
    batch_index: Tensor  # (N,) row of each token in the padded batch
    positions: Tensor  # (N,) its column there
    backend: str
    way: Way = "module"

    @classmethod
    def of(cls, tokens: Tensor, backend: str, way: Way = "module") -> PackedBatch:
        batch_index, positions = (tokens != PAD).nonzero(as_tuple=True)
        lengths = torch.bincount(batch_index, minlength=len(tokens)).tolist()
        return cls(lengths, batch_index, positions, backend, way)

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch with its tensors on a device; made on the CPU, it is copied there without waiting."""
        if self.batch_index.device == device:
            return self
        moved = replace(
            self,
            batch_index=to_device(self.batch_index, device),
            positions=to_device(self.positions, device),
        )
        if len(self.positions):
            moved.width = self.width
        return moved

    @cached_property
    def width(self) -> int:
        """Number of columns of the padded batch that hold a token."""
        return int(self.positions.max()) + 1

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def valid(self) -> Tensor:
        """Where the padded batch holds a token: bool (B, width)."""
        return self.pad(torch.ones_like(self.batch_index, dtype=torch.bool), self.width)

    @cached_property
    def sizes(self) -> Tensor:
        """Tokens of each sequence: int64 (B,)."""
        return to_device(torch.tensor(self.lengths), self.batch_index.device)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """Cumulative sequence lengths from 0, as kernels for variable lengths take them: int32 (B + 1,)."""
        ends = F.pad(torch.tensor(self.lengths).cumsum(0), (1, 0)).to(torch.int32)
        return to_device(ends, self.batch_index.device)

    def pad(self, packed: Tensor, width: int) -> Tensor:
        """Return a packed tensor padded with zeros: (N, …) → (B, width, …)."""
        padded = packed.new_zeros(len(self.lengths), width, *packed.shape[1:])
        return padded.index_put((self.batch_index, self.positions), packed)

    def rotations(self, d_head: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of the rotary angles, (N, 1, 1, d_head / 2); angles are computed in float32."""
        device = self.positions.device
        steps = torch.arange(0, d_head, 2, device=device, dtype=torch.float32)
        angles = torch.outer(self.positions.float(), 10000.0 ** (-steps / d_head))[:, None, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions, half-split ("NeoX") convention: x is (N, …, heads, d_head)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)  # autocast: x is in half precision, the angles are not
    x1, x2 = x.chunk(2, dim=-1)
    if not torch.is_grad_enabled():  # in place: nothing else needs the unrotated halves
        shifted = x1 * sin
        x1.mul_(cos).addcmul_(x2, sin, value=-1)
        x2.mul_(cos).add_(shifted)
        return x
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)


@cache
def has_flash_attn() -> bool:
    return usable("flash_attn", needs=("flash_attn_varlen_func",))


@cache
def has_varlen(device: torch.device) -> bool:
    """Tell whether torch's own kernel for variable lengths runs on a GPU: NVIDIA's, from Ampere on."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    return usable("torch.nn.attention.varlen", needs=("varlen_attn",))


def attention_backends(
    device: torch.device | str, dtype: torch.dtype, *, d_head: int = 64, dropout: float = 0.0
) -> list[str]:
    """Return the attention backends that can run on a device at a precision, the fastest first.

    ``varlen`` is torch's variable-length kernel, :func:`torch.nn.attention.varlen.varlen_attn` (CUDA, half precision,
    no dropout), ``flash`` is that of flash-attn, which has dropout, ``loop`` is torch's scaled-dot-product attention
    on one sequence length at a time, without padding, ``padded`` is the same on the padded batch with a key mask. All
    give the same numbers.

    Parameters
    ----------
    device : torch.device or str
    dtype : torch.dtype
        Of queries, keys and values.
    d_head : int
        Width of a head; the kernels for variable lengths take multiples of 8 up to 256.
    dropout : float
        Rate at which attention weights are dropped in training.

    Examples
    --------
    >>> attention_backends("cpu", torch.float32)
    ['loop', 'padded']
    """
    device = torch.device(device)
    if device.type == "cpu":
        return ["loop", "padded"]
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type != "cuda" or not half or d_head % 8 or d_head > 256:
        return ["padded", "loop"]
    varlen = ["varlen"] if not dropout and has_varlen(device) else []
    flash = ["flash"] if has_flash_attn() else []
    return [*varlen, *flash, "padded", "loop"]


def attend(
    q: Tensor, k: Tensor, v: Tensor, packing: PackedBatch, dropout: float, *, out: Tensor | None = None
) -> Tensor:
    """Compute multi-head attention within each sequence of a packed batch; q, k, v and result: (N, heads, d_head).

    The backend ``loop`` puts the result into `out` where it is given.
    """
    if packing.backend == "varlen":
        return varlen_attention(q, k, v, packing)
    if packing.backend == "flash":
        from flash_attn import flash_attn_varlen_func

        cu_seqlens, longest = packing.cu_seqlens, packing.longest
        return flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens, longest, longest, dropout_p=dropout)
    if packing.backend == "loop" and cpu_training.is_supported(
        q
    ):  # torch's own are slow to train with on a CPU
        if not dropout:
            return cpu_training.grouped_attention(q, k, v, packing.lengths)
        q_, k_, v_ = (x if x.dtype != torch.bfloat16 else x.float() for x in (q, k, v))
        return cpu_training.attention(q_, k_, v_, packing.lengths, dropout).to(q.dtype)
    if packing.backend == "padded":
        q_, k_, v_ = (packing.pad(x, packing.width).transpose(1, 2) for x in (q, k, v))
        mask = packing.valid[:, None, None, :]
        out = F.scaled_dot_product_attention(q_, k_, v_, attn_mask=mask, dropout_p=dropout)
        return out.transpose(1, 2)[packing.batch_index, packing.positions]
    out = torch.empty_like(q) if out is None else out
    start, row = 0, 0
    while row < len(packing.lengths):  # neighbours of one length go together
        length, first = packing.lengths[row], row
        while row < len(packing.lengths) and packing.lengths[row] == length:
            row += 1
        stop = start + (row - first) * length
        if length:
            q_, k_, v_, out_ = (
                x[start:stop].unflatten(0, (-1, length)).transpose(1, 2) for x in (q, k, v, out)
            )
            out_.copy_(F.scaled_dot_product_attention(q_, k_, v_, dropout_p=dropout))
        start = stop
    return out


def varlen_attention(q: Tensor, k: Tensor, v: Tensor, packing: PackedBatch) -> Tensor:
    """Compute attention by torch's variable-length kernel.

    Nothing but its first seven arguments is passed, which all versions of torch share: their defaults are no causal
    mask, no window, and scores divided by the root of the head's width.
    """
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (x.contiguous() for x in (q, k, v))
    cu_seqlens, longest = packing.cu_seqlens, packing.longest
    return cast(Tensor, varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest))


def attention_weights(q: Tensor, k: Tensor, packing: PackedBatch) -> Tensor:
    """Return the softmax weights as a padded (B, heads, L, L) tensor, zeros wherever a query or a key is padding."""
    valid = packing.valid
    q, k = (packing.pad(x, packing.width).transpose(1, 2) for x in (q, k))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~valid[:, None, None, :], -torch.inf).softmax(-1)
    return weights.nan_to_num(0.0) * valid[:, None, :, None]
