"""Maps of embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from rinalmo_kit.maps import embedding_scores, standardised, tsne_map


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
