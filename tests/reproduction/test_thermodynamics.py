"""Learning from ViennaRNA's pairing probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reproduction.thermodynamics import likely_pairs, read_likely_pairs, write_likely_pairs
from rinalmo_kit import Structure
from rinalmo_kit.datasets import load_structures
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.losses import structure_loss
from rinalmo_kit.recipes import recipe_named
from rinalmo_kit.recipes.splits import Example, Splits
from rinalmo_kit.rna.pairs import CANONICAL
from rinalmo_kit.training.augmentation import Mutated
from rinalmo_kit.training.finetuning import finetune

RNA = pytest.importorskip("RNA", reason="ViennaRNA is not installed")
SEQUENCES = ["GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA", "GGGGAAAACCCC"]


def test_probabilities_are_those_of_the_partition_function():
    for sequence in SEQUENCES:
        ensemble = RNA.fold_compound(sequence)
        ensemble.pf()
        full = np.array(ensemble.bpp())[1:, 1:]
        found = likely_pairs(sequence)
        matrix = np.zeros_like(full)
        matrix[found.pairs[:, 0], found.pairs[:, 1]] = found.values
        assert np.allclose(matrix, np.where(full >= 0.01, full, 0), atol=2e-3)
    assert likely_pairs("AAAAAAAA").pairs.shape == (0, 2)


def test_tables_give_back_what_was_written(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_likely_pairs([("a", SEQUENCES[0]), ("none", "AAAAAAAA")], path, processes=1)
    first, empty = read_likely_pairs(path)
    assert (first.name, first.sequence) == ("a", SEQUENCES[0]) and len(empty.target.pairs) == 0
    assert np.array_equal(first.target.values, likely_pairs(SEQUENCES[0]).values)


def test_soft_loss_is_the_cross_entropy_with_probabilities():
    torch.manual_seed(0)
    logits = torch.randn(12, 12)
    logits = logits + logits.T
    found = likely_pairs(SEQUENCES[1])
    wanted = torch.zeros(12, 12)
    wanted[found.pairs[:, 0], found.pairs[:, 1]] = torch.from_numpy(found.values)
    i, j = torch.triu_indices(12, 12, 1)
    mean = F.binary_cross_entropy_with_logits(logits[i, j], wanted[i, j])
    assert torch.isclose(structure_loss(logits, found.pairs, values=found.values), mean)


def test_a_model_learns_likely_pairs(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_likely_pairs([(f"r{i}", SEQUENCES[1]) for i in range(8)], path, processes=1)
    target = Structure.from_dot_bracket(SEQUENCES[1], "((((....))))", name="v")
    splits = Splits(list(read_likely_pairs(path)), [Example("v", target.sequence, target)], [])
    changes = {"epochs": 30, "lr": 5e-3, "max_lengths": ()}
    quiet = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    model = finetune(
        recipe_named("pico-thermo"), output=tmp_path / "run", model=Config(32, 1, heads=2), splits=splits,
        changes=changes, **quiet,
    )  # fmt: skip
    from rinalmo_kit import fold

    assert fold(SEQUENCES[1], model=model, threshold=0.3).dot_bracket == "((((....))))"


def test_mutants_keep_their_pairs_and_come_again():
    s = Structure.from_dot_bracket("GGGGAAAACCCCA" * 3, "((((....))))." * 3)
    mutants = Mutated([Example("a", s.sequence, s)], 0.5, 0)
    seen = {mutants[epoch, 0].sequence for epoch in range(40)}
    assert s.sequence in seen and len(seen) > 10
    for sequence in seen:
        assert all(sequence[i] + sequence[j] in CANONICAL for i, j in s.pairs)
    assert mutants[3, 0].sequence == mutants[3, 0].sequence
    assert Mutated([Example("a", s.sequence, s)], 0.0, 0)[1, 0].sequence == s.sequence


def test_what_cannot_be_mutated_is_refused(tmp_path):
    options = {
        "task": "structure",
        "model": Config(32, 1, heads=2),
        "output": tmp_path,
        "changes": {"mutate": 0.1},
    }
    with pytest.raises(ValueError, match="only structures are mutated"):
        finetune(load_structures("examples"), mode="frozen", **options)
