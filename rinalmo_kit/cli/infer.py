"""Commands that fold, embed and predict, and the estimate of their time and memory."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .._utils.files import user_path


def _job(options: argparse.Namespace, **more: Any) -> int:
    """Run a job into a folder of Parquet tables, and say what is in it."""
    from ..inference.bulk import RECORDS, run_bulk, started_alone
    from ..inference.job_input import DamagedInputError
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
        report = run_bulk(
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
    rejected = f", {report.rejected:,} of them skipped (column error)" if report.rejected else ""
    state = f"{report.missing} shards of other processes are missing" if report.missing else "finished"
    print(
        f"{options.output}: {report.records:,} records in {report.shards} shards{rejected}; {state}",
        file=sys.stderr,
    )
    # torchrun and srun would end the other processes
    return 1 if report.rejected and started_alone() else 0


def _check_no_job(options: argparse.Namespace) -> None:
    for name in ("shard_size", "processes"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for many sequences: give -f parquet and a folder with -o"
            )


def _embed(options: argparse.Namespace) -> int:
    pool = None if options.pool == "none" else options.pool
    names = ("layer", "combine", "whiten", "dtype", "window", "overlap")
    return _job(options, pool=pool, **{name: getattr(options, name) for name in names})


def _check(options: argparse.Namespace) -> int:
    from ..checks import check

    report = check()
    if options.details:
        print(report.details)
    print(report)
    return 0 if report.ok else 1


def _models(_: argparse.Namespace) -> int:
    from ..model.pretrained import models

    table = models().drop(columns=["size", "licence"])
    print(table.to_string(index=False, na_rep="", float_format="%.3f"))
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from ..inference.estimate import estimate
    from .records import source_of

    more = {"task": options.task, "pool": options.pool, "device": options.device}
    print(estimate(source_of(options.input), model=options.model, **more))
    return 0


def _fold(options: argparse.Namespace) -> int:
    from ..inference.folding import fold_or_explain, folding_model
    from ..rna.folded import GUESS
    from .outputs import SINGLE, STRUCTURES, Folder, Output, Writer, structures
    from .records import Source

    rules: dict[str, Any] = {
        "decoding": options.decoding,
        "energy": None if options.energy == "none" else options.energy,
        "gamma": options.gamma,
        "pseudoknots": options.pseudoknots,
        "threshold": options.threshold,
        "min_loop": options.min_loop,
        "canonical_only": not options.non_canonical,
    }
    if options.format == "parquet":
        if options.reactivity:
            raise ValueError("--reactivity is for one record: leave -f parquet out")
        return _job(options, **rules)
    _check_no_job(options)
    output = Output.of(options.output, options.format, STRUCTURES, folders=True)
    output.check([options.input])
    with output.lock():
        one = output.content in SINGLE and not output.folder
        source = Source(options.input, quiet=options.quiet, one=one or bool(options.reactivity))
        model = folding_model(options.model)
        if options.reactivity:
            from ..inference.probing import read_reactivity

            rules["reactivity"] = read_reactivity(options.reactivity)
        doubtful = 0
        writer = Folder(output, [options.input]) if output.folder else Writer(output, structures)
        with writer, source.bar() as bar:
            for found in fold_or_explain(iter(source), model=model, **rules):
                if isinstance(found, Exception):
                    source.skip(found)
                else:
                    _write(writer, found, source)
                    doubtful += found.confidence is not None and found.confidence < GUESS
                bar.update()
            writer.whole = source.fault is None
    if doubtful:
        what = (
            "the fold is a guess"
            if writer.finished == 1
            else f"{doubtful} of {writer.finished} folds are guesses"
        )
        print(f"rinalmo-kit: note: {what}: expected F1 below {GUESS}", file=sys.stderr)
    return source.report(writer.finished, "folded")


def _write(writer: Any, structure: Any, source: Any) -> None:
    try:
        writer.write(structure)
    except (ValueError, MemoryError) as error:
        source.skip(error)


def _predict(options: argparse.Namespace) -> int:
    from ..inference.prediction import predicting_model
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
    import pandas as pd

    from ..inference.batching import too_large, warn_if_unusual
    from ..inference.prediction import columns_of, predictions, ready_to_predict

    names, texts = [], []
    for name, text in records:
        try:
            texts.append(ready_to_predict(model, name, text))
        except ValueError as error:
            source.skip(error)
        else:
            warn_if_unusual(name, texts[-1])
            names.append(name)
    bar.update(len(records) - len(names))
    found: dict[int, Any] = {}
    try:
        for batch, outputs in predictions(model, texts):
            if isinstance(outputs, Exception):
                source.skip(MemoryError(too_large(names[batch[0]], texts[batch[0]], model, error=outputs)))
            else:
                found |= zip(batch, outputs, strict=True)
            bar.update(len(batch))
    finally:
        if found:
            done = sorted(found)
            columns = columns_of(model, [found[i] for i in done], [texts[i] for i in done])
            writer.write(pd.DataFrame({"name": [names[i] for i in done], **columns}), len(done))
