"""Adapter files: the same model as after the training, the right base or none, and nothing in them is trusted."""

import copy
import hashlib
import json
import os
import random
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import rinalmo_kit as rk
from rinalmo_kit.model import pretrained
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead
from rinalmo_kit.model.lora import add_lora, encoder_sha256, find_base, merge_lora
from rinalmo_kit.model.multimolecule import adapt
from rinalmo_kit.model.rinalmo import RiNALMo
from tests.helpers.model_files import rejected, small
from tests.model.test_untrusted_files import mutated, nonsense

BASE = "base.safetensors"
LAYER = "lora.transformer.blocks.0.mh_attn.Wqkv"


def same_weights(one, other):
    assert list(one.state_dict()) == list(other.state_dict())
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def trained(base, head="classes", rank=4):
    """A model with low-rank matrices that are not zero, as after a training, not merged yet."""
    model = add_lora(rk.load(base, device="cpu"), rank=rank, alpha=6).train()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("weight.0.B"):
            nn.init.normal_(parameter, std=0.1)
    as_after = small(head)
    model.head, model.info = as_after.head, as_after.info
    return model.eval()


@pytest.fixture
def base(tmp_path):
    return rk.save(small(), tmp_path / BASE)


@pytest.fixture
def adapter(base, tmp_path):
    return rk.save(merge_lora(trained(base)), tmp_path / "adapter.safetensors", adapter=True)


def content(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def same_content(one, other):
    (state, metadata), (other_state, other_metadata) = content(one), content(other)
    assert metadata == other_metadata and state.keys() == other_state.keys()
    assert all(torch.equal(value, other_state[key]) for key, value in state.items())
    assert all(value.dtype == other_state[key].dtype for key, value in state.items())


# what comes back


@pytest.mark.parametrize("head", ["structure", "classes", "regression"])
def test_a_loaded_adapter_is_the_merged_model(base, head, tmp_path):
    unmerged = trained(base, head)
    path = rk.save(unmerged, tmp_path / "unmerged.safetensors", adapter=True)
    model = merge_lora(copy.deepcopy(unmerged))
    same_content(path, rk.save(model, tmp_path / "a.safetensors", adapter=True))
    loaded = rk.load(path, device="cpu")
    same_weights(loaded, model)
    assert not torch.equal(
        loaded.transformer.blocks[0].mh_attn.Wqkv.weight, small().transformer.blocks[0].mh_attn.Wqkv.weight
    )
    assert loaded.info == model.info and not loaded.training
    assert (loaded.name, loaded.source) == ("unmerged.safetensors", str(path.resolve()))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    same_content(path, rk.save(loaded, tmp_path / "again.safetensors", adapter=True))
    whole = rk.load(rk.save(loaded, tmp_path / "whole.safetensors"), device="cpu")
    same_weights(whole, model)


def test_a_file_holds_the_matrices_the_head_and_who_its_base_is(base, adapter):
    state, metadata = content(adapter)
    facts = json.loads(metadata["adapter"])
    assert facts == {
        "base": BASE,
        "sha256": encoder_sha256(rk.load(base, device="cpu")),
        "rank": 4,
        "scale": 1.5,
    }
    assert state[f"{LAYER}.A"].shape == (4, 16) and state[f"{LAYER}.B"].shape == (48, 4)
    assert {key.split(".")[0] for key in state} == {"lora", "pred_head"}
    assert str(base.parent) not in repr(metadata)


def test_half_precision(base, adapter, tmp_path):
    model = rk.load(adapter, device="cpu")
    path = rk.save(model, tmp_path / "half.safetensors", adapter=True, dtype=torch.float16)
    assert path.stat().st_size < 0.75 * adapter.stat().st_size
    loaded = rk.load(path, device="cpu")
    assert loaded.dtype == torch.float32
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=2e-3, atol=1e-3)
    same_content(path, rk.save(loaded, tmp_path / "again.safetensors", adapter=True, dtype=torch.float16))
    assert rk.load(adapter, device="cpu", dtype=torch.float16).dtype == torch.float16


