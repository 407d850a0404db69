"""Every recipe by its name."""

from __future__ import annotations

from .._utils.choices import did_you_mean
from .embedded import _ours
from .paper import RECIPES_OF_PAPER
from .recipe import Recipe
from .unseen import RECIPES_OF_RFAM

__all__ = ["RECIPES", "recipe_named"]

RECIPES = RECIPES_OF_PAPER | RECIPES_OF_RFAM | {recipe.name: recipe for recipe in _ours()}
"""Every recipe by its name: those of the paper, of unseen families, and of the embedded models."""


def recipe_named(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises
    ------
    ValueError
        Lists the known names.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}{did_you_mean(name, RECIPES)}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
