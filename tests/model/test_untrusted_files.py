"""Files in place of a model: told by their first bytes; what is saved can be loaded; damaged bytes and metadata."""

import contextlib
import gzip
import json
import os
import random
import stat
import time
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import rinalmo_kit as rk
from rinalmo_kit.inference import batching
from rinalmo_kit.model.heads import StructureHead
from tests.helpers.model_files import content, rejected, small

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
    rejected(tmp_path / "pipe.pt", "not a regular file")


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
    "labels: expected 3 names": lambda m: (vars(m).update(vars(small("classes"))), setattr(m, "labels", ("a", "b"))),
    "pad_to: expected": lambda m: setattr(m, "pad_to", 10**9),
    "window: expected": lambda m: setattr(m, "window", "wide"),
    "calibration: expected": lambda m: setattr(m, "calibration", ((0.5, 0.1), (0.4, 0.2))),
    "about cannot be written as JSON": lambda m: setattr(m, "about", {"x": {1, 2}}),
    "about: expected finite|rinalmo_kit: expected finite": lambda m: setattr(m, "about", {"x": float("nan")}),
    "about.fold: expected": lambda m: setattr(m, "about", {"fold": "0"}),
    r"not finite numbers \(1\): embedding.weight": lambda m: m.embedding.weight.data.fill_(float("nan")),
    r"not finite numbers \(1\): lm_mask_head.linear1.bias": lambda m: m.lm_mask_head.linear1.bias.data.fill_(1e6),
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
    monkeypatch.setattr(batching, "PADDED_BUDGET", 45)
    assert max(len(batch) for batch in batching.batches_for(model, [9] * 12)) == 45 // model.pad_to
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
