"""How the rules of decoding were fitted: the mixer, γ, the threshold, and the calibrations of the confidence.

``python -m reproduction.decoding MODEL OUTPUT.safetensors`` folds validation rows, never test rows: VL0, and the
validation families of ``rfam14_9_seed/family_split.csv``, those that the model was trained on and those that it knows
nothing of. It writes the model with its rules, and a table of everything that was tried beside it.
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
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.inference.confidence import Calibration, calibrate, promised_f1
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

OTHERS = ("bprna", "ss_more", "rivas", "newfam", "pseudobase")
"""Tables of training and of test rows: no row of Rfam that is in one of them is a validation row."""

GAMMAS = (2.5, 3.0, 4.0)
GAMMAS_ALONE = (2.5, 3.0, 4.0, 5.0)

POINTS = 12
"""Of each calibration."""

NEW = 5
"""Rows of each family that is new to the model; of the others, one."""

NETWORKS, UNITS = 4, 16
"""The mixer is the mean of so many networks, which are trained on the same pairs from other random weights."""


class Case(NamedTuple):
    """A validation RNA with what both models say of it."""

    target: Structure
    model: NDArray[np.float32]
    energies: NDArray[np.float32]
    expected: float


def validation_rows(number: int) -> dict[str, pd.DataFrame]:
    """Return rows of VL0, of families of Rfam's validation split that are in training rows, and of others."""
    bprna, rfam = load_table("bprna"), load_table("rfam")
    vl0 = bprna[bprna["split"] == "VL0"]
    others = {sequence for table in OTHERS for sequence in load_table(table)["sequence"]}
    rfam = rfam[~rfam["sequence"].isin(others)]
    found = {"VL0": vl0.sample(frac=1, random_state=SEED)}
    rfam = rfam[rfam["split"] == "validation"].sample(frac=1, random_state=SEED)
    rfam = rfam.sort_values("family", kind="stable")  # halves of the rows are then halves of the families
    for name, seen, most in (("known families", "yes", 1), ("new families", "no", NEW)):
        found[name] = rfam[rfam["seen"] == seen].groupby("family").head(most)
    return {
        name: rows[rows["sequence"].str.len().between(16, LONGEST)].head(number)
        for name, rows in found.items()
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


def greedy_calibration(found: list[Case], threshold: float) -> Calibration:
    """Return the calibration of the confidence in the paper's greedy decoding."""
    promised, seen = [], []
    for case in found:
        pairs, _ = greedy_pairs(case.model, case.target.sequence, threshold=threshold)
        made = Structure.from_checked(CleanSequence(case.target.sequence), pairs, "", case.model)
        promised.append(promised_f1(case.model, pairs))
        seen.append(structure_scores(case.target, made).f1)
    return calibrate(np.clip(promised, 0, 1), seen, points=POINTS)


def halves_of(sets: dict[str, list[Case]]) -> list[dict[str, list[Case]]]:
    """Return the first and the second half of each set."""
    return [
        {name: found[: len(found) // 2] for name, found in sets.items()},
        {name: found[len(found) // 2 :] for name, found in sets.items()},
    ]


def together(sets: dict[str, list[Case]]) -> list[Case]:
    """Return the cases of all sets."""
    return [case for found in sets.values() for case in found]


def fit(model: Encoder, *, number: int, energy: str = "viennarna") -> tuple[Decoding, pd.DataFrame]:
    """Return the rules with the highest mean F1 over the validation sets, and the table of all that were tried.

    The model's threshold and calibration, for the paper's decoding, are set on the way.

    What γ and the calibration are chosen by has not been seen by the mixer: each half of the rows is decoded with a
    mixer of the other half. The one that is returned is fitted to all.
    """
    import pandas as pd

    asked = rules_of(model, decoding="mea", energy=energy)
    sets = {name: cases(model, rows, asked, name) for name, rows in validation_rows(number).items()}
    model.threshold = tuned_threshold(sets["VL0"])
    model.calibration = greedy_calibration(together(sets), model.threshold)
    halves = halves_of(sets)
    mixers = [mixer_of(together(half)) for half in reversed(halves)]
    lines = []

    def decoded_by(decoding: Decoding, *, alone: bool) -> dict[str, list[tuple[float, float]]]:
        return {
            name: [
                one
                for half, mixer in zip(halves, mixers, strict=True)
                for one in folds(half[name], decoding.changed(mixer=mixer), alone=alone)
            ]
            for name in sets
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
        points[name] = calibrate(np.clip(promised, 0, 1), seen, points=POINTS)
    return alone.changed(mixer=mixer_of(together(sets)), **points), pd.DataFrame(lines)


def main() -> None:
    """Run ``python -m reproduction.decoding MODEL OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name or file of a structure model")
    parser.add_argument("output", type=Path, help="file of the model with its rules")
    parser.add_argument("--rows", type=int, default=1000, help="of each validation set (default: 1000)")
    options = parser.parse_args()
    model = load(options.model, device="cpu")
    model.info.decoding, table = fit(model, number=options.rows)
    save(model, options.output, dtype=torch.float16)
    with atomic_write(options.output.with_suffix(".csv")) as temporary:
        table.assign(**provenance()).to_csv(temporary, index=False)
    print(table.sort_values("mean").tail(8).to_string(), model.info.decoding, sep="\n")


if __name__ == "__main__":
    main()
