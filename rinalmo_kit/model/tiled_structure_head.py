"""The structure head without gradients, computed in place on one map of L × L × 64 numbers, by tiles of rows.

A straightforward implementation makes a new map for every step. Here the map is changed in place, a tile of rows at a
time, so that a tile is still in the cache when the next step reads it. Instance normalisation needs mean and variance
of the whole map before the first of its numbers can be used: each pass ends with them, merged exactly from those of
the tiles. The residual stream is never stored: the last convolution is linear, so each block's share of it is added to
the logits as soon as it is known.

Where memory does not hold the map in float32, it is stored in float16; the arithmetic stays as it is. A map that does
not fit in that form either is rejected before any work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._utils.hardware import SMALL, available_memory, has_bfloat16_units, require_memory
from .devices import autocast_dtype

__all__ = ["check_memory", "convolved_constant", "logits", "map_dtype"]

EPS = 1e-5  # of the normalisation


HALF = (torch.float16, torch.bfloat16)


PAIRS = {"cpu": 1 << 13}  # of nucleotides in a tile: 2 MB in float32


PAIRS_ELSEWHERE = 1 << 20


SHARE = 0.7  # of the available memory that a map in float32 may take


def exact(x: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return x if x.dtype == torch.float64 else x.float()


def map_dtype(representation: Tensor, weight: Tensor) -> torch.dtype:
    """Return the precision in which a structure head stores and multiplies its maps.

    Without gradients half precision is float16, also for a model in bfloat16: the maps are normalised, so that they
    need no wider range, and each rounding is an eighth as large. A CPU without units for bfloat16 computes in float32,
    which is faster there. In training it is the precision of autocast or of the weights.

    Parameters
    ----------
    representation : Tensor
        What the head reads.
    weight : Tensor
        Of the head; it may be more exact than the representation.

    Examples
    --------
    >>> map_dtype(torch.zeros(9, 24), torch.zeros(64, 24))
    torch.float32
    """
    device = representation.device.type
    training = torch.is_grad_enabled()
    dtype = autocast_dtype(device)
    if dtype is None:
        dtype = weight.dtype if training or representation.dtype not in HALF else representation.dtype
    if training or dtype not in HALF:
        return dtype
    if device == "cpu":
        return dtype if dtype == torch.bfloat16 and has_bfloat16_units() else torch.float32
    return torch.float16


class Moments:
    """Mean and variance of each channel over all tiles, merged as by Chan, Golub & LeVeque (1983).

    The sums are in float64, but for Apple's GPUs, which have none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.square = torch.zeros(())

    def add(self, x: Tensor, spare: Tensor) -> None:
        """Include the rows of x, (n, C); `spare` has its shape and is overwritten."""
        x, count = exact(x), len(x)
        kind = x.dtype if x.device.type == "mps" else torch.float64
        ones = x.new_ones(1, count)  # sums by matrix products: torch's reductions of columns are slow
        mean = (ones @ x).to(kind)[0] / count
        square = (ones @ torch.mul(x, x, out=spare if spare.dtype == x.dtype else None)).to(kind)[0]
        square = (square - count * mean**2).clamp_min_(0)
        total = self.count + count
        step = mean - self.mean
        self.square = self.square + square + step**2 * (self.count * count / total)
        self.mean, self.count = self.mean + step * (count / total), total

    def scaling(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the mean and the reciprocal standard deviation; (C,) each."""
        return self.mean.to(dtype), (self.square / self.count + EPS).rsqrt().to(dtype)


def check_memory(head: Any, length: int) -> None:
    """Raise MemoryError, before a sequence is encoded, if memory will not hold its map.

    Raises
    ------
    MemoryError
        Says the length, how much is needed and how much is available.

    Examples
    --------
    >>> from rinalmo_kit.model.heads import StructureHead
    >>> check_memory(StructureHead(24), 76)
    """
    weight = head.conv_out.weight
    if 4 * weight.shape[1] * length**2 > SMALL:
        storage(length, weight.shape[1], weight.dtype, weight.device)


def storage(length: int, channels: int, dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the type in which memory holds the map, or raise MemoryError if there is none."""
    pairs, free = length**2, available_memory(device)
    if dtype == torch.float32 and 4 * channels * pairs > SHARE * free:
        dtype = torch.float16
    needed = (dtype.itemsize * channels + 8) * pairs  # the map, and the logits twice
    require_memory(needed, device, f"the map of {length} nucleotides", available=free)
    return dtype


def logits(head: Any, rows: Tensor, columns: Tensor, offset: Tensor) -> Tensor:
    """Apply what follows the first linear layer of a structure head.

    Parameters
    ----------
    head : StructureHead
        With two blocks.
    rows, columns, offset : Tensor
        Of ``head.row_and_column_terms``: the map of pair (i, j) is ``rows[i] + columns[j] + offset``.

    Returns
    -------
    Tensor
        (L, L), symmetric with a zero diagonal.
    """
    length, channels = rows.shape
    dtype, device = rows.dtype, rows.device
    weights = [
        [block.conv_net[key].weight.to(dtype) for key in ("0", "3", "6")] for block in head.resnet.blocks
    ]
    taps = head.conv_out.weight[0].flatten(1).to(dtype).T  # (9, C)
    result = exact(convolved_constant(offset, head.conv_out, length))
    store = storage(length, channels, dtype, device)
    image = torch.empty(length, length, channels, dtype=store, device=device)
    step = min(length, max(1, PAIRS.get(device.type, PAIRS_ELSEWHERE) // length))
    scratch = torch.empty(2, step + 2, length, channels, dtype=dtype, device=device)

    def row_tiles() -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield the tiles of rows, and two buffers of their size each."""
        for first in range(0, length, step):
            height = min(step, length - first)
            yield slice(first, first + height), scratch[0, :height], scratch[1, :height]

    def convolve_1x1(tile: slice, x: Tensor, weight: Tensor, moments: Moments, spare: Tensor) -> None:
        """Write the 1 × 1 convolution of a tile to the map."""
        target = image[tile].view(-1, channels)
        if store == dtype:
            y = torch.mm(x.view(-1, channels), weight, out=target)
        else:
            y = x.view(-1, channels) @ weight
            target.copy_(y)
        moments.add(y, spare.view(-1, channels))

    def convolve_3x3(inputs: Iterator[Tensor], weight: Tensor) -> Moments:
        """Write the 3 × 3 convolution of tiles, which come with a row above and one below, to the map."""
        moments, weight = Moments(), weight.contiguous(memory_format=torch.channels_last)
        for (tile, _, spare), x in zip(row_tiles(), inputs, strict=True):
            y = F.conv2d(x.permute(2, 0, 1)[None], weight, padding=(0, 1))[0].permute(1, 2, 0)
            image[tile] = y
            moments.add(y.reshape(-1, channels), spare.view(-1, channels))
        return moments

    def outer_sums() -> Iterator[Tensor]:
        """Yield the input of the first block: ReLU of the normalised sums of row and column terms."""
        narrowed = [F.linear(side, weights[0][0][:, :, 0, 0]) for side in (rows, columns)]
        (a, a_mean), (b, b_mean) = (torch.var_mean(exact(x), dim=0, correction=0) for x in narrowed)
        scale = (a + b + EPS).rsqrt()
        x, y = ((exact(x) - m).mul_(scale).to(dtype) for x, m in zip(narrowed, (a_mean, b_mean), strict=True))
        for tile, _, _ in row_tiles():
            first, last = max(tile.start - 1, 0), min(tile.stop + 1, length)
            sums = scratch[1, : tile.stop - tile.start + 2]
            sums[0] = sums[-1] = 0  # beyond the map
            inside = sums[first - tile.start + 1 : last - tile.start + 1]
            torch.add(x[first:last, None], y, out=inside).relu_()
            yield sums

    def relu_tiles(mean: Tensor) -> Iterator[Tensor]:
        """Yield the input of the second block: ReLU of the map less its mean; the weights hold the scale."""
        above = image.new_zeros(length, channels, dtype=dtype)
        for tile, _, _ in row_tiles():
            height, last = tile.stop - tile.start, min(tile.stop + 1, length)
            padded = scratch[1, : height + 2]
            padded[0], padded[-1] = above, 0
            relu_of_rows(tile.start, last, mean, padded[1 : 1 + last - tile.start])
            above = padded[height].clone()  # the convolution is about to be written there
            yield padded

    def relu_of_rows(first: int, last: int, mean: Tensor, out: Tensor) -> Tensor:
        return torch.sub(image[first:last].to(dtype), mean, out=out).relu_()

    def add_taps(x: Tensor, tile: slice) -> None:
        """Add the last convolution of a tile of x to the logits."""
        values = (taps @ x.flatten(0, 1).T).view(3, 3, -1, length).to(result.dtype)
        for down in range(3):
            for right in range(3):
                to_rows, from_rows = shifted(tile, 1 - down, length)
                to_columns, from_columns = shifted(slice(0, length), 1 - right, length)
                result[to_rows, to_columns] += values[down, right][from_rows, from_columns]

    for number, (_, wide, narrow_out) in enumerate(weights):
        if number == 0:
            moments = convolve_3x3(outer_sums(), wide)
        else:
            mean, scale = moments.scaling(dtype)
            moments = convolve_3x3(relu_tiles(mean), wide * scale[:, None, None])
        mean, scale = moments.scaling(dtype)
        weight = (narrow_out[:, :, 0, 0] * scale).T  # the scale is positive: it may wait until after the ReLU
        moments = Moments()
        for tile, x, spare in row_tiles():
            convolve_1x1(tile, relu_of_rows(tile.start, tile.stop, mean, x), weight, moments, spare)
        mean, scale = moments.scaling(dtype)
        moments = Moments()
        for tile, x, spare in row_tiles():
            relu_of_rows(tile.start, tile.stop, mean, x).mul_(scale)
            if number == 0:
                x += rows[tile, None]
                x += columns
                convolve_1x1(tile, x, weights[1][0][:, :, 0, 0].T, moments, spare)
            add_taps(x, tile)
    result = result.triu_(1)
    return result + result.T


def shifted(tile: slice, by: int, length: int) -> tuple[slice, slice]:
    """Return where `tile` of 0 … length − 1 lies after a shift, and which of its own rows stay inside.

    Examples
    --------
    >>> shifted(slice(0, 4), -1, 10), shifted(slice(8, 10), 1, 10)
    ((slice(0, 3, None), slice(1, 4, None)), (slice(9, 10, None), slice(0, 1, None)))
    """
    first, last = max(tile.start + by, 0), min(tile.stop + by, length)
    return slice(first, last), slice(first - tile.start - by, last - tile.start - by)


def convolved_constant(offset: Tensor, convolution: nn.Conv2d, length: int) -> Tensor:
    """Convolve (3 × 3, zero padding) a map that is `offset`, (C,), everywhere, to one channel: (L, L)."""
    inside = offset.new_ones(3, length)  # does this row of the kernel fall on the map?
    inside[0, 0] = inside[2, -1] = 0
    with torch.autocast(offset.device.type, enabled=False):
        kernel = (convolution.weight[0] * offset[:, None, None]).sum(0)
        return torch.addmm(cast("Tensor", convolution.bias), inside.T @ kernel, inside)
