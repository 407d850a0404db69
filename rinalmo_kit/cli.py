"""The command ``rinalmo-kit``."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from .arguments import parser, settings
from .files import check_output, is_same, is_stream, output_lock, remove_left_over, user_path, whole_file
from .screen import screen

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 all done, 1 some records refused, 2 nothing could be done."""
    with screen():
        try:
            options = parser().parse_args(arguments)
        except SystemExit as ended:  # --help, or words that were not understood
            return int(ended.code or 0)
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    warnings.showwarning = lambda message, *_: print(f"rinalmo-kit: note: {message}", file=sys.stderr)
    try:
        code = COMMANDS[options.run](options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, FloatingPointError, MemoryError) as error:
        print(f"rinalmo-kit: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        if str(stopped):
            print(f"rinalmo-kit: {stopped}", file=sys.stderr)
        return 130


def _job(options: argparse.Namespace, **more: object) -> int:
    """Run a job into a folder of Parquet tables, and say what is in it."""
    from .jobs import RECORDS, DamagedInputError, run, started_alone
    from .outputs import STRUCTURES

    if options.output is None or options.input == "-":
        raise ValueError(
            "tables in Parquet need a file for INPUT and a folder for --output, to go on after a stop"
        )
    output = user_path(options.output)
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"{output} is a file: expected a folder")
    if (holds := STRUCTURES.get(output.suffix.lower(), "parquet")) != "parquet" and not output.is_dir():
        raise ValueError(f"{output}: a file with this ending holds {holds}, not parquet; name a folder")
    try:
        report = run(
            options.command,
            options.input,
            options.output,
            model=options.model,
            shard_size=RECORDS if options.shard_size is None else options.shard_size,
            processes=1 if options.processes is None else options.processes,
            progress=not options.quiet,
            **more,
        )
    except DamagedInputError as error:  # what came before that place is there
        print(f"rinalmo-kit: error: {error}", file=sys.stderr)
        return 1
    refused = f", {report.refused:,} of them refused (column error)" if report.refused else ""
    state = f"{report.missing} shards of other processes are missing" if report.missing else "finished"
    print(
        f"{options.output}: {report.records:,} records in {report.shards} shards{refused}; {state}",
        file=sys.stderr,
    )
    # torchrun and srun would end the other processes
    return 1 if report.refused and started_alone() else 0


def _check_no_job(options: argparse.Namespace) -> None:
    for name in ("shard_size", "processes"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for many sequences: give -f parquet and a folder with -o"
            )


def _embed(options: argparse.Namespace) -> int:
    return _job(options, pool=None if options.pool == "none" else options.pool)


def _check(_: argparse.Namespace) -> int:
    from .checks import check

    report = check()
    print(report)
    return 0 if report.ok else 1


def _data_list(options: argparse.Namespace) -> int:
    from .originals import describe, overview

    if options.name:
        print(describe(options.name))
        return 0
    table = overview()
    line = "{:<15} {:<43} {:>8} {:>8}  {:<9} {}"
    print(line.format("name", "task", "rows", "paper", "data", "licence"))
    for row in table.fillna({"rows": 0, "paper_rows": 0}).itertuples():
        counts = [f"{count:,}" if count else "–" for count in (row.rows, row.paper_rows)]
        print(line.format(row.name, row.task, *counts, row.data, row.licence))
    for row in table[table["table"] != ""].itertuples():
        print(f"\n{row.name}: {row.table}" + (f"\n  {row.standin}" if row.standin else ""))
    return 0


def _data_get(options: argparse.Namespace) -> int:
    from .originals import get, verify

    print(get(options.name, source=user_path(options.source) if options.source else None))
    report = verify(options.name)
    print(report)
    return 0 if report.ok else 1


def _data_verify(options: argparse.Namespace) -> int:
    from .datasets import TABLES
    from .originals import verify

    wrong = 0
    for name in [options.name] if options.name else TABLES:
        try:
            report = verify(name)
        except FileNotFoundError:
            if options.name:
                raise
            print(f"{name}: not here")
            continue
        print(report)
        wrong += not report.ok
    return 1 if wrong else 0


def _models(_: argparse.Namespace) -> int:
    from .registry import models

    table = models().drop(columns=["size", "licence"])
    print(table.to_string(index=False, na_rep="", float_format="%.3f"))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from .embedded import reproduce

    def report(line: str) -> None:
        print(line, flush=True)

    output, trainer = user_path(options.output), settings(options.trainer)
    with output_lock(output):
        reproduce(output, report=report, only=options.only, smoke=options.smoke, trainer=trainer)
    return 0


