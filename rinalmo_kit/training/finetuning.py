"""Fine-tuning: by a recipe of the paper, or on a table of your own."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from .._utils.files import user_path
from .._utils.numbers_given import whole_number
from .._utils.progress import progress_bar
from .._utils.run_folders import check_folder, claim_folder, leads, run_lock
from ..inference.batching import batches_by_length, encode_sequences
from ..inference.prediction import crop_to_center
from ..model import adapters, pretrained
from ..model import checkpoint as model_checkpoint
from ..model.batched_structure_head import MAP_ENTRIES
from ..model.checkpoint_files import read_state
from ..model.config import Config
from ..model.devices import to_device
from ..model.rinalmo import Encoder, RiNALMo
from ..model.task_base import Task
from ..model.tasks import TASKS, task_of
from ..model.unwrap import unwrapped
from ..recipes.recipe import Recipe, Schedule
from ..recipes.resolve import resolve
from ..recipes.splits import Example, Splits
from ..rna.alphabet import CleanSequence
from .augmentation import Mutated
from .batch_plan import BatchPlan, map_batches, shuffled_batches
from .checkpoints import read_checkpoint
from .clock import ENDLESS
from .run_options import check_recipe, check_trainer_options
from .trainer import Run, fit

__all__ = ["finetune"]

Mode = Literal["full", "lora", "frozen"]


ADAPTER = "adapter.safetensors"
"""File in the folder of a low-rank run, beside that of the whole model."""


def unfreezing_schedule(model: Encoder, recipe: Recipe) -> list[tuple[int, list[nn.Parameter]]]:
    """Return the parameters of the encoder that a recipe trains, with the epoch from which on it does.

    Shares of blocks are rounded to whole blocks, one at least, counted from the top.
    """
    embedding, blocks, norm = model.layers()
    found, unfrozen = [], 0
    for epoch, share in recipe.unfreeze:
        wanted = max(1, round(share * len(blocks)))
        modules = blocks[len(blocks) - wanted : len(blocks) - unfrozen]
        if not unfrozen:
            modules = [*modules, *([norm] if norm is not None else [])]
            modules += [embedding] if recipe.train_embedding else []
        unfrozen = max(unfrozen, wanted)
        parameters = [
            parameter
            for module in modules
            for name, parameter in module.named_parameters()
            if recipe.train_beta or not name.endswith("beta")
        ]
        found.append((epoch, parameters))
    return found


class FineTuning(Run):
    """Trains the head, and the encoder as the recipe unfreezes it; tunes what is tuned on the validation set."""

    def __init__(
        self,
        model: Encoder,
        recipe: Recipe,
        plan: BatchPlan,
        *,
        seed: int,
        mode: Mode = "full",
        batch_maps: bool | None = None,
    ) -> None:
        super().__init__(model, plan, seed=seed, seconds=recipe.seconds)
        self.batch_maps = batch_maps
        self.recipe = recipe
        self.task = TASKS[recipe.task]
        self.found: list[Any] = []  # what the task keeps of the validation under way
        self.validated_at = -1
        self.stages = unfreezing_schedule(model, recipe) if mode == "full" else []
        if mode == "lora":
            from ..model.lora import add_lora

            add_lora(model)
            head = {id(p) for p in self.head.parameters()}
            lora = [p for p in model.parameters() if p.requires_grad and id(p) not in head]
            self.stages = [(0, lora)]
        self.unfrozen_at = -1

    @property
    def head(self) -> nn.Module:
        """The head of the model, which every model in training has."""
        return cast(nn.Module, self.model.head)

    def groups(self) -> tuple[list[dict[str, Any]], str, Schedule]:
        recipe = self.recipe
        rates = [(list(self.head.parameters()), recipe.lr)]
        rates += [(parameters, recipe.lr * recipe.encoder_lr) for _, parameters in self.stages]
        groups = [{"params": p, "lr": lr, "weight_decay": recipe.weight_decay} for p, lr in rates if p]
        return groups, recipe.optimizer, recipe.schedule

    def unfreeze_for_epoch(self, epoch: int) -> None:
        """Let gradients reach the parameters that are trained in this epoch, and no others."""
        if epoch == self.unfrozen_at:
            return
        self.unfrozen_at = epoch
        self.model.requires_grad_(False)
        self.head.requires_grad_(True)
        for start, parameters in self.stages:
            for parameter in parameters if epoch >= start else ():
                parameter.requires_grad_(True)

    def on_train_batch_start(self, batch: list[Example], _: int) -> None:
        super().on_train_batch_start(batch, _)
        self.unfreeze_for_epoch(self.plan.epoch_at(self.position))

    def outputs(self, batch: list[Example]) -> list[Tensor] | Tensor:
        rows = [example.representation for example in batch if example.representation is not None]
        if rows:
            rows = [to_device(one, self.device) for one in rows]
        else:
            rows = encode_sequences(self.model, [CleanSequence(e.sequence) for e in batch])
        together = self.device.type == "cuda" if self.batch_maps is None else self.batch_maps
        if not together:
            return self.task.apply_head(self.model, rows)
        return self.task.apply_head_padded(self.model, rows, entries=self.recipe.map_entries or MAP_ENTRIES)

    def training_step(self, batch: list[Example], _: int) -> Tensor:
        targets = self.task.encode_targets(self.model, [example.target for example in batch])
        loss = self.task.compute_loss(self.recipe.loss, self.outputs(batch), targets)
        return self.log_finite_loss(loss, lambda: [example.name for example in batch])

    def validation_step(self, batch: list[Example], _: int) -> None:
        sequences, targets = [e.sequence for e in batch], [e.target for e in batch]
        self.found += self.task.validate(self.model, self.outputs(batch), sequences, targets)

    def on_validation_epoch_end(self) -> None:
        found, self.found = self.found, []
        self.validated_at = self.position
        scores = self.task.validation_scores(self.model, found)
        self.log_dict({f"val_{name}": value for name, value in scores.items()}, prog_bar=True)


def finetune(
    recipe: Any,
    *,
    output: str | os.PathLike,
    model: Encoder | str | os.PathLike | Config | None = None,
    task: str | None = None,
    target: str | None = None,
    mode: Mode = "full",
    fold: int = 0,
    seed: int = 0,
    limit: int | None = None,
    changes: Mapping[str, Any] | None = None,
    splits: Splits | None = None,
    unlabelled: Sequence[Example] = (),
    validate_every: int | None = None,
    checkpoint_every: int | None = None,
    batch_maps: bool | None = None,
    workers: int = 0,
    compiled: bool | None = None,
    progress: bool | None = None,
    **trainer_options: Any,
) -> Encoder:
    """Fine-tune an encoder by a recipe of the paper, or on data of your own; a stopped run is resumed.

    Parameters
    ----------
    recipe : str, Recipe, or data
        Name in :data:`rinalmo_kit.recipes.RECIPES`, a recipe, or your own data with the columns of
        :func:`rinalmo_kit.recipes.user_data.validate_user_table`: a DataFrame, a dict of columns, a list of dicts, a
        Dataset, Structures, or
        the path of a table.
    output : path
        Folder for checkpoints, logs and, at the end, ``model.safetensors``, which :func:`rinalmo_kit.fold` and
        :func:`rinalmo_kit.predict` take by its path, as they do ``adapter.safetensors`` beside it, of mode ``"lora"``.
        If it holds this run, unfinished, that is resumed; if finished, its model is returned.
    model : Encoder, name, path or Config, optional
        Start from this; a Config means random weights, and an encoder of another kind comes from
        :func:`rinalmo_kit.model.multimolecule.adapt`. Default: the recipe's ``start``, the embedded
        ``"nano"`` (the paper's model
        is ``"giga"``). It is changed in place. A head that fits the task is kept, else a new one is made.
    task : {"structure", "classification", "regression", "nucleotide-regression"}, optional
        For your own data: what is learned.
    target : str, optional
        For your own data: the column of the targets.
    mode : {"full", "lora", "frozen"}
        Train the encoder as the recipe says; or low-rank additions to its weights, which are merged at the end, and
        also stored alone, as an adapter of about 1 MB, if `model` is a name, a file, or was loaded from one and not
        trained since; or the head alone on representations that are computed once (fast, and small in memory).
    fold : int
        For recipes with folds.
    seed : int
        Fixes the new head's weights, the order of the data, and dropout.
    limit : int, optional
        Train on at most this many rows, and validate on as many.
    changes : mapping, optional
        Other values for the recipe's fields, such as ``{"epochs": 3, "lr": 3e-4}``.
    splits : Splits, optional
        Examples to train on and to validate with in place of those that the recipe selects.
    unlabelled : sequence of Example
        More examples, such as those with likely pairs (:mod:`reproduction.thermodynamics`), of which each epoch takes
        in turn as many as the recipe says beside the others.
    validate_every, checkpoint_every : int, optional
        In batches; validation by default once an epoch, checkpoints every 200 batches, or ten in a shorter run.
    batch_maps : bool, optional
        For structures: put the maps of a batch through the head together, which gives the same losses; default: on a
        GPU, where it is several times as fast. On a CPU it is slower.
    workers : int
        Processes that prepare batches.
    compiled : bool, optional
        Compile the encoder's blocks with torch.compile, at the first batch, or never. Default: on CUDA, once the model
        has computed enough for that to pay (see docs/gpu.md).
    progress : bool, optional
        Show one progress bar with the loss and the validation scores, or none; neither shows Lightning's table of
        layers. Default: Lightning's own bar and table.
    **trainer_options
        Passed to :class:`lightning.Trainer` (``accelerator``, ``devices``, ``precision``, …). With several devices use
        ``strategy="ddp_find_unused_parameters_true"``: frozen blocks have no gradients.

    Returns
    -------
    Encoder
        In eval mode, with what was tuned (``threshold``, ``scaler``) and the names of the classes (``labels``).

    Raises
    ------
    ValueError
        For data that cannot be trained on (which row, and why), an option out of range, or an output folder with
        another run.
    BlockingIOError
        If another process is training in that folder.
    FloatingPointError
        If the loss is not a number; names the batch.

    Examples
    --------
    Train a small classifier on four sequences (a real table has thousands):

    >>> from rinalmo_kit.model.config import Config
    >>> import pandas as pd, tempfile, rinalmo_kit as rk
    >>> table = pd.DataFrame({"sequence": ["ACGUACGU", "GGGGCCCC", "ACGAACGA", "GGGGGCCC"], "label": list("abab"),
    ...                       "split": ["train", "train", "validation", "validation"]})
    >>> table = pd.concat([table, table[:2].assign(split="test")])
    >>> options = {"accelerator": "cpu", "progress": False, "logger": False}
    >>> model = finetune(table, task="classification", model=Config(32, 1, heads=2), output=tempfile.mkdtemp(),
    ...                  changes={"epochs": 1}, **options)
    >>> model.labels
    ('a', 'b')
    """
    if mode not in ("full", "lora", "frozen"):
        raise ValueError(f"mode={mode!r}: expected 'full', 'lora' or 'frozen'")
    seed, workers = whole_number("seed", seed, least=0), whole_number("workers", workers, least=0)
    every = {"validate_every": validate_every, "checkpoint_every": checkpoint_every}
    for name, value in {"limit": limit, **every}.items():
        if value is not None:
            whole_number(name, value)
    check_trainer_options(trainer_options)
    output = user_path(output)
    if leads():
        check_folder(output)
    given = splits is not None
    experiment = resolve(recipe, task=task, target=target, changes=changes)
    kind, recipe, table, own = experiment
    check_recipe(recipe, None if table is None else list(table))
    if splits is None:
        splits = experiment.splits(fold=fold, limit=limit, wanted=("train", "validation"))
    if recipe.mutate and (mode == "frozen" or not kind.predicts_structures):
        raise ValueError(
            f"mutate={recipe.mutate}: only structures are mutated, and not where a frozen encoder computes each once"
        )
    if recipe.window:
        if kind.whole:
            raise ValueError(
                f"window={recipe.window}: {kind.answers} are learned whole; max_lengths leaves long ones out"
            )
        splits = dataclasses.replace(
            splits,
            train=crop_examples(splits.train, recipe),
            validation=crop_examples(splits.validation, recipe),
        )
    for example in (*splits.train, *splits.validation, *unlabelled):
        kind.check_sequence(example.name, example.sequence)
    torch.manual_seed(seed)
    model = starting_model(recipe.start if model is None else model)
    model.compiled = model.compiled if compiled is None else compiled
    start = model.name
    facts = {"recipe": dataclasses.asdict(recipe), "fold": fold, "seed": seed, "mode": mode, "start": start}
    rows = [
        f"{e.name} {e.sequence} {kind.target_text(e.target)}"
        for e in (*splits.train, *splits.validation, *unlabelled)
    ]
    facts["data"] = zlib.crc32("\n".join(rows).encode())
    with run_lock(output):
        claim_folder(output / "run.json", facts, what="run")
        if (finished := output / "model.safetensors").exists():
            return finished_model(finished)
        options = {"output": output, "seed": seed, "mode": mode, **every, **trainer_options}
        options |= {"batch_maps": batch_maps, "workers": workers, "progress": progress}
        first = train(model, recipe, splits, unlabelled, **options)
        if given:  # which rows these are, nobody has said
            recipe = dataclasses.replace(recipe, dataset="own data")
        model.about = training_metadata(recipe, fold=fold, limit=limit, start=start, earlier=model.about)
        if own is not None:
            model.about["own data"] = own
        if first:
            if model.adapter is not None and model.adapter.base is not None:
                model_checkpoint.save(model, output / ADAPTER, adapter=True)
            model_checkpoint.save(model, finished)  # last: it is what makes the run finished
    return model


def finished_model(path: Path) -> Encoder:
    """Return the model of a finished run, with its adapter if there is one."""
    model = pretrained.load(path, device="cpu")
    if (beside := path.with_name(ADAPTER)).exists():
        model.adapter = adapters.read_adapter(*read_state(beside), str(beside)).adapter
    return model


def train(
    model: Encoder,
    recipe: Recipe,
    splits: Splits,
    unlabelled: Sequence[Example],
    *,
    output: Path,
    seed: int,
    mode: Mode,
    validate_every: int | None,
    batch_maps: bool | None,
    workers: int,
    **options: Any,
) -> bool:
    """Train a model in place; return whether this process is the first of those that trained together."""
    attach_head(model, recipe, splits)
    if mode == "frozen":
        precompute_representations(model, [*splits.train, *splits.validation, *unlabelled])
    lengths, others = ([len(example) for example in rows] for rows in (splits.train, unlabelled))
    plan = make_batch_plan(recipe, lengths, seed=seed, others=others)
    examples = Mutated([*splits.train, *unlabelled], recipe.mutate, seed)
    run = FineTuning(
        model, recipe, plan, seed=seed, mode=mode, batch_maps=batch_maps
    )  # it asks where it is from
    model.train()
    watched = cast(Dataset, sorted(splits.validation, key=len))  # a list serves as one
    validation: DataLoader = DataLoader(watched, batch_size=16, collate_fn=list)
    trainer = fit(
        run,
        DataLoader(examples, batch_sampler=plan, collate_fn=list, num_workers=workers),
        validation,
        output=output,
        best=recipe.best and f"val_{recipe.best}",
        validate_every=validate_every or (ENDLESS if recipe.seconds else plan.first[1]),
        clip=recipe.gradient_clip,
        ema=recipe.ema,
        **options,
    )
    if recipe.best is not None and (output / "best.ckpt").exists():
        load_checkpoint(run, output / "best.ckpt")
    elif run.validated_at != run.position:  # the threshold has to belong to the last weights
        trainer.validate(run, validation, verbose=False)
    if mode == "lora":
        from ..model.lora import merge_lora

        merge_lora(model)
    model.requires_grad_(True).eval()
    return trainer.is_global_zero


def crop_examples(examples: list[Example], recipe: Recipe) -> list[Example]:
    """Return the examples with the middle of their sequences alone."""
    return [dataclasses.replace(e, sequence=crop_to_center(e.sequence, recipe.window)) for e in examples]


def starting_model(model: Encoder | str | os.PathLike | Config) -> Encoder:
    """Return the model that training starts from."""
    if isinstance(model, Config):
        return RiNALMo(model)
    return pretrained.load(model, device="cpu") if isinstance(model, str | os.PathLike) else unwrapped(model)


def attach_head(model: Encoder, recipe: Recipe, splits: Splits) -> None:
    """Attach the head of a recipe's task to a model, with its labels and scaler; a head that fits is kept."""
    task = TASKS[recipe.task]
    info = model.info.for_new_task(labels=splits.labels, pad_to=recipe.pad_to, window=recipe.window)
    info.to_file(recipe.name)  # what could not be saved is rejected before the training
    head = task.new_head(model.config.dim, splits.labels, loss=recipe.loss)
    shapes = {key: value.shape for key, value in head.state_dict().items()}
    old = {key: value.shape for key, value in model.head.state_dict().items()} if model.head else None
    if old != shapes or model.labels != splits.labels:
        model.head = head.to(model.device)
    info.scaler = task.scaler([example.target for example in splits.train], recipe.loss)
    model.info = info


