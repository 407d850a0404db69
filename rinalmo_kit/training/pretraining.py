"""Pretraining: masked-nucleotide prediction (paper, "Pre-training"; spec §6)."""

from __future__ import annotations

import math
import os
import time
import zlib
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from .._utils.files import user_path
from .._utils.hardware import peak_flops
from .._utils.numbers_given import positive_number, whole_number
from .._utils.run_folders import check_folder, claim_folder, leads, run_lock
from ..datasets.corpus.store import SequenceCorpus, as_corpus
from ..model import checkpoint as model_checkpoint
from ..model import pretrained
from ..model.blocks import Block
from ..model.config import Config
from ..model.devices import to_device
from ..model.rinalmo import RiNALMo
from ..model.unwrap import unwrapped
from ..recipes.recipe import PAPER, Schedule
from ..rna.alphabet import PAD, VOCABULARY
from .clock import ENDLESS
from .costs import training_flops
from .masking import Batch, batches_of, plan_of
from .run_options import check_ema, check_trainer_options
from .trainer import Run, fit, loading_processes

if TYPE_CHECKING:
    from torch.distributed.fsdp import FullyShardedDataParallel

__all__ = ["pretrain"]

WINDOW = 50  # steps over which speed is averaged


CLOCKED_WARMUP = 150  # steps, where a clock ends the run


