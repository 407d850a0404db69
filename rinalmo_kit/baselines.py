"""What a prediction is compared with: trivial answers, and ViennaRNA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .structure import CANONICAL, Structure, pairs_from_dot_bracket

__all__ = ["BASELINES", "most_pairs", "trivial", "viennarna"]


def most_pairs(sequence: str, *, min_loop: int = 4, name: str = "sequence") -> Structure:
    """Fold into the nested structure with the most canonical pairs (Nussinov): the trivial baseline.

    O(L³) time, O(L²) memory. Of equally good choices the first is taken.

    Examples
    --------
    >>> most_pairs("GGGAAAACCC").dot_bracket
    '(((....)))'
    """
    length = len(sequence)
    best = np.zeros((length + 1, length + 1), dtype=np.int32)  # best[i, j]: pairs in sequence[i:j]
    can = np.array([[a + b in CANONICAL for b in sequence] for a in sequence], dtype=bool).reshape(
        length, length
    )
    for i in range(length - 1, -1, -1):
        best[i] = best[i + 1]
        for k in np.flatnonzero(can[i, i + min_loop :]) + i + min_loop:  # i pairs with k
            best[i, k + 1 :] = np.maximum(best[i, k + 1 :], best[i + 1, k] + 1 + best[k + 1, k + 1 :])
    pairs, stack = [], [(0, length)]
    while stack:
        i, j = stack.pop()
        while i < j and best[i, j] == best[i + 1, j]:
            i += 1
        if i >= j:
            continue
        ks = np.flatnonzero(can[i, i + min_loop : j]) + i + min_loop
        k = next(int(k) for k in ks if best[i + 1, k] + 1 + best[k + 1, j] == best[i, j])
        pairs.append((i, k))
        stack += [(i + 1, k), (k + 1, j)]
    return Structure(sequence, pairs, name)


def viennarna(sequence: str, *, name: str = "sequence") -> Structure:
    """Minimum-free-energy structure by ViennaRNA, if it is installed.

    Raises
    ------
    ImportError
        Says how to install it.
    """
    try:
        import RNA
    except ImportError as error:
        raise ImportError("ViennaRNA is not installed: pip install 'rinalmo-kit[baselines]'") from error
    return Structure(sequence, pairs_from_dot_bracket(RNA.fold(sequence)[0]), name)


BASELINES: dict[str, Callable[..., Structure]] = {"most-pairs": most_pairs, "viennarna": viennarna}


def trivial(task: str, targets: Sequence[Any]) -> Any:
    """Return the best answer that does not look at the sequence: the most frequent class, or the mean.

    Examples
    --------
    >>> trivial("multiclass", ["tRNA", "5S", "tRNA"]), trivial("regression", [1.0, 3.0])
    ('tRNA', 2.0)
    """
    if task == "regression":
        return float(np.mean(targets))
    return Counter(targets).most_common(1)[0][0]
