"""The encoder against the outputs of the official code, and what must hold for every batch."""

from __future__ import annotations

import copy
import json
import re
import sys
import types
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rinalmo_kit.model import attention, blocks, rinalmo
from rinalmo_kit.model.attention import PackedBatch, attend, attention_backends, rotate
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import CLS, EOS, MASK, PAD
from tests.helpers.golden import CONFIGS, golden_model, state_hash

BACKENDS = attention_backends("cpu", torch.float32)
SEQUENCES = ["GGGAAACUUCGGUUUCCC", "ACGU", "", "GACUAGCUAGCUAGCAUCGAC", "NNRY"]
_cached_model = cache(golden_model)


def load(name: str) -> RiNALMo:
    """Return a golden model of its own; the weights of small ones are made only once."""
    return copy.deepcopy(_cached_model(name)) if name in ("tiny", "nano", "micro") else golden_model(name)


@pytest.fixture
def tiny() -> RiNALMo:
    return load("tiny")


def compare(model: RiNALMo, file: Path) -> int:
    """Compare a model with all batches of a golden file at the positions that are no <pad>."""
    arrays = np.load(file)
    batches = [key.removesuffix(".tokens") for key in arrays if key.endswith(".tokens")]
    for batch in batches:
        tokens = torch.from_numpy(arrays[f"{batch}.tokens"])
        valid = tokens != PAD
        for model.attention in BACKENDS:
            with torch.inference_mode():
                out = model(tokens)
            where = f"{file.name}, {batch}, {model.attention}"
            for name, tolerance in (("logits", 2e-4), ("representation", 1e-4)):
                actual, expected = getattr(out, name), torch.from_numpy(arrays[f"{batch}.{name}"])
                assert actual.shape == expected.shape, where
                error = float((actual - expected)[valid].abs().max())
                assert error <= tolerance, f"{where}: {name} differ by {error}"
                assert not actual[~valid].any(), where
    return len(batches)


# --- the official code


@pytest.mark.parametrize(
    ("name", "total", "without_head", "block", "hidden"),
    [
        ("nano", 7_508_824, 7_398_402, 1_231_787, 853),
        ("micro", 33_491_074, 33_248_652, 2_769_761, 1280),
        ("mega", 148_056_972, 147_631_350, 4_920_533, 1706),
        ("giga", 650_901_793, 649_231_371, 19_672_747, 3413),
    ],
)
def test_parameter_counts(name: str, total: int, without_head: int, block: int, hidden: int) -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    with torch.device("meta"):
        model = RiNALMo(CONFIGS[name])
    assert CONFIGS[name].ffn_hidden == hidden
    assert count(model) == total
    assert total - count(model.lm_mask_head) == without_head
    assert count(model.transformer.blocks[0]) == block
    assert len(model.state_dict()) == 9 + 13 * CONFIGS[name].blocks


def test_keys_are_those_of_the_released_files(golden: Path, tiny: RiNALMo) -> None:
    released = torch.load(golden / "tiny_flash.pt", weights_only=True)
    assert set(tiny.state_dict()) == set(released)
    for key, tensor in tiny.state_dict().items():
        assert torch.equal(tensor, released[key]), key


@pytest.mark.parametrize("name", ["tiny", "nano", "micro"])
def test_weights_of_the_recipe(golden: Path, name: str) -> None:
    expected = json.loads((golden / "index.json").read_text())["weights_sha256"][name]
    assert state_hash(_cached_model(name).state_dict()) == expected


@pytest.mark.parametrize(("name", "batches"), [("tiny", 6), ("nano", 6), ("micro", 3)])
def test_golden_outputs(golden: Path, name: str, batches: int) -> None:
    assert compare(load(name), golden / f"lm_{name}.npz") == batches


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mega", "giga"])
def test_golden_outputs_of_large_models(golden: Path, name: str) -> None:
    model = load(name)
    expected = json.loads((golden / "index.json").read_text())["weights_sha256"][name]
    assert state_hash(model.state_dict()) == expected
    assert compare(model, golden / f"lm_{name}.npz") == 3


