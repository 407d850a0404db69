"""Supervisor of a server: ends it, with all that it has started, when the process that asked for it ends, however.

Run as a script of its own: it waits on a pipe whose other end the other process holds, so that it also learns of an end
by SIGKILL. What the server starts, kernels in sessions of their own too, is known by a variable of the environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

MARK = "RINALMO_KIT_KEEPER"
"""Environment variable by which the processes of a server are known."""


GRACE = 5.0
"""Seconds to end by itself."""


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def keep(folder: str, command: list[str]) -> int:
    """Run a command until it ends or standard input does; then end what it has started and remove a folder."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    over = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: over.set())
    with_parent = _end_with_parent if LIBC else None
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=os.environ | {MARK: mark}, preexec_fn=with_parent
    )
    threading.Thread(target=_wait_for_input_to_end, args=(over,), daemon=True).start()
    try:
        while server.poll() is None and not over.wait(0.1):
            pass
    finally:
        server.terminate()  # it ends its kernels in good order
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE)
        _end_marked(mark)
        shutil.rmtree(folder, ignore_errors=True)
    return server.wait()


def _wait_for_input_to_end(over: threading.Event) -> None:
    sys.stdin.buffer.read()
    over.set()


def _end_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when its parent dies, even by SIGKILL."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGTERM)


def _marked(mark: str) -> list:
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _end_marked(mark: str) -> None:
    """End every process with the mark: asked first, then killed; those that they start meanwhile too."""
    import psutil

    for wait, end in ((2.0, "terminate"), *[(1.0, "kill")] * 5):
        left = _marked(mark)
        for process in left:
            with contextlib.suppress(psutil.Error):
                getattr(process, end)()
        if not left:
            return
        psutil.wait_procs(left, timeout=wait)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
