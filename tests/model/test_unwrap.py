"""What is taken for a model: encoders, and wrappers that are certain to compute what the encoder inside does."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import rinalmo_kit as rk
from rinalmo_kit.inference import bulk
from rinalmo_kit.inference.folding import refold
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.lora import add_lora, merge_lora
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.unwrap import unwrapped
from tests.helpers.examples import QUIET, classes, tiny

WRAPPERS = {
    "compiled": torch.compile,
    "DataParallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "compiled DataParallel": lambda model: torch.compile(nn.DataParallel(model)),
    "averaged compiled": lambda model: torch.optim.swa_utils.AveragedModel(torch.compile(model)),
}


@pytest.fixture
def model():
    model = tiny().eval()
    model.head = StructureHead(32).eval()
    return model


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_certain_wrappers_are_unwrapped_everywhere(model, wrap, tmp_path):
    wrapped = wrap(model)
    expected = rk.fold("GGGGAAAACCCC", model=model)
    found = rk.fold("GGGGAAAACCCC", model=wrapped)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert refold(found, model=wrapped) == found
    np.testing.assert_array_equal(rk.embed("ACGU", model=wrapped)[0], rk.embed("ACGU", model=model)[0])
    again = rk.load(rk.save(wrapped, tmp_path / "m.safetensors"), device="cpu")
    np.testing.assert_array_equal(rk.fold("GGGGAAAACCCC", model=again).probabilities, expected.probabilities)
    (tmp_path / "x.fa").write_text(">a\nGGGGAAAACCCC\n")
    bulk.run_bulk("fold", tmp_path / "x.fa", tmp_path / "out", model=wrapped)
    result = rk.evaluate(wrapped, [rk.Structure("GGGGAAAACCCC", [(0, 11)], "a")], draws=0)
    assert result.scores["model"].unique().tolist() == ["RiNALMo"]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrapped_models_are_trained(wrap, tmp_path):
    table = classes(24, seed=1)
    options = {"task": "classification", "changes": {"epochs": 1}, **QUIET}
    trained = rk.finetune(table, model=wrap(tiny()), output=tmp_path / "run", **options)
    assert set(rk.predict("ACGUACGU", model=trained)["label"]) <= {"rich", "poor"}


def test_a_model_in_many_processes(model, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29511")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    try:
        assert unwrapped(nn.parallel.DistributedDataParallel(model)) is model
    finally:
        torch.distributed.destroy_process_group()


def test_low_rank_matrices_of_a_wrapped_model(tmp_path):
    model = tiny()
    assert add_lora(nn.DataParallel(model)) is model
    with pytest.raises(ValueError, match="unexpected"):
        rk.save(model, tmp_path / "m.safetensors")
    assert merge_lora(torch.compile(model)) is model
    rk.save(model, tmp_path / "m.safetensors")


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = tiny()


class Peft(nn.Module):
    def merge_and_unload(self):
        return None


ODD = {
    "Linear": lambda: nn.Linear(2, 2),
    "Sequential": lambda: nn.Sequential(tiny()),
    "StructureHead": lambda: StructureHead(32),
    "Holder: pass its attribute backbone": Holder,
    r"Peft: pass model\.merge_and_unload\(\)": Peft,
    "the class RiNALMo: pass a model, not its class": lambda: RiNALMo,
    "Config": lambda: Config(32, 1, heads=2),
    "OrderedDict": lambda: tiny().state_dict(),
    "int": lambda: 3,
    "bytes": lambda: b"pico",
    "DataFrame": pd.DataFrame,
    "DataParallel": lambda: nn.DataParallel(nn.Linear(2, 2)),
    "ScriptModule": lambda: torch.jit.script(nn.Linear(2, 2)),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("name", ODD)
def test_anything_else_is_rejected_by_its_type(name, tmp_path):
    odd = ODD[name]()
    (tmp_path / "x.fa").write_text(">a\nACGU\n")
    calls = {
        "embed": lambda: rk.embed("ACGU", model=odd),
        "fold": lambda: rk.fold("ACGU", model=odd),
        "predict": lambda: rk.predict("ACGU", model=odd),
        "save": lambda: rk.save(odd, tmp_path / "m.safetensors"),
        "evaluate": lambda: rk.evaluate(odd, [rk.Structure("ACGU", [], "a")]),
        "jobs": lambda: bulk.run_bulk("embed", tmp_path / "x.fa", tmp_path / "out", model=odd),
    }
    if not isinstance(odd, Config):  # which means random weights there
        table = classes(24, seed=1)
        calls["finetune"] = lambda: rk.finetune(
            table, task="classification", model=odd, output=tmp_path / "run"
        )
    for call in calls.values():
        with pytest.raises(TypeError, match=f"expected .*, found .*{name}"):
            call()
    assert not (tmp_path / "m.safetensors").exists()


def test_peers_are_to_be_adapted():
    peers = pytest.importorskip("multimolecule").models
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    peer = peers.RnaFmModel(peers.RnaFmConfig(**sizes))
    with pytest.raises(
        TypeError, match=r"found RnaFmModel: pass rinalmo_kit.model.multimolecule.adapt\(model\)"
    ):
        rk.embed("ACGU", model=peer)


def test_training_mode_is_seen_through_a_wrapper(model):
    with pytest.raises(ValueError, match="training mode"):
        rk.embed("ACGU", model=nn.DataParallel(model.train()))


def test_labels_that_could_not_be_saved_are_rejected_before_the_training(tmp_path):
    table = classes(24, seed=1).replace({"label": {"rich": "x" * 2000}})
    with pytest.raises(ValueError, match="own data: labels: expected names of 1 to 1,000 characters"):
        rk.finetune(table, task="classification", model=tiny(), output=tmp_path / "run", **QUIET)
