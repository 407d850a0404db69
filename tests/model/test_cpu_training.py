"""Training kernels: the formulas and gradients against autograd, and the statistics of dropout."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rinalmo_kit import tokenize
from rinalmo_kit.model import cpu_training
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.cpu_training import LEVELS, attention, gated, grouped_attention, residual_dropout
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.rna.alphabet import PAD

LENGTHS = [6, 1, 0, 5, 5]
RATE = round(0.1 * LEVELS) / LEVELS


def inputs(heads: int = 3, d_head: int = 8) -> list[Tensor]:
    """Double precision q, k, v; q and k as uneven as those of a trained model."""
    q, k, v = torch.randn(3, sum(LENGTHS), heads, d_head, dtype=torch.float64).unbind(0)
    return [x.clone().requires_grad_() for x in (2 * q, 2 * k, v)]


def plain(q: Tensor, k: Tensor, v: Tensor, masks: list[Tensor]) -> Tensor:
    """Attention by autograd, with the factor of each softmax weight given: (heads, L, L) a sequence."""
    pieces, start = [], 0
    for length, mask in zip(LENGTHS, masks, strict=True):
        q_, k_, v_ = (x[start : start + length].transpose(0, 1) for x in (q, k, v))
        weights = (q_ @ k_.mT / math.sqrt(q.shape[-1])).softmax(-1)
        pieces.append(((weights * mask) @ v_).transpose(0, 1))
        start += length
    return torch.cat(pieces)


def drawn_masks(q: Tensor, k: Tensor, p: float, seed: int) -> list[Tensor]:
    """Factors that attention draws from a seed: v has the rows of a unit matrix, so it returns the weights."""
    units = torch.cat([torch.eye(n, q.shape[-1], dtype=q.dtype) for n in LENGTHS])
    torch.manual_seed(seed)
    out = attention(q, k, units[:, None].expand_as(q), LENGTHS, p)
    weights = plain(q, k, units[:, None].expand_as(q), [torch.ones(()).double()] * len(LENGTHS))
    rows = (out / weights.where(weights > 0, 1)).detach().split(LENGTHS)
    return [x[..., :n].transpose(0, 1).round(decimals=8) for x, n in zip(rows, LENGTHS, strict=True)]


@pytest.fixture(params=[cpu_training.TILE, 80, 1])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """All heads together, two at a time, one by one."""
    monkeypatch.setattr(cpu_training, "TILE", request.param)
    return request.param


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_attention_and_its_gradients_are_those_of_autograd(piece: int, p: float) -> None:
    q, k, v = inputs()
    masks = drawn_masks(q, k, p, seed=7)
    factors = torch.cat([mask.flatten() for mask in masks])
    kept = LEVELS / (LEVELS - round(p * LEVELS))
    assert set(factors.tolist()) == ({0.0, round(kept, 8)} if p else {1.0})
    torch.manual_seed(7)
    out = attention(q, k, v, LENGTHS, p)
    expected = plain(q, k, v, masks)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)
    grad = torch.randn_like(out)
    torch.rand(3)  # draws in between do not change what the backward pass computes with
    for ours, theirs in zip(
        torch.autograd.grad(out, (q, k, v), grad), torch.autograd.grad(expected, (q, k, v), grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_similar_lengths_are_padded_and_nothing_of_it_is_seen(
    p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "LENGTHS", [7, 8, 7])
    [group] = cpu_training.parts_of(LENGTHS, 3)
    assert group.count == 3 and not group.full
    test_attention_and_its_gradients_are_those_of_autograd(cpu_training.TILE, p)


@pytest.mark.parametrize("p", [0.0, 0.25])
def test_attention_passes_gradcheck(piece: int, p: float) -> None:
    def seeded(*parts: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attention(*parts, LENGTHS, p)

    assert torch.autograd.gradcheck(seeded, inputs(heads=3, d_head=2))


def test_backward_leaves_the_random_generator_alone() -> None:
    q, k, v = inputs()
    out = attention(q, k, v, LENGTHS, 0.1)
    before = torch.get_rng_state()
    out.sum().backward()
    assert torch.equal(before, torch.get_rng_state())


def test_attention_dropout_has_its_rate_and_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """With q = k = 0 all weights are 1 / L, and with a unit matrix for v they are the output."""
    sequences, heads, length = 6, 10, 64
    monkeypatch.setattr(cpu_training, "TILE", 4 * length**2)
    q = torch.zeros(sequences * length, heads, length)
    units = torch.eye(length).repeat(sequences, 1)[:, None].expand_as(q)
    out = attention(q, q, units, [length] * sequences, 0.1)
    dropped = (out == 0).reshape(sequences, length, heads, length).double()
    assert torch.allclose(out[out > 0], torch.tensor(1 / length / (1 - RATE)))
    count, sigma = dropped.numel(), math.sqrt(RATE * (1 - RATE))
    assert abs(float(dropped.mean()) - RATE) < 4 * sigma / math.sqrt(count)
    z = (dropped - RATE) / sigma
    for axes in ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2), (2, 3), (0, 1), (1, 3)):
        sums = z.mean(axes) * math.sqrt(math.prod(z.shape[axis] for axis in axes))
        assert float(sums.abs().max()) < 5, axes  # no sequence, row, head or column is dropped more often
        if sums.numel() > 50:
            assert abs(float(sums.var()) - 1) < 0.5, axes  # nor do they vary less than independent ones
    for axis in range(4):  # neighbours know nothing of each other
        pairs = (z * z.roll(1, axis)).mean()
        assert abs(float(pairs)) < 4 / math.sqrt(count), axis


@pytest.mark.parametrize("rows", [cpu_training.ROWS, 3])
def test_gated_unit_passes_gradcheck(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(cpu_training, "ROWS", rows)
    a, gate = (2 * torch.randn(2, 8, 5, dtype=torch.float64)).unbind(0)
    beta = torch.tensor([1.3], dtype=torch.float64)
    parts = [x.clone().requires_grad_() for x in (a, gate, beta)]
    torch.testing.assert_close(gated(*parts), a * torch.sigmoid(beta * a) * gate)
    assert torch.autograd.gradcheck(gated, parts)


def test_residual_dropout() -> None:
    x, branch = torch.randn(2, 300, 101).unbind(0)
    branch.requires_grad_()
    x.requires_grad_()
    change = (residual_dropout(x, branch, 0.1) - x).detach()
    kept = change.abs() > 0
    torch.testing.assert_close(change[kept], (branch / (1 - RATE))[kept].detach(), atol=1e-5, rtol=0)
    assert abs(float((~kept).double().mean()) - RATE) < 4 * math.sqrt(RATE * (1 - RATE) / kept.numel())
    torch.manual_seed(5)
    residual_dropout(x, branch, 0.1).sum().backward()
    torch.manual_seed(5)
    torch.testing.assert_close(branch.grad, residual_dropout(torch.zeros_like(x), torch.ones_like(x), 0.1))
    assert torch.equal(x.grad, torch.ones_like(x))
    assert torch.equal(residual_dropout(x, branch, 0.0), x + branch)


def test_a_rate_of_one_is_refused() -> None:
    for p in (1.0, -0.1):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            residual_dropout(torch.ones(2), torch.ones(2), p)


def step(model: RiNALMo, tokens: Tensor, seed: int) -> list[Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    loss = F.cross_entropy(model(tokens).logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD)
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


def test_a_seed_fixes_a_training_step() -> None:
    model = RiNALMo(Config(64, 2, 4)).train()
    tokens = tokenize(["ACGUACGGUA" * 3, "GGGAAACC", "ACGU"])
    first, again, other = (step(model, tokens, seed) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("backend", ["loop", "padded"])
def test_without_dropout_training_has_the_gradients_of_eval_mode(backend: str) -> None:
    model = RiNALMo(Config(64, 2, 4, 0.0, 0.0))
    model.attention = backend
    tokens = tokenize(["ACGUACGGUA" * 3, "GGGAAACC", "ACGU"])
    trained, evaluated = step(model.train(), tokens, 0), step(model.eval(), tokens, 0)
    for ours, theirs in zip(trained, evaluated, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_kernels_serve_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("residual_dropout", "attention", "gated"):
        function = getattr(cpu_training, name)
        monkeypatch.setattr(
            cpu_training,
            name,
            lambda *args, name=name, function=function: (calls.append(name), function(*args))[1],
        )
    model, tokens = RiNALMo(Config(64, 2, 4)).eval(), tokenize(["ACGUACGGUA", "ACGU"])
    model(tokens)
    model.train()
    with torch.no_grad():
        model(tokens)
    assert not calls
    model(tokens)
    wanted = ["attention", "residual_dropout", "gated", "residual_dropout"] * 2
    assert calls == wanted
    with torch.autocast("cpu", torch.bfloat16):
        model(tokens)
    assert calls == 2 * wanted
    with torch.autocast("cpu", torch.float16):
        model(tokens)
    assert calls == 2 * wanted


def test_a_training_step_keeps_nothing_that_grows_with_the_square_of_the_length() -> None:
    model, kept = RiNALMo(Config(64, 2, 4)).train(), []
    tokens = tokenize(["ACGUACGGUA" * 40])  # 402 tokens: 161,604 weights a head

    def pack(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(tokens)
    assert max(kept) <= tokens.numel() * 3 * model.config.dim


@pytest.mark.parametrize("waste", [1.0, 1.25, 100.0])
def test_grouped_attention_and_its_gradients_are_those_of_autograd(
    piece: int, waste: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_training, "WASTE", waste)  # alone, with those of similar length, all together
    q, k, v = inputs()
    gradient = torch.randn_like(q)
    ones = [torch.ones(()).double()] * len(LENGTHS)
    wanted = torch.autograd.grad(plain(q, k, v, ones), (q, k, v), gradient)
    out = grouped_attention(q, k, v, LENGTHS)
    assert torch.allclose(out, plain(q, k, v, ones), atol=1e-12)
    for ours, autograd in zip(torch.autograd.grad(out, (q, k, v), gradient), wanted, strict=True):
        assert torch.allclose(ours, autograd, atol=1e-12)


def test_training_in_half_precision_stays_near_single(  # bfloat16 has 8 bits: differences of a per cent are its own
) -> None:
    torch.manual_seed(0)
    model = RiNALMo(Config(64, 2, heads=4, attention_dropout=0.0, residual_dropout=0.0)).train()
    tokens = tokenize(["ACGUACGUAGCUAGC", "GGGAAACCC", "ACGUUUGGC"])

    def gradients(enabled: bool) -> Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            packed = model.encode(tokens, model.packing(tokens))
            loss = F.cross_entropy(model.lm_mask_head(packed).float(), tokens[tokens != PAD])
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    single, half = gradients(False), gradients(True)
    assert torch.nn.functional.cosine_similarity(single, half, dim=0) > 0.995
    assert not torch.equal(single, half)
