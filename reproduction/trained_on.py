"""Fingerprints of the training sequences of the models in the package: ``python -m reproduction.trained_on``.

Needs the tables; writes ``rinalmo_kit/weights/trained_on.npz``.
"""

from __future__ import annotations

import numpy as np

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.evaluation.fingerprints import PATH, fingerprints
from rinalmo_kit.evaluation.leakage import trained_on, training_rows
from rinalmo_kit.model.pretrained import EMBEDDED, load

__all__ = ["main", "training_fingerprints"]


def training_fingerprints() -> dict[str, np.ndarray]:
    """Return the sorted fingerprints of what each model of the package with a head was trained on."""
    found = {}
    for name in EMBEDDED:
        for what in trained_on(load(name, device="cpu")):
            rows = training_rows(what, load_table(what.dataset))
            found[str(what)] = np.unique(fingerprints(rows["sequence"]))
    return found


def main() -> None:
    """Write the file."""
    with atomic_write(PATH) as temporary, temporary.open("wb") as file:
        np.savez(file, **training_fingerprints())


if __name__ == "__main__":
    main()
