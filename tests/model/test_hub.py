"""Checkpoints: every layout, strictness, safety, and downloading from a server that breaks off."""

import hashlib
import http.server
import pickle
import re
import threading

import numpy as np
import pytest
import requests
import torch
from safetensors.torch import save_file

import rinalmo_kit as rk
from rinalmo_kit.model import checkpoint, checkpoint_files, pretrained
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo

TINY = Config(64, 2, heads=4)
LAYOUTS = {
    "tiny_flash.pt": None,
    "tiny_nonflash.safetensors": None,
    "tiny_splitqkv.pt": None,
    "tiny_ft_ss.pt": StructureHead,
    "tiny_ft_mrl.pt": RibosomeLoadHead,
    "tiny_ft_splice.pt": ClassificationHead,
    "tiny_ft_ncrna.pt": ClassificationHead,
    "tiny_ft_ncrna_lightning.ckpt": ClassificationHead,
}


@pytest.fixture
def model():
    torch.manual_seed(1)
    model = RiNALMo(TINY).eval()
    model.head = StructureHead(64)
    return model


@pytest.mark.parametrize("file", LAYOUTS)
def test_every_layout_gives_the_official_numbers(golden, file):
    model = rk.load(golden / file, config=TINY, device="cpu")
    assert not model.training
    assert (type(model.head) if model.head else None) == LAYOUTS[file]
    expected = np.load(golden / "lm_tiny.npz")
    tokens = torch.from_numpy(expected["ragged.tokens"])
    with torch.inference_mode():
        logits = model(tokens).logits
    assert np.abs(logits.numpy() - expected["ragged.logits"])[tokens.numpy() != 1].max() < 2e-4


def test_threshold_scaler_and_head_come_with_a_finetuned_file(golden):
    structure = rk.load(golden / "tiny_ft_ss.pt", config=TINY)
    assert structure.threshold == pytest.approx(0.17)
    load = rk.load(golden / "tiny_ft_mrl.pt", config=TINY)
    assert load.scaler is not None and len(load.scaler) == 2
    assert rk.load(golden / "tiny_flash.pt", config=TINY).threshold is None


def test_inv_freq_tells_the_number_of_heads(golden):
    assert rk.load(golden / "tiny_nonflash.safetensors").config.heads == 4
    with pytest.raises(ValueError, match="dim=64, which 20 heads do not divide: pass config"):
        rk.load(golden / "tiny_flash.pt")


def test_config_that_contradicts_the_file(golden):
    with pytest.raises(ValueError, match="dim=64 and 2 blocks, config says dim=64 and 3 blocks"):
        rk.load(golden / "tiny_flash.pt", config=Config(64, 3, heads=4))


def test_save_and_load_round_trip(model, tmp_path):
    model.threshold, model.scaler = 0.125, (1.5, 2.5)
    again = rk.load(rk.save(model, tmp_path / "m.safetensors"), device="cpu")
    assert (again.config, again.threshold, again.scaler) == (TINY, 0.125, (1.5, 2.5))
    expected = model.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())


def test_half_precision_file_loads_as_float32(model, tmp_path):
    again = rk.load(rk.save(model, tmp_path / "m.safetensors", dtype=torch.float16), device="cpu")
    assert again.dtype == torch.float32
    assert torch.allclose(again.embedding.weight, model.embedding.weight, atol=1e-3)
    assert rk.load(tmp_path / "m.safetensors", dtype=torch.bfloat16, device="cpu").dtype == torch.bfloat16


def test_failed_save_keeps_the_old_file(model, tmp_path, monkeypatch):
    path = rk.save(model, tmp_path / "m.safetensors")
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        rk.save(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("lm.transformer.blocks.1.transition.0.beta"), r"missing \(1\): transformer.blocks.1.tran"),
        (lambda s: s.update({"lm.stray": torch.zeros(2)}), r"unexpected \(1\): stray"),
        (lambda s: s.update({"lm.lm_mask_head.linear2.weight": torch.zeros(28, 64)}), r"shape.*\(28, 64\), expected"),
        (lambda s: s.pop("pred_head.conv_out.bias"), r"missing \(1\): head.conv_out.bias"),
        (lambda s: s.pop("pred_head.conv_out.weight"), "unknown task head"),
        (lambda s: s.pop("lm.embedding.weight"), "missing key embedding.weight"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed(model, tmp_path, change, message):
    path = rk.save(model, tmp_path / "m.safetensors")
    state, _ = checkpoint_files.read_state(path)
    change(state)
    save_file(state, path, metadata={"heads": "4"})
    with pytest.raises(ValueError, match=message):
        rk.load(path)


def test_incomplete_split_layout_is_reported(golden, tmp_path):
    state = torch.load(golden / "tiny_splitqkv.pt", weights_only=True)
    del state["transformer.blocks.0.mh_attn.mh_attn.to_k.weight"]
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"missing \(1\): transformer.blocks.0.mh_attn.Wqkv.weight"):
        rk.load(tmp_path / "x.pt", config=TINY)


def test_a_half_loaded_model_is_never_returned(model, tmp_path):
    """A state dict with fewer blocks than its highest number says is rejected."""
    path = rk.save(model, tmp_path / "m.safetensors")
    state, _ = checkpoint_files.read_state(path)
    save_file({k: v for k, v in state.items() if ".blocks.0.m" not in k}, path, metadata={"heads": "4"})
    with pytest.raises(ValueError, match="missing"):
        rk.load(path)


