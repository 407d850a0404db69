"""Losses of fine-tuning that PyTorch does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .devices import to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["observed_loss", "padded_structure_loss", "structure_loss"]


def structure_loss(
    logits: Tensor,
    pairs: NDArray[np.int64],
    *,
    values: NDArray[np.float32] | None = None,
    by_length: bool = False,
) -> Tensor:
    """Compute the binary cross-entropy over the pairs i < j: their mean (paper), or their sum divided by the length.

    With the mean, the loss of a long RNA, and the gradient of its few pairs, vanish as 1/L. Divided by L, every
    nucleotide counts the same.

    Parameters
    ----------
    logits : Tensor
        (L, L), symmetric.
    pairs : ndarray of int64, shape (n, 2)
    values : ndarray of float32, shape (n,), optional
        Probability of each pair, where the pairs are not certain; all others have none.
    by_length : bool
        Divide the sum by the length.
    """
    length = len(logits)
    i, j = to_device(torch.from_numpy(pairs), logits.device).unbind(1)
    logits = logits.float()
    of_pairs = logits[i, j]
    if values is not None:
        of_pairs = of_pairs * to_device(torch.from_numpy(values), logits.device)
    total = torch.triu(F.softplus(logits), diagonal=1).sum() - of_pairs.sum()
    return total / (length if by_length else length * (length - 1) / 2)


def padded_structure_loss(
    logits: Tensor,
    lengths: Sequence[int],
    pairs: Sequence[NDArray[np.int64]],
    *,
    values: Sequence[NDArray[np.float32] | None],
    by_length: bool = False,
) -> Tensor:
    """Compute :func:`structure_loss` of each sequence of a batch, (B,), from padded maps, by a few kernels for all.

    Parameters
    ----------
    logits : Tensor
        (B, W, W), symmetric; what stands beyond a sequence's own length is not read.
    lengths : sequence of int
    pairs : sequence of ndarray of int64, shape (n, 2)
    values : sequence of ndarray of float32, shape (n,), or None
    by_length : bool

    Examples
    --------
    >>> pairs = [np.array([[0, 3]]), np.empty((0, 2), dtype=np.int64)]
    >>> padded_structure_loss(torch.zeros(2, 5, 5), [4, 5], pairs, values=[None, None])
    tensor([0.6931, 0.6931])
    """
    logits = logits.float()
    device, width = logits.device, logits.shape[1]
    sizes = to_device(torch.tensor(lengths), device)
    valid = torch.arange(width, device=device) < sizes[:, None]
    upper = (valid[:, :, None] & valid[:, None]).triu_(1)
    total = (F.softplus(logits) * upper).sum((1, 2))
    of_map = np.repeat(np.arange(len(pairs)), [len(one) for one in pairs])
    places = to_device(torch.from_numpy(np.column_stack((of_map, np.concatenate(pairs)))), device)
    known = [np.ones(len(one), np.float32) if v is None else v for one, v in zip(pairs, values, strict=True)]
    b, i, j = places.unbind(1)
    of_pairs = logits.flatten().index_select(0, (b * width + i) * width + j)
    of_pairs = of_pairs * to_device(torch.from_numpy(np.concatenate(known)), device)
    total = total - torch.zeros_like(total).index_add_(0, b, of_pairs)
    return total / (sizes if by_length else sizes * (sizes - 1) / 2)


def observed_loss(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean loss, ``"mse"`` or ``"huber"`` (delta 1), over the targets that are not NaN.

    Examples
    --------
    >>> observed_loss("mse", torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
    tensor(4.)
    """
    observed = (~targets.isnan()).nonzero(as_tuple=True)  # on the CPU, if the targets are there
    targets = to_device(targets[observed], outputs.device)
    outputs = outputs[tuple(to_device(one, outputs.device) for one in observed)]
    return F.mse_loss(outputs, targets) if kind == "mse" else F.huber_loss(outputs, targets)
