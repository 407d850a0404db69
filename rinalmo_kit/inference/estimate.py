"""What a job will take, before it runs: operations, seconds and memory of ``embed``, ``fold`` and ``predict``."""

from __future__ import annotations

import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set, ValuesView
from dataclasses import dataclass
from functools import cache
from numbers import Number
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

from .._utils.files import user_path
from .._utils.hardware import available_memory, peak_flops
from ..model.config import Config
from ..model.flops import forward_flops, parameters
from ..model.pretrained import EMBEDDED, OFFICIAL, WEIGHTS, ready_model
from ..model.rinalmo import Encoder, RiNALMo
from ..model.tasks import task_of
from ..rna.alphabet import clean
from ..rna.sequences import Sequences, is_path, read_fasta, read_sequences
from .batching import TRAINED_LENGTH, batches_by_length, token_budget

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "encoder_flops", "estimate", "head_flops"]

MB = 2**20


CHANNELS = 64  # of the structure head


# Memory. Measured as what a fresh process that has imported the package grows by (benchmarks/estimates.py).
HEAD_MAPS = 1
"""Maps of L × L × 64 numbers that the structure head has at its peak."""


HEAD_MATRICES = 4  # L × L: logits and probabilities, and what they are made from; always float32


HEAD_STRIPS = 10 * MB  # rows of a map that are worked on at a time, at most


FOLDING = 25 * MB  # kernels that the convolutions are compiled to, one for each shape


REUSE = 1.5  # bytes the allocator holds for a byte in use: batches differ in size


FIRST_CALL = 11 * MB  # torch's kernels and threads


TABLES = 60 * MB  # pandas, which the result of predict needs


LOADING = 70 * MB  # modules that the first load of a model by its name imports


# Time on a CPU, in operations of the matrix product (or convolution) that is measured on the spot. From the times of
# embed with pico, nano and micro at 10 to 3000 nt, and of fold at 40 to 1500 nt, on two cores that give 360 GFLOP/s;
# set by hand, so that benchmarks/estimates.py is within a quarter: it is no independent check on that machine.
LINEAR = 1.2  # for an operation of the linear maps


NUMBER = 2100.0  # for each number of the (tokens, dim) matrix in each block: norms, rotations, SwiGLU


ATTENTION = 1.0  # for an operation of attention


SCORE = 105.0  # for each score of attention: softmax


HEAD = 2.0  # for an operation of the structure head


PER_BATCH = 2e-4  # seconds for each block and batch


PER_LENGTH = 8e-5  # seconds for each block and length in a batch: attention takes one length at a time


PER_SEQUENCE = 4e-5  # seconds: reading, tokens, result


PER_FOLD = 3e-3  # seconds: calls of the head and decoding


GPU_SHARE = 0.3  # of a GPU's peak; not measured


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
    weights: float
    buffers: float
    head: float
    results: float
    other: float
    available: float
    notes: tuple[str, ...]

    @property
    def peak(self) -> float:
        """Bytes that the job adds to the process (on a GPU: to what the GPU holds) at its peak."""
        return self.weights + self.buffers + self.head + self.results + self.other

    @property
    def fits(self) -> bool:
        """Whether that much memory is available."""
        return self.peak <= self.available

    def __str__(self) -> str:
        parts = [(name, getattr(self, name)) for name in ("weights", "buffers", "head", "results", "other")]
        memory = " + ".join(f"{name} {size / MB:,.0f}" for name, size in parts if size)
        seconds = "unknown" if np.isnan(self.seconds) else f"about {self.seconds:,.3g} s"
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
    task: str  # what its head is for
    window: int | None
    loaded: Encoder | None


