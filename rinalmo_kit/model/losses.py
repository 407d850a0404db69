"""Losses of fine-tuning that PyTorch does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["observed_loss", "structure_loss"]


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
    i, j = torch.from_numpy(pairs).to(logits.device).unbind(1)
    logits = logits.float()
    of_pairs = logits[i, j]
    if values is not None:
        of_pairs = of_pairs * torch.from_numpy(values).to(logits.device)
    total = torch.triu(F.softplus(logits), diagonal=1).sum() - of_pairs.sum()
    return total / (length if by_length else length * (length - 1) / 2)


def observed_loss(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean loss, ``"mse"`` or ``"huber"`` (delta 1), over the targets that are not NaN.

    Examples
    --------
    >>> observed_loss("mse", torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
    tensor(4.)
    """
    observed = ~targets.isnan()
    outputs, targets = outputs[observed], targets[observed]
    return F.mse_loss(outputs, targets) if kind == "mse" else F.huber_loss(outputs, targets)
