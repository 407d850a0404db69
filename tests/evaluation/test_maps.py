"""Maps of embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from rinalmo_kit.evaluation.embedding_maps import embedding_scores, standardised, tsne_map


@pytest.fixture(scope="module")
def groups():
    """Three groups of vectors, of other places and scales, and their names."""
    rng = np.random.default_rng(0)
    labels = np.repeat(list("abc"), 40)
    centres = rng.normal(size=(3, 16)) * 8
    vectors = np.concatenate([centre + rng.normal(size=(40, 16)) for centre in centres])
    return vectors * rng.uniform(0.1, 100, 16) + 50, labels


def nearest(places, others):
    return np.linalg.norm(places[:, None] - others, axis=2).argmin(1)


def test_groups_stay_together_and_new_ones_find_theirs(groups):
    vectors, labels = groups
    new = np.arange(len(labels)) % 4 == 3
    made = tsne_map(vectors[~new])
    assert made.coordinates.shape == (90, 2)
    before = made.coordinates.copy()
    placed = made.place(vectors[new])
    assert np.array_equal(before, made.coordinates)
    assert (labels[~new][nearest(placed, made.coordinates)] == labels[new]).all()


def test_old_vectors_are_placed_where_they_are(groups):
    """openTSNE moves a map to its middle before it places anything: coordinates must know of that."""
    vectors, _ = groups
    made = tsne_map(vectors)
    span = np.ptp(made.coordinates, axis=0).max()
    assert np.median(np.linalg.norm(made.place(vectors) - made.coordinates, axis=1)) < 0.05 * span


def test_the_same_map_every_time(groups):
    assert np.array_equal(tsne_map(groups[0]).coordinates, tsne_map(groups[0]).coordinates)


def test_bad_vectors_are_named(groups):
    vectors, _ = groups
    with pytest.raises(ValueError, match="4 vectors: a map needs five"):
        tsne_map(vectors[:4])
    with pytest.raises(ValueError, match=r"shape \(16,\)"):
        tsne_map(vectors[0])
    bad = vectors.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match="vector 7"):
        tsne_map(bad)
    with pytest.raises(ValueError, match="15 wide; those of the map are 16"):
        tsne_map(vectors).place(vectors[:, :15])


def test_standardised_vectors_keep_the_scale_of_others(groups):
    vectors, _ = groups
    assert np.allclose(np.linalg.norm(standardised(vectors), axis=1), 1)
    assert np.allclose(standardised(vectors[:5], like=vectors), standardised(vectors)[:5])
    assert embedding_scores(vectors, groups[1])["knn_accuracy"] == 1


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape)


AWKWARD = {
    "two places": np.repeat(numbers(2, 8), 10, axis=0),
    "all but two the same": np.concatenate([np.repeat(numbers(1, 8), 18, axis=0), numbers(2, 8)]),
    "a constant column": np.concatenate([numbers(20, 7), np.full((20, 1), 0.1)], axis=1),
    "one column that is not constant": np.concatenate([numbers(20, 1), np.full((20, 7), 0.1)], axis=1),
    "one column": numbers(20, 1),
    "two columns": numbers(20, 2),
    "five": numbers(5, 8),
    "five at two places": np.repeat(numbers(2, 8), 3, axis=0)[:5],
    "one in the middle": np.concatenate([numbers(10, 4), np.zeros((1, 4))]),
    "huge": numbers(20, 8) * 1e300,
    "tiny": numbers(20, 8) * 1e-300,
    "integers": np.arange(40).reshape(20, 2),
    "truth values": numbers(20, 8) > 0,
    "float16": numbers(20, 8).astype(np.float16),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_vectors_give_a_map(kind):
    vectors = AWKWARD[kind]
    made = tsne_map(vectors)
    placed = made.place(vectors[:3])
    assert made.coordinates.shape == (len(vectors), 2) and np.isfinite(made.coordinates).all()
    assert np.ptp(made.coordinates, axis=0).max() > 0 and np.isfinite(placed).all()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((20, 8)), "all 20 vectors are the same"),
        (np.full((6, 3), 0.1), "all 6 vectors are the same"),
        *[(numbers(n, 8), f"{n} vectors: a map needs five") for n in (0, 1, 2, 3, 4)],
        (
            np.where(numbers(20, 8) > 1, np.inf, 1.0),
            r"vector \d+ holds a value that is not a number: inf in column",
        ),
        (np.full((20, 8), np.nan), "vector 0 holds a value that is not a number: nan in column 0"),
        (numbers(20, 8) * 1j, "complex"),
        ([["a"] * 3] * 9, "not a table of numbers"),
        ([[1.0, 2.0], [1.0]], "not a table of numbers"),
        ([[None, 1.0]] * 9, "not a number"),
        (numbers(20, 0), r"shape \(20, 0\)"),
        (numbers(2, 3, 4), r"shape \(2, 3, 4\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_vectors_without_a_map_are_told_why(vectors, message):
    with pytest.raises(ValueError, match=message):
        tsne_map(vectors)


@pytest.mark.parametrize("perplexity", [0, -1, np.nan, np.inf, "30", None])
def test_perplexity_is_a_number_above_0(perplexity):
    with pytest.raises(ValueError, match="perplexity="):
        tsne_map(numbers(20, 8), perplexity=perplexity)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a"] * 10, {}, "of 1 families"),
        (list("abcdefghij"), {}, "of 10 families"),
        (["a", "b"] * 4, {}, "expected one for each of 10"),
        (["a", "b"] * 5, {"neighbours": 10}, "10 neighbours"),
        (["a", "b"] * 5, {"neighbours": 0}, "neighbours=0"),
    ],
    ids=str,
)
def test_scores_that_there_cannot_be(labels, options, message):
    with pytest.raises(ValueError, match=message):
        embedding_scores(numbers(10, 4), labels, **options)


def test_columns_of_any_scale_count_the_same():
    vectors = numbers(20, 4)
    for scale in (2.0**-1000, 2.0**900):
        assert np.array_equal(standardised(vectors * scale), standardised(vectors))
    assert not standardised(np.full((5, 3), 0.1)).any()