def _studio(options: argparse.Namespace) -> int:
    from .studio_page import serve

    return serve(options.model, ip=options.ip, port=options.port, browser=not options.no_browser)


def _recipes(options: argparse.Namespace) -> int:
    from .recipes import RECIPES, recipe_named

    if options.recipe:
        print(recipe_named(options.recipe).describe())
        return 0
    for recipe in RECIPES.values():
        print(f"{recipe.name:<24} {recipe.task:<11} {recipe.dataset:<10} {recipe.metric}")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    import torch

    from .finetuning import finetune
    from .hub import save
    from .recipes import RECIPES, recipe_named
    from .splits import read_table

    recipe = options.recipe
    if options.task or ("." in recipe and recipe not in RECIPES):
        if options.task is None:
            raise ValueError("--task: say what is to be learned: classification, regression or structure")
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
        print(path)
    return 0


def _trainer_options(options: argparse.Namespace, function: Callable) -> dict[str, object]:
    """Return the options for Lightning, among which none of the function's own may be."""
    found = settings(options.trainer)
    if ours := found.keys() & inspect.signature(function).parameters.keys():
        raise ValueError(f"--trainer {min(ours)}: Lightning's Trainer has no such option")
    return found


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluation import evaluate
    from .recipes import RECIPES
    from .splits import read_table

    scores, samples = (path and user_path(path) for path in (options.output, options.samples))
    for path in filter(None, (scores, samples)):
        if path.suffix.lower() != ".csv" and not is_stream(path):
            raise ValueError(f"{path}: unknown ending {path.suffix!r}; expected a .csv")
        check_output(path, inputs=[options.model, options.recipe])
    if scores and samples and is_same(scores, samples) and not is_stream(scores):
        raise ValueError(f"{scores} is named for --output and for --samples: choose another one")
    on = options.recipe
    if options.task or ("." in on and on not in RECIPES):
        on = read_table(user_path(on), task=options.task or "structure")
    with ExitStack() as held:
        if samples:
            held.enter_context(output_lock(samples))
        result = evaluate(
            options.model,
            on,
            task=options.task,
            target=options.target,
            fold=options.fold,
            limit=options.limit,
            output=scores,
            progress=True,
        )
        if samples:
            remove_left_over(samples)
            with whole_file(samples) as temporary:
                result.samples.to_csv(temporary, index=False)
    columns = ["group", "fold", "metric", "value", "low", "high", "n"]
    print(result.scores[columns].to_string(index=False, float_format="%.4f"))
    note = result.scores["data"].iloc[0]
    if note:
        print(f"data: {note}")
    return 0


def _corpus_build(options: argparse.Namespace) -> int:
    from .corpus import build_corpus, build_corpus_from_table
    from .user_tables import ending_of

    shared = {
        "min_length": options.min_length,
        "max_length": options.max_length,
        "seed": options.seed,
        "progress": not options.quiet,
    }
    inputs, output = [user_path(one) for one in options.input], user_path(options.output)
    if len(inputs) == 1 and ending_of(inputs[0]) in (".parquet", ".csv", ".tsv"):
        corpus = build_corpus_from_table(inputs[0], output, holdout=options.holdout, **shared)
    else:
        corpus = build_corpus(
            inputs,
            output,
            min_identity=None if options.no_clusters else options.min_identity,
            coverage=options.coverage,
            holdout=0.01 if options.holdout is None else options.holdout,
            threads=options.threads,
            **shared,
        )
    print(corpus, *(f"{name} {number:,}" for name, number in corpus.meta["counts"].items()), sep="\n")
    if refused := corpus.meta["counts"]["refused"]:
        print(f"rinalmo-kit: {refused} records refused, see {output / 'refused.tsv'}", file=sys.stderr)
    return 1 if refused else 0


