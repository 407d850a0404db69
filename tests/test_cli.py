"""The command line, run as a command."""

import json
import subprocess
import sys

import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli

HAIRPINS = {"one": "GGGGGAAAACCCCC", "two": "GCGCGCUUUUGCGCGC"}


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">{name} some text\n{sequence}\n" for name, sequence in HAIRPINS.items()))
    return path


def test_command_is_installed(fasta):
    done = subprocess.run(
        [sys.executable, "-m", "rinalmo_kit.cli", "fold", "-", "-q"],
        input=fasta.read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "".join(f"{s}\n" for s in rk.fold(fasta)) and done.stderr == ""


@pytest.mark.parametrize("ending", ["dbn", "ct"])
def test_single_files_read_back(fasta, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    assert cli.main(["fold", str(fasta), "-q", "-o", str(out)]) == 0
    assert rk.read_structures(out) == rk.fold(fasta)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.fasta", out.name]


def test_folder_of_bpseq_and_clashing_unsafe_names(tmp_path):
    path = tmp_path / "in.fa"
    path.write_text(">../../evil\nGGGGAAAACCCC\n>..__evil\nGGGGAAAACCCC\n>a|b:c\nACGU\n>..\nACGU\n")
    assert cli.main(["fold", str(path), "-q", "-f", "bpseq", "-o", str(tmp_path / "out")]) == 0
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 4 and all(p.suffix == ".bpseq" for p in written)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.fa", "out"]
    assert rk.read_structures(written[-1])[0].sequence in ("GGGGAAAACCCC", "ACGU")


def test_json_lines(fasta, tmp_path):
    out = tmp_path / "out.json"
    assert cli.main(["fold", str(fasta), "-q", "-o", str(out)]) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["name"] for r in records] == list(HAIRPINS)
    for record in records:
        structure = rk.fold(record["sequence"])
        assert record["dot_bracket"] == structure.dot_bracket
        assert [p[:2] for p in record["pairs"]] == (structure.pairs + 1).tolist()


def test_bad_records_are_refused_and_the_rest_is_done(tmp_path, capsys):
    path, out = tmp_path / "in.fa", tmp_path / "out.dbn"
    path.write_text(">good\nGGGGAAAACCCC\n>bad\nACGXU\n>empty\n>late\nACGU\n")
    assert cli.main(["fold", str(path), "-q", "-o", str(out)]) == 1
    assert [s.name for s in rk.read_structures(out)] == ["good", "late"]
    error = capsys.readouterr().err
    assert "refused: 'bad', position 4: 'X'" in error
    assert "refused: 'empty' is empty" in error
    assert "2 folded, 2 refused" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fold", "absent.fa"], "no such file: absent.fa"),
        (["fold", "{empty}"], "holds no FASTA record"),
        (["fold", "{fasta}", "-m", "gigantic"], "unknown model 'gigantic'"),
        (["fold", "{fasta}", "-m", "nano"], "nano cannot fold: it has no task head"),
        (["fold", "{fasta}", "-t", "7"], "a probability lies between 0 and 1"),
        (["fold", "{fasta}", "-o", "x.bpseq"], "give a folder"),
        (["evaluate", "nano-ss", "nowhere"], "unknown dataset 'nowhere'"),
    ],
)
def test_what_cannot_be_done(arguments, message, fasta, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    paths = {"fasta": fasta, "empty": tmp_path / "empty"}
    code = cli.main([a.format(**paths) for a in arguments] + (["-q"] if arguments[0] == "fold" else []))
    error = capsys.readouterr().err
    assert code == 2 and message in error and "Traceback" not in error


def test_options_reach_the_decoder(fasta, capsys):
    cli.main(["fold", str(fasta), "-q", "-t", "1"])
    assert "(" not in capsys.readouterr().out
    cli.main(["fold", str(fasta), "-q", "--min-loop", "9"])
    assert capsys.readouterr().out == "".join(f"{s}\n" for s in rk.fold(fasta, min_loop=9))


def test_a_crash_loses_nothing_finished(tmp_path):
    """Killed in the middle, the finished records are in OUTPUT.part and OUTPUT does not exist."""
    out = tmp_path / "out.dbn"
    code = (
        "import os, sys\n"
        "from rinalmo_kit import cli, inference\n"
        "real = inference.pair_probabilities\n"
        "def crash(sequence, **options):\n"
        "    if sequence == 'GCGCGCUUUUGCGCGC': os.kill(os.getpid(), 9)\n"
        "    return real(sequence, **options)\n"
        "inference.pair_probabilities = crash\n"
        "cli.main(sys.argv[1:])\n"
    )
    path = tmp_path / "in.fa"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in HAIRPINS.items()))
    done = subprocess.run([sys.executable, "-c", code, "fold", str(path), "-q", "-o", str(out)], check=False)
    assert done.returncode == -9
    assert not out.exists()
    part = out.with_name("out.dbn.part")
    assert part.read_text() == f"{rk.fold({'one': HAIRPINS['one']})[0]}\n"


def test_reader_that_stops_early(fasta, tmp_path):
    path = tmp_path / "many.fa"
    path.write_text("".join(f">r{i}\nGGGGAAAACCCC\n" for i in range(300)))
    command = f"{sys.executable} -m rinalmo_kit.cli fold {path} -q | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == ">r0\n" and "Traceback" not in done.stderr


def test_check(capsys):
    assert cli.main(["check"]) == 0
    assert "this set-up computes what it should" in capsys.readouterr().out


def test_evaluate_writes_a_line_with_its_provenance(data, tmp_path, monkeypatch, capsys):
    import pandas as pd

    from rinalmo_kit import evaluation

    some = rk.datasets.load_structures("bprna", "VL0")[:5]
    monkeypatch.setattr(evaluation, "load_structures", lambda *_: some)
    out = tmp_path / "scores.csv"
    for model in ("most-pairs", "nano-ss", "most-pairs"):
        assert cli.main(["evaluate", model, "bprna", "VL0", "-o", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["model"].tolist() == ["nano-ss", "most-pairs"]  # measured again, the old line gives way
    assert (table["n"] == 5).all() and {"command", "commit", "date"} <= set(table)
    expected = [rk.metrics.structure_scores(s, rk.fold(s.sequence)).f1 for s in some]
    assert table["f1"][0] == pytest.approx(sum(expected) / 5, abs=1e-4)
    assert "mean" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
