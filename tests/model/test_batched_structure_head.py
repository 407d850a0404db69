"""The structure head on padded maps of different lengths: the logits, losses and gradients of one map after another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from reproduction.thermodynamics import LikelyPairs
from rinalmo_kit.model import batched_structure_head, tiled_structure_head
from rinalmo_kit.model.batched_structure_head import (
    PaddedMaps,
    batches_by_entries,
    fits,
    logits,
    norm_relu,
    padded_maps,
)
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.model.tiled_structure_head import map_dtype
from tests.helpers.examples import letters

MIXED = [23, 2, 17, 40, 3, 23, 5]
ALL = 10**9  # entries: everything in as few groups as padding allows
TASK = TASKS["structure"]


def head_of(dim=16, dtype=torch.float32):
    torch.manual_seed(1)
    head = StructureHead(dim).to(dtype)
    torch.nn.init.normal_(head.conv_out.bias)
    with torch.no_grad():
        head.linear_in.bias += torch.rand(64)
    return head


def representations(lengths, dim=16, dtype=torch.float32):
    torch.manual_seed(2)
    return [torch.randn(n + 2, dim, dtype=dtype, requires_grad=True) for n in lengths]


def targets_of(lengths):
    """Structures, and of every third sequence pairs with probabilities; one has no pair."""
    rng, found = np.random.default_rng(0), []
    for row, n in enumerate(lengths):
        pairs = [(i, n - 1 - i) for i in range(n // 2 - 2)]
        if row % 3 == 2:
            array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
            found.append(LikelyPairs(array, rng.random(len(array)).astype(np.float32)))
        else:
            found.append(rk.Structure(letters(rng, n), pairs, f"s{row}"))
    return found


def model_with(head):
    model = RiNALMo(Config(16, 1, heads=2))
    model.head = head
    return model


def gradients(head, rows):
    return [p.grad.clone() for p in (*head.parameters(), *rows)]


@pytest.mark.parametrize("lengths", [MIXED, list(range(2, 14)), [30] * 4, [9]], ids=str)
@pytest.mark.parametrize("loss", TASK.losses)
def test_losses_and_gradients_are_those_of_one_map_after_the_other(lengths, loss):
    head, targets = head_of(), targets_of(lengths)
    model, found = model_with(head), []
    for apply in (TASK.apply_head, lambda m, r: TASK.apply_head_padded(m, r, entries=ALL)):
        head.zero_grad()
        rows = representations(lengths)
        outputs = apply(model, rows)
        value = TASK.compute_loss(loss, outputs, targets)
        value.backward()
        found.append(([one.detach() for one in outputs], value.detach(), gradients(head, rows)))
    (maps, value, slopes), (others, other, other_slopes) = found
    for one, two in zip(maps, others, strict=True):
        torch.testing.assert_close(two, one, atol=1e-5, rtol=0)
        assert torch.equal(two, two.T) and not two.diagonal().any()
    torch.testing.assert_close(other, value, atol=0, rtol=1e-5)
    for one, two in zip(slopes, other_slopes, strict=True):
        torch.testing.assert_close(two, one, atol=1e-5 * max(1.0, float(one.abs().max())), rtol=0)


def test_maps_of_very_different_lengths_do_not_share_padding():
    head = head_of()
    with torch.no_grad():
        found = padded_maps(head, representations([300, 8, 9, 290]), entries=ALL)
    assert isinstance(found, PaddedMaps) and [group.rows for group in found.groups] == [[1, 2], [3, 0]]
    assert [tuple(one.shape) for one in found] == [(300, 300), (8, 8), (9, 9), (290, 290)]


def test_logits_do_not_depend_on_what_stands_beyond_a_sequence():
    head, lengths = head_of(), torch.tensor([12, 7])
    x = torch.randn(2, 12, 16)
    noisy = x.clone()
    noisy[1, 7:] = 1e4
    with torch.no_grad():
        a, b = logits(head, x, lengths), logits(head, noisy, lengths)
    assert torch.equal(a, b) and not a[1, 7:].any() and not a[1, :, 7:].any()


def test_gradients_are_those_of_finite_differences():
    mask = torch.zeros(2, 4, 4, 1, dtype=torch.bool)
    mask[0], mask[1, :3, :3] = True, True
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm_relu(x, mask), (x,), atol=1e-6)
    head = StructureHead(3, channels=2).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: logits(head, x, torch.tensor([5, 3])), (x,), atol=1e-6)


def test_statistics_of_half_precision_are_those_of_float32():
    torch.manual_seed(0)
    mask = torch.zeros(2, 60, 60, 1, dtype=torch.bool)
    mask[0], mask[1, :31, :31] = True, True
    x = (20 + torch.randn(2, 60, 60, 8)).bfloat16()  # sums that bfloat16 could not hold
    found = norm_relu(x, mask)
    assert found.dtype == torch.bfloat16 and not found[~mask.expand_as(found)].any()
    for one, size in zip(found, (60, 31), strict=True):
        inner = torch.nn.functional.instance_norm(
            x[0 if size == 60 else 1, :size, :size].float().permute(2, 0, 1)[None]
        )
        wanted = inner[0].permute(1, 2, 0).relu()
        torch.testing.assert_close(one[:size, :size].float(), wanted, atol=0.02, rtol=0.01)


def test_mixed_precision_is_as_close_to_float32_as_one_map_after_the_other():
    head, rows = head_of(32), representations([40, 33, 35], 32)
    model = model_with(head)
    exact = [one.detach() for one in TASK.apply_head(model, rows)]
    with torch.autocast("cpu", torch.bfloat16):
        single = [one.detach() for one in TASK.apply_head(model, rows)]
        together = [one.detach() for one in padded_maps(head, rows, entries=ALL)]
    for wanted, one, other in zip(exact, single, together, strict=True):
        assert other.dtype == torch.float32
        assert (other - wanted).abs().mean() <= 1.5 * (one - wanted).abs().mean() + 1e-4
        assert (other - wanted).abs().max() < 0.05 * wanted.std()


def test_batches_keep_the_budget_and_hold_every_sequence_once():
    lengths = np.random.default_rng(0).integers(2, 400, 200).tolist()
    batches = list(batches_by_entries(lengths, 200_000))
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        assert sizes == sorted(sizes)
        assert len(batch) == 1 or len(batch) * max(sizes) ** 2 <= 200_000
        assert len(batch) * max(sizes) ** 2 <= 2 * sum(n * n for n in sizes)
    assert list(batches_by_entries([], 5)) == []


def test_one_nucleotide_is_rejected_as_by_the_head():
    with pytest.raises(ValueError, match="at least 2 nucleotides"):
        padded_maps(head_of(), representations([1, 2]), entries=ALL)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [MIXED, [30] * 4, [61]], ids=str)
def test_logits_without_gradients_are_those_of_the_head(lengths, dtype):
    head, tolerance = head_of(dtype=dtype), 1e-5 if dtype == torch.float32 else 1e-12
    rows = [one.detach() for one in representations(lengths, dtype=dtype)]
    found = logits(head, batched_structure_head.padded(rows), torch.tensor(lengths))
    assert found.dtype == dtype
    for row, maps, length in zip(rows, found, lengths, strict=True):
        torch.testing.assert_close(maps[:length, :length], head(row[1:-1]), atol=tolerance, rtol=0)
        assert torch.equal(maps, maps.T) and not maps[length:].any() and not maps.diagonal().any()


@torch.inference_mode()
def test_the_precision_of_a_gpu_changes_logits_by_less_than_a_fiftieth():
    model = rk.load("nano-ss", device="cpu")
    lengths = [70, 41, 64]
    rows = [torch.randn(n + 2, 320) for n in lengths]
    padded = batched_structure_head.padded(rows)
    exact = logits(model.head, padded, torch.tensor(lengths))
    found = logits(model.head, padded, torch.tensor(lengths), dtype=torch.float16)
    assert found.dtype == torch.float32 and torch.equal(found, found.mT) and exact.abs().max() > 5
    assert 0 < (found - exact).abs().max() < 2e-2
    assert not found[1, 41:].any() and not found[1, :, 41:].any()


def tensor_like(device, dtype, *shape):
    return SimpleNamespace(device=torch.device(device), dtype=dtype, shape=shape)


@pytest.mark.parametrize("units", [False, True])
def test_maps_are_in_float16_on_a_gpu_and_in_what_is_fast_on_a_cpu(monkeypatch, units):
    monkeypatch.setattr(tiled_structure_head, "has_bfloat16_units", lambda: units)
    single, half, brain = torch.float32, torch.float16, torch.bfloat16
    on_cpu = {(single, single): single, (half, single): single, (half, half): single, (single, brain): brain}
    on_cpu |= {(brain, single): brain, (brain, brain): brain} if units else {(brain, brain): single}
    on_gpu = {(single, single): single, (half, single): half, (brain, single): half, (brain, brain): half}
    if not units:
        on_cpu[single, brain] = single
    with torch.no_grad():
        for device, wanted in (("cpu", on_cpu), ("cuda", on_gpu)):
            for (read, weight), dtype in wanted.items():
                assert map_dtype(tensor_like(device, read), tensor_like(device, weight)) == dtype
    assert map_dtype(tensor_like("cuda", brain), tensor_like("cuda", single)) == single  # training


def test_a_map_is_computed_whole_on_a_gpu_whose_memory_suffices(monkeypatch):
    free = [1e12]
    monkeypatch.setattr(batched_structure_head, "available_memory", lambda _: free[0])

    def whole(length, device="cuda"):
        return fits(tensor_like(device, torch.float32, length, 64))

    assert whole(200) and whole(3000) and not whole(200, "cpu") and not whole(5000)
    free[0] = 4e9
    assert whole(200) and not whole(3000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_head_takes_maps_whole_where_they_fit(monkeypatch, dtype):
    monkeypatch.setattr(tiled_structure_head, "map_dtype", lambda *_: torch.float16 if half else dtype)
    half = dtype.itemsize == 2
    head, [row] = head_of(dtype=torch.float64), representations([50], dtype=torch.float64)
    with torch.inference_mode():
        exact = logits(head, row[None, 1:-1], torch.tensor([50]), dtype=torch.float64)[0]
        monkeypatch.setattr(batched_structure_head, "fits", lambda *_: True)
        monkeypatch.setattr(tiled_structure_head, "logits", None)
        found = head.to(torch.float32 if half else dtype)(row[1:-1].to(dtype))
    assert found.dtype == (torch.float32 if half else dtype) and torch.equal(found, found.T)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.05}[dtype]
    assert (found - exact).abs().max() < tolerance


def test_a_structure_head_keeps_its_weights_in_a_model_in_half_precision():
    exact, half = (rk.load("nano-ss", device="cpu", dtype=dtype) for dtype in (None, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    for key, value in exact.head.state_dict().items():
        assert torch.equal(half.head.state_dict()[key], value)
    rnas = [s.sequence for s in rk.datasets.load_structures("examples")[:12] if len(s.sequence) < 90]
    both = either = 0
    for a, b in zip(*(rk.fold(rnas, model=model, energy=None) for model in (exact, half)), strict=True):
        one, two = a.probabilities > 0.2, b.probabilities > 0.2
        both, either = both + (one & two).sum(), either + (one | two).sum()
    assert either > 200 and both / either > 0.98
