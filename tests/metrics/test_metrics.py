"""Structure scores and threshold tuning."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rinalmo_kit.metrics import (
    THRESHOLDS,
    StructureScores,
    mean_scores,
    structure_scores,
    threshold_scores,
    tune_threshold,
)
from rinalmo_kit.rna.decoding import decode, greedy_pairs
from rinalmo_kit.structure import Structure


@st.composite
def pair_lists(draw: st.DrawFn, length: int = 14) -> list[tuple[int, int]]:
    """Pairs of few nucleotides, so that neighbours, multiplets and borders come up often."""
    everything = [(i, j) for i in range(length) for j in range(i + 1, length)]
    return draw(st.lists(st.sampled_from(everything), unique=True, max_size=12))


def by_matrix(target: list, predicted: list, shift: int, length: int = 14) -> tuple[float, float, float]:
    """Scores computed as in the definition: relaxed L × L masks, strict upper triangle."""

    def mask(pairs: list, relax: int) -> np.ndarray:
        result = np.zeros((length, length), dtype=bool)
        for (i, j), d in product(pairs, range(-relax, relax + 1)):
            for a, b in ((i + d, j), (i, j + d)):
                if 0 <= a < b < length:
                    result[a, b] = True
        return result

    def share(of: list, near: list) -> float:
        return float((mask(of, 0) & mask(near, shift)).sum() / max(len(of), 1))

    precision, recall = share(predicted, target), share(target, predicted)
    total = precision + recall
    return precision, recall, 0.0 if total < 1e-5 else 2 * precision * recall / total


def random_case(generator: np.random.Generator, length: int = 40) -> tuple[np.ndarray, str, np.ndarray]:
    p = np.triu(generator.random((length, length)) * 0.4, 1)
    p[:20] = p[:20].round(2)  # thresholds themselves, which only a comparison in one precision gets right
    sequence = "".join(generator.choice(list("ACGU"), length))
    places = generator.permutation(length)[:24].reshape(-1, 2)
    return p + p.T, sequence, places


def test_golden_scores(golden: Path) -> None:
    cases = json.loads((golden / "metrics.json").read_text())
    assert len(cases) == 65
    for case in cases:
        for shift, key in ((1, "flex"), (0, "exact")):
            scores = structure_scores(case["target"], case["pred"], shift=shift)
            assert list(scores[:3]) == case[key], (case["tag"], shift)
            assert scores.inf == np.sqrt(scores.precision * scores.recall)


def test_golden_threshold_tuning(golden: Path) -> None:
    about = json.loads((golden / "index.json").read_text())["files"]["threshold_tuning.npz"]
    arrays = np.load(golden / "threshold_tuning.npz")
    assert list(THRESHOLDS) == about["candidates"]
    tables = []
    for k, case in enumerate(about["structures"]):
        logits = np.zeros((case["L"], case["L"]), dtype=np.float32)
        logits[np.triu_indices(case["L"], 1)] = arrays[f"{k}.logits_triu"]
        p = torch.from_numpy(logits + logits.T).sigmoid()
        p.fill_diagonal_(0)
        pairs, probabilities = greedy_pairs(p, case["seq"], threshold=THRESHOLDS[0])
        tables.append(threshold_scores(case["target"], pairs, probabilities))
        np.testing.assert_array_equal(tables[-1][:, :3], arrays["per_structure"][:, k])
    best, means = tune_threshold(tables)
    assert best == about["best_threshold"] == 0.11
    assert means[:, 2].max() == pytest.approx(about["best_f1"], abs=1e-12)


@given(pair_lists(), pair_lists(), st.sampled_from([0, 1, 2]))
def test_scores_are_those_of_the_definition(target: list, predicted: list, shift: int) -> None:
    assert structure_scores(target, predicted, shift=shift)[:3] == by_matrix(target, predicted, shift)


@given(pair_lists(), pair_lists(), st.sampled_from([0, 1, 2]))
def test_precision_of_one_is_recall_of_the_other(a: list, b: list, shift: int) -> None:
    one, other = structure_scores(a, b, shift=shift), structure_scores(b, a, shift=shift)
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert one.f1 == pytest.approx(other.f1, abs=1e-15)
    assert one.inf == pytest.approx(other.inf, abs=1e-15)


@given(pair_lists(), pair_lists())
def test_tolerance_never_lowers_a_score(target: list, predicted: list) -> None:
    strict, tolerant = (structure_scores(target, predicted, shift=s) for s in (0, 1))
    assert all(a <= b for a, b in zip(strict, tolerant, strict=True))


def test_one_end_may_be_shifted_but_not_both() -> None:
    right_ones = [(5, 20), (4, 20), (6, 20), (5, 19), (5, 21)]
    for pair in [*right_ones, (6, 19), (4, 21), (7, 20), (5, 22)]:
        right = float(pair in right_ones)
        assert structure_scores([(5, 20)], [pair]).f1 == right, pair
        assert structure_scores([(5, 20)], [pair], shift=0).f1 == (pair == (5, 20))


def test_a_shift_does_not_wrap_around() -> None:
    for shift in (1, 2, 3):
        assert structure_scores([(1, 2)], [(0, 13)], shift=shift).f1 == 0
        assert structure_scores([(0, 13)], [(1, 2)], shift=shift).f1 == 0


def test_no_pairs() -> None:
    zero = StructureScores(0.0, 0.0, 0.0, 0.0)
    assert (
        structure_scores([], []) == structure_scores([(0, 9)], []) == structure_scores([], [(0, 9)]) == zero
    )


def test_structures_and_arrays_give_the_same() -> None:
    sequence, target, predicted = "G" * 12, [(0, 11), (1, 10)], [(0, 11), (2, 9)]
    scores = structure_scores(Structure(sequence, target), Structure(sequence, predicted))
    assert scores == structure_scores(np.array(target), [(11, 0), (9, 2)])
    assert scores[:2] == (0.5, 0.5)


def test_structures_of_different_length_are_rejected() -> None:
    long, short = Structure("G" * 12, [], name="ref"), Structure("G" * 11, [], name="mine")
    with pytest.raises(ValueError, match="target 'ref' has 12 nucleotides, prediction 'mine' 11"):
        structure_scores(long, short)


def test_means() -> None:
    scores = [StructureScores(1.0, 0.5, 0.6, 0.7), StructureScores(0.0, 0.5, 0.0, 0.1)]
    assert mean_scores(scores) == pytest.approx((0.5, 0.5, 0.3, 0.4))
    assert mean_scores(scores, lengths=[300, 100]) == pytest.approx((0.75, 0.5, 0.45, 0.55))
    assert isinstance(mean_scores(iter(scores)), StructureScores)
    with pytest.raises(ValueError, match="no scores to average"):
        mean_scores([])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shift", [0, 1])
def test_threshold_scores_equal_a_decode_for_each(dtype: type, shift: int) -> None:
    generator = np.random.default_rng(3)
    for _ in range(10):
        p, sequence, target = random_case(generator)
        p = p.astype(dtype)
        table = threshold_scores(target, *greedy_pairs(p, sequence, threshold=0.01), shift=shift)
        for threshold, row in zip(THRESHOLDS, table, strict=True):
            scores = structure_scores(target, decode(p, sequence, threshold=threshold), shift=shift)
            np.testing.assert_array_equal(row, scores)


def test_threshold_scores_without_pairs() -> None:
    nothing = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32)
    assert not threshold_scores([(0, 9)], *nothing).any()
    pairs, probabilities = np.array([[0, 9]]), np.array([0.2], dtype=np.float32)
    assert not threshold_scores([], pairs, probabilities).any()


def test_of_equal_thresholds_the_lowest_wins() -> None:
    table = np.zeros((4, 4))
    table[[1, 2], 2] = 0.5
    assert tune_threshold([table, table], (0.1, 0.2, 0.3, 0.4))[0] == 0.2
