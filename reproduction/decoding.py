"""How the rules of decoding were fitted: weights of the mixture, γ, and the calibration of the confidence.

``python -m reproduction.decoding MODEL OUTPUT.safetensors`` folds validation rows, never test rows: VL0 for families
that the model knows, and validation families of ``rfam14_9_seed/family_split.csv`` of which it has seen no row. It
writes the model with its rules, and a table of everything that was tried beside it.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.progress import progress_bar
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.datasets.loading import data_dir, find_table, load_table
from rinalmo_kit.inference.confidence import calibrate, promised_f1
from rinalmo_kit.inference.decoding import Rules, decoded, energies_of, rules_of
from rinalmo_kit.inference.folding import pair_probabilities
from rinalmo_kit.metrics import structure_scores
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.rna.alphabet import CleanSequence, clean
from rinalmo_kit.rna.decoding import greedy_pairs
from rinalmo_kit.rna.mea import allowed
from rinalmo_kit.rna.rules import Decoding
from rinalmo_kit.structure import Structure

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from rinalmo_kit.model.rinalmo import Encoder

SEED = 0
LONGEST = 350

GRID = {
    "weights": ((0.4, 0.8), (0.5, 0.8), (0.6, 0.8), (0.7, 0.8), (0.8, 0.8), (0.5, 0.85)),
    "between": ((0.25, 0.35), (0.3, 0.4), (0.3, 0.5)),
    "gamma": (2.5, 3.0, 3.5),
}
GAMMAS_ALONE = (2.5, 3.0, 4.0, 5.0)


class Case(NamedTuple):
    """A validation RNA with what both models say of it."""

    target: Structure
    model: NDArray[np.float32]
    energies: NDArray[np.float32]
    expected: float


def validation_rows(number: int) -> dict[str, pd.DataFrame]:
    """Return rows of VL0, and of validation families of Rfam that no training table holds a row of."""
    import pandas as pd

    known = load_table("bprna")
    rfam = pd.read_parquet(find_table("rfam14_9_seed"))
    split = pd.read_csv(find_table("rfam14_9_seed").with_name("family_split.csv")).set_index("family")[
        "split"
    ]
    trained = set(pd.read_parquet(data_dir() / "ss_more" / "ss_more.parquet", columns=["family"])["family"])
    unseen = rfam[
        (rfam["family"].map(split) == "validation")
        & ~rfam["family"].isin(trained)
        & ~rfam["sequence"].isin(set(known["sequence"]))
        & (rfam["frac_canonical"] >= 0.8)
        & (rfam["dot_bracket"].str.count(r"\(") >= 4)
        & rfam["sequence"].str.len().between(16, LONGEST)
    ]
    unseen = unseen.sample(frac=1, random_state=SEED).groupby("family").head(2)
    vl0 = known[(known["split"] == "VL0") & (known["sequence"].str.len() <= LONGEST)]
    return {
        "VL0": vl0.sample(min(number, len(vl0)), random_state=SEED),
        "unseen families": unseen.head(number),
    }


def cases(model: Encoder, table: pd.DataFrame, rules: Rules, label: str) -> list[Case]:
    """Fold the rows of a table by both models."""
    found = []
    with progress_bar(len(table), label, shown=True) as bar:
        for name, sequence, brackets in zip(
            table["id"], table["sequence"], table["dot_bracket"], strict=True
        ):
            text = clean(sequence, name=name)
            p = pair_probabilities(text, model=model)
            energies, _ = energies_of((name, CleanSequence(text)), rules, None)
            if energies is None:
                raise RuntimeError(f"{name}: no energies")
            own, _ = greedy_pairs(p, text, threshold=model.threshold or 0.0)
            target = Structure.from_dot_bracket(text, brackets, name=name)
            found.append(Case(target, p, energies, promised_f1(p, own)))
            bar.update()
    return found


def folds(found: list[Case], decoding: Decoding, *, alone: bool) -> list[tuple[float, float]]:
    """Return the F1 that the probabilities promise and the F1 that is seen, of each RNA, by some rules."""
    rules = Rules(decoding, None if alone else decoding.energy, False, 0.5, True, 4)
    results = []
    for case in found:
        text = case.target.sequence
        p = case.model
        if not alone:
            share = decoding.share(case.expected)
            p = (share * allowed(p, text) + (1 - share) * case.energies).astype(np.float32)
        start = Structure.from_checked(
            CleanSequence(text), np.zeros((0, 2), np.int64), "", p, energy=None if alone else decoding.energy
        )
        made = decoded(start, rules, model=None, source="")
        results.append((promised_f1(p, made.pairs), structure_scores(case.target, made).f1))
    return results


def fit(model: Encoder, *, number: int, energy: str = "viennarna") -> tuple[Decoding, pd.DataFrame]:
    """Return the rules with the highest mean F1 over both validation sets, and the table of all that were tried."""
    import pandas as pd

    asked = rules_of(model, decoding="mea", energy=energy)
    sets = {name: cases(model, rows, asked, name) for name, rows in validation_rows(number).items()}
    lines = []

    def score(decoding: Decoding, *, alone: bool) -> float:
        f1 = {
            name: float(np.mean([f for _, f in folds(found, decoding, alone=alone)]))
            for name, found in sets.items()
        }
        gamma = decoding.gamma_alone if alone else decoding.gamma
        rule = {"weights": "" if alone else decoding.weights, "between": "" if alone else decoding.between}
        lines.append(
            {"energy": "" if alone else energy, "gamma": gamma, **rule, **f1, "mean": np.mean([*f1.values()])}
        )
        return float(lines[-1]["mean"])

    tried = [
        Decoding("mea", energy=energy, weights=w, between=b, gamma=g)
        for w, b, g in itertools.product(*GRID.values())
        if w[0] != w[1] or b == GRID["between"][0]
    ]
    best = max(tried, key=lambda decoding: score(decoding, alone=False))
    alone = max((best.changed(gamma_alone=g) for g in GAMMAS_ALONE), key=lambda one: score(one, alone=True))
    points = {}
    for name, is_alone in (("calibration", False), ("calibration_alone", True)):
        pairs = [one for found in sets.values() for one in folds(found, alone, alone=is_alone)]
        promised, seen = zip(*pairs, strict=True)
        points[name] = calibrate(np.clip(promised, 0, 1), seen, points=12)
    return alone.changed(**points), pd.DataFrame(lines)


def main() -> None:
    """Run ``python -m reproduction.decoding MODEL OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name or file of a structure model")
    parser.add_argument("output", type=Path, help="file of the model with its rules")
    parser.add_argument("--rows", type=int, default=400, help="of each validation set (default: 400)")
    options = parser.parse_args()
    model = load(options.model, device="cpu")
    model.info.decoding, table = fit(model, number=options.rows)
    save(model, options.output, dtype=torch.float16)
    with atomic_write(options.output.with_suffix(".csv")) as temporary:
        table.assign(**provenance()).to_csv(temporary, index=False)
    print(table.sort_values("mean").tail(8).to_string(), model.info.decoding, sep="\n")


if __name__ == "__main__":
    main()
