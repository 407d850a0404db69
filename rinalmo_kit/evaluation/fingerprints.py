"""Fingerprints of the sequences that the models of the package were trained on, so that a leak is found without them.

``weights/trained_on.npz`` holds a number of 64 bits for each training sequence, and no sequence; ``python -m
reproduction.trained_on`` writes it. A sequence that is not in it has the number of one that is with a probability of
about 2e-15 (of 32,000 numbers in 2⁶⁴).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from ..model.pretrained import WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PATH", "as_compared", "fingerprints", "stored_fingerprints"]

PATH = WEIGHTS / "trained_on.npz"


def as_compared(sequence: str) -> str:
    """Return a sequence in the form in which training and test sequences are compared: upper case, with U.

    Examples
    --------
    >>> as_compared("gat")
    'GAU'
    """
    return sequence.upper().replace("T", "U")


def fingerprints(sequences: Iterable[str]) -> NDArray[np.uint64]:
    """Return the fingerprint of each sequence: the first 64 bits of its BLAKE2b hash.

    Examples
    --------
    >>> one, other, same = fingerprints(["ACGU", "ACGA", "acgt"])
    >>> one == same, one == other
    (np.True_, np.False_)
    """
    found = [blake2b(as_compared(text).encode(), digest_size=8).digest() for text in sequences]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


@cache
def stored_fingerprints() -> dict[str, NDArray[np.uint64]]:
    """Return the fingerprints that come with the package, by what was trained on, as ``str(TrainedOn)`` says it.

    Examples
    --------
    >>> len(stored_fingerprints()["bprna TR0"])
    8568
    """
    with np.load(PATH, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
