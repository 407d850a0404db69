"""Class balance and boundary noise of ncRNA tables."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["boundary_noise", "resample", "with_boundary_noise"]

SEED = 42
"""Random state of the official data preparation."""


def boundary_noise(sequence: str, percent: float, rng: np.random.Generator) -> str:
    """Add random flanks to both sides of a sequence; they have its dinucleotide frequencies.

    The sequence is cut into consecutive dinucleotides (an odd last nucleotide stays alone), and
    ``int(0.25 · L · percent / 100)`` of them are drawn with replacement for each side. At 200 % each side
    is about as long as the sequence (spec §5, ncRNA; the procedure of ncrna-deep).

    Parameters
    ----------
    sequence : str
    percent : float
        Noise in percent of the sequence's length, both sides together.
    rng : numpy.random.Generator

    Examples
    --------
    >>> noisy = boundary_noise("GGAUCC", 200, np.random.default_rng(0))
    >>> len(noisy), "GGAUCC" in noisy
    (18, True)
    >>> boundary_noise("GGAUCC", 0, np.random.default_rng(0))
    'GGAUCC'
    """
    if percent < 0:
        raise ValueError(f"noise is a percentage of the length, not {percent}")
    pieces = [sequence[i : i + 2] for i in range(0, len(sequence), 2)]
    count = int(0.25 * len(sequence) * percent / 100)
    if not count:
        return sequence
    left, right = ("".join(pieces[i] for i in rng.integers(len(pieces), size=count)) for _ in range(2))
    return left + sequence + right


def with_boundary_noise(table: pd.DataFrame, percent: float) -> pd.DataFrame:
    """Return the table with :func:`boundary_noise` on every sequence, the same in every run.

    The seed of a row comes from its id and from how often that id came before, so the copies that
    :func:`resample` makes get flanks of their own, as in the official preparation.
    """
    rows = zip(table["id"], table.groupby("id").cumcount(), table["sequence"], strict=True)
    noisy = [
        boundary_noise(sequence, percent, np.random.default_rng(zlib.crc32(f"{name} {copy}".encode())))
        for name, copy, sequence in rows
    ]
    return table.assign(sequence=noisy)


def resample(table: pd.DataFrame) -> pd.DataFrame:
    """Balance the classes as the official preparation does: the order of rows is by class.

    Training rows of every class are drawn with replacement, three times the size of the smallest class;
    validation rows of a class are capped at that number; test rows stay as they are (spec §5, ncRNA:
    random state 42; the paper says the validation set is drawn with replacement too). Classes come in the
    order of their number of training rows, largest first: the label ids of the official models.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns label and split (train, val, test).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"label": list("aaabbb"), "split": ["train", "train", "val"] + ["train", "val", "val"]})
    >>> resample(table).groupby(["split", "label"]).size().to_dict()
    {('train', 'a'): 3, ('train', 'b'): 3, ('val', 'a'): 1, ('val', 'b'): 2}
    """
    import pandas as pd

    sizes = table.loc[table["split"] == "train", "label"].value_counts()
    if sizes.empty:
        raise ValueError("there are no training rows to balance")
    target, parts = 3 * int(sizes.min()), []
    groups = dict(iter(table.groupby(["split", "label"])))
    for split in ("train", "val", "test"):
        for label in sizes.index:
            rows = groups.get((split, label))
            if rows is None:
                continue
            if split == "train":
                rows = rows.sample(n=target, replace=True, random_state=SEED)
            elif split == "val" and len(rows) >= target:
                rows = rows.sample(n=target, replace=False, random_state=SEED)
            parts.append(rows)
    return pd.concat(parts, ignore_index=True)
