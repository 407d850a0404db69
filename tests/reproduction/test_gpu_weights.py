"""The way to the weights of nano on a GPU runs, in small, on a CPU."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
import torch

import rinalmo_kit as rk
from reproduction.gpu_weights import families_in_turn, mixed, reproduce_on_gpu
from reproduction.thermodynamics import likely_pairs, with_artificial
from rinalmo_kit.datasets import load_table
from rinalmo_kit.recipes import RECIPES
from rinalmo_kit.recipes.splits import Example
from rinalmo_kit.training.run_options import check_recipe


def examples(name, count, group=""):
    return [Example(f"{name}{i}", "ACGU", None, group=group) for i in range(count)]


def test_every_stretch_of_a_mixture_has_its_shares():
    found = mixed({"a": examples("a", 40), "b": examples("b", 100)}, {"a": 0.4, "b": 0.25})
    assert {one.name for one in found} >= {f"a{i}" for i in range(40)} | {f"b{i}" for i in range(100)}
    for start in range(0, len(found) - 65, 50):
        counts = Counter(one.name[0] for one in found[start : start + 65])
        assert abs(counts["a"] - 40) <= 1 and abs(counts["b"] - 25) <= 1


def test_large_families_do_not_fill_the_first_rows():
    rows = examples("big", 900, "big") + examples("small", 100, "small")
    order = families_in_turn(rows, seed=0)
    assert sorted(one.name for one in order) == sorted(one.name for one in rows)
    first = Counter(one.group for one in order[:100])
    assert 15 <= first["small"] <= 45  # a tenth of the rows; by the root of the sizes a quarter
    assert [one.name for one in order] == [one.name for one in families_in_turn(rows, seed=0)]


def test_a_quarter_of_the_sequences_is_artificial():
    records = [(str(i), "ACGGU" * 5) for i in range(60)]
    found = list(with_artificial(records, seed=0))
    assert [r for r in found if r[0].isdigit()] == records and len(found) == 80
    kinds = Counter(name.split()[0] for name, _ in found if not name.isdigit())
    assert kinds == {"random": 10, "shuffled": 10}
    assert all(sorted(s) == sorted("ACGGU" * 5) for name, s in found if name.startswith("shuffled"))
    assert found == list(with_artificial(records, seed=0))


def test_other_probabilities_have_another_text():
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    found = likely_pairs("GGGGAAAACCCC")
    assert str(found) == str(likely_pairs("GGGGAAAACCCC"))
    assert str(found) != str(found._replace(values=found.values / 2))


def test_recipes_by_the_clock_are_sound(data):
    for name in ("nano-thermo", "nano-ss"):
        check_recipe(RECIPES[name])
        assert RECIPES[name].seconds and RECIPES[name].map_entries and RECIPES[name].ema
    more = load_table("ss_more")
    assert len(more) == 31_899 and more["source"].value_counts()["rfam14_9_seed"] == 28_655


def test_what_cannot_run_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--gpu needs a CUDA GPU"):
        reproduce_on_gpu(tmp_path / "none")
    with pytest.raises(ValueError, match="minutes=0: expected a number above 0"):
        reproduce_on_gpu(tmp_path / "none", minutes=0)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_path_runs_in_small_and_begins_with_given_weights(data, tmp_path):
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    for tool in ("seqkit", "mmseqs"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    told = []
    reproduce_on_gpu(tmp_path / "run", smoke=True, report=told.append)
    assert [line.split(":")[0] for line in told] == [
        s for s in ("encoder", "ensembles", "structures") for _ in "ab"
    ]
    weights = tmp_path / "run" / "weights"
    assert {path.name for path in weights.iterdir()} == {"nano.safetensors", "nano-ss.safetensors"}
    assert 0 < rk.load(weights / "nano-ss.safetensors", device="cpu").threshold < 1
    for start, stages in (("nano", ["ensembles", "structures"]), ("nano-ss", ["structures"])):
        told.clear()
        folder = tmp_path / start
        for part in ("corpus", "corpus.fasta", "ensembles.parquet"):
            folder.mkdir(exist_ok=True)
            (folder / part).symlink_to(tmp_path / "run" / part)
        reproduce_on_gpu(folder, smoke=True, start=weights / f"{start}.safetensors", report=told.append)
        assert [line.split(":")[0] for line in told[::2]] == stages
        assert [path.name for path in (folder / "weights").iterdir()] == ["nano-ss.safetensors"]
