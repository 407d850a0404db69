"""How the weights in the package were made: from tables to weights to scores, one step after the other.

``python -m reproduction.embedded_weights runs/embedded`` runs :data:`STEPS` in their order; a step that is finished is
skipped, one that was interrupted is resumed. The tables are those of ``$RINALMO_KIT_DATA``; ViennaRNA, seqkit and
mmseqs are needed. Nothing is put into the package: weights end up in ``OUTPUT/weights``, scores in ``OUTPUT/measured``.
With ``--gpu`` the stages are those of :mod:`reproduction.gpu_weights`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rinalmo_kit._utils.files import atomic_write, user_path
from rinalmo_kit._utils.hardware import has_bfloat16_units
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit._utils.rows import select
from rinalmo_kit._utils.run_log import training_log
from rinalmo_kit.datasets.corpus.build import build_corpus
from rinalmo_kit.datasets.corpus.store import Corpus
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.evaluation.baselines import ngram_perplexity
from rinalmo_kit.evaluation.leakage import LeakWarning
from rinalmo_kit.evaluation.scoring import evaluate
from rinalmo_kit.inference.confidence import calibrate, expected_f1
from rinalmo_kit.metrics import structure_scores
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.model.rinalmo import Encoder, RiNALMo
from rinalmo_kit.recipes.named import recipe_named
from rinalmo_kit.recipes.recipe import Recipe, Schedule
from rinalmo_kit.recipes.splits import Example, splits_of
from rinalmo_kit.training.finetuning import finetune
from rinalmo_kit.training.pretraining import pretrain

from .embeddings import FITTED, REFERENCES, neighbour_scores, whitened
from .scoring import SEED, fold_all, scores, trust
from .thermodynamics import read_likely_pairs, write_likely_pairs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STEPS", "reproduce"]

CPU: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
CPU["precision"] = "bf16-mixed" if has_bfloat16_units() else "32-true"
"""bfloat16 is faster than float32 on processors that have units for it, and many times slower on others."""

SIZES = {
    "pico": replace(Config.pico(), attention_dropout=0.0, residual_dropout=0.0),
    "256 wide": Config(256, 6, 8, 0.0, 0.0),
    "nano": Config(320, 6, 20, 0.0, 0.0),
}
"""Sizes of the scaling study; no dropout as long as no sequence is seen often enough to be learned by heart."""

STUDY_STEPS = {"pico": (158, 400), "256 wide": (117, 350), "nano": (74, 300)}
"""Steps of 8192 tokens of pretraining, and of 8 structures: what each size does in about the same time."""

TESTS = {
    "bprna": "split == 'TS0'",
    "rivas": "split in ('TestSetA', 'TestSetB')",
    "archiveII": "length > 0",
    "newfam": "length > 0",
    "pseudobase": "length > 0",
    "rfam88": "split != 'train'",
    "nrc13": "split == 'test'",
}
"""Rows that something is tested on: no equal sequence is in the corpus."""


class Job:
    """A folder in which the steps are carried out, and how much of each.

    Parameters
    ----------
    folder : Path
    smoke : bool
        A few rows and steps of everything: does it run?
    trainer : mapping, optional
        For Lightning, in place of :data:`CPU`.
    test_limit : int, optional
        Score at most so many test rows of each set.
    """

    def __init__(
        self,
        folder: Path,
        *,
        smoke: bool = False,
        trainer: Mapping[str, Any] | None = None,
        test_limit: int | None = None,
    ) -> None:
        self.folder, self.smoke, self.test_limit = folder, smoke, test_limit
        self.trainer = CPU | dict(trainer or {})
        self.size = Config(64, 2, 4, 0.0, 0.0) if smoke else SIZES["pico"]
        self.limit = 40 if smoke else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The paper's other tasks."""
        return tuple(TASKS)

    def steps(self, number: int) -> int:
        """Length of a run."""
        return min(number, 3) if self.smoke else number

    def of(self, run: str) -> Path:
        """Return the path of the weights of a finished run."""
        return self.folder / run / "model.safetensors"

    def load(self, run: str) -> Encoder:
        """Load the weights of a finished run, to continue without dropout: nothing is seen often."""
        return load(self.of(run), config=self.size, device="cpu")

    def note(self, name: str, table: pd.DataFrame) -> None:
        """Write a file of measured numbers."""
        path = self.folder / "measured" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as temporary:
            table.assign(**provenance()).to_csv(temporary, index=False, float_format="%.6g")

    def file(self, name: str) -> Path:
        """Return the path of a model to be shipped."""
        return self.folder / "weights" / f"{name}.safetensors"

    def stored(self, name: str) -> Encoder:
        """Load a model to be shipped."""
        model = load(self.file(name), device="cpu")
        model.name = name
        return model

    def score(self, model: Any, recipe: str | Recipe) -> None:
        """Add the scores of a model, one model a fold, or a baseline to those measured."""
        limit = 20 if self.smoke else self.test_limit
        with warnings.catch_warnings():
            # The paper's MRL is watched on a test set; rows of TR0 in other sets are left out by unseen()
            warnings.simplefilter("ignore", LeakWarning)
            evaluate(model, recipe, limit=limit, output=self.folder / "measured" / "scores.csv")

    def finetune(self, recipe: str, output: str, **options: Any) -> Encoder:
        """Fine-tune by a recipe in this folder."""
        changes = dict(options.pop("changes", {}))
        if self.smoke:
            changes |= {"steps": 3, "epochs": 1}
            changes |= {"max_lengths": (80,)} if recipe_named(recipe).task == "structure" else {}
        options = {"seed": SEED, "limit": self.limit, "validate_every": 10**9, **self.trainer, **options}
        return finetune(recipe, output=self.folder / output, changes=changes, **options)


