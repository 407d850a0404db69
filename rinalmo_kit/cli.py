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
        "-f", "--format", choices=["dbn", "ct", "bpseq", "json"], help="default: by OUTPUT, or dbn"
    )
    command.add_argument(
        "-m", "--model", default="nano-ss", help="name or checkpoint file (default: nano-ss)"
    )
    command.add_argument(
        "-t", "--threshold", type=float, help="least pairing probability (default: the model's)"
    )
    command.add_argument("--min-loop", type=int, default=4, help="least j - i of a pair (default: 4)")
    command.add_argument("--non-canonical", action="store_true", help="allow every pair of letters")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run=_fold)

    command = commands.add_parser("check", help="is my set-up right?")
    command.set_defaults(run=_check)

    command = commands.add_parser("finetune", help="train by a recipe; goes on where a stopped run was")
    command.add_argument("recipe")
    command.add_argument("-o", "--output", required=True, help="folder for checkpoints and logs")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--save", help="write the trained model to this .safetensors file")
    command.add_argument("--half", action="store_true", help="write it in half precision")
    command.set_defaults(run=_finetune)

    command = commands.add_parser("evaluate", help="score a model or baseline on a test set")
    command.add_argument("model", help="name, checkpoint file, or a baseline: viennarna, most-pairs")
    command.add_argument("dataset")
    command.add_argument("split", nargs="?")
    command.add_argument("-o", "--output", help="add the means to this CSV")
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

    options = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"rinalmo-kit: note: {message}", file=sys.stderr)
    try:
        return options.run(options)
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"rinalmo-kit: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


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


def _finetune(options: argparse.Namespace) -> int:
    import torch

    from .hub import save
    from .training import finetune

    model = finetune(options.recipe, output=options.output, seed=options.seed)
    path = options.save or Path(options.output) / "model.safetensors"
    print(save(model, path, dtype=torch.float16 if options.half else None))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluation import evaluate

    table = evaluate(options.model, options.dataset, options.split, output=options.output, progress=True)
    print(table.describe().loc[["count", "mean", "50%"]].round(3).to_string())
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


def _fold(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .inference import fold_each, folding_model
    from .tokens import read_fasta

    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise ValueError(f"--threshold {options.threshold}: a probability lies between 0 and 1")
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
            except ValueError as error:
                refused += 1
                tqdm.write(f"rinalmo-kit: refused: {error}", file=sys.stderr)
            else:
                writer.write(structure)
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
    """One JSON object a line; pairs count from 1, and carry their probability."""
    pairs = [
        [int(i) + 1, int(j) + 1, round(float(structure.probabilities[i, j]), 4)] for i, j in structure.pairs
    ]
    content = {
        "name": structure.name,
        "sequence": structure.sequence,
        "dot_bracket": structure.dot_bracket,
        "pairs": pairs,
    }
    return json.dumps(content, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
