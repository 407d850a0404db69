"""Pairing probabilities of the nearest-neighbour energy model, by ViennaRNA or LinearPartition.

The energy model knows no families: what it says holds for RNAs that no network has seen. :func:`rinalmo_kit.fold` mixes
it with what the model says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from .._utils.extras import optional
from ..rna.rules import Energy
from .ensembles import ELSEWHERE, rows_of
from .probing import INTERCEPT, SLOPE, with_reactivity

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PACKAGES", "answering", "energy_probabilities", "viennarna_module"]

PACKAGES = {
    "viennarna": (
        "RNA",
        ("fold_compound",),
        "ViennaRNA is not installed: pip install 'rinalmo-kit[baselines]'",
    ),
    "linearpartition": (
        "linearpartition",
        ("partition",),
        "LinearPartition is not installed: pip install linearpartition-unofficial (Linux, Python 3.11)",
    ),
}
"""Name of a program → its Python module, what is used of it, and how to get it."""

PROGRAMS: dict[Energy, str] = {"viennarna": "ViennaRNA", "linearpartition": "LinearPartition"}

LONGEST = 1200
"""Nucleotides that ViennaRNA's O(L³) ensemble is computed for, in some ten seconds; LinearPartition's is O(L)."""


def energy_module(energy: Energy) -> ModuleType:
    """Import the package of an energy model.

    Raises
    ------
    ImportError
        If it is not installed, or cannot be used; says how to install it, or what is wrong with it.
    """
    module, needs, absent = PACKAGES[energy]
    return optional(module, absent, needs=needs)


def viennarna_module() -> ModuleType:
    """Import ViennaRNA, or raise ImportError as :func:`energy_module` does."""
    return energy_module("viennarna")


@contextmanager
def answering(program: str, package: ModuleType, name: str) -> Iterator[None]:
    """Name the package, and the RNA, where it raises anything or what it gives is not a structure of that RNA."""
    try:
        yield
    except Exception as error:
        place = getattr(package, "__file__", None) or package.__name__
        raise RuntimeError(
            f"{program} ({place}) failed on {name!r}: {type(error).__name__}: {error}"
        ) from error


def energy_probabilities(
    sequence: str,
    energy: Energy,
    *,
    name: str = "sequence",
    reactivity: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Return the pairing probabilities of the Boltzmann ensemble at 37 °C (McCaskill 1990).

    Parameters
    ----------
    sequence : str
        Letters other than A, C, G, U are unpaired.
    energy : {"viennarna", "linearpartition"}
        ViennaRNA computes the ensemble exactly, in O(L³) time; LinearPartition approximates it in O(L).
    name : str
        For errors.
    reactivity : ndarray of float, shape (L,), optional
        NaN where there is none. ViennaRNA adds the pseudo-energies of Deigan et al. to its stacks; what LinearPartition
        gives is shifted afterwards.

    Returns
    -------
    ndarray of float32, shape (L, L)
        Symmetric.

    Raises
    ------
    ImportError
        If the program is not installed, or cannot be used; says how to install it, or what is wrong with it.
    RuntimeError
        If it fails on this sequence.

    Examples
    --------
    >>> p = energy_probabilities("GGGGAAAACCCC", "viennarna")
    >>> int(p[1].argmax()), round(float(p[1, 10]), 1)
    (10, 0.9)
    """
    with answering(PROGRAMS[energy], energy_module(energy), name):
        given = (
            None
            if reactivity is None or energy != "viennarna"
            else tuple(np.nan_to_num(reactivity, nan=-999).tolist())
        )
        i, j, values = _ensemble(sequence.replace("T", "U"), energy, given)
        p = np.zeros((len(sequence), len(sequence)), dtype=np.float32)
        p[i, j] = p[j, i] = values
        if reactivity is not None and given is None:
            return with_reactivity(p, reactivity)
        return p


@lru_cache(maxsize=128)
def _ensemble(
    sequence: str, energy: Energy, reactivity: tuple[float, ...] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs of an ensemble with their probabilities; kept for sequences that are folded again."""
    package = energy_module(energy)
    letters = "".join(letter if letter in "ACGU" else "N" for letter in sequence)
    elsewhere, rows = ELSEWHERE.get(), None
    if elsewhere is not None and reactivity is None:
        rows = elsewhere("rows_of", {"energy": energy, "letters": letters})
    if rows is None:
        given = None if reactivity is None else ([-999.0, *reactivity], SLOPE, INTERCEPT)
        rows = rows_of(package, energy, letters, given)
    found = np.array(rows, dtype=np.float64).reshape(-1, 3)
    i, j = np.sort(found[:, :2].astype(np.int64), axis=1).T
    return i, j, np.clip(found[:, 2], 0, 1).astype(np.float32)
