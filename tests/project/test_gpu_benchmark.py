"""``python -m benchmarks gpu`` at toy size on the CPU, and what it does when a measurement goes wrong."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from benchmarks import gpu, gpu_paper, gpu_sections


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def bench(tmp_path):
    return gpu.Bench(torch.device("cpu"), tmp_path / "gpu.csv", seconds=100, smoke=True, repetitions=2)


def test_smoke(data, tmp_path, capsys):
    path = tmp_path / "gpu.csv"
    gpu.main(["--smoke", "--output", str(path)])
    assert "0 failed" in capsys.readouterr().out
    rows = rows_of(path)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["work"] for row in rows} == {
        "matrix product",
        "difference from the golden data",
        "difference of the structure head from float64",
        "structure head",
        "structure fine-tuning",
        "embed",
        "pretraining step",
        "pairs above 0.2 as in float32",
        "fold",
        "training of the paper",
        "profile, embed",
        "profile, pretraining step",
        "profile, structure fine-tuning",
        "profile, structure head",
    }
    for row in rows:
        assert all(row[key] for key in ("card", "torch", "command", "commit", "date")), row
        assert row["seconds"] or row["value"], row
        if row["way"].endswith(", float32") and row["work"].startswith("difference from"):
            assert float(row["value"]) < 1e-4, row
        if "structure head from float64" in row["work"]:
            assert float(row["value"]) < (1e-4 if "bfloat16" not in row["way"] else 0.05), row
        if row["work"].startswith("pairs above"):
            assert float(row["value"]) > 0.9, row
    for work in ("embed", "pretraining step", "structure head", "structure fine-tuning"):
        ours = [row for row in rows if (row["work"], row["way"]) == (work, "ours")]
        assert ours and any(float(row["times_official"] or 0) > 0 for row in ours), work
        assert all(float(row["share_of_peak"]) > 0 and row["unit"].endswith("/s") for row in ours), work
    shares = [float(r["value"]) for r in rows if r["work"] == "profile, embed" and r["way"] != "all kernels"]
    assert 0 < math.fsum(shares) <= 1.001


def test_the_papers_training_is_left_out_without_its_table(bench, monkeypatch):
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    monkeypatch.setattr(gpu_paper, "measured", lambda *_: (1.0, None))
    gpu_paper.paper(bench)
    first, *_, last = rows_of(bench.output)
    assert first["status"] == "skipped: no table mrl" and not first["seconds"]
    assert last["size"].startswith("pretraining") and float(last["value"]) > 0


def test_what_fails_is_a_row_and_the_rest_is_measured(bench, monkeypatch):
    def broken():
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB")

    def section(bench):
        bench.time("a", "x", gpu.OFFICIAL, lambda: broken)
        bench.time("a", "x", gpu.OURS, lambda: lambda: None, count=3, unit="token")
        bench.note("b", "x", "y", broken)
        bench.profile("x", "c", broken)
        raise KeyError("of the section")

    sections = {"first": section, "second": lambda bench: bench.note("d", "x", "y", lambda: 2.0)}
    monkeypatch.setattr(gpu_sections, "SECTIONS", sections)
    gpu.run(bench)
    rows = {(row["work"], row["way"]): row for row in rows_of(bench.output)}
    failed = "failed: OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB"
    assert rows["a", "official"]["status"] == rows["b", "y"]["status"] == failed
    assert rows["profile, c", "all kernels"]["status"] == failed
    assert rows["first", "section"]["status"] == "failed: KeyError: 'of the section'"
    ours = rows["a", "ours"]
    assert ours["status"] == "ok" and float(ours["rate"]) > 0 and not ours["times_official"]
    assert rows["d", "y"]["value"] == "2"


def test_nothing_is_begun_without_time_left(bench):
    bench.seconds = 0.0
    bench.time("a", "x", gpu.OURS, lambda: pytest.fail("was measured"))
    bench.note("b", "x", "y", lambda: pytest.fail("was measured"))
    bench.profile("x", "c", lambda: pytest.fail("was measured"))
    assert {row["status"] for row in rows_of(bench.output)} == {"skipped: no time left"}


def test_rows_of_another_card_stay(bench):
    bench.note("a", "x", "y", lambda: 1.0)
    text = bench.output.read_text().replace(",CPU,", ",NVIDIA X1,")
    bench.output.write_text(text)
    for value in (2.0, 3.0):  # of this card the newer ones count
        again = gpu.Bench(bench.device, bench.output, seconds=100, smoke=True)
        again.note("a", "x", "y", lambda value=value: value)
    found = [(row["card"], row["value"]) for row in rows_of(bench.output)]
    assert found == [("NVIDIA X1", "1"), ("CPU", "3")]


def test_a_hung_measurement_ends_the_process(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(gpu.os, "_exit", codes.append)
    gpu.stop()
    assert codes == [3] and "the rows so far are written" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="no GPU that torch can use: --smoke"):
        gpu.main([])
