"""Comparison of two ways to a small model of a task: all of pico fine-tuned, or low-rank adapters on the frozen nano.

``python -m reproduction.adapters OUTPUT --task ncrna-0`` gives both about the same computing time, on one CPU process:
the steps of nano follow from the measured seconds of a step of each. Both are stored as they would be shipped, in
half precision, in ``OUTPUT/weights``, nano's as an adapter file, and scored from these files on the test rows. The
scores are added to ``OUTPUT/measured/adapters.csv``. An interrupted run is resumed (its seconds then count from there),
a finished one is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rinalmo_kit._utils.files import atomic_write, user_path
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.evaluation.leakage import LeakWarning
from rinalmo_kit.evaluation.scoring import evaluate
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.model.rinalmo import Encoder
from rinalmo_kit.recipes.named import recipe_named
from rinalmo_kit.recipes.recipe import with_changes
from rinalmo_kit.recipes.splits import Splits, splits_of
from rinalmo_kit.training.finetuning import Mode, finetune, unfreezing_schedule

from .embedded_weights import SMALL, TASKS, Job

__all__ = ["compare"]

LOW_RANK_LR = 3.0
"""Rate of the low-rank matrices, in that of a full fine-tuning: they start at zero and bear more. Not tuned."""


TRIAL = (4, 16)
"""Steps of two short runs, whose difference in time is that of the steps between."""


MODES: dict[str, Mode] = {"pico": "full", "nano": "lora"}


def compare(
    output: Path,
    *,
    task: str = "ncrna-0",
    rows: int | None = None,
    starts: Mapping[str, str] | None = None,
    trainer: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Fine-tune pico wholly and nano by low-rank adapters, for about the same time; return and write their scores.

    Parameters
    ----------
    output : path
    task : str
        One of :data:`reproduction.embedded_weights.TASKS`.
    rows : int, optional
        Train on at most this many rows, and test on as many.
    starts : mapping, optional
        Names or files of the encoders, by ``"pico"`` and ``"nano"``.
    trainer : mapping, optional
        For Lightning, as of :class:`reproduction.embedded_weights.Job`.

    Returns
    -------
    pandas.DataFrame
        One row a score: ``task``, ``start``, ``mode``, training ``rows``, ``steps``, ``seconds``, ``trainable``
        parameters, ``file_mb``, and ``metric``, ``group``, ``value``, ``low``, ``high``, ``n`` of
        :func:`rinalmo_kit.evaluate`.
    """
    job = Job(output, trainer=trainer)
    job.limit = rows
    starts = dict(starts or {name: name for name in MODES})
    splits = splits_of(recipe_named(task), limit=rows, wanted=("train", "validation"))
    steps = planned_steps(job, task, splits, starts)
    parts = []
    for name, mode in MODES.items():
        facts = train(job, task, name, starts[name], steps[name], splits)
        stored = load(job.file(f"{name}-{task}"), device="cpu", base=starts[name] if mode == "lora" else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakWarning)  # the paper's MRL is watched on a test set
            scores = evaluate(stored, task, limit=rows).scores
        scores = scores[["metric", "group", "value", "low", "high", "n"]]
        parts.append(scores.assign(**facts)[[*facts, *scores]])
    found = pd.concat(parts, ignore_index=True)
    add_rows(output / "measured" / "adapters.csv", found, task)
    return found


def train(job: Job, task: str, name: str, start: str, steps: int, splits: Splits) -> dict[str, Any]:
    """Fine-tune one of the two and store it; return what it took, from its note if that was done before."""
    mode, path = MODES[name], job.file(f"{name}-{task}")
    note = job.folder / task / f"{name}.json"
    if not note.exists():
        begun = time.perf_counter()
        changes = changes_for(task, mode, steps, len(splits.train))
        options: dict[str, Any] = {"model": without_dropout(start), "mode": mode, "changes": changes}
        model = job.finetune(task, f"{task}/{name}-{mode}", **options)
        facts = {"task": task, "start": name, "mode": mode, "rows": len(splits.train), "steps": steps}
        facts |= {"seconds": time.perf_counter() - begun, "trainable": trainable(model, task)}
        save(model, path, dtype=torch.float16, adapter=mode == "lora")
        facts["file_mb"] = path.stat().st_size / 1e6
        with atomic_write(note) as temporary:
            temporary.write_text(json.dumps(facts))
    return dict(json.loads(note.read_text()))


