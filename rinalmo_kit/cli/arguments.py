"""Argument parser of ``rinalmo-kit``: its commands, options and their values."""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Callable

from .._utils.defaults import ENCODER, FAMILIES, LANGUAGE_MODEL, STRUCTURE
from ..model.tasks import user_tasks
from ..rna.formats import NAMES

__all__ = ["parser", "settings"]

LARGEST = 2**62


TASKS = tuple(sorted(user_tasks()))


SIZES = ("pico", "nano", "micro", "mega", "giga")


def settings(texts: list[str]) -> dict[str, object]:
    """Return values by name, read as Python literals where they are, else as text.

    Examples
    --------
    >>> settings(["epochs=3", "accelerator=cpu"])
    {'epochs': 3, 'accelerator': 'cpu'}
    """
    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{text!r}: expected NAME=VALUE")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found[key] = value
    return found


# --- values of options ---------------------------------------------------------------------------------


def whole(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return a reader of whole numbers within limits; 1e6 is one.

    Examples
    --------
    >>> whole(1)("16384"), whole(1)("1e6")
    (16384, 1000000)
    """
    expected = f"expected a whole number, {least} or more"
    expected = expected if most == LARGEST else f"expected a whole number from {least} to {most}"

    def read(text: str) -> int:
        number: float
        try:
            number = int(text)
        except ValueError:
            number = _number(text, expected)
        if number != number // 1 or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text}: {expected}")
        return int(number)

    return read


def blocks(text: str) -> list[int]:
    """Read numbers of blocks, with commas between them.

    Examples
    --------
    >>> blocks("-1"), blocks("4,5,6")
    ([-1], [4, 5, 6])
    """
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected whole numbers, such as -1 or 4,5,6") from None


def number(expected: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of finite numbers for which something holds.

    Examples
    --------
    >>> POSITIVE("1e-3")
    0.001
    """

    def read(text: str) -> float:
        value = _number(text, expected)
        if not holds(value):
            raise argparse.ArgumentTypeError(f"{text}: {expected}")
        return value

    return read


def place(text: str) -> str:
    """Read a path, which an unset variable of the shell is not."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError("expected a path, found nothing")
    return text


def _number(text: str, expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text}: {expected}")
    return number


COUNT, SEED, PORT = whole(1), whole(0, 2**63 - 1), whole(0, 65535)


POSITIVE = number("expected a number above 0", lambda x: x > 0)


SHARE = number("expected a share above 0, at most 1", lambda x: 0 < x <= 1)


FRACTION = number("expected a fraction from 0 to 1", lambda x: 0 <= x <= 1)


GAMMA = number("expected a number above 0", lambda x: 0 < x < 1e6)


PROBABILITY = number("a probability lies between 0 and 1", lambda x: 0 <= x <= 1)


# --- commands ------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; ``run`` names the command."""
    everything = argparse.ArgumentParser(prog="rinalmo-kit", description="RiNALMo, the RNA language model")
    commands = everything.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fold", help="FASTA in, structures out")
    command.add_argument("input", type=place, help="FASTA file (packed or not), or - for standard input")
    command.add_argument(
        "-o",
        "--output",
        type=place,
        help=f"file ({', '.join(f'.{name}' for name in NAMES)}; text also packed: .gz, .bz2, .xz), or "
        "folder/ for one file a record; default: standard output",
    )
    command.add_argument(
        "-f",
        "--format",
        choices=NAMES,
        help="of standard output or a folder (default: dbn), a file's ending says it; parquet: for millions, "
        "a folder of tables that resumes after a stop",
    )
    _add_job_options(command)
    command.add_argument("-m", "--model", default=STRUCTURE, help=f"name or file (default: {STRUCTURE})")
    command.add_argument(
        "--decoding",
        choices=["greedy", "mea"],
        help="the paper's greedy pass, or maximum expected accuracy (default: the model's; greedy with -t)",
    )
    command.add_argument(
        "--energy",
        choices=["model", "viennarna", "linearpartition", "none"],
        default="model",
        help="energy model that is mixed in (default: as the model's file says)",
    )
    command.add_argument("--gamma", type=GAMMA, help="weight of pairs in mea (default: the model's)")
    command.add_argument(
        "--pseudoknots",
        choices=["strong", "all", "none"],
        help="which helices may cross in mea (default: the model's)",
    )
    command.add_argument(
        "--reactivity",
        type=place,
        metavar="FILE",
        help="SHAPE or DMS reactivities of the one record: a position and a number on each line, -999 for none",
    )
    command.add_argument(
        "-t", "--threshold", type=PROBABILITY, help="a pair needs a higher probability (default: the model's)"
    )
    command.add_argument("--min-loop", type=whole(0), default=4, help="least j - i of a pair (default: 4)")
    command.add_argument("--non-canonical", action="store_true", help="allow every pair of letters")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run="fold")

    command = commands.add_parser("embed", help="FASTA in, folder of Parquet tables with embeddings out")
    command.add_argument("input", type=place, help="FASTA file (packed or not)")
    command.add_argument(
        "-o", "--output", type=place, required=True, help="folder; what is finished in it is not repeated"
    )
    command.add_argument("-m", "--model", default=ENCODER, help=f"name or file (default: {ENCODER})")
    command.add_argument(
        "--pool",
        choices=["mean", "cls", "std", "max", "none"],
        default="mean",
        help="mean, std or max over nucleotides, <cls>, or none: a row for each nucleotide (default: mean)",
    )
    command.add_argument(
        "--layer",
        type=blocks,
        metavar="BLOCKS",
        help="block whose output is taken, 1 the first, -1 the last, or several, such as 4,5,6, for their mean "
        "(default: after the last LayerNorm)",
    )
    command.add_argument(
        "--combine",
        choices=["mean", "concat"],
        default="mean",
        help="of several blocks: mean, or side by side",
    )
    command.add_argument(
        "--whiten",
        action="store_true",
        help="apply the whitening that is stored with the model, for its --pool",
    )
    command.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the numbers")
    command.add_argument(
        "--window",
        type=whole(2),
        metavar="NT",
        help="encode longer sequences in overlapping windows of this length and average (default: whole)",
    )
    command.add_argument(
        "--overlap", type=whole(0), metavar="NT", help="of windows, at least (default: a quarter)"
    )
    _add_job_options(command)
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run="embed")

    command = commands.add_parser("check", help="is my set-up right?")
    command.add_argument("--details", action="store_true", help="also versions, device and every result")
    command.set_defaults(run="check")

    command = commands.add_parser("predict", help="FASTA in, table of classes or numbers out")
    command.add_argument("input", type=place, help="FASTA file (packed or not), or - for standard input")
    command.add_argument(
        "-m", "--model", default=FAMILIES, help=f"name or file (default: {FAMILIES}, 88 families of ncRNA)"
    )
    command.add_argument(
        "-o",
        "--output",
        type=place,
        help="file (.csv, .tsv, .parquet; text also packed: .gz, .bz2, .xz); default: standard output",
    )
    command.add_argument(
        "-f",
        "--format",
        choices=["csv", "tsv", "parquet"],
        help="of standard output (default: csv), a file's ending says it; parquet: for millions, "
        "a folder of tables that resumes after a stop",
    )
    _add_job_options(command)
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run="predict")

    command = commands.add_parser("variants", help="FASTA and variants in, table of their effects out")
    command.add_argument("input", type=place, help="FASTA file (packed or not), or - for standard input")
    command.add_argument(
        "variants",
        type=place,
        nargs="?",
        help="table (.csv, .tsv, .vcf): POS, REF, ALT and, of several records, CHROM; or variant (G12A) and name "
        "(default: all single substitutions)",
    )
    command.add_argument(
        "--fill",
        choices=["mask", "wt", "mut"],
        default="mask",
        help="what the model sees at the positions: masks, the wild type, or the mutant (default: mask)",
    )
    command.add_argument(
        "-m", "--model", default=LANGUAGE_MODEL, help=f"name or checkpoint file (default: {LANGUAGE_MODEL})"
    )
    command.add_argument(
        "-o", "--output", type=place, help="file (.csv, .tsv, .parquet; packed); default: standard output"
    )
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    command.set_defaults(run="variants")

    command = commands.add_parser("models", help="list all models with size, task, licence and scores")
    command.set_defaults(run="models")

    command = commands.add_parser(
        "export", help="write a structure model as ONNX, for programs without torch"
    )
    command.add_argument("what", choices=["onnx"])
    command.add_argument("-m", "--model", default=STRUCTURE, help=f"name or file (default: {STRUCTURE})")
    command.add_argument("-o", "--output", type=place, help="file (default: the model's name and .onnx)")
    command.set_defaults(run="export")

    command = commands.add_parser("reproduce", help="make the weights in the package again, tables to scores")
    command.add_argument("what", choices=["embedded"])
    command.add_argument(
        "-o", "--output", type=place, required=True, help="folder; what is finished in it is not repeated"
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
    command.set_defaults(run="reproduce")

    command = commands.add_parser("studio", help="open the folding studio as a page in the browser")
    command.add_argument("-m", "--model", default=STRUCTURE, help=f"structure model (default: {STRUCTURE})")
    command.add_argument("--port", type=PORT, default=8866)
    command.add_argument(
        "--ip", default="127.0.0.1", help="address to listen at (default: this machine only)"
    )
    command.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    command.set_defaults(run="studio")

    command = commands.add_parser("recipes", help="list the experiments of the paper, or tell one in full")
    command.add_argument("recipe", nargs="?")
    command.set_defaults(run="recipes")

    command = commands.add_parser(
        "finetune", help="train by a recipe or on a table of yours; resumes a stopped run"
    )
    command.add_argument(
        "recipe", help="name (see rinalmo-kit recipes), or a table: .csv, .tsv, .parquet, or structures"
    )
    command.add_argument(
        "-o", "--output", type=place, required=True, help="folder for checkpoints, logs and the model"
    )
    command.add_argument(
        "-m", "--model", help="start from this name or checkpoint file (default: the recipe's)"
    )
    command.add_argument("--task", choices=TASKS, help="of a table")
    command.add_argument("--target", help="column of a table that is learned")
    command.add_argument(
        "--mode",
        choices=["full", "lora", "frozen"],
        default="full",
        help="all weights, low-rank additions (stored as an adapter file too), or the head alone (default: full)",
    )
    command.add_argument("--fold", default="0", help="number, or all: one after the other (default: 0)")
    command.add_argument("--seed", type=SEED, default=0)
    command.add_argument("--limit", type=COUNT, help="train on at most this many rows")
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe: epochs=3"
    )
    command.add_argument(
        "--trainer", action="append", default=[], metavar="OPTION=VALUE", help="for Lightning: devices=2"
    )
    command.add_argument("--half", action="store_true", help="store the model in half precision")
    command.set_defaults(run="finetune")

    command = commands.add_parser("evaluate", help="score a model or baseline on the test rows of a recipe")
    command.add_argument("model", help="name, checkpoint file, folder with folds; trivial, viennarna")
    command.add_argument("recipe", help="name, or a table of yours as for finetune")
    command.add_argument("--task", choices=TASKS, help="of a table")
    command.add_argument("--target", help="column of a table")
    command.add_argument("--fold", type=whole(0), help="this fold alone")
    command.add_argument("--limit", type=COUNT, help="score at most this many test rows")
    command.add_argument(
        "--energy",
        choices=["model", "viennarna", "linearpartition", "none"],
        default="model",
        help="of structure models: what is mixed in; none: the model alone (default: as the model's file says)",
    )
    command.add_argument("-o", "--output", type=place, help="add the scores to this CSV")
    command.add_argument("--samples", type=place, help="write the scores of each sequence to this CSV")
    command.set_defaults(run="evaluate")

    command = commands.add_parser("score", help="score structures of any program against known ones, by name")
    for side in ("predicted", "reference"):
        command.add_argument(
            f"--{side}",
            type=place,
            required=True,
            metavar="FILE",
            help="file of structures in any format that is read, or a folder of them",
        )
    command.add_argument("--canonical-only", action="store_true", help="leave out all but A-U, G-C and G-U")
    command.add_argument("-o", "--output", type=place, help="add the scores to this CSV")
    command.add_argument("--samples", type=place, help="write the scores of each structure to this CSV")
    command.set_defaults(run="score")

    command = commands.add_parser("corpus", help="make a pretraining corpus")
    actions = command.add_subparsers(dest="action", required=True)
    command = actions.add_parser(
        "build",
        help="FASTA files to LMDB: filter, seqkit rmdup, mmseqs easy-linclust; resumes after a stop",
    )
    command.add_argument(
        "input", type=place, nargs="+", help="FASTA files (packed or not), or one table: .parquet, .csv"
    )
    command.add_argument("-o", "--output", type=place, required=True, help="folder for the corpus")
    command.add_argument("--min-length", type=COUNT, default=16, help="nucleotides (default: 16)")
    command.add_argument("--max-length", type=COUNT, default=8192, help="nucleotides (default: 8192)")
    command.add_argument("--min-identity", type=FRACTION, default=0.7, help="of mmseqs (default: 0.7)")
    command.add_argument("--coverage", type=FRACTION, default=0.8, help="of mmseqs (default: 0.8)")
    command.add_argument("--no-clusters", action="store_true", help="each sequence is a cluster")
    command.add_argument(
        "--holdout", type=FRACTION, help="fraction of clusters (default: 0.01; of a table: its column split)"
    )
    command.add_argument("--seed", type=SEED, default=0, help="of the hold-out")
    command.add_argument("--threads", type=COUNT, help="default: as many as there are")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    command.set_defaults(run="corpus build")

    command = commands.add_parser("data", help="the datasets of the paper: what is here, get, check")
    actions = command.add_subparsers(dest="action", required=True)
    action = actions.add_parser("list", help="what there is and what is here; or all about one dataset")
    action.add_argument("name", nargs="?")
    action.set_defaults(run="data list")
    action = actions.add_parser("get", help="make a table from the source files; resumes after a stop")
    action.add_argument("name")
    action.add_argument(
        "--from",
        dest="source",
        type=place,
        metavar="FOLDER",
        help="take the source files from there; nothing is downloaded",
    )
    action.set_defaults(run="data get")
    action = actions.add_parser("verify", help="check rows, checksums and counts of what is here")
    action.add_argument("name", nargs="?")
    action.set_defaults(run="data verify")

    command = commands.add_parser("pretrain", help="predict masked nucleotides; resumes a stopped run")
    command.add_argument("corpus", type=place, help="folder of corpus build, FASTA, .parquet or .csv")
    command.add_argument(
        "-o", "--output", type=place, required=True, help="folder for checkpoints, logs and the model"
    )
    start = command.add_mutually_exclusive_group()
    start.add_argument(
        "--size",
        choices=SIZES,
        default="pico",
        help="from random weights",
    )
    start.add_argument("-m", "--model", help="go on from this name or checkpoint file")
    command.add_argument("--steps", type=COUNT, help="length of the run in batches")
    command.add_argument("--epochs", type=COUNT, help="one sequence of each cluster is an epoch")
    command.add_argument("--tokens-per-batch", type=COUNT, default=16384, help="of all processes together")
    command.add_argument("--max-tokens", type=whole(3), default=1024, help="crop to (default: 1024)")
    command.add_argument("--lr", type=POSITIVE, help="peak (default: the paper's)")
    command.add_argument("--seed", type=SEED, default=0)
    command.add_argument("--freeze-encoder", action="store_true", help="train the language-model head alone")
    command.add_argument("--checkpointing", action="store_true", help="less memory, a third more time")
    command.add_argument("--validate-every", type=COUNT, default=1000, help="in batches (default: 1000)")
    command.add_argument(
        "--checkpoint-every", type=COUNT, help="in batches (default: 200, or ten in a shorter run)"
    )
    command.add_argument(
        "--workers", type=whole(0), help="processes that load data (up to eight for each GPU)"
    )
    command.add_argument(
        "--trainer", action="append", default=[], metavar="OPTION=VALUE", help="for Lightning: devices=2"
    )
    command.set_defaults(run="pretrain")

    command = commands.add_parser("plan", help="steps, days and memory that pretraining will take")
    command.add_argument("corpus", type=place, nargs="?", help="as for pretrain; or --tokens")
    command.add_argument("--tokens", type=POSITIVE, help="tokens of an epoch")
    command.add_argument("--size", choices=SIZES, default="pico")
    command.add_argument("--gpu", default="a100-80gb", help="default: a100-80gb; an unknown one lists all")
    command.add_argument("--n", type=COUNT, default=1, help="number of GPUs (default: 1)")
    command.add_argument("--steps", type=COUNT)
    command.add_argument("--epochs", type=POSITIVE)
    command.add_argument("--tokens-per-batch", type=COUNT, default=16384, help="on all GPUs together")
    command.add_argument("--max-tokens", type=whole(3), default=1024)
    command.add_argument("--strategy", choices=["ddp", "fsdp"], default="ddp")
    command.add_argument("--checkpointing", action="store_true", help="of gradients")
    command.add_argument("--mfu", type=SHARE, default=0.4, help="share of the peak reached (default: 0.4)")
    command.set_defaults(run="plan")

    command = commands.add_parser("estimate", help="time and memory that a job will take, before it runs")
    command.add_argument("input", type=place, help="FASTA file (packed or not), or - for standard input")
    command.add_argument("-m", "--model", default=STRUCTURE, help=f"name or file (default: {STRUCTURE})")
    command.add_argument(
        "--task", choices=["embed", "fold", "predict"], help="default: what the model's head is for"
    )
    command.add_argument("--pool", choices=["cls", "mean", "std", "max"], help="of embed: one row a sequence")
    command.add_argument("--device", help="default: the best there is")
    command.set_defaults(run="estimate")
    return everything


def _add_job_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shard-size", type=COUNT, help="records of a Parquet table (default: 10000)")
    command.add_argument(
        "--processes", type=COUNT, help="that share the GPUs or cores (default: 1); for Parquet"
    )
