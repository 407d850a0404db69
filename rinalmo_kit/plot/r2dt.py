"""Drawings of R2DT: coordinates read from its JSON files, and written as such for other programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.files import atomic_write, user_path
from ..rna.folded import FoldedRNA
from .coordinates import layout as circles

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["read_r2dt", "write_r2dt"]

STEP = 20.0  # between neighbours in files that we write, as R2DT has about

ENDS = ("5'", "3'", "5′", "3′")


def read_r2dt(path: str | os.PathLike) -> tuple[FoldedRNA, NDArray[np.float64]]:
    """Read the RNA and the layout of a JSON file of R2DT (RNA 2D JSON schema).

    Parameters
    ----------
    path : path
        A file as R2DT (Sweeney et al. 2021, doi:10.1038/s41467-021-23555-5) writes it and RNAcentral offers it.

    Returns
    -------
    rna : FoldedRNA
        Its sequence, pairs and name; ``Structure.of`` makes a Structure of it.
    layout : ndarray, shape (L, 2)
        For ``structure(rna, layout=layout)``: y upwards, neighbours 1 apart in the median.

    Raises
    ------
    ValueError
        If the file is not such JSON; names what is missing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> hairpin = FoldedRNA.from_dot_bracket("GGGAAAACCC", "(((....)))", name="hairpin")
    >>> rna, layout = read_r2dt(write_r2dt(hairpin, pathlib.Path(tempfile.mkdtemp()) / "hairpin.json"))
    >>> rna == hairpin, rna.name, layout.shape
    (True, 'hairpin', (10, 2))
    """
    path = user_path(path)
    try:
        complexes = json.loads(path.read_text(encoding="utf-8"))["rnaComplexes"]
        molecule = complexes[0]["rnaMolecules"][0]
        bases = [one for one in molecule["sequence"] if one["residueName"] not in ENDS]
        bases.sort(key=lambda one: one["residueIndex"])
        xy = np.array([(float(one["x"]), -float(one["y"])) for one in bases]).reshape(-1, 2)
        place = {one["residueIndex"]: k for k, one in enumerate(bases)}
        found = [(one["residueIndex1"], one["residueIndex2"]) for one in molecule.get("basePairs", [])]
        pairs = sorted({tuple(sorted((place[i], place[j]))) for i, j in found})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: not a drawing in R2DT's JSON ({type(error).__name__}: {error}); expected rnaComplexes, "
            "rnaMolecules, sequence with residueIndex, residueName, x, y, and basePairs"
        ) from error
    names = [molecule.get("name"), complexes[0].get("name")]
    name = next((one for one in names if one and one not in ("molecule", "complex")), path.stem)
    sequence = "".join(one["residueName"] for one in bases)
    return FoldedRNA(sequence, pairs, name=name), unit_steps(xy)


def unit_steps(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates scaled so that the median step along the backbone is 1.

    Examples
    --------
    >>> unit_steps(np.array([[0.0, 0], [20, 0], [40, 0]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    steps = np.hypot(*np.diff(xy, axis=0).T)
    return xy / (float(np.median(steps)) or 1.0) if len(steps) else xy


def write_r2dt(s: FoldedRNA, path: str | os.PathLike, *, layout: ArrayLike | None = None) -> Path:
    """Write a drawing as R2DT's JSON (RNA 2D JSON schema), which RNAcanvas, XRNA-React and others read.

    Parameters
    ----------
    s : Structure
    path : path
    layout : array_like, shape (L, 2), optional
        y upwards; by default that of :func:`layout`.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the layout is not of the structure's length.
    """
    xy = np.asarray(circles(s.pairs, len(s)) if layout is None else layout, dtype=float)
    if xy.shape != (len(s), 2):
        raise ValueError(f"layout has shape {xy.shape}, expected ({len(s)}, 2) for {s.name!r}")
    xy = np.round(STEP * unit_steps(xy) * (1, -1), 3)
    bases: list[dict[str, Any]] = [
        {"residueIndex": k + 1, "residueName": base, "x": x, "y": y}
        for k, (base, (x, y)) in enumerate(zip(s.sequence, xy.tolist(), strict=True))
    ]
    pairs = [
        {"residueIndex1": i + 1, "residueIndex2": j + 1, "basePairType": "canonical"}
        for i, j in s.pairs.tolist()
    ]
    molecule = {"name": s.name, "sequence": bases, "basePairs": pairs, "labels": []}
    drawing = {"classes": [], "rnaComplexes": [{"name": s.name, "rnaMolecules": [molecule]}]}
    path = user_path(path)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(drawing), encoding="utf-8")
    return path
