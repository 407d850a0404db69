"""Augmentation of structures: homologues with mutated pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch.utils.data import Dataset

from ..recipes.splits import Example
from ..rna.folded import FoldedRNA

__all__ = ["Mutated"]

PAIRS = np.array(["GC", "CG", "AU", "UA", "GU", "UG"])


PAIR_RATES = np.array([0.28, 0.28, 0.17, 0.17, 0.05, 0.05])


class Mutated(Dataset):
    """Dataset indexed by (epoch, number); half of the structures are replaced by a made-up homologue in every epoch.

    Parameters
    ----------
    examples : list of Example
        Those whose target is not a structure stay as they are.
    rate : float
        Share of the base pairs, and of the unpaired nucleotides, that are drawn anew; pairs stay pairs. 0: the
        examples as they are.
    seed : int
    """

    def __init__(self, examples: list[Example], rate: float, seed: int) -> None:
        self.examples, self.rate, self.seed = examples, rate, seed

    def __getitem__(self, item: tuple[int, int]) -> Example:
        epoch, i = item
        example = self.examples[i]
        if not self.rate or not isinstance(example.target, FoldedRNA):
            return example
        rng = np.random.default_rng((self.seed, epoch, i))
        if rng.random() < 0.5:
            return example
        letters = np.array(list(example.sequence))
        pairs = example.target.pairs
        single = np.ones(len(letters), dtype=bool)
        single[pairs] = False
        single &= rng.random(len(letters)) < self.rate
        letters[single] = rng.choice(list("ACGU"), single.sum())
        known = np.isin(np.char.add(letters[pairs[:, 0]], letters[pairs[:, 1]]), PAIRS)
        pairs = pairs[known & (rng.random(len(pairs)) < self.rate)]
        drawn = rng.choice(PAIRS, len(pairs), p=PAIR_RATES).astype("U2")
        letters[pairs] = drawn.view("U1").reshape(-1, 2)
        return dataclasses.replace(example, sequence="".join(letters))
