"""The embedding explorer: a map of thousands of RNAs to search, filter, select from, and place new sequences on.

Python embeds, makes the map, folds what is looked at and keeps the table; ``static/explorer.js`` draws.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from .._utils.defaults import ENCODER, STRUCTURE
from ..evaluation.embedding_maps import Map, tsne_map
from ..inference.batching import ready_sequence
from ..inference.embedding import embed
from ..inference.folding import fold_each, folding_model
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.whitening import Pool
from ..plot.embedding import STYLES, group_styles
from ..rna.sequences import read_sequences
from .base import LiveWidget, asset, said
from .folding_studio import pasted
from .large_maps import scatter
from .payload import structure_payload

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["EmbeddingExplorer"]

LONGEST_FOLD = 600
"""Nucleotides; longer RNAs are not folded while the pointer passes over them."""


MANY = 200
"""RNAs for which a progress bar is shown, if nothing else is asked for."""


TOGETHER = 16
"""New RNAs that are embedded between two messages to the page."""


GROUPS = 12
"""Different numbers in a column that are still groups; more have a colour bar."""


PLACED, NO_VALUE = "(placed)", "(none)"
"""Groups of the RNAs that were placed, and of those without a value in the column to colour by."""


class EmbeddingExplorer(LiveWidget):
    """Look around in a map of embeddings.

    Parameters
    ----------
    table : DataFrame, or what :func:`rinalmo_kit.embed` takes
        A row a sequence: a column ``sequence``; a column ``name`` or ``id`` names the points; any other column can
        colour them: as groups, in the colours of :func:`rinalmo_kit.plot.embedding_map`, or, if it has more than
        twelve numbers, along a colour bar.
    vectors : array_like of float, shape (n, dim), optional
        Embeddings of the rows; default: those of `model`. A row with a NaN or infinite number stays in the table and
        is not on the map.
    coordinates : array_like of float, shape (n, 2), or Map, optional
        Places of the rows; default: a t-SNE map of the vectors. New sequences can be placed on a
        :class:`rinalmo_kit.evaluation.embedding_maps.Map` only. A row without two finite numbers is not on the map.
    color : str, optional
        Column to colour by at first; default: ``family`` or ``label`` if there is one.
    model : Encoder, name or path
        Embeds what has no vector.
    pool, whiten
        How it embeds, see :func:`rinalmo_kit.embed`; as `vectors` or `coordinates` were made where they are given.
        Default: for a map that is made here, whitened where the model has a whitening; else the plain mean.
    fold_model : Encoder, name or path, or None
        Draws the fold of the RNA under the pointer.
    progress : bool, optional
        Show progress bars while RNAs are embedded and mapped; default: for more than 200.

    Attributes
    ----------
    selection : DataFrame
        Rows that are selected; ``explorer.observe(function, "selection")`` calls when they change.
    table : DataFrame
        All rows, those that were placed later at the end, with the columns ``x``, ``y`` and ``placed``.

    Raises
    ------
    ValueError
        Without a column of sequences, for a row without a sequence that is to be embedded, or if vectors or
        coordinates are not as many as rows.

    Examples
    --------
    >>> import pandas as pd
    >>> sequences = ["GGGAAACCC", "ACGUACGU", "GGGGCCCC", "AUAUAUAU", "GCGCGCGC"]
    >>> table = pd.DataFrame({"sequence": sequences, "family": list("abaab")})
    >>> explorer = EmbeddingExplorer(table)
    >>> explorer.select([0, 2])
    >>> explorer.selection["sequence"].tolist()
    ['GGGAAACCC', 'GGGGCCCC']
    """

    offered = ("color", "columns", "map", "place", "select", "selected", "selection", "table")
    _esm = asset("common.js", "explorer.js")
    _css = asset("common.css", "explorer.css")
    scatter = scatter

    x = traitlets.Bytes().tag(sync=True)
    y = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    placed = traitlets.List(traitlets.Int()).tag(sync=True)
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    color = traitlets.Unicode().tag(sync=True)
    groups = traitlets.Dict().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    hovered = traitlets.Int(-1).tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    message = traitlets.Dict().tag(sync=True)
    can_place = traitlets.Bool(False).tag(sync=True)
    selection = traitlets.Any()
    from_page = frozenset({"color", "selected", "hovered"})

    @traitlets.validate("color")
    def _a_column(self, proposal: Any) -> str:
        if proposal["value"] and proposal["value"] not in self.columns:
            raise traitlets.TraitError(
                f"no column {proposal['value']!r}; there are {', '.join(self.columns)}"
            )
        return proposal["value"]

    def __init__(
        self,
        table: Any,
        vectors: ArrayLike | None = None,
        *,
        coordinates: ArrayLike | Map | None = None,
        color: str | None = None,
        model: Encoder | str | os.PathLike = ENCODER,
        pool: Pool | None = None,
        whiten: bool = False,
        fold_model: Encoder | str | None = STRUCTURE,
        progress: bool | None = None,
    ) -> None:
        table = _checked_table(table)
        if pool is None and coordinates is None and vectors is None:
            whitening = ready_model(model).info.whitening
            pool, whiten = ("mean", whiten) if whitening is None else (whitening.pool, True)
        self._embedding: dict[str, Any] = {"model": model, "pool": pool or "mean", "whiten": whiten}
        columns = [str(c) for c in table.columns if c not in ("sequence", "name", "id", "x", "y")]
        wanted = [color] if color else ["family", "label", *columns]
        first = next((c for c in wanted if c in columns), "")
        if color and not first:
            raise ValueError(f"no column {color!r} to colour by; there are {', '.join(columns)}")
        shown = len(table) > MANY if progress is None else progress
        self.map, places = self._mapped(table, vectors, coordinates, progress=shown)
        self._fold = None if fold_model is None else _folder(folding_model(fold_model))
        self.table: pd.DataFrame = table.assign(x=places[:, 0], y=places[:, 1], placed=False)
        super().__init__(columns=columns, color=first, can_place=self.map is not None)
        self._send_points()
        self.selection = self.table.iloc[:0]
        self.observe(self._select, names="selected")
        self.observe(self._show_hovered, names="hovered")
        self.observe(lambda _: self._send_groups(), names="color")
        if missing := len(places) - int(np.isfinite(places).all(axis=1).sum()):
            self.message = {
                "text": f"{missing} of {len(places)} rows have no place on the map: not a finite number"
            }

    def _mapped(
        self, table: pd.DataFrame, vectors: Any, coordinates: Any, *, progress: bool
    ) -> tuple[Map | None, NDArray[np.float64]]:
        """Return the map, if there is one, and the places of the rows, NaN where a row has none."""
        places = np.full((len(table), 2), np.nan)
        if coordinates is None:
            if vectors is None:
                texts = _sequences(table)
                vectors = embed(texts, **self._embedding, progress=progress)
            vectors = np.asarray(vectors)
            if len(vectors) != len(table):
                raise ValueError(f"{len(vectors)} vectors for {len(table)} rows")
            known = np.ones(len(vectors), dtype=bool)
            if vectors.ndim == 2 and vectors.dtype.kind == "f":
                known = np.isfinite(vectors).all(axis=1)
            coordinates = tsne_map(vectors[known], progress=progress)
            places[known] = coordinates.coordinates
            return coordinates, places
        found = coordinates if isinstance(coordinates, Map) else None
        given = np.asarray(coordinates if found is None else found.coordinates, dtype=float)
        if given.shape != places.shape:
            raise ValueError(f"coordinates have shape {given.shape}, expected ({len(table)}, 2)")
        known = np.isfinite(given).all(axis=1)
        places[known] = given[known]
        return found, places

    def select(self, rows: Any) -> None:
        """Select rows by their numbers."""
        self.selected = [int(row) for row in rows]

    def place(self, sequences: Any) -> pd.DataFrame:
        """Place new sequences on the map, which stays as it is; they are selected.

        Parameters
        ----------
        sequences
            What :func:`rinalmo_kit.embed` takes.

        Returns
        -------
        DataFrame
            Their rows, with ``x`` and ``y``.

        Raises
        ------
        ValueError
            If coordinates were given without a map; or for a bad sequence.
        """
        return self._place(read_sequences(sequences))

    def _place(self, records: list[tuple[str, str]]) -> pd.DataFrame:
        if self.map is None:
            raise ValueError(
                "coordinates were given without a map: nothing can be placed; give a Map of rk.evaluation.tsne_map"
            )
        for name, sequence in records:
            ready_sequence(name, sequence)
        import pandas as pd

        texts, vectors = [sequence for _, sequence in records], []
        for start in range(0, len(texts), TOGETHER):
            self.message = {"text": f"embedding: {start} of {len(texts)} RNAs are finished …", "busy": True}
            vectors.append(embed(texts[start : start + TOGETHER], **self._embedding))
        self.message = {"text": f"looking for the places of {len(texts)} RNAs …", "busy": True}
        places = self.map.place(np.concatenate(vectors))
        new = pd.DataFrame(records, columns=["name", "sequence"]).assign(
            x=places[:, 0], y=places[:, 1], placed=True
        )
        if "name" not in self.table and "id" in self.table:
            new = new.rename(columns={"name": "id"})
        self.message = {"text": f"{len(new)} placed and selected"}
        start = len(self.table)
        self.table = pd.concat([self.table, new], ignore_index=True)
        self._send_points()
        self.select(range(start, len(self.table)))
        return self.table.iloc[start:]

    def _send_points(self) -> None:
        names = next((self.table[c] for c in ("name", "id") if c in self.table), self.table.index)
        with self.hold_sync():
            self.x, self.y = (self.table[c].to_numpy("<f4").tobytes() for c in "xy")
            self.names = [f"row {k}" if name != name else str(name) for k, name in enumerate(names)]
            self.placed = np.flatnonzero(self.table["placed"]).tolist()
            self._send_groups()

    def _send_groups(self) -> None:
        """Send the column to colour by: numbers as they are, all else as groups, the largest first."""
        if not self.color:
            self.groups, self.codes = {"labels": []}, b""
            return
        placed = self.table["placed"].to_numpy(dtype=bool)
        if self._is_number():
            values = self._values()
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            missing = int(np.isnan(values[~placed]).sum())
            with self.hold_sync():
                self.groups = {"low": low, "high": high, "missing": missing}
                self.codes = values.astype("<f4").tobytes()
            return
        texts = self._texts()
        styles = group_styles(texts[~placed])
        note = f"{len(styles)} groups: colours and markers repeat after {STYLES}" * (len(styles) > STYLES)
        if placed.any():
            styles.append((PLACED, int(placed.sum()), "", "*"))  # the page's own colour of what was placed
        parts = zip(("labels", "counts", "colors", "markers"), range(4), strict=True)
        groups = {part: [style[i] for style in styles] for part, i in parts}
        numbers = {name: k for k, name in enumerate(groups["labels"])}
        codes = np.array([numbers[text] for text in np.where(placed, PLACED, texts)], dtype="<f4")
        with self.hold_sync():
            self.groups = {**groups, "note": note}
            self.codes = codes.tobytes()

    def _is_number(self) -> bool:
        """Return whether the column to colour by holds numbers that are too many for groups."""
        column = self.table.loc[~self.table["placed"].astype(bool), self.color]
        return column.dtype.kind in "iuf" and column.nunique() > GROUPS

    def _values(self) -> NDArray[np.float64]:
        """Return the numbers of the column to colour by, NaN where there is none, in the range of float32."""
        values = self.table[self.color].to_numpy(np.float64, na_value=np.nan, copy=True)
        values[~np.isfinite(values)] = np.nan
        return np.clip(values, *np.array([-1, 1]) * np.finfo(np.float32).max)

    def _texts(self) -> NDArray[Any]:
        column = self.table[self.color]
        return column.astype(object).where(column.notna(), NO_VALUE).astype(str).to_numpy(dtype=object)

    def _select(self, _: Any) -> None:
        rows = [row for row in dict.fromkeys(self.selected) if 0 <= row < len(self.table)]
        self.selection = self.table.iloc[rows]

    def _show_hovered(self, _: Any) -> None:
        """Show the row under the pointer, and fold it."""
        if not 0 <= self.hovered < len(self.table):
            self.detail = {}
            return
        row = self.table.iloc[self.hovered]
        sequence = str(row["sequence"])
        facts = {c: str(row[c])[:80] for c in self.columns[:6]}
        detail = {
            "row": self.hovered,
            "name": self.names[self.hovered],
            "facts": facts,
            "length": len(sequence),
        }
        if self._fold is not None and len(sequence) <= LONGEST_FOLD:
            try:
                detail["fold"] = structure_payload(self._fold(sequence))
            except Exception as error:  # whatever it is, the rest of the card is shown
                detail["facts"] = {**facts, "fold": said(error)[:120]}
        self.detail = detail

    def do(self, content: dict[str, Any]) -> None:
        """Place what was pasted."""
        if content.get("do") == "place":
            self._place(pasted(str(content.get("text", ""))))

    def static_mimebundle(self) -> dict[str, str]:
        """Return a picture of the map."""
        import base64
        import io

        from matplotlib.figure import Figure

        from ..plot.embedding import embedding_map

        colored: dict[str, Any] = {}
        if self.color:
            colored = {"values": self._values()} if self._is_number() else {"labels": self._texts()}
        figure = Figure(figsize=(6, 6), layout="constrained")
        with warnings.catch_warnings(action="ignore"):  # of more groups than colours; the page says it
            embedding_map(self.table[["x", "y"]], **colored, ax=figure.add_subplot())
        found = io.BytesIO()
        figure.savefig(found, format="png", dpi=100)
        picture = base64.b64encode(found.getvalue()).decode()
        return {"text/html": f'<img alt="map of embeddings" src="data:image/png;base64,{picture}">'}


def _checked_table(table: Any) -> pd.DataFrame:
    """Return a table with a column of sequences, its rows numbered and its columns named by text."""
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        table = pd.DataFrame(read_sequences(table), columns=["name", "sequence"])
    if "sequence" not in table:
        raise ValueError(f"no column 'sequence'; there are {', '.join(map(str, table.columns))}")
    table = table.reset_index(drop=True).rename(columns=str)
    if len(twice := table.columns[table.columns.duplicated()]):
        raise ValueError(f"there are two columns {twice[0]!r}: rename one of them")
    return table


def _sequences(table: pd.DataFrame) -> list[str]:
    for row, sequence in enumerate(table["sequence"]):
        if not isinstance(sequence, str):
            raise ValueError(
                f"row {row} has no sequence to embed: found {sequence!r} in the column 'sequence'"
            )
    return table["sequence"].tolist()


def _folder(model: Encoder) -> Any:
    @lru_cache(maxsize=512)
    def folded(sequence: str) -> Any:
        return next(fold_each([("sequence", sequence)], model=model))

    return folded
