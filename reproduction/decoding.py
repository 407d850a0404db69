"""How the rules of decoding were fitted: the mixer, γ, and the calibration of the confidence.

``python -m reproduction.decoding MODEL OUTPUT.safetensors`` folds validation rows, never test rows: VL0 for families
that the model knows, and validation families of ``rfam14_9_seed/family_split.csv``, rows that it has not seen. It
writes the model with its rules, and a table of everything that was tried beside it.
"""

from __future__ import annotations

import argparse
import warnings
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
from rinalmo_kit.metrics import THRESHOLDS, structure_scores, threshold_scores, tune_threshold
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.rna.alphabet import CleanSequence, clean
from rinalmo_kit.rna.decoding import greedy_pairs
from rinalmo_kit.rna.mea import allowed
from rinalmo_kit.rna.mixing import Mixer, pair_features, worth_a_look
from rinalmo_kit.rna.rules import Decoding
from rinalmo_kit.structure import Structure

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from rinalmo_kit.model.rinalmo import Encoder

SEED = 0
LONGEST = 350

GAMMAS = (2.5, 3.0, 4.0)
GAMMAS_ALONE = (2.5, 3.0, 4.0, 5.0)

NETWORKS, UNITS = 4, 16
"""The mixer is the mean of so many networks, which are trained on the same pairs from other random weights."""


class Case(NamedTuple):
    """A validation RNA with what both models say of it."""

    target: Structure
    model: NDArray[np.float32]
    energies: NDArray[np.float32]
    expected: float