def test_golden_outputs_with_small_embeddings(golden: Path, tiny: RiNALMo) -> None:
    """The only data that feel the factor of token dropout and the epsilon of LayerNorm."""
    with torch.no_grad():
        tiny.embedding.weight.mul_(2.0**-8)
    assert compare(tiny, golden / "lm_tiny_smallemb.npz") == 4


def test_golden_attentions(golden: Path, tiny: RiNALMo) -> None:
    arrays = np.load(golden / "lm_tiny.npz")
    tokens, expected = (torch.from_numpy(arrays[f"ragged.{key}"]) for key in ("tokens", "attentions"))
    with torch.inference_mode():
        maps = tiny(tokens, attentions=True).attentions
    valid = tokens != PAD
    assert maps.shape == expected.shape
    queries = valid[:, None, None, :, None].expand_as(maps)
    assert float((maps - expected)[queries].abs().max()) <= 2e-5
    assert not maps[~queries].any()
    assert float((maps.sum(-1) - 1)[valid[:, None, None].expand_as(maps[..., 0])].abs().max()) <= 1e-5


# --- batches


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_does_not_depend_on_its_batch(tiny: RiNALMo, backend: str) -> None:
    tiny.attention = backend
    tokens = tokenize(SEQUENCES, pad_to=40)  # the row of "" holds <cls> <eos> only
    with torch.inference_mode():
        out = tiny(tokens, attentions=True)
        for row, sequence in enumerate(SEQUENCES):
            alone, n = tiny(tokenize([sequence]), attentions=True), len(sequence) + 2
            torch.testing.assert_close(
                out.representation[row, :n], alone.representation[0], atol=2e-5, rtol=0
            )
            torch.testing.assert_close(out.logits[row, :n], alone.logits[0], atol=2e-5, rtol=0)
            torch.testing.assert_close(
                out.attentions[row, ..., :n, :n], alone.attentions[0], atol=1e-5, rtol=0
            )
    assert out.attentions.shape == (5, 2, 4, 40, 40)


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_may_stand_on_the_left(tiny: RiNALMo, backend: str) -> None:
    tiny.attention = backend
    tokens = tokenize(["GGGAAACC", "ACGU"])
    left = torch.full((3, 14), PAD)
    left[0, 4:] = tokens[0]
    left[1, 3:9] = tokens[1, :6]
    left[2, :6] = tokens[1, :6]
    with torch.inference_mode():
        expected, out = tiny(tokens).logits, tiny(left).logits
    torch.testing.assert_close(out[0, 4:], expected[0], atol=5e-5, rtol=0)
    torch.testing.assert_close(out[1, 3:9], expected[1, :6], atol=5e-5, rtol=0)
    torch.testing.assert_close(out[2, :6], expected[1, :6], atol=5e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_padding_only_disturbs_nothing(tiny: RiNALMo, backend: str) -> None:
    tiny.attention = backend
    tokens = tokenize(["GGGAAACC", "ACGU"])
    with_empty = torch.cat((tokens[:1], torch.full_like(tokens[:1], PAD), tokens[1:]))
    out = tiny(with_empty)
    torch.testing.assert_close(out.logits[[0, 2]], tiny(tokens).logits, atol=2e-5, rtol=0)
    assert not out.logits[1].any()
    out.logits.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in tiny.parameters())


def test_nothing_but_padding_is_an_error(tiny: RiNALMo) -> None:
    for tokens in (torch.full((2, 5), PAD), tokenize([]), torch.zeros(0, 5, dtype=torch.int64)):
        with pytest.raises(ValueError, match="nothing but <pad>"):
            tiny(tokens)
    with pytest.raises(ValueError, match=re.escape("tokens must be (B, L), got shape (6,)")):
        tiny(tokenize(["ACGU"])[0])


