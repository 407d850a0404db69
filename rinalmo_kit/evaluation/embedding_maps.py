"""Maps of embeddings: t-SNE by openTSNE, on which new sequences find their place (paper, Fig. 2); and their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.extras import importing, optional
from .._utils.numbers_given import positive_number, whole_number
from .._utils.progress import progress_bar
from ..rna.sequences import read_sequences

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Map", "embedding_scores", "neighbour_labels", "standardised", "to_anndata", "tsne_map"]

STEPS_SHOWN = 50
"""Iterations of t-SNE between two updates of its progress bar."""


class Map:
    """Two-dimensional map of vectors; made by :func:`tsne_map`.

    Attributes
    ----------
    coordinates : ndarray of float64, shape (n, 2)
        Places of the vectors that the map was made of.
    """

    def __init__(self, embedding: Any, vectors: NDArray[np.float64]) -> None:
        embedding -= (embedding.max(0) + embedding.min(0)) / 2  # as openTSNE does before it places new ones
        self._embedding, self._vectors = embedding, vectors
        self.coordinates: NDArray[np.float64] = np.array(embedding)

    def __repr__(self) -> str:
        return f"<Map of {len(self.coordinates)} vectors>"

    def place(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """Find the places of new vectors, which leave the map as it is.

        Parameters
        ----------
        vectors : array_like of float, shape (m, dim)

        Returns
        -------
        ndarray of float64, shape (m, 2)

        Raises
        ------
        ValueError
            If the vectors are of another width than those of the map.
        """
        new = _checked(vectors)
        if new.shape[1] != self._vectors.shape[1]:
            raise ValueError(
                f"vectors are {new.shape[1]} wide; those of the map are {self._vectors.shape[1]}"
            )
        new = standardised(new, like=self._vectors)
        return np.array(
            self._embedding.transform(_two_wide(new), perplexity=min(5, (len(self.coordinates) - 1) / 3))
        )


def tsne_map(vectors: ArrayLike, *, perplexity: float = 30, seed: int = 0, progress: bool = False) -> Map:
    """Make a t-SNE map of vectors, such as those of :func:`rinalmo_kit.embed` with a ``pool``.

    Columns are centred and scaled, distances are those of cosines, and the map starts from principal components, so
    that it is the same every time.

    Parameters
    ----------
    vectors : array_like of float, shape (n, dim)
    perplexity : float
        About how many neighbours count; less for fewer than 91 vectors.
    seed : int
    progress : bool
        Show a progress bar.

    Returns
    -------
    Map

    Raises
    ------
    ValueError
        For fewer than five vectors, vectors that are all the same, or a value that is not a number.
    ImportError
        Without openTSNE: ``pip install 'rinalmo-kit[tsne]'``.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(20, 8))
    >>> made = tsne_map(vectors)
    >>> made.coordinates.shape, made.place(vectors[:3]).shape
    ((20, 2), (3, 2))
    """
    openTSNE = optional("openTSNE", "maps need openTSNE: pip install 'rinalmo-kit[tsne]'", needs=("TSNE",))
    found = _checked(vectors)
    positive_number("perplexity", perplexity)
    seed = whole_number("seed", seed, least=0)
    if len(found) < 5:
        raise ValueError(f"{len(found)} vectors: a map needs five or more")
    if (found == found[0]).all():
        raise ValueError(f"all {len(found)} vectors are the same: there is nothing to map")
    early, late = 250, 500  # iterations, with exaggerated affinities and without
    with progress_bar(early + late, "map", shown=progress, unit="step") as bar:

        def step(*_: Any) -> None:
            bar.update(STEPS_SHOWN)

        learner = openTSNE.TSNE(
            perplexity=min(perplexity, (len(found) - 1) / 3),
            initialization="pca",
            random_state=seed,
            n_jobs=2 if len(found) > 1000 else 1,  # for few, threads wait more than they work
            early_exaggeration_iter=early,
            n_iter=late,
            callbacks=step if progress else None,
            callbacks_every_iters=STEPS_SHOWN,
        )
        return Map(learner.fit(_two_wide(standardised(found))), found)


def to_anndata(embeddings: ArrayLike, table: Any, *, coordinates: ArrayLike | Map | None = None) -> AnnData:
    """Return embeddings as an AnnData object, for scanpy: ``X``, ``obs`` and the map in ``obsm["X_tsne"]``.

    Parameters
    ----------
    embeddings : array_like of float, shape (n, dim)
        Such as those of :func:`rinalmo_kit.embed` with a ``pool``.
    table : DataFrame, or what :func:`rinalmo_kit.embed` takes
        A row a sequence; its columns become those of ``obs``. A column ``name`` or ``id`` without repeats names the
        rows; else their numbers do.
    coordinates : array_like of float, shape (n, 2), or Map, optional
        Default: columns ``x`` and ``y`` of the table, as :class:`rinalmo_kit.widgets.EmbeddingExplorer` has; without
        them, a t-SNE map of the embeddings.

    Returns
    -------
    anndata.AnnData
        ``X`` in float32.

    Raises
    ------
    ValueError
        If embeddings, rows and coordinates are not equally many, or a value is not a number.
    ModuleNotFoundError
        Without anndata: ``pip install 'rinalmo-kit[maps]'``.
    """
    import pandas as pd

    anndata = optional(
        "anndata", "AnnData needs anndata: pip install 'rinalmo-kit[maps]'", needs=("AnnData",)
    )
    vectors = _checked(embeddings)
    if not isinstance(table, pd.DataFrame):
        table = pd.DataFrame(read_sequences(table), columns=["name", "sequence"])
    if len(table) != len(vectors):
        raise ValueError(f"{len(vectors)} embeddings for {len(table)} rows of the table: expected one each")
    if coordinates is None:
        coordinates = table[["x", "y"]] if {"x", "y"} <= {*table} else tsne_map(vectors)
    places = _checked(coordinates.coordinates if isinstance(coordinates, Map) else coordinates)
    if places.shape != (len(vectors), 2):
        raise ValueError(f"coordinates have shape {places.shape}, expected ({len(vectors)}, 2)")
    obs = table.rename(columns=str).set_axis(_row_names(table))
    return anndata.AnnData(X=vectors.astype(np.float32), obs=obs, obsm={"X_tsne": places})


def _row_names(table: pd.DataFrame) -> list[str]:
    """Return the names of a table's rows if no two are the same, else their numbers from 0."""
    for column in ("name", "id"):
        if column in table and not table[column].isna().any() and table[column].astype(str).is_unique:
            return table[column].astype(str).tolist()
    return [str(row) for row in range(len(table))]


