"""Folders in the layout of the Hugging Face hub: ours and multimolecule's, from a folder and from a local hub."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, StructureHead
from rinalmo_kit.model.licences import licence_of
from rinalmo_kit.model.multimolecule_weights import (
    SYMBOLS,
    from_multimolecule_state,
    to_multimolecule_state,
)
from rinalmo_kit.model.rinalmo import RiNALMo

TINY = Config(64, 2, heads=4)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model():
    torch.manual_seed(1)
    model = RiNALMo(TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def front(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def same(one: RiNALMo, other: RiNALMo) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# local folders


def test_a_folder_is_written_and_read(model, tmp_path):
    model.head, model.threshold = StructureHead(64).eval(), 0.25
    folder = rk.save(model, tmp_path / "made" / "mine")
    assert sorted(one.name for one in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "rinalmo_kit" and config["architectures"] == ["RiNALMo"]
    assert (config["dim"], config["blocks"], config["heads"], config["head"]) == (64, 2, 4, "StructureHead")
    again = rk.load(folder, device="cpu")
    assert same(again, model) and (again.config, again.threshold, again.name) == (TINY, 0.25, "mine")
    assert again.source == str(folder) and same(rk.load(again.source, device="cpu"), model)
    assert same(rk.load(folder / "model.safetensors", device="cpu"), model), "the file is a model alone, too"


def test_an_existing_folder_with_a_dot_keeps_its_card(model, tmp_path):
    folder = tmp_path / "v1.0"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    rk.save(model, folder, dtype=torch.float16)
    assert (folder / "README.md").read_text() == "mine"
    assert load_file(folder / "model.safetensors")["embedding.weight"].dtype == torch.float16
    assert rk.load(folder, device="cpu").config == TINY


def test_neither_a_file_nor_a_folder(model, tmp_path):
    with pytest.raises(ValueError, match=r"m\.pt: a model is saved as \.safetensors, or into a folder"):
        rk.save(model, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"adapter: an adapter is saved as \.safetensors"):
        rk.save(model, tmp_path / "adapter", adapter=True)


def test_an_encoder_of_multimolecule_goes_into_a_folder_too(tmp_path):
    models = pytest.importorskip("multimolecule").models
    from rinalmo_kit.model.multimolecule import adapt

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    encoder = adapt(models.RnaFmModel(models.RnaFmConfig(**sizes))).eval()
    again = rk.load(rk.save(encoder, tmp_path / "fm"), device="cpu")
    assert again.config == encoder.config and "license" not in front(tmp_path / "fm")


# cards


def test_the_card_of_a_model_in_the_package(tmp_path):
    folder = rk.save(rk.load("nano-ss", device="cpu"), tmp_path / "copy")
    assert front(folder) == {
        "license": "apache-2.0",
        "library_name": "rinalmo_kit",
        "tags": ["rna", "biology", "rinalmo", "structure"],
    }
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "# nano-ss\n" in text and "rk.fold('GGGG" in text and "7.6 M parameters" in text


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("giga-ss-bprna", {}),
        ("model.safetensors", {"start": "giga"}),
        ("model.safetensors", {"start": "rinalmo_micro_pretrained.pt"}),
        ("model.safetensors", {"start": "mine.safetensors", "earlier": {"pretraining": {"start": "mega"}}}),
    ],
)
def test_derived_official_weights_stay_cc_by(model, tmp_path, name, about):
    model.name, model.about = name, about
    folder = rk.save(model, tmp_path / "derived")
    assert front(folder)["license"] == "cc-by-4.0"
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "zenodo.15043668" in text
    again = rk.save(rk.load(folder, device="cpu"), tmp_path / "again")
    assert front(again)["license"] == "cc-by-4.0", "the folder's own name tells nothing"
    assert model.about == about


def test_of_unknown_origin_no_licence_is_claimed(model, tmp_path):
    model.about = {"start": "somewhere", "note": "```\n---\nlicense: mit"}
    assert licence_of(model) is None
    folder = rk.save(model, tmp_path / "own")
    assert "license" not in front(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "the licence is yours to choose" in text and "\nlicense: mit" not in text


def test_a_classifier_is_used_by_predict(model, tmp_path):
    model.head, model.labels = ClassificationHead(64, 8, 2).eval(), ("no", "yes")
    folder = rk.save(model, tmp_path / "classes")
    assert "rk.predict('GGGG" in (folder / "README.md").read_text(encoding="utf-8")
    assert rk.load(folder, device="cpu").labels == ("no", "yes")


# damaged and foreign folders


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", r"config\.json is not JSON"),
        ("[1]", r"config\.json holds a list: expected a JSON object"),
        (
            "{}",
            "has the model_type none: expected 'rinalmo_kit', of a model that rk.save wrote, or 'rinalmo'",
        ),
        ('{"model_type": "bert"}', "has the model_type 'bert'"),
        ('{"model_type": "rinalmo_kit", "dim": 128}', r"says dim=128, but model\.safetensors has dim=64"),
        ('{"model_type": "rinalmo_kit", "head": "X"}', r"says head=X, but model\.safetensors has head=None"),
        (" " * 1_000_001, "1,000,001 bytes: expected a short JSON object"),
    ],
)
def test_a_config_that_is_wrong_is_named(model, tmp_path, config, message):
    folder = rk.save(model, tmp_path / "mine")
    (folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message):
        rk.load(folder)


def test_nothing_but_safetensors_is_read(model, tmp_path):
    folder = rk.save(model, tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors: expected config\.json and"):
        rk.load(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is zip, not a safetensors file"):
        rk.load(folder)


# multimolecule's RiNALMo


@pytest.fixture
def theirs(model):
    models = pytest.importorskip("multimolecule").models
    config = models.RiNALMoConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256
    )
    made = models.RiNALMoForMaskedLM(config).eval()
    made.load_state_dict(to_multimolecule_state(model), strict=True)
    return made


def test_the_vocabulary_is_multimolecules():
    tokenizer = pytest.importorskip("multimolecule").RnaTokenizer()
    assert tokenizer.get_vocab() == {symbol: i for i, symbol in enumerate(SYMBOLS)}


def test_there_and_back_is_exact(model):
    state, metadata = from_multimolecule_state(to_multimolecule_state(model), {"num_attention_heads": 4}, "x")
    from rinalmo_kit.model.checkpoint import model_from_state

    assert same(model_from_state(state, metadata), model)


def test_multimolecule_computes_the_same(model, theirs):
    from multimolecule import RnaTokenizer

    from rinalmo_kit.rna.alphabet import VOCABULARY

    known = RnaTokenizer().get_vocab()
    sequence = "GGGAAACUACCCNRYKMSWBDHVI-"
    ids = torch.tensor([[known["<cls>"], *(known[letter] for letter in sequence), known["<eos>"]]])
    with torch.no_grad():
        found = theirs.double()(ids, attention_mask=torch.ones_like(ids)).logits
        expected = model.double()(rk.tokenize(sequence)).logits
    rows = [SYMBOLS.index(symbol.replace("T", "U")) for symbol in VOCABULARY]
    assert (found[..., rows] - expected).abs().max() < 1e-5  # its rotary angles are in float32


def test_a_folder_of_multimolecule_is_loaded(model, theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "theirs")
    again = rk.load(tmp_path / "theirs", device="cpu")
    assert same(again, model) and again.config == TINY


def test_what_we_do_not_have_is_named(model, tmp_path):
    folder, state = tmp_path / "theirs", to_multimolecule_state(model)
    folder.mkdir()

    def rejected(message: str, state: dict, **config: object) -> None:
        save_file({key: value.clone() for key, value in state.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "rinalmo", **config}))
        with pytest.raises(ValueError, match=message):
            rk.load(folder)

    rejected("position_embedding_type=absolute in its config", state, position_embedding_type="absolute")
    rejected("vocab_size=26 in its config: expected 28", state, vocab_size=26)
    rejected("unexpected .*ss_head", state | {"ss_head.weight": torch.ones(2)}, num_attention_heads=4)
    rejected("heads", state, num_attention_heads="many")
    bare = {key: value for key, value in state.items() if not key.startswith("lm_head.")}
    rejected("has no language-model head: expected the weights of RiNALMoForMaskedLM", bare)
    short = state | {"lm_head.decoder.bias": torch.ones(26)}
    rejected(r"lm_head\.decoder\.bias has shape \(26,\): expected 28 rows", short)


# the hub


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for the files of a folder, under /owner/name."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        owner, name, _, revision, file = (self.path.strip("/").split("/") + [""] * 5)[:5]
        path = self.folder / file
        error = None
        if (owner, name) != ("owner", "name"):
            error = "RepoNotFound"
        elif revision not in ("main", COMMIT):
            error = "RevisionNotFound"
        elif not path.is_file():
            error = "EntryNotFound"
        body = b"" if error else path.read_bytes()
        self.send_response(404 if error else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{file}-{len(body)}"')
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    package = pytest.importorskip("huggingface_hub")
    folder = rk.save(model, tmp_path / "served")
    handler = type("Handler", (Hub,), {"folder": folder, "asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    where = {"endpoint": f"http://127.0.0.1:{running.server_port}", "cache_dir": tmp_path / "cache"}
    monkeypatch.setattr(package, "hf_hub_download", partial(package.hf_hub_download, **where))
    yield handler
    running.shutdown()
    running.server_close()


def test_a_model_of_the_hub(hub, model, tmp_path, monkeypatch):
    loaded = rk.load("hf:owner/name", device="cpu")
    assert same(loaded, model) and loaded.name == "hf:owner/name"
    assert loaded.source == f"hf:owner/name@{COMMIT}"
    files = {line.rpartition("/")[2] for line in hub.asked}
    assert files == {"config.json", "model.safetensors"}, "nothing else is asked for"
    got = len([line for line in hub.asked if line.startswith("GET")])
    assert same(rk.load(loaded.source, device="cpu"), model)
    assert len([line for line in hub.asked if line.startswith("GET")]) == got, "it was in the cache"
    assert rk.embed("GGGAAACCC", model="hf:owner/name@main", pool="mean").shape == (1, 64)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("hf:owner/other", FileNotFoundError, "hf:owner/other: the hub has no such model or revision"),
        ("hf:owner/name@v9", FileNotFoundError, "hf:owner/name@v9: the hub has no such model or revision"),
        ("hf:name", ValueError, "'hf:name': expected 'hf:owner/name', or 'hf:owner/name@revision'"),
        ("hf:owner/name/x", ValueError, "expected 'hf:owner/name'"),
        ("hf:../name", ValueError, "expected 'hf:owner/name'"),
    ],
)
def test_names_that_the_hub_does_not_have(hub, name, error, message):
    with pytest.raises(error, match=message):
        rk.load(name)


def test_a_repository_without_safetensors(hub):
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    with pytest.raises(
        FileNotFoundError, match=r"hf:owner/name has no model\.safetensors: expected .* not read"
    ):
        rk.load("hf:owner/name")


def test_without_the_hub(hub, monkeypatch):
    import huggingface_hub

    offline = partial(huggingface_hub.hf_hub_download, local_files_only=True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ConnectionError, match=r"hf:owner/name: the hub cannot be reached.*load the folder"):
        rk.load("hf:owner/name")


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rinalmo-kit\[hub\]'"):
        rk.load("hf:owner/name")
