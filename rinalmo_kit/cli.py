"""The command ``rinalmo-kit``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

__all__ = ["main"]

SINGLE_FILE = ("dbn", "ct", "json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 all done, 1 some records refused, 2 nothing could be done."""
    parser = argparse.ArgumentParser(prog="rinalmo-kit", description="RiNALMo, the RNA language model")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fold", help="FASTA in, structures out")
    command.add_argument("input", help="FASTA file (.gz too), or - for standard input")
    command.add_argument(
        "-o", "--output", help="file, or folder for one file a record; default: standard output"
    )
    command.add_argument(
        "-f",
        "--format",
        choices=["dbn", "ct", "bpseq", "json", "parquet"],
        help="default: by OUTPUT, or dbn; parquet: for millions, a folder of tables that goes on after a stop",
    )
    _add_job_options(command)
    command.add_argument(
        "-m", "--model", default="pico-ss", help="name or checkpoint file (default: pico-ss)"
    )
    command.add_argument(
        "-t", "--threshold", type=float, help="least pairing probability (default: the model's)"
    )
    command.add_argument("--min-loop", type=int, default=4, help="least j - i of a pair (default: 4)")
    command.add_argument("--non-canonical", action="store_true", help="allow every pair of letters")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_fold)

    command = commands.add_parser("embed", help="FASTA in, folder of Parquet tables with embeddings out")
    command.add_argument("input", help="FASTA file (.gz too)")
    command.add_argument(
        "-o", "--output", required=True, help="folder; what is finished in it is not repeated"
    )
    command.add_argument("-m", "--model", default="pico", help="name or checkpoint file (default: pico)")
    command.add_argument(
        "--pool",
        choices=["mean", "cls", "none"],
        default="mean",
        help="mean over nucleotides, <cls>, or none: a row for each nucleotide (default: mean)",
    )
    _add_job_options(command)
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_embed)

    command = commands.add_parser("check", help="is my set-up right?")
    command.set_defaults(run=_check)

    command = commands.add_parser("predict", help="FASTA in, table of classes or numbers out")
    command.add_argument("input", help="FASTA file (.gz too)")
    command.add_argument(
        "-m",
        "--model",
        default="pico-ncrna-0",
        help="name or checkpoint file (default: pico-ncrna-0, 88 families of ncRNA)",
    )
    command.add_argument("-o", "--output", help="CSV file; default: standard output")
    command.add_argument(
        "-f",
        "--format",
        choices=["csv", "parquet"],
        default="csv",
        help="default: csv; parquet: for millions, a folder of tables that goes on after a stop",
    )
    _add_job_options(command)
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_predict)

    command = commands.add_parser("models", help="list all models with size, task, licence and scores")
    command.set_defaults(run=_models)

    command = commands.add_parser("reproduce", help="make the weights in the package again, tables to scores")
    command.add_argument("what", choices=["embedded"])
    command.add_argument(
        "-o", "--output", required=True, help="folder; what is finished in it is not repeated"
    )
    command.add_argument(
        "--only", nargs="+", metavar="STEP", help="carry out these steps; an unknown one lists all"
    )
    command.add_argument(
        "--smoke", action="store_true", help="a few rows and steps of everything: does it run?"
    )
    command.add_argument(
        "--trainer", action="append", default=[], metavar="OPTION=VALUE", help="for Lightning: devices=2"
    )
    command.set_defaults(run=_reproduce)

    command = commands.add_parser("studio", help="open the folding studio as a page in the browser")
    command.add_argument("-m", "--model", default="pico-ss", help="structure model (default: pico-ss)")
    command.add_argument("--port", type=int, default=8866)
    command.add_argument(
        "--ip", default="127.0.0.1", help="address to listen at (default: this machine only)"
    )
    command.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    command.set_defaults(run=_studio)

    command = commands.add_parser("recipes", help="list the experiments of the paper, or tell one in full")
    command.add_argument("recipe", nargs="?")
    command.set_defaults(run=_recipes)

    command = commands.add_parser(
        "finetune", help="train by a recipe or on a table of yours; goes on where a stopped run was"
    )
    command.add_argument(
        "recipe", help="name (see rinalmo-kit recipes), or a table: .csv, .tsv, .parquet, or structures"
    )
    command.add_argument("-o", "--output", required=True, help="folder for checkpoints, logs and the model")
    command.add_argument(
        "-m", "--model", help="start from this name or checkpoint file (default: the recipe's)"
    )
    command.add_argument("--task", choices=["classification", "regression", "structure"], help="of a table")
    command.add_argument("--target", help="column of a table that is learned")
    command.add_argument("--mode", choices=["full", "lora", "frozen"], default="full", help="default: full")
    command.add_argument("--fold", default="0", help="number, or all: one after the other (default: 0)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--limit", type=int, help="train on at most this many rows")
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe: epochs=3"
    )
    command.add_argument(
        "--trainer", action="append", default=[], metavar="OPTION=VALUE", help="for Lightning: devices=2"
    )
    command.add_argument("--half", action="store_true", help="store the model in half precision")
    command.set_defaults(run=_finetune)

    command = commands.add_parser("evaluate", help="score a model or baseline on the test rows of a recipe")
    command.add_argument("model", help="name, checkpoint file, folder with folds; trivial, viennarna")
    command.add_argument("recipe", help="name, or a table of yours as for finetune")
    command.add_argument("--task", choices=["classification", "regression", "structure"], help="of a table")
    command.add_argument("--target", help="column of a table")
    command.add_argument("--fold", type=int, help="this fold alone")
    command.add_argument("--limit", type=int, help="score at most this many test rows")
    command.add_argument("-o", "--output", help="add the scores to this CSV")
    command.add_argument("--samples", help="write the scores of each sequence to this CSV")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("corpus", help="make a pretraining corpus")
    actions = command.add_subparsers(dest="action", required=True)
    command = actions.add_parser(
        "build",
        help="FASTA files to LMDB: filter, seqkit rmdup, mmseqs easy-linclust; goes on where it was stopped",
    )
    command.add_argument("input", nargs="+", help="FASTA files (.gz too), or one table: .parquet, .csv")
    command.add_argument("-o", "--output", required=True, help="folder for the corpus")
    command.add_argument("--min-length", type=int, default=16, help="nucleotides (default: 16)")
    command.add_argument("--max-length", type=int, default=8192, help="nucleotides (default: 8192)")
    command.add_argument("--min-identity", type=float, default=0.7, help="of mmseqs (default: 0.7)")
    command.add_argument("--coverage", type=float, default=0.8, help="of mmseqs (default: 0.8)")
    command.add_argument("--no-clusters", action="store_true", help="each sequence is a cluster")
    command.add_argument(
        "--holdout", type=float, help="fraction of clusters (default: 0.01; of a table: its column split)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the hold-out")
    command.add_argument("--threads", type=int, help="default: as many as there are")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    command.set_defaults(run=_corpus_build)

    command = commands.add_parser("data", help="the datasets of the paper: what is here, get, check")
    actions = command.add_subparsers(dest="action", required=True)
    action = actions.add_parser("list", help="what there is and what is here; or all about one dataset")
    action.add_argument("name", nargs="?")
    action.set_defaults(run=_data_list)
    action = actions.add_parser(
        "get", help="make a table from the original files; goes on where it was stopped"
    )
    action.add_argument("name")
    action.add_argument(
        "--from", dest="source", metavar="FOLDER", help="take the originals from there; nothing is downloaded"
    )
    action.set_defaults(run=_data_get)
    action = actions.add_parser("verify", help="check rows, checksums and counts of what is here")
    action.add_argument("name", nargs="?")
    action.set_defaults(run=_data_verify)

    command = commands.add_parser(
        "pretrain", help="predict masked nucleotides; goes on where a stopped run was"
    )
    command.add_argument("corpus", help="folder of corpus build, FASTA, .parquet or .csv")
    command.add_argument("-o", "--output", required=True, help="folder for checkpoints, logs and the model")
    start = command.add_mutually_exclusive_group()
    start.add_argument(
        "--size",
        choices=["pico", "nano", "micro", "mega", "giga"],
        default="pico",
        help="from random weights",
    )
    start.add_argument("-m", "--model", help="go on from this name or checkpoint file")
    command.add_argument("--steps", type=int, help="length of the run in batches")
    command.add_argument("--epochs", type=int, help="one sequence of each cluster is an epoch")
    command.add_argument("--tokens-per-batch", type=float, default=16384, help="of all processes together")
    command.add_argument("--max-tokens", type=int, default=1024, help="crop to (default: 1024)")
    command.add_argument("--lr", type=float, help="peak (default: the paper's)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--freeze-encoder", action="store_true", help="train the language-model head alone")
    command.add_argument("--checkpointing", action="store_true", help="less memory, a third more time")
    command.add_argument("--validate-every", type=int, default=1000, help="in batches (default: 1000)")
    command.add_argument(
        "--checkpoint-every", type=int, help="in batches (default: 200, or ten in a shorter run)"
    )
    command.add_argument("--workers", type=int, default=0, help="processes that load data")
    command.add_argument(
        "--trainer", action="append", default=[], metavar="OPTION=VALUE", help="for Lightning: devices=2"
    )
    command.set_defaults(run=_pretrain)

    command = commands.add_parser("plan", help="steps, days and memory that pretraining will take")
    command.add_argument("corpus", nargs="?", help="as for pretrain; or --tokens")
    command.add_argument("--tokens", type=float, help="tokens of an epoch")
    command.add_argument("--size", choices=["pico", "nano", "micro", "mega", "giga"], default="pico")
    command.add_argument("--gpu", default="a100-80gb", help="default: a100-80gb; an unknown one lists all")
    command.add_argument("--n", type=int, default=1, help="number of GPUs (default: 1)")
    command.add_argument("--steps", type=int)
    command.add_argument("--epochs", type=float)
    command.add_argument("--tokens-per-batch", type=float, default=16384, help="on all GPUs together")
    command.add_argument("--max-tokens", type=int, default=1024)
    command.add_argument("--strategy", choices=["ddp", "fsdp"], default="ddp")
    command.add_argument("--checkpointing", action="store_true", help="of gradients")
    command.add_argument("--mfu", type=float, default=0.4, help="share of the peak reached (default: 0.4)")
    command.set_defaults(run=_plan)

    command = commands.add_parser("estimate", help="time and memory that a job will take, before it runs")
    command.add_argument("input", help="FASTA file (.gz too), or - for standard input")
    command.add_argument("-m", "--model", default="pico-ss", help="name or file (default: pico-ss)")
    command.add_argument(
        "--task", choices=["embed", "fold", "predict"], help="default: what the model's head is for"
    )
    command.add_argument("--pool", choices=["cls", "mean"], help="of embed: one row a sequence")
    command.add_argument("--device", help="default: the best there is")
    command.set_defaults(run=_estimate)

    options = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"rinalmo-kit: note: {message}", file=sys.stderr)
    try:
        return options.run(options)
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


