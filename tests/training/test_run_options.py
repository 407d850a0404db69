"""What a run may be asked for is checked before any work; folders of runs: one writer, damage that is named."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.files import output_lock
from rinalmo_kit._utils.numbers_given import whole_number
from rinalmo_kit._utils.run_folders import RANKS, check_folder, leads, run_lock
from rinalmo_kit.datasets.corpus.build import build_corpus, build_corpus_from_table
from rinalmo_kit.datasets.corpus.store import FILE, Corpus
from rinalmo_kit.training.finetuning import finetune
from rinalmo_kit.training.plan import plan
from rinalmo_kit.training.pretraining import pretrain
from rinalmo_kit.training.run_options import check_trainer_options
from tests.helpers.examples import QUIET, classes, tiny

NAN, INF = float("nan"), float("inf")
NO_COUNT = (0, -1, -2, 1.5, NAN, INF, "3", True, None)

TRAINER = [
    *[("limit_train_batches", value) for value in (0, 1, 0.0, 0.5, -1, NAN)],
    *[("fast_dev_run", value) for value in (True, 1, 5)],
    *[("overfit_batches", value) for value in (1, 0.5, 1.0)],
    *[("limit_val_batches", value) for value in (0, 0.0, -1, NAN, True)],
    *[("max_time", value) for value in (0, 3600, 1.5, True)],
    *[("devices", value) for value in (0, -2, [], "", 1.5, NAN, False)],
    *[("num_nodes", value) for value in (0, -1)],
    *[("accumulate_grad_batches", value) for value in (0, -1, 1.5)],
    *[(name, 3) for name in ("max_steps", "max_epochs", "min_steps", "min_epochs")],
    ("barebones", True),
    ("devces", 1),
    ("accelerators", "cpu"),
]


@pytest.fixture
def no_work(monkeypatch):
    """Nothing is loaded, read or built before the options are checked."""
    for name in (
        "training.finetuning.resolve",
        "training.finetuning.starting_model",
        "training.pretraining.as_corpus",
        "datasets.corpus.build.digest",
    ):
        monkeypatch.setattr(f"rinalmo_kit.{name}", lambda *_, **__: pytest.fail("work before the check"))


@pytest.mark.parametrize(("name", "value"), TRAINER, ids=str)
def test_options_of_lightning(name, value, tmp_path, no_work):
    with pytest.raises(ValueError, match=name):
        finetune(classes(8, seed=0), task="classification", output=tmp_path / "run", **{name: value})
    with pytest.raises(ValueError, match=name):
        pretrain(["ACGU", "GGCC"], steps=1, output=tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


def test_options_of_lightning_that_change_nothing():
    check_trainer_options({"limit_train_batches": 1.0, "fast_dev_run": False, "overfit_batches": 0.0})
    check_trainer_options({"limit_val_batches": 0.5, "max_time": "00:12:00:00", "accumulate_grad_batches": 2})
    for devices in ("auto", "0,1", 2, -1, (0, 1)):
        check_trainer_options({"devices": devices})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in ("limit", "validate_every", "checkpoint_every")
            for value in NO_COUNT[:-1]
        ],
        *[("seed", value) for value in (-1, 1.5, NAN, "0", None, True, 2**63)],
    ],
    ids=str,
)
def test_options_of_fine_tuning(name, value, tmp_path, no_work):
    with pytest.raises(ValueError, match=f"{name}=.*expected a whole number"):
        finetune(classes(8, seed=0), task="classification", output=tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("steps", "epochs", "checkpoint_every") for value in NO_COUNT[:-1]],
        *[
            (name, value)
            for name in ("tokens_per_batch", "max_tokens", "validate_every")
            for value in NO_COUNT
        ],
        *[(name, value) for name in ("seed", "workers") for value in (-1, 0.5, NAN, None, True)],
        *[("lr", value) for value in (0, -1e-4, NAN, INF, "1e-4", True)],
    ],
    ids=str,
)
def test_options_of_pretraining(name, value, tmp_path, no_work):
    with pytest.raises(ValueError, match=f"{name}=.*expected"):
        pretrain(["ACGU", "GGCC"], output=tmp_path / "run", **{"steps": 1, name: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("n_gpus", "tokens_per_batch", "max_tokens") for value in NO_COUNT],
        *[("steps", value) for value in NO_COUNT[:-1]],
        *[("epochs", value) for value in (0, -1, NAN, INF, "3")],
        *[("mfu", value) for value in (0, -0.1, 1.1, NAN, INF, "0.4")],
    ],
    ids=str,
)
def test_options_of_a_plan(name, value):
    length = {} if name == "epochs" else {"steps": 1}
    with pytest.raises(ValueError, match=f"{name}="):
        plan(1000, **{**length, name: value})


@pytest.mark.parametrize("tokens", [0, -5, NAN, INF, True])
def test_tokens_of_a_plan(tokens):
    with pytest.raises(ValueError, match="tokens="):
        plan(tokens, steps=1)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        *[({"min_length": value}, "min_length") for value in NO_COUNT],
        *[({"max_length": value}, "max_length") for value in NO_COUNT],
        ({"min_length": 20, "max_length": 19}, "min_length=20, max_length=19"),
        ({"max_length": 70_000}, "max_length"),
        *[({"holdout": value}, "holdout") for value in (1.5, -0.1, NAN, INF, "0.1", True)],
        *[({"seed": value}, "seed") for value in (-1, 0.5, NAN, None)],
    ],
    ids=str,
)
def test_options_of_a_corpus(options, name, tmp_path, no_work):
    table = pd.DataFrame({"id": ["a"], "sequence": ["ACGU" * 9]})
    with pytest.raises(ValueError, match=f"{name}.*expected"):
        build_corpus_from_table(table, tmp_path / "out", progress=False, **options)
    with pytest.raises(ValueError, match=f"{name}.*expected"):
        build_corpus(tmp_path / "x.fa", tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [*[{"min_identity": value} for value in (70, -0.1, NAN, "0.7")], {"coverage": 2}, {"coverage": NAN},
     {"threads": 0}, {"threads": -1}],
    ids=str,
)  # fmt: skip
def test_options_of_clustering(options, tmp_path, no_work):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*expected"):
        build_corpus(tmp_path / "x.fa", tmp_path / "out", progress=False, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0}, {"epochs": -2}, {"batch_size": 0}, {"lr": NAN}, {"lr": -1.0}, {"lr": INF}, {"epochs": True},
        {"loss": "mse"}, {"loss": "pairs"}, {"target": "sequnce"}, {"group": "nowhere"}, {"weight_decay": -1.0},
        {"gradient_clip": -1.0}, {"unfreeze": (1, 2)}, {"unfreeze": ((0, 0.0),)}, {"unfreeze": ((-1, 0.5),)},
        {"max_lengths": (0,)}, {"max_lengths": ("long",)}, {"mutate": -0.5}, {"window": 0}, {"pad_to": -3},
        {"nothing": 1}, {"best": "f7"}, {"schedule": "foo"}, {"optimizer": "sgd"},
    ],
    ids=str,
)  # fmt: skip
def test_changes_that_no_recipe_can_carry_out(changes, tmp_path):
    table = classes(24, seed=0)
    with pytest.raises(ValueError, match=next(iter(changes))):
        finetune(
            table, task="classification", model=tiny(), output=tmp_path / "run", changes=changes, **QUIET
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["limit", "draws"])
@pytest.mark.parametrize("value", [-1, 1.5, NAN, "3"])
def test_options_of_an_evaluation(option, value):
    with pytest.raises(ValueError, match=f"{option}="):
        rk.evaluate("trivial", rk.datasets.load_structures("examples"), **{option: value})


def test_whole_numbers_of_other_kinds():
    assert [whole_number("n", value) for value in (3, 3.0, np.int8(3), np.float32(3))] == [3] * 4


# --- folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["file", "file/run", "/dev/null/run", "/proc/nothing/run"])
def test_a_folder_that_cannot_be_written_is_noticed_first(where, tmp_path, no_work):
    (tmp_path / "file").touch()
    for start in (
        lambda out: finetune(classes(8, seed=0), task="classification", output=out),
        lambda out: pretrain(["ACGU"], steps=1, output=out),
        lambda out: build_corpus_from_table(classes(8, seed=0), out, progress=False),
    ):
        with pytest.raises(OSError, match="cannot be written to"):
            start(tmp_path / where)


def test_the_check_of_a_folder_leaves_nothing(tmp_path):
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def started(folder, model="rich"):
    """Train for an epoch; leaves a checkpoint and no finished model."""
    options = {"task": "classification", "model": tiny(), "output": folder, "checkpoint_every": 1, **QUIET}
    finetune(classes(24, seed=1), changes={"epochs": 1, "batch_size": 8}, **options)
    (folder / "model.safetensors").unlink()
    return lambda: finetune(
        classes(24, seed=1), changes={"epochs": 1, "batch_size": 8}, **{**options, "model": tiny()}
    )


@pytest.mark.parametrize("name", ["run.json", "last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_damaged_files_of_a_run_are_named(name, damage, tmp_path):
    again = started(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "other": b"[1, 2]"}[damage])
    if name == "best.ckpt":  # read only after more training
        (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes())
    with pytest.raises(ValueError, match=rf"{name} is damaged .*(delete|put)"):
        again()
    path.unlink()
    assert again().labels == ("poor", "rich"), "what the message says to do helps"


def test_the_other_checkpoint_helps(tmp_path):
    again = started(tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"put best\.ckpt in its place"):
        again()
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "best.ckpt").read_bytes())
    assert again().labels == ("poor", "rich")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_a_damaged_note_of_a_corpus_is_named(content, tmp_path):
    import lmdb

    table = pd.DataFrame({"id": list("ab"), "sequence": ["ACGU" * 5, "GGCC" * 5]})
    corpus = build_corpus_from_table(table, tmp_path, progress=False)
    copy = tmp_path / "copy.lmdb"
    copy.write_bytes(corpus.path.read_bytes())
    with lmdb.open(str(copy), subdir=False, lock=False) as file, file.begin(write=True) as transaction:
        transaction.put(b"meta", content.encode())
    with pytest.raises(ValueError, match=r"copy\.lmdb is damaged, its 'meta'"):
        Corpus(copy)
    if content != "{}":
        work = tmp_path / "other" / "corpus.work"
        work.mkdir(parents=True)
        (work / "job.json").write_text(content)
        (tmp_path / "x.fa").write_text(">a\n" + "ACGU" * 9 + "\n")
        if shutil.which("seqkit") is None:
            pytest.skip("needs seqkit")
        with pytest.raises(ValueError, match=r"job\.json is damaged .*: delete the folder"):
            build_corpus(tmp_path / "x.fa", tmp_path / "other", min_identity=None, progress=False)


@pytest.mark.parametrize("byte", [0, 5000, 9000])
def test_a_corpus_with_damaged_pages_is_named(byte, tmp_path):
    table = pd.DataFrame({"id": range(40), "sequence": ["ACGU" * (i + 5) for i in range(40)]})
    corpus = build_corpus_from_table(table, tmp_path, progress=False)
    content = bytearray(corpus.path.read_bytes())
    content[byte : byte + 200] = b"\xff" * 200
    copy = tmp_path / "copy.lmdb"
    copy.write_bytes(content)
    try:
        found = Corpus(copy)
        names = [found.sequence(i) for i in range(40)]
    except ValueError as error:
        assert str(copy) in str(error)
    else:
        assert names == [corpus.sequence(i) for i in range(40)], "the damaged page was one of no use"


# --- two at once -------------------------------------------------------------------------------------

START = {
    "corpus": """
