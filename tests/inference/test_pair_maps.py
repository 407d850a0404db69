"""Maps that go through the structure head together: the probabilities of one RNA after the other, whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference import folding, pair_maps
from rinalmo_kit.inference.pair_maps import CPU_ENTRIES, SHORT, map_batches
from rinalmo_kit.model import tiled_structure_head
from tests.helpers.examples import letters

LENGTHS = [30, 1, 71, 2, 12, 30, 1, 55, 9]
RNAS = {f"r{i}": letters(np.random.default_rng(i), n) for i, n in enumerate(LENGTHS)}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    real = map_batches
    monkeypatch.setattr(pair_maps, "map_batches", lambda lengths, _: real(lengths, torch.device("cuda")))


def same(together, alone):
    assert [s.name for s in together] == list(RNAS)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert one.dot_bracket == other.dot_bracket and one.probabilities.flags.owndata


@pytest.fixture(scope="module")
def alone():
    return [rk.fold(sequence, energy=None) for sequence in RNAS.values()]


def test_a_list_gives_what_each_gives_alone(alone):
    same(rk.fold(RNAS, energy=None), alone)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_list_on_a_gpu_gives_what_each_gives_alone(alone):
    same(rk.fold(RNAS, energy=None), alone)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_batch_that_memory_does_not_hold_is_halved_and_one_rna_is_named(monkeypatch, alone):
    real, sizes = pair_maps._probabilities, []

    def limited(model, rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, rows)

    monkeypatch.setattr(pair_maps, "_probabilities", limited)
    same(rk.fold(RNAS, energy=None), alone)
    assert max(sizes) > 2
    monkeypatch.setattr(
        pair_maps,
        "_probabilities",
        lambda model, rows: (_ for _ in ()).throw(MemoryError) if len(rows[0]) == 73 else real(model, rows),
    )
    found = list(folding.fold_or_explain(RNAS.items(), energy=None))
    assert [type(one).__name__ for one in found].count("Structure") == 8
    assert "'r2' has 71 nucleotides, too many for the memory of cpu" in str(found[2])


def test_another_error_is_not_taken_for_one_of_memory(monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(pair_maps, "_probabilities", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        rk.fold(RNAS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_hold_each_rna_once_within_the_budget(device):
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    batches = list(map_batches(lengths, torch.device(device)))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        assert len(batch) == 1 or min(sizes) > 1
        if device == "cpu":
            assert len(batch) == 1 or (max(sizes) <= SHORT and len(batch) * max(sizes) ** 2 <= CPU_ENTRIES)
    assert len(batches) < (470 if device == "cpu" else 30)


def test_maps_that_half_precision_does_not_hold_are_computed_in_float32(monkeypatch):
    exact, half = (rk.load("nano-ss", device="cpu", dtype=dtype) for dtype in (None, torch.bfloat16))
    for model in (exact, half):
        with torch.no_grad():  # the same structures from numbers that float16 does not hold
            model.head.linear_in.weight *= 1e5
    real = tiled_structure_head.map_dtype
    monkeypatch.setattr(
        tiled_structure_head,
        "map_dtype",
        lambda x, w: torch.float16 if x.dtype == torch.bfloat16 else real(x, w),
    )
    rna = "GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA"
    one, other = (rk.fold(rna, model=model, energy=None).probabilities for model in (exact, half))
    assert np.isfinite(other).all() and np.abs(one - other).max() < 0.1
    with torch.no_grad():
        half.head.conv_out.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        rk.fold(rna, model=half)
