"""The structure head on a batch of maps of different lengths, padded to one width, in training and out of it.

One map after the other keeps a GPU waiting for the launch of small kernels. Here the maps of a batch go through the
head together; instance normalisation takes mean and variance over each map's own entries, in float32, so that the
logits are those of :meth:`rinalmo_kit.model.heads.StructureHead.forward`. Entries beyond a map are zero in front of
every convolution, as its own zero padding is. On a CPU, whose cache holds one map, this takes two to three times as
long as one map after the other.

Without gradients the maps of a model in half precision are in float16 (:func:`.tiled_structure_head.map_dtype`). What
loses most by rounding stays in float32: the row and column terms, all moments, the last convolution and the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._utils.hardware import available_memory
from .convolution import convolve
from .devices import autocast_dtype
from .tiled_structure_head import EPS, HALF, SHARE, exact, map_dtype

__all__ = [
    "INFERENCE_ENTRIES",
    "MAP_ENTRIES",
    "PaddedMaps",
    "batches_by_entries",
    "fits",
    "logits",
    "padded_maps",
]

MAP_ENTRIES = 2_000_000
"""Entries of the padded maps that are computed together on a GPU, unless a recipe says otherwise: 5 GB in bfloat16."""


INFERENCE_ENTRIES = 4_000_000
"""The same without gradients, where no map is kept for a backward pass: 2 GB in float16."""


LARGEST = 16_000_000  # entries of one map; a longer RNA is computed by strips, which take as little memory as can be


SMALL_MAP = 1_000_000  # entries of a map that is tried without looking at the memory


MAPS = 4  # that are in memory at a time: residual stream, input and output of a convolution, room to work


MOST_PADDING = 2.0  # times the entries of the maps themselves


WIDTHS = 16  # a GPU's maps are padded to a multiple: few shapes, aligned rows


class Group(NamedTuple):
    """Maps that were computed together.

    Attributes
    ----------
    rows : list of int
        Their numbers in the batch.
    logits : Tensor
        (B, W, W), zero beyond each map.
    lengths : list of int
    """

    rows: list[int]
    logits: Tensor
    lengths: list[int]


class PaddedMaps(list[Tensor]):
    """The (L, L) logits of each sequence of a batch: views of the padded maps of `groups`."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        views: dict[int, Tensor] = {}
        for rows, maps, lengths in groups:
            for row, one, length in zip(rows, maps, lengths, strict=True):
                views[row] = one[:length, :length]
        super().__init__(views[row] for row in range(len(views)))


def batches_by_entries(
    lengths: Sequence[int], budget: int, *, most: int | None = None
) -> Iterator[list[int]]:
    """Yield indices, sorted by length, in batches whose padded maps have at most `budget` entries, L² each.

    A batch has at most `most` sequences, and a longer sequence is a batch by itself. Where lengths differ so much that
    most of the entries would be padding, a batch ends earlier.

    Examples
    --------
    >>> list(batches_by_entries([10, 3, 9, 50], budget=300))
    [[1, 2, 0], [3]]
    """
    batch: list[int] = []
    own = 0
    for i in np.argsort(lengths, kind="stable").tolist():
        entries = int(lengths[i]) ** 2
        padded = entries * (len(batch) + 1)
        full = len(batch) == most or padded > budget or padded > MOST_PADDING * (own + entries)
        if batch and full:
            yield batch
            batch, own = [], 0
        batch.append(i)
        own += entries
    if batch:
        yield batch


def fits(rows: Tensor) -> bool:
    """Tell whether the map of one sequence is to be computed whole: on a GPU, if memory suffices.

    `rows` are its row terms, (L, 64), in the precision of the map.

    Examples
    --------
    >>> fits(torch.zeros(30, 64))  # on a CPU strips are faster
    False
    """
    length, channels = rows.shape
    if rows.device.type == "cpu" or length**2 > LARGEST:
        return False
    if length**2 <= SMALL_MAP:  # asking for the available memory takes longer than such a map
        return True
    return float(MAPS) * channels * rows.dtype.itemsize * length**2 <= SHARE * available_memory(rows.device)


