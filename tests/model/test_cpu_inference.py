"""The encoder's blocks without gradients on a CPU: the same numbers as the plain way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from rinalmo_kit import tokenize
from rinalmo_kit.model import cpu_inference
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

SEQUENCES = ["ACGUACGUGG", "GGCC", "A", "ACGUACGUGG", "UUUGCA" * 9]


@pytest.fixture
def model() -> RiNALMo:
    torch.manual_seed(1)
    made = RiNALMo(Config(dim=48, blocks=3, heads=4)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def plain(model: RiNALMo, sequences: list[str], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(cpu_inference, "is_supported", lambda *_: False)
        return model(tokenize(sequences)).representation


@pytest.mark.parametrize("beta", [1.3, -0.7, 1e-5, 0.0])
@pytest.mark.parametrize("kept", [cpu_inference.KEPT, 3])
def test_same_numbers_as_block_after_block(
    model: RiNALMo, monkeypatch: pytest.MonkeyPatch, beta: float, kept: int
) -> None:
    monkeypatch.setattr(cpu_inference, "KEPT", kept)
    for block in model.transformer.blocks:
        block.transition[0].beta.data.fill_(beta)
    ran = []
    run = cpu_inference.run_blocks
    monkeypatch.setattr(cpu_inference, "run_blocks", lambda *a: ran.append(1) or run(*a))
    with torch.inference_mode():
        found = model(tokenize(SEQUENCES)).representation.clone()
        shorter = model(tokenize(SEQUENCES[:2])).representation  # the same buffers, another batch
    assert len(ran) == 2
    torch.testing.assert_close(found, plain(model, SEQUENCES, monkeypatch), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(shorter, plain(model, SEQUENCES[:2], monkeypatch), atol=2e-5, rtol=1e-5)


def test_bfloat16(model: RiNALMo, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = plain(model, SEQUENCES, monkeypatch)
    with torch.inference_mode():
        found = model.bfloat16()(tokenize(SEQUENCES)).representation.float()
    assert (found - exact).abs().mean() < 0.03 * exact.std()


def test_threads_do_not_share_buffers(model: RiNALMo) -> None:
    def encode(sequence: str) -> Tensor:
        with torch.inference_mode():
            return model(tokenize([sequence])).representation.clone()

    sequences = ["ACGU" * n for n in range(1, 40)]
    with ThreadPoolExecutor(4) as pool:
        for found, sequence in zip(pool.map(encode, sequences), sequences, strict=True):
            torch.testing.assert_close(found, encode(sequence), atol=1e-5, rtol=1e-5)


def test_anything_unusual_goes_the_plain_way(model: RiNALMo) -> None:
    blocks, x = model.transformer.blocks, torch.ones(2, 48)
    assert not cpu_inference.is_supported(x, blocks)  # gradients
    with torch.no_grad():
        assert cpu_inference.is_supported(x, blocks)
        assert not cpu_inference.is_supported(x, model.train().transformer.blocks)
        model.eval()
        with torch.autocast("cpu", torch.bfloat16):
            assert not cpu_inference.is_supported(x, blocks)
        handle = blocks[1].mh_attn.Wqkv.register_forward_hook(lambda *_: None)
        assert not cpu_inference.is_supported(x, blocks)
        handle.remove()
        assert cpu_inference.is_supported(x, blocks)
        blocks[0].transition[1] = torch.nn.GELU()
        assert not cpu_inference.is_supported(x, blocks)
