"""Blocks as a GPU computes them: padded widths, fused and compiled steps; here on the CPU, by the same functions."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from rinalmo_kit.model import checkpoint, fused_blocks, rinalmo
from rinalmo_kit.model.attention import PackedBatch
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.fused_blocks import is_supported, padded_feed_forward
from rinalmo_kit.model.lora import add_lora, merge_lora
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import PAD

SEQUENCES = ["GGGAAACUUCGGUUUCCC", "ACGU", "", "GACUAGCUAGCUAGCAUCGAC", "NNRY"]
TOKENS = tokenize(SEQUENCES)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def config(dropout: float = 0.0) -> Config:
    return Config(64, 2, 4, attention_dropout=0.0, residual_dropout=dropout)  # a hidden width of 170


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of a GPU, without the compiler."""
    monkeypatch.setattr(RiNALMo, "way_of_blocks", lambda self, packing: "fused")


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after the test that the compiler failed."""
    monkeypatch.setattr(fused_blocks, "_failed", [])


def encode(model: RiNALMo, tokens: Tensor = TOKENS) -> Tensor:
    return model.encode(tokens, model.packing(tokens))


def train(model: RiNALMo, steps: int = 3) -> tuple[list[float], torch.optim.Optimizer]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(TOKENS).logits.flatten(0, 1), TOKENS.flatten(), ignore_index=PAD)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, optimizer


# --- padded widths


def test_padding_changes_no_number_and_gets_no_gradient() -> None:
    hidden, dim = 170, 64
    parts = [
        torch.randn(*shape) for shape in ((hidden, dim), (hidden,), (hidden, dim), (hidden,), (dim, hidden))
    ]
    parts = [part.requires_grad_() for part in parts]
    x = torch.randn(9, dim)
    into, bias, out = padded_feed_forward(*parts, multiple=64, dtype=torch.float32)
    assert into.shape == (384, dim) and bias.shape == (384,) and out.shape == (dim, 192)
    for padding in (into[170:192], into[362:], bias[170:192], bias[362:], out[:, 170:]):
        assert not padding.any()
    for made in (into, bias, out):
        made.retain_grad()
    a, g = F.linear(x, into, bias).chunk(2, -1)
    y = F.linear(F.silu(a) * g, out)
    linear, linear_bias, gate, gate_bias, last = parts
    expected = F.linear(F.silu(F.linear(x, linear, linear_bias)) * F.linear(x, gate, gate_bias), last)
    torch.testing.assert_close(y, expected)
    found = torch.autograd.grad(y.square().sum(), parts, retain_graph=True)
    wanted = torch.autograd.grad(expected.square().sum(), parts)
    for one, other, part in zip(found, wanted, parts, strict=True):
        assert one.shape == part.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    y.square().sum().backward()
    assert not into.grad[170:192].any() and not into.grad[362:].any() and not bias.grad[170:192].any()


@pytest.mark.parametrize(("size", "width"), [("giga", 3456), ("nano", 896), ("micro", 1280), ("pico", 512)])
def test_widths_of_the_sizes(size: str, width: int) -> None:
    made = getattr(Config, size)()
    h, d = made.ffn_hidden, made.dim
    with torch.device("meta"):
        parts = torch.empty(h, d), torch.empty(h), torch.empty(h, d), torch.empty(h), torch.empty(d, h)
    into, bias, out = padded_feed_forward(*parts, multiple=64, dtype=torch.bfloat16)
    assert into.shape == (2 * width, d) and bias.shape == (2 * width,) and out.shape == (d, width)
    assert into.dtype == bias.dtype == out.dtype == torch.bfloat16


def test_files_and_state_dicts_keep_keys_shapes_and_bits(fused: None, tmp_path: Path) -> None:
    model = RiNALMo(config()).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    checkpoint.save(model, tmp_path / "before.safetensors")
    with torch.inference_mode():
        encode(model)
    encode(model).sum().backward()
    model.zero_grad()
    checkpoint.save(model, tmp_path / "after.safetensors")
    stored, again = (load_file(tmp_path / f"{name}.safetensors") for name in ("before", "after"))
    assert stored.keys() == again.keys() and all(torch.equal(stored[key], again[key]) for key in stored)
    for state in (model.state_dict(), copy.deepcopy(model).state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[key], before[key]) for key in before)
    other = RiNALMo(config()).eval()
    encode(other)
    other.load_state_dict(before)
    torch.testing.assert_close(encode(other), encode(model), atol=0, rtol=0)
    loaded = load(tmp_path / "after.safetensors", config=config(), device="cpu")
    torch.testing.assert_close(encode(loaded), encode(model), atol=0, rtol=0)


def test_changed_weights_are_seen_at_once(fused: None) -> None:
    """As by averaged weights, which are swapped behind autograd's back."""
    model = RiNALMo(config()).eval()
    with torch.inference_mode():
        before = encode(model)
        model.transformer.blocks[0].transition[0].linear.weight.data.mul_(2)
        assert not torch.allclose(encode(model), before)


