"""The progress bar of a training run, in a terminal or a notebook."""

from __future__ import annotations

import time
from typing import Any

from .._utils.extras import importing
from .._utils.progress import progress_bar

with importing("lightning", "training needs Lightning: pip install 'rinalmo-kit[training]'"):
    import lightning

__all__ = ["StepBar"]

PAUSE = 0.5  # seconds between two looks at the loss, for which a GPU waits
SHOWN = {
    "train_loss": "loss",
    **{f"val_{name}": name for name in ("perplexity", "accuracy", "f1", "r2", "spearman")},
}
"""Numbers that a run logs, and their names beside the bar."""


class StepBar(lightning.Callback):
    """Show one bar of the steps of a run, with the training loss and the last validation scores."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.last_look = 0.0

    def on_train_start(self, trainer: lightning.Trainer, run: Any) -> None:
        self.bar = progress_bar(run.expected_steps, "train", shown=trainer.is_global_zero, unit="step")
        self.bar.update(run.position)

    def on_train_batch_end(self, trainer: lightning.Trainer, run: Any, *_: Any) -> None:
        if trainer.is_global_zero and time.monotonic() - self.last_look > PAUSE:
            self.last_look = time.monotonic()
            self.bar.total = run.expected_steps
            self.show_numbers(trainer)
        self.bar.update(1)

    def show_numbers(self, trainer: lightning.Trainer) -> None:
        """Write the loss and the scores beside the bar, to three digits."""
        numbers = trainer.progress_bar_metrics
        shown = {SHOWN[name]: f"{numbers[name]:.3g}" for name in SHOWN if name in numbers}
        self.bar.set_postfix(shown, refresh=False)

    def on_train_end(self, trainer: lightning.Trainer, run: Any) -> None:
        if trainer.is_global_zero:
            self.show_numbers(trainer)
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
