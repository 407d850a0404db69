"""What the machine at hand has."""

from __future__ import annotations

import os
from pathlib import Path

import torch

__all__ = ["available_memory"]


def available_memory(device: torch.device | str = "cpu") -> float:
    """Bytes that can still be had on a device; infinite where the system does not say.

    On Linux the limit of a container counts too.

    Examples
    --------
    >>> available_memory("cpu") > 0
    True
    """
    device = torch.device(device)
    if not getattr(torch, device.type).is_available():  # estimated from elsewhere
        return float("inf")
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + held)
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        free = 1024 * float(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError):
        try:  # macOS and others: half of what is installed
            return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return float("inf")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = float(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0.0, float(limit) - used))
