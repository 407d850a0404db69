"""From what a head returns to columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .heads import ClassificationHead, RibosomeLoadHead, StructureHead
from .rinalmo import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


def head_outputs(model: Encoder, rows: list[Tensor]) -> list[Tensor] | Tensor:
    """Apply the task head to sequences that :func:`represent` has encoded.

    Returns
    -------
    list of Tensor
        (L, L) pairing logits of each, from a structure head.
    Tensor
        (B, classes) logits, or (B,) predictions in the scale of the training targets.
    """
    if isinstance(model.head, StructureHead):
        return [model.head(one[1:-1]) for one in rows]
    if isinstance(model.head, ClassificationHead):
        return model.head(torch.stack([one[0] for one in rows]))
    lengths = torch.tensor([len(one) for one in rows])
    # A sequence beyond pad_to is padded to nothing; it is alone in its batch, see predict
    width = max(model.pad_to or 0, int(lengths.max()))
    padded = torch.stack([F.pad(one, (0, 0, 0, width - len(one))) for one in rows])
    valid = torch.arange(width) < lengths[:, None]
    return model.head(padded, valid.to(padded.device))


def as_columns(model: Encoder, outputs: NDArray[np.float64]) -> dict[str, Any]:
    """Columns of :func:`predict` from the outputs of the head, (n, classes) or (n,)."""
    if isinstance(model.head, RibosomeLoadHead):
        mean, std = model.scaler or (0.0, 1.0)
        return {"prediction": outputs.reshape(-1) * std + mean}
    classes = model.head.classifier[2].out_features
    outputs = outputs.reshape(-1, classes)
    if classes == 1:  # one logit for yes or no
        yes = 1 / (1 + np.exp(-np.clip(outputs, -500, 500)))
        probabilities = np.concatenate((1 - yes, yes), axis=1)
    else:
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True, initial=-np.inf))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    labels = np.array(model.labels or [f"class {i}" for i in range(probabilities.shape[1])], dtype=object)
    best = probabilities.argmax(axis=1)
    return {
        "label": labels[best],
        "probability": probabilities.max(axis=1, initial=0.0),
        **{f"P({label})": probabilities[:, i] for i, label in enumerate(labels)},
    }
