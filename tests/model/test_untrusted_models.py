"""Model files that anyone may have written: each loads right, or is rejected on loading by file and key."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import rinalmo_kit as rk
from rinalmo_kit.evaluation import leakage
from rinalmo_kit.model import multimolecule, pretrained
from tests.helpers.model_files import content, rejected, small, written

DEEP = 100_000


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
        leakage.training_rows(
            leakage.TrainedOn("bprna", rows=rows), pd.DataFrame({"sequence": ["ACGU"], "split": ["TR0"]})
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
    "labels: 'a' appears twice": [{"labels": ["a", "b", "a"]}],
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
    '{"window": 3, "window": 4}': "the key 'window' appears twice",
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


@pytest.mark.parametrize("name", pretrained.EMBEDDED)
def test_the_embedded_models_say_what_they_were_trained_on(name):
    model = rk.load(name, device="cpu")
    if name != "nano":
        assert leakage.trained_on(model)


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
    "NaN": (with_one(float("nan")), rf"weights that are not finite numbers \(1\): {EMBEDDING}"),
    "infinite": (with_one(float("inf")), rf"weights that are not finite numbers \(1\): {EMBEDDING}"),
    "-infinite": (with_one(-float("inf")), rf"weights that are not finite numbers \(1\): {EMBEDDING}"),
    "half NaN": (mapped(lambda x: (x * float("nan")).half()), f"not finite numbers .*: {EMBEDDING}"),
    "half -inf": (mapped(lambda x: (x - float("inf")).half()), f"not finite numbers .*: {EMBEDDING}"),
    "bfloat16 NaN": (mapped(lambda x: (x * float("nan")).bfloat16()), f"not finite numbers .*: {EMBEDDING}"),
    "too large": (mapped(lambda x: x.double() + 1e300), f"not finite numbers .*: {EMBEDDING}"),
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
    encoder = multimolecule.adapt(models.RnaFmModel(models.RnaFmConfig(**sizes)).eval())
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
    rejected(path, rf"not finite numbers \(1\): {re.escape(name)}")
    save_file({key: value for key, value in state.items() if key != name}, path, metadata=told)
    rejected(path, rf"missing \(1\): {re.escape(name)}")
