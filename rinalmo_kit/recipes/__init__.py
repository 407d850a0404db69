"""Experiments as data: those of the paper, those of the embedded models, and yours."""

from .named import RECIPES, recipe_named
from .paper import RECIPES_OF_PAPER
from .recipe import PAPER, Pretraining, Recipe, Schedule, with_changes

__all__ = [
    "PAPER",
    "RECIPES",
    "RECIPES_OF_PAPER",
    "Pretraining",
    "Recipe",
    "Schedule",
    "recipe_named",
    "with_changes",
]


def __dir__() -> list[str]:
    return sorted(__all__)
