"""Many sequences: shards, restarts, several processes, memory, options."""

import gzip
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit.inference import batching, bulk
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead
from tests.helpers.job_examples import check_rows, sequences, shards, write


@pytest.mark.parametrize("pool", ["mean", "cls", None])
def test_embeddings_are_those_of_embed(pool, fasta, records, tmp_path):
    out = tmp_path / "out"
    assert bulk.run_bulk("embed", fasta, out, pool=pool, shard_size=20) == (50, 0, 3, 0)
    table = pd.read_parquet(out)
    check_rows(table, records)
    assert table["length"].tolist() == [len(sequence) for _, sequence in records]
    assert table["error"].isna().all()
    for found, length, expected in zip(
        table["embedding"], table["length"], rk.embed(fasta, pool=pool), strict=True
    ):
        assert found.dtype == np.float32
        shaped = found.reshape(length, -1) if pool is None else found
        np.testing.assert_allclose(shaped, expected, atol=2e-5)


def test_structures_are_those_of_fold(fasta, records, tmp_path):
    write(fasta, [*records, ("lone", "A")])
    bulk.run_bulk("fold", fasta, tmp_path / "out", shard_size=20, min_loop=5)
    table = pd.read_parquet(tmp_path / "out")
    expected = rk.fold(fasta, min_loop=5)
    assert table["name"].tolist() == [s.name for s in expected]
    assert table["sequence"].tolist() == [s.sequence for s in expected]
    assert table["dot_bracket"].tolist() == [s.dot_bracket for s in expected]
    assert table["pairs"].tolist() == [len(s.pairs) for s in expected]
    np.testing.assert_allclose(table["confidence"], [s.confidence for s in expected], atol=1e-4)
    assert table["pairs"].sum() > 0


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_predictions_are_those_of_predict(kind, fasta, tiny, tmp_path):
    if kind == "classes":
        tiny.head, tiny.labels = ClassificationHead(32, 16, 3), ("a", "b", "c")
    else:
        tiny.head, tiny.scaler, tiny.pad_to = RibosomeLoadHead(32), (3.0, 2.0), 30
    tiny.eval()
    bulk.run_bulk("predict", fasta, tmp_path / "out", model=tiny, shard_size=20)
    table = pd.read_parquet(tmp_path / "out").drop(columns=["index", "length", "error"])
    pd.testing.assert_frame_equal(table, rk.predict(fasta, model=tiny), check_dtype=False, atol=1e-5)