class PretrainingRun(Run):
    """Masked-nucleotide prediction; the loss is the mean over the chosen tokens of all processes."""

    model: RiNALMo

    def __init__(
        self,
        model: RiNALMo,
        data: DataLoader,
        held_out: DataLoader | None,
        *,
        corpus: SequenceCorpus,
        lr: float,
        seed: int,
        seconds: float | None = None,
    ) -> None:
        super().__init__(model, plan_of(data), seed=seed, seconds=seconds)
        self.corpus, self.lr = corpus, lr
        self.frozen = not model.embedding.weight.requires_grad
        self.shared = [plan_of(loader) for loader in (data, held_out) if loader is not None]
        self.validated_at = -1
        self.gathered: dict[str, Tensor] | None = None
        self.counted, self.uncounted = 0, cast("Tensor | None", None)  # tokens; the second on the device
        self.recent: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)  # seconds, tokens, operations
        self.operations = 0.0
        self.peak: float | None = None
        self.sums = np.zeros(2 + len(VOCABULARY))  # NLL, tokens, and how often each letter was the target

    def setup(self, stage: str) -> None:
        super().setup(stage)
        for plan in self.shared:
            plan.rank, plan.world = self.plan.rank, self.plan.world

    def groups(self) -> tuple[list[dict[str, Any]], str, Schedule]:
        steps = -(-len(self.plan) // self.trainer.accumulate_grad_batches)
        schedule = Schedule(
            warmup_steps=CLOCKED_WARMUP if self.clock else min(PAPER.warmup_steps, steps // 10),
            warmup_from=min(1.0, PAPER.warmup_from / self.lr),
            decay="cosine",
            floor=min(1.0, PAPER.final_lr / self.lr),
        )
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return [{"params": trained, "lr": self.lr, "weight_decay": PAPER.weight_decay}], "adamw", schedule

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of each chosen token, and the token: (n,) both."""
        chosen = batch.chosen
        if batch.items[0][2] != self.plan.rank:  # a batch too small for all: this is another process's share
            chosen = torch.zeros_like(chosen)
        # All indices are made from the loader's tensors, on the CPU: nothing waits for a GPU
        targets = to_device(batch.tokens[chosen], self.device)
        places = to_device(chosen[batch.corrupted != PAD].nonzero().squeeze(1), self.device)
        packing = self.model.packing(batch.corrupted)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            packed = self.model.encode(to_device(batch.corrupted, self.device), packing)
        logits = self.model.lm_mask_head(packed.index_select(0, places))
        return F.cross_entropy(logits.float(), targets, reduction="none"), targets

    def over_all(self, numbers: Tensor) -> Tensor:
        """Sum over the processes."""
        return self.trainer.strategy.reduce(numbers, reduce_op="sum") if self.plan.world > 1 else numbers

    def training_step(self, batch: Batch, _: int) -> Tensor:
        nll = self.losses(batch)[0].sum()
        own = batch.items[0][2] == self.plan.rank
        lengths = (batch.tokens != PAD).sum(1).numpy() * own
        self.operations += training_flops(self.model.config, lengths, frozen=self.frozen)[0]
        counts = [float(batch.chosen.sum()) * own, float(lengths.sum())]
        if self.plan.world == 1:
            total, number = nll.detach(), max(1.0, counts[0])
            self.counted += int(counts[1])
        else:
            there = to_device(torch.tensor(counts, dtype=torch.float32), nll.device).to(nll.dtype)
            total, number, tokens = self.over_all(torch.cat([nll.detach()[None], there]))
            number = number.clamp(min=1)
            self.uncounted = tokens.long() if self.uncounted is None else self.uncounted + tokens.long()
        self.log_finite_loss(total / number, lambda: self.names(batch))
        return nll * self.plan.world / number  # DDP takes the mean over processes

    @property
    def tokens_seen(self) -> int:
        """Number of tokens that all processes have trained on; waits for the device where there are several."""
        if self.uncounted is not None:
            self.counted, self.uncounted = self.counted + int(self.uncounted), None
        return self.counted

    def names(self, batch: Batch) -> list[str]:
        """Names of the sequences of a batch."""
        return [self.corpus.sequence(index)[0] for _, index, _ in batch.items]

    def on_train_start(self) -> None:
        super().on_train_start()
        half = str(self.trainer.precision).startswith(("16", "bf16"))
        self.peak = peak_flops(self.device, half=half)

    def on_train_batch_end(self, *arguments: Any) -> None:
        super().on_train_batch_end(*arguments)
        if self.uncounted is not None and self.uncounted.device.type == "cuda":
            if self.position % cast(Any, self.trainer).log_every_n_steps:
                return  # several GPUs: their sum would be waited for
        self.recent.append((time.perf_counter(), self.tokens_seen, self.operations))
        if len(self.recent) > 1:
            seconds, tokens, operations = (
                b - a for a, b in zip(self.recent[0], self.recent[-1], strict=True)
            )
            self.log_numbers({"tokens_seen": float(self.tokens_seen), "tokens_per_second": tokens / seconds})
            if self.peak:
                self.log_numbers({"mfu": operations / seconds / self.peak})

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, targets = self.losses(batch)
        self.sums[:2] += float(losses.sum()), len(losses)
        self.sums[2:] += targets.bincount(minlength=len(VOCABULARY)).cpu().numpy()

    def on_validation_epoch_end(self) -> None:
        self.recent.clear()
        sums = self.sums
        if self.plan.world > 1:
            sums = self.over_all(torch.from_numpy(sums).to(self.device)).cpu().numpy()
        nll, number = sums[:2]
        shares = sums[2:][sums[2:] > 0] / number
        unigram = float(np.exp(-(shares * np.log(shares)).sum()))
        self.log_dict(
            {"val_perplexity": math.exp(nll / number), "val_perplexity_unigram": unigram}, prog_bar=True
        )
        self.sums = np.zeros_like(self.sums)
        self.validated_at = self.position

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy) and gradient_clip_val:
            sharded = cast("FullyShardedDataParallel", strategy.model)
            sharded.clip_grad_norm_(gradient_clip_val)  # the norm over all shards
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_end(self) -> None:
        super().on_train_end()
        if isinstance(self.trainer.strategy, FSDPStrategy):  # afterwards, the shards cannot be put together
            self.gathered = self.trainer.strategy.lightning_module_state_dict()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["tokens_seen"] = self.tokens_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.counted, self.uncounted = checkpoint["tokens_seen"], None


def pretrain(
    corpus: Any,
    *,
    output: str | os.PathLike,
    model: Config | RiNALMo | str | os.PathLike | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    seconds: float | None = None,
    ema: float | None = None,
    tokens_per_batch: int = 16_384,
    lr: float | None = None,
    max_tokens: int = PAPER.max_tokens,
    seed: int = 0,
    freeze_encoder: bool = False,
    gradient_checkpointing: bool = False,
    validate_every: int = 1000,
    checkpoint_every: int | None = None,
    workers: int | Literal["auto"] = "auto",
    compiled: bool | None = None,
    progress: bool | None = None,
    **trainer_options: Any,
) -> RiNALMo:
    """Train a model to fill in masked nucleotides; an interrupted run is resumed.

    The paper's recipe (:data:`rinalmo_kit.recipes.PAPER`): 15 % of the tokens chosen, of these 80 % masked and 10 %
    replaced; one sequence of each cluster an epoch, cropped to 1024 tokens; AdamW with weight decay 0.01 on all
    parameters, linear warm-up and cosine, gradients clipped to norm 1. The warm-up takes 2000 steps, or a tenth of a
    run of less than 20,000; the cosine ends with the run.

    Parameters
    ----------
    corpus
        A :class:`rinalmo_kit.datasets.corpus.store.Corpus` or its folder; or a table, FASTA file or list of sequences
        (:func:`rinalmo_kit.datasets.corpus.store.as_corpus`).
    output : path
        Folder for ``model.safetensors``, checkpoints and logs: train_loss, lr, tokens_seen, tokens_per_second, mfu
        (model-FLOP utilisation), and of the held-out clusters, with the same masks every time, ``val_perplexity``
        beside ``val_perplexity_unigram``, which the frequencies of the letters alone would give.
    model : Config, RiNALMo, name or path, optional
        A Config, such as ``Config.micro()``, gives random weights; default: pico. A name or path for
        :func:`rinalmo_kit.load`, or a model, which is changed, is trained further, without its task head.
    steps, epochs : int, optional
        Length of the run, unless `seconds` are given; at least one of the two. Steps are counted in batches.
    seconds : float, optional
        End the run after this time in training, which the learning rate then follows, after 150 steps of warm-up.
    ema : float, optional
        Decay of a moving average of the weights, which is validated and returned; 0.998 is usual.
    tokens_per_batch : int
        Of all processes together. The paper's: 192 sequences on each of seven GPUs, ``PAPER.tokens_per_batch`` at most.
    lr : float, optional
        Peak learning rate; default: the paper's, 5e-5 for giga, 1e-4 for smaller models.
    max_tokens : int
        Longer sequences are cropped at random, anew in every epoch.
    seed : int
        Fixes initial weights, order, crops and masks.
    freeze_encoder : bool
        Train the language-model head alone.
    gradient_checkpointing : bool
        Compute each block again in the backward pass: much less memory (:func:`rinalmo_kit.plan`), a third more time.
    validate_every, checkpoint_every : int, optional
        In batches; checkpoints by default every 200, or ten in a shorter run.
    workers : int or "auto"
        Processes that load data; ``"auto"``: none, or up to eight for each GPU.
    compiled : bool, optional
        Compile the blocks with torch.compile, at the first batch, or never. Default: on CUDA, once the model has
        computed enough for that to pay (see docs/gpu.md).
    progress : bool, optional
        Show one progress bar with the loss and the validation scores, or none; neither shows Lightning's table of
        layers. Default: Lightning's own bar and table.
    **trainer_options
        Passed to :class:`lightning.Trainer`: ``accelerator``, ``devices``, ``num_nodes``, ``strategy`` (``"ddp"``, or
        ``"fsdp"`` for models too large for one GPU), ``precision``, ``accumulate_grad_batches``, …

    Returns
    -------
    RiNALMo
        In eval mode.

    Raises
    ------
    ValueError
        Without a length of the run, for an option out of range, or if `output` holds another run.
    BlockingIOError
        If another process is training in that folder.
    FloatingPointError
        If the loss is not a number, with the names of the sequences of the batch.
    OSError
        If a checkpoint cannot be written; the one before stays.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
    ...     model = pretrain("my_rnas.fasta", model="micro", epochs=3, output=folder)
    """
    if steps is None and epochs is None and seconds is None:
        raise ValueError(
            f"say how long to train: steps=…, epochs=… or seconds=… (the paper's cosine: {PAPER.steps:,} steps)"
        )
    for name, value in {"steps": steps, "epochs": epochs, "checkpoint_every": checkpoint_every}.items():
        if value is not None:
            whole_number(name, value)
    whole_number("validate_every", validate_every)
    tokens_per_batch = whole_number("tokens_per_batch", tokens_per_batch)
    max_tokens = whole_number("max_tokens", max_tokens)
    seed = whole_number("seed", seed, least=0)
    workers = loading_processes(workers, trainer_options.get("accelerator", "auto"))
    whole_number("workers", workers, least=0)
    for name, number in {"lr": lr, "seconds": seconds}.items():
        if number is not None:
            positive_number(name, number)
    if seconds is not None and not steps is epochs is None:
        raise ValueError("say how long to train by one of them: seconds=…, or steps=… and epochs=…")
    if ema is not None:
        check_ema(ema)
        if trainer_options.get("strategy") == "fsdp":
            raise ValueError("ema: weights in shards are not averaged; use another strategy")
    check_trainer_options(trainer_options)
    output = user_path(output)
    if leads():
        check_folder(output)
    corpus = as_corpus(corpus)
    torch.manual_seed(seed)
    model = starting_model(model)
    facts = {
        "config": asdict(model.config),
        "start": model.name,
        "clusters": len(corpus),
        "data": zlib.crc32(np.ascontiguousarray(corpus.lengths).data),
        **{"steps": steps, "epochs": epochs, "tokens_per_batch": tokens_per_batch, "max_tokens": max_tokens},
        **{
            "lr": PAPER.lr(model.config) if lr is None else lr,
            "seed": seed,
            "freeze_encoder": freeze_encoder,
        },
        "accumulate_grad_batches": trainer_options.get("accumulate_grad_batches", 1),
    }
    facts |= {name: value for name, value in {"seconds": seconds, "ema": ema}.items() if value is not None}
    with run_lock(output):
        claim_folder(output / "run.json", {"kind": "pretraining", **facts}, what="run")
        if (finished := output / "model.safetensors").exists():
            return with_weights(model, finished)
        model.gradient_checkpointing = gradient_checkpointing
        model.compiled = model.compiled if compiled is None else compiled
        every = {"validate_every": validate_every, "checkpoint_every": checkpoint_every}
        options = {**every, "progress": progress, **trainer_options}
        run, trainer = train(model, corpus, facts, output=output, workers=workers, **options)
        return finish(run, trainer, finished, facts)


def train(
    model: RiNALMo,
    corpus: SequenceCorpus,
    facts: dict[str, Any],
    *,
    output: Path,
    workers: int,
    **options: Any,
) -> tuple[PretrainingRun, Any]:
    """Train a model in place, by the facts of its run; return the run and Lightning's trainer."""
    model.requires_grad_(not facts["freeze_encoder"]).train(not facts["freeze_encoder"])
    model.lm_mask_head.requires_grad_(True)
    common = {name: facts[name] for name in ("tokens_per_batch", "max_tokens")} | {"workers": workers}
    length = {name: facts[name] for name in ("steps", "epochs", "seed")}
    if (seconds := facts.get("seconds")) is not None:
        length["steps"] = ENDLESS
    data = batches_of(corpus, **length, **common)
    held_out = batches_of(corpus, held_out=True, **common) if len(corpus.holdout) else None
    run = PretrainingRun(
        model, data, held_out, corpus=corpus, lr=facts["lr"], seed=facts["seed"], seconds=seconds
    )
    if options.get("strategy") == "fsdp":
        options["strategy"] = FSDPStrategy(auto_wrap_policy={Block}, state_dict_type="full")
    trainer = fit(
        run, data, held_out, output=output, clip=PAPER.gradient_clip_norm, ema=facts.get("ema"), **options
    )
    if not isinstance(trainer.strategy, FSDPStrategy):
        if held_out is not None and run.validated_at != run.position:
            trainer.validate(run, held_out, verbose=False)
        model.requires_grad_(True)
    return run, trainer


def starting_model(model: Config | RiNALMo | str | os.PathLike | None) -> RiNALMo:
    """Return the model that training starts from, without a task head and what belongs to one."""
    if model is None or isinstance(model, Config):
        return RiNALMo(model or Config.pico())
    given = pretrained.load(model, device="cpu") if isinstance(model, str | os.PathLike) else unwrapped(model)
    if not isinstance(given, RiNALMo):
        raise ValueError(f"{given.name} is not a RiNALMo: only RiNALMo models are pretrained")
    given.head, given.info, given.adapter = None, given.info.for_new_task(), None
    return given


def with_weights(model: RiNALMo, path: Path) -> RiNALMo:
    """Fill a model from a file."""
    saved = pretrained.load(path, config=model.config, device="cpu")
    model.load_state_dict(saved.state_dict())
    model.about = saved.about
    return model.requires_grad_(True).eval()


def finish(run: PretrainingRun, trainer: Any, path: Path, facts: dict[str, Any]) -> RiNALMo:
    """Save the trained model, once, and return it."""
    model = run.model
    if run.gathered is not None:  # the model itself is in shards
        model = RiNALMo(run.model.config)
        if trainer.is_global_zero:
            model.load_state_dict({k.removeprefix("model."): v for k, v in run.gathered.items()})
    model.about = {**run.model.about, "pretraining": {**facts, "tokens_seen": run.tokens_seen}}
    if trainer.is_global_zero:
        model_checkpoint.save(model, path)
    if run.gathered is not None:
        trainer.strategy.barrier()
        return with_weights(model, path)
    return model.eval()