def padded_maps(head: Any, representations: Sequence[Tensor], *, entries: int) -> PaddedMaps:
    """Compute the logits of the sequences of a batch, as many together as the budget allows.

    Parameters
    ----------
    head : StructureHead
    representations : sequence of Tensor
        (L + 2, dim) each, with ``<cls>`` and ``<eos>``.
    entries : int
        Budget of :func:`batches_by_entries`.

    Examples
    --------
    >>> from rinalmo_kit.model.heads import StructureHead
    >>> found = padded_maps(StructureHead(24), [torch.randn(n + 2, 24) for n in (9, 12, 30)], entries=1000)
    >>> [tuple(one.shape) for one in found], [group.rows for group in found.groups]
    ([(9, 9), (12, 12), (30, 30)], [[0, 1], [2]])
    """
    groups = []
    for rows in batches_by_entries([len(one) - 2 for one in representations], entries):
        chosen = [representations[row] for row in rows]
        lengths = [len(one) - 2 for one in chosen]
        if min(lengths) < 2 or len(rows) == 1:  # with the checks of length and memory
            maps = torch.stack([head(one[1:-1]) for one in chosen])
        else:
            maps = logits(head, padded(chosen), torch.tensor(lengths, device=chosen[0].device))
        groups.append(Group(rows, maps, lengths))
    return PaddedMaps(groups)


