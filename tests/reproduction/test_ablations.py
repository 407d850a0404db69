"""Exchanged parts: learned positions tell places apart, and nothing else changes."""

import pytest
import torch

import rinalmo_kit as rk
from reproduction.ablations import AblatedRiNALMo
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

CONFIG = Config(32, 2, heads=4, attention_dropout=0.0, residual_dropout=0.0)


def ablated(**options):
    torch.manual_seed(0)
    return AblatedRiNALMo(CONFIG, **options).eval()


def test_without_a_change_it_is_the_model_itself():
    torch.manual_seed(0)
    plain, tokens = RiNALMo(CONFIG).eval(), rk.tokenize(["ACGUACGU", "GG"])
    assert torch.equal(ablated()(tokens).logits, plain(tokens).logits)


def test_learned_positions_take_the_place_of_rotations():
    model, tokens = ablated(positions="learned"), rk.tokenize(["AAAAAA", "AAA"])
    with torch.no_grad():
        here = model(tokens).representation
        assert not torch.allclose(here[0, 2], here[0, 4])
        model.positions.weight.zero_()
        blind = model(tokens).representation
    assert torch.allclose(blind[0, 2], blind[0, 4], atol=1e-6), "without positions all A are alike"
    with pytest.raises(ValueError, match="22 tokens: learned positions end at 10"):
        ablated(positions="learned", longest=10)(rk.tokenize(["A" * 20]))


def test_gelu_has_about_as_many_weights():
    sizes = [sum(p.numel() for p in ablated(activation=a).parameters()) for a in ("swiglu", "gelu")]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[0]
    assert ablated(activation="gelu")(rk.tokenize(["ACGU"])).logits.isfinite().all()


def test_it_can_be_pretrained(tmp_path):
    model = rk.pretrain(
        ["ACGUACGUACGUACGU" * 2] * 8, model=ablated(positions="learned", activation="gelu"), steps=2,
        tokens_per_batch=128, output=tmp_path, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    assert model.name == "learned positions, GELU" and (tmp_path / "model.safetensors").exists()


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="'rope' or 'learned'"):
        AblatedRiNALMo(CONFIG, positions="alibi")
