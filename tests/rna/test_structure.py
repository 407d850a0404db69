"""The Structure object, dot-bracket, and decoding of pair probabilities."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rinalmo_kit as rk
from rinalmo_kit.inference.confidence import expected_f1
from rinalmo_kit.inference.folding import refold
from rinalmo_kit.rna.decoding import decode, greedy_pairs
from rinalmo_kit.rna.pairs import CANONICAL, as_pairs, pairs_from_dot_bracket, to_dot_bracket
from rinalmo_kit.structure import Structure


@st.composite
def matchings(draw: st.DrawFn, max_length: int = 40) -> tuple[int, list[tuple[int, int]]]:
    """A length and pairs between any of its positions, most of them crossing."""
    length = draw(st.integers(0, max_length))
    order = draw(st.permutations(range(length)))
    count = draw(st.integers(0, length // 2))
    return length, [(order[2 * k], order[2 * k + 1]) for k in range(count)]


@st.composite
def probability_matrices(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    """Symmetric probabilities with many ties, and a sequence that also holds T and N."""
    length = draw(st.integers(1, 14))
    values = st.sampled_from([0.0, 0.1, 0.125, 0.25, 0.5, 0.75, 1.0])
    upper = draw(st.lists(values, min_size=length * length, max_size=length * length))
    p = np.triu(np.array(upper, dtype=np.float32).reshape(length, length))
    sequence = draw(st.text("ACGUGCGTN", min_size=length, max_size=length))
    return np.maximum(p, p.T), sequence


def reference_decode(
    p: np.ndarray, sequence: str, threshold: float, *, canonical_only: bool = True, min_loop: int = 4
) -> list[tuple[int, int]]:
    """Take one maximum after another, first in row-major order: the decoder as the paper words it."""
    p = p.copy()
    letters = sequence.replace("T", "U")
    for i in range(len(p)):
        for j in range(len(p)):
            forbidden = abs(i - j) < max(min_loop, 1)
            if forbidden or (canonical_only and letters[i] + letters[j] not in CANONICAL):
                p[i, j] = 0
    p[~(p > np.float32(threshold))] = 0
    pairs = []
    while p.any():
        i, j = np.unravel_index(np.argmax(p), p.shape)
        pairs.append((int(i), int(j)))
        p[[i, j]] = 0
        p[:, [i, j]] = 0
    return sorted(pairs)


def triu_matrix(values: np.ndarray, length: int) -> np.ndarray:
    p = np.zeros((length, length), dtype=np.float32)
    p[np.triu_indices(length, 1)] = values
    return p + p.T


# --- decoding


@pytest.mark.filterwarnings("ignore:lower-case letters never pair")
def test_golden_decode(golden: Path) -> None:
    about = json.loads((golden / "index.json").read_text())["files"]["decode.npz"]
    arrays = np.load(golden / "decode.npz")
    flags = {
        "nc": {"canonical_only": False},
        "sharp": {"min_loop": 1},
        "both": {"canonical_only": False, "min_loop": 1},
    }
    assert len(about["cases"]) == 15
    for case in about["cases"]:
        k, length, sequence = case["case"], case["L"], case["seq"]
        p = triu_matrix(arrays[f"{k}.probs_triu"], length)
        for t, threshold in enumerate(about["thresholds"]):
            pairs = decode(p, sequence, threshold=threshold)
            np.testing.assert_array_equal(pairs, arrays[f"{k}.t{t}.pairs"], err_msg=f"{case} {threshold}")
        for flag, options in flags.items():
            pairs = decode(p, sequence, threshold=about["flag_variants_threshold"], **options)
            np.testing.assert_array_equal(pairs, arrays[f"{k}.{flag}.pairs"], err_msg=f"{case} {flag}")


options_of_decode = st.fixed_dictionaries(
    {"canonical_only": st.booleans(), "min_loop": st.sampled_from([0, 1, 2, 4])}
)
thresholds = st.sampled_from([0.0, 0.1, 0.12, 0.125, 0.3, 0.75])


@given(probability_matrices(), thresholds, options_of_decode)
def test_decode_is_greedy(case: tuple[np.ndarray, str], threshold: float, options: dict) -> None:
    p, sequence = case
    expected = reference_decode(p, sequence, threshold, **options)
    assert decode(p, sequence, threshold=threshold, **options).tolist() == [list(pair) for pair in expected]


@given(probability_matrices(), thresholds)
def test_no_forbidden_pair_is_decoded(case: tuple[np.ndarray, str], threshold: float) -> None:
    p, sequence = case
    pairs = decode(p, sequence, threshold=threshold)
    assert len(np.unique(pairs)) == pairs.size
    for i, j in pairs:
        assert j - i >= 4
        assert (sequence[i] + sequence[j]).replace("T", "U") in CANONICAL
        assert p[i, j] > np.float32(threshold)


@given(probability_matrices(), thresholds)
def test_a_higher_threshold_gives_a_prefix(case: tuple[np.ndarray, str], threshold: float) -> None:
    p, sequence = case
    pairs, values = greedy_pairs(p, sequence, threshold=0.0)
    assert (np.diff(values) <= 0).all()
    assert values.dtype == p.dtype
    np.testing.assert_array_equal(values, p[pairs[:, 0], pairs[:, 1]])
    kept = pairs[: int((values > np.float32(threshold)).sum())]
    assert decode(p, sequence, threshold=threshold).tolist() == sorted(kept.tolist())


def test_the_threshold_itself_is_not_enough() -> None:
    p = triu_matrix(np.full(10, 0.1, dtype=np.float32), 5)
    assert len(decode(p, "GAAAC", threshold=0.1)) == 0  # compared in float32, where both are equal
    assert decode(p, "GAAAC", threshold=0.0999).tolist() == [[0, 4]]
    assert decode(p.astype(np.float64), "GAAAC", threshold=0.1).tolist() == [[0, 4]]  # float32(0.1) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_precision(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(40, 40, generator=generator).to(dtype)
    p = torch.maximum(p, p.T).requires_grad_()
    before = p.detach().clone()
    sequence = "GGCAUGCUAAGCGCUUAGCC" * 2
    pairs, values = greedy_pairs(p, sequence, threshold=0.3)
    as_array = before.double().numpy()  # exact; only the threshold could be rounded differently
    np.testing.assert_array_equal(
        decode(p, sequence, threshold=0.3), reference_decode(as_array, sequence, 0.3)
    )
    np.testing.assert_array_equal(values.astype(np.float64), as_array[pairs[:, 0], pairs[:, 1]])
    assert torch.equal(p, before)
    if dtype is torch.float16:
        assert values.dtype == np.float16


def test_the_input_is_not_modified_and_may_be_read_only() -> None:
    p = triu_matrix(np.linspace(0, 1, 45, dtype=np.float32), 10)
    before = p.copy()
    p.flags.writeable = False
    decode(p, "GGGAAAACCC", threshold=0.1)
    np.testing.assert_array_equal(p, before)


def test_nested_lists_and_integers_are_probabilities() -> None:
    contact = np.zeros((5, 5), dtype=int)
    contact[0, 4] = contact[4, 0] = 1
    assert decode(contact, "GAAAC", threshold=0.5).tolist() == [[0, 4]]
    assert decode(contact.tolist(), "GAAAC", threshold=0.5).tolist() == [[0, 4]]


def test_empty_sequence() -> None:
    assert decode(np.zeros((0, 0)), "", threshold=0.5).shape == (0, 2)


def test_lower_case_never_pairs_and_says_so() -> None:
    p = triu_matrix(np.ones(10, dtype=np.float32), 5)
    with pytest.warns(UserWarning, match="lower-case letters never pair"):
        assert len(decode(p, "gAAAc", threshold=0.5)) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(decode(p, "GAAAC", threshold=0.5)) == 1
        assert len(decode(p, "gaaac", threshold=0.5, canonical_only=False)) == 1


@pytest.mark.parametrize("shape", [(5, 4), (4, 4), (5,), (1, 5, 5)])
def test_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"shape {shape}, but the sequence has 5 nucleotides")):
        decode(np.zeros(shape), "GAAAC", threshold=0.5)


def test_asymmetric_and_nan_are_rejected_with_their_place() -> None:
    p = np.zeros((5, 5))
    p[1, 3], p[3, 1] = 0.5, 0.25
    with pytest.raises(ValueError, match=re.escape("not symmetric, or NaN: p[1, 3] = 0.5, p[3, 1] = 0.25")):
        decode(p, "GAAAC", threshold=0.5)
    for place in ((0, 4), (2, 2)):
        p = np.zeros((5, 5))
        p[place] = p[place[::-1]] = np.nan
        with pytest.raises(ValueError, match=re.escape(f"p[{place[0]}, {place[1]}] = nan")):
            decode(p, "GAAAC", threshold=0.5)
    rounded = np.full((5, 5), 0.3)
    rounded[0, 4] += 1e-9  # a sigmoid of a sum in another order
    assert decode(rounded, "GAAAC", threshold=0.2).tolist() == [[0, 4]]


# --- dot-bracket


def test_golden_dot_bracket(golden: Path) -> None:
    for case in json.loads((golden / "dotbracket.json").read_text()):
        assert pairs_from_dot_bracket(case["db"]).tolist() == sorted(case["pairs"])
        again = to_dot_bracket(case["pairs"], len(case["db"]))
        assert pairs_from_dot_bracket(again).tolist() == sorted(case["pairs"])


@given(matchings())
def test_dot_bracket_round_trip(case: tuple[int, list[tuple[int, int]]]) -> None:
    length, pairs = case
    text = to_dot_bracket(pairs, length)
    assert len(text) == length
    assert text.count(".") == length - 2 * len(pairs)
    np.testing.assert_array_equal(pairs_from_dot_bracket(text), as_pairs(pairs))


@given(st.text("([.", max_size=20))
def test_nested_pairs_need_one_level(text: str) -> None:
    closed = text.replace("[", "(") + "." + ")" * (len(text) - text.count("."))
    assert to_dot_bracket(pairs_from_dot_bracket(closed), len(closed)) == closed


def test_the_long_stem_gets_the_round_brackets() -> None:
    assert to_dot_bracket([(0, 5), (2, 9), (3, 8), (4, 7)], 10) == "[.(((].)))"


def test_thirty_levels_and_no_more() -> None:
    text = to_dot_bracket([(i, i + 30) for i in range(30)], 60)
    assert pairs_from_dot_bracket(text).tolist() == [[i, i + 30] for i in range(30)]
    # adjacent pairs (i, i + n) all cross each other: one level each
    with pytest.raises(ValueError, match=re.escape("'x': pair 31-62 needs more than 30 bracket levels")):
        to_dot_bracket([(i, i + 31) for i in range(31)], 62, name="x")


def test_all_symbols_of_unpaired_nucleotides() -> None:
    assert pairs_from_dot_bracket("(.,:_-~)").tolist() == [[0, 7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((..)", "'x', position 1: '(' is never closed"),
        ("(..))", "'x', position 5: ')' closes nothing"),
        ("(]", "'x', position 2: ']' closes nothing"),
        ("..A.(..)", "'x', position 3: 'A' is never closed"),
        ("(.?)", "'x', position 3: '?' is not a dot-bracket symbol"),
        ("(. )", "'x', position 3: ' ' is not a dot-bracket symbol"),
    ],
)
def test_errors_of_dot_bracket(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pairs_from_dot_bracket(text, name="x")


# --- Structure


def test_structure_is_cleaned_and_sorted() -> None:
    s = Structure("ggg aaaT ccc", [(8, 1), (9, 0)], name="a")
    assert s.sequence == "GGGAAAUCCC"
    assert s.pairs.tolist() == [[0, 9], [1, 8]]
    assert s.pairs.dtype == np.int64
    assert s.dot_bracket == "((......))"
    assert s.partner.tolist() == [9, 8, -1, -1, -1, -1, -1, -1, 1, 0]
    assert len(s) == 10
    assert repr(s) == "<Structure 'a': 10 nt, 2 pairs>"


def test_equality_is_of_sequence_and_pairs() -> None:
    s = Structure("GAAAC", [(0, 4)], name="a")
    assert s == Structure("gaaac", [(4, 0)], name="b", probabilities=np.zeros((5, 5)))
    assert s != Structure("GAAAC", [])
    assert s != Structure("GAAAU", [(0, 4)])
    assert s != "GAAAC"
    with pytest.raises(TypeError):
        hash(s)


@given(matchings())
def test_structure_from_its_own_dot_bracket(case: tuple[int, list[tuple[int, int]]]) -> None:
    length, pairs = case
    s = Structure("N" * length, pairs)
    assert Structure.from_dot_bracket(s.sequence, s.dot_bracket) == s


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 5)], "'x': pair 1-6 lies outside the sequence of 5 nucleotides"),
        ([(-1, 3)], "'x': pair 0-4 lies outside the sequence of 5 nucleotides"),
        ([(2, 2)], "'x': nucleotide 3 is paired with itself"),
        ([(0, 4), (4, 1)], "'x': nucleotide 5 is in two pairs, 1-5 and 2-5"),
        ([(0, 4), (4, 0)], "'x': nucleotide 1 is in two pairs, 1-5 and 1-5"),
        ([0, 4], "'x': pairs must be an (n, 2) array of integers"),
        ([(0.0, 4.0)], "'x': pairs must be an (n, 2) array of integers"),
        ([(0, 1, 2)], "'x': pairs must be an (n, 2) array of integers"),
    ],
)
def test_impossible_pairs(pairs: list, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Structure("GAAAC", pairs, name="x")


def test_mismatched_lengths() -> None:
    with pytest.raises(ValueError, match="'x': the sequence has 5 nucleotides, the dot-bracket 4 symbols"):
        Structure.from_dot_bracket("GAAAC", "(..)", name="x")
    with pytest.raises(
        ValueError, match=re.escape("'x': probabilities have shape (4, 4), the sequence has 5")
    ):
        Structure("GAAAC", [], name="x", probabilities=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="'x', position 2: 'X' is not a nucleotide code"):
        Structure("GXAAC", [], name="x")


def test_the_given_pairs_are_not_changed() -> None:
    pairs = np.array([[8, 1], [9, 0]])
    as_pairs(pairs)
    assert pairs.tolist() == [[8, 1], [9, 0]]
    assert as_pairs([(4, 0), (0, 7)], multiplets=True).tolist() == [[0, 4], [0, 7]]
    assert as_pairs([]).shape == (0, 2)


# --- numbers that are none

BAD_NUMBERS = [
    float("nan"), float("inf"), -float("inf"), -0.1, 1.5, 2, -1, 0.5j, "0.5", "half", None, True, [0.5], np.nan,
    np.array([0.1, 0.2]), np.complex64(0.5), np.bool_(True), torch.tensor(float("nan")), b"1", {}, len,
]  # fmt: skip
BAD_LOOPS = [-1, -(10**30), 2.5, 4.0, float("nan"), float("inf"), "4", None, True, [4], 1j, np.float64(4)]


def known_map() -> Structure:
    p = np.zeros((12, 12), dtype=np.float32)
    p[0, 11] = p[11, 0] = 0.9
    return Structure("GGGGAAAACCCC", [], "known", p)


CALLS = {
    "decode": lambda **rules: decode(known_map().probabilities, "GGGGAAAACCCC", **rules),
    "greedy_pairs": lambda **rules: greedy_pairs(known_map().probabilities, "GGGGAAAACCCC", **rules),
    "refold": lambda **rules: refold(known_map(), **rules),
    "fold": lambda **rules: rk.fold("GGGGAAAACCCC", **rules),
    "fold of nothing": lambda **rules: rk.fold([], **rules),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("threshold", BAD_NUMBERS, ids=repr)
def test_a_threshold_is_a_number_from_0_to_1(call: str, threshold: object) -> None:
    if threshold is None and call not in ("decode", "greedy_pairs"):
        pytest.skip("None stands for the model's")
    with pytest.raises(ValueError, match=r"threshold=.*expected a number from 0 to 1"):
        CALLS[call](threshold=threshold)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("min_loop", BAD_LOOPS, ids=repr)
def test_a_least_loop_is_a_whole_number(call: str, min_loop: object) -> None:
    with pytest.raises(ValueError, match=r"min_loop=.*expected a whole number"):
        CALLS[call](threshold=0.5, min_loop=min_loop)


def test_numbers_of_any_kind_are_numbers() -> None:
    for threshold in (0, 0.5, np.float16(0.5), np.array(0.5), torch.tensor(0.5), np.int8(0)):
        assert refold(known_map(), threshold=threshold, min_loop=np.int8(4)).pairs.tolist() == [[0, 11]]
    assert len(refold(known_map(), threshold=1, min_loop=4).pairs) == 0
    assert len(refold(known_map(), threshold=0, min_loop=10**30).pairs) == 0


def edited(place: tuple[int, int], value: float, *, both: bool = True) -> np.ndarray:
    p = np.full((5, 5), 0.25)
    p[place] = value
    if both:
        p[place[::-1]] = value
    return p


BAD_MAPS = {
    "NaN": edited((0, 4), np.nan),
    "NaN on the diagonal": edited((2, 2), np.nan),
    "infinite": edited((1, 3), np.inf),
    "negative": edited((0, 4), -0.1),
    "above 1": edited((0, 4), 1.5),
    "not symmetric": edited((0, 4), 0.9, both=False),
    "complex": edited((0, 4), 0.5).astype(complex),
    "bool": np.ones((5, 5), dtype=bool),
    "text": np.full((5, 5), "0.5"),
    "objects": np.full((5, 5), None),
    "too small": np.zeros((4, 4)),
    "not square": np.zeros((5, 4)),
    "flat": np.zeros(25),
    "one number": 0.5,
    "tensor": torch.full((5, 5), 7.0),
}


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_what_is_no_map_of_probabilities_is_rejected(kind: str) -> None:
    p = BAD_MAPS[kind]
    for use in (
        lambda: Structure("GAAAC", [], "x", p),
        lambda: decode(p, "GAAAC", threshold=0.5),
        lambda: greedy_pairs(p, "GAAAC", threshold=0.5),
        lambda: expected_f1(p, [(0, 4)]),
    ):
        with pytest.raises(ValueError, match=r"probabilit|lies outside"):
            use()
    with pytest.raises(ValueError, match="'x': "):
        Structure("GAAAC", [], "x", p)


def test_lists_tensors_and_whole_numbers_are_maps() -> None:
    p = edited((0, 4), 1.0)
    for one in (p, p.tolist(), torch.tensor(p), torch.tensor(p, dtype=torch.bfloat16), np.eye(5, dtype=int)):
        s = Structure("GAAAC", [], "x", one)
        assert isinstance(s.probabilities, np.ndarray) and s.probabilities.dtype.kind == "f"


@pytest.mark.parametrize("threshold", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("constrained", [False, True])
def test_refold_is_the_plain_reading_of_its_definition(threshold: float, constrained: bool) -> None:
    """Of the pairs allowed and above the threshold take the most probable, and so on; ties, zeros and ones included."""
    rng = np.random.default_rng(0)
    for length in (1, 2, 7, 20, 20, 20):
        sequence = "".join(rng.choice([*"ACGUN"], length))
        p = np.triu(rng.choice([0, 0.25, 0.5, 0.75, 1], (length, length)).astype(np.float32), 1)
        p += p.T
        force, forbid = [], []
        if constrained and length > 10:
            force, forbid = [(0, length - 1)], [(1, length - 2), (2, 9), (2, 10)]
        found = refold(
            Structure(sequence, [], "x", p), threshold=threshold, min_loop=3, force=force, forbid=forbid
        )
        expected, taken = [*force], {k for pair in force for k in pair}
        allowed = [
            (i, j)
            for i in range(length)
            for j in range(i + 3, length)
            if p[i, j] > threshold
            and (i, j) not in forbid
            and sequence[i] + sequence[j] in ("AU", "UA", "GC", "CG", "GU", "UG")
        ]
        for i, j in sorted(allowed, key=lambda pair: (-p[pair], pair)):
            if not {i, j} & taken:
                expected.append((i, j))
                taken |= {i, j}
        assert [*map(tuple, found.pairs.tolist())] == sorted(expected)
