"""The files through which a run reports its progress and is asked to stop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from .._utils.extras import importing
from .._utils.files import atomic_write

with importing("lightning", "training needs Lightning: pip install 'rinalmo-kit[training]'"):
    import lightning

__all__ = ["PROGRESS", "STOP", "ProgressAndStop", "Stopped"]

STOP, PROGRESS = "stop", "progress.json"
"""Files in a run's folder: the first, whatever it holds, ends the run after its step; the second says how far it is."""


TOGETHER = 20  # steps after which several GPUs look for the file


class Stopped(RuntimeError):
    """A run was stopped by the file :data:`STOP`; started again it resumes."""


class ProgressAndStop(lightning.Callback):
    """Write the progress of a run, and end it when the file :data:`STOP` appears in its folder."""

    def __init__(self, output: Path) -> None:
        self.output, self.last_write = output, 0.0

    def on_train_start(self, trainer: lightning.Trainer, run: Any) -> None:
        if trainer.is_global_zero:
            (self.output / STOP).unlink(missing_ok=True)  # of an earlier run
        trainer.strategy.barrier()

    def write_progress(self, trainer: lightning.Trainer, run: Any, *, running: bool) -> None:
        """Write the step of the run, and whether it is running, to :data:`PROGRESS`."""
        if trainer.is_global_zero:
            self.last_write = time.monotonic()
            with atomic_write(self.output / PROGRESS) as temporary:
                facts = {"step": run.position, "steps": run.expected_steps, "running": running}
                temporary.write_text(json.dumps(facts))

    def on_train_end(self, trainer: lightning.Trainer, run: Any) -> None:
        self.write_progress(trainer, run, running=False)

    def on_exception(self, trainer: lightning.Trainer, run: Any, exception: BaseException) -> None:
        self.write_progress(trainer, run, running=False)

    def on_train_batch_end(self, trainer: lightning.Trainer, run: Any, *_: Any) -> None:
        if time.monotonic() - self.last_write > 1:
            self.write_progress(trainer, run, running=True)
        if trainer.world_size > 1 and run.device.type == "cuda" and run.position % TOGETHER:
            return  # all processes look at the same steps: to agree, they wait for the GPUs
        if trainer.strategy.reduce_boolean_decision((self.output / STOP).exists(), all=False):
            trainer.save_checkpoint(self.output / "last.ckpt")
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                (self.output / STOP).unlink(missing_ok=True)
            raise Stopped(
                f"stopped at step {run.position} of {run.expected_steps}, as asked; start the same run again to resume"
            )
