"""Training with Lightning that can be stopped, resumed and repeated exactly."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .._utils.extras import importing, usable
from .._utils.hardware import available_threads
from ..model.rinalmo import Encoder
from ..recipes.recipe import Schedule
from .batch_plan import BatchPlan
from .checkpoints import AtomicCheckpointIO
from .clock import ENDLESS, Clock
from .control import ProgressAndStop
from .finite import FiniteLosses
from .seeds import torch_seed
from .step_bar import StepBar

with importing("lightning", "training needs Lightning: pip install 'rinalmo-kit[training]'"):
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch.optim.lr_scheduler import LRScheduler

__all__ = ["Run", "fit"]


class Run(lightning.LightningModule):
    """A training run over a plan of batches; subclasses add the loss, the validation and :meth:`groups`.

    Batches stay as they come from the plan until the subclass makes tensors of them.

    Parameters
    ----------
    model : Encoder
    plan : BatchPlan
    seed : int
        Random numbers of a step, such as those of dropout, follow from it, the step and the process.
    seconds : float, optional
        End the run after this time in training, which the learning rate then follows; the plan has to be longer.
    """

    def __init__(
        self, model: Encoder, plan: BatchPlan, *, seed: int = 0, seconds: float | None = None
    ) -> None:
        super().__init__()
        self.clock = Clock(seconds) if seconds else None
        self.model, self.plan, self.seed = model, plan, seed
        self.position = 0  # batches taken so far
        self.last: Path | None = None  # checkpoint from which the run is resumed
        self.finite = FiniteLosses()

    def groups(self) -> tuple[list[dict[str, Any]], str, Schedule]:
        """Parameter groups with their peak rates, the name of the optimizer, and the schedule."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        self.plan.rank, self.plan.world = self.global_rank, self.trainer.world_size
        if self.clock is not None and self.plan.world > 1:
            raise ValueError(
                "seconds: a run by the clock is for one process; use steps or epochs with several"
            )

    def on_fit_start(self) -> None:
        self.save_if_stopping()

    def on_train_start(self) -> None:
        if self.clock is not None:
            self.clock.start()

    @property
    def expected_steps(self) -> int:
        """Number of batches of the run; by the clock, what it comes to at the speed so far."""
        if self.clock is None or len(self.plan) < ENDLESS:
            return len(self.plan)
        return max(self.position, int(self.position / self.clock.share) if self.clock.share else 0)

    @property
    def is_over(self) -> bool:
        """Whether all batches were taken, or the time is up."""
        return self.position >= len(self.plan) or (self.clock is not None and self.clock.share >= 1)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        return batch

    def on_train_batch_start(self, batch: Any, _: int) -> None:
        torch.manual_seed(torch_seed(self.seed, self.position, self.global_rank))

    def on_train_batch_end(self, *_: Any) -> None:
        self.position += 1
        if self.clock is not None and self.clock.share >= 1:
            self.trainer.should_stop = True
        self.save_if_stopping()

    def save_if_stopping(self) -> None:
        """Save a checkpoint if `max_time` ends the run here; one of a loop that has ended would not be resumed."""
        if self.trainer.should_stop and not self.is_over and self.last is not None:
            self.trainer.save_checkpoint(self.last)

    def log_finite_loss(self, loss: Tensor, names: Callable[[], Sequence[str]]) -> Tensor:
        """Log a loss and the learning rate; raise FloatingPointError if it is not finite, with the batch's names.

        On a GPU, where nothing waits for the loss, it is raised some steps later, before a checkpoint is written.
        """
        self.finite.add(loss, self.position, names)
        self.log("train_loss", loss, prog_bar=True, batch_size=1)
        self.log_numbers({"lr": float(cast("LRScheduler", self.lr_schedulers()).get_last_lr()[0])})
        return loss

    def log_numbers(self, numbers: Mapping[str, float]) -> None:
        """Log numbers of the CPU; Lightning would copy them to the GPU, and wait."""
        self.log_dict({name: torch.tensor(number) for name, number in numbers.items()})

    def on_train_end(self) -> None:
        self.finite.finish()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.finite.finish()
        # Lightning saves between training_step and on_train_batch_end
        checkpoint["position"] = self.trainer.global_step * self.trainer.accumulate_grad_batches
        checkpoint["threshold"] = self.model.threshold
        if self.clock is not None:
            checkpoint["seconds"] = self.clock.spent

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.position = self.plan.start = checkpoint["position"]
        self.model.threshold = checkpoint["threshold"]
        if self.clock is not None:
            self.clock.before = checkpoint["seconds"]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        groups, name, schedule = self.groups()
        optimizer = make_optimizer(name, groups)
        total = -(-len(self.plan) // self.trainer.accumulate_grad_batches)

        def share_of_peak(step: int) -> float:
            return schedule.factor(step, total=total, over=self.clock.share if self.clock else None)

        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}


