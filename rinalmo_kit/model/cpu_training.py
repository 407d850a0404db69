"""Dropout, attention and SwiGLU for training on the CPU, with buffers that stay in the cache.

torch draws 53 random bits a number for dropout, one number at a time, and writes each intermediate result of attention,
L² numbers a head, to new memory. Here 16 random bits decide (so the rate is exact to 2⁻¹⁷, and the scaling is that of
the rate used), attention is computed tile by tile in reused buffers, and the backward pass computes the tiles a second
time instead of keeping them. The formulas are the usual ones: dropout of single softmax weights, scaled by 1 / (1 − p)
(docs/model_specification.md §1.1).

Random numbers come from torch's default generator, so ``torch.manual_seed`` makes a step reproducible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["attention", "gated", "grouped_attention", "is_supported", "residual_dropout"]

LEVELS = 1 << 16  # of a random number of 16 bits


TILE = 1 << 19  # attention weights that are computed together: 2 MB in float32


ROWS = 256  # tokens whose SwiGLU is computed together


WASTE = 1.25  # most attention weights computed for a padded group of sequences, as a multiple of those needed


def is_supported(x: Tensor) -> bool:
    """Tell whether these functions apply to `x`: on the CPU, not float16, with gradients.

    Examples
    --------
    >>> is_supported(torch.ones(2)), is_supported(torch.ones(2, dtype=torch.float16))
    (True, False)
    """
    return x.device.type == "cpu" and x.dtype != torch.float16 and torch.is_grad_enabled()


def dropout_threshold(p: float) -> int:
    """Return how many of the 65536 values of a random uint16 mean that something is dropped."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout rate {p}: expected at least 0 and below 1")
    return min(round(p * LEVELS), LEVELS - 1)


