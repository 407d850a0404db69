"""Find the experiment that a user asks for: by the name of a recipe, a recipe, or a table of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..datasets.user_tables import as_table, names_table
from ..model.task_base import Task
from ..model.tasks import TASKS, user_tasks
from .named import RECIPES, recipe_named
from .recipe import Recipe, with_changes
from .splits import Splits, splits_of
from .user_data import default_recipe, fingerprint, validate_user_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Experiment", "resolve"]


class Experiment(NamedTuple):
    """A task, a recipe, and the table that they are for.

    Attributes
    ----------
    task : Task
    recipe : Recipe
    table : DataFrame or None
        A user's own table, checked; None: that of the recipe's dataset.
    fingerprint : int or None
        Of a user's own table; tells its training rows from those of other tables.
    """

    task: Task
    recipe: Recipe
    table: pd.DataFrame | None = None
    fingerprint: int | None = None

    def splits(
        self,
        *,
        fold: int = 0,
        limit: int | None = None,
        test_limit: int | None = None,
        wanted: Sequence[str] = ("train", "validation", "test"),
    ) -> Splits:
        """Select the examples; see :func:`rinalmo_kit.recipes.splits.splits_of`."""
        return splits_of(
            self.recipe, self.table, fold=fold, limit=limit, test_limit=test_limit, wanted=wanted
        )


def resolve(
    on: Any,
    *,
    task: str | None = None,
    target: str | None = None,
    changes: Mapping[str, Any] | None = None,
    default_task: str | None = None,
    trained_on: Collection[int | None] | None = None,
) -> Experiment:
    """Find the task and the recipe that a user means, and check the user's own table.

    Parameters
    ----------
    on : str, Recipe, or data
        Name of a recipe, a recipe, or data as for :func:`rinalmo_kit.recipes.user_data.validate_user_table`.
    task, target : str, optional
        For data: what is learned, and its column.
    changes : mapping, optional
        Other values for the recipe's fields.
    default_task : str, optional
        What data are for if `task` is not given.
    trained_on : collection of int, optional
        To test models, not to train them: fingerprints of the tables that these were trained on. All rows of another
        table without a column ``split`` are then test rows, and its rows may be of one class.

    Raises
    ------
    ValueError
        For an unknown recipe, or data without a task; names the row where a table is at fault.

    Examples
    --------
    >>> resolve("mrl", changes={"epochs": 3}).recipe.epochs
    3
    >>> found = resolve([{"sequence": "ACGU", "y": 1.5}], task="regression")
    >>> found.task.name, found.recipe.loss
    ('regression', 'mse')
    """
    if isinstance(on, Recipe):
        return _of_recipe(on, changes)
    if isinstance(on, str) and not names_table(on, known=RECIPES, task=task):
        return _of_recipe(recipe_named(on), changes)
    task = task or default_task
    if task is None:
        *others, last = map(repr, user_tasks())
        raise ValueError(f"task: say what is to be learned: {', '.join(others)} or {last}")
    data = as_table(on, task=task)
    table = validate_user_table(data, task=task, target=target)
    recipe = default_recipe(table, task=task, least=2 if trained_on is None else 1)
    own = fingerprint(table)
    if trained_on is not None and "split" not in data and own not in trained_on:
        table["split"] = "test"
    return _of_recipe(recipe, changes)._replace(table=table, fingerprint=own)


def _of_recipe(recipe: Recipe, changes: Mapping[str, Any] | None) -> Experiment:
    recipe = with_changes(recipe, changes or {})
    if recipe.task not in TASKS:
        raise ValueError(f"{recipe.name}: unknown task {recipe.task!r}; known: {', '.join(TASKS)}")
    return Experiment(TASKS[recipe.task], recipe)
