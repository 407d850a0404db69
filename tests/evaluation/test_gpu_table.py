"""The table of speeds on a GPU, with its file, without it, and with rows that failed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from benchmarks import gpu
from rinalmo_kit.evaluation.gpu_table import WORK, gpu_table


def test_without_a_file_nothing_is_measured(monkeypatch):
    monkeypatch.setattr("rinalmo_kit._utils.numbers.data_folders", list)
    table = gpu_table()
    assert len(table) == len(WORK) and set(table["measured"]) == {"not measured"}
    assert set(table["card"]) == set(table["share of peak"]) == {""}
    assert "2,500 structures/s" in set(table["goal"])


def test_an_empty_table_is_no_file():
    assert set(gpu_table(pd.DataFrame())["measured"]) == {"not measured"}


def test_reads_what_the_benchmark_writes(tmp_path):
    bench = gpu.Bench(torch.device("cpu"), tmp_path / "gpu.csv", seconds=100, smoke=True)
    bench.add(gpu.Row("embed", "giga, 256 RNAs", "official", 4.0, 1000.0, "token/s"))
    row = gpu.Row("embed", "giga, 256 RNAs", "ours", 1.0, 4000.0, "token/s", share_of_peak=0.412)
    row.times_official = bench.times_official(row)
    bench.add(row)
    bench.add(gpu.Row("structure head", "L=200, float32", "ours", status="failed: RuntimeError: no"))
    bench.add(gpu.Row("fold", "nano-ss, 256 RNAs, float32", "ours", status="skipped: no time left"))
    bench.add(gpu.Row("embed", "gigantic, 256 RNAs", "ours", 1.0, 7.0, "token/s"))
    table = gpu_table(pd.read_csv(bench.output)).set_index(["work", "size", "way"])
    found = table.loc["embed", "giga", "ours"]
    assert found["measured"] == "4,000 tokens/s" and found["share of peak"] == "41%"
    assert found["times official"] == "4" and found["card"] == "CPU" and found["memory (GB)"] == ""
    assert table.loc["structure head", "L=200, float32", "ours"]["measured"] == "failed: RuntimeError: no"
    assert table.loc["fold", "nano-ss", "ours"]["measured"] == "not measured"
    assert table.loc["embed", "micro", "ours"]["measured"] == "not measured"
    assert set(gpu_table(pd.read_csv(bench.output), card="other")["measured"]) == {"not measured"}


def test_names_are_those_of_the_benchmark():
    """Each work of the table is one that the benchmark's sections name."""
    text = Path(gpu.__file__).with_name("gpu_sections.py").read_text()
    for work, _, way in WORK:
        assert f'"{work}"' in text and (way == gpu.OURS or f'"{way}"' in text), (work, way)