def random_uint16(words: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Fill int64 `words` with random bits and return them as `count` 16-bit numbers, four from a word."""
    used = words[: -(-count // 4)].random_(-(2**63), None, generator=generator)
    return used.view(torch.int16)[:count]


def residual_dropout(x: Tensor, branch: Tensor, p: float) -> Tensor:
    """Return ``x + dropout(branch)``.

    Parameters
    ----------
    x, branch : Tensor
        Float, of one shape, on the CPU.
    p : float
        Dropout rate, rounded to 1/65536.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> residual_dropout(torch.zeros(6), torch.ones(6), 0.5)
    tensor([0., 0., 2., 0., 0., 0.])
    """
    if not (dropped := dropout_threshold(p)):
        return x + branch
    words = torch.empty(-(-branch.numel() // 4), dtype=torch.int64)
    kept = random_uint16(words, branch.numel()) >= dropped - LEVELS // 2
    scale = kept.to(branch.dtype).mul_(LEVELS / (LEVELS - dropped)).view(branch.shape)
    return torch.addcmul(x, branch, scale)


def attention(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], dropout: float) -> Tensor:
    """Compute attention within each sequence of a packed batch, with dropout of single softmax weights.

    Memory grows with the number of tokens, not with its square, in the backward pass too.

    Parameters
    ----------
    q, k, v : Tensor
        float32 or float64, (N, heads, d_head), on the CPU.
    lengths : sequence of int
        Tokens of each sequence; their sum is N.
    dropout : float
        Rate, rounded to 1/65536.

    Returns
    -------
    Tensor
        (N, heads, d_head).

    Examples
    --------
    >>> q, k, v = torch.randn(3, 5, 2, 4).unbind(0)
    >>> attention(q, k, v, [3, 2], 0.1).shape
    torch.Size([5, 2, 4])
    """
    return _Attention.apply(q, k, v, lengths, dropout_threshold(dropout))


class DropoutSoftmax:
    """Softmax weights and their dropout, tile after tile in the same buffers.

    Called with a part, and its q and k (rows, L, d_head), it returns the weights, negative where dropped, and the
    weights with zeros there, both (rows, L, L). The caller may overwrite the second and :attr:`spare`.
    """

    def __init__(
        self,
        like: Tensor,
        parts: Sequence[Tile | Group],
        dropped: int,
        generator: torch.Generator | None = None,
    ) -> None:
        size = max((part.weights_count for part in parts), default=0)
        self.buffers = like.new_empty(3, size)
        self.words = torch.empty(-(-size // 4), dtype=torch.int64)
        self.dropped, self.generator = dropped, generator

    def __call__(self, part: Tile | Group, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*q.shape[:2], k.shape[1])
        count = q.shape[0] * q.shape[1] * k.shape[1]
        weights, kept, self.spare = (buffer[:count].view(shape) for buffer in self.buffers)
        torch.baddbmm(kept, q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5, out=kept)
        part.hide_padding(kept)
        torch.softmax(kept, -1, out=weights)
        if not self.dropped:
            return weights, kept.copy_(weights)
        # The sign of a number records what was dropped: unlike masks of bool, floats go through vector instructions.
        random = self.spare.view(-1).copy_(random_uint16(self.words, count, self.generator))
        random.sub_(self.dropped - LEVELS // 2 - 0.5)  # never 0; negative: dropped
        torch.copysign(weights, self.spare, out=weights)
        return weights, torch.clamp_min(weights, 0, out=kept)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], dropped: int) -> Tensor:
        ctx.state = torch.get_rng_state() if dropped else None
        parts = list(parts_of(lengths, q.shape[1]))
        weights = DropoutSoftmax(q, parts, dropped)
        out = torch.empty(q.shape, dtype=q.dtype)
        for part in parts:
            q_, k_, v_ = (part.pad(x) for x in (q, k, v))
            part.unpad(weights(part, q_, k_)[1] @ v_, out)
        out *= LEVELS / (LEVELS - dropped)
        ctx.parts, ctx.dropped = parts, dropped
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        generator = torch.Generator()
        if ctx.dropped:
            generator.set_state(ctx.state)  # the same numbers as in the forward pass
        weights = DropoutSoftmax(q, ctx.parts, ctx.dropped, generator)
        dq, dk, dv = torch.empty(3, *q.shape, dtype=q.dtype).unbind(0)
        means = (grad * out).sum(-1)  # Σ_j P_ij ∂P_ij, (N, heads)
        grad = grad * (LEVELS / (LEVELS - ctx.dropped))
        for part in ctx.parts:
            q_, k_, v_, grad_, means_ = (part.pad(x) for x in (q, k, v, grad, means))
            signed, kept = weights(part, q_, k_)
            part.unpad(kept.mT @ grad_, dv)
            scores = torch.bmm(grad_, v_.mT, out=weights.spare).mul_(kept)
            scores.sub_(torch.abs(signed, out=kept).mul_(means_[..., None]))
            part.unpad(scores @ k_, dq)
            part.unpad(scores.mT @ q_, dk)
        scale = q.shape[-1] ** -0.5
        return dq.mul_(scale), dk.mul_(scale), dv, None, None


def groups(lengths: Sequence[int], heads: int) -> Iterator[tuple[slice, Tensor, int, int]]:
    """Yield neighbouring sequences whose attention is computed together.

    Yields
    ------
    tokens : slice
        Theirs, in the packed batch.
    rows : Tensor
        int64 (tokens,), the row of each token in the padded group.
    count, width : int
        Sequences of the group, and the length of its longest.
    """
    first, start = 0, 0
    while first < len(lengths):
        last, needed, width = first, 0, 0
        while last < len(lengths):
            wider = max(width, lengths[last])
            more, padded = needed + lengths[last] ** 2, (last + 1 - first) * wider**2
            if last > first and (padded > WASTE * more or padded * heads > TILE):
                break
            last, needed, width = last + 1, more, wider
        here = torch.tensor(lengths[first:last])
        stop = start + int(here.sum())
        rows = (torch.arange(width) < here[:, None]).flatten().nonzero().squeeze(1)
        if stop > start:
            yield slice(start, stop), rows, last - first, width
        first, start = last, stop


class Tile:
    """Some heads of one sequence: tokens to (heads, L, …) and back, without a copy."""

    def __init__(self, tokens: slice, heads: slice) -> None:
        self.where = tokens, heads
        self.weights_count = (heads.stop - heads.start) * (tokens.stop - tokens.start) ** 2

    def pad(self, x: Tensor) -> Tensor:
        return x[self.where].transpose(0, 1)

    def unpad(self, padded: Tensor, into: Tensor) -> None:
        into[self.where] = padded.transpose(0, 1)

    def hide_padding(self, scores: Tensor) -> None:
        """Leave the scores: a sequence by itself has no padding."""


class Group:
    """Padding and softmax of a group of :func:`groups`: tokens to (sequences × heads, width, …) and back."""

    def __init__(self, tokens: slice, rows: Tensor, count: int, width: int, heads: int) -> None:
        self.tokens, self.rows, self.count, self.width, self.heads = tokens, rows, count, width, heads
        self.full = len(rows) == count * width
        self.weights_count = count * heads * width**2
        if not self.full:
            self.empty = torch.ones(count * width, dtype=torch.bool).index_fill_(0, rows, 0)
            self.empty = self.empty.view(count, 1, 1, width)

    @classmethod
    def all_of(cls, lengths: Sequence[int], heads: int) -> Iterator[Group]:
        for group in groups(lengths, heads):
            yield cls(*group, heads)

    def pad(self, x: Tensor) -> Tensor:
        x = x[self.tokens]
        if not self.full:
            x = x.new_zeros(self.count * self.width, *x.shape[1:]).index_copy_(0, self.rows, x)
        x = x.view(self.count, self.width, *x.shape[1:]).transpose(1, 2)
        return x.reshape(self.count * self.heads, self.width, *x.shape[3:])

    def unpad(self, padded: Tensor, into: Tensor) -> None:
        x = padded.view(self.count, self.heads, self.width, -1).transpose(1, 2).flatten(0, 1)
        into[self.tokens] = x if self.full else x[self.rows]

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        scores = torch.baddbmm(q.new_empty(()), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
        self.hide_padding(scores)
        return scores.softmax(-1)

    def hide_padding(self, scores: Tensor) -> None:
        if not self.full:
            scores.view(self.count, self.heads, self.width, -1).masked_fill_(self.empty, -torch.inf)


def parts_of(lengths: Sequence[int], heads: int) -> Iterator[Tile | Group]:
    """Yield what is computed together: similar neighbours, or as many heads of one sequence as fit."""
    for tokens, rows, count, width in groups(lengths, heads):
        step = heads if count > 1 else max(1, TILE // width**2)
        if step >= heads:
            yield Group(tokens, rows, count, width, heads)
        else:
            for first in range(0, heads, step):
                yield Tile(tokens, slice(first, min(first + step, heads)))


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    """Compute attention within each sequence of a packed batch, without dropout; similar lengths go together.

    Parameters and result are those of :func:`attention`; half precision is possible.

    Examples
    --------
    >>> q, k, v = torch.randn(3, 5, 2, 4).unbind(0)
    >>> grouped_attention(q, k, v, [3, 2]).shape
    torch.Size([5, 2, 4])
    """
    return _GroupedAttention.apply(q, k, v, lengths)


class _GroupedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
        out = torch.empty(q.shape, dtype=q.dtype)
        for group in Group.all_of(lengths, q.shape[1]):
            group.unpad(group.weights(group.pad(q), group.pad(k)) @ group.pad(v), out)
        ctx.lengths = lengths
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        dq, dk, dv = (torch.empty(q.shape, dtype=q.dtype) for _ in range(3))
        means = (grad * out).sum(-1)  # Σ_j P_ij ∂P_ij, (N, heads)
        scale = q.shape[-1] ** -0.5
        for group in Group.all_of(ctx.lengths, q.shape[1]):
            q_, k_, v_, grad_, means_ = (group.pad(x) for x in (q, k, v, grad, means))
            weights = group.weights(q_, k_)
            group.unpad(weights.mT @ grad_, dv)
            scores = (grad_ @ v_.mT).sub_(means_[..., None]).mul_(weights).mul_(scale)
            group.unpad(scores @ k_, dq)
            group.unpad(scores.mT @ q_, dk)
        return dq, dk, dv, None


def gated(a: Tensor, gate: Tensor, beta: Tensor) -> Tensor:
    """Return ``a · sigmoid(beta · a) · gate``; only the three inputs are kept for the backward pass.

    Parameters
    ----------
    a, gate : Tensor
        Float, (N, hidden).
    beta : Tensor
        (1,).

    Examples
    --------
    >>> gated(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]]), torch.tensor([1.0]))
    tensor([[0.0000, 5.2848]])
    """
    return _Gated.apply(a, gate, beta)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, gate: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(a, gate, beta)
        out, beta = torch.empty_like(a), beta.to(a.dtype)
        for start in range(0, len(a), ROWS):
            rows = slice(start, start + ROWS)
            torch.mul((a[rows] * beta).sigmoid_().mul_(a[rows]), gate[rows], out=out[rows])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, gate, beta = ctx.saved_tensors
        da, dgate, dbeta = torch.empty_like(a), torch.empty_like(gate), torch.zeros_like(beta)
        beta = beta.to(a.dtype)
        for start in range(0, len(a), ROWS):
            rows = slice(start, start + ROWS)
            a_, da_ = a[rows], da[rows]
            sigmoid = (a_ * beta).sigmoid_()
            swish = a_ * sigmoid
            torch.mul(grad[rows], swish, out=dgate[rows])
            torch.mul(grad[rows], gate[rows], out=da_)
            swish.addcmul_(swish, sigmoid, value=-1)  # a · s · (1 − s), s the sigmoid
            dbeta += (da_ * swish).mul_(a_).sum()
            da_ *= sigmoid.addcmul_(swish, beta)
        return da, dgate, dbeta