def _add_job_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shard-size", type=int, help="records of a Parquet table (default: 10000)")
    command.add_argument(
        "--processes", type=int, help="that share the GPUs or cores (default: 1); for Parquet"
    )


def _job(options: argparse.Namespace, **more: object) -> int:
    """Run a job into a folder of Parquet tables, and say what is in it."""
    from .jobs import RECORDS, DamagedInputError, run, started_alone

    if options.output is None or options.input == "-":
        raise ValueError(
            "tables in Parquet need a file for INPUT and a folder for --output, to go on after a stop"
        )
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

    print(get(options.name, source=Path(options.source).expanduser() if options.source else None))
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


def _predict(options: argparse.Namespace) -> int:
    from .files import whole_file
    from .inference import predict

    if options.format == "parquet":
        return _job(options)
    _check_no_job(options)
    table = predict(Path(options.input), model=options.model, progress=not options.quiet)
    if options.output is None:
        table.to_csv(sys.stdout, index=False, float_format="%.6g")
    else:
        with whole_file(Path(options.output)) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    return 0


def _models(_: argparse.Namespace) -> int:
    from .registry import models

    table = models().drop(columns=["size", "licence"])
    print(table.to_string(index=False, na_rep="", float_format="%.3f"))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from .embedded import reproduce

    def report(line: str) -> None:
        print(line, flush=True)

    settings = {"only": options.only, "smoke": options.smoke, "trainer": _settings(options.trainer)}
    reproduce(Path(options.output), report=report, **settings)
    return 0