def without_dropout(start: str) -> Encoder:
    """Load an encoder to be trained without dropout, as the embedded models are: nothing is seen often."""
    config = load(start, device="cpu").config
    if not isinstance(config, Config):
        raise ValueError(f"{start}: expected a RiNALMo encoder")
    return load(start, config=replace(config, attention_dropout=0.0, residual_dropout=0.0), device="cpu")


def changes_for(task: str, mode: Mode, steps: int, rows: int) -> dict[str, Any]:
    """Return what is changed in the recipe of a task for a run of so many steps."""
    changes = SMALL | TASKS[task][-1]
    epochs = math.ceil(steps / math.ceil(rows / changes["batch_size"]))
    return (
        changes | {"steps": steps, "epochs": epochs} | ({"encoder_lr": LOW_RANK_LR} if mode == "lora" else {})
    )


def planned_steps(job: Job, task: str, splits: Splits, starts: Mapping[str, str]) -> dict[str, int]:
    """Return the steps of both runs, measured once: a resumed comparison keeps those of its beginning."""
    note = job.folder / task / "steps.json"
    if not note.exists():
        full = TASKS[task][-1]["epochs"] * math.ceil(len(splits.train) / TASKS[task][-1]["batch_size"])
        seconds = {name: step_seconds(job, task, splits, starts[name], mode) for name, mode in MODES.items()}
        lora = max(1, round(full * seconds["pico"] / seconds["nano"]))
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as temporary:
            temporary.write_text(json.dumps({"pico": full, "nano": lora, "seconds a step": seconds}))
    return {name: json.loads(note.read_text())[name] for name in MODES}


def step_seconds(job: Job, task: str, splits: Splits, start: str, mode: Mode) -> float:
    """Return the seconds of a training step: two short runs, which differ in their steps alone."""
    few = replace(splits, validation=splits.validation[:4])
    times = []
    for steps in TRIAL:
        changes = changes_for(task, mode, steps, len(splits.train))
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            finetune(task, output=folder, model=start, mode=mode, splits=few, changes=changes, **job.trainer)
            times.append(time.perf_counter() - begun)
    return max(times[1] - times[0], 1e-3) / (TRIAL[1] - TRIAL[0])


def trainable(model: Encoder, task: str) -> int:
    """Count the parameters that were trained: the head, and the low-rank matrices or what the recipe unfreezes."""
    head = sum(p.numel() for p in model.head.parameters()) if model.head is not None else 0
    if model.adapter is not None:
        return head + sum(m.numel() for matrices in model.adapter.layers.values() for m in matrices)
    stages = unfreezing_schedule(model, with_changes(recipe_named(task), SMALL | TASKS[task][-1]))
    return head + sum(p.numel() for _, parameters in stages for p in parameters)


def add_rows(path: Path, rows: pd.DataFrame, task: str) -> None:
    """Add the scores of a task to a file; those that it had of this task are replaced."""
    rows = rows.assign(**provenance())
    if path.exists():
        before = pd.read_csv(path)
        rows = pd.concat([before[before["task"] != task], rows], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g")


def main(words: Sequence[str] | None = None) -> None:
    """Run ``python -m reproduction.adapters OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path, help="folder; what is finished in it is not repeated")
    parser.add_argument("--task", choices=list(TASKS), default="ncrna-0", help="default: ncrna-0")
    parser.add_argument("--rows", type=int, help="train on at most this many rows, and test on as many")
    for name in MODES:
        parser.add_argument(f"--{name}", default=name, help=f"name or file of the encoder (default: {name})")
    options = parser.parse_args(words)
    starts = {name: getattr(options, name) for name in MODES}
    found = compare(user_path(options.output), task=options.task, rows=options.rows, starts=starts)
    print(found.to_string(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()
