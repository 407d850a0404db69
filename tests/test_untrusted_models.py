"""Model files that anyone may have written: each loads right, or is rejected on loading by file and key."""

import contextlib
import gzip
import json
import os
import random
import re
import stat
import time
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import rinalmo_kit as rk
from rinalmo_kit import inference, leaks
from rinalmo_kit.heads import ClassificationHead, RibosomeLoadHead, StructureHead

DEEP = 100_000


def small(head="structure"):
    """A model of a few thousand weights, with all that a file can say of one."""
    torch.manual_seed(0)
    model = rk.RiNALMo(rk.Config(16, 2, heads=2)).eval()
    if head == "structure":
        model.head = StructureHead(16)
        model.threshold, model.calibration = 0.3, ((0.1, 0.2), (0.5, 0.6))
    elif head == "classes":
        model.head, model.labels, model.window = ClassificationHead(16, 8, 3), ("a", "b", "c"), 8
    elif head == "binary":
        model.head, model.labels = ClassificationHead(16, 8, 1), ("no", "yes")
    else:
        model.head, model.scaler, model.pad_to = RibosomeLoadHead(16), (1.5, 2.0), 20
    model.about = {"recipe": "x", "dataset": "bprna", "rows": "split != 'TS0'", "fold": 0, "earlier": {}}
    return model.eval()


def content(model, tmp_path):
    path = rk.save(model, tmp_path / "whole.safetensors")
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def written(tmp_path, head="structure", *, change=None, facts=None, **metadata):
    """Write a small model's file with something changed in it, past all checks."""
    state, told = content(small(head), tmp_path)
    known = json.loads(told["rinalmo_kit"]) | (facts or {})
    told |= {"rinalmo_kit": json.dumps(known)} | metadata
    if change is not None:
        change(state)
    path = tmp_path / "changed.safetensors"
    save_file(state, path, metadata=told)
    return path


def rejected(path, told, error=ValueError):
    """Load a file that is to be rejected: at once, in a short message with its name."""
    start = time.perf_counter()
    with pytest.raises(error, match=told) as caught:
        rk.load(path, device="cpu")
    assert path.name in str(caught.value) and len(str(caught.value)) < 3000
    assert time.perf_counter() - start < 3


# what a file says