def estimate(
    sequences_or_lengths: Sequences | ArrayLike,
    *,
    model: Encoder | str | os.PathLike = "pico-ss",
    task: Literal["embed", "fold", "predict"] | None = None,
    pool: Literal["cls", "mean"] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Estimate:
    """Say how long a job takes and whether it fits into memory; nothing is downloaded and no sequence computed.

    On a CPU the time comes from the speed of a matrix product and a convolution, which are measured at the first
    call for some tens of milliseconds, and from constants of this module. A machine that is busy later, or that
    clocks down, takes longer. On a GPU nothing is measured: the time is a guess from its data sheet.

    Parameters
    ----------
    sequences_or_lengths : str, list of str, {name: sequence}, path to FASTA, or array of int
        What :func:`rinalmo_kit.embed` takes, or lengths in nucleotides. Of a file only the lengths are kept.
    model : Encoder, name or path
        A model with a name is not loaded; a file is.
    task : {"embed", "fold", "predict"}, optional
        Default: what the model's head is for.
    pool : {"cls", "mean"}, optional
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
    >>> job = estimate([76, 120, 1500], model="pico-ss", device="cpu")
    >>> job.task, job.sequences, job.tokens, f"{job.head_flops:.2g}", job.notes[0]
    ('fold', 3, 1702, '3.9e+11', '1 of 3 sequences are above the trained length of 1022 nt, the longest has 1500: ...')
    >>> estimate([500] * 10_000, model="giga", device="cpu").results == 4 * 1280 * 500 * 10_000
    True
    """
    known = _facts(model)
    task = task or known.task
    if task not in ("embed", "fold", "predict"):
        raise ValueError(f"task={task!r}: expected 'embed', 'fold' or 'predict'")
    if task != "embed" and task != known.task:
        use = {"fold": "'pico-ss'", "predict": "'pico-ncrna-0'"}[task]
        raise ValueError(f"{known.name} has no head to {task} with: use one such as {use}")
    if pool not in (None, "cls", "mean"):
        raise ValueError(f"pool={pool!r}: expected None, 'cls' or 'mean'")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype!r}: expected a type of floating-point numbers, such as torch.float16")
    if device is not None:
        device = _device(device)
    nucleotides = _lengths(sequences_or_lengths)
    above = int((nucleotides > TRAINED_LENGTH).sum())
    count, longest = len(nucleotides), int(nucleotides.max())
    if task == "predict" and known.window:
        nucleotides = np.minimum(nucleotides, known.window)
    if device is None:
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        device = best if known.loaded is None else known.loaded.device
    device = torch.device(device)
    dtype = dtype or (torch.float32 if known.loaded is None else known.loaded.dtype)
    tokens, config = nucleotides + 2, known.config
    if task == "fold":
        batches = [[i] for i in range(count)]
    else:
        batches = list(batches_by_length(nucleotides.tolist(), token_budget(config, device)))
    largest = max(int(tokens[batch].sum()) for batch in batches)
    width = 10 * config.dim + 2 * config.ffn_hidden  # qkv, q, k, mixed and its copy, three of x; a, gate
    buffers = (REUSE if len(batches) > 1 else 1.0) * largest * width * dtype.itemsize
    if task == "embed":
        results = 4.0 * config.dim * (count if pool else int(nucleotides.sum()))
    else:
        results = 4.0 * float((nucleotides.astype(float) ** 2).sum()) if task == "fold" else 0.0
    weights = 0.0
    if known.loaded is None:
        weights = float(dtype.itemsize) * parameters(config)
    other = FIRST_CALL + (LOADING if known.loaded is None else 0.0) if device.type == "cpu" else 0.0
    other += {"fold": FOLDING, "predict": TABLES}.get(task, 0.0) if device.type == "cpu" else 0.0
    available, notes = available_memory(device), []
    head = _head_bytes(int(nucleotides.max()), 4) if task == "fold" else 0.0
    if above:
        notes.append(
            f"{above:,} of {count:,} sequences are above the trained length of {TRAINED_LENGTH} nt, the longest "
            f"has {longest}: expect less reliable results"
        )
    fixed = weights + buffers + results + other
    if head and fixed + head > available:
        head = _head_bytes(int(nucleotides.max()), 2)
        notes.append("the structure head's map is kept in float16: the memory does not suffice for float32")
    if fixed + head > available:
        notes.append(_advice(task, results > (fixed + head) / 2, pool))
    encoder = encoder_flops(config, tokens)
    pairs = head_flops(nucleotides) if task == "fold" else 0.0
    seconds, note = _seconds(config, tokens, batches, device, dtype, head=task == "fold")
    return Estimate(
        task=task, model=known.name, device=str(device), sequences=count, tokens=int(tokens.sum()),
        longest=longest, encoder_flops=encoder, head_flops=pairs, seconds=seconds, weights=weights,
        buffers=buffers, head=head, results=results, other=other, available=available,
        notes=(*notes, *note),
    )  # fmt: skip


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


def encoder_flops(config: Config, tokens: ArrayLike) -> float:
    """Count the operations of the encoder: linear maps, and attention within each sequence.

    Examples
    --------
    >>> f"{encoder_flops(Config.giga(), [1024]):.3g}"
    '1.51e+12'
    """
    return sum(forward_flops(config, tokens))


def head_flops(lengths: ArrayLike) -> float:
    """Count the operations of the structure head: 3 × 3 and 1 × 1 convolutions of L × L maps of 64 channels.

    Of its two blocks the first begins with a 1 × 1 convolution that is split into rows and columns and costs nothing.

    Examples
    --------
    >>> head_flops([100]) / 100**2
    173184.0
    """
    convolutions = CHANNELS**2 * (2 * 9 + 3) + CHANNELS * 9
    return 2.0 * convolutions * float((np.asarray(lengths, dtype=float) ** 2).sum())


