"""Estimates of the steps, operations, days and memory of a pretraining run, before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.choices import did_you_mean
from .._utils.hardware import GB, GPUS
from .._utils.numbers_given import positive_number, whole_number
from ..model.config import Config
from ..model.flops import parameters
from ..recipes.recipe import PAPER
from .costs import activation_bytes, training_flops

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Memory", "Plan", "plan"]

RESERVED = 0.06  # of a GPU's memory: CUDA's own, and what the allocator cannot use


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, by use."""

    weights: float
    gradients: float
    adam: float
    activations: float

    @property
    def total(self) -> float:
        """Return the sum of all."""
        return self.weights + self.gradients + self.adam + self.activations


@dataclass(frozen=True)
class Plan:
    """What a run takes; ``print(plan)`` shows it as a table.

    Attributes
    ----------
    tokens : int
        Over the whole run.
    steps : int
    flops : float
        Of the model over the whole run; what gradient checkpointing computes again comes on top.
    attention_share : float
        Part of `flops` that grows with the square of the length.
    days : float
    memory : Memory
        Of the chosen strategy, on each GPU.
    capacity : float
        Usable bytes of a GPU.
    largest_batch : int
        Tokens of the largest batch that fits, on all GPUs together; 0 if none does.
    """

    model: Config
    gpu: str
    n_gpus: int
    strategy: str
    gradient_checkpointing: bool
    mfu: float
    tokens_per_batch: int
    tokens: int
    steps: int
    flops: float
    attention_share: float
    days: float
    memory: Memory
    alternatives: dict[str, Memory]
    capacity: float
    largest_batch: int

    @property
    def fits(self) -> bool:
        """Tell whether the batch fits into each GPU's memory."""
        return self.memory.total <= self.capacity

    def mfu_of(self, days: float) -> float:
        """Return the model-FLOP utilisation of a run that took this many days."""
        return self.flops / (days * 86400 * self.n_gpus * GPUS[self.gpu].flops)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        name = f"dim {self.model.dim}, {self.model.blocks} blocks, {parameters(self.model) / 1e6:.1f} M parameters"
        time = f"{self.days:.3g} days" if self.days >= 1 else f"{24 * self.days:.3g} hours"
        gpus = f"{self.n_gpus} × {self.gpu.upper()}"
        checkpointing = "with" if self.gradient_checkpointing else "without"
        lines = [
            f"model            {name}",
            f"hardware         {gpus}, {self.strategy}, {checkpointing} gradient checkpointing",
            f"tokens           {self.tokens:.3g} in {self.steps:,} steps of {self.tokens_per_batch:,}",
            f"arithmetic       {self.flops:.3g} FLOP, {self.attention_share:.0%} of it attention",
            f"time             {time} at a utilisation of {self.mfu:.0%} (an assumption: measure yours)",
            "memory, GB       weights  gradients   Adam  activations   total",
        ]
        for label, memory in self.alternatives.items():
            parts = (memory.weights, memory.gradients, memory.adam, memory.activations, memory.total)
            w, g, a, x, t = (part / GB for part in parts)
            mark = "←" if memory == self.memory else ""
            lines.append(f"  {label:<14} {w:>7.2f} {g:>10.2f} {a:>6.2f} {x:>12.2f} {t:>7.2f} {mark}".rstrip())
        verdict = "fits" if self.fits else "does NOT fit"
        lines.append(f"verdict          {verdict} into {self.capacity / GB:.0f} usable GB")
        lines.append(f"largest batch    {self.largest_batch:,} tokens")
        return "\n".join(lines)


def memory_of(
    config: Config, tokens: float, *, n_gpus: int, strategy: str, gradient_checkpointing: bool
) -> Memory:
    """Return the bytes on one GPU that takes `tokens` of each batch in bf16-mixed precision.

    Weights, gradients and Adam's two moments are float32 (4 + 4 + 8 bytes); autocast keeps a bf16 copy of the weights
    (2 bytes), DDP its buckets of gradients (4 bytes). FSDP shards all but the block that is computed.
    """
    number = parameters(config)
    block = parameters(Config(config.dim, 2, config.heads)) - parameters(Config(config.dim, 1, config.heads))
    kept, passing = activation_bytes(config, gradient_checkpointing=gradient_checkpointing)
    if strategy == "fsdp":
        share = number / n_gpus
        weights, gradients = 4 * share + 2 * 2 * block, 4 * share + 2 * block
    else:
        share = number
        weights, gradients = 6 * number, (8 if n_gpus > 1 else 4) * number
    return Memory(weights, gradients, 8 * share, tokens * (kept + passing))


