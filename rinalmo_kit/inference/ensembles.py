"""What is asked of ViennaRNA and LinearPartition, here or, as a script, in a process of its own that can be ended.

ViennaRNA keeps the lock of Python's interpreter as long as it computes: a notebook would answer nothing meanwhile.
The script imports nothing of this package; it reads a request from standard input and writes the answer, both JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["ELSEWHERE", "mfe", "rows_of"]

Rows = list[tuple[int, int, float]]

LEAST = 1e-4
"""Probabilities below it are taken for 0."""


SHORT = 200
"""Nucleotides whose partition function does not overflow, not even in a helix of G and C alone (-1.7 kcal/mol each)."""


ELSEWHERE: ContextVar[Callable[[str, dict[str, Any]], Any] | None] = ContextVar("elsewhere", default=None)
"""Runs a function of this module with its arguments in another process, or returns None: then it runs in this one."""


def rows_of(
    package: Any, energy: str, letters: str, probed: tuple[list[float], float, float] | None = None
) -> Rows:
    """Return the pairs (i, j, probability) of the ensemble of a sequence of A, C, G, U and N.

    `probed` holds reactivities, slope and intercept, as ViennaRNA's function for them takes them.
    """
    if energy != "viennarna":
        return [(int(i), int(j), float(p)) for i, j, p in package.partition(letters)["bpp"]]
    ensemble = package.fold_compound(letters)
    if probed is not None:
        ensemble.sc_add_SHAPE_deigan(*probed)
    if len(letters) > SHORT:
        ensemble.exp_params_rescale(ensemble.mfe()[1])  # else they overflow
    ensemble.pf()
    return [(pair.i - 1, pair.j - 1, pair.p) for pair in ensemble.plist_from_probs(LEAST)]


def mfe(package: Any, letters: str) -> str:
    """Return the dot-bracket of minimum free energy by ViennaRNA."""
    return package.fold_compound(letters).mfe()[0]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    package = importlib.import_module(asked["module"])
    functions: dict[str, Callable[..., object]] = {"rows_of": rows_of, "mfe": mfe}
    json.dump(functions[asked["function"]](package, **asked["arguments"]), sys.stdout)
