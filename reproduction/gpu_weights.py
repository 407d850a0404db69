"""How the weights of ``nano`` and ``nano-ss`` are made on one GPU in minutes, by the library's own training.

``python -m reproduction.embedded_weights runs/gpu --gpu --minutes 9`` runs three stages by the clock: an encoder from
masked nucleotides; ViennaRNA's pairing probabilities of ncRNAs and of random and shuffled sequences, computed once on
the CPU cores; known structures of TR0 and of ``ss_more`` with some of the probabilities among them. Batches are padded
maps of similar length, weights are averaged, arithmetic is bfloat16. A stage that is finished is skipped, one that was
interrupted is resumed; ``--start nano.safetensors`` begins with given weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rinalmo_kit._utils.files import user_path
from rinalmo_kit._utils.numbers_given import positive_number
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.model.rinalmo import Encoder
from rinalmo_kit.recipes.named import recipe_named
from rinalmo_kit.recipes.splits import Example, splits_of
from rinalmo_kit.training.pretraining import pretrain

from .embedded_weights import SEED, SIZES, Job, corpus
from .thermodynamics import read_likely_pairs, with_artificial, write_likely_pairs

__all__ = ["SHARES", "add_options", "reproduce_on_gpu"]

SHARES = {"encoder": 95, "ensembles": 105, "structures": 140}
"""Parts of the time that the stages take; those that are left share all of it."""


MIXTURE = {"TR0": 0.35, "ss_more": 0.4, "ensembles": 0.25}
"""What the structures of the last stage are."""


ENSEMBLES = 45_000


VALIDATION = 400  # rows of VL0 that choose the threshold


GPU: dict[str, Any] = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"}


def train_encoder(job: Job, seconds: float) -> Encoder:
    """Train the encoder to fill in masked nucleotides."""
    options: dict[str, Any] = {"tokens_per_batch": 65_536, "max_tokens": 512, "workers": 4}
    if job.smoke:
        options |= {"tokens_per_batch": 1024, "workers": 0}
    options |= {"seconds": seconds, "ema": 0.998, "lr": 1.5e-3, "seed": SEED, "validate_every": 10**9}
    return pretrain(corpus(job), model=job.size, output=job.folder / "encoder", **options, **job.trainer)


def ensembles(job: Job) -> list[Example]:
    """Return ViennaRNA's pairing probabilities of ncRNAs, a quarter of them artificial; computed once."""
    path = job.folder / "ensembles.parquet"
    if not path.exists():
        found = corpus(job)
        records = (found.sequence(int(i)) for i in found.epoch(0, SEED, clusters=found.train))
        plain = ((n, s) for n, s in records if 20 <= len(s) <= 300 and set(s) <= set("ACGU"))
        write_likely_pairs(list(islice(with_artificial(plain, seed=SEED), job.limit or ENSEMBLES)), path)
    return list(read_likely_pairs(path))


def finetune(job: Job, recipe: str, output: str, seconds: float, **options: Any) -> Encoder:
    """Fine-tune by a recipe and the clock."""
    changes = {"seconds": seconds, **options.pop("changes", {})}
    if job.smoke:
        changes |= {"map_entries": 60_000}
        options |= {"batch_maps": True, "workers": 1}
    else:
        options["workers"] = 4
    return job.finetune(recipe, output, changes=changes, **options)


def learn_ensembles(job: Job, model: Encoder, seconds: float) -> Encoder:
    """Train on ViennaRNA's pairing probabilities."""
    splits = splits_of(recipe_named("nano-thermo"), limit=job.limit or VALIDATION, wanted=("validation",))
    splits = replace(splits, train=ensembles(job))
    return finetune(job, "nano-thermo", "ensembles", seconds, model=model, splits=splits)


def learn_structures(job: Job, model: Encoder, seconds: float) -> Encoder:
    """Train on known structures, with ViennaRNA's probabilities among them."""
    recipe = recipe_named("nano-ss")
    splits = splits_of(recipe, limit=job.limit, wanted=("train",))
    held_out = splits_of(recipe, limit=job.limit or VALIDATION, wanted=("validation",))
    every = "length > 0"
    all_of_more = replace(recipe, dataset="ss_more", train=every, validation=every, test=every)
    more = splits_of(all_of_more, limit=job.limit, wanted=("train",)).train
    others = mixed(
        {"ss_more": families_in_turn(more, seed=SEED), "ensembles": ensembles(job)},
        {name: share for name, share in MIXTURE.items() if name != "TR0"},
    )
    count = round(len(splits.train) * (1 - MIXTURE["TR0"]) / MIXTURE["TR0"])
    return finetune(
        job,
        "nano-ss",
        "structures",
        seconds,
        model=model,
        splits=replace(splits, validation=held_out.validation),
        unlabelled=others,
        changes={"unlabelled": count},
    )


