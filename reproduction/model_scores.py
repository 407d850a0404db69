"""Write ``data/measured/model_scores.csv``, the measured scores that ``rk.models()`` shows, from ``scores.csv``.

``python -m reproduction.model_scores`` after new scores of the embedded or official models were measured.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit.model.pretrained import EMBEDDED, OFFICIAL, task_and_metric

__all__ = ["COLUMNS", "main", "model_scores"]

MEASURED = Path(__file__).parents[1] / "data" / "measured"


COLUMNS = ["model", "recipe", "metric", "value", "low", "high", "n"]


def model_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each named model that was scored: the metric of its task, over all groups and folds.

    Parameters
    ----------
    scores : DataFrame
        Rows of ``data/measured/scores.csv``; of several scores of a model the first counts.

    Examples
    --------
    >>> row = {"model": "nano-ss", "recipe": "ss-bprna", "group": "all", "fold": "all", "metric": "f1"}
    >>> row |= {"value": 0.5, "low": 0.4, "high": 0.6, "n": 653}
    >>> model_scores(pd.DataFrame([row, row | {"metric": "precision"}]))["metric"].tolist()
    ['f1']
    """
    scores = scores[(scores["group"] == "all") & (scores["fold"] == "all")]
    rows = [
        scores[(scores["model"] == name) & (scores["metric"] == task_and_metric(name)[1])].head(1)
        for name in (*EMBEDDED, *OFFICIAL)
    ]
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def main() -> None:
    """Write the file."""
    with atomic_write(MEASURED / "model_scores.csv") as temporary:
        model_scores(pd.read_csv(MEASURED / "scores.csv")).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
