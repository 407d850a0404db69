"""Attention by torch's variable-length kernel: what is passed to it, when it is chosen, and, on a GPU, its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from rinalmo_kit.model import attention, rinalmo
from rinalmo_kit.model.attention import PackedBatch, attend, attention_backends
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import PAD

SEQUENCES = ["GGGAAACUUCGGUUUCCC", "ACGU", "", "GACUAGCUAGCUAGCAUCGAC", "NNRY"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def by_sequence(q: Tensor, k: Tensor, v: Tensor, ends: list[int], scale: float) -> Tensor:
    """Attention of each sequence by its formula, in float32."""
    found = []
    for start, stop in pairwise(ends):
        q_, k_, v_ = (x[start:stop].float().transpose(0, 1) for x in (q, k, v))
        found.append(((q_ @ k_.mT * scale).softmax(-1) @ v_).transpose(0, 1))
    return torch.cat(found).to(q.dtype)


def check(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k):
    assert q.dtype == k.dtype == v.dtype and q.dtype in (torch.float16, torch.bfloat16)
    assert q.is_contiguous() and k.is_contiguous() and v.is_contiguous() and q.shape == k.shape == v.shape
    assert cu_seq_q is cu_seq_k and cu_seq_q.dtype == torch.int32 and cu_seq_q.is_contiguous()
    ends = cu_seq_q.tolist()
    assert ends[0] == 0 and ends[-1] == len(q)
    assert type(max_q) is type(max_k) is int
    assert max_q == max_k == max(b - a for a, b in pairwise(ends))
    return ends


def earlier(calls: list[Any]) -> Callable[..., Tensor]:
    """The signature of torch 2.10."""

    def varlen_attn(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None
    ) -> Tensor:
        ends = check(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)
        assert is_causal is False and return_aux is None
        calls.append(ends)
        return by_sequence(query, key, value, ends, 1 / math.sqrt(query.shape[-1]))

    return varlen_attn


def later(calls: list[Any]) -> Callable[..., Tensor]:
    """The signature since torch 2.11."""

    def varlen_attn(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *,
        return_aux=None, scale=None, window_size=(-1, -1), enable_gqa=False, **others,
    ) -> Tensor:  # fmt: skip
        ends = check(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)
        assert return_aux is None and tuple(window_size) == (-1, -1) and not enable_gqa and not others
        calls.append(ends)
        return by_sequence(query, key, value, ends, scale or 1 / math.sqrt(query.shape[-1]))

    return varlen_attn


@pytest.fixture(params=[earlier, later], ids=["torch 2.10", "torch 2.11"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a stand-in for the kernel into torch that checks what it gets and computes by the formula."""
    found: list[Any] = []
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", request.param(found))
    return found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_gets_the_packed_batch(calls: list[Any], dtype: torch.dtype) -> None:
    tokens = torch.cat((tokenize(SEQUENCES), torch.full((1, 23), PAD)))
    count = int((tokens != PAD).sum())
    qkv = torch.randn(count, 3, 4, 16, dtype=dtype)  # as from one product: not contiguous
    varlen, other = (attend(*qkv.unbind(1), PackedBatch.of(tokens, b), 0.0) for b in ("varlen", "padded"))
    assert calls == [[0, 20, 26, 28, 51, 57, 57]]
    torch.testing.assert_close(varlen, other, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("compiled", [None, False])
def test_within_the_model(calls: list[Any], monkeypatch: pytest.MonkeyPatch, compiled: bool | None) -> None:
    model = RiNALMo(Config(64, 2, 4)).eval().bfloat16()
    tokens = tokenize(SEQUENCES)
    with torch.inference_mode():
        expected = model(tokens).representation.float()
        asked = []

        def backends(device: torch.device, dtype: torch.dtype, **options: Any) -> list[str]:
            asked.append((dtype, options))
            return ["varlen"]

        monkeypatch.setattr(rinalmo, "attention_backends", backends)
        model.compiled = compiled
        found = model(tokens).representation.float()
    assert asked == [(torch.bfloat16, {"d_head": 16, "dropout": 0.0})]
    assert len(calls) == 2
    valid = tokens != PAD
    assert float(torch.cosine_similarity(found, expected, dim=-1)[valid].min()) > 0.999
    model.train().packing(tokens)
    assert asked[-1] == (torch.bfloat16, {"d_head": 16, "dropout": 0.1})


def test_when_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "has_varlen", lambda device: True)
    monkeypatch.setattr(attention, "has_flash_attn", lambda: False)
    assert attention_backends("cuda", torch.bfloat16) == ["varlen", "padded", "loop"]
    assert attention_backends("cuda", torch.bfloat16, dropout=0.1) == ["padded", "loop"]
    assert attention_backends("cuda", torch.float32) == ["padded", "loop"]
    assert attention_backends("cuda", torch.float16, d_head=12) == ["padded", "loop"]
    assert attention_backends("mps", torch.float16) == ["padded", "loop"]
    assert attention_backends("cpu", torch.bfloat16) == ["loop", "padded"]
    monkeypatch.setattr(attention, "has_flash_attn", lambda: True)
    assert attention_backends("cuda", torch.bfloat16) == ["varlen", "flash", "padded", "loop"]
    assert attention_backends("cuda", torch.bfloat16, dropout=0.1) == ["flash", "padded", "loop"]


