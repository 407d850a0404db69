"""The command line, run as a command."""

import json
import subprocess
import sys

import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.structure import write_structures

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
        assert record["confidence"] == structure.confidence


def test_bad_records_are_skipped_and_the_rest_is_done(tmp_path, capsys):
    path, out = tmp_path / "in.fa", tmp_path / "out.dbn"
    path.write_text(">good\nGGGGAAAACCCC\n>bad\nACGXU\n>empty\n>late\nACGU\n")
    assert cli.main(["fold", str(path), "-q", "-o", str(out)]) == 1
    assert [s.name for s in rk.read_structures(out)] == ["good", "late"]
    error = capsys.readouterr().err
    assert "skipped: 'bad', position 4: 'X'" in error
    assert "skipped: 'empty' is empty" in error
    assert "2 folded, 2 skipped" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fold", "absent.fa"], "no such file: absent.fa"),
        (["fold", "{empty}"], "holds no FASTA record"),
        (["fold", "{fasta}", "-m", "gigantic"], "unknown model 'gigantic'"),
        (["fold", "{fasta}", "-m", "nano"], "nano cannot fold: it has no task head"),
        (["fold", "{fasta}", "-t", "7"], "a probability lies between 0 and 1"),
        (["fold", "{fasta}", "-o", "x.bpseq"], "give a folder"),
        (["evaluate", "nano-ss", "nowhere"], "unknown recipe 'nowhere'"),
        (["evaluate", "nano-ss", "absent.csv"], "no such file: absent.csv"),
        (["finetune", "nowhere", "-o", "x"], "unknown recipe 'nowhere'"),
        (["finetune", "absent.csv", "-o", "x"], "--task: say what is to be learned"),
        (["finetune", "mrl", "-o", "x", "--set", "epochs"], "'epochs': expected NAME=VALUE"),
        (["finetune", "mrl", "-o", "x", "--set", "epoch=3"], "the recipe has no field 'epoch'"),
        (["finetune", "mrl", "-o", "x", "--set", "lr=fast"], "lr='fast': expected a number, 0 or more"),
        (["finetune", "mrl", "-o", "x", "--fold", "al"], "--fold al: expected a number, or all"),
        (["pretrain", "absent", "-o", "x", "--steps", "1"], "no such file: absent"),
        (["plan", "absent", "--steps", "1"], "no such file: absent"),
        (["predict", "{fasta}", "-m", "nano-ss"], "nano-ss cannot predict: it has a StructureHead"),
        (["recipes", "nowhere"], "unknown recipe 'nowhere'"),
    ],
)
def test_what_cannot_be_done(arguments, message, fasta, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    paths = {"fasta": fasta, "empty": tmp_path / "empty"}
    code = cli.main([a.format(**paths) for a in arguments] + (["-q"] if arguments[0] == "fold" else []))
    error = capsys.readouterr().err
    assert code == 2 and message in error and "Traceback" not in error


def test_ctrl_c_says_where_training_stopped(capsys, monkeypatch, tmp_path):
    def stopped(*_, **__):
        raise KeyboardInterrupt("stopped at step 3 of 6")

    monkeypatch.setattr("rinalmo_kit.training.finetuning.finetune", stopped)
    assert cli.main(["finetune", "mrl", "-o", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "rinalmo-kit: stopped at step 3 of 6\n"


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
        "from rinalmo_kit import cli\nfrom rinalmo_kit.inference import folding\n"
        "real = folding.structure_or_error\n"
        "def crash(model, record, *rest):\n"
        "    if record[1] == 'GCGCGCUUUUGCGCGC': os.kill(os.getpid(), 9)\n"
        "    return real(model, record, *rest)\n"
        "folding.structure_or_error = crash\n"
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
    assert capsys.readouterr().out.startswith("ready: folds on the ")
    assert cli.main(["check", "--details"]) == 0
    assert "this set-up computes what it should" in capsys.readouterr().out


def test_evaluate_writes_lines_with_their_provenance(data, tmp_path, capsys):
    import pandas as pd

    rows, out = rk.datasets.load_structures("bprna", "TS0")[:5], tmp_path / "scores.csv"
    write_structures(rows, tmp_path / "some.dbn")
    for model in ("most-pairs", "nano-ss", "most-pairs"):
        assert cli.main(["evaluate", model, str(tmp_path / "some.dbn"), "-o", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["model"].unique().tolist() == [
        "nano-ss",
        "most-pairs",
    ]  # measured again, older lines give way
    assert (table["n"] == 5).all() and table[["command", "commit", "date"]].notna().all(axis=None)
    expected = [rk.metrics.structure_scores(s, rk.fold(s.sequence)).f1 for s in rows]
    found = table.query("model == 'nano-ss' and metric == 'f1'")["value"].item()
    assert found == pytest.approx(sum(expected) / 5, abs=1e-5)
    assert "f1_strict" in capsys.readouterr().out
    alone = ["evaluate", "nano-ss", str(tmp_path / "some.dbn"), "--energy", "none", "-o", str(out)]
    assert cli.main(alone) == 0
    expected = [rk.metrics.structure_scores(s, rk.fold(s.sequence, energy=None)).f1 for s in rows]
    found = pd.read_csv(out).query("model == 'nano-ss, alone' and metric == 'f1'")["value"].item()
    assert found == pytest.approx(sum(expected) / 5, abs=1e-5)
    assert {p.name for p in tmp_path.iterdir()} == {"scores.csv", "some.dbn"}


def test_my_own_table_from_the_shell(tmp_path, capsys):
    """finetune, evaluate, predict: what the README promises someone with a CSV."""
    import pandas as pd

    from tests.helpers.examples import classes

    classes(120, seed=1).to_csv(tmp_path / "my.csv", index=False)
    rk.save(RiNALMo(Config(32, 1, heads=2)).eval(), tmp_path / "small.safetensors")
    quiet = ["--trainer", "enable_progress_bar=False", "--trainer", "enable_model_summary=False"]
    arguments = [
        "finetune",
        str(tmp_path / "my.csv"),
        "--task",
        "classification",
        "-o",
        str(tmp_path / "run"),
    ]
    arguments += ["-m", str(tmp_path / "small.safetensors"), "--set", "epochs=4", "--set", "lr=5e-3"]
    assert cli.main([*arguments, "--trainer", "accelerator=cpu", *quiet]) == 0
    model = tmp_path / "run" / "model.safetensors"
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(model)
    options = ["--task", "classification", "--samples", str(tmp_path / "samples.csv")]
    assert cli.main(["evaluate", str(model), str(tmp_path / "my.csv"), *options]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "samples.csv")) == 12  # the tenth that was kept for testing
    classes(30, seed=2).to_csv(tmp_path / "other.csv", index=False)
    assert cli.main(["evaluate", str(model), str(tmp_path / "other.csv"), *options]) == 0
    assert len(pd.read_csv(tmp_path / "samples.csv")) == 30
    capsys.readouterr()
    (tmp_path / "new.fa").write_text(">a\nGGCCGGCGCC\n>b\nAUAUAUUAAU\n")
    assert (
        cli.main(["predict", str(tmp_path / "new.fa"), "-m", str(model), "-q", "-o", str(tmp_path / "p.csv")])
        == 0
    )
    assert list(pd.read_csv(tmp_path / "p.csv").columns) == [
        "name",
        "label",
        "probability",
        "P(poor)",
        "P(rich)",
    ]


def test_low_rank_training_from_the_shell_says_where_the_adapter_is(tmp_path, capsys):
    from tests.helpers.examples import classes

    classes(60, seed=1).to_csv(tmp_path / "my.csv", index=False)
    rk.save(RiNALMo(Config(32, 1, heads=2)).eval(), tmp_path / "small.safetensors")
    command = f"finetune {tmp_path}/my.csv --task classification --mode lora -o {tmp_path}"
    command += f" -m {tmp_path}/small.safetensors"
    quiet = "--set epochs=1 --trainer accelerator=cpu enable_progress_bar=False enable_model_summary=False"
    words = [*command.split(), *quiet.replace(" enable", " --trainer enable").split()]
    path = tmp_path / "adapter.safetensors"
    sizes = []
    for half in ([], ["--half"]):
        assert cli.main([*words, *half]) == 0
        shown = capsys.readouterr()
        assert shown.out.strip().splitlines()[-1] == str(tmp_path / "model.safetensors")
        assert f"{path}: the adapter alone, 0.0 MB, of small.safetensors" in shown.err
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.8 * sizes[0]
    assert cli.main(["evaluate", str(path), f"{tmp_path}/my.csv", "--task", "classification"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_all_folds_one_after_the_other(data, tmp_path, capsys):
    arguments = [
        "finetune",
        "te-muscle",
        "--fold",
        "all",
        "-o",
        str(tmp_path / "te"),
        "--limit",
        "20",
        "--mode",
        "frozen",
    ]
    arguments += [
        "--set",
        "epochs=1",
        "--trainer",
        "accelerator=cpu",
        "--trainer",
        "enable_progress_bar=False",
    ]
    rk.save(RiNALMo(Config(16, 1, heads=1)).eval(), tmp_path / "small.safetensors")
    assert cli.main([*arguments, "-m", str(tmp_path / "small.safetensors")]) == 0
    assert len(list((tmp_path / "te").glob("fold-?/model.safetensors"))) == 10
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "te"), "te-muscle"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("spearman") == 11 and "data: " in shown  # all, and each fold; a stand-in says so


def test_shell_and_python_train_the_same_model(data, tmp_path):
    import torch

    from tests.helpers.examples import QUIET

    rk.save(RiNALMo(Config(16, 1, heads=1)).eval(), tmp_path / "small.safetensors")
    arguments = [
        "finetune",
        "el-pc3",
        "--fold",
        "2",
        "--limit",
        "24",
        "--set",
        "epochs=1",
        "--set",
        "batch_size=8",
    ]
    arguments += ["-m", str(tmp_path / "small.safetensors"), "-o", str(tmp_path / "shell"), "--seed", "5"]
    assert (
        cli.main([*arguments, "--trainer", "accelerator=cpu", "--trainer", "enable_progress_bar=False"]) == 0
    )
    changes = {"epochs": 1, "batch_size": 8}
    options = {"model": tmp_path / "small.safetensors", "fold": 2, "limit": 24, "seed": 5, "changes": changes}
    rk.finetune("el-pc3", output=tmp_path / "python", **options, **QUIET)
    one, other = (
        rk.load(tmp_path / run / "model.safetensors", config=Config(16, 1, heads=1))
        for run in ("shell", "python")
    )
    weights = other.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in one.state_dict().items())
    assert one.about == other.about and one.about["recipe"] == "el-pc3"


def test_recipes_are_listed(capsys):
    assert cli.main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(
        name in listed
        for name in ("ss-bprna", "ss-archiveII-5s", "splice-donor", "ncrna-200", "mrl", "el-hek")
    )
    assert cli.main(["recipes", "mrl"]) == 0 and "Random7600" in capsys.readouterr().out
