"""The structure head by tiles of rows: the same logits as on whole maps, for any height of the tiles."""

from __future__ import annotations

import pytest
import torch

from rinalmo_kit.model import tiled_structure_head
from rinalmo_kit.model.heads import StructureHead


@pytest.fixture
def head() -> StructureHead:
    torch.manual_seed(2)
    made = StructureHead(24).eval()
    with torch.no_grad():
        made.linear_in.bias.add_(3)
    return made


@pytest.mark.parametrize("length", [2, 3, 17, 60])
@pytest.mark.parametrize("pairs", [1, 100, 1 << 20])
def test_same_logits_as_on_whole_maps(
    head: StructureHead, monkeypatch: pytest.MonkeyPatch, length: int, pairs: int
) -> None:
    monkeypatch.setattr(tiled_structure_head, "PAIRS", {"cpu": pairs})
    representation = torch.randn(length, 24)
    whole = head(representation).detach()  # with gradients: map after map
    with torch.inference_mode():
        found = head(representation)
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=1e-5)
    assert torch.equal(found, found.T)


def test_a_map_that_memory_does_not_hold_is_stored_in_half_precision(
    head: StructureHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    representation = torch.randn(70, 24)
    with torch.inference_mode():
        exact = head(representation)
        monkeypatch.setattr(tiled_structure_head, "available_memory", lambda _: 1000.0)
        found = head(representation)
    assert not torch.equal(found, exact)
    assert (found - exact).abs().max() < 5e-3 * exact.std()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_in_half_precision(head: StructureHead, dtype: torch.dtype) -> None:
    representation = torch.randn(50, 24)
    with torch.inference_mode():
        exact = head(representation)
        found = head.to(dtype)(representation.to(dtype))
    assert (found - exact).abs().mean() < 0.02 * exact.std()


def test_double_precision_is_kept(head: StructureHead) -> None:
    head, representation = head.double(), torch.randn(40, 24, dtype=torch.float64)
    whole = head(representation).detach()
    with torch.inference_mode():
        torch.testing.assert_close(head(representation), whole, atol=1e-10, rtol=1e-10)


def test_moments_of_tiles_are_those_of_the_whole() -> None:
    x = torch.randn(1000, 5) * torch.tensor([1.0, 0.1, 10.0, 1.0, 1e-3]) + torch.tensor(
        [0.0, 1.0, -20.0, 5.0, 0.0]
    )
    moments = tiled_structure_head.Moments()
    for part in x.split([1, 2, 500, 497]):
        moments.add(part, torch.empty_like(part))
    torch.testing.assert_close(moments.mean.float(), x.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        (moments.square / len(x)).float(), x.var(0, correction=0), atol=1e-7, rtol=1e-3
    )