class Exploit:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.exploited = True",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_does_not_run(tmp_path, protocol):
    import builtins

    torch.save({"embedding.weight": Exploit()}, tmp_path / "zip.pt", pickle_protocol=protocol)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Exploit(), protocol))
    for name in ("zip.pt", "raw.pt"):
        with pytest.raises(ValueError, match=r"is rejected: .*could run code"):
            rk.load(tmp_path / name)
    assert not hasattr(builtins, "exploited")


def test_files_that_are_no_checkpoints(golden, tmp_path):
    (tmp_path / "cut.pt").write_bytes((golden / "tiny_flash.pt").read_bytes()[:100_000])
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in {
        "cut.pt": "cut off",
        "empty.pt": "cut off",
        "text.safetensors": "not a safetensors file",
        "list.pt": "holds a list",
    }.items():
        with pytest.raises(ValueError, match=message):
            rk.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        rk.load(tmp_path / "absent.pt")
    with pytest.raises(ValueError, match="unknown model 'gigantic'; embedded: nano-ss"):
        rk.load("gigantic")


def test_embedded_models():
    full, encoder = rk.load("nano-ss", device="cpu"), rk.load("nano", device="cpu")
    assert encoder.head is None and encoder.threshold is None
    assert isinstance(full.head, StructureHead) and 0 < full.threshold < 1
    assert full.config == encoder.config == Config.nano()


# --- downloads, from a local server ----------------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    content = b""
    break_after: int | None = None  # bytes of a response after which the connection drops
    ranges: list[str | None]

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).ranges.append(wanted)
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: type(self).break_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def record(tmp_path, monkeypatch, model):
    """A record with one file, 'giga' for this test, and an empty cache."""
    path = rk.save(model, tmp_path / "server.safetensors")
    handler = type("Handler", (Server,), {"content": path.read_bytes(), "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sha256 = hashlib.sha256(handler.content).hexdigest()
    monkeypatch.setitem(pretrained.OFFICIAL, "giga", ("giga.safetensors", sha256))
    monkeypatch.setattr(pretrained, "RECORD", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield handler
    server.shutdown()


def files(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_download_once(record, tmp_path):
    assert rk.load("giga", device="cpu").config == TINY
    rk.load("giga", device="cpu")
    assert len(record.ranges) == 1
    assert files(tmp_path / "cache") == ["giga.safetensors"]


def test_a_broken_connection_is_resumed(record, tmp_path):
    record.break_after = len(record.content) // 3
    rk.load("giga", device="cpu")
    starts = [int(r[6:-1]) for r in record.ranges]
    assert starts == sorted(set(starts)) and len(starts) > 2 and starts[1] > 0
    assert (tmp_path / "cache" / "giga.safetensors").read_bytes() == record.content


def test_a_later_call_goes_on_where_the_first_gave_up(record, tmp_path):
    record.break_after = 100_000
    with pytest.raises(ConnectionError, match="call again to go on"):
        rk.load("giga", device="cpu")
    assert files(tmp_path / "cache")[0].endswith(".part")
    record.break_after = None
    rk.load("giga", device="cpu")
    assert int(record.ranges[-1][6:-1]) >= 5 * 65_536
    assert files(tmp_path / "cache") == ["giga.safetensors"]


def test_a_wrong_file_never_gets_the_name(record, tmp_path):
    record.content = record.content[:-1] + b"X"
    with pytest.raises(ValueError, match=r"SHA256|hash"):
        rk.load("giga", device="cpu")
    assert files(tmp_path / "cache") == []


def test_a_server_that_is_not_there(record, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "RECORD", "http://127.0.0.1:9")
    with pytest.raises(
        ConnectionError, match=r"Without internet: put giga.safetensors into the folder \$RINALMO_KIT_DATA"
    ):
        rk.load("giga", device="cpu")


def test_official_file_from_the_data_folder(record, tmp_path, monkeypatch):
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "giga.safetensors"
    path.write_bytes(record.content)
    assert rk.load("giga", device="cpu").config == TINY
    assert record.ranges == []
    path.write_bytes(record.content[:-4] + b"abcd")
    with pytest.raises(ValueError, match="not the official file: its SHA-256 is"):
        rk.load("giga", device="cpu")


def test_a_file_without_published_checksum_is_announced(record, monkeypatch):
    monkeypatch.setitem(pretrained.OFFICIAL, "giga", ("giga.safetensors", None))
    with pytest.warns(UserWarning, match="no SHA-256 is published for giga.safetensors"):
        rk.load("giga", device="cpu")


def test_the_registry_of_official_files():
    names = [name for name, _ in pretrained.OFFICIAL.values()]
    assert len(set(names)) == len(names) == 18
    assert all(re.fullmatch(r"rinalmo_(micro|mega|giga)_\w[\w-]*\.pt", name) for name in names)
    assert all(sha is None or re.fullmatch("[0-9a-f]{64}", sha) for _, sha in pretrained.OFFICIAL.values())
    assert issubclass(requests.ConnectionError, OSError)  # what official_file relies on
