"""Pairing probabilities of the nearest-neighbour energy model (ViennaRNA), as something to learn from.

An extension of ours: the paper trains on known structures alone. The energy model knows nothing of families, so what a
network learns from it on unlabelled RNAs holds for unseen ones too; see ``embedded.py`` for what it brings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.hardware import available_threads
from rinalmo_kit._utils.progress import progress_bar
from rinalmo_kit.inference.energies import viennarna_module
from rinalmo_kit.recipes.splits import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LikelyPairs", "likely_pairs", "read_likely_pairs", "with_artificial", "write_likely_pairs"]


class LikelyPairs(NamedTuple):
    """Base pairs with a probability each, to train on in place of a structure.

    Attributes
    ----------
    pairs : ndarray of int64, shape (n, 2)
        0-based, i < j; a nucleotide may be in several.
    values : ndarray of float32, shape (n,)
    """

    pairs: NDArray[np.int64]
    values: NDArray[np.float32]

    def __str__(self) -> str:
        """Return a text that is another one for other pairs: NumPy's takes a millisecond and leaves rows out."""
        return f"{len(self.pairs)} pairs, {zlib.crc32(self.pairs.tobytes() + self.values.tobytes()):08x}"


def likely_pairs(sequence: str, *, least: float = 0.01) -> LikelyPairs:
    """Compute the pairs of at least this probability in the Boltzmann ensemble at 37 °C (McCaskill).

    Raises
    ------
    ImportError
        If ViennaRNA is not installed, or cannot be used; says how to install it, or what is wrong with it.

    Examples
    --------
    >>> found = likely_pairs("GGGGAAAACCCC")
    >>> found.pairs[found.values.argmax()].tolist()
    [2, 9]
    """
    RNA = viennarna_module()
    ensemble = RNA.fold_compound(sequence)
    ensemble.exp_params_rescale(ensemble.mfe()[1])  # else long sequences overflow
    ensemble.pf()
    found = sorted((pair.i - 1, pair.j - 1, pair.p) for pair in ensemble.plist_from_probs(least))
    rows = np.array(found, dtype=np.float64).reshape(-1, 3)
    return LikelyPairs(rows[:, :2].astype(np.int64), rows[:, 2].astype(np.float32))


def with_artificial(records: Iterable[tuple[str, str]], *, seed: int) -> Iterator[tuple[str, str]]:
    """Yield (name, sequence) records and, after every third, a random or a shuffled sequence in turn.

    The energy model folds these too; they belong to no family.

    Examples
    --------
    >>> [name for name, _ in with_artificial([(str(i), "ACGGU") for i in range(6)], seed=0)]
    ['0', '1', '2', 'random 2', '3', '4', '5', 'shuffled 5']
    """
    rng = np.random.default_rng(seed)
    for i, (name, sequence) in enumerate(records):
        yield name, sequence
        if i % 6 == 2:
            gc = rng.uniform(0.3, 0.7) / 2
            letters = rng.choice(list("ACGU"), int(rng.integers(20, 220)), p=[0.5 - gc, gc, gc, 0.5 - gc])
            yield f"random {i}", "".join(letters)
        elif i % 6 == 5:
            yield f"shuffled {i}", "".join(rng.permutation(list(sequence)))


def write_likely_pairs(
    records: Sequence[tuple[str, str]], path: Path, *, processes: int | None = None, progress: bool = False
) -> None:
    """Write a Parquet table of (name, sequence) records with their likely pairs; by default on all cores."""
    import pandas as pd

    processes = processes or available_threads()
    rows = []
    with ProcessPoolExecutor(processes) as pool, progress_bar(len(records), "pairs", shown=progress) as bar:
        found = pool.map(likely_pairs, (sequence for _, sequence in records), chunksize=64)
        for (name, sequence), (pairs, values) in zip(records, found, strict=True):
            rows.append((name, sequence, pairs.ravel().astype(np.int32), values))
            bar.update()
    table = pd.DataFrame(rows, columns=["id", "sequence", "pairs", "values"])
    with atomic_write(path) as temporary:
        table.to_parquet(temporary)


def read_likely_pairs(path: Path) -> Iterable[Example]:
    """Yield the rows of such a table as examples for :func:`rinalmo_kit.finetune`."""
    import pandas as pd

    for row in pd.read_parquet(path).itertuples(index=False):
        pairs = np.array(row.pairs, dtype=np.int64).reshape(
            -1, 2
        )  # copies: what a table gives is not writable
        yield Example(str(row.id), row.sequence, LikelyPairs(pairs, np.array(row.values, dtype=np.float32)))
