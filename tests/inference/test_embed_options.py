"""Your own pools, blocks side by side, half precision, long sequences in windows: embed, jobs, the command."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.cli.main import main
from rinalmo_kit.inference.bulk import run_bulk
from rinalmo_kit.inference.embedding import fit_whitening
from rinalmo_kit.inference.windows import Windowed, Windows
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

RNAS = ["GGGAAACCC", "ACGU" * 9, "GGCUUCGGCC"]
LONG = "".join(np.random.default_rng(0).choice(list("ACGU"), 103))


@pytest.fixture(scope="module")
def model() -> RiNALMo:
    torch.manual_seed(0)
    return RiNALMo(Config(16, 3, heads=2)).eval()


def test_the_largest_of_each_coordinate(model: RiNALMo) -> None:
    rows = rk.embed(RNAS, model=model)
    np.testing.assert_allclose(
        rk.embed(RNAS, model=model, pool="max"), [one.max(0) for one in rows], atol=1e-6
    )
    fitted = fit_whitening(RNAS * 4, model=model, pool="max", width=2)
    assert fitted.pool == "max"


def test_a_function_pools(model: RiNALMo) -> None:
    rows = rk.embed(RNAS, model=model, layer=2)
    ends = rk.embed(RNAS, model=model, layer=2, pool=lambda rows: rows[[0, -1]].ravel())
    np.testing.assert_allclose(ends, [np.r_[one[0], one[-1]] for one in rows], atol=1e-6)
    assert ends.dtype == np.float32
    seen = []
    numbers = rk.embed(
        RNAS, model=model, pool=lambda rows: seen.append(rows.dtype) or len(rows), dtype="float16"
    )
    assert numbers.tolist() == [9, 36, 10]
    assert numbers.dtype == np.float16
    assert {*seen} == {np.dtype(np.float32)}


def test_a_function_that_pools_wrongly(model: RiNALMo) -> None:
    with pytest.raises(
        ValueError, match=r"'sequence 2': pool=.* gave shape \(36,\), and \(9,\) for 'sequence 1'"
    ):
        rk.embed(RNAS, model=model, pool=lambda rows: rows[:, 0])
    with pytest.raises(
        ValueError, match="'sequence 1': pool gave float64 with something that is not a finite number"
    ):
        rk.embed(RNAS, model=model, pool=lambda rows: np.nan)
    with pytest.raises(ValueError, match="'sequence 1': pool gave object"):
        rk.embed(RNAS, model=model, pool=lambda rows: None)
    with pytest.raises(
        ValueError,
        match=r"pool='median' .did you mean 'mean'.*: expected None, 'cls', 'mean', 'std' or 'max'",
    ):
        rk.embed(RNAS, model=model, pool="median")


@pytest.mark.parametrize("pool", [None, "mean"])
def test_blocks_side_by_side(model: RiNALMo, pool: str | None) -> None:
    one, three = (rk.embed(RNAS, model=model, layer=k, pool=pool) for k in (1, 3))
    both = rk.embed(RNAS, model=model, layer=[-1, 1], combine="concat", pool=pool)
    for a, b, found in zip(one, three, both, strict=True):
        np.testing.assert_allclose(found, np.concatenate([a, b], axis=-1), atol=1e-6)
    assert rk.embed([], model=model, layer=[1, 3], combine="concat", pool="cls").shape == (0, 32)
    with pytest.raises(ValueError, match="combine='concat': expected layer, too"):
        rk.embed(RNAS, model=model, combine="concat")
    with pytest.raises(ValueError, match="combine='sum': expected 'mean' or 'concat'"):
        rk.embed(RNAS, model=model, layer=1, combine="sum")


def test_half_precision(model: RiNALMo) -> None:
    for pool in (None, "std"):
        exact, half = (
            rk.embed(RNAS, model=model, pool=pool, dtype=dtype) for dtype in ("float32", "float16")
        )
        for a, b in zip(exact, half, strict=True):
            assert b.dtype == np.float16
            np.testing.assert_array_equal(a.astype(np.float16), b)
    assert rk.embed("ACGU", model=model, dtype=torch.float16)[0].dtype == np.float16
    assert rk.embed("ACGU", model=model, dtype=np.float32)[0].dtype == np.float32
    for wrong in ("int8", "float64", "half a", None, 16):
        with pytest.raises(ValueError, match=r"dtype=.*: expected 'float32' or 'float16'"):
            rk.embed("ACGU", model=model, dtype=wrong)
    with pytest.raises(ValueError, match="gives numbers above 65504, too large for dtype='float16'"):
        rk.embed("ACGU", model=model, dtype="float16", pool=lambda rows: 1e6)


# --- windows


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(103, 40, 10), (41, 40, 0), (103, 2, 1), (1000, 256, 64)]
)
def test_windows_cover_a_sequence(length: int, window: int, overlap: int) -> None:
    spans = Windows(window, overlap).of(length)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(end - start == window for start, end in spans)
    assert all(a[1] - b[0] >= overlap and a[0] < b[0] for a, b in pairwise(spans))
    assert Windows(length, overlap if overlap < length else 0).of(length) == ()


def test_rows_of_overlapping_windows_are_averaged(model: RiNALMo) -> None:
    found = rk.embed([LONG, RNAS[0]], model=model, window=40, overlap=10)
    spans = found[0].windows
    assert len(spans) == 4
    total, counts = np.zeros((103, 16)), np.zeros(103)
    for start, end in spans:
        total[start:end] += rk.embed(LONG[start:end], model=model)[0]
        counts[start:end] += 1
    np.testing.assert_allclose(found[0], total / counts[:, None], atol=1e-5)
    np.testing.assert_array_equal(found[1], rk.embed(RNAS[0], model=model)[0])
    assert isinstance(found[0], Windowed)
    assert not isinstance(found[1], Windowed)
    pooled = {
        pool: rk.embed([LONG, RNAS[0]], model=model, window=40, overlap=10, pool=pool)
        for pool in ("mean", "cls")
    }
    np.testing.assert_allclose(pooled["mean"][0], found[0].mean(0), atol=1e-5)
    heads = rk.embed([LONG[slice(*span)] for span in spans], model=model, pool="cls")
    np.testing.assert_allclose(pooled["cls"][0], heads.mean(0), atol=1e-5)
    assert pooled["cls"].windows == [spans, ()]
    same = rk.embed([LONG, RNAS[0]], model=model, window=40, overlap=10, pool=lambda rows: rows.mean(0))
    np.testing.assert_allclose(same, pooled["mean"], atol=1e-5)
    assert type(rk.embed(RNAS, model=model, window=40, pool="mean")) is np.ndarray


def test_nothing_happens_in_windows_silently(model: RiNALMo) -> None:
    """Without a window a long sequence is computed whole, with a warning; with one, the result says so."""
    long = "ACGU" * 300
    with pytest.warns(UserWarning, match="'sequence' has 1200 nucleotides.*It is computed whole"):
        whole = rk.embed(long, model=model)[0]
    assert not hasattr(whole, "windows")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rk.embed(long, model=model, window=1022)[0].windows == ((0, 1022), (178, 1200))
    with pytest.warns(UserWarning, match="It is computed whole"):
        rk.embed(long, model=model, window=2000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 1}, "window=1: expected a whole number of nucleotides from 2 on"),
        ({"window": 10.5}, "window=10.5: expected a whole number"),
        ({"window": True}, "window=True: expected a whole number"),
        (
            {"window": 10, "overlap": 10},
            "overlap=10: expected a whole number from 0 to 9, less than window=10",
        ),
        ({"window": 10, "overlap": -1}, "overlap=-1: expected"),
        ({"overlap": 5}, "overlap=5: expected window, too"),
    ],
)
def test_windows_that_cannot_be(model: RiNALMo, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rk.embed("ACGU", model=model, **options)


def test_a_window_that_does_not_fit_is_named(model: RiNALMo, monkeypatch: pytest.MonkeyPatch) -> None:
    from rinalmo_kit.inference import embedding

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(embedding, "encode_sequences", full)
    with pytest.raises(MemoryError, match="'a' has 103 nucleotides"):
        rk.embed({"a": LONG}, model=model, window=40)


# --- jobs and the command


def test_jobs_have_the_same_options(model: RiNALMo, tmp_path: Path) -> None:
    fasta = tmp_path / "x.fa"
    fasta.write_text(f">a\n{LONG}\n>b\nACXU\n>c\n{RNAS[0]}\n")
    options = {"layer": [1, 3], "combine": "concat", "dtype": "float16", "window": 40, "overlap": 10}
    for pool in ("max", None):
        folder = tmp_path / f"out-{pool}"
        run_bulk("embed", fasta, folder, model=model, pool=pool, **options)
        table = pd.read_parquet(folder)
        assert table["windows"].tolist()[::2] == [4, 1]
        assert pd.isna(table["windows"][1])
        expected = rk.embed([LONG, RNAS[0]], model=model, pool=pool, **options)
        for place, one in ((0, expected[0]), (2, expected[1])):
            found = table["embedding"][place]
            assert found.dtype == np.float16
            np.testing.assert_array_equal(found, np.asarray(one).reshape(-1))
    with pytest.raises(ValueError, match="another job"):
        run_bulk("embed", fasta, tmp_path / "out-max", model=model, pool="max")
    with pytest.raises(ValueError, match=r"pool=.*expected None, 'cls'"):
        run_bulk("embed", fasta, tmp_path / "out", model=model, pool=len)
    run_bulk("embed", fasta, tmp_path / "plain", model=model)
    assert list(pd.read_parquet(tmp_path / "plain")) == ["index", "name", "length", "embedding", "error"]


def test_the_command_embeds_in_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = tmp_path / "x.fa"
    fasta.write_text(f">a\n{LONG}\n>b\n{RNAS[0]}\n")
    words = [
        "--layer",
        "5,6",
        "--combine",
        "concat",
        "--dtype",
        "float16",
        "--window",
        "64",
        "--overlap",
        "8",
    ]
    assert main(["embed", str(fasta), "-o", str(tmp_path / "out"), "--pool", "max", "-q", *words]) == 0
    table = pd.read_parquet(tmp_path / "out")
    assert table["windows"].tolist() == [2, 1]
    expected = rk.embed(
        fasta, pool="max", layer=[5, 6], combine="concat", dtype="float16", window=64, overlap=8
    )
    np.testing.assert_allclose(np.stack(table["embedding"]), expected, atol=2e-3)
    assert main(["embed", str(fasta), "-o", str(tmp_path / "no"), "-q", "--overlap", "5"]) == 2
    assert "overlap=5: expected window, too" in capsys.readouterr().err