def validation_rows(number: int) -> dict[str, pd.DataFrame]:
    """Return rows of VL0, and two each of Rfam's validation families that are in no table of training rows."""
    import pandas as pd

    known = load_table("bprna")
    rfam = pd.read_parquet(find_table("rfam14_9_seed"))
    split = pd.read_csv(find_table("rfam14_9_seed").with_name("family_split.csv")).set_index("family")[
        "split"
    ]
    trained = pd.read_parquet(data_dir() / "ss_more" / "ss_more.parquet", columns=["sequence"])["sequence"]
    families = rfam[
        (rfam["family"].map(split) == "validation")
        & ~rfam["sequence"].isin({*known["sequence"], *trained})
        & (rfam["frac_canonical"] >= 0.8)
        & (rfam["dot_bracket"].str.count(r"\(") >= 4)
        & rfam["sequence"].str.len().between(16, LONGEST)
    ]
    families = families.sample(frac=1, random_state=SEED).groupby("family").head(2)
    vl0 = known[(known["split"] == "VL0") & (known["sequence"].str.len() <= LONGEST)]
    return {
        "VL0": vl0.sample(min(number, len(vl0)), random_state=SEED),
        "Rfam families": families.head(number),
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
            own, _ = greedy_pairs(p, text, threshold=0.0)
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
        if not alone and decoding.mixer is not None:
            p = decoding.mixer.mix(allowed(p, text), case.energies, expected=case.expected)
        start = Structure.from_checked(
            CleanSequence(text), np.zeros((0, 2), np.int64), "", p, energy=None if alone else decoding.energy
        )
        made = decoded(start, rules, model=None, source="")
        results.append((promised_f1(p, made.pairs), structure_scores(case.target, made).f1))
    return results


def mixer_of(found: list[Case]) -> Mixer:
    """Fit the network that mixes both probabilities: the mean of some that were stopped early."""
    from sklearn.neural_network import MLPClassifier

    features, paired = [], []
    for case in found:
        model = allowed(case.model, case.target.sequence)
        i, j = worth_a_look(model, case.energies)
        true = np.zeros(model.shape, dtype=bool)
        true[case.target.pairs[:, 0], case.target.pairs[:, 1]] = True
        features.append(pair_features(model, case.energies, i, j, case.expected))
        paired.append(true[i, j])
    x, y = np.concatenate(features), np.concatenate(paired)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    units, bias = [], 0.0
    for seed in range(SEED, SEED + NETWORKS):
        network = MLPClassifier(
            (UNITS,),
            alpha=1e-2,
            max_iter=30,
            random_state=seed,
            early_stopping=True,
            batch_size=1024,
            learning_rate_init=3e-3,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it was not stopped early
            network.fit((x - mean) / scale, y)
        (first, last), (first_bias, last_bias) = network.coefs_, network.intercepts_
        weights = first / scale[:, None]
        units += np.concatenate(
            ((first_bias - mean @ weights)[:, None], weights.T, last / NETWORKS), axis=1
        ).tolist()
        bias += float(last_bias[0]) / NETWORKS
    return Mixer(tuple(tuple(float(f"{number:.5g}") for number in unit) for unit in units), bias)


def tuned_threshold(found: list[Case]) -> float:
    """Return the threshold of the paper's greedy decoding with the highest mean F1 (spec §4.1)."""
    scores = []
    for case in found:
        pairs = greedy_pairs(case.model, case.target.sequence, threshold=THRESHOLDS[0])
        scores.append(threshold_scores(case.target, *pairs))
    return tune_threshold(scores)[0]


def fit(model: Encoder, *, number: int, energy: str = "viennarna") -> tuple[Decoding, pd.DataFrame]:
    """Return the rules with the highest mean F1 over both validation sets, and the table of all that were tried.

    The model's threshold, for the paper's decoding, is tuned on VL0 on the way.

    What γ and the calibration are chosen by has not been seen by the mixer: each half of the rows is decoded with a
    mixer of the other half. The one that is returned is fitted to all.
    """
    import pandas as pd

    asked = rules_of(model, decoding="mea", energy=energy)
    sets = {name: cases(model, rows, asked, name) for name, rows in validation_rows(number).items()}
    model.threshold = tuned_threshold(sets["VL0"])
    halves = [mixer_of([case for found in sets.values() for case in found[1 - half :: 2]]) for half in (0, 1)]
    lines = []

    def decoded_by(decoding: Decoding, *, alone: bool) -> dict[str, list[tuple[float, float]]]:
        return {
            name: [
                one
                for half, mixer in enumerate(halves)
                for one in folds(found[half::2], decoding.changed(mixer=mixer), alone=alone)
            ]
            for name, found in sets.items()
        }

    def score(decoding: Decoding, *, alone: bool) -> float:
        f1 = {
            name: float(np.mean([f for _, f in each]))
            for name, each in decoded_by(decoding, alone=alone).items()
        }
        gamma = decoding.gamma_alone if alone else decoding.gamma
        lines.append(
            {"energy": "" if alone else energy, "gamma": gamma, **f1, "mean": np.mean([*f1.values()])}
        )
        return float(lines[-1]["mean"])

    tried = [Decoding("mea", energy=energy, gamma=gamma) for gamma in GAMMAS]
    best = max(tried, key=lambda decoding: score(decoding, alone=False))
    alone = max((best.changed(gamma_alone=g) for g in GAMMAS_ALONE), key=lambda one: score(one, alone=True))
    points = {}
    for name, is_alone in (("calibration", False), ("calibration_alone", True)):
        pairs = [one for each in decoded_by(alone, alone=is_alone).values() for one in each]
        promised, seen = zip(*pairs, strict=True)
        points[name] = calibrate(np.clip(promised, 0, 1), seen, points=12)
    mixer = mixer_of([case for found in sets.values() for case in found])
    return alone.changed(mixer=mixer, **points), pd.DataFrame(lines)


def main() -> None:
    """Run ``python -m reproduction.decoding MODEL OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name or file of a structure model")
    parser.add_argument("output", type=Path, help="file of the model with its rules")
    parser.add_argument("--rows", type=int, default=600, help="of each validation set (default: 600)")
    options = parser.parse_args()
    model = load(options.model, device="cpu")
    model.info.decoding, table = fit(model, number=options.rows)
    save(model, options.output, dtype=torch.float16)
    with atomic_write(options.output.with_suffix(".csv")) as temporary:
        table.assign(**provenance()).to_csv(temporary, index=False)
    print(table.sort_values("mean").tail(8).to_string(), model.info.decoding, sep="\n")


if __name__ == "__main__":
    main()
