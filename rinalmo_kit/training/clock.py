"""The clock of a run whose length is a time and not a number of steps."""

from __future__ import annotations

import time

__all__ = ["ENDLESS", "Clock"]

ENDLESS = 10**9
"""Steps of a plan that a clock ends."""


class Clock:
    """Seconds that a run has spent in training, over all its starts.

    Parameters
    ----------
    seconds : float
        When the run is over.

    Examples
    --------
    >>> clock = Clock(60)
    >>> clock.spent, clock.share
    (0.0, 0.0)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.before = seconds, 0.0
        self.started: float | None = None

    def start(self) -> None:
        """Begin to count, beside what earlier starts have spent."""
        self.started = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.before + (time.monotonic() - self.started if self.started is not None else 0.0)

    @property
    def share(self) -> float:
        """Part of the run that is over, 0 to 1."""
        return min(1.0, self.spent / self.seconds)
