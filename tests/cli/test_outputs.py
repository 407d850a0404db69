"""What is written: the ending decides, nothing read is written over, and finished records are not lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit._utils import files
from rinalmo_kit.cli import outputs, records
from rinalmo_kit.inference import folding, prediction
from rinalmo_kit.structure import write_structures

RNAS = {"one": "GGGGGAAAACCCCC", "β-globin": "GCGCGCUUUUGCGCGC", "00012": "GGGGAAAACCCC"}
HAIRPINS = [rk.Structure(sequence, [(0, len(sequence) - 1)], name) for name, sequence in RNAS.items()]
PACKINGS = (".gz", ".bz2", ".xz")
KINDS = {content: ending for ending, content in outputs.STRUCTURES.items() if content != "parquet"}


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return written(tmp_path / "in.fasta", RNAS)


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded: what is wrong is seen before."""

    def loaded(*_: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(folding, "folding_model", loaded)
    monkeypatch.setattr(prediction, "predicting_model", loaded)
    monkeypatch.setattr("rinalmo_kit.evaluation.scoring.predictors_of", loaded)


def written(path: Path, rnas: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in rnas.items()), encoding="utf-8")
    return path


def run(*words: str | Path) -> int:
    return cli.main([*map(str, words), *(["-q"] if words[0] in ("fold", "predict", "embed") else [])])


def command(*words: str | Path, **options: object) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "rinalmo_kit.cli", *map(str, words)]
    return subprocess.run(line, check=False, stderr=subprocess.PIPE, **options)


# --- the ending decides ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(f"x{ending}" for ending in outputs.STRUCTURES),
        *(f"X{ending.upper()}" for ending in KINDS.values()),
        *(f"x{ending}{packing}" for ending in KINDS.values() for packing in PACKINGS),
        *(f"x.ct{packing.upper()}" for packing in PACKINGS),
        "x.y.Dbn.Gz",
        "x y.ct",
        "-x.dbn",
    ],
)
def test_what_fold_writes_is_read_again(name, tmp_path, capsys):
    rnas = dict([*RNAS.items()][: 1 if ".st" in name.lower() or ".bpseq" in name.lower() else None])
    out = tmp_path / "out" / name
    assert run("fold", written(tmp_path / "in.fa", rnas), f"--output={out}") == 0, capsys.readouterr().err
    assert [one.name for one in out.parent.iterdir()] == [name]
    found = rk.read_structures(out)
    assert found == rk.fold(rnas)
    assert [one.name for one in found] == list(rnas)


@pytest.mark.parametrize("name", ["x.json", "x.jsonl.gz"])
def test_json_holds_probabilities_and_confidence(name, fasta, tmp_path):
    assert run("fold", fasta, "-o", tmp_path / name) == 0
    raw = (tmp_path / name).read_bytes()
    lines = (gzip.decompress(raw) if name.endswith("gz") else raw).decode("utf-8").splitlines()
    for record, structure in zip(map(json.loads, lines), rk.fold(RNAS), strict=True):
        assert record["name"] == structure.name
        assert record["confidence"] == structure.confidence
        assert [pair[:2] for pair in record["pairs"]] == (structure.pairs + 1).tolist()
        assert [pair[2] for pair in record["pairs"]] == [
            round(float(structure.probabilities[i, j]), 4) for i, j in structure.pairs
        ]