def test_fully_masked_rows_are_finite(tiny: RiNALMo) -> None:
    tokens = torch.tensor([[MASK, MASK, MASK], [CLS, MASK, EOS], [CLS, EOS, PAD]])
    assert bool(tiny(tokens).logits.isfinite().all())


def test_position_and_order_matter(tiny: RiNALMo) -> None:
    with torch.inference_mode():
        one, other = tiny(tokenize(["ACGGU"])).logits, tiny(tokenize(["AGCGU"])).logits
    assert float((one[0, 1] - other[0, 1]).abs().max()) > 0.05  # A sees who stands where


def test_rotations_are_relative() -> None:
    packing = PackedBatch.of(tokenize(["ACGUACGUAC"]), "loop")
    cos, sin = packing.rotations(16, torch.float32)
    assert cos.shape == sin.shape == (12, 1, 1, 8)
    q, k = torch.randn(2, 16)
    q, k = (rotate(x.expand(12, 1, 1, 16), cos, sin)[:, 0, 0] for x in (q, k))
    scores = q @ k.T
    for offset in (-3, 0, 5):
        diagonal = scores.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=1e-5)


# --- attention backends


def test_backends_agree_and_wrong_ones_are_refused(tiny: RiNALMo) -> None:
    tokens = tokenize(SEQUENCES)
    outputs = []
    for tiny.attention in ("auto", *BACKENDS):
        with torch.inference_mode():
            outputs.append(tiny(tokens).logits)
    for out in outputs:
        torch.testing.assert_close(out, outputs[0], atol=2e-5, rtol=0)
    for tiny.attention in ("flash", "sdpa"):
        wanted = f"attention='{tiny.attention}' cannot run on cpu with torch.float32; available: {BACKENDS}"
        with pytest.raises(ValueError, match=re.escape(wanted)):
            tiny(tokens)


