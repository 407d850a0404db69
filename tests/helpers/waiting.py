"""Waits for what another process or a page does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(value: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return the value as soon as it is a true one."""
    deadline = time.monotonic() + seconds
    while not (result := value()):
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(0.05)
    return result
