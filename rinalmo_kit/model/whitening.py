"""PCA-whitening of pooled embeddings: fitted on RNAs without labels, stored with the model.

The coordinates of pooled embeddings are correlated and of very different variances, so that a few of them decide which
vectors are neighbours. Whitening makes all directions count alike (Su et al. 2021, arXiv:2103.15316).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from .tensors import check_tensors, not_finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["POOLS", "Pool", "Whitening", "whitening_of"]

Pool = Literal["cls", "mean", "std", "max"]
"""How the rows of an RNA become one vector."""


POOLS: tuple[Pool, ...] = ("cls", "mean", "std", "max")


SMALLEST = 1e-6
"""Of the largest variance: directions with less of it are rounding errors."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """Linear map of pooled embeddings to uncorrelated coordinates of equal variance, then to vectors of length 1.

    Attributes
    ----------
    pool : {"cls", "mean", "std", "max"}
        Embeddings that it is for.
    mean : ndarray of float32, shape (dim,)
        Subtracted first.
    matrix : ndarray of float16, shape (dim, width)
        Multiplied from the right, in float32.
    layers : tuple of int or None
        Blocks, from 1, whose outputs are averaged; None: the output after the last LayerNorm.
    """

    pool: Pool
    mean: NDArray[np.float32]
    matrix: NDArray[np.float16]
    layers: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Return the number of coordinates of its results."""
        return self.matrix.shape[1]

    def apply(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return whitened vectors of length 1, whose Euclidean distances have the order of the cosines.

        Parameters
        ----------
        vectors : array_like of float, shape (…, dim)

        Returns
        -------
        ndarray of float32, shape (…, width)

        Examples
        --------
        >>> whitening = Whitening("mean", np.float32([1, 1]), np.float16([[1, 0], [0, 0.1]]))
        >>> whitening.apply([4.0, 41.0]).round(2).tolist()
        [0.6000000238418579, 0.800000011920929]
        """
        found = (np.asarray(vectors, dtype=np.float32) - self.mean) @ self.matrix.astype(np.float32)
        return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)

    def digest(self) -> str:
        """Return a hash of all that it is."""
        found = hashlib.sha256(f"{self.pool} {self.layers} {self.matrix.shape}".encode())
        found.update(self.mean.tobytes())
        found.update(self.matrix.tobytes())
        return found.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        """Tell whether both have the same numbers."""
        return isinstance(other, Whitening) and self.digest() == other.digest()

    def __hash__(self) -> int:
        """Return a hash that equal ones share."""
        return hash(self.digest())

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a model file keeps: ``whitening.POOL.mean``, ``.matrix`` and, if any, ``.layers``."""
        found = {"mean": torch.tensor(self.mean), "matrix": torch.tensor(self.matrix)}
        if self.layers is not None:
            found["layers"] = torch.tensor(self.layers, dtype=torch.int64)
        return {f"whitening.{self.pool}.{key}": value for key, value in found.items()}

    @classmethod
    def from_tensors(cls, state: MutableMapping[str, Tensor], source: str) -> Whitening | None:
        """Take the whitening out of a file's tensors and check it; None if there is none.

        Raises
        ------
        ValueError
            Names the file, the key, what was expected and what was found.
        """
        found = {key: state.pop(key) for key in [*state] if str(key).startswith("whitening.")}
        if not found:
            return None
        check_tensors(found, source)
        pool = next((pool for pool in POOLS if f"whitening.{pool}.matrix" in found), None)
        names = {f"whitening.{pool}.{key}" for key in ("mean", "matrix")}
        if pool is None or found.keys() - {f"whitening.{pool}.layers"} != names:
            raise ValueError(
                f"{source}: expected whitening.POOL.mean and .matrix with POOL one of {', '.join(POOLS)}, found "
                f"{', '.join(sorted(found))[:300]}"
            )
        mean, matrix = (found[f"whitening.{pool}.{key}"] for key in ("mean", "matrix"))
        whitening = cls(
            pool,
            mean.detach().cpu().float().numpy().copy(),
            matrix.detach().cpu().half().numpy().copy(),
            _layers(found.get(f"whitening.{pool}.layers"), f"{source}: whitening.{pool}.layers"),
        )
        whitening.check(source)
        return whitening

    def check(self, source: str) -> None:
        """Raise ValueError unless shapes fit each other and all numbers are finite."""
        prefix = f"{source}: whitening.{self.pool}"
        if self.pool not in POOLS:
            raise ValueError(f"{source}: whitening: pool {self.pool!r}, expected one of {', '.join(POOLS)}")
        if self.mean.ndim != 1 or self.matrix.ndim != 2 or len(self.mean) != len(self.matrix):
            raise ValueError(
                f"{prefix}: expected a mean (dim,) and a matrix (dim, width), found {self.mean.shape} and "
                f"{self.matrix.shape}"
            )
        if not 1 <= self.width <= len(self.mean):
            raise ValueError(f"{prefix}.matrix is {self.width} wide, expected 1 to {len(self.mean)}")
        if bad := not_finite(self.to_tensors()):
            raise ValueError(f"{source}: {bad[0]} holds numbers that are not finite")

    def check_size(self, dim: int, blocks: int, source: str) -> None:
        """Raise ValueError unless it fits a model of this width and depth."""
        if len(self.mean) != dim:
            raise ValueError(
                f"{source}: whitening.{self.pool}.mean has {len(self.mean)} numbers, the model is {dim} wide"
            )
        if self.layers is not None and self.layers[-1] > blocks:
            raise ValueError(
                f"{source}: whitening.{self.pool}.layers: block {self.layers[-1]}, the model has {blocks} blocks"
            )


def _layers(value: Tensor | None, key: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if value.dim() != 1 or value.dtype != torch.int64 or len(value) > 10_000:
        raise ValueError(f"{key}: expected whole numbers, found {value.dtype} of shape {tuple(value.shape)}")
    numbers: list[int] = value.tolist()
    if numbers[0] < 1 or any(a >= b for a, b in itertools.pairwise(numbers)):
        raise ValueError(f"{key}: expected ascending numbers of blocks from 1, found {numbers[:20]}")
    return tuple(numbers)


def whitening_of(
    vectors: ArrayLike, *, pool: Pool, layers: Sequence[int] | None = None, width: int = 256
) -> Whitening:
    """Fit a whitening to pooled embeddings: their `width` principal components, each scaled to variance 1.

    Coordinates are standardised before the principal components are computed.

    Parameters
    ----------
    vectors : array_like of float, shape (n, dim)
        Embeddings of RNAs that nothing is tested on; labels are not used.
    pool : {"cls", "mean", "std", "max"}
        How they were pooled.
    layers : sequence of int, optional
        Blocks, from 1, that they are the mean of.
    width : int
        Coordinates of the results, at most; fewer where the vectors span fewer dimensions.

    Returns
    -------
    Whitening

    Raises
    ------
    ValueError
        For no more vectors than `width`, or vectors that are not finite or all the same.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(100, 4)) * [1, 10, 100, 1000] + 5
    >>> whitening_of(vectors, pool="mean", width=3).apply(vectors).shape
    (100, 3)
    """
    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 2 or not np.isfinite(found).all():
        raise ValueError(f"expected finite vectors (n, dim), found shape {found.shape}")
    width = min(width, found.shape[1])
    if len(found) <= width:
        raise ValueError(
            f"{len(found)} vectors for a whitening {width} wide: expected more than {width}, better ten times as many"
        )
    mean, spread = found.mean(0), found.std(0)
    if not spread.any():
        raise ValueError(f"all {len(found)} vectors are the same: there is nothing to whiten")
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > SMALLEST * spread.max())
    scaled = (found - mean) * scale
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    variances, directions = variances[::-1][:width], directions[:, ::-1][:, :width]
    kept = variances > SMALLEST * variances[0]
    matrix = scale[:, None] * directions[:, kept] / np.sqrt(variances[kept])
    matrix /= np.abs(matrix).max()  # the results have length 1, whatever the matrix is multiplied by
    chosen: Any = None if layers is None else tuple(sorted(set(layers)))
    return Whitening(pool, mean.astype(np.float32), np.ascontiguousarray(matrix, dtype=np.float16), chosen)