@pytest.mark.parametrize(
    "name", ["p.csv", "P.CSV", "p.tsv", "p.parquet", "p.csv.gz", "p.tsv.bz2", "p.csv.xz"]
)
def test_what_predict_writes_is_read_again(name, fasta, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "CHUNK", 2)  # the header is written once
    assert run("predict", fasta, "-o", tmp_path / name) == 0
    if name.endswith(".parquet"):
        found = pd.read_parquet(tmp_path / name)
    else:
        separator = "," if ".csv" in name.lower() else "\t"
        found = pd.read_csv(tmp_path / name, sep=separator, dtype={"name": str})
    expected = rk.predict(RNAS)
    assert list(found.columns) == list(expected.columns)
    assert list(found["name"]) == list(RNAS)
    assert list(found["label"]) == list(expected["label"])
    assert found["probability"].to_numpy() == pytest.approx(expected["probability"].to_numpy(), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *(
            (("fold", "{in}", "-o", f"{{out}}/{name}"), "unknown ending")
            for name in (
                "x",
                "x.txt",
                "x.gz",
                "x.ct.zip",
                "x.ct.",
                "x.xlsx",
                "x.pdf.xz",
                ".ct",
                "x.safetensors",
            )
        ),
        *(
            (("predict", "{in}", "-o", f"{{out}}/{name}"), "unknown ending")
            for name in ("x", "x.json", "x.dbn", "x.gz", "x.xls")
        ),
        *(
            (("evaluate", "trivial", "{dbn}", option, f"{{out}}/{name}"), "expected a .csv")
            for option in ("-o", "--samples")
            for name in ("x", "x.tsv", "x.csv.gz", "x.parquet")
        ),
        (("fold", "{in}", "-o", "{out}/x.parquet.gz"), "leave .gz out"),
        (("predict", "{in}", "-o", "{out}/x.parquet.XZ"), "leave .XZ out"),
        (("fold", "{in}", "-f", "ct", "-o", "{out}/x.dbn"), "holds dbn, not ct"),
        (("fold", "{in}", "-f", "bpseq", "-o", "{out}/x.ct"), "holds ct, not bpseq"),
        (("fold", "{in}", "-f", "dbn", "-o", "{out}/x.ct.gz"), "holds ct, not dbn"),
        (("fold", "{in}", "-f", "parquet", "-o", "{out}/x.csv"), "holds csv, not parquet"),
        (("predict", "{in}", "-f", "csv", "-o", "{out}/x.tsv"), "holds tsv, not csv"),
        (("predict", "{in}", "-f", "parquet", "-o", "{out}/x.csv"), "holds csv, not parquet"),
        (("fold", "{in}", "-o", "{out}/x.st"), "several records"),
        (("fold", "{in}", "-o", "{out}/x.bpseq"), "several records"),
        (("fold", "{in}", "-f", "st"), "several records"),
        (("predict", "{in}", "-o", "{out}/"), "is a folder"),
        (("fold", "{in}", "-o", "{in}/"), "is a file"),
        (("fold", "{in}", "-f", "bpseq", "-o", "{in}"), "holds dbn, not bpseq"),
        (("embed", "{in}", "-o", "{out}/x.csv"), "holds csv, not parquet"),
        (("embed", "{in}", "-o", "{in}"), "is a file"),
        (("embed", "{in}", "-o", "{plain}"), "is a file"),
        (("fold", "{in}", "-f", "bpseq", "-o", "{plain}"), "is a file"),
        (("fold", "{in}", "-o", "{in}/x.ct"), "in.fasta"),
        (("fold", "{in}", "-o", "{out}/" + "x" * 300 + ".ct"), "too long"),
        (("fold", "{in}", "-o", ""), "-o/--output"),
        (("predict", "{in}", "-o", " "), "-o/--output"),
    ],
)
def test_an_output_that_cannot_be_is_seen_before_the_work(words, message, fasta, tmp_path, capsys, unused):
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    before = fasta.read_bytes()
    (tmp_path / "plain").touch()
    named = {"in": fasta, "out": tmp_path / "out", "dbn": tmp_path / "in.dbn", "plain": tmp_path / "plain"}
    assert run(*(word.format(**named) for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert fasta.read_bytes() == before
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("output", [None, "-"])
def test_standard_output(output, fasta, capsys):
    assert run("fold", fasta, *(["-o", output] if output else [])) == 0
    assert capsys.readouterr().out == "".join(f"{s}\n" for s in rk.fold(RNAS))
    assert run("predict", fasta, *(["-o", output] if output else [])) == 0
    assert list(pd.read_csv(io.StringIO(capsys.readouterr().out), dtype=str)["name"]) == list(RNAS)


# --- the output is not an input, and devices stay what they are --------------------------------------------------


@pytest.mark.parametrize("link", ["same", "dotted", "symbolic", "hard", "home", "part"])
@pytest.mark.parametrize("what", ["fold", "predict", "scores", "samples"])
def test_an_output_that_is_the_input(what, link, tmp_path, monkeypatch, capsys, unused):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    source = tmp_path / {"fold": "in.dbn", "predict": "in.csv"}.get(what, "in.csv")
    written(source, RNAS)
    output = {"dotted": f"{tmp_path}/./{source.name}", "home": f"~/{source.name}"}.get(link, str(source))
    if link in ("symbolic", "hard"):
        output = str(tmp_path / f"other{source.suffix}")
        (os.symlink if link == "symbolic" else os.link)(source, output)
    if link == "part":
        if what not in ("fold", "predict"):
            pytest.skip("is written in one piece")
        source = source.rename(f"{source}.part")
    before = source.read_bytes()
    words = {
        "fold": ("fold", source, "-o", output),
        "predict": ("predict", source, "-o", output),
        "scores": ("evaluate", "trivial", source, "-o", output),
        "samples": ("evaluate", "trivial", source, "--samples", output),
    }[what]
    assert run(*words) == 2
    assert f"is the input {source}" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_scores_and_samples_are_two_files(tmp_path, capsys, unused):
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    out = tmp_path / "out.csv"
    assert (
        run("evaluate", "trivial", tmp_path / "in.dbn", "-o", out, "--samples", tmp_path / "." / "out.csv")
        == 2
    )
    assert "for --output and for --samples" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/stdin")
def test_standard_input_that_is_the_output(fasta):
    before = fasta.read_bytes()
    with fasta.open("rb") as stream:
        done = command("fold", "-", "-o", fasta.rename(fasta.with_suffix(".fa")), stdin=stream)
    assert done.returncode == 2
    assert b"is the input" in done.stderr
    assert fasta.with_suffix(".fa").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("what", ["fold", "predict"])
@pytest.mark.parametrize("name", ["pipe", "pipe.csv.gz"])
def test_a_pipe_is_written_to_and_stays_one(what, name, fasta, tmp_path):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run(what, fasta, "-o", pipe) == 0
    reader.join(20)
    text = (gzip.decompress(found[0]) if name.endswith("gz") else found[0]).decode("utf-8")
    assert all(rna in text for rna in RNAS)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.fasta", name]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
@pytest.mark.parametrize("write", ["fold", "predict", "samples", "scores", "atomic_write"])
def test_a_device_is_not_replaced(write, fasta, tmp_path):
    device = tmp_path / "null.csv"
    device.symlink_to("/dev/null")  # what renames onto a device would replace this link
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    if write == "atomic_write":
        with files.atomic_write(device) as temporary:
            temporary.write_text("something")
    elif write in ("fold", "predict"):
        assert run(write, fasta, "-o", device) == 0
    else:
        option = "-o" if write == "scores" else "--samples"
        assert run("evaluate", "most-pairs", tmp_path / "in.dbn", option, device) == 0
    assert device.is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/{}", "/proc/self/fd/{}"])
def test_open_descriptors_are_written_to(name, fasta, tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as stream:
        if name == "/dev/stdout":
            assert command("fold", fasta, "-q", "-o", name, stdout=stream).returncode == 0
        else:
            assert run("fold", fasta, "-o", name.format(stream.fileno())) == 0
    expected = "before\n" + "".join(f"{s}\n" for s in rk.fold(RNAS))
    assert log.read_text(encoding="utf-8") == expected
    assert not [one.name for one in Path("/dev").iterdir() if one.name.endswith((".part", ".tmp"))]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(mask, fasta, tmp_path):
    old = os.umask(mask)
    try:
        assert run("fold", fasta, "-o", tmp_path / "x.ct") == 0
        assert run("predict", fasta, "-o", tmp_path / "x.csv") == 0
        assert run("fold", fasta, "-f", "ct", "-o", f"{tmp_path}/many/") == 0
        write_structures(rk.fold(RNAS), tmp_path / "x.dbn")
    finally:
        os.umask(old)
    for path in (tmp_path / "x.ct", tmp_path / "x.csv", tmp_path / "x.dbn", *(tmp_path / "many").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


# --- two at once, and what a killed process leaves -----------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("fold", "{in}", "-o", "{x}.ct"),
        ("fold", "{in}", "-o", "{x}/"),
        ("fold", "{in}", "-f", "bpseq", "-o", "{x}"),
        ("predict", "{in}", "-o", "{x}.csv"),
        ("evaluate", "trivial", "{dbn}", "--samples", "{x}.csv"),
        ("reproduce", "embedded", "-o", "{x}"),
        ("corpus", "build", "{in}", "--no-clusters", "-o", "{x}"),
        ("corpus", "build", "{table}", "-o", "{x}"),
    ],
)
def test_an_output_that_is_being_written(words, fasta, tmp_path, capsys, monkeypatch, unused):
    monkeypatch.setattr("rinalmo_kit.datasets.corpus.stages.tool_version", lambda *_: {})
    monkeypatch.setattr("reproduction.embedded_weights.STEPS", {})
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    table = tmp_path / "in.csv"
    pd.DataFrame({"id": list("abc"), "sequence": ["ACGU" * 9] * 3}).to_csv(table, index=False)
    named = {"in": fasta, "dbn": tmp_path / "in.dbn", "x": tmp_path / "x", "table": table}
    words = [word.format(**named) for word in words]
    output = next(Path(word) for word in words if word.startswith(str(tmp_path / "x")))
    with files.output_lock(output):
        assert run(*words) == 2
    error = capsys.readouterr().err
    assert f"{output} is being written by process {os.getpid()}" in error


def test_of_two_starts_one_works_and_the_other_says_who_does(fasta, tmp_path, capsys):
    out, begun, go = tmp_path / "out.dbn", tmp_path / "begun", tmp_path / "go"
    code = (
        "import pathlib, sys, time\n"
        "from rinalmo_kit import cli\nfrom rinalmo_kit.inference import folding\n"
        "real = folding.structure_or_error\n"
        "def wait(*arguments):\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        f"    while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
        "    return real(*arguments)\n"
        "folding.structure_or_error = wait\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code, "fold", str(fasta), "-q", "-o", str(out)])
    try:
        while not begun.exists():
            assert first.poll() is None
            time.sleep(0.05)
        other = written(tmp_path / "other.fa", {"other": "ACGU"})
        assert run("fold", other, "-o", tmp_path / "." / "out.dbn") == 2
        assert f"is being written by process {first.pid}" in capsys.readouterr().err
        go.touch()
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.wait()
    assert rk.read_structures(out) == rk.fold(RNAS)
    assert run("fold", other, "-o", out) == 0  # the lock has gone with its holder
    assert [s.name for s in rk.read_structures(out)] == ["other"]


@pytest.mark.parametrize("what", ["file", "folder", "scores", "samples"])
def test_what_a_killed_process_left_is_removed(what, fasta, tmp_path):
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    folder = tmp_path / "out"
    folder.mkdir()
    name = {"file": "x.ct", "folder": "one.ct"}.get(what, "x.csv")
    left, stays = folder / f".{name}.{'0a' * 16}.tmp", folder / f".{name}.bak.{'0a' * 16}.tmp"
    left.touch()
    stays.touch()  # of another file, which may be being written
    (folder / "x.ct.part").write_text("of a killed run")
    if what in ("file", "folder"):
        words = (
            ("fold", fasta, "-o", folder / name)
            if what == "file"
            else ("fold", fasta, "-f", "ct", "-o", folder)
        )
    else:
        option = "-o" if what == "scores" else "--samples"
        words = ("evaluate", "most-pairs", tmp_path / "in.dbn", option, folder / name)
    assert run(*words) == 0
    assert not left.exists()
    assert stays.exists()
    if what == "file":
        assert not (folder / "x.ct.part").exists()
        assert rk.read_structures(folder / name) == rk.fold(RNAS)


@pytest.mark.parametrize("name", ["x.dbn", "x.ct.gz", "x.json.xz", "x.csv", "x.tsv.bz2", "x.parquet"])
@pytest.mark.parametrize("what", ["fold", "predict"])
def test_ctrl_c_keeps_what_is_finished(what, name, fasta, tmp_path, capsys, monkeypatch):
    if what == "predict" and ".".join(name.split(".")[1:2]) not in ("csv", "tsv", "parquet"):
        pytest.skip("is not a table")
    real = {"fold": folding.structure_or_error, "predict": prediction.predictions}[what]

    def fold(model: object, record: tuple[str, str], *rest: object) -> object:
        if record[1] == RNAS["00012"]:
            raise KeyboardInterrupt
        return real(model, record, *rest)

    def predict(model: object, texts: list[str]) -> object:
        for batch, results in real(model, texts):
            yield batch[:2], results[:2]
            raise KeyboardInterrupt

    if what == "fold":
        monkeypatch.setattr(folding, "structure_or_error", fold)
    else:
        monkeypatch.setattr(prediction, "predictions", predict)
    assert run(what, fasta, "-o", tmp_path / name) == 130
    assert "Traceback" not in (error := capsys.readouterr().err)
    part = tmp_path / f"{name}.part"
    assert f"2 finished records are kept in {part}" in error
    assert not (tmp_path / name).exists()
    kept = part.rename(tmp_path / f"kept-{name}")
    if name.endswith("parquet"):
        assert len(pd.read_parquet(kept)) == 2
    elif "sv" in name:
        assert len(pd.read_csv(kept, sep="," if "csv" in name else "\t")) == 2
    elif "json" not in name:
        assert rk.read_structures(kept) == rk.fold(dict([*RNAS.items()][:2]))


def test_nothing_is_left_of_a_run_that_finished_nothing(tmp_path, capsys, fasta):
    bad = written(tmp_path / "bad.fa", {"x": "ACXU", "y": "123"})
    out = tmp_path / "out.dbn"
    assert run("fold", bad, "-o", out) == 1
    assert "0 folded, 2 skipped" in capsys.readouterr().err
    assert run("fold", fasta, "-m", "nano", "-o", out) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad.fa", "in.fasta"]


def test_a_file_of_the_folder_that_is_read_is_not_written_over(tmp_path):
    source = written(tmp_path / "one.dbn", RNAS)
    before = source.read_bytes()
    assert run("fold", source, "-o", tmp_path) == 0
    assert source.read_bytes() == before
    found = [rk.read_structures(tmp_path / f"{n}.dbn")[0].name for n in ("one-2", "β-globin", "00012")]
    assert found == list(RNAS)


def test_a_record_whose_file_cannot_be_written_is_rejected_by_name(fasta, tmp_path, capsys):
    (tmp_path / "out" / "one.ct").mkdir(parents=True)
    assert run("fold", fasta, "-f", "ct", "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "skipped: 'one' cannot be written to" in error
    assert "2 folded, 1 skipped" in error
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["00012.ct", "one.ct", "β-globin.ct"]


# --- predict rejects records, not files ------------------------------------------------------------------------


def test_predict_rejects_a_record_by_name_and_goes_on(tmp_path, capsys):
    rnas = {"good": "GGGGAAAACCCC", "bad": "ACGXU", "empty": "", "late": "ACGU" * 9}
    out = tmp_path / "out.csv"
    assert run("predict", written(tmp_path / "in.fa", rnas), "-o", out) == 1
    error = capsys.readouterr().err
    assert "skipped: 'bad', position 4: 'X'" in error
    assert "skipped: 'empty' is empty" in error
    assert "2 predicted, 2 skipped" in error
    found = pd.read_csv(out)
    expected = rk.predict({name: rnas[name] for name in ("good", "late")})
    assert list(found["name"]) == ["good", "late"]
    numbers = [name for name in expected if name.startswith("P(") or name == "probability"]
    assert np.allclose(found[numbers], expected[numbers], rtol=1e-5, atol=1e-7)
    words = ["label", "family", "note"]
    assert found[words].fillna("").equals(expected[words].astype(found[words].dtypes).fillna(""))


def test_predict_rejects_what_memory_does_not_take(fasta, tmp_path, capsys, monkeypatch):
    real = prediction.predictions

    def short(model: object, texts: list[str]) -> object:
        for batch, results in real(model, texts):
            for i, one in zip(batch, results, strict=True):
                yield [i], MemoryError() if i == 1 else one[None]

    monkeypatch.setattr(prediction, "predictions", short)
    assert run("predict", fasta, "-o", tmp_path / "x.csv") == 1
    assert "'β-globin' has 16 nucleotides, too many" in capsys.readouterr().err
    assert list(pd.read_csv(tmp_path / "x.csv", dtype=str)["name"]) == ["one", "00012"]


# --- scores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "\n", "model,recipe\nx,y\n", '"', "a\n1,2\n3,4,5\n", "\xff\xfe"]
)
def test_scores_are_not_added_to_another_table(content, tmp_path, capsys, unused):
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    out = tmp_path / "mine.csv"
    out.write_text(content, encoding="latin-1")
    assert run("evaluate", "trivial", tmp_path / "in.dbn", "-o", out) == 2
    error = capsys.readouterr().err
    assert f"{out} is not a CSV of scores" in error
    assert out.read_text(encoding="latin-1") == content


def test_older_scores_keep_their_text(tmp_path):
    write_structures(HAIRPINS, tmp_path / "in.dbn")
    out = tmp_path / "scores.csv"
    assert run("evaluate", "most-pairs", tmp_path / "in.dbn", "-o", out) == 0
    old = out.read_text().replace("most-pairs,", "007,")
    out.write_text(old)
    assert run("evaluate", "most-pairs", tmp_path / "in.dbn", "-o", out) == 0
    assert out.read_text().startswith(old)
