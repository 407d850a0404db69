"""Seeds of torch's random numbers, from the numbers that a draw depends on."""

from __future__ import annotations

import numpy as np

__all__ = ["torch_seed"]


def torch_seed(*numbers: int) -> int:
    """Return a seed for torch, mixed from whole numbers that are not negative, such as seed, step and rank.

    Examples
    --------
    >>> torch_seed(0, 1, 2), torch_seed(0, 2, 1)
    (3071860871404845570, 14406252260519237621)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