def plan(
    corpus: Any,
    *,
    model: Config | str = "pico",
    gpu: str = "a100-80gb",
    n_gpus: int = 1,
    steps: int | None = None,
    epochs: float | None = None,
    tokens_per_batch: int = 16_384,
    max_tokens: int = PAPER.max_tokens,
    strategy: Literal["ddp", "fsdp"] = "ddp",
    gradient_checkpointing: bool = False,
    mfu: float = 0.4,
) -> Plan:
    """Estimate how long a pretraining run takes and whether it fits into memory.

    Parameters
    ----------
    corpus : corpus, sequences, path, DataFrame or int
        What :func:`rinalmo_kit.pretrain` takes; or the number of tokens of an epoch, whose sequences are then taken
        to have `max_tokens` tokens, the worst case for attention.
    model : str or Config
        Name of a size: pico, nano, micro, mega, giga.
    gpu : str
        One of :data:`GPUS`.
    n_gpus : int
    steps, epochs : optional
        Length of the run; one of the two. An epoch is one sequence of each cluster.
    tokens_per_batch : int
        On all GPUs together. The paper's: ``PAPER.tokens_per_batch``, if all sequences were of full length.
    max_tokens : int
        Longer sequences are cropped.
    strategy : {"ddp", "fsdp"}
    gradient_checkpointing : bool
    mfu : float
        Share of the GPUs' peak that is reached. :func:`rinalmo_kit.pretrain` logs it as ``mfu``.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        For an unknown size or GPU, and without a length of the run.

    Examples
    --------
    The paper's run ("Pre-training": seven A100 of 80 GB, 192 sequences on each, two weeks) would have used at most this
    much of its GPUs: the paper gives no number of steps, that of the released configuration is taken (spec §6), and no
    lengths, all sequences are taken to have 1024 tokens.

    >>> paper = plan(
    ...     17_000_000 * 1024, model="giga", gpu="a100-80gb", n_gpus=7, steps=PAPER.steps,
    ...     tokens_per_batch=PAPER.tokens_per_batch, gradient_checkpointing=True,
    ... )
    >>> f"{paper.tokens:.3g} tokens, {paper.flops:.3g} FLOP, fits: {paper.fits}, MFU {paper.mfu_of(days=14):.0%}"
    '2.75e+11 tokens, 1.21e+21 FLOP, fits: True, MFU 46%'
    """
    config = size(model)
    if gpu not in GPUS:
        raise ValueError(f"unknown GPU {gpu!r}{did_you_mean(gpu, GPUS)}; known are {', '.join(GPUS)}")
    if strategy not in ("ddp", "fsdp"):
        raise ValueError(f"strategy={strategy!r}: expected 'ddp' or 'fsdp'")
    if (steps is None) == (epochs is None):
        raise ValueError("say how long the run is: either steps=… or epochs=…")
    n_gpus, max_tokens = whole_number("n_gpus", n_gpus), whole_number("max_tokens", max_tokens)
    tokens_per_batch = whole_number("tokens_per_batch", tokens_per_batch)
    steps = None if steps is None else whole_number("steps", steps)
    if epochs is not None:
        positive_number("epochs", epochs)
    if positive_number("mfu", mfu) > 1:
        raise ValueError(f"mfu={mfu}: expected a share of the peak, from 0 to 1")
    lengths, weight = epoch_lengths(corpus, max_tokens)
    per_epoch = float(lengths.sum()) * weight
    if epochs is not None:
        steps = math.ceil(epochs * per_epoch / tokens_per_batch)
    assert steps is not None  # one of the two is given
    tokens = steps * tokens_per_batch
    flops, attention = (f * tokens / float(lengths.sum()) for f in training_flops(config, lengths))

    def memory(strategy: str, checkpointing: bool, tokens: float) -> Memory:  # noqa: FBT001
        return memory_of(
            config, tokens, n_gpus=n_gpus, strategy=strategy, gradient_checkpointing=checkpointing
        )

    share = tokens_per_batch / n_gpus
    alternatives = {
        f"{kind}{' + ckpt' if checkpointing else ''}": memory(kind, checkpointing, share)
        for kind in ("ddp", "fsdp")[: 1 + (n_gpus > 1)]
        for checkpointing in (False, True)
    }
    capacity = (1 - RESERVED) * GPUS[gpu].memory
    fixed = memory(strategy, gradient_checkpointing, 0).total
    each = memory(strategy, gradient_checkpointing, 1).activations
    return Plan(
        model=config,
        gpu=gpu,
        n_gpus=n_gpus,
        strategy=strategy,
        gradient_checkpointing=gradient_checkpointing,
        mfu=mfu,
        tokens_per_batch=tokens_per_batch,
        tokens=tokens,
        steps=steps,
        flops=flops,
        attention_share=attention / flops,
        days=flops / (mfu * n_gpus * GPUS[gpu].flops) / 86400,
        memory=memory(strategy, gradient_checkpointing, share),
        alternatives=alternatives,
        capacity=capacity,
        largest_batch=max(0, int((capacity - fixed) / each)) * n_gpus,
    )


def size(model: Config | str) -> Config:
    """Return the configuration of a named size."""
    if isinstance(model, Config):
        return model
    known = ("pico", "nano", "micro", "mega", "giga")
    if model not in known:
        raise ValueError(f"unknown size {model!r}{did_you_mean(model, known)}; known are {', '.join(known)}")
    return getattr(Config, model)()


def epoch_lengths(corpus: Any, max_tokens: int) -> tuple[NDArray[np.int64], float]:
    """Return the tokens of the sequences of an epoch, ``<cls>`` and ``<eos>`` included, and how often to count them."""
    if isinstance(corpus, Real):
        positive_number("tokens", corpus)
        return np.array([max_tokens]), float(corpus) / max_tokens
    from ..datasets.corpus.store import as_corpus

    corpus = as_corpus(corpus)
    rows = np.asarray(corpus.epoch(0, 0))
    return np.minimum(np.asarray(corpus.lengths)[rows].astype(np.int64) + 2, max_tokens), 1.0