@pytest.mark.parametrize(
    "rows",
    [
        "@__import__('os').system('touch hacked')",
        "split == @__import__('os').system('touch hacked')",
        "__import__('os').system('touch hacked')",
        "@pd.io.common.os.system('touch hacked')",
        "split == 'TR0' and @exec('open(\"hacked\", \"w\")')",
        "(" * DEEP,
        7,
        ["split == 'TR0'"],
    ],
    ids=lambda rows: repr(rows)[:30],
)
@pytest.mark.parametrize("nested", [False, True])
def test_nothing_in_a_file_is_evaluated(rows, nested, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = {"dataset": "bprna", "rows": rows, "fold": 0}
    path = written(tmp_path, facts={"about": {"earlier": about} if nested else about})
    rejected(path, r"about\.earlier\.rows: expected" if nested else r"about\.rows: expected")
    with pytest.raises(ValueError, match="expected a condition"):  # nor is what a program puts into a model
        leaks.training_rows(
            leaks.TrainedOn("bprna", rows=rows), pd.DataFrame({"sequence": ["ACGU"], "split": ["TR0"]})
        )
    model = small()
    model.about = about
    with pytest.raises(ValueError, match=r"about\.rows: expected"):
        rk.save(model, tmp_path / "again.safetensors")
    assert not (tmp_path / "hacked").exists()


FACTS = {
    "labels: expected a list of 2 to 10,000 names": [
        {"labels": value} for value in (None, [], ["a"], "abc", {"a": 1}, 3, True, ["a"] * 20_000)
    ],
    "labels: expected names of 1 to 1,000 characters": [
        {"labels": ["a", "b", value]} for value in (None, 3, "", "x" * 2000, ["c"], "\ud800")
    ],
    "labels: 'a' is there twice": [{"labels": ["a", "b", "a"]}],
    "labels: expected 3 names, .* found [24]": [{"labels": list("ab")}, {"labels": list("abcd")}],
    "pad_to: expected a whole number from 1 to 100,000": [
        {"pad_to": value} for value in (None, "ten", 0, -1, 1.5, 10**9, 10**30, True, [102], 1e300)
    ],
    "window: expected a whole number from 1 to 100,000": [
        {"window": value} for value in (None, "ten", 0, -1, 1.5, 10**9, 10**30, True, {"a": 1})
    ],
    "calibration: expected": [
        {"calibration": value}
        for value in (None, 3, [], [1, 2], [[0.1]], [[0.1, 2]], [["a", "b"]], [[0.5, 0.1], [0.2, 0.2]],
                      [[0.1, True]], [[-0.1, 0.2]], [[0.1, 0.2]] * 5000, [[10**400, 0.5]])
    ],
    "about: expected an object": [{"about": value} for value in (None, "x", 3, [], [{}])],
    r"about\.(fold|recipe|dataset|earlier|pretraining|start|limit|own data): expected": [
        {"about": {key: value}}
        for key, value in (("fold", "0"), ("fold", True), ("recipe", 3), ("dataset", ["bprna"]), ("earlier", [1]),
                           ("pretraining", "pico"), ("start", {}), ("limit", 1.5), ("own data", "x"))
    ],
    r"about\.earlier\.fold: expected": [{"about": {"earlier": {"fold": "x"}}}],
    "unknown entry 'colour'; expected labels, .* newer rinalmo_kit": [{"colour": "red"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "facts"),
    [(told, facts) for told, several in FACTS.items() for facts in several],
    ids=lambda value: repr(value)[:40],
)
def test_facts_that_make_no_sense(told, facts, tmp_path):
    rejected(written(tmp_path, "classes", facts=facts), told)


TEXTS = {
    "": "not JSON",
    "{": "not JSON",
    "null": "expected a JSON object, found None",
    "[]": "expected a JSON object",
    '"x"': "expected a JSON object, found 'x'",
    "1": "expected a JSON object",
    '{"window": 3, "window": 4}': "the key 'window' is there twice",
    '{"window": NaN}': "expected finite numbers, found NaN",
    '{"window": -Infinity}': "expected finite numbers, found -Infinity",
    '{"window": 1e999}': "expected finite numbers, found 1e999",
    '{"window": ' + "9" * 10_000 + "}": "rinalmo_kit: ",
    '{"about": ' + "[" * DEEP + "]" * DEEP + "}": "nested more than 300 deep",
    '{"about": ' + '{"earlier": ' * 400 + "{}" + "}" * 401: "nested more than 300 deep",
    '{"about": ' + "[" * DEEP: "nested more than 300 deep|not JSON",
    '{"about": {"x": "' + "y" * 5_000_000 + '"}}': "5,000,0.. characters, expected at most 4,000,000",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:30]))
@pytest.mark.parametrize("entry", ["rinalmo_kit", "encoder"])
def test_metadata_that_is_no_object(text, entry, tmp_path):
    if entry == "encoder" and "about" not in text and "window" in text and "9999" in text:
        pytest.skip("a number, which is read")
    rejected(written(tmp_path, **{entry: text}), TEXTS[text].replace("rinalmo_kit", entry))


@pytest.mark.parametrize("heads", ["", "0", "-2", "two", "2.0", "1e9", "9" * 5000, "null", "²"])
def test_a_number_of_heads_that_is_none(heads, tmp_path):
    rejected(written(tmp_path, heads=heads), "heads: expected the number of attention heads, found")


def test_a_number_of_heads_that_does_not_divide(tmp_path):
    rejected(written(tmp_path, heads="3"), "dim=16, which 3 heads do not divide")


def test_many_rounds_of_training_can_be_saved(tmp_path):
    model = small()
    for _ in range(100):
        model.about = {"recipe": "x", "dataset": "bprna", "rows": "split == 'TR0'", "earlier": model.about}
    model.about["note"] = {"my": ["own", 1.5, None]}
    assert rk.load(rk.save(model, tmp_path / "m.safetensors"), device="cpu").about == model.about


@pytest.mark.parametrize("name", rk.hub.EMBEDDED)
def test_the_embedded_models_say_what_they_were_trained_on(name):
    model = rk.load(name, device="cpu")
    if name != "pico":
        assert leaks.trained_on(model)


# tensors


def put(key, value):
    return lambda state: state.update({key: value})


def mapped(function, key="lm.embedding.weight"):
    return lambda state: state.update({key: function(state[key].clone())})


def with_one(value):
    def change(x):
        x.view(-1)[3] = value
        return x

    return mapped(change)


