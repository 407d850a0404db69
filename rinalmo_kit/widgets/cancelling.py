"""Computations that a user can cancel: torch is asked before every operation, other programs run in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

from ..inference import ensembles
from ..inference.energies import PACKAGES

__all__ = ["Cancelled", "cancellable", "run_elsewhere"]

SHORT = 250
"""Nucleotides up to which ViennaRNA is not worth a process: it takes a fifth of a second."""


class Cancelled(BaseException):
    """The user does not want to wait."""


class _Interruptible(TorchFunctionMode):
    """Look before every operation of torch whether it is still wanted; modes are of one thread alone."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.stop.is_set():
            raise Cancelled
        return function(*args, **(kwargs or {}))


@contextmanager
def cancellable(stop: threading.Event) -> Iterator[None]:
    """Raise :class:`Cancelled` in a ``with`` block soon after an event.

    Above :data:`SHORT` nucleotides, energy models compute in a process of their own, which leaves the interpreter to
    the notebook.
    """

    def elsewhere(function: str, arguments: dict[str, Any]) -> Any:
        module = PACKAGES[arguments.get("energy", "viennarna")][0]
        if len(arguments["letters"]) <= SHORT:
            return None
        return run_elsewhere(module, function, arguments, stop)

    token = ensembles.ELSEWHERE.set(elsewhere)
    try:
        with _Interruptible(stop):
            yield
    finally:
        ensembles.ELSEWHERE.reset(token)


def run_elsewhere(module: str, function: str, arguments: dict[str, Any], stop: threading.Event) -> Any:
    """Run a function of :mod:`rinalmo_kit.inference.ensembles` in a process, which a set event ends.

    Raises
    ------
    Cancelled
        If the event is set.
    RuntimeError
        If the process fails, with the last line that it wrote.
    """
    asked = json.dumps({"module": module, "function": function, "arguments": arguments})
    process = subprocess.Popen(
        [sys.executable, "-P", ensembles.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    given: str | None = asked
    try:
        while True:
            if stop.is_set():
                raise Cancelled
            try:
                answer, errors = process.communicate(given, timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                given = None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode:
        raise RuntimeError((errors.strip().splitlines() or [f"it ended with {process.returncode}"])[-1])
    return json.loads(answer)