CRASH = """
import os, sys
import pyarrow.parquet as pq
from rinalmo_kit import cli
from rinalmo_kit.inference import embedding
real = {"compute": embedding.embeddings, "write": pq.write_table}
calls = {"compute": 0, "write": 0}
def crash(where):
    def call(*given, **named):
        calls[where] += 1
        result = real[where](*given, **named)
        if where == sys.argv[1] and calls[where] == 3:
            os.kill(os.getpid(), 9)  # as it computes the third shard; or with that one written, under another name
        return result
    return call
embedding.embeddings, pq.write_table = crash("compute"), crash("write")
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize("where", ["compute", "write"])
def test_killed_and_started_again(where, fasta, records, tmp_path):
    """Every record is there exactly once; finished shards are not touched, unfinished ones leave nothing behind."""
    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "--shard-size", "10", "-q"]
    done = subprocess.run([sys.executable, "-c", CRASH, where, *command], check=False)
    assert done.returncode == -9
    before = shards(out)
    assert list(before) == ["part-000000.parquet", "part-000001.parquet"]
    assert bool(list(out.glob(".part-000002*"))) == (where == "write")
    assert len(pd.read_parquet(out)) == 20
    assert cli.main(command) == 0
    after = shards(out)
    assert len(after) == 5 and after.items() >= before.items()
    assert not list(out.glob(".*"))
    table = pd.read_parquet(out)
    check_rows(table, records)
    np.testing.assert_allclose(np.stack(table["embedding"]), rk.embed(fasta, pool="mean"), atol=2e-5)


def test_finished_job_does_nothing(fasta, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "-q"]
    assert cli.main(command) == 0
    before = shards(out)
    monkeypatch.setattr(bulk, "_work", lambda *_, **__: pytest.fail("it is finished"))
    assert cli.main(command) == 0
    assert "50 records in 1 shards; finished" in capsys.readouterr().err
    assert shards(out) == before


def test_another_job_in_the_same_folder_is_refused(fasta, records, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "-q"]
    assert cli.main(command) == 0
    capsys.readouterr()
    assert cli.main([*command, "--pool", "cls", "--shard-size", "7"]) == 2
    differing = "\n  pool: 'mean' there, 'cls' asked for\n  shard_size: 10000 there, 7 asked for\n"
    assert differing in capsys.readouterr().err
    assert cli.main([*command, "-m", "nano"]) == 2
    assert "model: 'nano-ss " in capsys.readouterr().err
    write(fasta, [*records[:-1], ("r49", "ACGU")])
    assert cli.main(command) == 2
    assert "input: 'in.fasta " in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.csv").touch()
    with pytest.raises(ValueError, match="holds files, but no job"):
        bulk.run_bulk("embed", fasta, other)


def test_changed_weights_are_another_model(fasta, tiny, tmp_path):
    bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny)
    with torch.no_grad():
        next(tiny.parameters())[5, 0] += 1e-3
    with pytest.raises(
        ValueError, match=r"holds another job: .*\n  model: 'RiNALMo .*' there, 'RiNALMo .*' asked for"
    ):
        bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny)


@pytest.mark.parametrize("task", ["embed", "fold", "predict"])
def test_bad_records_are_rows_with_an_error(task, tmp_path, capsys):
    path = tmp_path / "in.fa"
    path.write_text(">good\nggggaaaacccc\n>bad\nACGXU\n>empty\n>late\nACGU\n>worse\n???\n>worst\n!\n")
    command = [task, str(path), "-o", str(tmp_path / "out"), "--shard-size", "2", "-q"]
    command += [] if task == "embed" else ["-f", "parquet"]
    assert cli.main(command) == 1
    assert "6 records in 3 shards, 4 of them skipped (column error)" in capsys.readouterr().err
    assert cli.main(command) == 1  # as before, with nothing to do
    table = pd.read_parquet(tmp_path / "out")
    assert table["name"].tolist() == ["good", "bad", "empty", "late", "worse", "worst"]
    assert table["error"].isna().tolist() == [True, False, False, True, False, False]
    assert "'bad', position 4: 'X'" in table["error"][1] and "'empty' is empty" in table["error"][2]
    result = {"embed": "embedding", "fold": "dot_bracket", "predict": "label"}[task]
    assert table[result].notna().tolist() == table["error"].isna().tolist()
    if task == "embed":
        np.testing.assert_allclose(table["embedding"][3], rk.embed("ACGU", pool="mean")[0], atol=2e-5)


def test_two_processes_make_the_same_table(fasta, tmp_path):
    bulk.run_bulk("fold", fasta, tmp_path / "one", shard_size=10)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert bulk.run_bulk("fold", fasta, tmp_path / "two", shard_size=10, processes=2) == (50, 0, 5, 0)
        assert torch.get_num_threads() == 2  # as before
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "two"), pd.read_parquet(tmp_path / "one"))


def test_each_process_does_its_share(fasta, tmp_path, monkeypatch):
    """As torchrun and srun start them, here one after the other."""
    out = tmp_path / "out"
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert bulk.run_bulk("embed", fasta, out, shard_size=10) == (20, 0, 2, 3)
    assert list(shards(out)) == ["part-000001.parquet", "part-000003.parquet"]
    with pytest.raises(ValueError, match="already started from outside"):
        bulk.run_bulk("embed", fasta, out, shard_size=10, processes=2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert bulk.run_bulk("embed", fasta, out, shard_size=10) == (50, 0, 5, 0)


def test_a_refused_record_does_not_make_torchrun_end_the_others(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "in.fa", [("bad", "X"), ("good", "ACGU")])
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["embed", str(path), "-o", str(tmp_path / "out"), "--shard-size", "1", "-q"]) == 0
    shown = capsys.readouterr().err
    assert "1 of them skipped (column error); 1 shards of other processes are missing" in shown


def test_a_process_that_dies_is_reported(fasta, tmp_path, monkeypatch, capsys):
    start = bulk._start

    def start_and_kill(*given):
        workers = start(*given)
        workers[0].kill()
        workers[0].wait()
        return workers

    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "--shard-size", "10", "--processes", "2", "-q"]
    monkeypatch.setattr(bulk, "_start", start_and_kill)
    assert cli.main(command) == 2
    assert "process 2 of 2 ended with code -9" in capsys.readouterr().err
    before = shards(out)
    assert list(before) == ["part-000000.parquet"]
    monkeypatch.undo()
    assert cli.main(command) == 0
    assert len(pd.read_parquet(out)) == 50 and shards(out).items() >= before.items()


def test_workers_end_with_the_first_process(fasta, tmp_path):
    code = (
        "import os, sys\n"
        "from rinalmo_kit import cli\nfrom rinalmo_kit.inference import bulk\n"
        "bulk._work = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "cli.main(sys.argv[1:])\n"
    )
    command = ["embed", str(fasta), "-o", str(tmp_path / "out"), "--shard-size", "10", "--processes", "2"]
    # It ends when no process has its output open any more, so that of the worker too
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == -9
    assert shards(tmp_path / "out") == {}


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_batches_that_do_not_fit_are_made_smaller(error, fasta, records, tmp_path, tiny, monkeypatch):
    expected = rk.embed(fasta, model=tiny, pool="mean")
    encode, sizes = tiny.encode, []

    def limited(tokens, packing):
        sizes.append(sum(packing.lengths))
        if sizes[-1] > 100:
            raise error
        return encode(tokens, packing)

    monkeypatch.setattr(tiny, "encode", limited)
    np.testing.assert_allclose(rk.embed(fasta, model=tiny, pool="mean"), expected, atol=2e-5)
    assert len([size for size in sizes if size > 100]) < 6  # later batches are small from the start
    write(fasta, [*records, ("huge", "A" * 200)])
    with pytest.raises(MemoryError, match="'huge' has 200 nucleotides, too many for the memory of cpu"):
        rk.embed(fasta, model=tiny)
    assert bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny) == (51, 1, 1, 0)
    table = pd.read_parquet(tmp_path / "out")
    np.testing.assert_allclose(np.stack(table["embedding"][:50]), expected, atol=2e-5)
    assert table["embedding"].isna()[50] and "'huge' has 200 nucleotides" in table["error"][50]


def test_other_errors_are_not_taken_for_lack_of_memory(fasta, tiny, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(tiny, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        rk.embed(fasta, model=tiny)


def test_lack_of_memory_of_the_cpu_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert batching.is_memory_error(caught.value)


def test_packed_input(fasta, records, tmp_path):
    packed = tmp_path / "in.fasta.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    bulk.run_bulk("embed", packed, tmp_path / "out", shard_size=20)
    check_rows(pd.read_parquet(tmp_path / "out"), records)
    torn = tmp_path / "torn.fasta.gz"
    torn.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"torn.fasta.gz: the gzip file is cut off"):
        bulk.run_bulk("embed", torn, tmp_path / "other")


def test_a_shard_is_full_at_so_many_nucleotides(fasta, records, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "NUCLEOTIDES", 100)
    report = bulk.run_bulk("embed", fasta, tmp_path / "out")
    assert report.shards > 5
    check_rows(pd.read_parquet(tmp_path / "out"), records)
    for path in (tmp_path / "out").glob("part-*"):
        assert pd.read_parquet(path)["length"].iloc[:-1].sum() < 100


def test_long_ones_are_told_once(tmp_path, tiny):
    path = write(tmp_path / "in.fa", [(f"long {i}", "A" * 1100) for i in range(4)])
    with pytest.warns(UserWarning, match="1100 nucleotides, and others may have as many") as told:
        bulk.run_bulk("embed", path, tmp_path / "out", model=tiny, shard_size=2)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "{empty}", "-o", "out"], "empty.fa holds no FASTA record"),
        (["embed", "absent.fa", "-o", "out"], "no such file: absent.fa"),
        (["embed", "-", "-o", "out"], "need a file for INPUT"),
        (["embed", "{fasta}", "-o", "{empty}"], "is a file"),
        (["embed", "{fasta}", "-o", "out", "--shard-size", "0"], "--shard-size: 0"),
        (["fold", "{fasta}", "-f", "parquet"], "a folder for --output"),
        (["fold", "{fasta}", "--processes", "2"], "give -f parquet"),
        (["fold", "{fasta}", "-m", "nano", "-f", "parquet", "-o", "out"], "nano cannot fold"),
        (["predict", "{fasta}", "-m", "nano", "-f", "parquet", "-o", "out"], "nano cannot predict"),
    ],
)
def test_what_cannot_be_done(arguments, message, fasta, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty.fa"
    empty.touch()
    code = cli.main([a.format(fasta=fasta, empty=empty) for a in arguments] + ["-q"])
    assert code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_progress_tells_speed_and_time_left(fasta, tmp_path, capsys):
    bulk.run_bulk("embed", fasta, tmp_path / "out", shard_size=10, progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and " RNA/s, " in shown and " nt/s" in shown


MEASURE = """
import resource, sys
from rinalmo_kit.inference import bulk
report = bulk.run_bulk("embed", sys.argv[1], sys.argv[2], model=sys.argv[3], shard_size=2000)
print(report.records, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(records, folder, model):
    """MB of a process that embeds so many records."""
    path = write(folder / f"{records}.fa", sequences(records, 8, 16))
    command = [sys.executable, "-c", MEASURE, str(path), str(folder / f"out-{records}"), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, peak = map(int, done.stdout.split())
    assert count == records
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def test_memory_does_not_grow_with_the_file(tiny, tmp_path):
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    few, many = (peak_memory(records, tmp_path, model) for records in (20_000, 100_000))
    assert many < few + 60


NO_NUMBERS = [True, 1.0, 2.5, float("nan"), float("inf"), "3", None, 1j, [1], np.float64(2), np.array([1, 2])]


@pytest.mark.parametrize("name", ["shard_size", "processes", "min_loop"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, -1, 10**20], ids=str)
def test_numbers_that_are_none(name, value, fasta, tiny, tmp_path):
    with pytest.raises(ValueError, match=f"{name}=.*: expected a whole number from"):
        bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny, **{name: value})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("threshold", value)
            for value in (True, float("nan"), float("inf"), -0.1, 1.1, "0.5", 0.5j, [0.5])
        ],
        *[("pool", value) for value in ("median", "", 0, False, "MEAN")],
        *[("canonical_only", value) for value in ("no", None, 2)],
        *[("task", value) for value in ("train", "", None, ["embed"], "Fold")],
        *[("shard_size", value) for value in (0, 10**12)],
        *[("processes", value) for value in (0, 10**12)],
    ],
    ids=str,
)
def test_options_that_are_none(name, value, fasta, tiny, tmp_path):
    call = {"task": "embed", "path": fasta, "output": tmp_path / "out", "model": tiny, name: value}
    with pytest.raises(ValueError, match=f"{name}="):
        bulk.run_bulk(**call)
    assert not (tmp_path / "out").exists()


def test_numbers_of_numpy_are_numbers(fasta, tmp_path):
    numbers = {"threshold": np.float32(0.5), "min_loop": np.int64(4), "shard_size": np.int16(20)}
    assert bulk.run_bulk("fold", fasta, tmp_path / "out", **numbers) == (50, 0, 3, 0)
    assert bulk.run_bulk("fold", fasta, tmp_path / "out", threshold=0.5, min_loop=4, shard_size=20) == (
        50,
        0,
        3,
        0,
    )
