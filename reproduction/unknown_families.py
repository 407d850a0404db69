"""How well the note of ``rk.predict`` tells RNAs of none of the 88 families from those of them.

    python -m reproduction.unknown_families

Known are the 1,015 RNAs of ``data/published/rfam_rnas.csv``, test rows of the table ``rfam88``. Of other families are
the purine riboswitches and let-7 precursors of the package and, where the table ``pretrain_ncrna`` is available, two
RNAs of each family of it that is none of the 88. Random letters are the known RNAs redrawn with the same frequencies of
neighbours.
"""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pandas as pd

import rinalmo_kit as rk
from rinalmo_kit.rna.families import RFAM

MODEL, OTHERS = "pico-ncrna-0", ("purine-riboswitch", "let-7")


def redrawn(sequence: str, seed: int) -> str:
    """Return random letters that follow each other about as often as in a sequence."""
    rng, following = random.Random(seed), defaultdict(list)
    for first, second in pairwise(sequence):
        following[first].append(second)
    letters = [sequence[0]]
    while len(letters) < len(sequence):
        letters.append(rng.choice(following[letters[-1]] or list(sequence)))
    return "".join(letters)


def measured(sequences: list[str]) -> dict[str, float]:
    """Return how many RNAs there are, which share is noted as perhaps unknown, and which is sure of a family."""
    found = rk.predict(sequences, model=MODEL)
    return {
        "RNAs": len(found),
        "noted": float((found["note"] != "").mean()),
        "probability > 0.9": float((found["probability"] > 0.9).mean()),
    }


def sets_of_rnas() -> dict[str, list[str]]:
    """Return the sequences of each set by its name."""
    known = rk.datasets.read_numbers("published/rfam_rnas")["sequence"].tolist()
    examples = rk.read_structures(rk.datasets.EXAMPLES)
    sets = {
        "of the 88 families": known,
        "random letters": [redrawn(sequence, seed) for seed, sequence in enumerate(known)],
        "purine riboswitch, let-7": [s.sequence for s in examples if s.name.split("/")[0] in OTHERS],
    }
    if rk.datasets.available("pretrain_ncrna"):
        table = rk.datasets.load_table("pretrain_ncrna")
        table = table[~table["family"].isin(RFAM) & table["sequence"].str.len().between(16, 300)]
        sets["other families of Rfam"] = table.groupby("family")["sequence"].head(2).tolist()
    return sets


def main() -> None:
    """Print a line for each set of RNAs."""
    table = pd.DataFrame({name: measured(sequences) for name, sequences in sets_of_rnas().items()}).T
    print(table.astype({"RNAs": np.int64}).to_string(float_format="%.2f"))


if __name__ == "__main__":
    main()
