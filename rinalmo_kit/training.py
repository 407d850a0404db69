"""Training on Lightning. So far: a structure model from pairs of sequence and structure."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from .datasets import load_structures
from .heads import StructureHead
from .inference import pair_logits
from .metrics import THRESHOLDS, threshold_scores, tune_threshold
from .model import Config, RiNALMo
from .recipes import RECIPES, Recipe
from .structure import Structure, greedy_pairs
from .tokens import MASK, VOCABULARY, tokenize

try:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint
except ImportError as error:  # pragma: no cover
    raise ImportError("training needs Lightning: pip install 'rinalmo-kit[training]'") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchPlan", "StructureTraining", "finetune", "structure_loss"]


REPLACEMENTS = [VOCABULARY.index(letter) for letter in "ACGTN"]


class BatchPlan:
    """Every batch of a run, epoch after epoch, fixed by the seed; iteration starts at batch `start`.

    A run is one long pass over this plan, so that resuming means starting later in it and a resumed run
    sees exactly the batches that an uninterrupted one would have seen.

    Examples
    --------
    >>> plan = BatchPlan([30, 80, 40], max_lengths=(50, None), batch_size=2, seed=0)
    >>> [sorted(batch) for batch in plan.batches[:1]], len(plan)
    ([[0, 2]], 3)
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        max_lengths: Sequence[int | None],
        batch_size: int,
        seed: int,
        steps: int | None = None,
    ) -> None:
        lengths = np.asarray(lengths)
        rng = np.random.default_rng(seed)
        self.start = 0
        self.batches: list[list[int]] = []
        for longest in max_lengths:
            rows = rng.permutation(np.flatnonzero(lengths <= (longest or lengths.max())))
            self.batches += [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]
        self.batches = self.batches[:steps]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches[self.start :])


def structure_loss(logits: Tensor, pairs: NDArray[np.int64]) -> Tensor:
    """Binary cross-entropy over the pairs i < j, summed and divided by the length.

    The paper takes the mean over the L(L − 1)/2 pairs, which makes the loss of a long RNA, and the
    gradient of its few pairs, vanish as 1/L. Divided by L, every nucleotide counts the same.

    Parameters
    ----------
    logits : Tensor
        (L, L), symmetric.
    pairs : ndarray of int64, shape (n, 2)
    """
    length = len(logits)
    i, j = torch.from_numpy(pairs).to(logits.device).unbind(1)
    logits = logits.float()
    upper = torch.triu(F.softplus(logits), diagonal=1).sum()
    return (upper - logits[i, j].sum()) / length