def test_it_stands_wherever_a_model_file_does(adapter, tmp_path):
    from rinalmo_kit import cli

    sequences = ["GGGAAACCC", "ACGUACGU"]
    expected = rk.predict(sequences, model=rk.load(adapter, device="cpu"))
    assert rk.predict(sequences, model=adapter).equals(expected)
    np.testing.assert_array_equal(
        rk.embed(sequences[0], model=str(adapter)), rk.embed(sequences[0], model=adapter)
    )
    (tmp_path / "new.fa").write_text(">a\nGGGAAACCC\n")
    assert (
        cli.main(
            ["predict", str(tmp_path / "new.fa"), "-m", str(adapter), "-q", "-o", str(tmp_path / "p.csv")]
        )
        == 0
    )
    assert "P(b)" in (tmp_path / "p.csv").read_text()


def test_an_encoder_of_another_package(tmp_path):
    models = pytest.importorskip("multimolecule").models
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    peer = rk.save(
        adapt(models.RnaFmModel(models.RnaFmConfig(**sizes)).eval()), tmp_path / "peer.safetensors"
    )
    model = add_lora(rk.load(peer, device="cpu"), targets=("query",))
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    merge_lora(model)
    loaded = rk.load(rk.save(model, tmp_path / "a.safetensors", adapter=True), device="cpu")
    same_weights(loaded, model)


# the hash


def test_the_hash_is_of_the_numbers_alone(tmp_path):
    model = small()
    expected = hashlib.sha256(b"RiNALMo 2\n")
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}
    for key in sorted(state):
        numbers = state[key].numpy().astype("<f4")
        expected.update(
            f"{key} {numbers.shape}\n".encode() + np.where(numbers == 0, 0, numbers).astype("<f4").tobytes()
        )
    assert encoder_sha256(model) == expected.hexdigest()
    other_head = small("classes")
    assert encoder_sha256(other_head) == encoder_sha256(model)
    half = rk.load(rk.save(model, tmp_path / "half.safetensors", dtype=torch.float16), device="cpu")
    again = rk.load(rk.save(half, tmp_path / "float.safetensors"), device="cpu", dtype=torch.float64)
    assert encoder_sha256(half) == encoder_sha256(again) != encoder_sha256(model)
    zero = copy.deepcopy(model)
    for one, sign in ((model, 0.0), (zero, -0.0)):
        one.embedding.weight.data[3].fill_(sign)
    assert encoder_sha256(zero) == encoder_sha256(model)
    zero.lm_mask_head.linear2.bias.data[0] += 1e-6
    assert encoder_sha256(zero) != encoder_sha256(model)
    torch.manual_seed(0)
    models = [RiNALMo(Config(16, 2, heads=heads)) for heads in (2, 4)]
    models[1].load_state_dict(models[0].state_dict())
    assert encoder_sha256(models[0]) != encoder_sha256(models[1])


# the base


def test_a_base_given_by_path_or_as_a_model(base, adapter, tmp_path):
    expected = rk.load(adapter, device="cpu")
    (tmp_path / "elsewhere").mkdir()
    moved = base.rename(tmp_path / "elsewhere" / "b.safetensors")
    model = rk.load(moved, device="cpu")
    before = copy.deepcopy(model)
    for given in (moved, str(moved), model):
        found = rk.load(adapter, base=given, device="cpu")
        same_weights(found, expected)
        assert found.source is None  # its path alone would not load
    same_weights(model, before)
    assert isinstance(model.head, type(before.head)) and model.adapter is None
    with pytest.raises(TypeError, match="expected an encoder, the name of a model or its path, found int"):
        rk.load(adapter, base=3)
    with pytest.raises(ValueError, match="it has low-rank matrices of its own"):
        rk.load(adapter, base=add_lora(model))
    with pytest.raises(ValueError, match="is a whole model: base= is for adapter files"):
        rk.load(moved, base=moved)


def test_a_base_that_is_absent(base, adapter):
    base.unlink()
    told = r"is an adapter of base\.safetensors, which is neither .* put base\.safetensors there, or call rk\.load"
    rejected(adapter, told, FileNotFoundError)


def test_another_base(base, adapter):
    hashes = [encoder_sha256(rk.load(base, device="cpu"))]
    torch.manual_seed(5)
    other = RiNALMo(Config(16, 2, heads=2))
    hashes.append(encoder_sha256(other))
    rk.save(other, base)
    rejected(
        adapter,
        f"was trained on another model: its base {BASE} has the hash {hashes[0][:12]}, .*{hashes[1][:12]}",
    )


