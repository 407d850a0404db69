"""Long sequences in overlapping windows: where these start, and how their rows become those of the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .batching import TRAINED_LENGTH

__all__ = ["Windowed", "Windows", "as_windows", "averaged"]


class Windowed(np.ndarray):
    """An array that was computed in windows.

    Attributes
    ----------
    windows : tuple of (int, int), or list of these
        First position and the one after the last of each window, from 0; of pooled rows a list with one tuple of
        windows a sequence, empty for a sequence that was computed whole.
    """

    windows: Any = ()

    def __array_finalize__(self, other: Any) -> None:
        self.windows = getattr(other, "windows", ())

    @classmethod
    def of(cls, array: np.ndarray, windows: Any) -> Windowed:
        """Return an array with its windows."""
        found = array.view(cls)
        found.windows = windows
        return found


class Windows(NamedTuple):
    """Length and least overlap of windows, in nucleotides."""

    length: int
    overlap: int

    def of(self, length: int) -> tuple[tuple[int, int], ...]:
        """Return the windows of a sequence, all of one length and evenly spread; none for one that fits into one.

        Examples
        --------
        >>> Windows(100, 20).of(260), Windows(100, 20).of(100)
        (((0, 100), (80, 180), (160, 260)), ())
        """
        if length <= self.length:
            return ()
        number = -(-(length - self.overlap) // (self.length - self.overlap))
        starts = np.linspace(0, length - self.length, number).round().astype(int).tolist()
        return tuple((start, start + self.length) for start in starts)


def as_windows(window: Any, overlap: Any) -> Windows | None:
    """Return the windows that options mean, None for none.

    Examples
    --------
    >>> as_windows(1022, None), as_windows(None, None)
    (Windows(length=1022, overlap=255), None)
    >>> as_windows(100, 100)
    Traceback (most recent call last):
    ValueError: overlap=100: expected a whole number from 0 to 99, less than window=100
    """
    if window is None:
        if overlap is not None:
            raise ValueError(f"overlap={overlap!r}: expected window, too, such as window={TRAINED_LENGTH}")
        return None
    if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 2:
        raise ValueError(f"window={window!r}: expected a whole number of nucleotides from 2 on, or None")
    length = int(window)
    chosen = length // 4 if overlap is None else overlap
    if isinstance(chosen, bool) or not isinstance(chosen, int | np.integer) or not 0 <= chosen < length:
        raise ValueError(
            f"overlap={overlap!r}: expected a whole number from 0 to {length - 1}, less than {window=}"
        )
    return Windows(length, int(chosen))


def averaged(rows: Sequence[Tensor], windows: Sequence[tuple[int, int]]) -> Tensor:
    """Return the rows of a sequence, those of ``<cls>`` and ``<eos>`` included, from the rows of its windows.

    A nucleotide in several windows has the mean of its rows; ``<cls>`` and ``<eos>`` have the mean over all windows.
    """
    total = rows[0].new_zeros(windows[-1][1] + 2, rows[0].shape[1])
    counts = total.new_zeros(len(total), 1)
    for one, (start, end) in zip(rows, windows, strict=True):
        places = torch.cat(
            [torch.tensor([0]), torch.arange(start + 1, end + 1), torch.tensor([len(total) - 1])]
        )
        total[places] += one
        counts[places] += 1
    return total / counts
