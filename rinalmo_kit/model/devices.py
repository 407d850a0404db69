"""Devices: copies that do not wait, and the precision of autocast."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["autocast_dtype", "to_device"]


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


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return the dtype of the matrix products under autocast; None without it.

    Examples
    --------
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     autocast_dtype("cpu"), autocast_dtype("meta")
    (torch.bfloat16, None)
    """
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return None
