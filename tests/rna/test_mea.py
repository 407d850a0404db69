"""Maximum-expected-accuracy decoding: exact, nested, and honouring constraints."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinalmo_kit.rna.decoding import greedy_pairs
from rinalmo_kit.rna.mea import allowed, mea_pairs


def random_probabilities(rng, length, *, power=3, crowding=1.0):
    p = np.triu(rng.random((length, length)) ** power, 1)
    p += p.T
    return np.minimum(p / max(1.0, crowding * p.sum(axis=1).max()), 1)


def random_stems(rng, length):
    """Probabilities of random short helices."""
    p = np.zeros((length, length))
    for _ in range(length // 2):
        i, j = sorted(rng.integers(0, length, 2))
        for k in range(min(4, (j - i - 3) // 2)):
            p[i + k, j - k] = p[j - k, i + k] = rng.random()
    return p / max(1, p.sum(axis=1).max() / 2)


def gain_of(p, pairs, gamma):
    """Objective over that of no pair at all."""
    q = np.maximum(0, 1 - p.sum(axis=1))
    return sum(2 * gamma * p[i, j] - q[i] - q[j] for i, j in pairs)


def every_nested(can):
    """All nested structures of a small RNA."""

    @cache
    def within(i, k):
        if i >= k:
            return [()]
        found = list(within(i + 1, k))
        for j in range(i + 1, k):
            if can[i, j]:
                found += [((i, j), *a, *b) for a in within(i + 1, j) for b in within(j + 1, k)]
        return found

    return within(0, len(can))


def stands_alone(pairs):
    pairs = set(map(tuple, pairs))
    return any((i + 1, j - 1) not in pairs and (i - 1, j + 1) not in pairs for i, j in pairs)


def crossing(pairs):
    return [(a, b) for a in pairs for b in pairs if a[0] < b[0] < a[1] < b[1]]


@given(
    st.integers(0, 10**6),
    st.integers(2, 10),
    st.sampled_from([0.3, 1, 2.5, 8]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 4),
)
@settings(max_examples=150)
def test_equals_brute_force(seed, length, gamma, lonely_pairs, canonical_only, min_loop):
    rng = np.random.default_rng(seed)
    sequence = "".join(rng.choice(list("ACGU"), length))
    p = random_probabilities(rng, length, power=rng.choice([1, 3, 6]), crowding=rng.choice([0.5, 1]))
    rules = {"canonical_only": canonical_only, "min_loop": min_loop}
    can = allowed(p, sequence, **rules)
    found = mea_pairs(
        p, sequence, gamma=gamma, pseudoknots="none", lonely_pairs=lonely_pairs, **rules
    ).tolist()
    options = [s for s in every_nested(can > 0) if lonely_pairs or not stands_alone(s)]
    assert gain_of(can, found, gamma) == pytest.approx(max(gain_of(can, s, gamma) for s in options), abs=1e-9)
    assert lonely_pairs or not stands_alone(found)


@pytest.mark.parametrize("length", [30, 80, 200])
@pytest.mark.parametrize("gamma", [1, 3])
def test_is_nested_and_never_worse_than_greedy(length, gamma):
    rng, seen = np.random.default_rng(length), 0
    for _ in range(5):
        sequence = "".join(rng.choice(list("ACGU"), length))
        p = np.minimum(1, random_stems(rng, length))
        found = mea_pairs(p, sequence, gamma=gamma, pseudoknots="none", lonely_pairs=True).tolist()
        assert not crossing(found)
        seen += len(found)
        can = allowed(p, sequence)
        for threshold in (0.1, 0.3, 0.5):
            greedy, _ = greedy_pairs(p, sequence, threshold=threshold)
            kept = []  # what is nested of it, the most probable first
            for pair in greedy.tolist():
                if not crossing([*kept, pair]) and not crossing([pair, *kept]):
                    kept.append(pair)
            assert gain_of(can, found, gamma) >= gain_of(can, kept, gamma) - 1e-9
    assert seen


@pytest.mark.parametrize("gamma", [0.5, 1, 2, 4])
def test_equals_the_structure_of_viennarna(gamma):
    RNA = pytest.importorskip("RNA")
    rng = np.random.default_rng(0)
    for length in (20, 60, 120):
        sequence = "".join(rng.choice(list("ACGU"), length))
        ensemble = RNA.fold_compound(sequence)
        ensemble.pf()
        listed = ensemble.plist_from_probs(1e-5)
        theirs, _ = RNA.MEA_from_plist(listed, sequence, gamma)
        p = np.zeros((length, length))
        for pair in listed:
            p[pair.i - 1, pair.j - 1] = p[pair.j - 1, pair.i - 1] = pair.p
        mine = mea_pairs(
            p, sequence, gamma=gamma, pseudoknots="none", lonely_pairs=True, canonical_only=False
        )
        stack, pairs = [], []
        for position, symbol in enumerate(theirs):
            if symbol == "(":
                stack.append(position)
            elif symbol == ")":
                pairs.append((stack.pop(), position))
        assert gain_of(p, mine.tolist(), gamma) == pytest.approx(gain_of(p, pairs, gamma), abs=1e-4)


def helices(length, *stems):
    p = np.zeros((length, length))
    for i, j, number, value in stems:
        for k in range(number):
            p[i + k, j - k] = p[j - k, i + k] = value
    return p


KNOT = helices(40, (0, 25, 5, 0.9), (10, 36, 4, 0.8), (16, 39, 2, 0.25))


def test_helices_cross_where_they_are_helices():
    def stems(mode):
        return {
            tuple(pair) for pair in mea_pairs(KNOT, "G" * 40, canonical_only=False, pseudoknots=mode).tolist()
        }

    nested = {(k, 25 - k) for k in range(5)}
    assert stems("none") == nested
    assert stems("strong") == nested | {(10 + k, 36 - k) for k in range(4)}
    assert stems("all") == stems("strong") | {(16, 39), (17, 38)}


def test_no_pair_stands_alone():
    p = helices(20, (0, 19, 1, 0.9), (5, 14, 2, 0.6))
    assert mea_pairs(p, "G" * 20, canonical_only=False).tolist() == [[5, 14], [6, 13]]
    assert mea_pairs(p, "G" * 20, canonical_only=False, lonely_pairs=True).tolist() == [
        [0, 19],
        [5, 14],
        [6, 13],
    ]


@pytest.mark.parametrize("pseudoknots", ["none", "strong", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_constraints_are_honoured(pseudoknots, seed):
    rng = np.random.default_rng(seed)
    sequence = "".join(rng.choice(list("ACGU"), 60))
    p = np.minimum(1, random_stems(rng, 60))
    plain = mea_pairs(p, sequence, pseudoknots=pseudoknots, lonely_pairs=True)
    assert len(plain) > 3
    forbidden, free = plain[:2], plain[2:4].ravel()
    taken = {*free.tolist()}
    forced = next(
        [i, j]
        for i in range(60)
        for j in range(59, i, -1)
        if not {i, j} & taken and [i, j] not in plain.tolist()
    )
    found = mea_pairs(
        p,
        sequence,
        pseudoknots=pseudoknots,
        force=[forced],
        forbid=forbidden,
        unpaired=free,
        lonely_pairs=True,
    ).tolist()
    assert forced in found
    assert not [pair for pair in forbidden.tolist() if pair in found]
    assert not taken & {position for pair in found for position in pair}
    assert pseudoknots != "none" or not crossing(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0}, "gamma=0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"gamma": "2"}, "gamma='2'"),
        ({"pseudoknots": "some"}, "expected 'strong', 'all' or 'none'"),
        ({"force": [(0, 9)], "forbid": [(0, 9)]}, "pair 1-10 is both forced and forbidden"),
        ({"force": [(0, 9)], "unpaired": [9]}, "position 10 is both forced to pair and to stay unpaired"),
        ({"force": [(0, 6), (3, 9)], "pseudoknots": "none"}, "forced pairs 1-7 and 4-10 cross"),
        ({"force": [(0, 10)]}, "pair 1-11 lies outside"),
        ({"unpaired": [10]}, "position 11 lies outside"),
        ({"unpaired": [-1]}, "position 0 lies outside"),
        ({"unpaired": [0.5]}, "expected whole numbers"),
        ({"min_loop": 2.5}, "min_loop=2.5"),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        mea_pairs(np.zeros((10, 10)), "G" * 10, **options)


def test_crossing_forced_pairs_are_both_there():
    found = mea_pairs(np.zeros((12, 12)), "A" * 12, force=[(0, 6), (3, 9)])
    assert found.tolist() == [[0, 6], [3, 9]]


@pytest.mark.parametrize("length", [0, 1, 2, 4])
def test_short_ones_have_no_pair(length):
    assert mea_pairs(np.zeros((length, length)), "G" * length).shape == (0, 2)


def test_three_thousand_nucleotides():
    rng = np.random.default_rng(0)
    stems = [(*sorted(rng.integers(0, 3000, 2)), 6, rng.random()) for _ in range(3000)]
    p = helices(3000, *((i, j, min(6, (j - i) // 2), v) for i, j, _, v in stems))
    found = mea_pairs(p, "G" * 3000, canonical_only=False, pseudoknots="none").tolist()
    assert len(found) > 500 and not crossing(found[:400])
