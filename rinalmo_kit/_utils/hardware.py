"""Free memory and rate of matrix products of this machine, and a table of GPUs."""

from __future__ import annotations

import math
import os
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = [
    "GPUS",
    "available_memory",
    "available_threads",
    "cpu_flops",
    "has_bfloat16_units",
    "peak_flops",
    "require_memory",
]

SMALL = 64 * 2**20  # bytes; what is free is not known more exactly


UNLIMITED = 2.0**62  # version 1 of control groups writes about 2⁶³ for "no limit"


# Files of a control group: limit, use, and the entries of memory.stat that the kernel can drop.
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")


VERSION_2 = ("memory.max", "memory.current", "inactive_file", "active_file")


def available_threads() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(device: torch.device | str = "cpu", *, root: Path = Path("/")) -> float:
    """Return the bytes that are available on a device; infinite where the system does not say.

    On Linux the limits of a container or a batch job count too: those of the process's own control group and of every
    group above it, of version 1 or 2, and that of its address space (``ulimit -v``). Files that the kernel keeps in
    memory and can drop are no use of a limit.

    Parameters
    ----------
    device : torch.device or str
    root : Path
        Where ``proc`` and ``sys`` are.

    Examples
    --------
    >>> available_memory("cpu") > 0
    True
    """
    device = torch.device(device)
    if not getattr(torch, device.type).is_available():  # estimated from elsewhere
        return float("inf")
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    free = _meminfo(root, "MemAvailable")
    if free is None:
        try:  # macOS and others: half of what is installed
            return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return float("inf")
    return min(free, *_limits(root))


def require_memory(needed: float, device: torch.device, what: str, *, available: float | None = None) -> None:
    """Make sure that a large block fits into a CPU's memory before it is taken.

    Linux grants more memory than there is and ends the process once it is used, without a message. Other systems and
    GPUs say so by themselves. Free swap counts where no limit of a container or a batch job forbids it.

    Parameters
    ----------
    needed : float
        Bytes.
    device : torch.device
    what : str
        What needs it, for the error.
    available : float, optional
        Of :func:`available_memory`, where it was asked for already.

    Raises
    ------
    MemoryError
        If there is not enough; says how much is needed and how much is available.

    Examples
    --------
    >>> require_memory(1e15, torch.device("cpu"), "a map", available=8e9)
    Traceback (most recent call last):
    MemoryError: a map needs 1,000,000.0 GB of memory, 8.0 GB are available
    """
    if device.type != "cpu" or needed <= SMALL:
        return
    available = available_memory(device) if available is None else available
    if needed <= available:
        return
    swap = _meminfo(Path("/"), "SwapFree")
    swap = available if swap is None else swap  # elsewhere the other half of what is installed
    available += max(0.0, min(swap, min(_limits(Path("/"))) - available))
    if needed > available:
        raise MemoryError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory, {available / 1e9:,.1f} GB are available"
        )


def _meminfo(root: Path, key: str) -> float | None:
    """Return an entry of /proc/meminfo in bytes; None on other systems than Linux."""
    try:
        return 1024 * float((root / "proc/meminfo").read_text().split(f"{key}:")[1].split()[0])
    except (OSError, IndexError):
        return None


def _limits(root: Path) -> list[float]:
    """Return what each limit of this process leaves, in bytes; the first is that of its address space."""
    return [_address_space(root), *_control_groups(root)]


def _address_space(root: Path) -> float:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return float("inf")
        pages = float((root / "proc/self/statm").read_text().split()[0])
    except (ImportError, OSError, IndexError, ValueError):
        return float("inf")
    return max(0.0, limit - pages * resource.getpagesize())


def _control_groups(root: Path) -> list[float]:
    """Return what is left of the limit of each control group that the process is in."""
    found = (_left(root / "sys/fs/cgroup" / group, *names) for group, names in _limited_groups(root))
    return [left for left in found if left is not None]


