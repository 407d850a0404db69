"""The training monitor: curves of a run's folder while it runs, and afterwards; and a way to stop it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import traitlets

from .._utils.files import user_path
from .._utils.run_log import training_log
from ..plot.style import BLUE, GREEN, ORANGE
from ..training.control import PROGRESS, STOP
from .base import LiveWidget, asset, said

__all__ = ["TrainingMonitor"]

SHOWN = 600
"""Points of a curve that are sent to the page."""


class TrainingMonitor(LiveWidget):
    """Watch a run of :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`: loss, rate, validation.

    Show it before the run starts, while it runs in another process, or after its end: all it needs is the folder. In a
    notebook start the run by :meth:`run`: while a cell trains, the page cannot ask for anything.

    Parameters
    ----------
    folder : path
        The run's ``output``.
    poll_seconds : float
        Seconds between two reads of the folder.

    Examples
    --------
    >>> import tempfile
    >>> monitor = TrainingMonitor(tempfile.mkdtemp())
    >>> monitor.state
    'waiting'
    """

    _esm = asset("common.js", "monitor.js")
    _css = asset("common.css", "monitor.css")

    title = traitlets.Unicode().tag(sync=True)
    state = traitlets.Unicode("waiting").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(self, folder: str | os.PathLike, *, poll_seconds: float = 1.0) -> None:
        self.folder, self.poll_seconds = user_path(folder), poll_seconds
        super().__init__(title=self.folder.name)
        self._end, self._watching, self._wrong = threading.Event(), False, ""
        self._run: Future[Any] | None = None
        self.refresh()
        if self.state != "finished":
            self._start_watching()

    def _start_watching(self) -> None:
        self._watching = True
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, train: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Train in the background, so that the notebook, and the button, stay free; :meth:`result` waits for the model.

        Parameters
        ----------
        train : callable
            :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`.
        *arguments, **options
            For it; ``output`` is the monitor's folder.

        Raises
        ------
        RuntimeError
            If a run of this monitor is under way.
        """
        if self._run is not None and self._run.running():
            raise RuntimeError(f"a run in {self.folder} is under way: stop it, or wait for its result()")
        self._run, self._wrong = Future(), ""
        self._run.set_running_or_notify_cancel()
        threading.Thread(
            target=self._train_in_background,
            args=(self._run, train, arguments, options | {"output": self.folder}),
        ).start()
        if not self._watching:
            self._start_watching()

    def result(self) -> Any:
        """Wait for the run and return its model, or raise what ended it."""
        if self._run is None:
            raise RuntimeError("nothing was run by this monitor")
        return self._run.result()

    def stop(self) -> None:
        """Stop the run after the current step; it keeps a checkpoint, and resumes when it is started again."""
        if not self.folder.is_dir():
            self.message = "there is no run in this folder yet"
            return
        (self.folder / STOP).touch()
        self.message = "asked to stop after this step"

    def close(self) -> None:
        """Stop watching the run."""
        self._end.set()
        super().close()

    def do(self, content: dict[str, Any]) -> None:
        """Stop the run."""
        if content.get("do") == "stop":
            self.stop()

    def complain(self, text: str) -> None:
        """Show what is wrong."""
        self.message = text

    def _train_in_background(
        self, run: Future, train: Callable[..., Any], arguments: Any, options: Any
    ) -> None:
        try:
            run.set_result(train(*arguments, **options))
        except BaseException as error:  # raised where result() is asked for, and shown
            self._wrong = said(error)
            run.set_exception(error)

    def _watch(self) -> None:
        while not self._end.wait(self.poll_seconds):
            self.refresh()
            if self.state == "finished":
                break
        self._watching = False

    def refresh(self) -> None:
        """Read what the run has written so far; what cannot be read is said."""
        try:
            self._read_run()
        except Exception as error:  # the next look may find it right again
            self.complain(f"{self.folder} cannot be read: {said(error)}")

    def _read_run(self) -> None:
        finished = (self.folder / "model.safetensors").exists()
        progress = self.folder / PROGRESS
        try:
            told = json.loads(progress.read_text(encoding="utf-8"))
            age = time.time() - progress.stat().st_mtime
            state = "stopped" if not told["running"] else "running" if age < 60 else "silent for a minute"
            state = "finished" if finished else state
            asked = (self.folder / STOP).exists()
        except (FileNotFoundError, ValueError):  # none yet, or half of one
            told, asked, state = {"step": 0, "steps": 0}, False, "finished" if finished else "waiting"
        with self.hold_sync():
            self.step, self.steps, self.state = int(told["step"]), int(told["steps"]), state
            if not asked:
                self.message = self._wrong
            self.curves = self._curves()

    def _curves(self) -> list[dict[str, Any]]:
        try:
            log = training_log(self.folder)
        except (FileNotFoundError, ValueError, KeyError):  # none yet, or half of a line
            return []
        score = next((c for c in log if c.startswith("val_") and log[c].notna().any()), None)
        found = []
        for column, color in (("train_loss", BLUE), ("lr", GREEN), (score, ORANGE)):
            if column is None or column not in log:
                continue
            points = log[column]
            points = points[np.isfinite(points)]
            points = points.iloc[:: max(1, len(points) // SHOWN)]
            found.append(
                {"name": column, "color": color, "steps": points.index.tolist(), "values": points.tolist()}
            )
        return found

    def static_mimebundle(self) -> dict[str, str]:
        """Return the numbers so far."""
        if self.state == "waiting":
            return {
                "text/plain": f"TrainingMonitor of {self.title!r}: shows the curves of the run, in Jupyter"
            }
        last = ", ".join(f"{c['name']} {c['values'][-1]:.4g}" for c in self.curves if c["values"])
        text = f"TrainingMonitor of {self.title!r}: {self.state}, step {self.step} of {self.steps}. {last}"
        return {"text/plain": text}