def make_optimizer(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make the optimizer of a run; on CUDA one kernel updates many parameters.

    Examples
    --------
    >>> make_optimizer("adamw", [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}]).defaults["fused"] is None
    True
    """
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = bool(parameters) and all(parameter.device.type == "cuda" for parameter in parameters)
    optimizer = make(groups, fused=fused or None)
    if fused:  # Lightning is to unscale float16 gradients before they are clipped, as for any other optimizer
        cast(Any, optimizer)._step_supports_amp_scaling = False
    return optimizer


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
    ema: float | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | None = None,
    **trainer_options: Any,
) -> lightning.Trainer:
    """Train with Lightning; an interrupted run is resumed from ``output/last.ckpt``.

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
    ema : float, optional
        Decay of a moving average of the weights, which is validated and what the run ends with.
    callbacks : sequence
        More callbacks for Lightning.
    progress : bool, optional
        Show one progress bar with the loss and the validation scores, or none; neither shows Lightning's table of
        layers. Default: Lightning's own bar and table.
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
    run.last = last = output / "last.ckpt"
    saving: dict[str, Any] = {"dirpath": output, "enable_version_counter": False}
    every = checkpoint_every or min(200, max(1, len(run.plan) // 10))
    keepers = [ModelCheckpoint(filename="last", every_n_train_steps=every, **saving)]
    if best is not None:
        keepers.append(ModelCheckpoint(filename="best", monitor=best, mode="max", **saving))
    averages: list[Any] = []
    if ema is not None:
        from .averaging import AveragedWeights

        averages.append(AveragedWeights(ema))
    options = {
        "max_epochs": 1,
        "gradient_clip_val": clip,
        "val_check_interval": min(validate_every or len(run.plan), len(run.plan)),
        "num_sanity_val_steps": 0,
        "log_every_n_steps": min(50, max(1, len(run.plan) // 20)),
        "use_distributed_sampler": False,  # the plan shares its batches out itself
        "precision": default_precision(trainer_options.get("accelerator", "auto")),
        "logger": loggers(output),
        "plugins": [AtomicCheckpointIO()],
        "callbacks": [*averages, *keepers, *callbacks, ProgressAndStop(output)],
        **({} if progress is None else {"enable_progress_bar": False, "enable_model_summary": False}),
        **trainer_options,
    }
    if progress:
        options["callbacks"].append(StepBar())
    barred = any(isinstance(one, ProgressBar) for one in options["callbacks"])
    if not barred and gpu(options.get("accelerator", "auto")) and options.get("enable_progress_bar", True):
        options["callbacks"].append(TQDMProgressBar(refresh_rate=20))  # the GPU waits for its numbers
    with silence_lightning(), warnings.catch_warnings():
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
            kept = "resumes from its last checkpoint" if last.exists() else "starts anew: no checkpoint yet"
            raise KeyboardInterrupt(
                f"stopped at step {run.position} of {run.expected_steps}; started again it {kept}"
            ) from None
    if "max_time" in trainer_options and not run.is_over:
        raise TimeoutError(
            f"max_time is over at step {run.position} of {run.expected_steps}; start the same run again to resume"
        )
    return trainer


@contextmanager
def silence_lightning() -> Iterator[None]:
    """Hide the messages of Lightning about devices and advice; warnings and errors are shown."""
    talk = logging.getLogger("lightning.pytorch")
    level = talk.level
    talk.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        talk.setLevel(level)


def gpu(accelerator: object = "auto") -> bool:
    """Tell whether Lightning trains on CUDA with this accelerator."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def loading_processes(workers: int | Literal["auto"], accelerator: object = "auto") -> int:
    """Return how many processes load data: as many as asked for, or none, and up to eight for each GPU.

    Examples
    --------
    >>> loading_processes(3), loading_processes("auto", "cpu")
    (3, 0)
    """
    if workers != "auto":
        return workers
    if not gpu(accelerator):
        return 0
    return min(8, max(1, available_threads() // torch.cuda.device_count() - 1))


def default_precision(accelerator: str = "auto") -> str:
    """Return the fastest precision of a device: bf16 on a recent GPU, fp16 on an older one, else float32."""
    if gpu(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def loggers(output: Path) -> list[Any]:
    """Return the loggers of a run: CSV always, TensorBoard where it is installed."""
    found: list[Any] = [CSVLogger(output, name="log", flush_logs_every_n_steps=1)]
    if usable("tensorboard") and usable("torch.utils.tensorboard", needs=("SummaryWriter",)):
        found.append(TensorBoardLogger(output, name="tensorboard"))
    return found