def corpus(job: Job) -> Corpus:
    """Pretraining corpus: ncRNAs that no test set holds, clustered at 70 % identity (paper)."""
    fasta = job.folder / "corpus.fasta"
    if not fasta.exists():
        table = load_table("pretrain_ncrna")
        tests = {s for name, rows in TESTS.items() for s in select(load_table(name), rows)["sequence"]}
        kept = table[~table["sequence"].isin(tests)].head(2000 if job.smoke else None)
        text = "".join(f">{i}\n{s}\n" for i, s in zip(kept["id"], kept["sequence"], strict=True))
        with atomic_write(fasta) as temporary:
            temporary.write_text(text)
    return build_corpus(fasta, job.folder / "corpus", seed=SEED, progress=False)


def _pretrain(job: Job, output: str, size: Config, steps: int, **options: Any) -> RiNALMo:
    options = {"tokens_per_batch": 4096, "lr": 7e-4, "max_tokens": 258, **options}
    if job.smoke:
        options["tokens_per_batch"] = 1024
    steps = job.steps(steps)
    options |= {"steps": steps, "seed": SEED, **job.trainer}
    return pretrain(corpus(job), output=job.folder / output, model=size, **options)


def study(job: Job) -> None:
    """Scaling study: each size pretrained and then trained on short structures, for about the same time each."""
    import pandas as pd

    rows = []
    for name, size in SIZES.items():
        steps, structure_steps = STUDY_STEPS[name]
        model = _pretrain(job, f"study/{name}-lm", size, steps, tokens_per_batch=8192, validate_every=10**9)
        changes = {"max_lengths": (150,), "steps": structure_steps, "epochs": 3, "lr": 1e-3, "mutate": 0.0}
        job.finetune("pico-ss", f"study/{name}-ss", model=model, changes=changes)
        lm, ss = (training_log(job.folder / f"study/{name}-{kind}") for kind in ("lm", "ss"))
        rows.append(
            {
                "size": name,
                "dim": size.dim,
                "blocks": size.blocks,
                "heads": size.heads,
                "parameters": sum(p.numel() for p in RiNALMo(size).parameters()),
                "tokens": int(lm["tokens_seen"].max()),
                "val_perplexity": float(lm["val_perplexity"].dropna().iloc[-1]),
                "structures": 8 * job.steps(structure_steps),
                "val_f1": float(ss["val_f1"].dropna().iloc[-1]),
            }
        )
    job.note("scaling_study", pd.DataFrame(rows))


def encoder(job: Job) -> None:
    """Pretrain the encoder, and note its perplexity beside those of n-grams, against tokens seen."""
    import pandas as pd

    _pretrain(job, "encoder", job.size, 3000, validate_every=250)
    found = corpus(job)
    texts = [
        [found.sequence(int(i))[1] for i in found.epoch(0, 0, clusters=part)]
        for part in (found.train, found.holdout)
    ]
    log = training_log(job.folder / "encoder")
    log = log.dropna(subset="val_perplexity")[["tokens_seen", "val_perplexity"]]
    rows = [{"model": "pico", "tokens": int(t), "perplexity": p} for t, p in log.itertuples(index=False)]
    rows += [{"model": name, "tokens": 0, "perplexity": p} for name, p in ngram_perplexity(*texts).items()]
    job.note("pretraining", pd.DataFrame(rows))


def likely(job: Job) -> list[Example]:
    """Pairing probabilities by ViennaRNA of one ncRNA of each cluster, computed once."""
    path, found = job.folder / "thermo.parquet", corpus(job)
    if not path.exists():
        records = [found.sequence(int(i)) for i in found.epoch(0, SEED, clusters=found.train)]
        records = [(n, s) for n, s in records if 20 <= len(s) <= 220 and set(s) <= set("ACGU")]
        write_likely_pairs(records[: job.limit], path)
    return list(read_likely_pairs(path))


