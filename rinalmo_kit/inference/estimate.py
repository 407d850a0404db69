"""Estimates of the operations, seconds and memory of ``embed``, ``fold`` and ``predict``, before they run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence, Set, ValuesView
from dataclasses import dataclass
from numbers import Number
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from .._utils.defaults import MODELS, STRUCTURE
from .._utils.files import user_path
from .._utils.hardware import available_memory, cpu_flops, peak_flops
from ..model.batched_structure_head import INFERENCE_ENTRIES, MAPS
from ..model.config import Config
from ..model.flops import CHANNELS, encoder_flops, head_flops, parameters
from ..model.pretrained import EMBEDDED, OFFICIAL, WEIGHTS, ready_model
from ..model.rinalmo import Encoder, RiNALMo
from ..model.tasks import task_of
from ..model.whitening import Pool
from ..rna.sequences import Sequences, is_path, read_fasta, read_sequences
from .batching import TRAINED_LENGTH, batches_by_length, ready_sequence, token_budget
from .embedding import check_pool
from .shards import Operation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "estimate"]

MB = 2**20


# Memory of a CPU: what a fresh process that has imported the package grows by (benchmarks/estimates.py).
SPREAD = 0.35  # bytes between the rows of embeddings that the allocator cannot use, for a byte of them


WORKSPACE = 10 * MB  # kernels and buffers of torch, for each thread


IMPORTS = 100 * MB  # modules that loading a model by its name imports


TABLES = 40 * MB  # pandas, which the result of predict needs


# Time, from the rate at which the device multiplies matrices. Less the time of calls, jobs with pico, nano and micro
# reached 0.42 to 0.68 of it on two cores (data/measured/estimates.csv, at 350 GFLOP/s), 0.37 to 0.6 on a busy one.
EFFICIENCY = 0.5


CALL = 3e-3  # seconds that a batch of the encoder, or an RNA in the structure head, takes by itself


MARGIN = 1.5  # the factor, either way, within which a time measured so is to be expected


GPU_EFFICIENCY, GPU_MARGIN = 0.3, 3.0  # of the peak in the data sheet; assumed, not measured


@dataclass(frozen=True)
class Estimate:
    """What a job takes; ``print(estimate)`` shows it as a table.

    Attributes
    ----------
    sequences, tokens : int
        How many; tokens with ``<cls>`` and ``<eos>``.
    longest : int
        Nucleotides.
    encoder_flops, head_flops : float
    seconds : float
        Without loading the model; NaN where the device's speed is not known.
    margin : float
        The factor by which the time may be less or more.
    weights, buffers, head, results, other : float
        Bytes that the job adds: the model (0 if it is loaded already), the encoder's buffers, the structure head's
        maps, what is returned, and what the first call of all brings with it.
    available : float
        Bytes that are free on the device; infinite where the system does not say.
    notes : tuple of str
        Sequences above the trained length; what is not measured; what to do if the job does not fit.
    """

    task: str
    model: str
    device: str
    sequences: int
    tokens: int
    longest: int
    encoder_flops: float
    head_flops: float
    seconds: float
    margin: float
    weights: float
    buffers: float
    head: float
    results: float
    other: float
    available: float
    notes: tuple[str, ...]

    @property
    def peak(self) -> float:
        """Return the bytes that the job adds to the process (on a GPU: to what the GPU holds) at its peak."""
        return self.weights + self.buffers + self.head + self.results + self.other

    @property
    def seconds_range(self) -> tuple[float, float]:
        """Return the shortest and the longest time to expect, in seconds."""
        return self.seconds / self.margin, self.seconds * self.margin

    @property
    def fits(self) -> bool:
        """Tell whether that much memory is available."""
        return self.peak <= self.available

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        parts = [(name, getattr(self, name)) for name in ("weights", "buffers", "head", "results", "other")]
        memory = " + ".join(f"{name} {size / MB:,.0f}" for name, size in parts if size)
        low, high = self.seconds_range
        seconds = "unknown" if np.isnan(self.seconds) else f"{low:,.2g} to {high:,.2g} s"
        lines = [
            f"job         {self.task} with {self.model} on {self.device}",
            f"sequences   {self.sequences:,}; {self.tokens:,} tokens, the longest has {self.longest:,} nt",
            f"arithmetic  encoder {self.encoder_flops:.3g} FLOP, head {self.head_flops:.3g} FLOP",
            f"time        {seconds}",
            f"memory, MB  {self.peak / MB:,.0f} = {memory}",
            f"verdict     {'fits' if self.fits else 'does NOT fit'} into {self.available / MB:,.0f} MB available",
        ]
        return "\n".join(lines + [f"note        {note}" for note in self.notes])


class _Facts(NamedTuple):
    """What an estimate needs to know of a model."""

    name: str
    config: Config
    task: Operation  # what its head is for
    window: int | None
    loaded: Encoder | None


def estimate(
    sequences_or_lengths: Sequences | ArrayLike,
    *,
    model: Encoder | str | os.PathLike = STRUCTURE,
    task: Operation | None = None,
    pool: Pool | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Estimate:
    """Estimate how long a job takes and whether it fits into memory; nothing is downloaded and no sequence computed.

    The time is the number of operations divided by a share of the rate at which the device multiplies matrices. On a
    CPU that rate is measured at the first call, in about a tenth of a second; the jobs that were timed took from 1/1.5
    to 1.5 times the estimate. A machine that is busy later takes longer. On a GPU nothing is measured: rate and share
    are assumed, and the range is a factor of 3 either way.

    Parameters
    ----------
    sequences_or_lengths : str, list of str, {name: sequence}, path to FASTA, or array of int
        What :func:`rinalmo_kit.embed` takes, or lengths in nucleotides. Of a file only the lengths are kept.
    model : Encoder, name or path
        A model with a name is not loaded; a file is.
    task : {"embed", "fold", "predict"}, optional
        Default: what the model's head is for.
    pool : {"cls", "mean", "std", "max"}, optional
        As for :func:`rinalmo_kit.embed`.
    device : optional
        Default: that of a loaded model; else CUDA, else MPS, else CPU.
    dtype : torch.dtype, optional
        Default: that of a loaded model; else float32.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        For an unknown model, task, pool, device or dtype, a model without the head for the task, no sequences, or an
        empty one.

    Examples
    --------
    >>> job = estimate([76, 120, 1500], model="nano-ss", device="cpu")
    >>> job.task, job.sequences, job.tokens, f"{job.head_flops:.2g}", job.notes[0]
    ('fold', 3, 1702, '3.9e+11', '1 of 3 sequences are above the trained length of 1022 nt, the longest has 1500: ...')
    >>> estimate([500] * 10_000, model="giga", device="cpu").results == 4 * 1280 * 500 * 10_000
    True
    """
    known = _facts(model)
    task = _checked_task(task, known)
    check_pool(pool)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype!r}: expected a type of floating-point numbers, such as torch.float16")
    chosen = None if device is None else _device(device)
    nucleotides = _lengths(sequences_or_lengths)
    count, longest = len(nucleotides), int(nucleotides.max())
    above = int((nucleotides > TRAINED_LENGTH).sum())
    if task == "predict" and known.window:
        nucleotides = np.minimum(nucleotides, known.window)
    chosen = chosen or (_best_device() if known.loaded is None else known.loaded.device)
    dtype = dtype or (torch.float32 if known.loaded is None else known.loaded.dtype)
    tokens, config = nucleotides + 2, known.config
    batches = list(batches_by_length(nucleotides.tolist(), token_budget(config, chosen)))
    notes = []
    if above:
        notes.append(
            f"{above:,} of {count:,} sequences are above the trained length of {TRAINED_LENGTH} nt, the longest "
            f"has {longest}: expect less reliable results"
        )
    largest = max(int(tokens[batch].sum()) for batch in batches)
    width = 10 * config.dim + 2 * config.ffn_hidden  # qkv, q, k, mixed and its copy, three of x; a, gate
    buffers = float(largest * width * dtype.itemsize)
    weights = float(dtype.itemsize) * parameters(config) if known.loaded is None else 0.0
    results = _result_bytes(task, config, nucleotides, pooled=pool is not None)
    other = 0.0
    if chosen.type == "cpu":
        other = WORKSPACE * torch.get_num_threads() + (known.loaded is None) * IMPORTS
        other += TABLES if task == "predict" else SPREAD * results if task == "embed" else 0.0
    available = available_memory(chosen)
    fixed, head = weights + buffers + results + other, 0.0
    if task == "fold":
        head = _head_bytes(longest, 4)
        if fixed + head > available:
            head = _head_bytes(longest, 2)
            notes.append(
                "the structure head's map is kept in float16: the memory does not suffice for float32"
            )
    if (
        task == "fold"
        and chosen.type != "cpu"
        and fixed + (together := _together(nucleotides, dtype)) <= available
    ):
        head = max(head, together)
    if fixed + head > available:
        notes.append(_advice(task, pool, results=results > (fixed + head) / 2))
    encoder, pairs = encoder_flops(config, tokens), head_flops(nucleotides) if task == "fold" else 0.0
    calls = len(batches) + (count if task == "fold" else 0)
    seconds, margin = _seconds(encoder + pairs, calls, chosen, dtype)
    if np.isnan(seconds):
        notes.append(f"the time on {chosen} is not known: nothing was measured there")
    elif chosen.type != "cpu":
        notes.append(f"time not measured: {GPU_EFFICIENCY:.0%} of the peak of {chosen} is assumed")
    return Estimate(
        task=task, model=known.name, device=str(chosen), sequences=count, tokens=int(tokens.sum()),
        longest=longest, encoder_flops=encoder, head_flops=pairs, seconds=seconds, margin=margin, weights=weights,
        buffers=buffers, head=head, results=results, other=other, available=available, notes=tuple(notes),
    )  # fmt: skip


def _checked_task(task: Operation | None, known: _Facts) -> Operation:
    """Return the task, or that of the model's head; reject one that the model cannot do."""
    task = task or known.task
    if task not in ("embed", "fold", "predict"):
        raise ValueError(f"task={task!r}: expected 'embed', 'fold' or 'predict'")
    if task != "embed" and task != known.task:
        use = repr(MODELS[task])
        raise ValueError(f"{known.name} has no head to {task} with: use one such as {use}")
    return task


