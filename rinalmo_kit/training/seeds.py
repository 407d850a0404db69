"""Seeds of torch's random numbers, from the numbers that a draw depends on."""

from __future__ import annotations

__all__ = ["torch_seed"]


def torch_seed(*numbers: int) -> int:
    """Return a seed for torch, mixed from whole numbers such as seed, step and rank.

    It is Python's hash of the tuple: runs are repeated to the bit as long as that hash stays, as it has since 3.8.

    Examples
    --------
    >>> torch_seed(0, 1, 2) != torch_seed(0, 2, 1)
    True
    """
    return hash(numbers) % 2**63