def thermodynamics(job: Job) -> None:
    """Learn ViennaRNA's pairing probabilities."""
    splits = splits_of(recipe_named("pico-thermo"), limit=job.limit, wanted=("validation",))
    job.finetune("pico-thermo", "thermo", model=job.size, splits=replace(splits, train=likely(job)))


def _structures(job: Job, recipe: str, output: str, *, start: str = "thermo", **options: Any) -> Encoder:
    """Train on known structures, with likely pairs of others among them."""
    unlabelled = [example for example in likely(job) if len(example) <= 150]
    return job.finetune(recipe, output, model=job.load(start), unlabelled=unlabelled, **options)


def structure(job: Job) -> None:
    """Train on the known structures of TR0, in two rounds."""
    _structures(job, "pico-ss", "structure-1")
    _structures(job, "pico-ss", "structure", start="structure-1", changes=SECOND)


SECOND: dict[str, Any] = {
    "epochs": 6,
    "lr": 5e-4,
    "max_lengths": (300, 200, 300, 500, 200, 300),
    "unlabelled": 3000,
}
"""What the second round does otherwise: longer RNAs from the start, more unlabelled ones, a lower rate."""


STARTS = ("random", "encoder", "thermo")
SHORT: dict[str, Any] = {
    "epochs": 4,
    "steps": 300,
    "schedule": Schedule(warmup_steps=50, decay="cosine", floor=0.01),
}
"""Runs that tell one thing from another, and are not shipped."""


def ablation(job: Job) -> None:
    """Train on short structures from random weights, from the encoder, and from the thermodynamic stage, alike."""
    import pandas as pd

    rows = []
    for start in STARTS:
        model = job.size if start == "random" else job.load(start)
        changes = {**SHORT, "max_lengths": (150,), "mutate": 0.0, "unlabelled": 0}
        job.finetune("pico-ss", f"ablation/{start}", model=model, changes=changes)
        log = training_log(job.folder / "ablation" / start)
        seen = 8 * job.steps(SHORT["steps"])
        rows.append({"start": start, "structures": seen, "val_f1": float(log["val_f1"].max())})
    job.note("ablation", pd.DataFrame(rows))


UNSEEN = ("rivas", "archiveII-5s", "archiveII-tRNA", "archiveII-srp")


def families(job: Job) -> None:
    """Train without a family, or on TrainSetA, and test on what was left out, beside ViennaRNA."""
    changes = {**SHORT, "max_lengths": (200, 300), "unlabelled": 500}
    for name in UNSEEN[2:3] if job.smoke else UNSEEN:
        model = _structures(job, f"pico-{name}", name, changes=changes)
        model.name = f"pico-{name}"
        for one in (model, "viennarna"):
            job.score(one, replace(recipe_named(f"pico-{name}"), name=f"ss-{name}"))


def tasks(job: Job) -> None:
    """Fine-tune the encoder for the other tasks."""
    for recipe, rounds in TASKS.items():
        start = "encoder"
        for number, changes in enumerate(rounds, start=1):
            output = recipe if number == len(rounds) else f"{recipe}-{number}"
            job.finetune(recipe, output, model=job.load(start), changes=SMALL | changes)
            start = output


SMALL: dict[str, Any] = {
    "unfreeze": ((0, 1.0),),
    "encoder_lr": 1.0,
    "train_embedding": True,
    "train_beta": True,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "schedule": Schedule(warmup_steps=100, decay="cosine", floor=0.02),
    "balance": False,
}


TASKS: dict[str, list[dict[str, Any]]] = {
    "ncrna-0": [{"epochs": 3, "batch_size": 32, "lr": 1e-3}],
    "mrl": [
        {"train": "split in ('train', 'replicate')", "epochs": 2, "batch_size": 32, "lr": 5e-4},
        {"epochs": 1, "batch_size": 32, "lr": 2e-4},
    ],
    "splice-donor": [{"epochs": 2, "batch_size": 32, "lr": 5e-4, "window": 80}],
    "splice-acceptor": [{"epochs": 2, "batch_size": 32, "lr": 5e-4, "window": 80}],
}
"""Recipes of the paper, and what each round changes beside :data:`SMALL` to make a small model on a CPU core.

Of the ribosome load, the random UTRs of another replicate are seen first; the last round sets the scale.
"""