def _studio(options: argparse.Namespace) -> int:
    """Serve a notebook with nothing but the studio by Voilà, which makes a token of its own."""
    import importlib.util
    import subprocess
    import tempfile

    if importlib.util.find_spec("voila") is None:
        raise ValueError("the page needs voila: pip install 'rinalmo-kit[notebooks]'")
    source = f"from rinalmo_kit.widgets import FoldingStudio\n\nFoldingStudio(model={options.model!r})"
    cell = {"cell_type": "code", "id": "studio", "metadata": {}, "source": source}
    cell |= {"execution_count": None, "outputs": []}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "studio.ipynb")
        page = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        path.write_text(json.dumps(page), encoding="utf-8")
        words = [f"--Voila.ip={options.ip}", f"--port={options.port}", "--Voila.auto_token=True"]
        words += ["--no-browser"] if options.no_browser else []
        print(f"The studio is starting at {options.ip}:{options.port}; Ctrl-C ends it.", flush=True)
        try:
            return subprocess.call([sys.executable, "-m", "voila", str(path), *words])
        except KeyboardInterrupt:
            return 0


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
        recipe, folds = read_table(Path(recipe), task=options.task), 1
    else:
        folds = recipe_named(recipe).folds
    if options.fold != "all" and not options.fold.lstrip("-").isdecimal():
        raise ValueError(f"--fold {options.fold}: expected a number, or all")
    numbers = range(folds) if options.fold == "all" else [int(options.fold)]
    for fold in numbers:
        output = Path(options.output) / f"fold-{fold}" if options.fold == "all" else Path(options.output)
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
            changes=_settings(options.set),
            **_settings(options.trainer),
        )
        path = output / "model.safetensors"
        if options.half:
            save(model, path, dtype=torch.float16)
        print(path)
    return 0