def test_a_base_that_is_an_adapter(base, adapter):
    shutil.copy(adapter, base)
    rejected(adapter, r"base\.safetensors is an adapter itself: expected the whole model base\.safetensors")
    changed(adapter, base=adapter.name)
    rejected(adapter, "is an adapter itself")


@pytest.fixture
def embedded(monkeypatch, tmp_path):
    """A package with a base of 16 dimensions and an adapter of it, instead of those that it has."""
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    files = {name: f"{name}.safetensors" for name in ("nano", "nano-ncrna-0")}
    monkeypatch.setattr(pretrained, "EMBEDDED", files)  # the order of the true one stays as it is
    rk.save(small(), tmp_path / files["nano"])
    model = merge_lora(trained("nano"))
    assert model.adapter.base.name == "nano"
    rk.save(model, tmp_path / files["nano-ncrna-0"], adapter=True)
    return model


def test_an_embedded_adapter_of_an_embedded_base(embedded, tmp_path):
    loaded = rk.load("nano-ncrna-0", device="cpu")
    same_weights(loaded, embedded)
    assert loaded.name == loaded.source == "nano-ncrna-0"
    table = rk.models().set_index("name")
    assert (
        table.loc["nano-ncrna-0", "task"] == "ncRNA family"
        and table.loc["nano-ncrna-0", "source"] == "embedded"
    )
    assert len(rk.predict(["GGGAAACCC"], model="nano-ncrna-0")) == 1
    moved = shutil.copy(tmp_path / "nano-ncrna-0.safetensors", tmp_path / "mine.safetensors")
    same_weights(rk.load(moved, device="cpu"), embedded)
    assert find_base(loaded) is None


def test_an_official_base(monkeypatch, tmp_path):
    monkeypatch.setitem(pretrained.OFFICIAL, "giga", ("giga.safetensors", None))
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path / "data"))
    rk.save(small(), tmp_path / "data" / "giga.safetensors")
    with pytest.warns(UserWarning, match="no SHA-256 is published"):
        model = merge_lora(trained("giga"))
    path = rk.save(model, tmp_path / "mine.safetensors", adapter=True)
    with pytest.warns(UserWarning, match="no SHA-256 is published"):
        same_weights(rk.load(path, device="cpu"), model)


# what is not saved


def test_models_without_an_adapter_are_not_saved_as_one(base, adapter, tmp_path):
    path = tmp_path / "x.safetensors"
    loaded = rk.load(adapter, device="cpu")
    for model in (small(), rk.load(base, device="cpu"), loaded.train().eval()):
        with pytest.raises(
            ValueError, match='has no low-rank matrices: only a model fine-tuned with mode="lora"'
        ):
            rk.save(model, path, adapter=True)
    in_memory = merge_lora(add_lora(small()))
    of_an_adapter = merge_lora(add_lora(rk.load(adapter, device="cpu")))
    for model in (in_memory, of_an_adapter):
        with pytest.raises(ValueError, match="trained on a model that is not in a file of its own"):
            rk.save(model, path, adapter=True)
    assert not path.exists()


UNSAVED = {
    "threshold: expected": lambda m: setattr(m, "threshold", float("nan")),
    "labels: expected 3 names": lambda m: setattr(m, "labels", ("a", "b")),
    rf"not finite numbers \(1\): {LAYER}.A": lambda m: m.adapter.layers[LAYER[5:]][0].fill_(1e6),
    r"not finite numbers \(1\): pred_head": lambda m: m.head.classifier[0].bias.data.fill_(float("nan")),
    "unknown task head": lambda m: setattr(m, "head", nn.Linear(16, 3)),
    "no numbers that can be saved": lambda m: m.head.to("meta"),
}  # fmt: skip


@pytest.mark.parametrize("told", UNSAVED)
def test_what_could_not_be_loaded_is_not_saved(told, adapter, tmp_path):
    model = rk.load(adapter, device="cpu")
    UNSAVED[told](model)
    with pytest.raises(ValueError, match=told):
        rk.save(model, tmp_path / "m.safetensors", dtype=torch.float16, adapter=True)
    assert not (tmp_path / "m.safetensors").exists()


# files that anyone may have written


def changed(path, change=None, text=None, **facts):
    """Change an adapter file in place, past all checks."""
    state, metadata = content(path)
    known = json.loads(metadata["adapter"])
    known = {key: value for key, value in (known | facts).items() if value is not ...}
    metadata["adapter"] = json.dumps(known) if text is None else text
    if change is not None:
        change(state)
    save_file(state, path, metadata=metadata)
    return path