def _pretrain(options: argparse.Namespace) -> int:
    from .planner import size
    from .pretraining import pretrain

    pretrain(
        user_path(options.corpus),
        output=user_path(options.output),
        model=options.model or size(options.size),
        steps=options.steps,
        epochs=options.epochs,
        tokens_per_batch=options.tokens_per_batch,
        max_tokens=options.max_tokens,
        lr=options.lr,
        seed=options.seed,
        freeze_encoder=options.freeze_encoder,
        gradient_checkpointing=options.checkpointing,
        validate_every=options.validate_every,
        checkpoint_every=options.checkpoint_every,
        workers=options.workers,
        **_trainer_options(options, pretrain),
    )
    print(user_path(options.output) / "model.safetensors")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from .planner import plan

    if (options.corpus is None) == (options.tokens is None):
        raise ValueError("give a corpus or --tokens, one of the two")
    print(
        plan(
            user_path(options.corpus) if options.corpus else options.tokens,
            model=options.size,
            gpu=options.gpu,
            n_gpus=options.n,
            steps=options.steps,
            epochs=options.epochs,
            tokens_per_batch=options.tokens_per_batch,
            max_tokens=options.max_tokens,
            strategy=options.strategy,
            gradient_checkpointing=options.checkpointing,
            mfu=options.mfu,
        )
    )
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from .estimates import estimate
    from .records import source_of

    more = {"task": options.task, "pool": options.pool, "device": options.device}
    print(estimate(source_of(options.input), model=options.model, **more))
    return 0


def _fold(options: argparse.Namespace) -> int:
    from .inference import fold_each, folding_model
    from .outputs import ONE, STRUCTURES, Folder, Output, Writer, structures
    from .records import Source

    rules = {"min_loop": options.min_loop, "canonical_only": not options.non_canonical}
    if options.format == "parquet":
        return _job(options, threshold=options.threshold, **rules)
    _check_no_job(options)
    output = Output.of(options.output, options.format, STRUCTURES, folders=True)
    output.check([options.input])
    with output.lock():
        one = output.content in ONE and not output.folder
        source = Source(options.input, quiet=options.quiet, one=one)
        model = folding_model(options.model)
        writer = Folder(output, [options.input]) if output.folder else Writer(output, structures)
        with writer, source.bar() as bar:
            for record in source:
                try:
                    [structure] = fold_each([record], model=model, threshold=options.threshold, **rules)
                    writer.write(structure)
                except (ValueError, MemoryError) as error:
                    source.refuse(error)
                bar.update()
            writer.whole = source.fault is None
    return source.report(writer.finished, "folded")


def _predict(options: argparse.Namespace) -> int:
    from .inference import predicting_model
    from .outputs import TABLES, Output, Writer, tables
    from .records import Source

    if options.format == "parquet":
        return _job(options)
    _check_no_job(options)
    output = Output.of(options.output, options.format, TABLES)
    output.check([options.input])
    with output.lock():
        source = Source(options.input, quiet=options.quiet)
        model = predicting_model(options.model)
        with Writer(output, tables) as writer, source.bar() as bar:
            for chunk in source.chunks():
                _predict_some(chunk, model, source, writer, bar)
            writer.whole = source.fault is None
    return source.report(writer.finished, "predicted")


def _predict_some(records: list[tuple[str, str]], model: Any, source: Any, writer: Any, bar: Any) -> None:
    """Predict and write some records; if it is interrupted, those that are finished."""
    import numpy as np
    import pandas as pd

    from .inference import as_columns, notice, predictions, ready_sequence, too_large

    names, texts = [], []
    for name, text in records:
        try:
            texts.append(ready_sequence(name, text))
        except ValueError as error:
            source.refuse(error)
        else:
            notice(name, texts[-1])
            names.append(name)
    bar.update(len(records) - len(names))
    found: dict[int, Any] = {}
    try:
        for batch, outputs in predictions(model, texts):
            if outputs is None:
                source.refuse(MemoryError(too_large(names[batch[0]], texts[batch[0]], model)))
            else:
                found |= zip(batch, outputs, strict=True)
            bar.update(len(batch))
    finally:
        if found:
            done = sorted(found)
            columns = as_columns(model, np.array([found[i] for i in done], dtype=np.float64))
            writer.write(pd.DataFrame({"name": [names[i] for i in done], **columns}), len(done))


COMMANDS = {
    "fold": _fold,
    "embed": _embed,
    "check": _check,
    "predict": _predict,
    "models": _models,
    "reproduce": _reproduce,
    "studio": _studio,
    "recipes": _recipes,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "corpus build": _corpus_build,
    "data list": _data_list,
    "data get": _data_get,
    "data verify": _data_verify,
    "pretrain": _pretrain,
    "plan": _plan,
    "estimate": _estimate,
}


if __name__ == "__main__":
    sys.exit(main())