EMBEDDING = r"embedding\.weight"
TENSORS = {
    "int64": (mapped(torch.Tensor.long), rf"not floating-point numbers \(1\): {EMBEDDING} \(torch.int64\)"),
    "bool": (mapped(torch.Tensor.bool), rf"not floating-point numbers \(1\): {EMBEDDING} \(torch.bool\)"),
    "uint8": (mapped(lambda x: x.to(torch.uint8)), rf"not floating-point numbers \(1\): {EMBEDDING}"),
    "complex": (mapped(lambda x: x.to(torch.complex64)), rf"not floating-point numbers \(1\): {EMBEDDING}"),
    "NaN": (with_one(float("nan")), rf"weights that are no finite numbers \(1\): {EMBEDDING}"),
    "infinite": (with_one(float("inf")), rf"weights that are no finite numbers \(1\): {EMBEDDING}"),
    "-infinite": (with_one(-float("inf")), rf"weights that are no finite numbers \(1\): {EMBEDDING}"),
    "half NaN": (mapped(lambda x: (x * float("nan")).half()), f"no finite numbers .*: {EMBEDDING}"),
    "half -inf": (mapped(lambda x: (x - float("inf")).half()), f"no finite numbers .*: {EMBEDDING}"),
    "bfloat16 NaN": (mapped(lambda x: (x * float("nan")).bfloat16()), f"no finite numbers .*: {EMBEDDING}"),
    "too large": (mapped(lambda x: x.double() + 1e300), f"no finite numbers .*: {EMBEDDING}"),
    "scalar": (mapped(lambda x: x.sum()), "missing key embedding.weight"),
    "1-D": (mapped(torch.ravel), "missing key embedding.weight"),
    "no width": (mapped(lambda x: x[:, :0].contiguous()), r"embedding.weight: an empty tensor, of shape \(22, 0\)"),
    "odd width": (mapped(lambda x: x[:, :15].contiguous()), "dim=15, which 2 heads do not divide"),
    "empty": (put("lm.stray", torch.zeros(0)), r"lm\.stray: an empty tensor"),
    "long key": (put("x" * 60_000, torch.zeros(1)), r"unexpected \(1\): x+…"),
    "far block": (put("lm.transformer.blocks.1000000000.x", torch.zeros(1)), r"unexpected \(1\): .*\.1000000000\.x"),
    "gap": (put("lm.transformer.blocks.99999.x", torch.zeros(1)), r"missing transformer\.blocks\.2: its 3 blocks"),
    "huge number": (put(f"lm.transformer.blocks.{'9' * 5000}.x", torch.zeros(1)), r"unexpected \(1\)"),
    "leading zero": (put("lm.transformer.blocks.00.x", torch.zeros(1)), r"unexpected \(1\)"),
    "twice": (put("embedding.weight", torch.zeros(22, 16)), "two tensors called embedding.weight"),
    "head twice": (put("head.conv_out.bias", torch.zeros(1)), "two tensors called head.conv_out.bias"),
    "inv_freq": (put("lm.rotary_emb.inv_freq", torch.tensor(1.0)), None),
    "half of qkv": (put("lm.transformer.blocks.0.mh_attn.to_q.weight", torch.zeros(16, 16)), r"unexpected \(1\)"),
    "no blocks": (
        lambda state: [state.pop(key) for key in list(state) if ".blocks." in key and "lm." in key],
        "missing transformer.blocks.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_no_weights(name, tmp_path):
    change, told = TENSORS[name]
    path = written(tmp_path, change=change)
    if told is None:
        assert np.isfinite(rk.fold("GGGAAACCC", model=rk.load(path, device="cpu")).probabilities).all()
    else:
        rejected(path, told)


NUMBERS = [torch.tensor(value) for value in (float("nan"), float("inf"), True, [0.2, 0.4], 1 + 0j)]


@pytest.mark.parametrize("value", [*NUMBERS, torch.tensor(1.5), torch.tensor(-0.1)], ids=str)
def test_thresholds_that_are_none(value, tmp_path):
    rejected(
        written(tmp_path, change=put("threshold", value)), "threshold: expected one number from 0 to 1, found"
    )


@pytest.mark.parametrize("key", ["_mean", "_std"])
def test_scalers_that_are_none(key, tmp_path):
    for value in NUMBERS:
        change = put(f"scaler.{key}", value)
        rejected(
            written(tmp_path, "regression", change=change), rf"scaler\.{key}: expected one finite number"
        )
    change = lambda state: state.pop(f"scaler.{key}")  # noqa: E731
    rejected(written(tmp_path, "regression", change=change), rf"scaler\.{key} is missing")
    for value in (0.0, -1.0) if key == "_std" else ():
        change = put("scaler._std", torch.tensor([value]))
        rejected(written(tmp_path, "regression", change=change), r"scaler\._std: expected a number above 0")


HEADS = {
    "a layer is missing": lambda state: state.pop("pred_head.classifier.0.weight"),
    "a layer is a scalar": put("pred_head.classifier.2.weight", torch.tensor(1.0)),
    "a layer is empty": put("pred_head.classifier.2.weight", torch.zeros(0, 8)),
    "a layer has another width": put("pred_head.classifier.2.weight", torch.zeros(3, 9)),
    "another head's": put("pred_head.conv_out.weight", torch.zeros(1, 64, 3, 3)),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_none(name, tmp_path):
    rejected(written(tmp_path, "classes", change=HEADS[name]), "unknown task head|does not fit|empty tensor")


# what only a pickle can hold


def pickled(tmp_path, change, **beside):
    state, _ = content(small(), tmp_path)
    change(state)
    path = tmp_path / "model.pt"
    torch.save({"state_dict": state, "heads": 2, **beside}, path)
    return path


PICKLED = {
    "expanded": (
        put("lm.embedding.weight", torch.zeros(1).expand(22, 16)),
        "shape .22, 16. but only 4 bytes",
    ),
    "expanded beyond memory": (
        put("lm.x", torch.zeros(1).expand(10**6, 10**6)),
        "but only 4 bytes of numbers",
    ),
    "overlapping": (put("lm.x", torch.zeros(10).as_strided((5, 5), (1, 1))), "but only 40 bytes of numbers"),
    "no numbers": (put("lm.embedding.weight", torch.empty(22, 16, device="meta")), "without numbers"),
    "sparse": (mapped(torch.Tensor.to_sparse), "expected an ordinary tensor, found a sparse"),
    "number": (put("lm.embedding.weight", 3), "embedding.weight: expected a tensor, found int"),
    "null": (put("lm.embedding.weight", None), "embedding.weight: expected a tensor, found NoneType"),
    "list": (put("lm.embedding.weight", [[1.0]]), "embedding.weight: expected a tensor, found list"),
    "text": (put("note", "hello"), "note: expected a tensor, found str"),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", PICKLED)
def test_tensors_that_only_a_pickle_can_hold(name, tmp_path):
    change, told = PICKLED[name]
    rejected(pickled(tmp_path, change), told)


def test_tensors_that_share_their_numbers(tmp_path):
    one = torch.zeros(1000)
    change = lambda state: state.update({f"x{i}": one for i in range(1000)})  # noqa: E731
    rejected(pickled(tmp_path, change), "tensors share .* bytes of numbers, but have shapes for")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        *(
            ("threshold", value, "threshold: expected one number")
            for value in ("0.3", True, [0.3], 10**400, 2, {})
        ),
        ("heads", None, "heads: expected the number"),
        ("heads", [2], "heads: expected the number"),
        ("encoder", None, "encoder: expected JSON text, found None"),
        ("encoder", {"class": "x"}, "encoder: expected JSON text"),
        ("rinalmo_kit", {"window": 3}, "rinalmo_kit: expected JSON text"),
        ("rinalmo_kit", '{"window": -3}', "window: expected"),
    ],
)
def test_what_stands_beside_a_state_dict(key, value, told, tmp_path):
    rejected(pickled(tmp_path, lambda state: state.pop("threshold"), **{key: value}), told)


def test_a_lightning_checkpoint_with_all_that_it_carries(tmp_path):
    beside = {
        "hyper_parameters": {"encoder_lr": "x", "rows": "@exit()"},
        "loops": {},
        "callbacks": {},
        "epoch": 3,
    }
    path = pickled(tmp_path, lambda state: state.pop("threshold"), threshold=0.25, **beside)
    assert rk.load(path, device="cpu").threshold == 0.25


def test_transposed_tensors_load(tmp_path):
    path = pickled(tmp_path, mapped(lambda x: x.t().contiguous().t()))
    assert rk.load(path, device="cpu").embedding.weight.is_contiguous()


# encoders of other packages


@pytest.mark.parametrize(
    "description",
    [{}, {"class": None}, {"class": ["RnaFmModel"], "config": {}}, {"class": "x", "config": None}],
)
def test_descriptions_of_no_encoder(description, tmp_path):
    rejected(written(tmp_path, encoder=json.dumps(description)), "encoder: expected the class and config")


SETTINGS = [
    {"hidden_size": 10**9}, {"hidden_size": 99_968}, {"hidden_size": None}, {"hidden_size": "wide"},
    {"hidden_size": -32}, {"hidden_size": 0}, {"hidden_size": 33}, {"num_hidden_layers": 10**9},
    {"num_hidden_layers": 100}, {"num_hidden_layers": -1}, {"num_hidden_layers": 1.5}, {"vocab_size": 10**9},
    {"max_position_embeddings": 10**12}, {"intermediate_size": 10**8}, {"num_attention_heads": 0},
    {"num_attention_heads": 5}, {"hidden_act": "evil"}, {"num_labels": 10**9}, {"pad_token_id": 10**6},
    {"head": {"num_labels": 10**10}}, {"layer_norm_eps": "x"}, {"hidden_size": {}},
]  # fmt: skip


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """Tensors and metadata of the file of a small RNA-FM."""
    models = pytest.importorskip("multimolecule").models
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    encoder = rk.adapters.adapt(models.RnaFmModel(models.RnaFmConfig(**sizes)).eval())
    return content(encoder, tmp_path_factory.mktemp("peer"))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_encoders_that_cannot_be(settings, peer, tmp_path):
    state, told = peer
    description = json.loads(told["encoder"])
    description["config"] |= settings
    path = tmp_path / "peer.safetensors"
    save_file(state, path, metadata=told | {"encoder": json.dumps(description)})
    rejected(path, "encoder: |does not fit the model")


def test_weights_of_another_encoder(peer, tmp_path):
    state, told = peer
    name = next(key for key in state if key.endswith("dense.weight"))
    path = tmp_path / "peer.safetensors"
    save_file(state | {name: state[name] * float("nan")}, path, metadata=told)
    rejected(path, rf"no finite numbers \(1\): {re.escape(name)}")
    save_file({key: value for key, value in state.items() if key != name}, path, metadata=told)
    rejected(path, rf"missing \(1\): {re.escape(name)}")


# files


def test_what_a_file_is_its_first_bytes_say(tmp_path):
    """Whatever the name ends in: both kinds of file under all names."""
    model = small()
    state, _ = content(model, tmp_path)
    torch.save({"state_dict": state, "heads": 2}, tmp_path / "zip")
    torch.save({"state_dict": state, "heads": 2}, tmp_path / "old", _use_new_zipfile_serialization=False)
    contents = [(tmp_path / name).read_bytes() for name in ("whole.safetensors", "zip", "old")]
    expected = rk.fold("GGGAAACCC", model=model).probabilities
    for name in ("a.pt", "a.ckpt", "a.safetensors", "A.SAFETENSORS", "a.PT", "a.bin", "a b"):
        for bytes_ in contents:
            (tmp_path / name).write_bytes(bytes_)
            found = rk.load(tmp_path / name, device="cpu")
            np.testing.assert_array_equal(rk.fold("GGGAAACCC", model=found).probabilities, expected)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


def bomb(path):
    torch.save({"embedding.weight": torch.zeros(1)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/1", bytes(50_000_000))


NO_MODELS = {
    "an HTML page": lambda path: path.write_text("\n <!doctype HTML><title>Not found</title>"),
    "an HTML page, not": lambda path: path.write_bytes(b"\xef\xbb\xbf<html><body>busy</body></html>"),
    "empty": lambda path: path.touch(),
    r"text \(it begins with '>a": lambda path: path.write_text(">a\nGGGAAACCC\n"),
    r"text \(it begins with '\{": lambda path: path.write_text('{"a": 1}'),
    "compressed by gzip": lambda path: path.write_bytes(gzip.compress(b"hello")),
    "a pointer of Git LFS": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "an HDF5 file": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "of an unknown kind": lambda path: path.write_bytes(bytes(range(129, 255)) * 3),
    "a zip archive .of notes.txt": zipped,
    "more than 4 times its size": bomb,
    "is not a checkpoint, or is cut off": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "is not a checkpoint, or is cut": lambda path: path.write_bytes(b"\x80\x02}q\x00"),
    "is not a safetensors file": lambda path: path.write_bytes((100).to_bytes(8, "little") + b"{" + bytes(20)),
    "holds a list, not a state dict": lambda path: torch.save([1, 2], path),
    "holds a dict, not a state dict": lambda path: torch.save({1: torch.zeros(1)}, path),
    "holds a Tensor, not a state dict": lambda path: torch.save(torch.zeros(1), path),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["pt", "safetensors", "CKPT"])
@pytest.mark.parametrize("told", NO_MODELS)
def test_files_that_are_no_models(told, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    NO_MODELS[told](path)
    rejected(path, told)


def test_what_is_no_file(tmp_path):
    folder = tmp_path / "run.pt"
    folder.mkdir()
    rejected(folder, "is a folder: expected the file of a model", IsADirectoryError)
    rk.save(small(), folder / "model.safetensors")
    rejected(folder, "it holds model.safetensors", IsADirectoryError)
    rejected(tmp_path / "absent.pt", "no such checkpoint", FileNotFoundError)
    os.mkfifo(tmp_path / "pipe.pt")
    rejected(tmp_path / "pipe.pt", "no regular file")


def test_a_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = rk.save(small(), "~/models/m.safetensors")
    assert path == tmp_path / "models" / "m.safetensors"
    assert rk.load("~/models/m.safetensors", device="cpu").threshold == 0.3


# saving


UNSAVED = {
    "threshold: expected": lambda m: setattr(m, "threshold", float("nan")),
    "threshold: expected one": lambda m: setattr(m, "threshold", "0.5"),
    "scaler._std: expected": lambda m: setattr(m, "scaler", (0.0, 0.0)),
    "labels: expected a list": lambda m: setattr(m, "labels", ("a",)),
    "labels cannot be written as JSON": lambda m: setattr(m, "labels", ("a", object())),
    "labels: expected 3 names": lambda m: vars(m).update(vars(small("classes")), labels=("a", "b")),
    "pad_to: expected": lambda m: setattr(m, "pad_to", 10**9),
    "window: expected": lambda m: setattr(m, "window", "wide"),
    "calibration: expected": lambda m: setattr(m, "calibration", ((0.5, 0.1), (0.4, 0.2))),
    "about cannot be written as JSON": lambda m: setattr(m, "about", {"x": {1, 2}}),
    "about: expected finite|rinalmo_kit: expected finite": lambda m: setattr(m, "about", {"x": float("nan")}),
    "about.fold: expected": lambda m: setattr(m, "about", {"fold": "0"}),
    r"no finite numbers \(1\): embedding.weight": lambda m: m.embedding.weight.data.fill_(float("nan")),
    r"no finite numbers \(1\): lm_mask_head.linear1.bias": lambda m: m.lm_mask_head.linear1.bias.data.fill_(1e6),
    "unknown task head": lambda m: setattr(m, "head", nn.Linear(16, 3)),
    r"wrong shape \(\d+\): head.conv_out.weight": lambda m: setattr(m, "head", StructureHead(16, channels=32)),
    r"unexpected \(1\): stray": lambda m: m.register_buffer("stray", torch.zeros(2)),
    "no numbers that can be saved": lambda m: m.to("meta"),
}  # fmt: skip


@pytest.mark.parametrize("told", UNSAVED)
def test_what_could_not_be_loaded_is_not_saved(told, tmp_path):
    model = small()
    UNSAVED[told](model)
    with pytest.raises(ValueError, match=told):
        rk.save(model, tmp_path / "m.safetensors", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", ["structure", "classes", "binary", "regression"])
def test_what_is_saved_is_loaded(head, tmp_path):
    model = small(head)
    again = rk.load(rk.save(model, tmp_path / "M.SAFETENSORS"), device="cpu")
    for fact in ("threshold", "scaler", "labels", "pad_to", "window", "calibration", "about"):
        assert getattr(again, fact) == getattr(model, fact), fact


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_saved_file_has_the_users_permissions(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        path = rk.save(small(), tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


# results


@pytest.mark.parametrize("head", ["structure", "classes", "regression"])
def test_results_that_are_no_numbers_are_rejected(head):
    model = small(head)
    with torch.no_grad():
        model.transformer.final_layer_norm.weight.fill_(3e38)
        model.transformer.final_layer_norm.bias.fill_(3e38)
    call = rk.fold if head == "structure" else rk.predict
    with pytest.raises(ValueError, match="RiNALMo gives numbers that are not finite"):
        call("GGGAAACCC", model=model)
    with pytest.raises(ValueError, match="RiNALMo gives numbers that are not finite"):
        rk.embed("GGGAAACCC", model=model)


def test_padding_does_not_fill_the_memory(monkeypatch):
    """A file may ask for 100,000 positions: short sequences are then computed a few at a time."""
    model = small("regression")
    sequences = ["GGGAAACCC", "ACGUACGU", "GCGC"] * 4
    monkeypatch.setattr(inference, "PADDED_BUDGET", 45)
    assert max(len(batch) for batch in inference.batches_for(model, [9] * 12)) == 45 // model.pad_to
    many = rk.predict(sequences, model=model)["prediction"]
    alone = [rk.predict(one, model=model)["prediction"][0] for one in sequences]
    np.testing.assert_allclose(many, alone, rtol=1e-5)


# fuzz


def mutated(whole, header, rng):
    """Change, insert and delete a few bytes, most of them in the header."""
    data = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(min(header, len(data)) if rng.random() < 0.7 else len(data))
        kind = rng.random()
        if kind < 0.6:
            data[at] = rng.randrange(256)
        elif kind < 0.8:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.9:
            del data[at : at + rng.randrange(1, 9)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def nonsense(rng, depth=0):
    """Make up a value of JSON."""
    plain = (None, True, 0, -1, 3, 10**20, 0.5, -1.5, "", "x", "split == 'a'", "@exit()", [], {})
    if depth > 3 or rng.random() < 0.6:
        return rng.choice(plain)
    if rng.random() < 0.5:
        return [nonsense(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = (
        "about",
        "rows",
        "earlier",
        "fold",
        "labels",
        "x",
        "start",
        "pretraining",
        "class",
        "config",
        "ids",
    )
    return {rng.choice(keys): nonsense(rng, depth + 1) for _ in range(rng.randrange(4))}


def fuzzed_metadata(told, rng):
    told = dict(told)
    facts = json.loads(told["rinalmo_kit"])
    for _ in range(rng.randrange(1, 3)):
        facts[rng.choice([*facts, "labels", "pad_to", "window", "calibration", "about", "x"])] = nonsense(rng)
    told["rinalmo_kit"] = json.dumps(facts if rng.random() < 0.9 else nonsense(rng))
    if rng.random() < 0.2:
        told[rng.choice(["heads", "encoder", "format"])] = json.dumps(nonsense(rng))
    return told


@pytest.mark.filterwarnings("ignore")
def test_fuzz(tmp_path):
    """Every damaged file loads and folds with finite numbers, or is rejected by name, quickly; $FUZZ_INPUTS files."""
    rng, seen, slowest = random.Random(20261126), Counter(), 0.0
    heads = ("structure", "classes", "regression")
    wholes = []
    for head in heads:
        state, told = content(small(head), tmp_path)
        binary = (tmp_path / "whole.safetensors").read_bytes()
        torch.save({"state_dict": state, "heads": 2, "threshold": 0.5}, tmp_path / "whole.pt")
        wholes.append((state, told, binary, (tmp_path / "whole.pt").read_bytes()))
    for number in range(int(os.environ.get("FUZZ_INPUTS", "300"))):
        state, told, binary, pickle_ = wholes[number % len(heads)]
        kind = rng.randrange(3)
        path = tmp_path / ("fuzzed.pt" if kind == 0 else "fuzzed.safetensors")
        if kind == 0:
            path.write_bytes(mutated(pickle_, len(pickle_), rng))
        elif kind == 1:
            path.write_bytes(mutated(binary, 8 + int.from_bytes(binary[:8], "little"), rng))
        else:
            save_file(state, path, metadata=fuzzed_metadata(told, rng))
        start = time.perf_counter()
        try:
            model = rk.load(path, device="cpu")
            with contextlib.suppress(ValueError):  # of numbers that are not finite, which names the model
                if isinstance(model.head, StructureHead):
                    assert np.isfinite(rk.fold("GGGAAACCC", model=model).probabilities).all()
                elif model.head is not None:
                    assert np.isfinite(rk.predict("GGGAAACCC", model=model).iloc[:, -1]).all()
                assert np.isfinite(rk.embed("GGGAAACCC", model=model)[0]).all()
            seen["read"] += 1
        except (ValueError, OSError) as error:
            assert path.name in str(error) and len(str(error)) < 3000, error
            seen["rejected"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    assert seen["read"] and seen["rejected"]
    assert slowest < 10, "seconds for a file of 100 kB"
