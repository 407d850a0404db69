"""Copies to a device that do not wait for it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor of the CPU on a device; CUDA is not waited for.

    An ordinary copy to CUDA ends when all work before it has: between two batches the GPU would run dry. The copy from
    pinned memory is put in line behind that work instead.

    Examples
    --------
    >>> to_device(torch.ones(2), "cpu")
    tensor([1., 1.])
    """
    device = torch.device(device)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)