FACTS = {
    "adapter.base: expected the name of a model, or of a file without a folder": [
        {"base": value}
        for value in (None, 3, "", ".", "..", "../base.safetensors", "/etc/passwd", "a\\b", "C:x", "a\0b", "x" * 300,
                      "a\nb", ["nano"], "\ud800")
    ],
    "adapter.sha256: expected 64 hexadecimal digits": [
        {"sha256": value} for value in (None, 3, "", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n")
    ],
    "adapter.rank: expected a whole number from 1 to 10,000": [
        {"rank": value} for value in (None, 0, -1, 1.5, "4", True, 10**6, 10**30, 10**400, [4])
    ],
    r"does not fit the model.*\n.*wrong shape \(20\): lora": [{"rank": 3}, {"rank": 9_999}],
    "adapter.scale: expected a number from -1,000,000 to 1,000,000": [
        {"scale": value} for value in (None, "2", True, 1e300, -1e7, 10**400, [2.0], {})
    ],
    "was trained on another model": [{"sha256": "0" * 64}],
    "adapter: expected the entries base, sha256, rank, scale, found": [
        {"base": ...}, {"sha256": ...}, {"rank": ...}, {"scale": ...}, {"colour": "red"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "facts"),
    [(told, facts) for told, several in FACTS.items() for facts in several],
    ids=lambda value: repr(value)[:40],
)
def test_facts_that_make_no_sense(told, facts, adapter):
    rejected(changed(adapter, **facts), told)


TEXTS = {
    "": "adapter: not JSON",
    "{": "adapter: not JSON",
    "[]": "adapter: expected a JSON object",
    "{}": "adapter: expected the entries base, sha256, rank, scale, found none",
    '{"base": "a", "base": "b"}': "adapter: the key 'base' appears twice",
    '{"scale": NaN}': "adapter: expected finite numbers, found NaN",
    '{"rank": ' + "[" * 100_000 + "]" * 100_000 + "}": "adapter: nested more than 300 deep",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:30]))
def test_metadata_that_is_no_object(text, adapter):
    rejected(changed(adapter, text=text), TEXTS[text])


def put(key, value):
    return lambda state: state.update({key: value})


def mapped(function, key=f"{LAYER}.A"):
    return lambda state: state.update({key: function(state[key].clone()).contiguous()})


