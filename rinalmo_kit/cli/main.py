"""The command ``rinalmo-kit``: its parser and what becomes of errors."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from .._utils.files import output_lock, user_path
from .arguments import parser, settings
from .data import _data_get, _data_list, _data_verify
from .infer import _check, _embed, _estimate, _fold, _models, _predict
from .pretrain import _corpus_build, _plan, _pretrain
from .screen import screen
from .studio import _studio
from .train import _evaluate, _finetune, _recipes, _score
from .variants import _variants

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 all done, 1 some records skipped, 2 nothing could be done."""
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


def _export(options: argparse.Namespace) -> int:
    from ..model.onnx_export import export_onnx

    output = options.output or f"{Path(options.model).stem}.onnx"
    print(export_onnx(output, model=options.model))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    try:
        from reproduction.embedded_weights import reproduce
    except ModuleNotFoundError as error:
        raise ValueError(
            "the making of the embedded weights is not part of the installed package: in a checkout, run "
            "python -m reproduction.embedded_weights"
        ) from error

    def report(line: str) -> None:
        print(line, flush=True)

    output, trainer = user_path(options.output), settings(options.trainer)
    with output_lock(output):
        reproduce(output, report=report, only=options.only, smoke=options.smoke, trainer=trainer)
    return 0


COMMANDS = {
    "fold": _fold,
    "embed": _embed,
    "check": _check,
    "predict": _predict,
    "variants": _variants,
    "models": _models,
    "export": _export,
    "reproduce": _reproduce,
    "studio": _studio,
    "recipes": _recipes,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "score": _score,
    "corpus build": _corpus_build,
    "data list": _data_list,
    "data get": _data_get,
    "data verify": _data_verify,
    "pretrain": _pretrain,
    "plan": _plan,
    "estimate": _estimate,
}