@cache
def _limited_groups(root: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return the control groups with a limit of memory, innermost first, and the names of the files in them.

    Looked for once: a process seldom changes its group. In a container the path may be that of the host, of which only
    the end of the way up is there.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[str, tuple[str, ...]]] = []
    mounts: tuple[str, ...]
    names: tuple[str, ...]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts, names = (".", "unified"), VERSION_2
        elif "memory" in controllers.split(","):
            mounts, names = tuple(dict.fromkeys(("memory", controllers))), VERSION_1
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for mount in mounts:
            groups = ("/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1))
            found += [(g, names) for g in groups if _left(root / "sys/fs/cgroup" / g, *names) is not None]
    return found


def _left(group: Path, limit_name: str, used_name: str, *droppable: str) -> float | None:
    """Return the bytes that a control group's limit leaves; None without a limit."""
    try:
        text = (group / limit_name).read_text().strip()
        if text == "max" or float(text) >= UNLIMITED:
            return None
        used = float((group / used_name).read_text())
    except (OSError, ValueError):
        return None
    try:
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= sum(float(facts.get(name, 0)) for name in droppable)
    except (OSError, ValueError):
        pass
    return max(0.0, float(text) - max(0.0, used))


def _after_fork() -> None:
    """Let a forked process compute on one thread: the others were not copied, and it would wait for them forever."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def has_bfloat16_units() -> bool:
    """Tell whether this processor computes in bfloat16 by itself (AMX, AVX-512 BF16), not by way of float32."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch has no public name for them
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


GB = 1e9


class GPU(NamedTuple):
    """A GPU: peak of its dense matrix units in bf16 (fp16 where it has no bf16), FLOP/s, and memory in bytes."""

    flops: float
    memory: float


GPUS: dict[str, GPU] = {
    "a100-80gb": GPU(312e12, 80 * GB),
    "a100-40gb": GPU(312e12, 40 * GB),
    "h100": GPU(989.4e12, 80 * GB),
    "h100-pcie": GPU(756e12, 80 * GB),
    "h100-nvl": GPU(835.5e12, 94 * GB),
    "h200": GPU(989.4e12, 141 * GB),
    "b200": GPU(2250e12, 180 * GB),
    "l40s": GPU(362e12, 48 * GB),
    "l40": GPU(181e12, 48 * GB),
    "l4": GPU(121e12, 24 * GB),
    "a10g": GPU(70e12, 24 * GB),
    "a6000": GPU(154.8e12, 48 * GB),
    "a40": GPU(149.7e12, 48 * GB),
    "rtx-4090": GPU(165.2e12, 24 * GB),
    "rtx-3090": GPU(71e12, 24 * GB),
    "v100-32gb": GPU(125e12, 32 * GB),
    "t4": GPU(65e12, 16 * GB),
}
"""Data sheets of the vendor, without sparsity and with sums in float32; Lightning's table, which is used for the
rest, has the numbers with sparsity for some cards and those of the ordinary cores for others."""


def peak_flops(device: torch.device | str, *, half: bool = False) -> float | None:
    """Return the peak rate of a device, FLOP/s; None where it is not known.

    GPUs: from :data:`GPUS`, else from Lightning's table. CPU: that of :func:`cpu_flops`.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return cpu_flops(torch.bfloat16 if half else torch.float32)
    if device.type != "cuda":
        return None
    if half and (known := gpu_named(torch.cuda.get_device_name(device))):
        return GPUS[known].flops
    try:
        from lightning.fabric.utilities.throughput import get_available_flops

        return get_available_flops(device, torch.bfloat16 if half else torch.float32)
    except Exception:  # absent, broken, or a card that it does not know
        return None


def gpu_named(name: str) -> str | None:
    """Find the entry of :data:`GPUS` for a name as CUDA gives it.

    Examples
    --------
    >>> gpu_named("NVIDIA A100-SXM4-80GB"), gpu_named("NVIDIA GeForce RTX 4090"), gpu_named("NVIDIA X1")
    ('a100-80gb', 'rtx-4090', None)
    """
    words = set(name.lower().replace("-", " ").split())
    matching = [key for key in GPUS if set(key.split("-")) <= words]
    return max(matching, key=len, default=None)


def cpu_flops(dtype: torch.dtype = torch.float32) -> float:
    """Measure the rate of matrix products on the CPU, FLOP/s: once for a type and a number of threads.

    Examples
    --------
    >>> cpu_flops() > 1e8
    True
    """
    return _measured(dtype, torch.get_num_threads())


@cache
def _measured(dtype: torch.dtype, threads: int) -> float:  # threads: of the cache's key
    """Multiply two 768 × 768 matrices some times and return the best rate; about a tenth of a second."""
    a, b = torch.rand(2, 768, 768).to(dtype).unbind(0)
    best = math.inf
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - start)
    return 2 * 768**3 / best
