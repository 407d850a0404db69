"""What every training run shares: a plan of its batches, a seed a step, resuming, and Lightning's trainer.

A run is one long Lightning "epoch" over a plan of batches. Whatever happens at a step depends on the seed and the
number of the step alone, so a run that was killed goes on from its last checkpoint and ends with the weights
that it would have had.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .extras import importing, usable
from .files import whole_file
from .model import Encoder
from .recipes import Schedule
from .run_folders import read_facts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

with importing("lightning", "training needs Lightning: pip install 'rinalmo-kit[training]'"):
    import lightning
    from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

__all__ = [
    "PROGRESS",
    "STOP",
    "BatchPlan",
    "Run",
    "Stopped",
    "Watched",
    "claim",
    "fit",
    "read_checkpoint",
    "shuffled_batches",
]


class BatchPlan:
    """Every batch of a run, epoch after epoch, as a function of the epoch's number alone.

    Parameters
    ----------
    epoch : callable
        Number of an epoch, from 0 → its batches, each a list of what the dataset is asked for.
    epochs : int, optional
        Length of the run.
    steps : int, optional
        Length of the run in batches; the last epoch may be cut. At least one of the two is needed.

    Attributes
    ----------
    start : int
        Number of the batch at which iteration begins; a resumed run starts later.
    rank, world : int
        Of several processes each takes its share of every batch.

    Examples
    --------
    >>> plan = BatchPlan(lambda epoch: [[0, 1], [2]], epochs=2)
    >>> len(plan), list(plan), plan.epoch_at(2)
    (4, [[0, 1], [2], [0, 1], [2]], 1)
    """

    def __init__(
        self,
        epoch: Callable[[int], list[list[Any]]],
        *,
        epochs: int | None = None,
        steps: int | None = None,
    ) -> None:
        self.epoch = epoch
        self.start, self.rank, self.world = 0, 0, 1
        self.first = [0]  # number of the first batch of each epoch seen so far
        if epochs is not None:
            for number in range(epochs):
                self._batches(number)
            steps = self.first[-1] if steps is None else min(steps, self.first[-1])
        if steps is None:
            raise ValueError("a plan needs a number of epochs or of steps")
        self.steps = steps

    def _batches(self, number: int) -> list[list[Any]]:
        batches = self.epoch(number)
        if not batches:
            raise ValueError(f"epoch {number} has no batch: there is nothing to train on")
        if number + 1 == len(self.first):
            self.first.append(self.first[-1] + len(batches))
        return batches

    def epoch_at(self, position: int) -> int:
        """Epoch to which the batch with this number belongs."""
        while self.first[-1] <= position:
            self._batches(len(self.first) - 1)
        return int(np.searchsorted(self.first, position, side="right")) - 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Any]]:
        if self.start >= self.steps:
            return
        first = self.epoch_at(self.start)
        position = self.first[first]
        for number in itertools.count(first):
            for batch in self._batches(number):
                if position >= self.start:
                    yield batch[self.rank :: self.world] or batch[:1]
                position += 1
                if position == self.steps:
                    return


def shuffled_batches(rows: ArrayLike, *, batch_size: int, seed: tuple[int, ...]) -> list[list[int]]:
    """Shuffle rows, by their numbers, into batches.

    Examples
    --------
    >>> sorted(sum(shuffled_batches([0, 2, 5], batch_size=2, seed=(0, 0)), []))
    [0, 2, 5]
    """
    rows = np.random.default_rng(seed).permutation(rows)
    return [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]


class Run(lightning.LightningModule):
    """A training run over a plan of batches; subclasses add the loss, the validation and :meth:`groups`.

    Batches stay as they come from the plan until the subclass makes tensors of them.

    Parameters
    ----------
    model : Encoder
    plan : BatchPlan
    seed : int
        Random numbers of a step, such as those of dropout, follow from it, the step and the process.
    """

    def __init__(self, model: Encoder, plan: BatchPlan, *, seed: int = 0) -> None:
        super().__init__()
        self.model, self.plan, self.seed = model, plan, seed
        self.position = 0  # batches taken so far

    def groups(self) -> tuple[list[dict[str, Any]], str, Schedule]:
        """Parameter groups with their peak rates, the name of the optimizer, and the schedule."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        self.plan.rank, self.plan.world = self.global_rank, self.trainer.world_size

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        return batch

    def on_train_batch_start(self, batch: Any, _: int) -> None:
        torch.manual_seed(hash((self.seed, self.position, self.global_rank)) % 2**63)

    def on_train_batch_end(self, *_: Any) -> None:
        self.position += 1

    def checked(self, loss: Tensor, names: Callable[[], Sequence[str]]) -> Tensor:
        """Log a loss and the learning rate; stop at a loss that is no number, with the names of the batch."""
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} at step {self.position} on {list(names())}")
        self.log("train_loss", loss, prog_bar=True, batch_size=1)
        self.log("lr", self.lr_schedulers().get_last_lr()[0])
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning saves between training_step and on_train_batch_end
        checkpoint["position"] = self.trainer.global_step * self.trainer.accumulate_grad_batches
        checkpoint["threshold"] = self.model.threshold

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.position = self.plan.start = checkpoint["position"]
        self.model.threshold = checkpoint["threshold"]

    def configure_optimizers(self) -> dict[str, Any]:
        groups, name, schedule = self.groups()
        make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
        optimizer = make(groups)
        total = -(-len(self.plan) // self.trainer.accumulate_grad_batches)
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step, total=total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the old one and then renamed.

    Lightning itself writes to the system's temporary folder and copies from there, so that a kill or a full disk
    leaves half a file in place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; raises OSError, with the old one as it was, if there is no room."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process killed while writing
            left_over.unlink(missing_ok=True)
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch turns the system's error into one of its own
            kept = "the one before is as it was" if path.exists() else "there is none before it"
            raise OSError(
                f"the checkpoint {path} could not be written; {kept}. Is the disk full? Make room and start "
                f"the same run again: it goes on from there. ({error})"
            ) from error

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = "cpu",
        weights_only: bool | None = None,  # noqa: FBT001
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling anything but tensors and plain values."""
        return read_checkpoint(Path(path), map_location)


PARTS = ("state_dict", "position", "threshold")


def read_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Return a checkpoint, of which nothing but tensors and plain values is unpickled.

    Raises
    ------
    ValueError
        If it is empty, cut or something else; says what to do.
    """
    try:
        found = torch.load(path, map_location=device, weights_only=True)
        if isinstance(found, dict) and all(part in found for part in PARTS):
            return found
        wrong = "it is no checkpoint of a run"
    except MemoryError:
        raise
    except Exception as error:  # torch, zipfile and pickle raise what they come to
        wrong = str(error).partition("\n")[0][:200] if path.stat().st_size else "it is empty"
    other = path.with_name("best.ckpt")
    if path.name == "best.ckpt":
        remedy = "delete it and start the same run again, which ends with the weights of the last step"
    elif other.exists():
        remedy = f"put {other.name} in its place to resume from there, or delete both to start the run anew"
    else:
        remedy = "delete it to start the run anew"
    raise ValueError(f"the checkpoint {path} is damaged ({wrong}): {remedy}")


def fit(
    run: Run,
    train: DataLoader,
    validation: DataLoader | None,
    *,
    output: Path,
    best: str | None = None,
    validate_every: int | None = None,
    checkpoint_every: int | None = None,
    clip: float | None = None,
    callbacks: Sequence[Any] = (),
    **trainer_options: Any,
) -> lightning.Trainer:
    """Train with Lightning; a run that was stopped goes on from ``output/last.ckpt``.

    Parameters
    ----------
    run : Run
    train, validation : DataLoader
        None for no validation.
    output : path
        Folder for checkpoints and logs (CSV and, where it is installed, TensorBoard).
    best : str, optional
        Validation score; the weights that had the highest are kept in ``output/best.ckpt`` too.
    validate_every, checkpoint_every : int, optional
        In batches; validation by default once, at the end, checkpoints every 200, or ten in a shorter run.
    clip : float, optional
        Norm to which gradients are clipped.
    callbacks : sequence
        More callbacks for Lightning.
    **trainer_options
        Passed to :class:`lightning.Trainer`: ``accelerator``, ``devices``, ``strategy``, ``precision``, …

    Raises
    ------
    ValueError
        For an option that Lightning rejects, or a damaged checkpoint.
    TimeoutError
        If ``max_time`` was given and is over; the checkpoint is kept.
    Stopped
        If somebody asked for it (:data:`STOP`); the checkpoint is of that step.
    """
    if trainer_options.get("logger") is True:  # the loggers there are anyway
        trainer_options.pop("logger")
    last = output / "last.ckpt"
    saving = {"dirpath": output, "enable_version_counter": False}
    every = checkpoint_every or min(200, max(1, len(run.plan) // 10))
    keepers = [ModelCheckpoint(filename="last", every_n_train_steps=every, **saving)]
    if best is not None:
        keepers.append(ModelCheckpoint(filename="best", monitor=best, mode="max", **saving))
    options = {
        "max_epochs": 1,
        "gradient_clip_val": clip,
        "val_check_interval": min(validate_every or len(run.plan), len(run.plan)),
        "num_sanity_val_steps": 0,
        "log_every_n_steps": min(50, max(1, len(run.plan) // 20)),
        "use_distributed_sampler": False,  # the plan shares its batches out itself
        "precision": default_precision(trainer_options.get("accelerator", "auto")),
        "logger": loggers(output),
        "plugins": [WholeCheckpoints()],
        "callbacks": [*keepers, *callbacks, Watched(output)],
        **trainer_options,
    }
    with quiet(), warnings.catch_warnings():
        try:
            trainer = lightning.Trainer(**options)
        except (TypeError, ValueError, AttributeError, MisconfigurationException) as error:
            given = ", ".join(f"{name}={value!r}" for name, value in trainer_options.items())
            raise ValueError(f"Lightning rejects these options ({given}): {error}") from error
        # Lightning does not know that a BatchPlan starts where the run was stopped
        warnings.filterwarnings("ignore", ".*(dataloader is not resumable|exists and is not empty).*")
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated.*")  # Lightning's own use of torch
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # scores are of all rows on every process
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(run, train, validation, ckpt_path=str(last) if last.exists() else None)
        except MisconfigurationException as error:
            raise ValueError(f"Lightning: {error}") from error
        except SystemExit as error:  # what Lightning makes of Ctrl-C, having switched Ctrl-C off
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, handler)
            kept = "goes on from its last checkpoint" if last.exists() else "begins anew: no checkpoint yet"
            raise KeyboardInterrupt(
                f"stopped at step {run.position} of {len(run.plan)}; started again it {kept}"
            ) from None
    if "max_time" in trainer_options and run.position < len(run.plan):
        trainer.save_checkpoint(last)
        raise TimeoutError(
            f"max_time is over at step {run.position} of {len(run.plan)}; start the same run again to go on"
        )
    return trainer


STOP, PROGRESS = "stop", "progress.json"
"""Files in a run's folder: the first, whatever it holds, ends the run after its step; the second says how far it is."""


class Stopped(RuntimeError):
    """A run was ended because somebody asked for it; started again it goes on."""


class Watched(lightning.Callback):
    """Say how far a run is, and end it when the file :data:`STOP` appears in its folder."""

    def __init__(self, output: Path) -> None:
        self.output, self.told = output, 0.0

    def on_train_start(self, trainer: lightning.Trainer, run: Any) -> None:
        if trainer.is_global_zero:
            (self.output / STOP).unlink(missing_ok=True)  # of an earlier run
        trainer.strategy.barrier()

    def tell(self, trainer: lightning.Trainer, run: Any, *, running: bool) -> None:
        """Write down how far the run is."""
        if trainer.is_global_zero:
            self.told = time.monotonic()
            with whole_file(self.output / PROGRESS) as temporary:
                facts = {"step": run.position, "steps": len(run.plan), "running": running}
                temporary.write_text(json.dumps(facts))

    def on_train_end(self, trainer: lightning.Trainer, run: Any) -> None:
        self.tell(trainer, run, running=False)

    def on_exception(self, trainer: lightning.Trainer, run: Any, exception: BaseException) -> None:
        self.tell(trainer, run, running=False)

    def on_train_batch_end(self, trainer: lightning.Trainer, run: Any, *_: Any) -> None:
        if time.monotonic() - self.told > 1:
            self.tell(trainer, run, running=True)
        if trainer.strategy.reduce_boolean_decision((self.output / STOP).exists(), all=False):
            trainer.save_checkpoint(self.output / "last.ckpt")
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                (self.output / STOP).unlink(missing_ok=True)
            raise Stopped(
                f"stopped at step {run.position} of {len(run.plan)}, as asked; start the same run again to go on"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Lightning says of its own accord (devices, advice) off the screen; warnings and errors stay."""
    talk = logging.getLogger("lightning.pytorch")
    level = talk.level
    talk.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        talk.setLevel(level)


def claim(output: Path, facts: dict[str, Any]) -> None:
    """Note in ``output/run.json`` what is run there; refuse a folder that holds another run.

    Raises
    ------
    ValueError
        Lists what differs, or says that the note is damaged.
    """
    path = output / "run.json"
    facts = json.loads(json.dumps(facts, default=str))
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return
    old = read_facts(
        path, remedy="delete this file to resume the run, if it is this one, or choose another folder"
    )
    old, facts = _flat(old), _flat(facts)
    differs = [key for key in sorted(old.keys() | facts.keys()) if old.get(key) != facts.get(key)]
    if differs:
        lines = "\n".join(
            "  data: other training rows there than asked for"
            if key == "data"
            else f"  {key}: {old.get(key)!r} there, {facts.get(key)!r} asked for"
            for key in differs
        )
        raise ValueError(
            f"{output} holds another run; choose another folder, or delete it to start anew\n{lines}"
        )


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with those of a recipe among the others."""
    inner = facts.get("recipe")
    return {**inner, **facts, "recipe": inner.get("name")} if isinstance(inner, dict) else facts


def default_precision(accelerator: str = "auto") -> str:
    """Precision that a device is good at: bf16 on a recent GPU, fp16 on an older one, else float32."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def loggers(output: Path) -> list[Any]:
    """CSV always; TensorBoard where it is installed."""
    found: list[Any] = [CSVLogger(output, name="log", flush_logs_every_n_steps=1)]
    if usable("tensorboard") and usable("torch.utils.tensorboard", needs=("SummaryWriter",)):
        found.append(TensorBoardLogger(output, name="tensorboard"))
    return found
