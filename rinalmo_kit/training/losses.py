"""Losses of fine-tuning, by the names that recipes use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["loss_of", "structure_loss"]


def structure_loss(
    logits: Tensor,
    pairs: NDArray[np.int64],
    *,
    values: NDArray[np.float32] | None = None,
    by_length: bool = False,
) -> Tensor:
    """Binary cross-entropy over the pairs i < j: their mean (paper), or their sum divided by the length.

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


def loss_of(kind: str, outputs: list[Tensor] | Tensor, targets: Sequence[Any]) -> Tensor:
    """Loss of a batch.

    Parameters
    ----------
    kind : str
        ``"pairs"`` and ``"pairs-by-length"`` (:func:`structure_loss`), ``"binary"`` (cross-entropy of one logit),
        ``"classes"`` (cross-entropy), ``"mse"``, ``"huber"`` (delta 1); all are means over the batch.
    outputs
        From :func:`rinalmo_kit.model.tasks.head_outputs`.
    targets
        Structures or :class:`reproduction.thermodynamics.LikelyPairs`, indices of classes, or numbers in the scale of
        the outputs.
    """
    if kind in ("pairs", "pairs-by-length"):
        by_length = kind == "pairs-by-length"
        losses = [
            structure_loss(one, s.pairs, values=getattr(s, "values", None), by_length=by_length)
            for one, s in zip(outputs, targets, strict=True)
        ]
        return torch.stack(losses).mean()
    outputs = outputs.float()
    if kind == "classes":
        return F.cross_entropy(outputs, torch.tensor(targets, device=outputs.device))
    wanted = torch.tensor(targets, dtype=torch.float32, device=outputs.device)
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), wanted)
    return {"mse": F.mse_loss, "huber": F.huber_loss}[kind](outputs, wanted)
