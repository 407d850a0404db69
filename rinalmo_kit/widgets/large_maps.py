"""Maps of more points than the embedding explorer is made for, by jupyter-scatter where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.extras import optional

if TYPE_CHECKING:
    from .embedding_explorer import EmbeddingExplorer

__all__ = ["scatter"]


def scatter(explorer: EmbeddingExplorer) -> Any:
    """Return the explorer's map as a jupyter-scatter plot, for maps of more than 100,000 points.

    Points have the explorer's colouring, and those selected in the plot are the explorer's ``selection``.

    Returns
    -------
    jscatter.Scatter
        ``.show()`` shows it.

    Raises
    ------
    ModuleNotFoundError
        Without jupyter-scatter: ``pip install 'rinalmo-kit[maps]'``.
    """
    absent = "maps of more than 100,000 points need jupyter-scatter: pip install 'rinalmo-kit[maps]'"
    jscatter = optional("jscatter", absent, needs=("Scatter",))
    columns = ["x", "y", *([explorer.color] if explorer.color else [])]
    shown = np.flatnonzero(np.isfinite(explorer.table[["x", "y"]]).all(axis=1))
    data = explorer.table.iloc[shown][columns].reset_index(drop=True)
    if explorer.color and data[explorer.color].dtype.kind not in "iuf":
        data[explorer.color] = data[explorer.color].astype(str).astype("category")
    made = jscatter.Scatter(data=data, x="x", y="y")
    if explorer.color:
        made.color(by=explorer.color)
    made.widget.observe(
        lambda change: explorer.select(shown[np.asarray(change["new"], int)]), names="selection"
    )
    return made
