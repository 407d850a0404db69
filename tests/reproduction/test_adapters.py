"""The comparison of a full fine-tuning with adapters runs, and says what it compared."""

import pandas as pd
import pytest

import rinalmo_kit as rk
from reproduction import adapters
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo


def test_both_are_trained_stored_and_scored(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapters, "TRIAL", (1, 2))
    for name, size in {"pico": Config(16, 1, 2, 0.0, 0.0), "nano": Config(32, 1, 4, 0.0, 0.0)}.items():
        rk.save(RiNALMo(size).eval(), tmp_path / f"{name}.safetensors")
    words = [str(tmp_path / "out"), "--task", "splice-donor", "--rows", "12"]
    words += ["--pico", str(tmp_path / "pico.safetensors"), "--nano", str(tmp_path / "nano.safetensors")]
    adapters.main(words)
    path = tmp_path / "out" / "measured" / "adapters.csv"
    found = pd.read_csv(path)
    assert list(zip(found["start"], found["mode"], strict=True))[:1] == [("pico", "full")]
    assert set(found["mode"]) == {"full", "lora"} and set(found["rows"]) == {12}
    assert {"low", "high", "commit"} <= set(found)
    accuracy = found[(found["metric"] == "accuracy") & (found["group"] == "all")].set_index("start")
    assert (accuracy["n"] == 12).all()
    assert (
        accuracy.index.is_unique and accuracy["value"].between(0, 1).all() and (accuracy["seconds"] > 0).all()
    )
    stored = {
        name: tmp_path / "out" / "weights" / f"{name}-splice-donor.safetensors" for name in ("pico", "nano")
    }
    for name, file in stored.items():
        assert accuracy.loc[name, "file_mb"] == pytest.approx(file.stat().st_size / 1e6, rel=1e-4)
    nano = rk.load(stored["nano"], base=tmp_path / "nano.safetensors", device="cpu")
    assert nano.labels == rk.load(stored["pico"], device="cpu").labels
    matrices = sum(m.numel() for pair in nano.adapter.layers.values() for m in pair)
    assert accuracy.loc["nano", "trainable"] == matrices + sum(p.numel() for p in nano.head.parameters())
    capsys.readouterr()
    adapters.main(words)  # finished: nothing is trained again, and the rows replace those before
    columns = ["start", "steps", "seconds", "metric", "value", "low", "high"]
    pd.testing.assert_frame_equal(pd.read_csv(path)[columns], found[columns])
    assert "splice-donor" in capsys.readouterr().out