import pandas as pd
from rinalmo_kit.datasets.corpus import build
module = build
name = "_unique_rows"
def start():
    table = pd.DataFrame({"id": list("ab"), "sequence": ["ACGU" * 5, "GGCC" * 5]})
    return build.build_corpus_from_table(table, out, progress=False)
""",
    "finetune": """
from tests.helpers.examples import QUIET, classes, tiny
from rinalmo_kit.training import finetuning
module = finetuning
name = "fit"
def start():
    options = {"task": "classification", "model": tiny(), "changes": {"epochs": 1}, **QUIET}
    return finetuning.finetune(classes(24, seed=1), output=out, **options)
""",
    "pretrain": """
from tests.helpers.examples import QUIET
from rinalmo_kit.model.config import Config
from rinalmo_kit.training import pretraining
module = pretraining
name = "fit"
def start():
    model = Config(32, 1, heads=2)
    return pretraining.pretrain(["ACGUACGU", "GGCCGGCC", "AACCAACC"], steps=2, model=model, output=out, **QUIET)
""",
}

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
out, go = Path(sys.argv[1]), Path(sys.argv[2])
{start}
before = getattr(module, name)
def wait(*arguments, **options):
    (go.parent / "started").touch()
    while not go.exists():
        time.sleep(0.02)
    return before(*arguments, **options)
setattr(module, name, wait)
start()
"""


