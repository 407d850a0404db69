"""One thread that looks after all training monitors of a process; it ends when none is left to look after."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .training_monitor import TrainingMonitor

__all__ = ["watch"]

_lock = threading.Lock()
_watched: weakref.WeakSet[TrainingMonitor] = weakref.WeakSet()
_thread: threading.Thread | None = None


def watch(monitor: TrainingMonitor) -> None:
    """Look into the folder of a monitor again and again, as long as its ``is_wanted`` is true."""
    global _thread
    with _lock:
        _watched.add(monitor)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_look_after_all, name="training monitors", daemon=True)
            _thread.start()


def _look_after_all() -> None:
    while (pause := _look_at_all()) is not None:
        time.sleep(pause)


def _look_at_all() -> float | None:
    """Look at every monitor whose time has come; return the seconds to wait, None if no monitor is left.

    No monitor is held in between, so that one that nobody holds can be collected.
    """
    global _thread
    with _lock:
        for monitor in list(_watched):
            if not monitor.is_wanted():
                _watched.discard(monitor)
        found = list(_watched)
        if not found:
            _thread = None
            return None
    for monitor in found:
        if time.monotonic() >= monitor.next_look:
            monitor.look()
            monitor.next_look = time.monotonic() + monitor.poll_seconds
    return max(0.01, min(monitor.next_look for monitor in found) - time.monotonic())
