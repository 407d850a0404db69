"""Small made-up data that a small model can learn, and options that keep Lightning quiet."""

import numpy as np
import torch

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


def tiny(dropout=0.0, blocks=2):
    torch.manual_seed(0)
    return RiNALMo(Config(32, blocks, heads=4, attention_dropout=dropout, residual_dropout=dropout))


def letters(rng, n, p=None):
    return "".join(rng.choice(list("ACGU"), n, p=p))


def hairpins(n, *, seed):
    """Random hairpins: a stem of 4 to 7 pairs around a loop of 4 to 8, in random surroundings."""
    rng = np.random.default_rng(seed)
    structures = []
    for i in range(n):
        stem = letters(rng, rng.integers(4, 8))
        loop, left, right = (letters(rng, rng.integers(*r)) for r in ((4, 9), (0, 9), (0, 9)))
        other = stem[::-1].translate(str.maketrans("ACGU", "UGCA"))
        k, start = len(stem), len(left)
        end = start + 2 * k + len(loop) - 1
        sequence = left + stem + loop + other + right
        structures.append(rk.Structure(sequence, [(start + j, end - j) for j in range(k)], f"hairpin {i}"))
    return structures


COMPOSITION = {"rich": [0.1, 0.4, 0.4, 0.1], "poor": [0.4, 0.1, 0.1, 0.4], "purine": [0.4, 0.1, 0.4, 0.1]}


def classes(n, *, seed, names=("rich", "poor")):
    """A table of sequences whose composition tells their class, and a number: the share of G and C."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    labels = [names[i % len(names)] for i in range(n)]
    sequences = [letters(rng, rng.integers(15, 40), COMPOSITION[label]) for label in labels]
    gc = [sum(c in "GC" for c in s) / len(s) for s in sequences]
    return pd.DataFrame(
        {"id": [f"rna {i}" for i in range(n)], "sequence": sequences, "label": labels, "gc": gc}
    )
