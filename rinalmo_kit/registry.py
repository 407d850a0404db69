"""Every model with a name: what it is for, how large it is, where it comes from, and how well it does."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .datasets import read_numbers
from .hub import EMBEDDED, OFFICIAL, WEIGHTS
from .model import Config, RiNALMo
from .rows import select

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["models"]

TASKS = {
    "ss": ("structure", "f1"),
    "splice": ("splice site", "f1"),
    "ncrna": ("ncRNA family", "accuracy"),
    "mrl": ("mean ribosome load", "r2"),
    "te": ("translation efficiency", "spearman"),
    "el": ("expression level", "spearman"),
}
"""Second part of a model's name → what it predicts, and the paper's score of it."""

LICENCES = {"embedded": "Apache-2.0; data: see the model card", "official": "CC BY 4.0"}


def models() -> pd.DataFrame:
    """List all models that :func:`rinalmo_kit.load` knows by name.

    Returns
    -------
    pandas.DataFrame
        One row a model: ``name``; ``task``; ``size``; ``parameters`` of the encoder; ``file_mb``, of those in the
        package; ``source`` (embedded or official); ``licence``; and of the measured scores, where there are any,
        ``test_set``, ``metric``, ``score`` with ``low`` and ``high`` (95 % interval), and ``n`` test sequences
        (``data/measured/scores.csv``; of the encoders, see ``pretraining.csv`` and ``embeddings.csv`` there).

    Examples
    --------
    >>> models().set_index("name").loc["giga", "parameters"]
    np.int64(650901793)
    """
    import pandas as pd

    scores = select(read_numbers("measured/scores"), "group == 'all' and fold == 'all'")
    rows = []
    for name in (*EMBEDDED, *OFFICIAL):
        size, _, rest = name.partition("-")
        task, metric = TASKS.get(rest.split("-")[0], ("encoder", ""))
        source = "embedded" if name in EMBEDDED else "official"
        row: dict[str, Any] = {"name": name, "task": task, "size": size, "parameters": _parameters(size)}
        row["file_mb"] = (
            round((WEIGHTS / EMBEDDED[name]).stat().st_size / 1e6, 1) if name in EMBEDDED else None
        )
        row |= {"source": source, "licence": LICENCES[source], "test_set": "", "metric": metric}
        for score in scores[(scores["model"] == name) & (scores["metric"] == metric)].head(1).itertuples():
            row |= {"test_set": score.recipe, "score": score.value, "low": score.low, "high": score.high}
            row["n"] = score.n
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({"n": "Int64"}) if "n" in table else table


@cache
def _parameters(size: str) -> int:
    """Count the parameters of a size without making them."""
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in RiNALMo(getattr(Config, size)()).parameters())
