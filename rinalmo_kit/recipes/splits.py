"""The training, validation and test examples of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.numbers_given import whole_number
from .._utils.rows import select
from ..model.tasks import TASKS
from ..rna.folded import FoldedRNA
from ..structure import Structure
from .recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

__all__ = ["Example", "Splits", "splits_of"]


@dataclass
class Example:
    """One sequence with its target.

    Attributes
    ----------
    name, sequence : str
    target : Structure, str, float or ndarray
        A structure, the name of a class, a number, or a number for each nucleotide.
    group : str
        Value of the recipe's ``group`` column.
    representation : Tensor or None
        Its representation, where the encoder is frozen and it was computed beforehand.
    """

    name: str
    sequence: str
    target: Any
    group: str = ""
    representation: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sequence)


@dataclass
class Splits:
    """Training, validation and test examples, and the names of the classes where there are any."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    labels: tuple[str, ...] | None = None


def splits_of(
    recipe: Recipe,
    table: pd.DataFrame | None = None,
    *,
    fold: int = 0,
    limit: int | None = None,
    test_limit: int | None = None,
    wanted: Sequence[str] = ("train", "validation", "test"),
) -> Splits:
    """Select a recipe's examples from its table.

    Parameters
    ----------
    recipe : Recipe
    table : DataFrame, optional
        Default: the table of the recipe's dataset.
    fold : int
        For recipes with folds.
    limit, test_limit : int, optional
        Keep at most this many of the training rows and of the validation rows, and of the test rows, the same ones
        every time.
    wanted : sequence of str
        The splits that are needed; the others are left empty.

    Raises
    ------
    ValueError
        For a fold that the recipe does not have, a column that the table does not have, or a split without rows.
    """
    import pandas as pd

    from ..datasets.resampling import resample, with_boundary_noise

    if not isinstance(fold, Integral):
        whole_number("fold", fold, least=0)
    if not 0 <= fold < recipe.folds:
        raise ValueError(f"fold {fold}: {recipe.name} has the folds 0 to {recipe.folds - 1}")
    if table is None:
        from ..datasets.loading import load_table

        table = load_table(recipe.dataset)
    tables = {}
    for which in ("train", "validation", "test"):
        condition = getattr(recipe, which)
        try:
            tables[which] = select(table, condition, fold=fold)
        except ValueError as error:
            raise ValueError(
                f"{recipe.name}: rows for {which} ({in_words(condition, fold)}): {error}"
            ) from error
        if tables[which].empty and which in wanted:
            raise ValueError(
                f"{recipe.name}: the table has no {which} rows: none where {in_words(condition, fold)}"
            )
    labels = labels_of(recipe, tables) if TASKS[recipe.task].classifies else None
    for which, most in (("train", limit), ("validation", limit), ("test", test_limit)):
        if most is not None:
            tables[which] = _some(tables[which], most, recipe.target if labels else None)
    if recipe.balance and "train" in wanted:
        both = resample(pd.concat([tables["train"], tables["validation"]]))
        tables["train"], tables["validation"] = (both[both["split"] == split] for split in ("train", "val"))
    found = {}
    for which, chosen in tables.items():
        if which in wanted and recipe.noise:
            chosen = with_boundary_noise(chosen, recipe.noise)
        found[which] = list(_examples(recipe, chosen)) if which in wanted else []
    return Splits(**found, labels=labels)


def _some(table: pd.DataFrame, limit: int, label: str | None) -> pd.DataFrame:
    """Choose rows at random, the same ones every time; of every class as many as of the others, while it has them."""
    shuffled = table.sample(frac=1, random_state=0)
    if label is not None:
        shuffled = shuffled.iloc[np.argsort(shuffled.groupby(label).cumcount(), kind="stable")]
    return shuffled.head(limit)


def in_words(condition: str, fold: int) -> str:
    """Return the condition of a recipe as a user can read it.

    Examples
    --------
    >>> in_words("site == 'donor' and fold != @fold", 3)
    'site is donor and fold is not 3'
    """
    words = condition.replace("@fold", str(fold)).replace("==", "is").replace("!=", "is not")
    return " ".join(words.replace("'", "").replace('"', "").split())


def labels_of(recipe: Recipe, tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Return the names of the classes: of two the negative one first, else the most frequent first (spec §5, ncRNA).

    Raises
    ------
    ValueError
        Names a row whose class has no training rows.
    """
    rows = tables["test"] if tables["train"].empty else tables["train"]
    counts = rows[recipe.target].astype(str).value_counts()
    for which, chosen in tables.items():
        for name, label in zip(chosen["id"], chosen[recipe.target].astype(str), strict=True):
            if label not in counts.index:
                raise ValueError(f"{name!r} is of the class {label!r}, which has no training row ({which})")
    return TASKS[recipe.task].order_labels(counts.to_dict(), recipe.class_names)


def _examples(recipe: Recipe, table: pd.DataFrame) -> Iterable[Example]:
    task = TASKS[recipe.task]
    groups = table[recipe.group].astype(str) if recipe.group in table else [""] * len(table)
    columns = (table["id"].astype(str), table["sequence"], table[recipe.target], groups)
    for name, sequence, target, group in zip(*columns, strict=True):
        target = task.target(name, sequence, target, recipe.class_names)
        if isinstance(target, FoldedRNA):  # draws itself, for users
            target = Structure.of(target)
        yield Example(name, sequence, target, group)
