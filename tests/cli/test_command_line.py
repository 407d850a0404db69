"""The command line, and what people and shells hand to it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit._utils import files
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.structure import write_structures
from rinalmo_kit.widgets import training_monitor

GREEK = ">β-globin\nGGGGAAAACCCC\n>b\nGGGGAAAACCCC\n"


def command(*words: str | Path, **options: object) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "rinalmo_kit.cli", *map(str, words)]
    return subprocess.run(line, check=False, **({"capture_output": True} | options))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "in.fa"
    path.write_text(GREEK, encoding="utf-8")
    return path


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", stream)


# --- numbers -----------------------------------------------------------------------------------------------------

WHOLE = {
    "fold": ["--shard-size", "--processes"],
    "finetune": ["--limit"],
    "evaluate": ["--limit"],
    "corpus": ["--min-length", "--max-length", "--threads"],
    "pretrain": [
        "--steps",
        "--epochs",
        "--tokens-per-batch",
        "--max-tokens",
        "--validate-every",
        "--checkpoint-every",
    ],
    "plan": ["--n", "--steps", "--tokens-per-batch", "--max-tokens"],
}
REAL = {
    "fold": ["--threshold"],
    "corpus": ["--min-identity", "--coverage", "--holdout"],
    "pretrain": ["--lr"],
    "plan": ["--tokens", "--epochs", "--mfu"],
}
FROM_ZERO = {
    "fold": ["--min-loop"],
    "finetune": ["--seed"],
    "evaluate": ["--fold"],
    "corpus": ["--seed"],
    "pretrain": ["--seed", "--workers"],
    "studio": ["--port"],
}
WORDS = {
    "fold": ["fold", "in.fa"],
    "finetune": ["finetune", "mrl", "-o", "out"],
    "evaluate": ["evaluate", "nano-ss", "ss-bprna"],
    "corpus": ["corpus", "build", "in.fa", "-o", "out"],
    "pretrain": ["pretrain", "in.fa", "-o", "out"],
    "plan": ["plan"],
    "studio": ["studio"],
}
NUMBERS = [
    *((of, option, value) for of, names in WHOLE.items() for option in names for value in ("0", "1.5", "-1")),
    *((of, option, value) for of, names in REAL.items() for option in names for value in ("-0.1", "1e400")),
    *((of, option, value) for of, names in FROM_ZERO.items() for option in names for value in ("-1", "0.5")),
    *(
        (of, option, value)
        for group in (WHOLE, REAL, FROM_ZERO)
        for of, names in group.items()
        for option in names
        for value in ("nan", "inf", "", "1,5", "9" * 5000)
    ),
    *(("fold", "-t", value) for value in ("1.01", "2", "-1e-9", "1j")),
    *(("corpus", option, "1.1") for option in REAL["corpus"]),
    *(("plan", "--mfu", value) for value in ("0", "1.1")),
    *(("plan", option, "0") for option in ("--tokens", "--epochs")),
    ("pretrain", "--lr", "0"),
    ("studio", "--port", "65536"),
]


def test_numbers_that_are_none_are_rejected_by_the_name_of_the_option(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    accepted = []
    for of, option, value in NUMBERS:
        code = cli.main([*WORDS[of], option, value])
        error = capsys.readouterr().err
        if code != 2 or f"{option}" not in error.splitlines()[-1] or "Traceback" in error:
            accepted.append((of, option, value[:20], code, error[-200:]))
    assert not accepted
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "number"), [("16384", 16384), ("1e3", 1000), ("1E6", 10**6), ("2.0", 2)])
def test_whole_numbers_may_be_written_as_one_million(text, number):
    from rinalmo_kit.cli.arguments import parser

    words = ["pretrain", "x.fa", "-o", "y", "--tokens-per-batch", text]
    assert parser().parse_args(words).tokens_per_batch == number


@pytest.mark.parametrize("text", ["epochs", "=3", "a b=3", "3", ""])
def test_settings_without_a_name(text, capsys):
    assert cli.main(["finetune", "mrl", "-o", "x", "--set", text]) == 2
    assert f"{text!r}: expected NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["output", "model", "seed", "limit", "task", "steps", "corpus", "recipe"])
@pytest.mark.parametrize("what", ["finetune", "pretrain"])
def test_our_own_options_are_none_of_lightning(what, name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = {
        "finetune": {"output", "model", "seed", "limit", "task", "recipe"},
        "pretrain": {"steps", "corpus"},
    }
    if name not in own[what] | {"output", "model", "seed"}:
        pytest.skip("is none of its options")
    (tmp_path / "in.fa").write_text(GREEK, encoding="utf-8")
    words = {"finetune": ["mrl"], "pretrain": ["in.fa", "--steps", "1"]}[what]
    assert cli.main([what, *words, "-o", "out", "--trainer", f"{name}=1"]) == 2
    assert f"--trainer {name}: Lightning's Trainer has no such option" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_settings_of_any_depth():
    from rinalmo_kit.cli.arguments import settings

    deep = "(" * 5000
    assert settings([f"a={deep}", "b=__import__('os').getpid()"]) == {
        "a": deep,
        "b": "__import__('os').getpid()",
    }


@pytest.mark.parametrize("device", ["x", "", "meta", "xla", "cpu:-1", "cuda:x", "vulkan", "cpu cpu"])
def test_a_device_that_there_is_not(device, fasta, capsys):
    assert cli.main(["estimate", str(fasta), "--device", device]) == 2
    assert f"device={device!r}: expected cpu" in capsys.readouterr().err


# --- standard input, pipes, nothing at all -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        GREEK.encode(),
        b"\xef\xbb\xbf" + GREEK.encode(),
        GREEK.replace("\n", "\r\n").encode(),
        gzip.compress(GREEK.encode(), mtime=0),
    ],
    ids=["plain", "mark", "windows", "packed"],
)
@pytest.mark.parametrize("what", ["fold", "predict", "estimate"])
def test_standard_input_is_bytes(what, content, capsys, monkeypatch):
    piped(monkeypatch, content)
    assert cli.main([what, "-"]) == 0
    shown = capsys.readouterr().out
    if what == "estimate":
        assert "sequences   2;" in shown
    else:
        assert shown.count("β-globin") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("what", ["fold", "predict", "estimate"])
def test_a_pipe_is_read_once(what, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(GREEK.encode()), daemon=True)
    writer.start()
    assert cli.main([what, str(pipe)]) == 0  # with a progress bar
    writer.join(20)
    shown = capsys.readouterr().out
    assert "sequences   2;" in shown if what == "estimate" else shown.count("β-globin") == 1


@pytest.mark.parametrize("content", ["", "\n", " \n\t\n\r\n", "# a comment\n\n# another\n", "; old\n"])
@pytest.mark.parametrize("what", ["fold", "predict", "embed", "estimate", "corpus", "parquet"])
@pytest.mark.parametrize("given", ["file", "packed", "-"])
def test_an_empty_input_is_an_error(what, content, given, tmp_path, capsys, monkeypatch):
    if given == "-" and what not in ("fold", "predict", "estimate"):
        pytest.skip("needs a file")
    monkeypatch.setattr("rinalmo_kit.datasets.corpus.stages.tool_version", lambda *_: {})
    path = tmp_path / ("in.fa.gz" if given == "packed" else "in.fa")
    path.write_bytes(gzip.compress(content.encode()) if given == "packed" else content.encode())
    if given == "-":
        piped(monkeypatch, content.encode())
    source, output = "-" if given == "-" else str(path), str(tmp_path / "out")
    words = {
        "fold": ["fold", source, "-q", "-o", f"{output}.ct"],
        "predict": ["predict", source, "-q", "-o", f"{output}.csv"],
        "embed": ["embed", source, "-q", "-o", output],
        "estimate": ["estimate", source],
        "corpus": ["corpus", "build", source, "-q", "--no-clusters", "-o", output],
        "parquet": ["fold", source, "-q", "-f", "parquet", "-o", output],
    }[what]
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert "error: " in captured.err
    assert captured.out == ""
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize("pack", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("what", ["fold", "predict"])
def test_records_before_damage_are_kept(what, pack, tmp_path, capsys):
    import bz2
    import lzma
    import random

    letters = random.Random(1)
    rnas = {f"r{i}": "".join(letters.choices("ACGU", k=12)) for i in range(400)}
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in rnas.items()).encode()
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[pack](text)
    path, out = tmp_path / f"in.fa.{pack}", tmp_path / ("out.csv" if what == "predict" else "out.dbn")
    cut = packed[: len(packed) // 4] if pack != "bz2" else packed[:-10]
    path.write_bytes(cut)
    code = cli.main([what, str(path), "-q", "-o", str(out)])
    error = capsys.readouterr().err
    assert str(path) in error
    assert not out.exists()
    part = Path(f"{out}.part")
    if not part.exists():  # a block of bzip2 gives all or nothing
        assert (code, pack) == (2, "bz2")
        return
    assert code == 1
    if what == "fold":
        names = [line[1:] for line in part.read_text().splitlines() if line.startswith(">")]
    else:
        names = list(pd.read_csv(part)["name"])
    assert 10 < len(names) < 400
    assert names == list(rnas)[: len(names)]
    assert f"{len(names)} finished records are kept in {part}" in error


# --- the screen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_is_utf8_whatever_the_terminal(encoding, tmp_path):
    path = tmp_path / "in.fa"
    path.write_text(GREEK + ">γ\nXX\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = command("fold", path, env=environment)
    assert done.returncode == 1
    assert done.stdout.decode("utf-8") == "".join(f"{s}\n" for s in rk.fold(GREEK))
    assert "skipped: 'γ'" in done.stderr.decode("utf-8")


def test_the_screen_is_no_reason_to_stop(fasta, tmp_path):
    """Standard error whose reader has gone, standard output that is full or closed."""
    read, write = os.pipe()
    os.close(read)
    done = command(
        "fold", fasta, "-o", tmp_path / "x.dbn", capture_output=False, stdout=subprocess.PIPE, stderr=write
    )
    os.close(write)
    assert done.returncode == 0
    assert rk.read_structures(tmp_path / "x.dbn") == rk.fold(fasta)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_is_full():
    with Path("/dev/full").open("w") as full:
        done = command("recipes", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"error" in done.stderr
    assert b"Traceback" not in done.stderr


def test_closed_streams(fasta, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["fold", str(fasta)]) == 0
    monkeypatch.undo()
    assert capsys.readouterr().out == "".join(f"{s}\n" for s in rk.fold(fasta))
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["fold", str(fasta), "-q"]) == 2
    assert "standard output is closed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.main(["fold", "-", "-q", "-o", os.devnull]) == 2
    assert "standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["fold", "--help"], ["fold"], ["nothing"], []])
def test_main_returns_its_code(words, capsys):
    assert cli.main(words) == (0 if "--help" in words else 2)
    assert "usage: rinalmo-kit" in "".join(capsys.readouterr())


# --- ~ ---------------------------------------------------------------------------------------------------------------


def test_the_home_folder_is_expanded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.fa").write_text(GREEK, encoding="utf-8")
    small = RiNALMo(Config(16, 1, heads=1)).eval()
    rk.save(small, "~/small.safetensors")
    assert rk.load("~/small.safetensors", device="cpu").config.dim == 16
    write_structures(rk.fold("~/in.fa"), "~/my.dbn")
    assert len(rk.read_structures("~/my.dbn")) == 2
    for words in (
        ["fold", "~/in.fa", "-q", "-o", "~/out.ct"],
        ["fold", "~/in.fa", "-q", "-f", "ct", "-o", "~/many/"],
        ["predict", "~/in.fa", "-q", "-o", "~/out.csv"],
        ["embed", "~/in.fa", "-q", "-o", "~/embedded", "-m", "~/small.safetensors"],
        ["estimate", "~/in.fa", "-m", "~/small.safetensors"],
        ["evaluate", "most-pairs", "~/my.dbn", "-o", "~/scores.csv", "--samples", "~/samples.csv"],
        ["evaluate", "~/small.safetensors", "~/my.dbn"],
    ):
        code = cli.main(words)
        error = capsys.readouterr().err
        assert "no such" not in error
        assert code == (2 if words[1] == "~/small.safetensors" else 0), error
    pd.DataFrame({"id": list("ab"), "sequence": ["ACGU" * 9, "GGCC" * 9]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert cli.main(["corpus", "build", "~/t.csv", "-q", "-o", "~/corpus"]) in (0, 2), capsys.readouterr().err
    assert not (tmp_path / "~").exists()
    expected = {
        "out.ct",
        "many",
        "out.csv",
        "embedded",
        "scores.csv",
        "samples.csv",
        "small.safetensors",
        "my.dbn",
    }
    assert expected <= {one.name for one in tmp_path.iterdir()}
    for folder in (training_monitor.TrainingMonitor("~/run").folder, files.user_path("~/run")):
        assert folder == tmp_path / "run"
