"""Pretraining in processes of its own, for the tests: several together, or killed in the middle.

``python pretraining_run.py FOLDER PROCESSES STRATEGY`` is one run, with compiled blocks if the strategy ends with
``-compiled``; ``python pretraining_run.py FOLDER killed`` a run
that is killed in several places and resumed each time.
"""

import os
import resource
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel
from torch.distributed.fsdp.api import FullOptimStateDictConfig

from rinalmo_kit.model import checkpoint, fused_blocks
from rinalmo_kit.model.config import Config
from rinalmo_kit.training import pretraining, trainer

QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}
SHORT = {"steps": 24, "tokens_per_batch": 400, "lr": 3e-3, "validate_every": 8, "checkpoint_every": 4}


def repeats(n):
    return [("ACGGU" * 12)[i % 5 : 20 + (7 * i) % 38] for i in range(n)]


def tiny(dropout):
    return Config(32, 2, heads=4, attention_dropout=dropout, residual_dropout=dropout)


def together(folder, processes, strategy):
    """Train in several processes; each notes which sequences it saw, and its weights."""
    seen, step = [], pretraining.PretrainingRun.training_step

    def noting(self, batch, i):
        if batch.items[0][2] == self.plan.rank:
            seen.append([index for _, index, _ in batch.items])
        return step(self, batch, i)

    pretraining.PretrainingRun.training_step = noting
    strategy, _, compiled = strategy.partition("-")
    if strategy == "fsdp":
        strategy = on_cpu()
    model = pretraining.pretrain(
        repeats(150),
        output=folder,
        model=tiny(0.0),
        devices=processes,
        strategy=strategy,
        compiled=bool(compiled),
        **SHORT,
        **QUIET,
    )
    assert bool(compiled) == bool(fused_blocks.compiled_parts.cache_info().currsize)
    assert not fused_blocks._failed
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    torch.save({"seen": seen, "state": model.state_dict()}, folder / f"rank{rank}.pt")


def on_cpu():
    """FSDP without a GPU, which torch allows if it is told twice, and Lightning does not expect."""

    def changed(cls, change):
        init = cls.__init__

        def changed_init(self, *arguments, **options):
            init(self, *arguments, **options)
            change(self)

        cls.__init__ = changed_init

    for config in (FullStateDictConfig, FullOptimStateDictConfig):  # a copy from CPU to CPU would crash
        changed(config, lambda self: setattr(self, "offload_to_cpu", False))
    init = FullyShardedDataParallel.__init__
    FullyShardedDataParallel.__init__ = lambda self, *arguments, **options: init(
        self, *arguments, **{**options, "device_id": torch.device("cpu")}
    )

    class OnCPU(pretraining.FSDPStrategy):
        root_device = torch.device("cpu")

        def __init__(self, **options):
            super().__init__(process_group_backend="gloo", **options)

    pretraining.FSDPStrategy = OnCPU
    return "fsdp"


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def at(number, method, action):
    """Act at the given call of a method."""
    calls = []

    def acting(*arguments, **options):
        calls.append(1)
        return (action if len(calls) == number else method)(*arguments, **options)

    return acting


def half_written(content, file):
    file.write(b"half of a checkpoint")
    file.flush()
    die()


def full(content, file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the disk has no more room
    SAVE(content, file)


RUN, SAVE = pretraining.PretrainingRun, torch.save
PLACES = {
    "before the first checkpoint": (RUN, "training_step", 4, die),
    "after a checkpoint": (RUN, "training_step", 8, die),
    "in the validation": (RUN, "validation_step", 2, die),
    "while a checkpoint is written": (trainer.torch, "save", 1, half_written),
    "on a full disk": (trainer.torch, "save", 1, full),
    "before the model is saved": (checkpoint, "save", 1, die),
    "nowhere": None,
}


def killed(folder, places):
    """Run in a child process for each place; print how it ended, and what is in the folder."""
    for place in places:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            if PLACES[place]:
                owner, name, number, action = PLACES[place]
                setattr(owner, name, at(number, getattr(owner, name), action))
            try:
                pretraining.pretrain(repeats(60), output=folder, model=tiny(0.1), **SHORT, **QUIET)
            except OSError as error:
                print(error, file=sys.stderr)
                os._exit(3)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        path = folder / "last.ckpt"
        step = torch.load(path, weights_only=True)["global_step"] if path.exists() else None
        print(f"{place}: {status} {step}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "killed":
        killed(folder / "killed", list(PLACES))
        killed(folder / "whole", ["nowhere"])
    else:
        together(folder, int(sys.argv[2]), sys.argv[3])
