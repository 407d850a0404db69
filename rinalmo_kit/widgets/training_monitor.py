"""The training monitor: curves of a run's folder while it runs, and afterwards; and a way to stop it."""

from __future__ import annotations

import contextlib
import inspect
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
from .._utils.numbers_given import positive_number
from .._utils.run_log import training_log
from ..metrics import METRIC_NAMES
from ..plot.style import BLUE, GREEN, ORANGE
from ..training.control import PROGRESS, STOP
from .base import LiveWidget, asset, said
from .watching import watch

__all__ = ["TrainingMonitor"]

SHOWN = 600
"""Points of a curve that are sent to the page."""


UNSEEN = 600.0
"""Seconds without a change after which the folder of a monitor that no page shows is left alone."""


class TrainingMonitor(LiveWidget):
    """Watch a run of :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`: loss, rate, validation.

    Show it before the run starts, while it runs in another process, or after its end: all it needs is the folder. In a
    notebook start the run by :meth:`run`: while a cell trains, the page cannot ask for anything. One thread looks
    after all monitors; it ends when each of them is finished, closed, or shown no longer.

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

    offered = ("curves", "folder", "message", "refresh", "result", "run", "state", "step", "steps", "stop")
    _esm = asset("common.js", "monitor.js")
    _css = asset("common.css", "monitor.css")

    title = traitlets.Unicode().tag(sync=True)
    state = traitlets.Unicode("waiting").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    curves: traitlets.List[Any] = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    _view_count = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, folder: str | os.PathLike, *, poll_seconds: float = 1.0) -> None:
        self.folder, self.poll_seconds = user_path(folder), positive_number("poll_seconds", poll_seconds)
        self.next_look = self._changed = time.monotonic()
        self._closed, self._shown, self._wrong, self._seen = False, False, "", None
        self._run: Future[Any] | None = None
        super().__init__(title=self.folder.name, _view_count=0)  # 0: pages count themselves
        self.refresh()
        self.observe(self._watch_again, names="_view_count")
        watch(self)

    def _watch_again(self, change: Any) -> None:
        self._shown = self._shown or bool(change["new"])
        if change["new"]:
            watch(self)

    def is_wanted(self) -> bool:
        """Return whether anybody may still want to see what happens in the folder."""
        if self._closed or (self.state == "finished" and not self._is_running()):
            return False
        if self._is_running() or self._view_count:
            return True
        return not self._shown and time.monotonic() - self._changed < UNSEEN

    def _is_running(self) -> bool:
        return self._run is not None and self._run.running()

    def run(self, train: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Train in the background, so that the notebook, and the button, stay free; :meth:`result` waits for the model.

        Parameters
        ----------
        train : callable
            :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`.
        *arguments, **options
            For it; ``output`` is the monitor's folder, and ``progress`` is False unless it is given: the monitor takes
            the place of a bar and of Lightning's table of layers.

        Raises
        ------
        RuntimeError
            If a run of this monitor is under way.
        """
        if self._is_running():
            raise RuntimeError(f"a run in {self.folder} is under way: stop it, or wait for its result()")
        self._run, self._wrong = Future(), ""
        self._run.set_running_or_notify_cancel()
        quiet = {"progress": False} if "progress" in inspect.signature(train).parameters else {}
        options = quiet | options | {"output": self.folder}
        threading.Thread(
            target=self._train_in_background, args=(self._run, train, arguments, options)
        ).start()
        watch(self)

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
        self._closed = True
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

    def look(self) -> None:
        """Read the folder again if anything in it has changed since, or may be silent by now."""
        found = self._state_of_files()
        if found == self._seen and self.state not in ("running", "silent for a minute"):
            return
        if found != self._seen:
            self._changed = time.monotonic()
        self._seen = found if self.refresh() else None

    def _state_of_files(self) -> Any:
        paths = [self.folder / name for name in (PROGRESS, STOP, "model.safetensors")]
        paths += sorted(self.folder.glob("log/version_*/metrics.csv"))
        state: list[Any] = [self._wrong]
        for path in paths:
            with contextlib.suppress(OSError):
                facts = path.stat()
                state.append((str(path), facts.st_mtime_ns, facts.st_size))
        return state

    def refresh(self) -> bool:
        """Read what the run has written so far and return whether it could be read; what cannot be is said."""
        try:
            self._read_run()
        except Exception as error:  # the next look may find it right again
            self.complain(f"{self.folder} cannot be read: {said(error)}")
            return False
        return True

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
            curve = {"name": column, "label": axis_label(column, log), "color": color}
            found.append({**curve, "steps": points.index.tolist(), "values": points.tolist()})
        beside = log.get("val_perplexity_unigram")
        if score == "val_perplexity" and beside is not None and beside.notna().any():
            found[-1] |= {"level": float(beside.dropna().iloc[-1]), "level_label": "letter frequencies alone"}
        return found

    def static_mimebundle(self) -> dict[str, str]:
        """Return the numbers so far."""
        if self.state == "waiting":
            return {
                "text/plain": f"TrainingMonitor of {self.title!r}: shows the curves of the run, in Jupyter"
            }
        last = ", ".join(f"{c['label']} {c['values'][-1]:.3g}" for c in self.curves if c["values"])
        text = f"TrainingMonitor of {self.title!r}: {self.state}, step {self.step} of {self.steps}. {last}"
        return {"text/plain": text}


def axis_label(column: str, log: Any) -> str:
    """Return the name of a column of a training log in words, with its unit where it has one.

    Examples
    --------
    >>> axis_label("lr", []), axis_label("val_f1", ["val_f1"]), axis_label("train_loss", ["val_perplexity"])
    ('learning rate', 'validation F1', 'training loss (nats a nucleotide)')
    """
    if column == "train_loss":
        return "training loss (nats a nucleotide)" if "val_perplexity" in log else "training loss"
    if column == "lr":
        return "learning rate"
    name = column.removeprefix("val_")
    return f"validation {METRIC_NAMES.get(name, name.replace('_', ' '))}"