def _best_device() -> torch.device:
    """Return CUDA, MPS or the CPU, the first that is available."""
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(best)


def _device(given: Any) -> torch.device:
    """Return a device that torch knows, here or elsewhere."""
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError):
        device = None
    if device is None or not hasattr(getattr(torch, device.type, None), "is_available"):
        raise ValueError(f"device={str(given)!r}: expected cpu, cuda, cuda:1 (the second GPU) or mps")
    if (
        device.type == "cuda"
        and torch.cuda.is_available()
        and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(
            f"device={str(given)!r}: this machine has {torch.cuda.device_count()} GPUs, counted from 0"
        )
    return device


def _result_bytes(task: Operation, config: Config, nucleotides: NDArray[np.int64], *, pooled: bool) -> float:
    """Return the bytes of what a job returns: float32 rows, or (L, L) probabilities; those of labels do not count."""
    if task == "embed":
        return 4.0 * config.dim * (len(nucleotides) if pooled else int(nucleotides.sum()))
    return 4.0 * float((nucleotides.astype(float) ** 2).sum()) if task == "fold" else 0.0


def _head_bytes(length: int, itemsize: int) -> float:
    """Return the bytes of the structure head: its map, four matrices (logits, probabilities), strips of the map."""
    image = float(itemsize) * CHANNELS * length**2
    return image + 4 * 4 * length**2 + min(10 * MB, image)


def _together(nucleotides: NDArray[np.int64], dtype: torch.dtype) -> float:
    """Return the bytes of the maps that a GPU computes together."""
    entries = min(float(INFERENCE_ENTRIES), float((nucleotides.astype(float) ** 2).sum()))
    return MAPS * CHANNELS * dtype.itemsize * entries


def _seconds(operations: float, calls: int, device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return the time of a job and its margin; the time is NaN on a device whose rate is not known."""
    if device.type == "cpu":
        return operations / (EFFICIENCY * cpu_flops(dtype)) + CALL * calls, MARGIN
    peak = peak_flops(device, half=dtype != torch.float32) if torch.cuda.is_available() else None
    seconds = float("nan") if peak is None else operations / (GPU_EFFICIENCY * peak) + CALL * calls
    return seconds, GPU_MARGIN


def _facts(model: Encoder | str | os.PathLike) -> _Facts:
    """Return what an estimate needs, from a name, without loading what it names, or from a model."""
    if isinstance(model, str) and (model in EMBEDDED or model in OFFICIAL):
        size, _, rest = model.partition("-")
        task: Operation = "embed" if not rest else "fold" if rest.startswith("ss") else "predict"
        window = None
        if model in EMBEDDED:
            with safe_open(WEIGHTS / EMBEDDED[model], framework="pt") as file:
                window = json.loads((file.metadata() or {}).get("rinalmo_kit", "{}")).get("window")
        return _Facts(model, getattr(Config, size)(), task, window, None)
    encoder = ready_model(model)
    if not isinstance(encoder, RiNALMo):
        raise ValueError(
            f"{encoder.name} is a {type(encoder).__name__}: only RiNALMo models can be estimated"
        )
    known = task_of(encoder.head)
    task = "embed" if known is None else "fold" if known.predicts_structures else "predict"
    return _Facts(encoder.name, encoder.config, task, encoder.window, encoder)


def _lengths(source: Any) -> NDArray[np.int64]:
    """Return the lengths in nucleotides, of sequences or as they are given."""
    is_file = isinstance(source, str) and is_path(source) and user_path(source).exists()
    if is_file or isinstance(source, os.PathLike | io.IOBase):
        return _checked(read_fasta(source))
    if isinstance(source, Iterator | Set | ValuesView):  # lengths need no order
        source = list(source)
    numbers = isinstance(source, Number) or (
        hasattr(source, "dtype") and np.asarray(source).dtype.kind in "biufc"
    )
    if isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray):
        numbers = len(source) > 0 and isinstance(source[0], Number)
    return _whole_numbers(source) if numbers else _checked(read_sequences(source))


def _whole_numbers(given: Any) -> NDArray[np.int64]:
    try:
        lengths = np.asarray(given)
    except ValueError:  # lists in it
        lengths = np.zeros((0, 0))
    if lengths.shape == (0,):
        raise ValueError("there are no sequences: expected at least one")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths.astype(np.int64) < 1).any():
        shown = list(given)[:5] if isinstance(given, Iterable) and lengths.ndim else given
        raise ValueError(f"lengths {shown}: expected whole numbers of nucleotides, at least 1 each")
    return lengths.astype(np.int64)


def _checked(records: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
    lengths = np.fromiter((len(ready_sequence(*record)) for record in records), dtype=np.int64)
    if not len(lengths):
        raise ValueError("there are no sequences: expected at least one")
    return lengths


def _advice(task: Operation, pool: str | None, *, results: bool) -> str:
    """Return what to do if a job does not fit, because of its results or of something else."""
    if results and task == "embed" and pool is None:
        return "does not fit because of what is kept: pass pool='mean', or embed in parts and write each to a file"
    if results and task == "fold":
        return (
            "does not fit because of what is kept: fold in parts, or use rinalmo-kit fold, which keeps none"
        )
    return "does not fit: leave out the longest sequences, use a smaller model, or a machine with more memory"
