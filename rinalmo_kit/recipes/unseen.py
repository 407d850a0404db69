"""Recipes for families that no training row is of: those of Rfam, split by clan and structure."""

from __future__ import annotations

from dataclasses import replace

from .paper import RECIPES_OF_PAPER
from .recipe import Recipe, _text

__all__ = ["RECIPES_OF_RFAM"]

_RFAM = replace(
    RECIPES_OF_PAPER["ss-bprna"],
    name="ss-rfam",
    dataset="rfam",
    train="split == 'train'",
    validation="split == 'validation'",
    test="split == 'test'",
    source=_text("""
        Ours, not the paper's: its fine-tuning for structure, on families of Rfam 14.9. Families of different splits
        share neither clan nor similar structure (RNASSTR, romanagle/RNASSTR@6c13e89). At most 20 validation and test
        rows a family; the score to look at is the mean of the families' means ("family mean"). Structures are
        consensus structures, projected on each sequence.
    """),
)

_NEW = replace(
    _RFAM,
    name="ss-rfam-new",
    test="split == 'test' and seen == 'no'",
    source=_text("""
        Ours: ss-rfam, tested only on families of which no row is in ss_more, TR0 or VL0, either, on which
        nano-ss was trained: it knows no structure of them (of some it was shown sequences, with ViennaRNA's
        probabilities).
    """),
)


RECIPES_OF_RFAM: dict[str, Recipe] = {recipe.name: recipe for recipe in (_RFAM, _NEW)}