class StructureTraining(lightning.LightningModule):
    """Optimises a model with a structure head and tunes its threshold on the validation set."""

    def __init__(self, model: RiNALMo, recipe: Recipe, plan: BatchPlan) -> None:
        super().__init__()
        self.model, self.recipe, self.plan = model, recipe, plan
        self.tables: list[NDArray[np.float64]] = []
        self.tuned_at = -1  # step

    def transfer_batch_to_device(
        self, batch: list[Structure], device: torch.device, _: int
    ) -> list[Structure]:
        return batch  # text until pair_logits makes tokens of it

    def logits(self, batch: list[Structure]) -> list[Tensor]:
        return pair_logits(self.model, [structure.sequence for structure in batch])

    def training_step(self, batch: list[Structure], _: int) -> Tensor:
        losses = [
            structure_loss(logits, structure.pairs)
            for structure, logits in zip(batch, self.logits(batch), strict=True)
        ]
        loss = torch.stack(losses).mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss is {loss.item()} at step {self.global_step} on {[s.name for s in batch]}"
            )
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch))
        self.log("lr", self.lr_schedulers().get_last_lr()[0])
        return loss

    def validation_step(self, batch: list[Structure], _: int) -> None:
        for structure, logits in zip(batch, self.logits(batch), strict=True):
            probabilities = logits.float().sigmoid().cpu().numpy()
            found = greedy_pairs(probabilities, structure.sequence, threshold=THRESHOLDS[0])
            self.tables.append(threshold_scores(structure, *found))

    def on_validation_epoch_end(self) -> None:
        self.model.threshold, means = tune_threshold(self.tables)
        self.tables.clear()
        self.tuned_at = self.global_step
        precision, recall, f1, _ = means[THRESHOLDS.index(self.model.threshold)]
        scores = {"precision": precision, "recall": recall, "f1": f1, "threshold": self.model.threshold}
        self.log_dict({f"val_{name}": float(value) for name, value in scores.items()}, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["threshold"] = self.model.threshold

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.model.threshold = checkpoint["threshold"]
        self.plan.start = checkpoint["global_step"]

    def configure_optimizers(self) -> dict[str, Any]:
        recipe, total = self.recipe, len(self.plan)
        optimizer = torch.optim.AdamW(self.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)

        def factor(step: int) -> float:
            if step < recipe.warmup_steps:
                return (step + 1) / recipe.warmup_steps
            progress = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def corrupt(tokens: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose 15 % of the nucleotides; mask 80 % of them, replace 10 % (paper, "Pre-training").

    Replacements are drawn from A, C, G, T and N ("Tokenization"; the section "Pre-training" says the whole
    vocabulary, and the official code for it is not public).

    Parameters
    ----------
    tokens : Tensor
        int64, (B, L).
    generator : torch.Generator
        On the CPU, as the tokens.

    Returns
    -------
    corrupted : Tensor
        int64, (B, L).
    chosen : Tensor
        bool, (B, L); never ``<cls>``, ``<eos>`` or ``<pad>``.
    """
    draw = torch.rand(tokens.shape, generator=generator)
    fate = torch.rand(tokens.shape, generator=generator)
    random = torch.tensor(REPLACEMENTS)[torch.randint(len(REPLACEMENTS), tokens.shape, generator=generator)]
    chosen = (draw < 0.15) & (tokens > MASK)
    corrupted = torch.where(chosen & (fate < 0.8), MASK, tokens)
    return torch.where(chosen & (fate >= 0.9), random, corrupted), chosen


class LanguageHeadTraining(lightning.LightningModule):
    """Fits the language-model head to an encoder that stays as it is, by masked-nucleotide prediction."""

    def __init__(self, model: RiNALMo, *, steps: int, lr: float) -> None:
        super().__init__()
        self.model, self.steps, self.lr = model, steps, lr
        self.generator = torch.Generator().manual_seed(0)
        self.sums = torch.zeros(3, dtype=torch.float64)  # NLL, NLL of the unigram model, number

    def losses(self, batch: list[Structure]) -> tuple[Tensor, Tensor]:
        tokens = tokenize([structure.sequence for structure in batch])
        corrupted, chosen = corrupt(tokens, generator=self.generator)
        corrupted, chosen = corrupted.to(self.device), chosen.to(self.device)
        packing = self.model.packing(corrupted)
        with torch.no_grad():
            packed = self.model.encode(corrupted, packing)
        wanted = chosen[packing.rows, packing.positions]
        targets = tokens.to(self.device)[chosen]
        return F.cross_entropy(self.model.lm_mask_head(packed[wanted]), targets, reduction="none"), targets

    def transfer_batch_to_device(
        self, batch: list[Structure], device: torch.device, _: int
    ) -> list[Structure]:
        return batch

    def training_step(self, batch: list[Structure], _: int) -> Tensor:
        return self.losses(batch)[0].mean()

    def validation_step(self, batch: list[Structure], _: int) -> None:
        losses, targets = self.losses(batch)
        unigram = targets.bincount(minlength=len(VOCABULARY)).double().cpu()
        entropy = -(unigram * (unigram / unigram.sum()).clamp(min=1e-12).log()).sum()
        self.sums += torch.stack((losses.double().sum().cpu(), entropy, unigram.sum()))

    def on_validation_epoch_end(self) -> None:
        nll, unigram, number = self.sums.tolist()
        self.sums.zero_()
        self.log_dict(
            {"val_perplexity": math.exp(nll / number), "val_perplexity_unigram": math.exp(unigram / number)}
        )

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.model.lm_mask_head.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit_language_head(
    model: RiNALMo,
    train: Sequence[Structure],
    validation: Sequence[Structure],
    *,
    steps: int,
    output: Path,
    **trainer_options: Any,
) -> None:
    """Fit the language-model head to the encoder as it is; perplexities go to ``output/language_head``."""
    plan = BatchPlan([len(s) for s in train], max_lengths=(None,) * 99, batch_size=16, seed=0, steps=steps)
    trainer = lightning.Trainer(
        **{
            "max_epochs": 1,
            "num_sanity_val_steps": 0,
            "enable_checkpointing": False,
            "logger": lightning.pytorch.loggers.CSVLogger(output, name="language_head"),
            **trainer_options,
        }
    )
    trainer.fit(
        LanguageHeadTraining(model.eval(), steps=len(plan), lr=2e-3),
        DataLoader(train, batch_sampler=plan, collate_fn=list),
        DataLoader(sorted(validation, key=len), batch_size=16, collate_fn=list),
    )


def finetune(
    recipe: str | Recipe,
    *,
    model: RiNALMo | None = None,
    output: str | os.PathLike,
    seed: int = 0,
    train: Sequence[Structure] | None = None,
    validation: Sequence[Structure] | None = None,
    validate_every: int = 1000,
    checkpoint_every: int = 200,
    **trainer_options: Any,
) -> RiNALMo:
    """Train an encoder with a structure head by a recipe; a run that was stopped goes on where it was.

    Parameters
    ----------
    recipe : str or Recipe
        Name in :data:`rinalmo_kit.recipes.RECIPES`, or a recipe of your own.
    model : RiNALMo, optional
        Start from this model; a structure head is added if it has none. Default: nano, random weights.
    output : path
        Folder for checkpoints and logs (CSV). If it holds a checkpoint, training resumes from it.
    seed : int
        Fixes the initial weights and the order of the data.
    train, validation : sequence of Structure, optional
        Default: the recipe's splits of its dataset.
    validate_every, checkpoint_every : int
        In steps.
    **trainer_options
        Passed to :class:`lightning.Trainer` (``accelerator``, ``devices``, ``precision``, …).

    Returns
    -------
    RiNALMo
        In eval mode, with its tuned ``threshold``; :func:`rinalmo_kit.save` writes it to a file.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    output = Path(output)
    lightning.seed_everything(seed, verbose=False)
    if model is None:
        model = RiNALMo(Config(320, 6, attention_dropout=0.0, residual_dropout=0.0))
    if model.head is None:
        model.head = StructureHead(model.config.dim)
    train = load_structures(recipe.dataset, recipe.train) if train is None else train
    validation = load_structures(recipe.dataset, recipe.validation) if validation is None else validation
    plan = BatchPlan(
        [len(s) for s in train],
        max_lengths=recipe.max_lengths,
        batch_size=recipe.batch_size,
        seed=seed,
        steps=recipe.steps,
    )
    task = StructureTraining(model.train(), recipe, plan)
    trainer = lightning.Trainer(
        **{
            "max_epochs": 1,
            "gradient_clip_val": recipe.gradient_clip,
            "val_check_interval": min(validate_every, len(plan)),
            "num_sanity_val_steps": 0,
            "logger": lightning.pytorch.loggers.CSVLogger(output, name="log"),
            "callbacks": [
                ModelCheckpoint(
                    output,
                    filename="last",
                    every_n_train_steps=checkpoint_every,
                    enable_version_counter=False,
                )
            ],
            **trainer_options,
        }
    )
    training_batches = DataLoader(train, batch_sampler=plan, collate_fn=list)
    validation_batches = DataLoader(sorted(validation, key=len), batch_size=4, collate_fn=list)
    last = output / "last.ckpt"
    with (
        warnings.catch_warnings()
    ):  # Lightning does not know that a BatchPlan starts where the run was stopped
        warnings.filterwarnings("ignore", ".*(your dataloader is not resumable|exists and is not empty).*")
        trainer.fit(
            task, training_batches, validation_batches, ckpt_path=str(last) if last.exists() else None
        )
        if task.tuned_at != trainer.global_step:  # the threshold has to belong to the last weights
            trainer.validate(task, validation_batches, verbose=False)
    if recipe.language_head_steps:
        fit_language_head(
            model, train, validation, steps=recipe.language_head_steps, output=output, **trainer_options
        )
    return model.eval()
