"""The table of structure scores: what was measured here beside published numbers, strict beside ±1."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._utils.choices import did_you_mean
from .._utils.defaults import STRUCTURE
from .._utils.numbers import read_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["structure_table"]


class _TestSet(NamedTuple):
    """Where the scores on a test set stand: recipe and group of the measured ones, files of the published ones.

    The first of the means is that of the measured ones.
    """

    recipe: str
    group: str
    published: tuple[str, ...]
    dataset: str
    means: tuple[str, ...]


TEST_SETS = {
    "TS0": _TestSet(
        "ss-bprna",
        "all",
        ("published/fig3c_ts0", "published/ss_small_models"),
        "TS0",
        ("structures", "pairs", ""),
    ),
    "new families": _TestSet(
        "ss-rfam-new", "family mean", ("published/ss_small_models",), "RNASSTR test", ("families",)
    ),
}

TRAINING = "TR0, ss_more, ViennaRNA's ensembles"

ABOUT: dict[str, tuple[float | None, str, str]] = {
    STRUCTURE: (7.6, TRAINING, "with ViennaRNA, as it folds by default"),
    f"{STRUCTURE}, alone": (7.6, TRAINING, "the model by itself"),
    "pico-ss": (2.7, "TR0, ViennaRNA's ensembles", "of earlier versions"),
    "viennarna": (None, "", "ViennaRNA, minimum free energy"),
    "viennarna-mea": (None, "", "ViennaRNA, maximum expected accuracy"),
    "viennarna-centroid": (None, "", "ViennaRNA, centroid"),
    "linearpartition": (None, "", "LinearPartition-V, maximum expected accuracy"),
    "most-pairs": (None, "", "trivial baseline, the most canonical pairs (Nussinov)"),
}
"""What was measured → millions of parameters, training data, and what it is."""

METRICS = ["precision", "recall", "f1", "f1_strict"]


def structure_table(test: str = "TS0", *, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the scores of structure models on a test set, measured here and published, the best first.

    The order is that of F1 (±1), and where that is unknown of strict F1, which is lower by 0.02 to 0.045.

    Parameters
    ----------
    test : {"TS0", "new families"}
        The test set of bpRNA; families of Rfam that no model was trained on (recipe ``ss-rfam-new``, means of family
        means) beside published numbers on RNASSTR's test families, which are not the same rows.
    measured : DataFrame, optional
        Scores as :func:`rinalmo_kit.evaluate` writes them; default: ``data/measured/scores.csv``, which is in a
        checkout of the repository.

    Returns
    -------
    DataFrame
        One row a method, named by the index: precision, recall and f1 (±1) and f1_strict, NaN where unknown;
        parameters_M; trained_on; rows (of ``"new families"``: families); mean (over structures, families, or all
        pairs pooled); kind (measured, or how the number is known); source (command and commit, or where it was
        read); note. Methods that have seen the test set (kind ``void``) are left out.

    Raises
    ------
    ValueError
        For an unknown test set.

    Examples
    --------
    >>> import pandas as pd
    >>> line = {"model": "viennarna", "recipe": "ss-bprna", "group": "all", "fold": "all", "metric": "f1"}
    >>> line |= {"value": 0.54, "n": 653, "command": "evaluate", "commit": "abc", "date": "2026-01-01"}
    >>> table = structure_table(measured=pd.DataFrame([line]))
    >>> table.loc[["viennarna", "RiNALMo"], ["f1", "rows", "kind"]].values.tolist()
    [[0.54, 653, 'measured'], [0.747, 1305, 'second-hand']]
    """
    import pandas as pd

    if test not in TEST_SETS:
        raise ValueError(
            f"unknown test set {test!r}{did_you_mean(test, TEST_SETS)}; known: {', '.join(TEST_SETS)}"
        )
    known = TEST_SETS[test]
    parts = [_measured(read_numbers("measured/scores") if measured is None else measured, known)]
    parts += [_published(name, known) for name in known.published]
    table = pd.concat([part for part in parts if len(part)])
    best = table["f1"].fillna(table["f1_strict"])
    return table.iloc[(-best).argsort(kind="stable")] if len(table) else table


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table of scores, numbers as numbers, texts without gaps."""
    numbers = [*METRICS, "parameters_M"]
    texts = ["trained_on", "mean", "kind", "source", "note"]
    table = table.reindex(columns=[*numbers, "trained_on", "rows", *texts[1:]])
    table[texts] = table[texts].astype(object).fillna("")
    return table.astype({**dict.fromkeys(numbers, float), "rows": "Int64"})


def _measured(scores: pd.DataFrame, test: _TestSet) -> pd.DataFrame:
    """Return the rows that were measured."""
    chosen = (scores["recipe"] == test.recipe) & (scores["group"] == test.group) & (scores["fold"] == "all")
    scores = scores[chosen & scores["metric"].isin(METRICS)]
    table = scores.pivot(index="model", columns="metric", values="value")
    first = scores.groupby("model").first()
    provenance = [name for name in ("command", "commit", "date") if name in first]
    about = [ABOUT.get(name, (None, "", "")) for name in table.index]
    return _columns(
        table.assign(
            parameters_M=[one[0] for one in about],
            trained_on=[one[1] for one in about],
            rows=first["n"].astype(int),
            mean=test.means[0],
            kind="measured",
            source=first[provenance].astype(str).agg(", ".join, axis=1) if provenance and len(first) else "",
            note=[one[2] for one in about],
        ).rename_axis(index="method", columns=None)
    )


def _published(name: str, test: _TestSet) -> pd.DataFrame:
    """Return the rows of a file of published numbers."""
    table = read_numbers(name)
    if "dataset" in table:
        table = table[(table["dataset"] == test.dataset) & table["mean"].fillna("").isin(test.means)]
    else:
        table = table.assign(mean=test.means[0])
    return _columns(table[~table["kind"].isin(["void", "NOT FOUND"])].set_index("method"))