@torch.no_grad()
def precompute_representations(model: Encoder, examples: list[Example]) -> None:
    """Compute the representations that a frozen encoder would give in every epoch; for a classifier <cls> alone."""
    model.eval()
    task = cast(Task, task_of(model.head))
    with progress_bar(len(examples), "represent", shown=len(examples) > 2000) as bar:
        for batch in batches_by_length([len(example) for example in examples]):
            found = encode_sequences(model, [CleanSequence(examples[i].sequence) for i in batch])
            for i, rows in zip(batch, found, strict=True):
                examples[i].representation = task.read_rows(rows).cpu().clone()
            bar.update(len(batch))


def make_batch_plan(
    recipe: Recipe, lengths: Sequence[int], *, seed: int, others: Sequence[int] = ()
) -> BatchPlan:
    """Return the batches of a recipe's run, as (epoch, number of the example), for the lengths of the examples.

    Of the `others`, numbered after the first, each epoch takes ``recipe.unlabelled`` in turn.
    """
    known = np.array([*lengths, *others])

    def epoch(number: int) -> list[list[tuple[int, int]]]:
        rows = np.arange(len(lengths))
        if recipe.max_lengths:
            rows = rows[np.array(lengths) <= recipe.max_lengths[: number + 1][-1]]
        share = min(recipe.unlabelled, len(others))
        turn = (number * share + np.arange(share)) % max(1, len(others))
        rows = np.concatenate((rows, len(lengths) + turn))
        if recipe.map_entries is None:
            batches = shuffled_batches(rows, batch_size=recipe.batch_size, seed=(seed, number))
        else:
            batches = map_batches(
                rows, known[rows], entries=recipe.map_entries, most=recipe.batch_size, seed=(seed, number)
            )
        return [[(number, i) for i in batch] for batch in batches]

    if recipe.seconds is not None:
        return BatchPlan(epoch, steps=ENDLESS)
    return BatchPlan(epoch, epochs=recipe.epochs, steps=recipe.steps)


def load_checkpoint(run: FineTuning, path: Path) -> None:
    """Load the weights and the threshold of a checkpoint into a run's model."""
    checkpoint = read_checkpoint(path, run.model.device)
    run.load_state_dict(checkpoint["state_dict"])
    run.model.threshold = checkpoint["threshold"]


def training_metadata(
    recipe: Recipe, *, fold: int, limit: int | None, start: str, earlier: dict[str, Any]
) -> dict[str, Any]:
    """Return what a model was trained on, for its file and for :mod:`rinalmo_kit.evaluation.leakage`."""
    from ..datasets.loading import TABLES, data_note

    return {
        "recipe": recipe.name,
        "fold": fold,
        "dataset": recipe.dataset,
        "rows": f"({recipe.train}) or ({recipe.validation})",
        "limit": limit,
        "standin": data_note(recipe.dataset) if recipe.dataset in TABLES else None,
        "start": start,
        "earlier": earlier,
    }
