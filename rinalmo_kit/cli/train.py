"""Commands that list recipes, fine-tune, evaluate, and score structures of any program."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from .._utils.cells import arrays_as_text
from .._utils.files import (
    atomic_write,
    check_output,
    is_same,
    is_stream,
    output_lock,
    remove_left_over,
    user_path,
)
from .arguments import settings
from .options import _trainer_options

if TYPE_CHECKING:
    from pathlib import Path

    from ..evaluation.scoring import Evaluation
    from ..model.rinalmo import Encoder


def _recipes(options: argparse.Namespace) -> int:
    from ..recipes.named import RECIPES, recipe_named

    if options.recipe:
        print(recipe_named(options.recipe).describe())
        return 0
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:<{width}} {recipe.task:<11} {recipe.dataset:<10} {recipe.metric}")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    import torch

    from ..datasets.user_tables import names_table, read_table
    from ..model.checkpoint import save
    from ..model.tasks import user_tasks
    from ..recipes.named import RECIPES, recipe_named
    from ..training.finetuning import ADAPTER, finetune

    recipe = options.recipe
    if names_table(recipe, known=RECIPES, task=options.task):
        if options.task is None:
            raise ValueError(f"--task: say what is to be learned: {', '.join(user_tasks())}")
        recipe, folds = read_table(user_path(recipe), task=options.task), 1
    else:
        folds = recipe_named(recipe).folds
    if options.fold != "all" and not options.fold.lstrip("-").isdecimal():
        raise ValueError(f"--fold {options.fold}: expected a number, or all")
    trainer = _trainer_options(options, finetune)
    numbers = range(folds) if options.fold == "all" else [int(options.fold)]
    for fold in numbers:
        output = user_path(options.output) / (f"fold-{fold}" if options.fold == "all" else "")
        model = finetune(
            recipe,
            output=output,
            model=options.model,
            task=options.task,
            target=options.target,
            mode=options.mode,
            fold=fold,
            seed=options.seed,
            limit=options.limit,
            changes=settings(options.set),
            **trainer,
        )
        path = output / "model.safetensors"
        if options.half:
            save(model, path, dtype=torch.float16)
        if options.mode == "lora":
            print(_adapter_note(output / ADAPTER, model, half=options.half), file=sys.stderr)
        print(path)
    return 0


def _adapter_note(path: Path, model: Encoder, *, half: bool) -> str:
    """Say where the adapter of a low-rank run is, stored in half precision on request, or why there is none."""
    import torch

    from ..model.checkpoint import save

    if model.adapter is None or model.adapter.base is None:
        return "no adapter file: it needs a base that is a whole model in a file, and the run started from another one"
    if half:
        save(model, path, dtype=torch.float16, adapter=True)
    return f"{path}: the adapter alone, {path.stat().st_size / 1e6:.1f} MB, of {model.adapter.base.name}"


def _evaluate(options: argparse.Namespace) -> int:
    from ..datasets.user_tables import names_table, read_table
    from ..evaluation.scoring import evaluate
    from ..recipes.named import RECIPES

    with _tables(options, [options.model, options.recipe]) as (scores, samples):
        on = options.recipe
        if names_table(on, known=RECIPES, task=options.task):
            on = read_table(user_path(on), task=options.task or "structure")
        result = evaluate(
            options.model,
            on,
            task=options.task,
            target=options.target,
            fold=options.fold,
            limit=options.limit,
            energy=None if options.energy == "none" else options.energy,
            output=scores,
            progress=True,
        )
        _report(result, samples)
    return 0


def _score(options: argparse.Namespace) -> int:
    from ..evaluation.matching import UnscoredWarning, holds_structures
    from ..evaluation.scoring import evaluate
    from ..structure import read_structures

    if not holds_structures(options.predicted):
        read_structures(options.predicted)  # says what is wrong with it
    with _tables(options, [options.predicted, options.reference]) as (scores, samples):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = evaluate(
                    options.predicted,
                    options.reference,
                    canonical_only=options.canonical_only,
                    output=scores,
                )
            finally:
                for one in caught:
                    print(f"rinalmo-kit: note: {one.message}", file=sys.stderr)
        _report(result, samples)
    return int(any(issubclass(one.category, UnscoredWarning) for one in caught))


@contextmanager
def _tables(options: argparse.Namespace, inputs: list[str]) -> Iterator[tuple[Path | None, Path | None]]:
    """Check the files for scores and samples before the work, and hold the lock of the second."""
    scores, samples = (path and user_path(path) for path in (options.output, options.samples))
    for path in filter(None, (scores, samples)):
        if path.suffix.lower() != ".csv" and not is_stream(path):
            raise ValueError(f"{path}: unknown ending {path.suffix!r}; expected a .csv")
        check_output(path, inputs=inputs)
    if scores and samples and is_same(scores, samples) and not is_stream(scores):
        raise ValueError(f"{scores} is named for --output and for --samples: choose another one")
    with output_lock(samples) if samples else nullcontext():
        yield scores, samples


def _report(result: Evaluation, samples: Path | None) -> None:
    """Write the rows of an evaluation, and print its scores."""
    if samples:
        remove_left_over(samples)
        with atomic_write(samples) as temporary:
            arrays_as_text(result.samples).to_csv(temporary, index=False)
    columns = ["group", "fold", "metric", "value", "low", "high", "n"]
    print(result.scores[columns].to_string(index=False, float_format="%.4f"))
    note = result.scores["data"].iloc[0]
    if note:
        print(f"data: {note}")