def _head_bytes(length: int, itemsize: int) -> float:
    one = float(itemsize) * CHANNELS * length**2
    return HEAD_MAPS * one + HEAD_MATRICES * 4 * length**2 + min(HEAD_STRIPS, one)


def _seconds(
    config: Config, tokens: NDArray[np.int64], batches: list[list[int]],
    device: torch.device, dtype: torch.dtype, *, head: bool,
) -> tuple[float, tuple[str, ...]]:  # fmt: skip
    """Time of a job, and what is to be said of it."""
    linear, attention = forward_flops(config, tokens)
    if device.type != "cpu":
        peak = peak_flops(device, half=dtype != torch.float32) if torch.cuda.is_available() else None
        if peak is None:
            return float("nan"), (f"the time on {device} is not known: nothing was measured there",)
        note = f"time not measured: {GPU_SHARE:.0%} of the peak of {device} is assumed"
        work = linear + attention + head * head_flops(tokens - 2)
        return work / (GPU_SHARE * peak) + PER_FOLD * len(batches), (note,)
    product = _product_rate(config.dim, dtype, torch.get_num_threads())
    squares = float((tokens.astype(float) ** 2).sum())
    work = LINEAR * linear + NUMBER * config.blocks * config.dim * float(tokens.sum())
    work += ATTENTION * attention + SCORE * config.blocks * config.heads * squares
    lengths = sum(len(set(tokens[batch].tolist())) for batch in batches)
    seconds = work / product + config.blocks * (PER_BATCH * len(batches) + PER_LENGTH * lengths)
    seconds += PER_SEQUENCE * len(tokens)
    if head:
        rate = _convolution_rate(dtype, torch.get_num_threads())
        seconds += HEAD * head_flops(tokens - 2) / rate + PER_FOLD * len(tokens)
    return seconds, ()


@cache
def _product_rate(dim: int, dtype: torch.dtype, threads: int) -> float:  # threads: of the cache's key
    """Operations a second of a product as the encoder has them: 768 tokens, width `dim` to three times that."""
    x, weight = torch.rand(768, dim, dtype=dtype), torch.rand(3 * dim, dim, dtype=dtype)
    return 2 * 768 * 3 * dim**2 / _median(lambda: torch.mm(x, weight.t()))


@cache
def _convolution_rate(dtype: torch.dtype, threads: int) -> float:
    """Operations a second of the structure head's 3 × 3 convolution, on a map of 128 × 128 nucleotides."""
    x = torch.rand(1, CHANNELS, 128, 128, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(CHANNELS, CHANNELS, 3, 3, dtype=dtype)
    return 2 * 9 * CHANNELS**2 * 128**2 / _median(lambda: F.conv2d(x, weight, padding=1))


@torch.inference_mode()
def _median(call: Callable[[], Any], *, least: float = 0.06) -> float:
    """Median time of a call, repeated for at least so many seconds and five times, after one to warm up."""
    call()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < least:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _facts(model: Encoder | str | os.PathLike) -> _Facts:
    """Take what is needed from a name, without loading what it names, or from a model."""
    if isinstance(model, str) and (model in EMBEDDED or model in OFFICIAL):
        size, _, rest = model.partition("-")
        task = "embed" if not rest else "fold" if rest.startswith("ss") else "predict"
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
    task = "embed" if known is None else "fold" if known.folds else "predict"
    return _Facts(encoder.name, encoder.config, task, encoder.window, encoder)


def _lengths(source: Any) -> NDArray[np.int64]:
    """Lengths in nucleotides, of sequences as they come or as they are given."""
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
    def each() -> Iterator[int]:
        for name, sequence in records:
            length = len(clean(sequence, name=name))
            if not length:
                raise ValueError(f"{name!r} is empty: expected at least one nucleotide")
            yield length

    lengths = np.fromiter(each(), dtype=np.int64)
    if not len(lengths):
        raise ValueError("there are no sequences: expected at least one")
    return lengths


def _advice(task: str, results: bool, pool: str | None) -> str:  # noqa: FBT001
    """Say what to do if a job does not fit."""
    if results and task == "embed" and pool is None:
        return "does not fit because of what is kept: pass pool='mean', or embed in parts and write each to a file"
    if results and task == "fold":
        return (
            "does not fit because of what is kept: fold in parts, or use rinalmo-kit fold, which keeps none"
        )
    return "does not fit: leave out the longest sequences, use a smaller model, or a machine with more memory"