def _settings(texts: list[str]) -> dict[str, object]:
    """``["epochs=3", "accelerator=cpu"]`` → values, read as Python literals where they are, else as text."""
    import ast

    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: expected NAME=VALUE")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluation import evaluate
    from .files import whole_file
    from .recipes import RECIPES
    from .splits import read_table

    on = options.recipe
    if options.task or ("." in on and on not in RECIPES):
        on = read_table(Path(on), task=options.task or "structure")
    result = evaluate(
        options.model,
        on,
        task=options.task,
        target=options.target,
        fold=options.fold,
        limit=options.limit,
        output=options.output,
        progress=True,
    )
    if options.samples:
        with whole_file(Path(options.samples)) as temporary:
            result.samples.to_csv(temporary, index=False)
    columns = ["group", "fold", "metric", "value", "low", "high", "n"]
    print(result.scores[columns].to_string(index=False, float_format="%.4f"))
    note = result.scores["data"].iloc[0]
    if note:
        print(f"data: {note}")
    return 0


def _corpus_build(options: argparse.Namespace) -> int:
    from .corpus import build_corpus, build_corpus_from_table

    shared = {
        "min_length": options.min_length,
        "max_length": options.max_length,
        "seed": options.seed,
        "progress": not options.quiet,
    }
    if len(options.input) == 1 and options.input[0].endswith((".parquet", ".csv")):
        corpus = build_corpus_from_table(options.input[0], options.output, holdout=options.holdout, **shared)
    else:
        corpus = build_corpus(
            options.input,
            options.output,
            min_identity=None if options.no_clusters else options.min_identity,
            coverage=options.coverage,
            holdout=0.01 if options.holdout is None else options.holdout,
            threads=options.threads,
            **shared,
        )
    print(corpus, *(f"{name} {number:,}" for name, number in corpus.meta["counts"].items()), sep="\n")
    if refused := corpus.meta["counts"]["refused"]:
        table = Path(options.output) / "refused.tsv"
        print(f"rinalmo-kit: {refused} records refused, see {table}", file=sys.stderr)
    return 1 if refused else 0


def _pretrain(options: argparse.Namespace) -> int:
    from .planner import size
    from .pretraining import pretrain

    pretrain(
        Path(options.corpus),
        output=options.output,
        model=options.model or size(options.size),
        steps=options.steps,
        epochs=options.epochs,
        tokens_per_batch=int(options.tokens_per_batch),
        max_tokens=options.max_tokens,
        lr=options.lr,
        seed=options.seed,
        freeze_encoder=options.freeze_encoder,
        gradient_checkpointing=options.checkpointing,
        validate_every=options.validate_every,
        checkpoint_every=options.checkpoint_every,
        workers=options.workers,
        **_settings(options.trainer),
    )
    print(Path(options.output) / "model.safetensors")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from .planner import plan

    if (options.corpus is None) == (options.tokens is None):
        raise ValueError("give a corpus or --tokens, one of the two")
    print(
        plan(
            Path(options.corpus) if options.corpus else options.tokens,
            model=options.size,
            gpu=options.gpu,
            n_gpus=options.n,
            steps=options.steps,
            epochs=options.epochs,
            tokens_per_batch=int(options.tokens_per_batch),
            max_tokens=options.max_tokens,
            strategy=options.strategy,
            gradient_checkpointing=options.checkpointing,
            mfu=options.mfu,
        )
    )
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from .estimates import estimate

    source = sys.stdin if options.input == "-" else Path(options.input)
    settings = {"task": options.task, "pool": options.pool, "device": options.device}
    print(estimate(source, model=options.model, **settings))
    return 0


