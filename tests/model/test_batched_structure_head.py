"""The structure head on padded maps of different lengths: the logits, losses and gradients of one map after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from reproduction.thermodynamics import LikelyPairs
from rinalmo_kit.model.batched_structure_head import (
    PaddedMaps,
    batches_by_entries,
    logits,
    norm_relu,
    padded_maps,
)
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tasks import TASKS
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
