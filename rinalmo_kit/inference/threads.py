"""Independent pieces of work on a CPU, each computed by one thread, several at a time.

The matrices of a short RNA are too small for two cores to share: it is faster to let each core have an RNA of its own
(``python -m benchmarks busy``). Long ones, whose maps also take much memory, are computed one by one by all threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

import torch

__all__ = ["LONGEST", "computed_ahead"]

LONGEST = 500
"""Nucleotides of the longest RNA that shares the cores with others."""


Work = TypeVar("Work")
Result = TypeVar("Result")


def computed_ahead(
    compute: Callable[[Work], Result],
    pieces: Iterable[Work],
    sizes: Callable[[Work], int],
    device: torch.device | None,
) -> Iterator[tuple[Work, Callable[[], Result]]]:
    """Yield pieces of work in their order, each with a function that returns its result or raises its error.

    Without gradients, and on a CPU with several threads, the pieces are computed ahead, by as many threads of one core
    each; else when their function is called.

    Parameters
    ----------
    compute : callable
        From a piece to its result.
    pieces : iterable
    sizes : callable
        From a piece to the length of its longest RNA; those above :data:`LONGEST` are computed alone.
    device : torch.device or None
        None: nothing is computed ahead.

    Examples
    --------
    >>> found = computed_ahead(lambda x: x * x, [2, 3], lambda x: x, torch.device("cpu"))
    >>> [(x, result()) for x, result in found]
    [(2, 4), (3, 9)]
    """
    pieces, threads = list(pieces), torch.get_num_threads()
    together = [piece for piece in pieces if sizes(piece) <= LONGEST]
    alone = device is None or device.type != "cpu" or threads < 2 or len(together) < 2
    if alone or not torch.is_inference_mode_enabled() or torch.is_autocast_enabled("cpu"):
        yield from ((piece, partial(compute, piece)) for piece in pieces)
        return

    def work(piece: Work) -> Result:
        with torch.inference_mode():
            return compute(piece)

    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    started: deque[Future[Result]] = deque()
    waiting: Iterator[Work] = iter(together)

    def start() -> None:
        for piece in waiting:
            started.append(pool.submit(copy_context().run, work, piece))
            return

    try:
        for _ in range(2 * threads):
            start()
        for piece in pieces:
            if sizes(piece) > LONGEST:
                yield piece, partial(compute, piece)
            else:
                future = started.popleft()
                start()
                yield piece, future.result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # of threads that are started from now on
