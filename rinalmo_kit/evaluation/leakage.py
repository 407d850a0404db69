"""Detection of test rows on which a model was trained.

Three kinds are found: a test set, or family, on which the model was trained; single test rows whose sequence
is one of its training rows, as with the TestSetB and ArchiveII rows that are in TR0; and sets that cannot be
compared here because the model's training rows are not available. For the models of the package these are: where
their tables are not, the sequences are compared by :mod:`.fingerprints`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._utils.given import of_kind
from .._utils.rows import select
from .._utils.warn import warn_user
from ..datasets.loading import TABLES, data_note, is_subset, load_table
from ..rna.families import FAMILIES
from ..rna.sequences import Sequences, read_texts
from .fingerprints import as_compared, fingerprints, stored_fingerprints

if TYPE_CHECKING:
    import pandas as pd

    from ..recipes.recipe import Recipe
    from ..recipes.splits import Example
    from ..rna.folded import FoldedRNA

__all__ = [
    "TRAINING_SETS",
    "LeakWarning",
    "TrainedOn",
    "exact_duplicates",
    "find",
    "trained_on",
    "unseen",
    "warn",
    "warn_if_trained_on",
]


class TrainedOn(NamedTuple):
    """Rows that a model was trained on.

    Parameters
    ----------
    dataset : str
        Name for :func:`rinalmo_kit.datasets.load_table`.
    split : str or None
        Value of its ``split`` column; None for all rows.
    left_out_family : str or None
        Family that was left out.
    rows : str or None
        Instead of the two: a condition on the table's columns, as in a recipe.
    fold : int
        Value of ``@fold`` in it.
    """

    dataset: str
    split: str | None = None
    left_out_family: str | None = None
    rows: str | None = None
    fold: int = 0

    def __str__(self) -> str:
        if self.rows:
            return f"{self.dataset} ({self.rows.replace('@fold', str(self.fold))})"
        words = [self.dataset, self.split, self.left_out_family and f"without {self.left_out_family}"]
        return " ".join(word for word in words if word)


_BPRNA = (TrainedOn("bprna", "TR0"), TrainedOn("bprna", "VL0"))


_RFAM88 = (TrainedOn("rfam88", "train"), TrainedOn("rfam88", "val"))


_SIZES, _SITES = ("pico", "giga"), ("donor", "acceptor")


TRAINING_SETS: dict[str, tuple[TrainedOn, ...]] = {
    "nano-ss": (*_BPRNA, TrainedOn("ss_more")),
    "giga-ss-bprna": _BPRNA,
    **{f"giga-ss-archiveII-{f}": (TrainedOn("archiveII", left_out_family=f),) for f in FAMILIES},
    **{f"{size}-splice-{site}": (TrainedOn("splice", "train"),) for size in _SIZES for site in _SITES},
    **{f"giga-ncrna-{n}": _RFAM88 for n in (0, 200)},
    "pico-ncrna-0": _RFAM88,
    **{f"{size}-mrl": (TrainedOn("mrl", "train"),) for size in _SIZES},
}
"""Name of a model with a head (our own, and those of ``rinalmo_kit.model.pretrained.OFFICIAL``) →
what it was trained
and tuned on (spec §2.3 and §8: ``archiveII-X`` is the model trained without family X). Random7600, on which the
authors validate, is one of their two test sets and not listed."""


class LeakWarning(UserWarning):
    """Test rows were in the training data; all of them are in ``rows``."""

    def __init__(self, message: str, rows: pd.DataFrame) -> None:
        super().__init__(message)
        self.rows = rows


def exact_duplicates(train: Sequences, test: Sequences) -> np.ndarray:
    """Find the test sequences that are also training sequences.

    Parameters
    ----------
    train, test
        What :func:`rinalmo_kit.fold` takes, in upper or lower case, with U or T; `train` may be a set.

    Returns
    -------
    ndarray of int64
        Positions in `test`, from 0.

    Examples
    --------
    >>> exact_duplicates(["ACGU", "GG"], ["gg", "AAA", "ACGT"]).tolist()
    [0, 2]
    """
    train = list(train) if isinstance(train, Set) else train
    known = {as_compared(sequence) for sequence in read_texts(train)}
    return np.array(
        [i for i, sequence in enumerate(read_texts(test)) if as_compared(sequence) in known], dtype=np.int64
    )


def training_rows(what: TrainedOn, table: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of a dataset's table that a model was trained on."""
    if what.rows:
        return select(table, what.rows, fold=what.fold)
    if what.split is not None and "split" in table:
        table = table[table["split"] == what.split]
    if what.left_out_family is not None:
        table = table[table["family"] != what.left_out_family]
    return table


