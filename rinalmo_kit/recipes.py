"""Recipes: one frozen dataclass entry per training experiment, with where each choice comes from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How to train an encoder and a structure head.

    Parameters
    ----------
    name : str
    dataset : str
        Name in :data:`rinalmo_kit.datasets.TABLES`.
    train, validation, test : str
        Splits of the dataset.
    max_lengths : tuple of int or None
        One entry an epoch: the longest sequence used in it, None for all. Longer ones are left out of that
        epoch whole, never cut.
    steps : int or None
        Stop after this many steps, in the middle of an epoch if need be; None for all epochs whole.
    batch_size : int
        Sequences a step.
    lr : float
        Peak learning rate of AdamW; linear warm-up, then cosine to a hundredth of it.
    warmup_steps : int
    weight_decay, gradient_clip : float
    language_head_steps : int
        Afterwards, fit the language-model head to the finished encoder for this many steps.
    source : str
        Where the recipe comes from.
    """

    name: str
    dataset: str
    train: str
    validation: str
    test: str
    max_lengths: tuple[int | None, ...]
    steps: int | None
    batch_size: int
    lr: float
    warmup_steps: int
    weight_decay: float
    gradient_clip: float
    language_head_steps: int
    source: str


RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(
            name="nano-ss",
            dataset="bprna",
            train="TR0",
            validation="VL0",
            test="TS0",
            max_lengths=(150, 200, 300),
            steps=5000,
            batch_size=4,
            lr=7e-4,
            warmup_steps=300,
            weight_decay=0.01,
            gradient_clip=1.0,
            language_head_steps=600,
            source="Ours: nano from scratch on the paper's TR0/VL0/TS0 split, all parameters at once, sized for "
            "two CPU cores. The paper fine-tunes a pretrained model with gradual unfreezing instead.",
        ),
    ]
}