def install_fake_flash_attn(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Put a flash_attn into sys.modules that computes by torch, sequence by sequence."""
    calls = []

    def flash_attn_varlen_func(  # the interface of flash-attn 2
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None
    ):
        assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
        assert isinstance(max_seqlen_q, int)
        assert max_seqlen_q == max_seqlen_k == int(cu_seqlens_q.diff().max())
        assert q.dtype == k.dtype == v.dtype
        calls.append(cu_seqlens_q)
        ends, pieces = cu_seqlens_q.tolist(), []
        for start, stop in pairwise(ends):
            parts = [x[start:stop].transpose(0, 1) for x in (q, k, v)]
            pieces.append(F.scaled_dot_product_attention(*parts, dropout_p=dropout_p).transpose(0, 1))
        return torch.cat(pieces)

    module = types.ModuleType("flash_attn")
    module.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    return calls


def test_flash_attention_gets_the_packed_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install_fake_flash_attn(monkeypatch)
    tokens = torch.cat((tokenize(SEQUENCES), torch.full((1, 23), PAD)))
    count = int((tokens != PAD).sum())
    q, k, v = torch.randn(3, count, 4, 16)
    flash, *others = [
        attend(q, k, v, PackedBatch.of(tokens, backend), 0.0) for backend in ("flash", *BACKENDS)
    ]
    assert len(calls) == 1
    assert calls[0].tolist() == [0, 20, 26, 28, 51, 57, 57]
    assert flash.shape == (count, 4, 16)
    for other in others:
        torch.testing.assert_close(other, flash, atol=1e-5, rtol=0)


def test_flash_attention_within_the_model(monkeypatch: pytest.MonkeyPatch, tiny: RiNALMo) -> None:
    tokens = tokenize(SEQUENCES)
    expected = tiny(tokens).logits
    calls = install_fake_flash_attn(monkeypatch)
    monkeypatch.setattr(rinalmo, "attention_backends", lambda device, dtype, **_: ["flash"])
    torch.testing.assert_close(tiny(tokens).logits, expected, atol=2e-5, rtol=0)
    assert len(calls) == tiny.config.blocks


def test_flash_attention_gets_half_precision_under_autocast(
    monkeypatch: pytest.MonkeyPatch, tiny: RiNALMo
) -> None:
    """flash-attn takes float16 and bfloat16 only, and autocast does not reach into it."""
    seen = []

    def spy(q: Tensor, k: Tensor, v: Tensor, packing: PackedBatch, dropout: float) -> Tensor:
        seen.extend((q.dtype, k.dtype, v.dtype))
        return attend(q, k, v, packing, dropout)

    monkeypatch.setattr(attention, "attend", spy)
    monkeypatch.setattr(blocks, "attend", spy)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        tiny(tokenize(SEQUENCES))
    assert set(seen) == {torch.bfloat16}


def test_backends_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "flash" not in attention_backends("cpu", torch.bfloat16)
    monkeypatch.setattr(attention, "has_flash_attn", lambda: True)
    assert attention_backends("cuda", torch.float16)[0] == "flash"
    assert "flash" not in attention_backends("cuda", torch.float32)
    monkeypatch.setattr(attention, "has_flash_attn", lambda: False)
    assert "flash" not in attention_backends("cuda:1", torch.bfloat16)


# --- precision and training


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_close(tiny: RiNALMo, backend: str, autocast: bool) -> None:
    tokens = tokenize(SEQUENCES)
    valid = tokens != PAD
    tiny.attention = backend
    with torch.inference_mode():
        exact = tiny(tokens).representation[valid]
        if autocast:
            with torch.autocast("cpu", torch.bfloat16):
                rough = tiny(tokens).representation[valid]
        else:
            rough = tiny.bfloat16()(tokens).representation[valid]
            assert rough.dtype == torch.bfloat16
    assert float(F.cosine_similarity(exact, rough.float(), dim=-1).min()) > 0.995


def test_dropout_in_training_only(tiny: RiNALMo) -> None:
    tokens = tokenize(SEQUENCES)
    assert torch.equal(tiny(tokens).logits, tiny(tokens).logits)
    tiny.train()
    assert not torch.allclose(tiny(tokens).logits, tiny(tokens).logits, atol=1e-2)
    for config in (Config(64, 2, 4, 0.0, 0.5), Config(64, 2, 4, 0.5, 0.0)):
        model = RiNALMo(config).train()  # each of the two rates by itself
        assert not torch.allclose(model(tokens).logits, model(tokens).logits, atol=1e-3)
    model = RiNALMo(Config(64, 2, 4, 0.0, 0.0)).train()
    assert torch.equal(model(tokens).logits, model(tokens).logits)


def test_inference_and_training_formulas_agree(tiny: RiNALMo) -> None:
    tokens = tokenize(SEQUENCES)
    with torch.no_grad():
        without = tiny(tokens).logits
    torch.testing.assert_close(tiny(tokens).logits, without, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_checkpointing_changes_no_gradient(tiny: RiNALMo, backend: str) -> None:
    tokens = tokenize(SEQUENCES)
    tiny.train()
    tiny.attention = backend
    gradients = []
    for tiny.gradient_checkpointing in (False, True):
        torch.manual_seed(4)  # the same dropout, also when a block runs for the second time
        tiny.zero_grad()
        F.cross_entropy(tiny(tokens).logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD).backward()
        gradients.append({name: p.grad.clone() for name, p in tiny.named_parameters()})
    for name, gradient in gradients[0].items():
        assert float(gradient.abs().max()) > 0, name
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)


def test_the_padding_embedding_gets_no_gradient(tiny: RiNALMo) -> None:
    tiny(tokenize(SEQUENCES)).logits.sum().backward()
    assert not tiny.embedding.weight.grad[PAD].any()
    assert not tiny.embedding.weight.grad[MASK].any()


def test_a_config_needs_an_even_head_width() -> None:
    with pytest.raises(ValueError, match="dim=60 is not a multiple of 2 × heads=20"):
        Config(60, 2)