def find(trained_on: Sequence[TrainedOn], table: pd.DataFrame, *, dataset: str | None = None) -> pd.DataFrame:
    """Find the rows of a test table that a model was trained on.

    Parameters
    ----------
    trained_on : sequence of TrainedOn
    table : pandas.DataFrame
        Test rows: columns id and sequence; split and family where there are any.
    dataset : str, optional
        The dataset the rows are from. With it, a whole set or family that was trained on is found also
        where the training rows themselves are not available.

    Returns
    -------
    pandas.DataFrame
        The rows in question with two more columns: ``trained_on``, and ``why``: ``same set`` or
        ``same sequence``. ``attrs["unchecked"]`` lists what could not be compared, and why.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"id": ["a", "b"], "sequence": ["ACGU", "GGGG"], "family": ["5s", "tRNA"]})
    >>> find([TrainedOn("archiveII", left_out_family="5s")], rows, dataset="archiveII")["id"].tolist()
    ['b']
    """
    table = table.reset_index(drop=True)
    reasons: dict[int, tuple[str, str]] = {}
    unchecked = []
    for what in trained_on:
        if what.dataset == dataset:
            try:
                same = training_rows(what, table).index
            except (KeyError, ValueError):  # a column that these rows do not have
                same = []
            for row in same:
                reasons.setdefault(int(row), (str(what), "same set"))
        try:
            rows = training_rows(what, load_table(what.dataset))
        except (FileNotFoundError, ImportError) as error:
            if (stored := stored_fingerprints().get(str(what))) is None:
                unchecked.append(f"{what}: {error}")
                continue
            repeated = np.flatnonzero(np.isin(fingerprints(table["sequence"]), stored))
        else:
            repeated = exact_duplicates(rows["sequence"], table["sequence"])
            if what.rows is None and not is_subset(what.dataset) and (note := data_note(what.dataset)):
                unchecked.append(f"{what}: the available rows are not those it was trained on: {note}")
        for row in repeated:
            reasons.setdefault(int(row), (str(what), "same sequence"))
    found = table.loc[sorted(reasons)].copy()
    found["trained_on"] = [reasons[row][0] for row in found.index]
    found["why"] = [reasons[row][1] for row in found.index]
    found.attrs["unchecked"] = unchecked
    return found.reset_index(drop=True)


def warn(
    trained_on: Sequence[TrainedOn],
    table: pd.DataFrame,
    *,
    dataset: str | None = None,
    model: str = "the model",
) -> pd.DataFrame:
    """Warn once, with :class:`LeakWarning`, if test rows were trained on; the arguments are those of :func:`find`.

    Returns
    -------
    pandas.DataFrame
        Rows of :func:`find`; they are also in ``rows`` of the warning.
    """
    rows = find(trained_on, table, dataset=dataset)
    if len(rows):
        sets = rows.groupby(["trained_on", "why"], sort=False).size()
        counts = "; ".join(f"{n} of {name} ({why})" for (name, why), n in sets.items())
        first = ", ".join(map(str, rows["id"].head(5))) + (", …" if len(rows) > 5 else "")
        message = (
            f"{len(rows)} of {len(table)} test rows are in the data that {model} was trained on: {counts}. "
            f"First: {first}. A score on them says nothing about new RNAs; leave them out, or use another model"
        )
        warn_user(LeakWarning(message, rows))
    elif dataset is not None and (unchecked := rows.attrs["unchecked"]):
        message = f"whether {model} was trained on some of these test rows is unknown: {'; '.join(unchecked)}"
        warn_user(LeakWarning(message, rows))
    return rows


def unseen(model: Any, rnas: list[FoldedRNA] | list[str] | pd.DataFrame) -> Any:
    """Return the RNAs whose sequences a model was not trained on, as far as that is known: see :func:`find`.

    Parameters
    ----------
    model : Encoder or name
    rnas : list of FoldedRNA, list of str, or DataFrame
        A table has a column sequence.

    Returns
    -------
    list or DataFrame
        What was given, less the RNAs that were trained on.

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> from rinalmo_kit.datasets import load_structures
    >>> rnas = load_structures("examples", family="tRNA")
    >>> len(rnas), len(unseen("nano-ss", rnas))
    (7, 3)
    """
    import pandas as pd

    of_kind("rnas", rnas, (list, pd.DataFrame), "a list of structures or sequences, or a table")
    sequences = rnas["sequence"] if isinstance(rnas, pd.DataFrame) else read_texts(rnas)
    table = pd.DataFrame({"id": range(len(rnas)), "sequence": list(sequences)})
    kept = ~table["id"].isin(find(trained_on(model), table)["id"]).to_numpy()
    if isinstance(rnas, pd.DataFrame):
        return rnas[kept]
    return [rna for rna, keep in zip(rnas, kept, strict=True) if keep]


def trained_on(model: Any) -> tuple[TrainedOn, ...]:
    """Return what a model was trained on, as far as its name or its file says; empty if they say nothing.

    Examples
    --------
    >>> [str(what) for what in trained_on("giga-ss-bprna")]
    ['bprna TR0', 'bprna VL0']
    """
    about: dict[str, Any] | None = getattr(model, "about", None)
    if not about:
        return TRAINING_SETS.get(str(getattr(model, "name", model)), ())
    found: tuple[TrainedOn, ...] = ()
    while about:  # from the last training to the first
        if about.get("dataset") in TABLES and about.get("rows"):
            found += (TrainedOn(about["dataset"], rows=about["rows"], fold=int(about.get("fold", 0))),)
        for training in (about, about.get("pretraining", {})):
            found += TRAINING_SETS.get(str(training.get("start")), ())
        about = about.get("earlier")
    return tuple(dict.fromkeys(found))  # rounds of one training are on the same rows


def warn_if_trained_on(model: Any, recipe: Recipe, examples: Sequence[Example]) -> pd.DataFrame:
    """Warn if a recipe's test examples are among what a model was trained on; see :func:`warn`.

    Boundary noise is left aside: the rows are compared as they stand in the table.
    """
    import pandas as pd

    rows = [{"id": e.name, "sequence": e.sequence} for e in examples]
    table, dataset = pd.DataFrame(rows, columns=["id", "sequence"]), None
    if recipe.dataset in TABLES:
        key = ["id"] if recipe.noise else ["id", "sequence"]
        known = load_table(recipe.dataset).merge(table[key].drop_duplicates(), on=key)
        if len(known):
            table, dataset = known, recipe.dataset
    name = str(getattr(model, "name", None) or "the model")
    return warn(trained_on(model), table, dataset=dataset, model=name)
