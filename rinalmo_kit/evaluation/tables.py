"""Tables of scores as one would print them: a row a method, names as in the field, an interval beside each score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._utils.given import table_with
from ..metrics import METRIC_NAMES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["printed_scores"]


def printed_scores(
    scores: pd.DataFrame, metrics: str | Sequence[str], *, by: str | Sequence[str] = "method", digits: int = 3
) -> pd.DataFrame:
    """Return scores as a table to print: a row a method, a column a metric with its 95 % interval, and n.

    Parameters
    ----------
    scores : DataFrame
        As ``Evaluation.scores``; of each metric and row of `by` one score.
    metrics : str or sequence of str
        Which, in the order of the columns.
    by : str or sequence of str
        Columns that name the rows, which keep their order.
    digits : int
        Decimals.

    Returns
    -------
    DataFrame
        Scores are numbers, rounded; intervals texts, left out where there are none.

    Raises
    ------
    ValueError
        If none or a missing metric is asked for, or a row has two scores of one.

    Examples
    --------
    >>> from rinalmo_kit.datasets import load_structures
    >>> from rinalmo_kit.evaluation import compare
    >>> found = compare(["trivial", "most-pairs"], load_structures("examples", family="tRNA"), draws=0)
    >>> printed_scores(found.scores[found.scores["group"] == "all"], ["f1", "inf"]).columns.tolist()
    ['F1', 'INF', 'n']
    """
    import pandas as pd

    keys = [by] if isinstance(by, str) else list(by)
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    if not keys or not wanted:
        raise ValueError("metrics and by: expected one name at least in each, such as 'f1' and 'method'")
    table_with("scores", scores, [*keys, "metric", "value", "low", "high", "n"])
    order = scores[keys].drop_duplicates()
    parts = []
    for metric in wanted:
        rows = scores[scores["metric"] == metric]
        if rows.empty:
            raise ValueError(f"{metric!r}: there are {', '.join(sorted(set(scores['metric'])))}")
        if rows[keys].duplicated().any():
            twice = rows.loc[rows[keys].duplicated(), keys].iloc[0].tolist()
            raise ValueError(
                f"two scores of {metric} for {twice}: select one group and fold, or name them in by"
            )
        name = METRIC_NAMES.get(metric, metric)
        part = rows.set_index(keys)[["value"]].astype(float).round(digits).rename(columns={"value": name})
        if rows["low"].notna().any():
            ends = rows.set_index(keys)[["low", "high"]].astype(float)
            part[f"95 % interval of {name}" if len(wanted) > 1 else "95 % interval"] = [
                "" if pd.isna(low) else f"{low:.{digits}f} to {high:.{digits}f}"
                for low, high in (ends.round(digits) + 0.0).itertuples(index=False)  # no -0.000
            ]
        parts.append(part)
    counts = scores[scores["metric"] == wanted[0]].set_index(keys)[["n"]]
    table = pd.concat([*parts, counts], axis=1)
    table = table.loc[[row if len(keys) > 1 else row[0] for row in order.itertuples(index=False, name=None)]]
    if len(keys) == 1:  # the name of the rows in the line of the other names
        table = table.rename_axis(index=None, columns=keys[0])
    return table
