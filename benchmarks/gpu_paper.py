"""The paper's training runs on a GPU: what a step takes at the paper's batch, and what the whole run would."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

import rinalmo_kit as rk
from rinalmo_kit.recipes import PAPER, RECIPES
from rinalmo_kit.recipes.recipe import Recipe
from rinalmo_kit.recipes.splits import splits_of

from .gpu import OURS, Bench
from .gpu_models import clear, random_model, random_sequences

WORK = "training of the paper"
STEPS = {"ss-bprna": 48, "ss-archiveII-5s": 48, "ncrna-0": 10, "mrl": 16, "te-muscle": 24}
"""Recipe → steps that are measured; batches of one structure differ most."""
WARM_UP = 4
ACCUMULATED = 14  # batches of 96 full sequences that make the paper's step of 7 × 192


class Enough(Exception):
    """Ends a run that has been measured, before it validates and saves."""


class Clock(Callback):
    """Takes the mean time of some steps after the first ones, then ends the run."""

    def __init__(self, bench: Bench, steps: int) -> None:
        self.bench, self.steps, self.taken = bench, steps, 0
        self.start = self.seconds = 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        self.taken += 1
        if self.taken == WARM_UP:
            self.bench.wait()
            self.start = perf_counter()
        elif self.taken == WARM_UP + self.steps:
            self.bench.wait()
            self.seconds = (perf_counter() - self.start) / self.steps
            raise Enough


def paper(bench: Bench) -> None:
    """Train as the paper does, for some steps; ``value`` is the hours of the whole run at that speed."""
    for name, steps in {"mrl": 2}.items() if bench.smoke else STEPS.items():
        recipe = RECIPES[name]
        recipe = replace(recipe, batch_size=2) if bench.smoke else recipe
        # all blocks that are ever trained are, from the first step: the dearest epochs of the run
        recipe = replace(recipe, unfreeze=((0, recipe.unfreeze[-1][1]),))
        with bench.row(WORK, f"{recipe.name}, batches of {recipe.batch_size}", OURS) as row:
            if row is None:
                continue
            if not rk.datasets.available(recipe.dataset):
                row.status = f"skipped: no table {recipe.dataset}"
            else:
                rows = len(splits_of(recipe, wanted=("train",)).train)
                row.seconds, row.peak_gb = measured(bench, recipe, steps)
                row.value = row.seconds * recipe.epochs * -(-rows // recipe.batch_size) / 3600
    with bench.row(WORK, f"pretraining, steps of {PAPER.tokens_per_batch:,} tokens", OURS) as row:
        if row is not None:
            seconds, row.peak_gb = measured(bench, None, 2 if bench.smoke else 4)
            row.seconds = seconds * ACCUMULATED
            row.value = row.seconds * PAPER.steps / 3600


def measured(bench: Bench, recipe: Recipe | None, steps: int) -> tuple[float, float | None]:
    """Return the seconds of a step, and the memory in GB at its peak; None stands for pretraining."""
    cuda = bench.device.type == "cuda"
    model = random_model(bench, "tiny" if bench.smoke else "giga").train()
    clock = Clock(bench, steps)
    options: dict[str, Any] = {"model": model, "callbacks": [clock], "progress": False, "devices": 1}
    options |= {"accelerator": "gpu" if cuda else "cpu", "checkpoint_every": 10**6}
    if cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    with tempfile.TemporaryDirectory() as folder:
        options["output"] = Path(folder, "run")
        try:
            if recipe is None:
                pretrain(bench, **options)
            else:
                few = 2 * (WARM_UP + steps) if bench.smoke else None
                rk.finetune(recipe, limit=few, changes={"steps": WARM_UP + steps + 1}, **options)
        except Enough:
            pass
    peak = torch.cuda.max_memory_allocated(bench.device) / 1e9 if cuda else None
    del model, options
    clear(bench)
    return clock.seconds, peak


def pretrain(bench: Bench, **options: Any) -> None:
    """Pretrain on random RNAs of full length, each a step of the paper's is made of."""
    longest = 30 if bench.smoke else PAPER.max_tokens - 2
    rnas = random_sequences(300 if bench.smoke else 1500, longest, longest)
    budget = 128 if bench.smoke else PAPER.tokens_per_batch // ACCUMULATED
    rk.pretrain(rnas, tokens_per_batch=budget, gradient_checkpointing=True, steps=64, **options)
