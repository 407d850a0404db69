"""Embeddings handed over to AnnData and jupyter-scatter: the real packages where they are installed, else stand-ins."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.evaluation.embedding_maps import to_anndata, tsne_map
from rinalmo_kit.widgets import EmbeddingExplorer

SEQUENCES = ["GGGAAACCC", "ACGUACGU", "GGGGCCCC", "AUAUAUAU", "GCGCGCGC", "ACACACAC"]


class AnnDataStandIn:
    """As AnnData's constructor: lengths must agree, and names of rows are strings."""

    def __init__(self, X, obs, obsm) -> None:
        assert len(X) == len(obs) and all(len(one) == len(X) for one in obsm.values())
        assert all(isinstance(name, str) for name in obs.index)
        self.X, self.obs, self.obsm = X, obs, obsm
        self.obs_names, self.n_obs = obs.index, len(X)


@pytest.fixture
def anndata(monkeypatch):
    if importlib.util.find_spec("anndata") is None:
        stand_in = ModuleType("anndata")
        stand_in.AnnData = AnnDataStandIn
        monkeypatch.setitem(sys.modules, "anndata", stand_in)


@pytest.fixture
def table():
    return pd.DataFrame(
        {"name": list("uvwxyz"), "sequence": SEQUENCES, "family": list("abaabb"), 7: range(6)}
    )


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(6, 8)).astype(np.float16)


def test_embeddings_rows_and_map(anndata, table, vectors):
    found = rk.evaluation.to_anndata(vectors, table)
    assert found.X.dtype == np.float32 and np.array_equal(found.X, vectors.astype(np.float32))
    assert found.obs_names.tolist() == list("uvwxyz")
    assert found.obs["family"].tolist() == list("abaabb") and "7" in found.obs
    assert np.allclose(found.obsm["X_tsne"], tsne_map(vectors).coordinates)
    assert table.index.tolist() == list(range(6)), "the table stays as it is"


def test_coordinates_of_the_table_or_given(anndata, table, vectors):
    places = np.arange(12.0).reshape(6, 2)
    with_places = table.assign(x=places[:, 0], y=places[:, 1])
    assert np.array_equal(to_anndata(vectors, with_places).obsm["X_tsne"], places)
    made = tsne_map(vectors)
    for given in (made, made.coordinates):
        assert np.array_equal(
            to_anndata(vectors, with_places, coordinates=given).obsm["X_tsne"], made.coordinates
        )


def test_sequences_in_place_of_a_table(anndata, vectors):
    named = dict(zip("abcdef", SEQUENCES, strict=True))
    found = to_anndata(vectors, named)
    assert found.obs_names.tolist() == list("abcdef") and found.obs["sequence"].tolist() == SEQUENCES


def test_repeated_names_stay_a_column(anndata, table, vectors):
    found = to_anndata(vectors, table.assign(name="same"))
    assert found.obs_names.tolist() == list("012345") and set(found.obs["name"]) == {"same"}


def test_what_does_not_fit_is_named(anndata, table, vectors):
    with pytest.raises(ValueError, match="6 embeddings for 5 rows of the table"):
        to_anndata(vectors, table[:5])
    with pytest.raises(ValueError, match=r"coordinates have shape \(6, 3\), expected \(6, 2\)"):
        to_anndata(vectors, table, coordinates=np.zeros((6, 3)))
    with pytest.raises(ValueError, match="vector 2 holds a value that is not a number"):
        to_anndata(np.where(np.arange(6)[:, None] == 2, np.nan, vectors), table)


def test_the_older_name(anndata, table, vectors):
    with pytest.warns(DeprecationWarning, match="rinalmo_kit.maps is now"):
        assert rk.maps.to_anndata is to_anndata


def test_without_anndata(monkeypatch, table, vectors):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rinalmo-kit\[maps\]'"):
        to_anndata(vectors, table)


# jupyter-scatter


class ScatterStandIn:
    """What is used of jscatter.Scatter: its data, the column of its colours, and the selection of its widget."""

    def __init__(self, x, y, data) -> None:
        self.data, self.callbacks = data, []
        assert {x, y} <= {*data}
        self.widget = SimpleNamespace(observe=lambda call, names: self.callbacks.append(call))

    def color(self, by=None):
        self.by = by

    def selection(self, rows):
        for call in self.callbacks:
            call({"new": np.array(rows)})


@pytest.fixture
def explorer(table):
    places = np.random.default_rng(0).normal(size=(6, 2))
    return EmbeddingExplorer(table, coordinates=places, fold_model=None)


def test_the_explorers_map_in_jupyter_scatter(monkeypatch, explorer):
    if importlib.util.find_spec("jscatter") is None:
        monkeypatch.setitem(sys.modules, "jscatter", ModuleType("jscatter"))
        sys.modules["jscatter"].Scatter = ScatterStandIn
    made = explorer.scatter()
    made.selection([0, 3])
    assert explorer.selection["name"].tolist() == ["u", "x"]
    if isinstance(made, ScatterStandIn):
        assert made.by == "family" and made.data["family"].dtype == "category"
        assert np.array_equal(made.data[["x", "y"]], explorer.table[["x", "y"]])
    else:
        assert made.color()["by"] == "family"


def test_without_jupyter_scatter(monkeypatch, explorer):
    monkeypatch.setitem(sys.modules, "jscatter", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rinalmo-kit\[maps\]'"):
        explorer.scatter()
