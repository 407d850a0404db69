"""The check that losses are finite, which does not keep a GPU waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["FiniteLosses"]

BEHIND = 8  # most steps that a check may be behind


class Copied(NamedTuple):
    """A loss on its way from the GPU."""

    loss: Tensor
    arrived: Any  # torch.cuda.Event
    step: int
    names: Callable[[], Sequence[str]]


class FiniteLosses:
    """Raises FloatingPointError for a loss that is not finite, with its step and the names of its batch.

    On a GPU a loss is known when the work in front of it is done. It is copied in line behind that work, and looked at
    some steps later, before a checkpoint is written, or at the end.

    Examples
    --------
    >>> losses = FiniteLosses()
    >>> losses.add(torch.tensor(1.0), 0, lambda: ["first"])
    >>> losses.add(torch.tensor(float("nan")), 1, lambda: ["second"])
    Traceback (most recent call last):
    FloatingPointError: loss is nan at step 1 on ['second']
    """

    def __init__(self) -> None:
        self.waiting: deque[Copied] = deque()

    def add(self, loss: Tensor, step: int, names: Callable[[], Sequence[str]]) -> None:
        """Look at a loss, on a CPU now, on a GPU later; the earlier ones that have arrived are looked at, too."""
        if loss.device.type != "cuda":
            check(loss, step, names)
            return
        self.put(
            loss.detach().to("cpu", non_blocking=True),
            torch.cuda.current_stream().record_event(),
            step,
            names,
        )

    def put(self, loss: Tensor, arrived: Any, step: int, names: Callable[[], Sequence[str]]) -> None:
        """Keep a loss that arrives with an event, and look at those that have arrived."""
        self.waiting.append(Copied(loss, arrived, step, names))
        while self.waiting and (len(self.waiting) > BEHIND or self.waiting[0].arrived.query()):
            self.look()

    def finish(self) -> None:
        """Wait for all losses and look at them."""
        while self.waiting:
            self.look()

    def look(self) -> None:
        loss, arrived, step, names = self.waiting.popleft()
        arrived.synchronize()
        check(loss, step, names)


def check(loss: Tensor, step: int, names: Callable[[], Sequence[str]]) -> None:
    """Raise FloatingPointError unless a loss is finite."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"loss is {loss.item()} at step {step} on {list(names())}")