def families_in_turn(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """Return examples in a random order in which a family's share falls with the root of its size at first.

    Examples
    --------
    >>> rows = [Example(str(i), "ACGU", None, group="large" if i else "small") for i in range(100)]
    >>> [one.group for one in families_in_turn(rows, seed=1)].index("small") < 30
    True
    """
    groups, sizes = np.unique([one.group for one in examples], return_inverse=True, return_counts=True)[1:]
    waiting = np.random.default_rng(seed).exponential(size=len(examples)) * np.sqrt(sizes[groups])
    return [examples[i] for i in np.argsort(waiting)]


def mixed(parts: Mapping[str, Sequence[Example]], shares: Mapping[str, float]) -> list[Example]:
    """Return the examples of several lists in one, with these shares in each stretch; shorter lists are repeated.

    Examples
    --------
    >>> parts = {"a": [Example("a", "ACGU", None)], "b": [Example(f"b{i}", "ACGU", None) for i in range(6)]}
    >>> [one.name for one in mixed(parts, {"a": 1, "b": 2})]
    ['b0', 'a', 'b1', 'b2', 'a', 'b3', 'b4', 'a', 'b5']
    """
    whole = sum(shares.values())
    taken = dict.fromkeys(parts, 0)
    found: list[Example] = []
    while any(taken[name] < len(parts[name]) for name in parts):
        done = len(found) + 1
        name = max(parts, key=lambda name: done * shares[name] / whole - taken[name])
        found.append(parts[name][taken[name] % len(parts[name])])
        taken[name] += 1
    return found


def reproduce_on_gpu(
    output: Path,
    *,
    minutes: float = 9.0,
    start: Path | None = None,
    smoke: bool = False,
    trainer: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Train the embedded weights on one GPU, by the clock.

    Parameters
    ----------
    output : path
        Folder for everything; finished stages in it are not repeated, the weights end up in ``OUTPUT/weights``.
    minutes : float
        Time in training of all stages together; validation, the corpus and ViennaRNA's probabilities come on top.
    start : path, optional
        Weights to begin with: of an encoder, or of a structure model, which is trained on known structures alone.
    smoke : bool
        A small model, a few rows and a few seconds of everything, on a CPU: shows that it runs, not what comes out.
    trainer : mapping, optional
        For :class:`lightning.Trainer`, in place of one GPU in bfloat16.
    report : callable
        Takes a line of text when a stage begins and when it is done.

    Raises
    ------
    ValueError
        If there is no GPU, or for a time that is not above 0.
    """
    positive_number("minutes", minutes)
    if not (smoke or trainer or torch.cuda.is_available()):
        raise ValueError("--gpu needs a CUDA GPU, and PyTorch finds none; --smoke runs on a CPU")
    output = user_path(output)
    output.mkdir(parents=True, exist_ok=True)
    job = Job(output, smoke=smoke, trainer={} if smoke else trainer or GPU)
    if not smoke:
        job.size = SIZES["nano"]
    with_dropout = replace(job.size, residual_dropout=0.1)
    given = None if start is None else load(user_path(start), config=job.size, device="cpu")
    stages = list(SHARES)[0 if given is None else 1 if given.head is None else 2 :]
    total = (6.0 if smoke else 60 * minutes) / sum(SHARES[name] for name in stages)
    for name in stages:
        seconds = round(total * SHARES[name], 1)
        begun = time.perf_counter()
        report(f"{name}: {seconds:g} s of training")
        if name == "encoder":
            train_encoder(job, seconds)
        elif name == "ensembles":
            learn_ensembles(job, given or job.load("encoder"), seconds)
        else:
            path = job.of("ensembles") if given is None or given.head is None else user_path(start or "")
            learn_structures(job, load(path, config=with_dropout, device="cpu"), seconds)
        report(f"{name}: done in {time.perf_counter() - begun:.0f} s")
    for run, name in {"encoder": "nano", "structures": "nano-ss"}.items():
        if run in stages:
            save(load(job.of(run), config=job.size, device="cpu"), job.file(name), dtype=torch.float16)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the stages on a GPU to a command."""
    parser.add_argument("--gpu", action="store_true", help="train nano and nano-ss on one GPU, by the clock")
    parser.add_argument("--minutes", type=float, default=9.0, help="with --gpu: of training (default: 9)")
    parser.add_argument("--start", type=Path, metavar="FILE", help="with --gpu: weights to begin with")
