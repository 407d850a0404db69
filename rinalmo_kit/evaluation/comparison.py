"""Comparisons: several models in one table, beside published numbers, averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._utils.rows import select
from ..recipes.named import RECIPES
from .scoring import Evaluation, evaluate, model_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["average_scores", "compare", "join_published"]


def compare(models: Mapping[str, Any] | Sequence[Any], on: Any = "ss-bprna", **options: Any) -> Evaluation:
    """Evaluate several models, or baselines, on the same test rows.

    Parameters
    ----------
    models : {name: model} or list of models
        Each as for :func:`evaluate`.
    on, **options
        As for :func:`evaluate`.

    Returns
    -------
    Evaluation
        Samples and scores of all, with a column ``method`` in front that holds the names.

    Examples
    --------
    >>> from rinalmo_kit.datasets import load_structures
    >>> found = compare(["trivial", "most-pairs"], load_structures("examples", family="tRNA"), draws=0)
    >>> found.samples.groupby("method", sort=False).size().to_dict()
    {'trivial': 7, 'most-pairs': 7}
    """
    import pandas as pd

    models = models if isinstance(models, Mapping) else {model_name(model): model for model in models}
    found = {name: evaluate(model, on, **options) for name, model in models.items()}
    parts = [[one[k].assign(method=name) for name, one in found.items()] for k in (0, 1)]
    samples, scores = (pd.concat(part, ignore_index=True) for part in parts)
    for table in (samples, scores):
        table.insert(0, "method", table.pop("method"))
    return Evaluation(samples, scores)


def join_published(
    compared: Evaluation, published: pd.DataFrame, metrics: Sequence[str] = ("precision", "recall", "f1")
) -> pd.DataFrame:
    """Put the scores of :func:`compare` beside published ones, the best of the last metric first.

    Parameters
    ----------
    compared : Evaluation
    published : DataFrame
        A column ``method``, columns named as the metrics, and ``kind``, which says where a row comes from; a score
        that is not known is empty.
    metrics : sequence of str

    Returns
    -------
    DataFrame
        One row a method, named by the index; the metrics, and ``where``: published, or measured here and on how many
        rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from rinalmo_kit.datasets import load_structures
    >>> found = compare(["most-pairs"], load_structures("examples", family="tRNA"), draws=0)
    >>> published = pd.DataFrame({"method": ["other"], "f1": [0.1], "kind": ["second-hand"]})
    >>> join_published(found, published, ["f1"])["where"].to_dict()
    {'most-pairs': 'measured here, n = 7', 'other': 'second-hand'}
    """
    import pandas as pd

    ours = select(compared.scores, "group == 'all' and fold == 'all'")
    ours = ours[ours["metric"].isin(metrics)]
    wide = ours.pivot(index="method", columns="metric", values="value")
    wide["where"] = "measured here, n = " + ours.groupby("method")["n"].first().astype(int).astype(str)
    theirs = published.set_index("method").rename(columns={"kind": "where"})
    columns = [name for name in metrics if name in wide or name in theirs]
    both = pd.concat([wide, theirs]).reindex(columns=[*columns, "where"])
    return both.sort_values(columns[-1], ascending=False)


def average_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of recipes that the paper reports as one: donor and acceptor, cell lines, noise levels.

    Parameters
    ----------
    scores : DataFrame
        ``Evaluation.scores`` of one model a recipe, put together by :func:`pandas.concat`.

    Returns
    -------
    DataFrame
        Columns experiment, group, metric, value, recipes (how many were averaged) and data (what the rows are, if
        they are not the paper's). Experiments of which a recipe is missing are left out.

    Raises
    ------
    ValueError
        If the scores of a recipe appear twice, as of two models.

    Examples
    --------
    >>> import pandas as pd
    >>> one = {"group": "all", "fold": "all", "metric": "f1"}
    >>> scores = pd.DataFrame([{"recipe": "splice-donor", "value": 0.9, **one},
    ...                        {"recipe": "splice-acceptor", "value": 0.8, **one}])
    >>> average_scores(scores)[["experiment", "metric", "value"]].values.tolist()
    [['splice', 'f1', 0.8500000000000001]]
    """
    table = scores[scores["fold"].astype(str) == "all"]
    table = table.assign(experiment=[RECIPES[r].experiment if r in RECIPES else "" for r in table["recipe"]])
    table = table[table["experiment"] != ""]
    if (twice := table.duplicated(["recipe", "group", "metric"])).any():
        raise ValueError(
            f"{table.loc[twice, 'recipe'].iloc[0]} appears twice: give the scores of one model a recipe"
        )
    if "data" not in table:
        table = table.assign(data="")
    averaged = table.groupby(["experiment", "group", "metric"], as_index=False).agg(
        value=("value", "mean"),
        recipes=("recipe", "nunique"),
        data=(
            "data",
            lambda notes: "; ".join(sorted({note for note in notes if isinstance(note, str) and note})),
        ),
    )
    wanted = [sum(r.experiment == name for r in RECIPES.values()) for name in averaged["experiment"]]
    return averaged[averaged["recipes"] == wanted].reset_index(drop=True)