def test_it_needs_an_nvidia_gpu_of_ampere_or_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    device, has_varlen = torch.device("cuda"), attention.has_varlen.__wrapped__
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not has_varlen(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, fits in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert has_varlen(device) is fits
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not has_varlen(device)


def test_a_batch_is_packed_once_for_its_device() -> None:
    packing = PackedBatch.of(tokenize(SEQUENCES), "varlen")
    assert packing.longest == packing.width == 23 and type(packing.longest) is int
    assert packing.cu_seqlens is packing.cu_seqlens and packing.sizes.tolist() == packing.lengths
    there = packing.to(torch.device("meta"))
    assert there.positions.device.type == there.cu_seqlens.device.type == there.sizes.device.type == "meta"
    assert there.width == 23 and there.lengths == packing.lengths and there.backend == "varlen"


@needs_cuda
@pytest.mark.parametrize("d_head", [16, 24, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_and_gradients_on_a_gpu(dtype: torch.dtype, d_head: int) -> None:
    tokens = tokenize([*SEQUENCES, "ACGU" * 90]).cuda()
    packing = {b: PackedBatch.of(tokens, b) for b in ("varlen", "padded")}
    qkv = torch.randn(int((tokens != PAD).sum()), 3, 4, d_head, device="cuda", dtype=dtype)
    found = {}
    for backend, packed in packing.items():
        own = qkv.clone().requires_grad_()
        out = attend(*own.unbind(1), packed, 0.0)
        out.float().square().sum().backward()
        found[backend] = out.float(), own.grad.float()
    for one, other in zip(found["varlen"], found["padded"], strict=True):
        torch.testing.assert_close(one, other, atol=3e-2, rtol=3e-2)


@needs_cuda
def test_the_model_on_a_gpu_agrees_with_the_cpu() -> None:
    model = RiNALMo(Config.nano()).eval()
    tokens = tokenize([*SEQUENCES, "GACU" * 60])
    valid = tokens != PAD
    with torch.inference_mode():
        expected = model(tokens).representation[valid]
        model.cuda()
        exact = model(tokens).representation.cpu()[valid]
        rough = model.bfloat16()
        assert rough.packing(tokens).backend == "varlen"
        found = rough(tokens).representation.float().cpu()[valid]
    torch.testing.assert_close(exact, expected, atol=1e-4, rtol=0)
    assert float(torch.cosine_similarity(found, expected, dim=-1).min()) > 0.995
