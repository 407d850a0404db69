"""Heads and losses of the tasks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from ..recipes.recipe import Recipe


def new_head(recipe: Recipe, dim: int, labels: Sequence[str] | None) -> nn.Module:
    """Make the paper's head for a task, with random weights (spec §3)."""
    if recipe.task == "structure":
        head = StructureHead(dim)
        if recipe.loss == "pairs-by-length":  # ours: begin with what is known, that pairs are rare
            nn.init.constant_(head.conv_out.bias, -5.0)
        return head
    if recipe.task == "binary":
        return ClassificationHead(dim, 128, 1)
    if recipe.task == "multiclass":
        return ClassificationHead(dim, 256, len(labels))
    return RibosomeLoadHead(dim)
