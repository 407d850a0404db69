"""Commands that build a corpus, plan and pretrain."""

from __future__ import annotations

import argparse
import sys

from .._utils.files import user_path
from .options import _trainer_options


def _corpus_build(options: argparse.Namespace) -> int:
    from ..datasets.corpus.build import build_corpus, build_corpus_from_table, rejected_records
    from ..datasets.user_tables import ending_of

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
        print(f"rinalmo-kit: {refused} records skipped, see {rejected_records(output)}", file=sys.stderr)
    return 1 if refused else 0


def _pretrain(options: argparse.Namespace) -> int:
    from ..training.plan import size
    from ..training.pretraining import pretrain

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
        workers="auto" if options.workers is None else options.workers,
        **_trainer_options(options, pretrain),
    )
    print(user_path(options.output) / "model.safetensors")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from ..training.plan import plan

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
