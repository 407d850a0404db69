"""Prediction heads: those of the paper, with the parameter names of the released files (spec §3), and ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._utils.hardware import require_memory
from . import batched_structure_head, tiled_structure_head
from .convolution import convolve

__all__ = ["ClassificationHead", "NucleotideHead", "RibosomeLoadHead", "StructureHead"]


class ClassificationHead(nn.Module):
    """Two-layer MLP on the ``<cls>`` representation (spec §3.2, §3.3).

    Splice sites use ``ClassificationHead(dim, 128, 1)``, ncRNA families ``ClassificationHead(dim, 256, 88)``.

    Examples
    --------
    >>> ClassificationHead(64, 128, 1)(torch.zeros(4, 64)).shape
    torch.Size([4, 1])
    """

    def __init__(self, dim: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, classes))

    def forward(self, cls: Tensor) -> Tensor:
        """(B, dim) representation of ``<cls>`` → (B, classes) logits."""
        return self.classifier(cls)


class NucleotideHead(nn.Module):
    """Two-layer MLP that gives a number for each nucleotide, such as its chemical reactivity (ours, not the paper's).

    Examples
    --------
    >>> NucleotideHead(64)(torch.zeros(30, 64)).shape
    torch.Size([30])
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.regressor = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, representation: Tensor) -> Tensor:
        """(…, dim) representation of nucleotides → (…) predictions in the scale of the training targets."""
        return self.regressor(representation).squeeze(-1)


class _ResNet(nn.Module):
    """Residual blocks under the names of the released files: ``blocks.{b}.conv_net.{index}.weight``."""

    def __init__(self, blocks: int, convolutions: Mapping[int, Callable[[], nn.Module]]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            block = nn.Module()
            block.conv_net = nn.ModuleDict({str(i): make() for i, make in convolutions.items()})
            self.blocks.append(block)

    def convolutions(self) -> Iterator[nn.ModuleDict]:
        """Yield the convolutions of each block, by their index in the released files."""
        return (cast(nn.ModuleDict, block.conv_net) for block in self.blocks)


class RibosomeLoadHead(nn.Module):
    """Residual 1-D convolutions for mean ribosome load, translation efficiency and expression level (spec §3.4).

    As in the official code, padding is part of the input: the representation is zero there, but biases,
    convolutions and normalisation see it, so a prediction depends on how far its batch was padded.
    Pad to 102 tokens for MRL to get the published behaviour.

    Examples
    --------
    >>> head = RibosomeLoadHead(64).eval()
    >>> head(torch.zeros(2, 30, 64), torch.ones(2, 30, dtype=torch.bool)).shape
    torch.Size([2])
    """

    def __init__(self, dim: int, channels: int = 32, blocks: int = 6, dropout: float = 0.2) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim, channels)

        def convolution() -> nn.Module:
            return nn.Conv1d(channels, channels, 3, padding="same", bias=False)

        self.resnet = _ResNet(blocks, {0: convolution, 3: convolution})
        self.dropout = nn.Dropout(dropout)
        self.linear_out = nn.Linear(channels, 1)

    def forward(self, representation: Tensor, valid: Tensor) -> Tensor:
        """(B, L, dim) with ``<cls>`` and ``<eos>``, and the (B, L) mask of non-padding → (B,) predictions."""
        x = self.linear_in(representation.masked_fill(~valid[..., None], 0.0)).transpose(1, 2)
        for convolutions in self.resnet.convolutions():
            y = F.elu(F.instance_norm(convolutions["0"](x)))
            x = x + F.elu(F.instance_norm(convolutions["3"](y)))
        pooled = (x * valid[:, None]).sum(-1) / valid.sum(-1, keepdim=True)
        return self.linear_out(self.dropout(pooled)).squeeze(-1)


