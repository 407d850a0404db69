"""Recipes of the embedded models: ``pico`` sized for two CPU cores, ``nano`` for one GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..model.config import Config
from ..rna.families import FAMILIES
from .paper import RECIPES_OF_PAPER
from .recipe import Recipe, Schedule, _text


def _ours() -> list[Recipe]:
    """Return the recipes of the embedded models."""
    thermo = Recipe(
        name="pico-thermo",
        task="structure",
        dataset="bprna",
        target="dot_bracket",
        train="split == 'TR0'",
        validation="split == 'VL0'",
        test="split == 'TS0'",
        loss="pairs-by-length",
        metric="f1",
        epochs=1,
        batch_size=8,
        lr=1e-3,
        optimizer="adamw",
        weight_decay=0.01,
        schedule=Schedule(warmup_steps=300, decay="cosine", floor=0.1),
        max_lengths=(150,),
        train_embedding=True,
        gradient_clip=1.0,
        group="family",
        start=Config.pico(),
        source=_text("""
            Ours, not the paper's: the pairing probabilities of ViennaRNA for unlabelled ncRNAs are learned before known
            structures are (thermodynamics.py). The rows of TR0 take the place of the ncRNAs if none are given.
        """),
    )
    structure = replace(
        thermo,
        name="pico-ss",
        epochs=5,
        max_lengths=(150, 200, 300, 200, 500),
        unlabelled=2000,
        lr=8e-4,
        schedule=Schedule(warmup_steps=200, decay="cosine", floor=0.01),
        mutate=0.15,
        source=_text("""
            Ours: all parameters at once, no gradual unfreezing; loss summed over pairs and divided by the length, so
            that long RNAs count; half of the structures mutated pair by pair in every epoch; among them ncRNAs with
            ViennaRNA's pairing probabilities, if they are given, so that other families are not forgotten.
        """),
    )
    families = [
        replace(
            structure,
            name=f"pico-archiveII-{family}",
            dataset="archiveII",
            train=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].train,
            validation=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].validation,
            test=RECIPES_OF_PAPER[f"ss-archiveII-{family}"].test,
        )
        for family in FAMILIES
    ]
    rivas = RECIPES_OF_PAPER["ss-rivas"]
    rows = {name: getattr(rivas, name) for name in ("dataset", "train", "validation", "test")}
    return [
        thermo,
        structure,
        replace(structure, name="pico-rivas", **rows),
        *families,
        *_on_a_gpu(structure),
    ]


def _on_a_gpu(structure: Recipe) -> list[Recipe]:
    """Return the recipes that train by the clock, on batches of maps; see ``reproduction/gpu_weights.py``."""
    fast: dict[str, Any] = {
        "batch_size": 192,
        "map_entries": 2_000_000,
        "ema": 0.998,
        "schedule": Schedule(warmup_steps=150, decay="cosine", floor=0.01),
        "start": Config(320, 6, 20, attention_dropout=0.0, residual_dropout=0.0),
    }
    ensembles = replace(
        structure,
        name="nano-thermo",
        seconds=160.0,
        lr=1e-3,
        max_lengths=(300,),
        mutate=0.0,
        unlabelled=0,
        source="Ours: as pico-thermo, in batches of maps and by the clock, which reproduction/gpu_weights.py sets.",
        **fast,
    )
    known = replace(
        structure,
        name="nano-ss",
        seconds=220.0,
        lr=7e-4,
        max_lengths=(600,),
        unlabelled=16_000,
        source=_text("""
            Ours: as pico-ss, in batches of maps and by the clock. reproduction/gpu_weights.py adds the structures of
            ss_more and ViennaRNA's pairing probabilities: 35 % TR0, 40 % ss_more, 25 % probabilities.
        """),
        **fast,
    )
    return [ensembles, known]