def test_training_is_that_of_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    start = RiNALMo(config())
    found = {}
    for way in ("module", "fused"):
        monkeypatch.setattr(RiNALMo, "way_of_blocks", lambda self, packing, way=way: way)
        model = copy.deepcopy(start).train()
        losses, optimizer = train(model)
        found[way] = losses, model.state_dict(), optimizer.state_dict()["state"]
    (losses, state, adam), (other_losses, other_state, other_adam) = found.values()
    assert losses == pytest.approx(other_losses, rel=1e-4) and losses[-1] < losses[0]
    for key, value in state.items():
        assert other_state[key].shape == value.shape
        # Adam divides by the root of the square: a gradient that is rounding alone still takes whole steps
        assert float((other_state[key] - value).abs().mean()) < 1e-3, key
    for number, one in adam.items():
        assert other_adam[number]["exp_avg"].shape == one["exp_avg"].shape
        torch.testing.assert_close(other_adam[number]["exp_avg"], one["exp_avg"], atol=2e-3, rtol=1e-2)


# --- the same numbers as the modules


@pytest.mark.parametrize("backend", ["loop", "padded"])
@pytest.mark.parametrize("gradients", [False, True])
def test_fused_blocks_agree_with_the_modules(backend: str, gradients: bool) -> None:
    model = RiNALMo(Config(64, 2, 4)).eval()
    with torch.set_grad_enabled(gradients):
        expected = model.encode(TOKENS, PackedBatch.of(TOKENS, backend))
        found = model.encode(TOKENS, PackedBatch.of(TOKENS, backend, "fused"))
        outputs = model.block_outputs(TOKENS, PackedBatch.of(TOKENS, backend, "fused"), [1, 2])
        wanted = model.block_outputs(TOKENS, PackedBatch.of(TOKENS, backend), [1, 2])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    for one, other in zip(outputs, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_close(fused: None, autocast: bool) -> None:
    model = RiNALMo(Config(64, 2, 4)).eval()
    exact = model.encode(TOKENS, PackedBatch.of(TOKENS, "padded"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        rough = encode(model if autocast else model.bfloat16())
    assert rough.dtype == (torch.float32 if autocast else torch.bfloat16)
    assert float(F.cosine_similarity(exact.detach(), rough.float(), dim=-1).min()) > 0.995


def test_dropout_and_gradient_checkpointing(fused: None) -> None:
    model = RiNALMo(Config(64, 2, 4, 0.0, 0.3)).train()
    assert not torch.allclose(encode(model), encode(model), atol=1e-2)
    gradients = []
    for model.gradient_checkpointing in (False, True):
        torch.manual_seed(4)
        model.zero_grad()
        encode(model).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.transformer.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_low_rank_matrices(fused: None) -> None:
    model = add_lora(RiNALMo(config()), rank=4)
    assert all(is_supported(block) for block in model.transformer.blocks)
    low = model.transformer.blocks[0].transition[0].linear.parametrizations.weight[0]
    nn.init.normal_(low.B)
    found = encode(model)
    torch.testing.assert_close(
        found, model.encode(TOKENS, PackedBatch.of(TOKENS, "padded")), atol=2e-5, rtol=0
    )
    found.square().sum().backward()
    assert low.A.shape == (4, 64) and low.B.shape == (170, 4) and float(low.B.grad.abs().max()) > 0
    torch.testing.assert_close(encode(merge_lora(model)), found, atol=2e-5, rtol=0)


def test_hooks_and_other_parts_are_left_to_the_modules(fused: None) -> None:
    model = RiNALMo(config()).eval()
    seen = []
    handle = model.transformer.blocks[1].transition[0].register_forward_hook(lambda *_: seen.append(1))
    assert is_supported(model.transformer.blocks[0]) and not is_supported(model.transformer.blocks[1])
    encode(model)
    assert seen == [1]
    handle.remove()
    assert is_supported(model.transformer.blocks[1])
    model.transformer.blocks[1].mh_attn.out_proj = nn.Sequential(nn.Linear(64, 64))
    assert not is_supported(model.transformer.blocks[1])


def test_attention_maps_are_those_of_the_modules(fused: None) -> None:
    model = RiNALMo(config()).eval()
    assert model(TOKENS, attentions=True).attentions.shape == (5, 2, 4, 23, 23)


# --- when it is compiled


class Elsewhere:
    """Stands in for the positions of a batch on another device."""

    def __init__(self, kind: str, tokens: int) -> None:
        self.device, self.tokens = torch.device(kind), tokens

    def __len__(self) -> int:
        return self.tokens


def test_the_way_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_blocks, "compiler_works", lambda kind: True)
    model = RiNALMo(config())

    def way(kind: str, tokens: int = 100) -> str:
        batch = PackedBatch([tokens], Elsewhere(kind, tokens), Elsewhere(kind, tokens), "padded")
        return model.way_of_blocks(batch)

    assert way("cpu") == way("mps") == "module"
    assert way("cuda") == "fused"  # it has computed little
    monkeypatch.setattr(rinalmo, "WORTH_COMPILING", model.operations * 1.5)
    with torch.no_grad():
        assert way("cuda") == "fused"  # a third of the operations
    assert way("cuda") == "compiled"
    model.compiled = False
    assert way("cuda", 10**12) == "fused" and way("cpu") == "module"
    model.compiled = True
    assert way("cuda", 1) == way("cpu") == "compiled"
    monkeypatch.setattr(fused_blocks, "compiler_works", lambda kind: False)
    assert way("cuda") == "fused" and way("cpu") == "module"


def test_without_a_compiler_there_is_one_notice(monkeypatch: pytest.MonkeyPatch, working: None) -> None:
    def broken(function, **options):
        def call(*arguments):
            raise torch._dynamo.exc.TorchDynamoException("Failed to find C compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(fused_blocks, "compiler_works", fused_blocks.compiler_works.__wrapped__)
    model = RiNALMo(config()).eval()
    expected = encode(model)
    model.compiled = True
    with pytest.warns(
        UserWarning, match=r"does not work here \(TorchDynamoException: Failed to find C compiler\)"
    ):
        assert torch.equal(encode(model), expected)
    monkeypatch.setattr(fused_blocks, "compiler_works", lambda kind: True)
    fused_blocks.compiled_parts.cache_clear()
    fused_blocks._failed.clear()
    with pytest.warns(UserWarning, match="does not work here") as notices:
        torch.testing.assert_close(encode(model), expected, atol=2e-5, rtol=0)  # it fails in a block
    assert len(notices) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(encode(model), expected, atol=2e-5, rtol=0)
    fused_blocks.compiled_parts.cache_clear()


def test_errors_that_are_not_the_compilers_are_raised(monkeypatch: pytest.MonkeyPatch, working: None) -> None:
    def raising(error: Exception):
        def call(*arguments):
            raise error

        return lambda function: call

    def wrong(x: Tensor) -> Tensor:
        raise ValueError("wrong input")

    for error, seen in (
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (torch._dynamo.exc.TorchDynamoException("no code for this"), ValueError),
    ):
        monkeypatch.setattr(torch, "compile", raising(error))
        with pytest.raises(seen):
            fused_blocks.compiled(wrong)(torch.ones(1))
    assert not fused_blocks._failed


@pytest.mark.slow
def test_compiled_blocks_agree_with_the_modules(working: None) -> None:
    """By the compiler for CPUs, forward and backward; the code is made once for all lengths."""
    assert fused_blocks.compiler_works("cpu")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    fused_blocks.compiled_parts.cache_clear()
    model = RiNALMo(config()).eval()
    batches = [tokenize(["ACGU" * n, "GGAC", "GAUUACA" * 2]) for n in (5, 9, 30, 2)]
    expected = [encode(model, tokens) for tokens in batches]
    wanted = []
    for rows in expected:
        model.zero_grad()
        rows.square().sum().backward()
        wanted.append([p.grad.clone() for p in model.transformer.parameters()])
    model.compiled = True
    with torch.inference_mode():
        for tokens, rows in zip(batches, expected, strict=True):
            assert model.packing(tokens).way == "compiled"
            torch.testing.assert_close(encode(model, tokens), rows, atol=2e-5, rtol=0)
    for tokens, rows, gradients in zip(batches, expected, wanted, strict=True):
        model.zero_grad()
        found = encode(model, tokens)
        torch.testing.assert_close(found, rows, atol=2e-5, rtol=0)
        found.square().sum().backward()
        for p, gradient in zip(model.transformer.parameters(), gradients, strict=True):
            torch.testing.assert_close(p.grad, gradient, atol=1e-3, rtol=1e-3)
    counts = torch._dynamo.utils.counters
    assert counts["stats"]["unique_graphs"] == 4, counts  # two parts, with gradients and without
    assert not counts["graph_break"] and not fused_blocks._failed


@pytest.mark.slow
def test_compiled_training_with_autocast_dropout_and_checkpointing(working: None) -> None:
    model = RiNALMo(config(dropout=0.1)).train()
    model.compiled = model.gradient_checkpointing = True
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = train(model, steps=8)
        assert losses[-1] < losses[0]
        torch.manual_seed(3)
        one = encode(model)
        torch.manual_seed(3)
        assert torch.equal(encode(model), one) and not torch.equal(encode(model), one)
    assert not fused_blocks._failed


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_compiled_blocks_on_a_gpu(dtype: torch.dtype, working: None) -> None:
    model = RiNALMo(Config.nano()).eval().cuda().to(dtype)
    found = {}
    for model.compiled in (False, True):
        with torch.inference_mode():
            found[model.compiled] = [encode(model, tokenize(["ACGU" * n, "GGAC"])).float() for n in (5, 80)]
    for one, other in zip(*found.values(), strict=True):
        assert float(F.cosine_similarity(one, other, dim=-1).min()) > 0.999
    assert not fused_blocks._failed
