"""The structure head without gradients, strip by strip through one map of L × L × 64 numbers.

The plain way makes a new map for every step. Here the map is changed in place, a strip of rows at a time, so that what
one step leaves in the cache the next one finds there. Instance normalisation needs mean and variance of the whole map
before the first of its numbers can be used: each pass ends with them, merged exactly from those of the strips. The
residual stream never has to be kept: the last convolution is linear, so each block's part of it is added to the logits
as soon as it is known.

On a machine whose memory does not hold the map in float32, it is stored in float16; the arithmetic stays as it is.
What does not fit in that form either is rejected before it is begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._utils.hardware import SMALL, available_memory, require_memory

__all__ = ["check_memory", "convolved_constant", "logits"]

EPS = 1e-5  # of the normalisation


PAIRS = {"cpu": 1 << 13}  # in a strip: 2 MB in float32


PAIRS_ELSEWHERE = 1 << 20


SHARE = 0.7  # of the available memory that a map in float32 may take


def exact(x: Tensor) -> Tensor:
    """Half precision as float32, anything else as it is."""
    return x if x.dtype == torch.float64 else x.float()


class Moments:
    """Mean and variance of each channel over all strips, merged as by Chan, Golub & LeVeque (1983) in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.square = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor, spare: Tensor) -> None:
        """Take the rows of x, (n, C), in; `spare` has its shape and is overwritten."""
        x, count = exact(x), len(x)
        ones = x.new_ones(1, count)
        mean = (ones @ x).double()[
            0
        ] / count  # sums by matrix products: torch's reductions of columns are slow
        square = (ones @ torch.mul(x, x, out=spare if spare.dtype == x.dtype else None)).double()[0]
        square = (square - count * mean**2).clamp_min_(0)
        total = self.count + count
        step = mean - self.mean
        self.square = self.square + square + step**2 * (self.count * count / total)
        self.mean, self.count = self.mean + step * (count / total), total

    def scaling(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean, and what to multiply by after it is taken away; (C,) each."""
        return self.mean.to(dtype), (self.square / self.count + EPS).rsqrt().to(dtype)


def check_memory(head: Any, length: int) -> None:
    """Make sure, before a sequence is encoded, that memory will hold its map.

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
        Of ``head.parts``: the map of pair (i, j) is ``rows[i] + columns[j] + offset``.

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

    def parts() -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows of the map, and room for as many."""
        for first in range(0, length, step):
            height = min(step, length - first)
            yield slice(first, first + height), scratch[0, :height], scratch[1, :height]

    def put(part: slice, x: Tensor, weight: Tensor, moments: Moments, spare: Tensor) -> None:
        """Put a 1 × 1 convolution of a strip into the map."""
        target = image[part].view(-1, channels)
        if store == dtype:
            y = torch.mm(x.view(-1, channels), weight, out=target)
        else:
            y = x.view(-1, channels) @ weight
            target.copy_(y)
        moments.add(y, spare.view(-1, channels))

    def convolve(inputs: Iterator[Tensor], weight: Tensor) -> Moments:
        """Put the 3 × 3 convolution of strips, which come with a row above and one below, into the map."""
        moments, weight = Moments(), weight.contiguous(memory_format=torch.channels_last)
        for (part, _, spare), x in zip(parts(), inputs, strict=True):
            y = F.conv2d(x.permute(2, 0, 1)[None], weight, padding=(0, 1))[0].permute(1, 2, 0)
            image[part] = y
            moments.add(y.reshape(-1, channels), spare.view(-1, channels))
        return moments

    def outer_sums() -> Iterator[Tensor]:
        """First block: normalised and rectified sums of a row part and a column part."""
        narrowed = [F.linear(side, weights[0][0][:, :, 0, 0]) for side in (rows, columns)]
        (a, a_mean), (b, b_mean) = (torch.var_mean(exact(x), dim=0, correction=0) for x in narrowed)
        scale = (a + b + EPS).rsqrt()
        x, y = ((exact(x) - m).mul_(scale).to(dtype) for x, m in zip(narrowed, (a_mean, b_mean), strict=True))
        for part, _, _ in parts():
            first, last = max(part.start - 1, 0), min(part.stop + 1, length)
            sums = scratch[1, : part.stop - part.start + 2]
            sums[0] = sums[-1] = 0  # beyond the map
            inside = sums[first - part.start + 1 : last - part.start + 1]
            torch.add(x[first:last, None], y, out=inside).relu_()
            yield sums

    def rectified(mean: Tensor) -> Iterator[Tensor]:
        """Second block: the map less its mean, rectified; the scale is in the weights of the convolution."""
        above = image.new_zeros(length, channels, dtype=dtype)
        for part, _, _ in parts():
            height, last = part.stop - part.start, min(part.stop + 1, length)
            strip = scratch[1, : height + 2]
            strip[0], strip[-1] = above, 0
            rectify(part.start, last, mean, strip[1 : 1 + last - part.start])
            above = strip[height].clone()  # the convolution is about to be written there
            yield strip

    def rectify(first: int, last: int, mean: Tensor, out: Tensor) -> Tensor:
        return torch.sub(image[first:last].to(dtype), mean, out=out).relu_()

    def add_taps(x: Tensor, part: slice) -> None:
        """Add the last convolution's share of a strip of x to the logits."""
        values = (taps @ x.flatten(0, 1).T).view(3, 3, -1, length).to(result.dtype)
        for down in range(3):
            for right in range(3):
                to_rows, from_rows = shifted(part, 1 - down, length)
                to_columns, from_columns = shifted(slice(0, length), 1 - right, length)
                result[to_rows, to_columns] += values[down, right][from_rows, from_columns]

    for number, (_, wide, narrow_out) in enumerate(weights):
        if number == 0:
            moments = convolve(outer_sums(), wide)
        else:
            mean, scale = moments.scaling(dtype)
            moments = convolve(rectified(mean), wide * scale[:, None, None])
        mean, scale = moments.scaling(dtype)
        weight = (narrow_out[:, :, 0, 0] * scale).T  # the scale is positive: it may wait until after the ReLU
        moments = Moments()
        for part, x, spare in parts():
            put(part, rectify(part.start, part.stop, mean, x), weight, moments, spare)
        mean, scale = moments.scaling(dtype)
        moments = Moments()
        for part, x, spare in parts():
            rectify(part.start, part.stop, mean, x).mul_(scale)
            if number == 0:
                x += rows[part, None]
                x += columns
                put(part, x, weights[1][0][:, :, 0, 0].T, moments, spare)
            add_taps(x, part)
    result = result.triu_(1)
    return result + result.T


def shifted(part: slice, by: int, length: int) -> tuple[slice, slice]:
    """Where `part` of 0 … length − 1 comes to lie after a shift, and which of its own places stay inside.

    Examples
    --------
    >>> shifted(slice(0, 4), -1, 10), shifted(slice(8, 10), 1, 10)
    ((slice(0, 3, None), slice(1, 4, None)), (slice(9, 10, None), slice(0, 1, None)))
    """
    first, last = max(part.start + by, 0), min(part.stop + by, length)
    return slice(first, last), slice(first - part.start - by, last - part.start - by)


def convolved_constant(offset: Tensor, convolution: nn.Conv2d, length: int) -> Tensor:
    """Convolve (3 × 3, zero padding) a map that is `offset`, (C,), everywhere, to one channel: (L, L)."""
    inside = offset.new_ones(3, length)  # does this row of the kernel fall on the map?
    inside[0, 0] = inside[2, -1] = 0
    with torch.autocast(offset.device.type, enabled=False):
        kernel = (convolution.weight[0] * offset[:, None, None]).sum(0)
        return torch.addmm(cast("Tensor", convolution.bias), inside.T @ kernel, inside)