def _fold(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .inference import fold_each, folding_model
    from .tokens import read_fasta

    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise ValueError(f"--threshold {options.threshold}: a probability lies between 0 and 1")
    if options.format == "parquet":
        rules = {"min_loop": options.min_loop, "canonical_only": not options.non_canonical}
        return _job(options, threshold=options.threshold, **rules)
    _check_no_job(options)
    format = options.format or _format_of(options.output)
    model = folding_model(options.model)
    refused = done = 0
    with _Writer(options.output, format) as writer:
        source = sys.stdin if options.input == "-" else options.input
        bar = tqdm(read_fasta(source), total=_count(options.input), unit="RNA", disable=options.quiet)
        for name, sequence in bar:
            try:
                [structure] = fold_each(
                    [(name, sequence)],
                    model=model,
                    threshold=options.threshold,
                    min_loop=options.min_loop,
                    canonical_only=not options.non_canonical,
                )
                writer.write(structure)
            except (ValueError, MemoryError) as error:
                refused += 1
                tqdm.write(f"rinalmo-kit: refused: {error}", file=sys.stderr)
            else:
                done += 1
    if not done and not refused:
        raise ValueError(f"{options.input} holds no FASTA record")
    if refused:
        print(f"rinalmo-kit: {done} folded, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


def _format_of(output: str | None) -> str:
    suffix = Path(output or "").suffix.lstrip(".")
    return suffix if suffix in (*SINGLE_FILE, "bpseq") else "dbn"


def _count(path: str) -> int | None:
    """Count FASTA records for the progress bar; None for a stream."""
    from .tokens import open_text

    if not Path(path).is_file():
        return None
    with open_text(path) as lines:
        return sum(line.startswith(">") for line in lines)


class _Writer:
    """Writes structures as they are finished.

    A single file is written under the name ``OUTPUT.part`` and renamed at the end: what was finished
    before a crash is there, and a complete-looking file is complete. In a folder each record is a file.
    """

    def __init__(self, output: str | None, format: str) -> None:
        self.format, self.stream, self.path, self.folder = format, sys.stdout, None, None
        self.names: set[str] = set()
        if output is None:
            return
        path = Path(output)
        if format == "bpseq" and path.suffix == ".bpseq":
            raise ValueError("BPSEQ holds one structure a file: give a folder with --output")
        if path.is_dir() or output.endswith(("/", os.sep)) or format == "bpseq":
            path.mkdir(parents=True, exist_ok=True)
            self.folder = path
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path = path

    def __enter__(self) -> _Writer:
        if self.path is not None:
            self.part = self.path.with_name(self.path.name + ".part")
            self.stream: TextIO = self.part.open("w", encoding="utf-8")
        return self

    def write(self, structure) -> None:
        from .formats import format_structure, write_structures

        if self.format == "json":
            text = _as_json(structure) + "\n"
        elif self.folder is None:
            text = format_structure(structure, self.format)
        else:
            write_structures([structure], self.folder / f"{self._file_name(structure.name)}.{self.format}")
            return
        if self.folder is not None:
            from .files import whole_file

            with whole_file(self.folder / f"{self._file_name(structure.name)}.json") as temporary:
                temporary.write_text(text, encoding="utf-8")
            return
        self.stream.write(text)
        self.stream.flush()

    def _file_name(self, name: str) -> str:
        """Make a safe file name that is not taken yet in this run."""
        base = re.sub(r"[^\w.+-]+", "_", name).strip(".")[:100] or "record"
        candidates: Iterator[str] = (base if n == 1 else f"{base}-{n}" for n in range(1, 10**9))
        chosen = next(c for c in candidates if c.lower() not in self.names)
        self.names.add(chosen.lower())
        return chosen

    def __exit__(self, failed: object, *_: object) -> None:
        if self.path is not None:
            self.stream.close()
            if failed is None:
                self.part.replace(self.path)


def _as_json(structure) -> str:
    """One JSON object a line; pairs count from 1, and carry their probability; confidence is the F1 to expect."""
    pairs = [
        [int(i) + 1, int(j) + 1, round(float(structure.probabilities[i, j]), 4)] for i, j in structure.pairs
    ]
    content = {
        "name": structure.name,
        "sequence": structure.sequence,
        "dot_bracket": structure.dot_bracket,
        "confidence": structure.confidence,
        "pairs": pairs,
    }
    return json.dumps(content, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
