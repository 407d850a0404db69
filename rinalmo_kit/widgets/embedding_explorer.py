"""The embedding explorer: a map of thousands of RNAs to search, filter, select from, and place new sequences on.

Python embeds, makes the map, folds what is looked at and keeps the table; ``static/explorer.js`` draws.
"""

from __future__ import annotations

import os
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
from ..plot.style import PALETTE
from ..rna.sequences import read_sequences
from .base import LiveWidget, asset, said
from .folding_studio import pasted
from .large_maps import scatter
from .payload import structure_payload

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["EmbeddingExplorer"]

COLORS = [color if color != "#000000" else "#8B6B4A" for color in PALETTE]
"""Those of the figures; black would not be seen in a dark theme."""


LONGEST_FOLD = 600
"""Nucleotides; longer RNAs are not folded while the pointer passes over them."""


class EmbeddingExplorer(LiveWidget):
    """Look around in a map of embeddings.

    Parameters
    ----------
    table : DataFrame, or what :func:`rinalmo_kit.embed` takes
        A row a sequence: a column ``sequence``; a column ``name`` or ``id`` names the points; any other column can
        colour them.
    vectors : array_like of float, shape (n, dim), optional
        Embeddings of the rows; default: those of `model`.
    coordinates : array_like of float, shape (n, 2), or Map, optional
        Places of the rows; default: a t-SNE map of the vectors. New sequences can be placed on a
        :class:`rinalmo_kit.evaluation.embedding_maps.Map` only.
    color : str, optional
        Column to colour by at first; default: ``family`` or ``label`` if there is one.
    model : Encoder, name or path
        Embeds what has no vector.
    pool, whiten
        How it embeds, see :func:`rinalmo_kit.embed`; as `vectors` or `coordinates` were made where they are given.
        Default: for a map that is made here, whitened where the model has a whitening; else the plain mean.
    fold_model : Encoder, name or path, or None
        Draws the fold of the RNA under the pointer.

    Attributes
    ----------
    selection : DataFrame
        Rows that are selected; ``explorer.observe(function, "selection")`` calls when they change.
    table : DataFrame
        All rows, those that were placed later at the end, with the columns ``x``, ``y`` and ``placed``.

    Raises
    ------
    ValueError
        Without a column of sequences, or if vectors or coordinates are not as many as rows.

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
    palette = traitlets.List(traitlets.Unicode(), COLORS).tag(sync=True)
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
    ) -> None:
        import pandas as pd

        if not isinstance(table, pd.DataFrame):
            table = pd.DataFrame(read_sequences(table), columns=["name", "sequence"])
        if "sequence" not in table:
            raise ValueError(f"no column 'sequence'; there are {', '.join(map(str, table.columns))}")
        table = table.reset_index(drop=True).rename(columns=str)
        if pool is None and coordinates is None and vectors is None:
            whitening = ready_model(model).info.whitening
            pool, whiten = ("mean", whiten) if whitening is None else (whitening.pool, True)
        self._embedding: dict[str, Any] = {"model": model, "pool": pool or "mean", "whiten": whiten}
        if coordinates is None:
            if vectors is None:
                vectors = embed(table["sequence"].tolist(), **self._embedding)
            vectors = np.asarray(vectors)
            if len(vectors) != len(table):
                raise ValueError(f"{len(vectors)} vectors for {len(table)} rows")
            coordinates = tsne_map(vectors)
        self.map = coordinates if isinstance(coordinates, Map) else None
        places = np.asarray(
            coordinates.coordinates if isinstance(coordinates, Map) else coordinates, dtype=float
        )
        if places.shape != (len(table), 2):
            raise ValueError(f"coordinates have shape {places.shape}, expected ({len(table)}, 2)")
        if bad := np.flatnonzero(~np.isfinite(places).all(axis=1)).tolist():
            raise ValueError(
                f"coordinates of row {bad[0]} are {places[bad[0]].tolist()}: expected two numbers"
            )
        self._fold = None if fold_model is None else _folder(folding_model(fold_model))
        self.table: pd.DataFrame = table.assign(x=places[:, 0], y=places[:, 1], placed=False)
        columns = [str(c) for c in table.columns if c not in ("sequence", "name", "id", "x", "y")]
        wanted = [color] if color else ["family", "label", *columns]
        first = next((c for c in wanted if c in columns), "")
        if color and not first:
            raise ValueError(f"no column {color!r} to colour by; there are {', '.join(columns)}")
        super().__init__(columns=columns, color=first, can_place=self.map is not None)
        self._send_points()
        self.selection = self.table.iloc[:0]
        self.observe(self._select, names="selected")
        self.observe(self._show_hovered, names="hovered")
        self.observe(lambda _: self._send_groups(), names="color")

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
        import pandas as pd

        if self.map is None:
            raise ValueError(
                "coordinates were given without a map: nothing can be placed; give a Map of rk.evaluation.tsne_map"
            )
        for name, sequence in records:
            ready_sequence(name, sequence)
        vectors = embed([sequence for _, sequence in records], **self._embedding)
        places = self.map.place(vectors)
        new = pd.DataFrame(records, columns=["name", "sequence"]).assign(
            x=places[:, 0], y=places[:, 1], placed=True
        )
        if "name" not in self.table and "id" in self.table:
            new = new.rename(columns={"name": "id"})
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
        column = self.table[self.color]
        if column.dtype.kind in "iuf" and column.nunique() > 12:
            values = column.to_numpy("<f4", na_value=np.nan, copy=True)
            values[~np.isfinite(values)] = np.nan  # grey
            with self.hold_sync():
                self.groups = {"low": float(np.nanmin(values)), "high": float(np.nanmax(values))}
                self.codes = values.tobytes()
            return
        texts = column.astype(object).where(column.notna(), "(none)").astype(str)
        texts = texts.where(~self.table["placed"], "(placed)")
        labels = texts.value_counts(sort=True)
        numbers = {label: k for k, label in enumerate(labels.index)}
        with self.hold_sync():
            self.groups = {"labels": labels.index.tolist(), "counts": labels.tolist()}
            self.codes = texts.map(numbers).to_numpy("<f4").tobytes()

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
            new = self._place(pasted(str(content.get("text", ""))))
            self.message = {"text": f"{len(new)} placed and selected"}

    def static_mimebundle(self) -> dict[str, str]:
        """Return a picture of the map."""
        import base64
        import io

        from matplotlib.figure import Figure

        from ..plot.embedding import embedding_map

        labels = None if not self.color else self.table[self.color].astype(str)
        figure = Figure(figsize=(6, 6), layout="constrained")
        embedding_map(self.table[["x", "y"]], labels, ax=figure.add_subplot())
        found = io.BytesIO()
        figure.savefig(found, format="png", dpi=100)
        picture = base64.b64encode(found.getvalue()).decode()
        return {"text/html": f'<img alt="map of embeddings" src="data:image/png;base64,{picture}">'}


def _folder(model: Encoder) -> Any:
    @lru_cache(maxsize=512)
    def folded(sequence: str) -> Any:
        return next(fold_each([("sequence", sequence)], model=model))

    return folded