class StructureHead(nn.Module):
    """Base-pairing logits from pairs of nucleotides: a bottleneck ResNet on the L × L map (spec §3.1).

    The official head concatenates the representations of i and j into an L × L × 2·dim tensor and maps
    it to 64 channels. The map is linear, so it splits into a row part and a column part, each L × 64,
    and the large tensor is never built. The first convolution is 1 × 1 and splits in the same way,
    and so do the mean and the variance of the normalisation that follows it.

    Examples
    --------
    >>> StructureHead(64)(torch.randn(30, 64)).shape
    torch.Size([30, 30])
    """

    def __init__(self, dim: int, channels: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.linear_in = nn.Linear(2 * dim, channels)
        self.resnet = _ResNet(
            blocks,
            {
                0: lambda: nn.Conv2d(channels, channels, 1, bias=False),
                3: lambda: nn.Conv2d(channels, channels, 3, padding="same", bias=False),
                6: lambda: nn.Conv2d(channels, channels, 1, bias=False),
            },
        )
        self.conv_out = nn.Conv2d(channels, 1, 3, padding="same")

    def forward(self, representation: Tensor) -> Tensor:
        """Pairing logits, symmetric with a zero diagonal.

        Parameters
        ----------
        representation : Tensor
            (L, dim) or (B, L, dim), nucleotides only, without ``<cls>`` and ``<eos>``, and without
            padding: the normalisation runs over the whole map, so sequences of one batch must have
            one length.

        Returns
        -------
        Tensor
            (L, L) or (B, L, L).

        Raises
        ------
        ValueError
            For L = 1, where there is nothing to pair or to normalise.
        """
        if representation.dim() == 3:
            return torch.stack([self(one) for one in representation])
        length = len(representation)
        if length < 2:
            raise ValueError("a structure needs at least 2 nucleotides")
        rows, columns, offset = self.row_and_column_terms(representation)
        if torch.is_grad_enabled():
            return self._on_whole_maps(rows, columns, offset)
        with torch.autocast(rows.device.type, enabled=False):
            strips = len(self.resnet.blocks) == 2 and not batched_structure_head.fits(rows)
            compute = partial(tiled_structure_head.logits, self) if strips else self._on_whole_maps
            return compute(rows, columns, offset)

    def _on_whole_maps(self, rows: Tensor, columns: Tensor, offset: Tensor) -> Tensor:
        """Compute the logits on whole maps, in the precision of the terms; without gradients the last step in float32.

        A map is kept channels-last, one row a pair, (L², 64): a 1 × 1 convolution is a matrix product.
        """
        length, dtype = len(rows), rows.dtype
        needed = 3.0 * rows.numel() * length * rows.element_size()  # so many maps at least
        require_memory(needed, rows.device, f"the maps of {length} nucleotides")
        x = (rows[:, None] + columns[None]).flatten(0, 1)
        for number, convolutions in enumerate(self.resnet.convolutions()):
            narrow, wide, narrow_out = (
                cast(Tensor, convolutions[key].weight).to(dtype) for key in ("0", "3", "6")
            )
            if number == 0:
                y = _normalised_outer_sum(*(F.linear(part, narrow[:, :, 0, 0]) for part in (rows, columns)))
            else:
                y = F.linear(x, narrow[:, :, 0, 0])
                y = _norm_relu(y)
            y = _convolve(y, wide)  # a name lets go of its last map before the next is made
            y = _norm_relu(y)
            y = F.linear(y, narrow_out[:, :, 0, 0])
            y = _norm_relu(y)
            x = x + y
        logits = tiled_structure_head.convolved_constant(offset, self.conv_out, length)
        if not torch.is_grad_enabled():
            x, logits = tiled_structure_head.exact(x), tiled_structure_head.exact(logits)
        logits = logits.add_(_convolve(x, self.conv_out.weight.to(x.dtype)).view(length, length)).triu(1)
        return logits + logits.T

    def row_and_column_terms(self, representation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the row and column terms of the first map, (L, 64) of mean 0, and the mean taken out, (64,).

        The normalised branches do not see a constant, and the last convolution can be given it apart; left in, it may
        be a hundred times the rest, which half precision then rounds away.
        """
        weight = self.linear_in.weight
        dtype = tiled_structure_head.map_dtype(representation, weight)
        with torch.autocast(representation.device.type, enabled=False):
            parts = [F.linear(representation.to(weight.dtype), side) for side in weight.chunk(2, dim=1)]
            means = [part.mean(0) for part in parts]
            rows, columns = ((part - mean).to(dtype) for part, mean in zip(parts, means, strict=True))
            return rows, columns, means[0] + means[1] + self.linear_in.bias


def _norm_relu(x: Tensor) -> Tensor:
    """Instance normalisation (no weights, eps 1e-5, biased variance) and ReLU of one (L², C) map."""
    return F.relu_(F.batch_norm(x, None, None, training=True, eps=1e-5))


def _normalised_outer_sum(rows: Tensor, columns: Tensor) -> Tensor:
    """Normalise ``rows[i] + columns[j]`` over the map and apply ReLU; both (L, C) → (L², C)."""
    row_variance, row_mean = torch.var_mean(rows, dim=0, correction=0)
    column_variance, column_mean = torch.var_mean(columns, dim=0, correction=0)
    scale = (row_variance + column_variance + 1e-5).rsqrt()
    rows, columns = (rows - row_mean) * scale, (columns - column_mean) * scale
    return F.relu_(rows[:, None] + columns[None]).flatten(0, 1)


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    """3 × 3 convolution with zero padding of a square (L², C) map; the result is (L², C')."""
    side = math.isqrt(len(x))
    return convolve(x.view(1, side, side, -1), weight).reshape(side * side, -1)
