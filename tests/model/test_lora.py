"""Low-rank adaptation: what is trained, what it computes, and that nothing of it is left after the merge."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead
from rinalmo_kit.model.lora import add_lora, has_lora, merge_lora
from rinalmo_kit.model.multimolecule import adapt
from rinalmo_kit.model.rinalmo import Encoder, RiNALMo
from rinalmo_kit.model.tokenizer import tokenize

TOKENS = tokenize(["GGGAAACUACCC", "ACGU", "ACGGGUUUCA"])
LINEAR = (
    5  # layers in a block of ours: Wqkv, out_proj, linear, linear_gate, and the last of the feed-forward net
)


def ours() -> Encoder:
    config = Config(64, 2, heads=4, attention_dropout=0.0, residual_dropout=0.0)
    model = RiNALMo(config)
    model.head = ClassificationHead(64, 8, 3)
    return model


def theirs() -> Encoder:
    models = pytest.importorskip("multimolecule").models
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = models.RnaFmConfig(**sizes, hidden_dropout=0.0, attention_dropout=0.0)
    model = adapt(models.RnaFmModel(config))
    model.head = ClassificationHead(64, 8, 3)
    return model


@pytest.fixture(params=[ours, theirs])
def model(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(2)
    return request.param().train()


def output(model: Encoder) -> Tensor:
    packing = model.packing(TOKENS)
    rows = model.encode(TOKENS, packing).split(packing.lengths)
    return model.head(torch.stack([row[0] for row in rows]))


def optimiser(model: Encoder) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)


def train(model: Encoder, steps: int, optimizer: torch.optim.Optimizer | None = None) -> list[float]:
    optimizer, losses = optimizer or optimiser(model), []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(output(model), torch.tensor([0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_nothing_changes_before_training(model):
    before = output(model)
    assert has_lora(add_lora(model))
    torch.testing.assert_close(output(model), before, rtol=0, atol=1e-6)


def test_only_low_rank_matrices_and_head_are_trained(model):
    original = {k: v.clone() for k, v in model.state_dict().items()}
    add_lora(model, rank=4)
    losses = train(model, 20)
    assert losses[-1] < 0.5 * losses[0]
    with_gradient = {
        name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }
    low_rank = {name for name, _ in model.named_parameters() if name.endswith((".0.A", ".0.B"))}
    head = {name for name, _ in model.named_parameters() if name.startswith("head.")}
    assert with_gradient == low_rank | head
    inside = [part for block in model.layers()[1] for part in block.modules() if isinstance(part, nn.Linear)]
    assert len(low_rank) == 2 * len(inside) >= 2 * 2 * LINEAR
    now = {
        key.replace("parametrizations.weight.original", "weight"): v for key, v in model.state_dict().items()
    }
    changed = {key for key, value in original.items() if not torch.equal(now[key], value)}
    assert changed == head


def test_merged_model_is_an_ordinary_one(model, tmp_path):
    plain = copy.deepcopy(model)
    train(add_lora(model, rank=3, alpha=6), 5)
    before = output(model.eval())
    assert merge_lora(model) is model and not has_lora(model)
    torch.testing.assert_close(output(model), before, rtol=0, atol=1e-5)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(part) for part in model.modules()] == [type(part) for part in plain.modules()]
    assert all(p.requires_grad for p in model.parameters())
    assert not torch.allclose(output(plain.eval()), before, atol=1e-2)
    plain.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(output(plain), before, rtol=0, atol=1e-5)


def test_merged_copy_is_saved_while_training_goes_on(tmp_path):
    model = ours()
    train(add_lora(model), 3)
    path = rk.save(merge_lora(copy.deepcopy(model)), tmp_path / "model.safetensors")
    loaded = rk.load(path, device="cpu", config=model.config)
    torch.testing.assert_close(output(loaded), output(model.eval()), rtol=0, atol=1e-5)
    assert has_lora(model) and len(train(model, 2)) == 2


def test_training_resumes_from_a_state_dict(model):
    start, whole = copy.deepcopy(model), add_lora(model)
    optimizer = optimiser(whole)
    train(whole, 3, optimizer)
    file = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(whole, 3, optimizer)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = add_lora(start)
    resumed.load_state_dict(saved["model"], strict=True)
    optimizer = optimiser(resumed)
    optimizer.load_state_dict(saved["optimizer"])
    train(resumed, 3, optimizer)
    for (name, expected), found in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, found), name


def test_update_has_the_rank_and_the_scale():
    model = ours()
    layer = model.transformer.blocks[1].transition[2]
    weight = layer.weight.detach().clone()
    add_lora(model, rank=3, alpha=12)
    low_rank = layer.parametrizations.weight[0]
    nn.init.normal_(low_rank.B)
    merge_lora(model)
    update = layer.weight - weight
    torch.testing.assert_close(update, 12 / 3 * low_rank.B @ low_rank.A, atol=1e-5, rtol=1e-4)
    assert torch.linalg.matrix_rank(update, tol=1e-3) == 3


def test_targets(model):
    named = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    add_lora(model, targets=("linear", "out_proj") if isinstance(model, RiNALMo) else ("query", "value"))
    got = {name.rpartition(".")[2] for name, part in named.items() if hasattr(part, "parametrizations")}
    assert got == ({"linear", "out_proj"} if isinstance(model, RiNALMo) else {"query", "value"})
    assert sum(hasattr(part, "parametrizations") for part in named.values()) == 2 * 2


def test_counts():
    model = add_lora(RiNALMo(Config(64, 2, heads=4)), rank=4)
    hidden = int(2 / 3 * 4 * 64)
    per_block = 4 * ((64 + 192) + (64 + 64) + 3 * (64 + hidden))
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 2 * per_block
    assert total == sum(p.numel() for p in RiNALMo(Config(64, 2, heads=4)).parameters()) + trained


def test_gradient_checkpointing_gives_the_same_gradients():
    model = ours()
    train(add_lora(model), 2)
    gradients = []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        output(model).pow(2).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.requires_grad])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_half_precision_forward_is_close():
    model = ours()
    train(add_lora(model), 3)
    expected = rk.embed("ACGUACGU", model=model.eval())[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = rk.embed("ACGUACGU", model=model)[0]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_misuse_is_explained():
    model = ours()
    with pytest.raises(ValueError, match="rank=0"):
        add_lora(model, rank=0)
    with pytest.raises(ValueError, match=r"no linear layers called \['query'\]; it has \['Wqkv', 'out_proj'"):
        add_lora(model, targets=("Wqkv", "query"))
    assert all(p.requires_grad for p in model.parameters()) and not has_lora(model)
    add_lora(model)
    with pytest.raises(ValueError, match="has low-rank matrices already"):
        add_lora(model)


def test_merging_a_plain_model_changes_nothing(model):
    before = output(model.requires_grad_(False))
    assert torch.equal(output(merge_lora(model)), before)
    assert not any(p.requires_grad for p in model.parameters())