def _two_wide(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give vectors of one number a second, always 0: a map has two axes."""
    return np.pad(vectors, ((0, 0), (0, max(0, 2 - vectors.shape[1]))))


def _checked(vectors: ArrayLike) -> NDArray[np.float64]:
    try:
        found = np.asarray(vectors)
        if np.iscomplexobj(found):
            raise TypeError("complex numbers")
        found = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"vectors are not a table of numbers: {error}") from None
    if found.ndim != 2 or not found.shape[1]:
        raise ValueError(
            f"vectors have shape {found.shape}, expected (n, dim): embed(…, pool='mean') makes such"
        )
    if bad := np.argwhere(~np.isfinite(found)).tolist():
        row, column = bad[0]
        raise ValueError(
            f"vector {row} holds a value that is not a number: {found[row, column]} in column {column}"
        )
    return found


def standardised(vectors: ArrayLike, *, like: ArrayLike | None = None) -> NDArray[np.float64]:
    """Centre and scale the columns, by those of other vectors if they are given, and make each vector 1 long.

    Distances between such vectors have the order of the cosines. A column that is the same everywhere counts nothing.

    Examples
    --------
    >>> standardised([[0.0, 1.0], [2.0, 1.0]]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    found = np.asarray(vectors, dtype=np.float64)
    others = found if like is None else np.asarray(like, dtype=np.float64)
    exponents = np.frexp(np.abs(others).max(0))[
        1
    ]  # so that squares of very large and small numbers are numbers
    found, others = np.ldexp(found, -exponents), np.ldexp(others, -exponents)
    spread = np.where(np.ptp(others, axis=0) > 0, others.std(0), np.inf)
    found = (found - others.mean(0)) / spread
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def embedding_scores(vectors: ArrayLike, labels: ArrayLike, *, neighbours: int = 5) -> dict[str, float]:
    """Tell how well vectors keep families apart.

    Columns are centred and scaled first, distances are those of cosines.

    Parameters
    ----------
    vectors : array_like of float, shape (n, dim)
    labels : array_like, shape (n,)
    neighbours : int
        The family with most of them, each sequence itself left out, is the guess.

    Raises
    ------
    ValueError
        For a value that is not a number, or too few vectors or families.

    Returns
    -------
    dict
        ``silhouette`` and ``knn_accuracy``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["a", "b"], 20)
    >>> vectors = rng.normal(size=(40, 8)) + (labels == "a")[:, None] * 5
    >>> embedding_scores(vectors, labels)["knn_accuracy"]
    1.0
    """
    with importing("sklearn", "scores of a map need scikit-learn: pip install 'rinalmo-kit[tsne]'"):
        from sklearn.metrics import silhouette_score
        from sklearn.neighbors import KNeighborsClassifier

    vectors, labels = _checked(vectors), np.asarray(labels)
    whole_number("neighbours", neighbours)
    if labels.shape != (len(vectors),):
        raise ValueError(f"labels have shape {labels.shape}: expected one for each of {len(vectors)} vectors")
    families = len(np.unique(labels))
    if not 2 <= families < len(vectors) or neighbours >= len(vectors):
        raise ValueError(
            f"{len(vectors)} vectors of {families} families, {neighbours} neighbours: expected two families or "
            "more, one of them with two vectors, and more vectors than neighbours"
        )
    vectors = standardised(vectors)
    learner = KNeighborsClassifier(neighbours, algorithm="brute").fit(vectors, labels)
    near = learner.kneighbors(return_distance=False)  # of the rows themselves: each is left out of its own
    accuracy = float(np.mean(_majority(labels[near]) == labels))
    return {"silhouette": float(silhouette_score(vectors, labels, metric="cosine")), "knn_accuracy": accuracy}


def neighbour_labels(
    vectors: ArrayLike, labels: ArrayLike, queries: ArrayLike, *, neighbours: int = 5
) -> NDArray[Any]:
    """Return the label that most of the nearest vectors have, by cosine, for each query.

    Parameters
    ----------
    vectors : array_like of float, shape (n, dim)
        Of known sequences, as they are: nothing is centred or scaled.
    labels : array_like, shape (n,)
    queries : array_like of float, shape (m, dim)
    neighbours : int
        How many vote; of labels with as many votes, that of the nearest wins.

    Returns
    -------
    ndarray of shape (m,)

    Raises
    ------
    ValueError
        If shapes do not fit each other, a value is not a number, or there are fewer vectors than neighbours.

    Examples
    --------
    >>> neighbour_labels([[1, 0], [2, 0.1], [0, 1]], ["a", "a", "b"], [[5, 1]], neighbours=3).tolist()
    ['a']
    """
    known, new, labels = _checked(vectors), _checked(queries), np.asarray(labels)
    whole_number("neighbours", neighbours)
    if labels.shape != (len(known),) or known.shape[1] != new.shape[1] or neighbours > len(known):
        raise ValueError(
            f"vectors {known.shape}, labels {labels.shape}, queries {new.shape}, {neighbours} neighbours: expected "
            "one label a vector, vectors and queries of the same width, and at least as many vectors as neighbours"
        )
    known, new = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (known, new))
    order = [np.argsort(-(known @ one), kind="stable")[:neighbours] for one in new]
    return _majority(labels[np.array(order, dtype=int).reshape(len(new), neighbours)])


def _majority(near: NDArray[Any]) -> NDArray[Any]:
    """Return the most frequent label of each row, of equals that which comes first."""
    found = []
    for row in near:
        names, counts = np.unique(row, return_counts=True)
        best = names[counts == counts.max()]
        found.append(next(label for label in row if label in best))
    return np.array(found, dtype=near.dtype)