def starter(kind, out):
    names = {"out": out}
    exec(START[kind], names)
    return names["start"]


@pytest.mark.parametrize("kind", START)
def test_a_folder_that_is_being_written_is_left_alone(kind, tmp_path):
    start = starter(kind, tmp_path / "out")
    with (
        output_lock(tmp_path / "out"),
        pytest.raises(BlockingIOError, match=r"out is being written by process"),
    ):
        start()
    assert not (tmp_path / "out").exists()
    assert start() is not None


@pytest.mark.parametrize(
    "kind", ["corpus", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("finetune", "pretrain"))]
)
def test_the_second_start_says_who_holds_the_folder(kind, tmp_path):
    script, out, go = tmp_path / "hold.py", tmp_path / "out", tmp_path / "go"
    script.write_text(HOLDER.format(tests=str(Path(__file__).parents[2]), start=START[kind]))
    first = subprocess.Popen([sys.executable, str(script), str(out), str(go)], stderr=subprocess.PIPE)
    start = starter(kind, out)
    try:
        while not (tmp_path / "started").exists() and first.poll() is None:
            time.sleep(0.05)
        assert first.poll() is None, first.stderr.read().decode()
        with pytest.raises(
            BlockingIOError, match=rf"{out} is being written by process {first.pid} on .*hold\.py"
        ):
            start()
        go.touch()
        _, said = first.communicate(timeout=120)
        assert first.returncode == 0, said.decode()
    finally:
        first.kill()
        first.wait()
    assert start() is not None  # finished: the same again
    assert (out / (FILE if kind == "corpus" else "model.safetensors")).exists()


@pytest.mark.parametrize("name", RANKS)
def test_of_processes_that_train_together_the_first_holds_the_lock(name, tmp_path, monkeypatch):
    for other in RANKS:
        monkeypatch.delenv(other, raising=False)
    assert leads()
    monkeypatch.setenv(name, "0")
    assert leads()
    monkeypatch.setenv(name, "1")
    assert not leads()
    with output_lock(tmp_path), run_lock(tmp_path):
        pass


def test_several_evaluations_add_to_one_file(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from rinalmo_kit.evaluation.score_files import add_lines, read_lines

    path = tmp_path / "scores.csv"
    line = {"recipe": "007", "group": "all", "fold": 0, "metric": "f1", "value": 0.123456789}
    tables = [pd.DataFrame([{"model": f"{i:03}", **line}]) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda table: add_lines(path, table), tables))
    found = read_lines(path)
    assert sorted(found["model"]) == [f"{i:03}" for i in range(8)] and set(found["value"]) == {"0.123457"}
    assert json.loads(found["fold"].iloc[0]) == 0 and set(found["recipe"]) == {"007"}