def padded(representations: Sequence[Tensor]) -> Tensor:
    """Return the rows of the nucleotides of each sequence, (B, W, dim); what stands beyond them is not defined.

    One copy of all rows together: its gradient is one gather, where a copy for each sequence would be many kernels.
    """
    lengths = np.array([len(one) for one in representations])
    packed = torch.cat(list(representations))
    multiple = WIDTHS if packed.device.type == "cuda" else 1
    width = -(-(int(lengths.max()) - 2) // multiple) * multiple + 2
    starts = np.repeat(np.arange(len(lengths)) * width - (lengths.cumsum() - lengths), lengths)
    places = torch.from_numpy(starts + np.arange(lengths.sum())).to(packed.device)
    flat = packed.new_zeros(len(lengths) * width, packed.shape[1]).index_copy(0, places, packed)
    return flat.view(len(lengths), width, -1)[:, 1:-1]


def logits(head: Any, representation: Tensor, lengths: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Compute the pairing logits of a batch of padded sequences.

    Parameters
    ----------
    head : StructureHead
    representation : Tensor
        (B, W, dim), nucleotides only; what stands beyond a sequence's own length is not read.
    lengths : Tensor
        int64, (B,), on the same device; from 2 to W.
    dtype : torch.dtype, optional
        Precision of the maps, without gradients. Default: as :func:`.tiled_structure_head.map_dtype` says.

    Returns
    -------
    Tensor
        (B, W, W), symmetric with a zero diagonal, zero beyond each map; float32 under autocast and without gradients.

    Examples
    --------
    >>> from rinalmo_kit.model.heads import StructureHead
    >>> head, x = StructureHead(24), torch.randn(2, 30, 24)
    >>> found = logits(head, x, torch.tensor([30, 12]))
    >>> torch.allclose(found[1, :12, :12], head(x[1, :12]), atol=1e-5)
    True
    """
    valid = torch.arange(representation.shape[1], device=representation.device) < lengths[:, None]
    mask = (valid[:, :, None] & valid[:, None])[..., None]
    if not torch.is_grad_enabled():
        dtype = dtype or map_dtype(representation, head.linear_in.weight)
        with torch.autocast(representation.device.type, enabled=False):
            return _infer(head, representation, valid, mask, dtype)
    rows, columns, offset = row_and_column_terms(head, representation, valid)
    x = outer_sum(rows, columns, mask)
    for number, convolutions in enumerate(head.resnet.convolutions()):
        narrow, wide, narrow_out = (convolutions[key].weight for key in ("0", "3", "6"))
        if number == 0:
            a, b = (F.linear(part, narrow[:, :, 0, 0]) for part in (rows, columns))
            y = normalised_outer_sum(a, b, valid, mask)
        else:
            y = norm_relu(F.linear(x, narrow[:, :, 0, 0]), mask)
        y = norm_relu(convolve(y, wide), mask)
        y = norm_relu(F.linear(y, narrow_out[:, :, 0, 0]), mask)
        x = x + y
    found = convolved_constant(offset, head.conv_out, valid) + convolve(x, head.conv_out.weight)[..., 0]
    found = (found * mask[..., 0]).triu(1)
    return found + found.mT


def _infer(head: Any, representation: Tensor, valid: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute :func:`logits` without gradients: maps are changed in place, by as few kernels as can be."""
    entries = valid.sum(1).square()[:, None, None, None]
    rows, columns, offset = row_and_column_terms(head, representation, valid)
    x = _outer_sum_as(dtype, rows, columns, mask)
    for number, convolutions in enumerate(head.resnet.convolutions()):
        narrow, wide, narrow_out = (convolutions[key].weight for key in ("0", "3", "6"))
        if number == 0:
            y = _outer_sum_as(
                dtype, *normalised_terms(*_narrowed(rows, columns, narrow), valid), mask
            ).relu_()
        else:
            y = _norm_relu(F.linear(x, narrow[:, :, 0, 0].to(dtype)), mask, entries)
        y = _norm_relu(convolve(y, wide.to(dtype)), mask, entries)
        y = _norm_relu(F.linear(y, narrow_out[:, :, 0, 0].to(dtype)), mask, entries)
        x += y
    del y
    found = exact(convolved_constant(offset, head.conv_out, valid))
    found += convolve(exact(x), exact(head.conv_out.weight))[..., 0]
    found = found.mul_(mask[..., 0]).triu(1)
    return found + found.mT


def _narrowed(rows: Tensor, columns: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Apply a 1 × 1 convolution to the row and the column terms; the result is float32 for half precision."""
    rows, columns = (F.linear(exact(part), exact(weight[:, :, 0, 0])) for part in (rows, columns))
    return rows, columns


def _outer_sum_as(dtype: torch.dtype, rows: Tensor, columns: Tensor, mask: Tensor) -> Tensor:
    """Return the outer sums of terms, (B, W, W, C), rounded once; zero beyond each map."""
    batch, width, channels = rows.shape
    x = torch.empty(batch, width, width, channels, dtype=dtype, device=rows.device)
    torch.add(rows[:, :, None], columns[:, None], out=x)
    return x.mul_(mask)


def _norm_relu(x: Tensor, mask: Tensor, entries: Tensor) -> Tensor:
    """Do what :func:`norm_relu` does, in place; `entries` are the numbers of entries of the maps, (B, 1, 1, 1).

    In half precision the mean is taken out as the result is written, so that an entry is rounded once.
    """
    x.mul_(mask)
    kind = exact(x[:0]).dtype
    mean = x.sum((1, 2), keepdim=True, dtype=kind) / entries
    half = x.dtype in HALF
    if not half:
        x.sub_(mean).mul_(mask)
    square = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=kind).square() / entries
    if not half:
        return x.mul_((square + EPS).rsqrt()).relu_()
    scale = ((square - mean.square()).clamp_min(0) + EPS).rsqrt()
    return torch.addcmul(-mean * scale, x, scale, out=x).relu_().mul_(mask)


def row_and_column_terms(head: Any, representation: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row and column terms of the first maps, (B, W, 64) of mean 0, and the means taken out, (B, 64).

    See :meth:`rinalmo_kit.model.heads.StructureHead.row_and_column_terms`.
    """
    device = representation.device.type
    half = autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        weight = head.linear_in.weight
        x = representation.to(weight.dtype).masked_fill(~valid[..., None], 0.0)
        parts = [F.linear(x, side) for side in weight.chunk(2, dim=1)]
        means = [part.sum(1) / valid.sum(1, keepdim=True) for part in parts]
        rows, columns = (centred(part, valid).to(half or part.dtype).contiguous() for part in parts)
        return rows, columns, means[0] + means[1] + head.linear_in.bias


def centred(x: Tensor, valid: Tensor) -> Tensor:
    """Return (B, W, C) less the mean over each sequence, zero beyond it."""
    mean = (x * valid[..., None]).sum(1, keepdim=True) / valid.sum(1)[:, None, None]
    return (x - mean) * valid[..., None]


def outer_sum(rows: Tensor, columns: Tensor, mask: Tensor) -> Tensor:
    """Return ``rows[b, i] + columns[b, j]`` of each map, (B, W, W, C), zero beyond it."""
    return (rows[:, :, None] + columns[:, None]).mul_(mask)


def normalised_outer_sum(rows: Tensor, columns: Tensor, valid: Tensor, mask: Tensor) -> Tensor:
    """Normalise the outer sum over each map and apply ReLU."""
    a, b = normalised_terms(rows, columns, valid)
    return F.relu_(outer_sum(a.to(rows.dtype), b.to(rows.dtype), mask))


def normalised_terms(rows: Tensor, columns: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return terms whose outer sum is normalised over each map; its statistics follow from those of the two terms."""
    a, b = (centred(exact(part), valid) for part in (rows, columns))
    number = valid.sum(1)[:, None, None]
    scale = ((a.square().sum(1, keepdim=True) + b.square().sum(1, keepdim=True)) / number + EPS).rsqrt()
    return a * scale, b * scale


def norm_relu(x: Tensor, mask: Tensor) -> Tensor:
    """Normalise (B, W, W, C) over the entries of each map (no weights, eps 1e-5, biased variance) and apply ReLU.

    Mean and variance are computed in float32 whatever the precision of the maps; entries beyond a map become zero.
    """
    return cast("Tensor", _NormReLU.apply(x, mask))


class _NormReLU(torch.autograd.Function):
    """Masked instance normalisation and ReLU that keeps the input alone for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        entries = mask.sum((1, 2), keepdim=True)
        y = exact(x * mask)
        mean = y.sum((1, 2), keepdim=True) / entries
        y.sub_(mean).mul_(mask)
        scale = (y.square().sum((1, 2), keepdim=True) / entries + EPS).rsqrt()
        ctx.save_for_backward(x, mask, entries, mean, scale)
        return y.mul_(scale).relu_().to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, mask, entries, mean, scale = ctx.saved_tensors
        y = (exact(x) - mean).mul_(scale).mul_(mask)
        gradient = exact(gradient) * (y > 0)
        slope = (gradient * y).sum((1, 2), keepdim=True) / entries
        gradient -= gradient.sum((1, 2), keepdim=True) / entries
        return gradient.sub_(y.mul_(slope)).mul_(scale).mul_(mask).to(x.dtype), None


def convolved_constant(offset: Tensor, convolution: Any, valid: Tensor) -> Tensor:
    """Convolve (3 × 3, zero padding) maps that are `offset`, (B, C), everywhere, to one channel: (B, W, W)."""
    before, after = F.pad(valid, (1, 0))[:, :-1], F.pad(valid, (0, 1))[:, 1:]
    inside = torch.stack((before, valid, after), dim=1).to(offset.dtype)  # does this row fall on the map?
    with torch.autocast(offset.device.type, enabled=False):
        kernel = torch.einsum("cyx,bc->byx", convolution.weight[0], offset)
        return inside.mT @ kernel @ inside + convolution.bias
