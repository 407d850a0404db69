"""Export of structure models as ONNX: the network in plain operations, the file under onnxruntime."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.cli import main
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.onnx_export import LARGEST, PairNetwork, export_onnx
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.rna.decoding import decode

LENGTHS = (12, 76, 200)


def an_rna(length: int) -> str:
    return "".join(random.Random(length).choices("ACGUN", weights=[9, 9, 9, 9, 1], k=length))


@pytest.fixture(scope="module")
def nano():
    return rk.load("nano-ss", device="cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path_factory.mktemp("onnx") / "folder" / "nano-ss.onnx"
    assert main(["export", "onnx", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def session(file):
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("length", [2, 3, *LENGTHS])
def test_plain_operations_give_the_models_logits(nano, length):
    tokens = rk.tokenize(an_rna(length))
    with torch.inference_mode():
        expected = nano.head(nano(tokens).representation[0, 1:-1])
        found, probabilities = PairNetwork(nano)(tokens)
    assert found.shape == (length, length) and (found - expected).abs().max() < 1e-4
    assert torch.equal(probabilities, found.sigmoid())


def test_masked_tokens_are_rescaled_as_by_the_model(nano):
    tokens = rk.tokenize(an_rna(30))
    tokens[0, 5:12] = 4
    with torch.inference_mode():
        expected = nano.head(nano(tokens).representation[0, 1:-1])
        assert (PairNetwork(nano)(tokens)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize("length", LENGTHS)
def test_the_file_gives_torchs_logits(nano, session, length):
    tokens = rk.tokenize(an_rna(length))
    logits, probabilities = session.run(None, {"tokens": tokens.numpy()})
    with torch.inference_mode():
        expected = nano.head(nano(tokens).representation[0, 1:-1]).numpy()
    assert logits.shape == (length, length) and logits.dtype == np.float32
    assert np.abs(logits - expected).max() < 1e-3
    assert np.abs(probabilities - 1 / (1 + np.exp(-expected))).max() < 1e-3


def test_names_and_lengths_of_inputs_and_outputs(session):
    described = [
        [(one.name, one.type, one.shape) for one in side]
        for side in (session.get_inputs(), session.get_outputs())
    ]
    assert described[0] == [("tokens", "tensor(int64)", [1, "L + 2"])]
    assert described[1] == [
        (name, "tensor(float)", ["L", "L"]) for name in ("pair_logits", "pair_probabilities")
    ]


def test_the_metadata_is_enough_to_fold(nano, session):
    """As another program would: ids from the file's alphabet, the file's threshold, the greedy decoding."""
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["model"] == "nano-ss" and "Apache-2.0" in facts["licence"]
    ids = json.loads(facts["alphabet"])
    trna = "GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA"
    tokens = np.array([[ids["<cls>"], *(ids[letter] for letter in trna), ids["<eos>"]]])
    (probabilities,) = session.run(["pair_probabilities"], {"tokens": tokens})
    np.fill_diagonal(probabilities, 0)
    pairs = decode(probabilities, trna, threshold=float(facts["threshold"]))
    assert pairs.tolist() == rk.fold(trna, decoding="greedy", energy=None, model=nano).pairs.tolist()
    rules = json.loads(facts["decoding"])
    own = nano.info.decoding
    assert (rules["method"], rules["gamma"]) == (own.method, own.gamma_alone)
    assert (rules["pseudoknots"], rules["canonical_only"], rules["min_loop"]) == ("strong", True, 4)


def test_models_that_cannot_be_exported_are_named(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match=r"m\.pt: a model is exported as \.onnx"):
        export_onnx(tmp_path / "m.pt")
    with pytest.raises(
        ValueError, match="nano cannot be exported as ONNX: it is a RiNALMo with no task head"
    ):
        export_onnx(path, model="nano")
    with pytest.raises(
        ValueError, match=r"pico-mrl cannot .* with a RibosomeLoadHead; expected a RiNALMo with"
    ):
        export_onnx(path, model="pico-mrl")
    with torch.device("meta"):
        large = RiNALMo(Config(1280, 33)).eval()
        large.head = StructureHead(1280).eval()
    assert 4 * sum(one.numel() for one in large.parameters()) > LARGEST
    with pytest.raises(ValueError, match=r"weights take 2\.6 GB in float32"):
        export_onnx(path, model=large)
    assert not path.exists()


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_what_is_missing_is_named_with_the_command(monkeypatch, tmp_path, capsys, absent):
    from types import SimpleNamespace

    stand_in = SimpleNamespace(load_from_string=None, helper=None, InferenceSession=None)
    for name in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None if name == absent else stand_in)
    assert main(["export", "onnx", "-o", str(tmp_path / "m.onnx")]) == 2
    assert "pip install 'rinalmo-kit[onnx]'" in capsys.readouterr().err


def test_a_file_that_differs_is_not_written(file, tmp_path, monkeypatch):
    from rinalmo_kit.model import onnx_export

    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match=r"x\.onnx was not written: onnxruntime's logits of GGC differ by"):
        export_onnx(tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