KEY = r"lora\.transformer\.blocks\.0\.mh_attn\.Wqkv"
TENSORS = {
    "NaN": (mapped(lambda x: x * float("nan")), rf"not finite numbers \(1\): {KEY}\.A"),
    "infinite": (mapped(lambda x: x + float("inf")), rf"not finite numbers \(1\): {KEY}\.A"),
    "half NaN": (mapped(lambda x: (x * float("nan")).half()), rf"not finite numbers \(1\): {KEY}\.A"),
    "too large": (mapped(lambda x: x.double() + 1e300), rf"not finite numbers \(1\): {KEY}\.A"),
    "large products": (
        lambda state: [mapped(lambda x: x * 0 + 1e30, f"{LAYER}.{key}")(state) for key in "AB"],
        r"gives base\.safetensors weights that are not finite numbers \(1\): transformer\.blocks\.0\.mh_attn\.Wqkv",
    ),
    "int64": (mapped(torch.Tensor.long), rf"not floating-point numbers \(1\): {KEY}\.A \(torch.int64\)"),
    "complex": (mapped(lambda x: x.to(torch.complex64)), rf"not floating-point numbers \(1\): {KEY}\.A"),
    "scalar": (mapped(torch.sum), rf"wrong shape \(1\): {KEY}\.A \(\), expected"),
    "1-D": (mapped(torch.ravel), rf"wrong shape \(1\): {KEY}\.A \(64,\), expected"),
    "3-D": (mapped(lambda x: x[None]), rf"wrong shape \(1\): {KEY}\.A \(1, 4, 16\), expected"),
    "empty": (mapped(lambda x: x[:0]), rf"{KEY}\.A: an empty tensor, of shape \(0, 16\)"),
    "another rank": (mapped(lambda x: x[:3]), rf"wrong shape \(1\): {KEY}\.A \(3, 16\), expected \(4, 16\)"),
    "another width": (mapped(lambda x: x[:, :8]), rf"wrong shape \(1\): {KEY}\.A \(4, 8\), expected \(4, 16\)"),
    "another height": (mapped(lambda x: x[:16], f"{LAYER}.B"), rf"wrong shape .* {KEY}\.B \(16, 4\), expected \(48"),
    "no B": (lambda state: state.pop(f"{LAYER}.B"), rf"missing \(1\): {KEY}\.B"),
    "no A": (lambda state: state.pop(f"{LAYER}.A"), rf"missing \(1\): {KEY}\.A"),
    "no layer": (
        lambda state: state.update({f"lora.other.{key}": torch.ones(4, 4) for key in "AB"}),
        r"unexpected \(2\): lora\.other\.A, lora\.other\.B",
    ),
    "not a linear layer of a block": (
        lambda state: state.update({f"lora.lm_mask_head.linear1.{key}": torch.ones(4, 4) for key in "AB"}),
        r"unexpected \(2\): lora\.lm_mask_head\.linear1\.A",
    ),
    "stray": (put("embedding.weight", torch.zeros(22, 16)), r"unknown tensors \(1\): embedding\.weight; expected lora"),
    "long key": (put("x" * 60_000, torch.zeros(1)), r"unknown tensors \(1\): x+…"),
    "nothing": (
        lambda state: [state.pop(key) for key in list(state) if key.startswith("lora.")],
        "an adapter without low-rank matrices",
    ),
    "threshold": (put("threshold", torch.tensor(1.5)), "threshold: expected one number from 0 to 1"),
    "scaler": (put("scaler._std", torch.tensor(0.0)), r"scaler\._mean is missing"),
    "head NaN": (mapped(lambda x: x * float("nan"), "pred_head.classifier.0.weight"), r"not finite .*: pred_head"),
    "another head": (put("pred_head.conv_out.weight", torch.zeros(1, 64, 3, 3)), "unknown task head|does not fit"),
    "part of a head": (lambda state: state.pop("pred_head.classifier.0.weight"), "unknown task head|does not fit"),
    "fewer classes": (
        lambda state: [mapped(lambda x: x[:2], f"pred_head.classifier.2.{key}")(state) for key in ("weight", "bias")],
        "labels: expected 2 names",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_no_matrices(name, adapter):
    change, told = TENSORS[name]
    rejected(changed(adapter, change), told)


def test_an_adapter_without_its_metadata_is_not_a_model(adapter):
    state, metadata = content(adapter)
    save_file(state, adapter, metadata={key: value for key, value in metadata.items() if key != "adapter"})
    rejected(adapter, "is not a RiNALMo checkpoint: missing key embedding.weight")
    torch.save({"state_dict": state, "adapter": metadata["adapter"]}, adapter)
    rejected(adapter, "is not a RiNALMo checkpoint: missing key embedding.weight")


def test_an_adapter_of_a_head_alone_needs_no_labels(base, tmp_path):
    model = merge_lora(trained(base))
    model.head, model.labels = ClassificationHead(16, 8, 5), None
    assert rk.load(rk.save(model, tmp_path / "a.safetensors", adapter=True), device="cpu").labels is None


@pytest.mark.filterwarnings("ignore")
def test_fuzz(adapter):
    """Every damaged adapter loads with finite weights, or is rejected by name; $FUZZ_INPUTS files."""
    rng, seen = random.Random(20261126), Counter()
    whole, (state, metadata) = adapter.read_bytes(), content(adapter)
    path = adapter.with_name("fuzzed.safetensors")
    for number in range(int(os.environ.get("FUZZ_INPUTS", "200"))):
        if number % 2:
            path.write_bytes(mutated(whole, 8 + int.from_bytes(whole[:8], "little"), rng))
        else:
            facts = json.loads(metadata["adapter"])
            facts[rng.choice([*facts, "x"])] = nonsense(rng)
            save_file(state, path, metadata=metadata | {"adapter": json.dumps(facts)})
        try:
            model = rk.load(path, device="cpu")
            assert all(value.isfinite().all() for value in model.state_dict().values())
            seen["read"] += 1
        except (ValueError, OSError) as error:
            assert path.name in str(error) and len(str(error)) < 3000, error
            seen["rejected"] += 1
    assert seen["read"] and seen["rejected"]