def utr(job: Job) -> None:
    """Train heads for translation efficiency and expression level on the frozen encoder, ten folds each."""
    names = [f"{kind}-{cell}" for kind in ("te", "el") for cell in ("muscle", "pc3", "hek")]
    for name in names[:1] if job.smoke else names:
        recipe, models = recipe_named(name), []
        for number in range(recipe.folds):
            model = job.finetune(
                name,
                f"{name}/fold-{number}",
                model=job.load("encoder"),
                mode="frozen",
                fold=number,
                changes={"epochs": 10, "lr": 1e-3, "optimizer": "adamw", "weight_decay": 0.01},
                validate_every=None,
            )
            model.name = f"pico-{name}"
            models.append(model)
        for one in (models, "simple", "trivial"):
            job.score(one, name)


def weights(job: Job) -> None:
    """Calibrate the confidence on VL0, and store all models in half precision."""
    model = load(job.of("structure"), device="cpu")
    validation = splits_of(recipe_named("pico-ss"), limit=job.limit, wanted=("validation",)).validation
    folded = fold_all([e.sequence for e in validation], model)
    expected = [expected_f1(np.asarray(s.probabilities), s.pairs) for s in folded]
    f1 = [structure_scores(e.target, s).f1 for e, s in zip(validation, folded, strict=True)]
    model.calibration = calibrate(expected, f1)
    save(model, job.file("pico-ss"), dtype=torch.float16)
    trained = {task: f"pico-{task}" for task in TASKS if job.of(task).exists()}
    for run, name in {"encoder": "pico", **trained}.items():
        model = load(job.of(run), device="cpu")
        save(model, job.file(name), dtype=torch.float16)


def embeddings(job: Job) -> None:
    """Whiten the embeddings of the encoder; see how often neighbours are of the same family, beside k-mers."""
    torch.manual_seed(SEED)
    model, untrained = job.stored("pico"), RiNALMo(job.size).eval()
    rows = 300 if job.smoke else FITTED
    save(whitened(model, rows, width=64 if job.smoke else 256), job.file("pico"), dtype=torch.float16)
    models = {"pico": model, "untrained": untrained}
    job.note("embeddings", neighbour_scores(models, references=200 if job.smoke else REFERENCES))


STEPS: dict[str, Callable[[Job], Any]] = {
    "corpus": corpus,
    "study": study,
    "encoder": encoder,
    "thermodynamics": thermodynamics,
    "structure": structure,
    "ablation": ablation,
    "families": families,
    "tasks": tasks,
    "utr": utr,
    "weights": weights,
    "scores": scores,
    "trust": trust,
    "embeddings": embeddings,
}
"""What is done, in this order."""


def reproduce(
    output: Path,
    *,
    only: Sequence[str] | None = None,
    smoke: bool = False,
    trainer: Mapping[str, Any] | None = None,
    test_limit: int | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Make the embedded weights again, from tables to scores.

    Parameters
    ----------
    output : path
        Folder for everything; finished steps in it are not repeated.
    only : sequence of str, optional
        Names of :data:`STEPS` to carry out.
    smoke : bool
        A few rows and steps of everything, in a few minutes: shows that it runs, not what comes out.
    trainer : mapping, optional
        For :class:`lightning.Trainer`, such as ``{"devices": 2}``; one CPU process unless told
        otherwise. Runs are the same to the last bit only for the same number of processes.
    test_limit : int, optional
        Score at most so many test rows of each set.
    report : callable
        Takes a line of text when a step begins and when it is done.

    Raises
    ------
    ValueError
        For an unknown step.
    """
    if unknown := [name for name in only or () if name not in STEPS]:
        raise ValueError(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}")
    output = user_path(output)
    output.mkdir(parents=True, exist_ok=True)
    job = Job(output, smoke=smoke, trainer=trainer, test_limit=test_limit)
    for name, step in STEPS.items():
        if only and name not in only:
            continue
        report(f"{name}: {' '.join((step.__doc__ or '').split())}")
        start = time.perf_counter()
        step(job)
        report(f"{name}: done in {time.perf_counter() - start:.0f} s")


def main() -> None:
    """Run ``python -m reproduction.embedded_weights OUTPUT``."""
    import argparse

    from .gpu_weights import add_options, reproduce_on_gpu

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path, help="folder; what is finished in it is not repeated")
    parser.add_argument(
        "--only", nargs="+", metavar="STEP", help="carry out these steps; an unknown one lists all"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few rows and steps of everything: does it run?"
    )
    parser.add_argument("--test-limit", type=int, help="score at most so many test rows of each set")
    add_options(parser)
    options = parser.parse_args()
    if options.gpu:
        reproduce_on_gpu(options.output, minutes=options.minutes, start=options.start, smoke=options.smoke)
    else:
        reproduce(options.output, only=options.only, smoke=options.smoke, test_limit=options.test_limit)


if __name__ == "__main__":
    main()
