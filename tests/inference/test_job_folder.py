"""The folder of a job: damaged shards and descriptions, other files, paths, one writer at a time."""

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit._utils.files import output_lock
from rinalmo_kit.inference import bulk
from rinalmo_kit.inference import shards as folder_of_jobs
from tests.helpers.job_examples import check_rows, sequences, shards, write


def other_table(path, metadata):
    table = pa.table({"index": [0, 1]}).replace_schema_metadata(metadata)
    pq.write_table(table, path)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "without its last byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "NULs": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("index,name\n0,a\n"),
    "foreign table": lambda path: other_table(path, None),
    "foreign metadata": lambda path: other_table(path, {"refused": "many"}),
    "fewer records": lambda path: other_table(path, {"refused": "0"}),
    "link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_shard_is_computed_again(kind, finished, fasta, tiny, tmp_path):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    expected, before = pd.read_parquet(out), shards(out)
    path = out / "part-000002.parquet"
    DAMAGE[kind](path)
    if not finished:
        (out / "_end.json").unlink()
        (out / "part-000004.parquet").unlink()
    with pytest.warns(UserWarning, match=r"part-000002\.parquet .*: it is computed again"):
        assert bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected)
    kept = [name for name, time in shards(out).items() if before[name] == time]
    assert kept == [f"part-00000{k}.parquet" for k in ([0, 1, 3, 4] if finished else [0, 1, 3])]


def test_each_process_computes_its_own_damaged_shards_again(fasta, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    for k in range(5):
        (out / f"part-00000{k}.parquet").write_bytes(b"")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, found in enumerate([(30, 0, 3, 2), (50, 0, 5, 0)]):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.warns(UserWarning, match="it is empty") as told:
            assert bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10) == found
        assert len(told) == [3, 2][rank]


BROKEN = {
    "empty": b"",
    "NULs": bytes(50),
    "cut": b'{"task": "embed", "mod',
    "list": b"[1, 2]",
    "null": b"null",
    "text": b'"embed"',
    "deep": b"[" * 100_000,
    "not UTF-8": b'{"task": "\xff"}',
    "foreign": b'{"shards": null, "name": "mine"}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_description_of_the_job_is_named(kind, fasta, tiny, tmp_path):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    before = shards(out)
    (out / "_job.json").write_bytes(BROKEN[kind])
    with pytest.raises(ValueError, match=r"_job\.json is damaged .* choose another folder"):
        bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    assert shards(out) == before and (out / "_job.json").read_bytes() == BROKEN[kind]


@pytest.mark.parametrize(
    "content",
    [
        *BROKEN.values(),
        b'{"shards": -1, "records": 50}',
        b'{"shards": 1000000000000, "records": 50}',
        b'{"shards": 3, "records": 50}',
        b'{"shards": 5, "records": 51}',
        b'{"shards": "5", "records": 50}',
        b'{"shards": 5.0, "records": 50}',
        b'{"shards": true, "records": true}',
        b'{"shards": 5}',
    ],
)
def test_a_damaged_end_of_the_job_is_found_again(content, fasta, tiny, tmp_path):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    before, right = shards(out), (out / "_end.json").read_bytes()
    (out / "_end.json").write_bytes(content)
    assert bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert shards(out) == before and (out / "_end.json").read_bytes() == right


@pytest.mark.parametrize(
    "name", ["part-000099.parquet", "part-000000 (1).parquet", "part-5.parquet", "part-x"]
)
def test_tables_of_others_in_the_folder_are_named(name, fasta, tiny, tmp_path):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    (out / name).write_bytes((out / "part-000000.parquet").read_bytes())
    with pytest.raises(ValueError, match=f"not of this job \\({re.escape(name)}\\)"):
        bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)


def test_left_over_of_a_killed_process_is_removed(fasta, tiny, tmp_path):
    out = tmp_path / "out"
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    for name in ("part-000001.parquet", "_job.json", "_end.json"):  # which another process made since
        (out / f".{name}.{'0' * 32}.tmp").touch()
    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    assert not list(out.glob(".*"))


def input_folder(fasta):
    return fasta.parent


def folder_above(fasta):
    return fasta.parent.parent


def dangling(fasta):
    (fasta.parent / "link").symlink_to("nowhere")
    return fasta.parent / "link"


def the_input(fasta):
    return fasta


def below_a_file(fasta):
    return fasta / "out"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (input_folder, "holds the input"),
        (folder_above, "holds the input"),
        (dangling, "is a link to nowhere, which is not there"),
        (the_input, "is a file"),
        (below_a_file, "cannot be written"),
    ],
)
def test_folders_that_no_job_can_have(place, message, fasta, tiny):
    out = place(fasta)
    before = sorted(fasta.parent.iterdir()), fasta.read_bytes()
    with pytest.raises((ValueError, OSError), match=message):
        bulk.run_bulk("embed", fasta, out, model=tiny)
    assert (sorted(fasta.parent.iterdir()), fasta.read_bytes()) == before


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(fasta, tiny, tmp_path, monkeypatch):
    """But what is finished in it may be looked at."""
    out, ready = tmp_path / "out", {}

    def check(path):
        ready["path"] = path
        raise PermissionError(f"{path} cannot be written: read-only")

    bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    monkeypatch.setattr(bulk, "check_output", check)
    monkeypatch.setattr(folder_of_jobs, "table_of", lambda *_: pytest.fail("it was computed"))
    assert bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert not ready
    (out / "part-000001.parquet").unlink()
    with pytest.raises(PermissionError, match="cannot be written"):
        bulk.run_bulk("embed", fasta, out, model=tiny, shard_size=10)
    assert ready["path"].parent == out


def test_paths_in_the_home_folder(fasta, records, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "target").mkdir()
    (tmp_path / "linked").symlink_to("target")
    rk.save(tiny, tmp_path / "tiny.safetensors")
    model = Path("~/tiny.safetensors")
    assert bulk.run_bulk("embed", "~/in.fasta", Path("~/linked"), model=model) == (50, 0, 1, 0)
    check_rows(pd.read_parquet(tmp_path / "target"), records)


def test_names_of_files_that_are_not_utf_8(fasta, records, tiny, tmp_path):
    path, out = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/in\xff.fa", b"/out\xff"))
    fasta.rename(path)
    for _ in range(2):
        assert bulk.run_bulk("embed", path, out, model=tiny) == (50, 0, 1, 0)
    check_rows(pd.read_parquet(io.BytesIO((out / "part-000000.parquet").read_bytes())), records)


@pytest.mark.parametrize("more", [{}, {"processes": 2}, {"RANK": "0", "WORLD_SIZE": "3"}], ids=str)
def test_a_second_start_says_who_is_at_work(more, fasta, tiny, tmp_path, monkeypatch, meanwhile):
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    call = {"task": "embed", "path": fasta, "output": tmp_path / "out", "model": model, "shard_size": 10}

    def start_again():
        with monkeypatch.context() as patch:
            for name in more.keys() & {"RANK", "WORLD_SIZE"}:
                patch.setenv(name, more[name])
            with pytest.raises(BlockingIOError, match=f"out is being written by process {os.getpid()} on"):
                bulk.run_bulk(**call, **{k: v for k, v in more.items() if k == "processes"})

    meanwhile(start_again)
    assert bulk.run_bulk(**call) == (50, 0, 5, 0)


def test_ranks_of_one_job_share_the_folder(fasta, records, tiny, tmp_path, monkeypatch, meanwhile):
    """The second process comes in as the first is at work, and a second start of the second one does not."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    found = []

    def other():
        with monkeypatch.context() as patch:
            patch.setenv("RANK", "1")
            found.append(bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny, shard_size=10))

    meanwhile(other)
    assert bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert found == [(30, 0, 3, 2)]
    check_rows(pd.read_parquet(tmp_path / "out"), records)


HOLD = """
import sys, time
from rinalmo_kit.inference import bulk, shards
def compute(*_):
    print("at work", flush=True)
    time.sleep(60)
shards.table_of = compute
bulk.run_bulk("embed", sys.argv[1], sys.argv[2], model=sys.argv[3])
"""


def test_a_killed_process_holds_no_lock(fasta, tiny, tmp_path):
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    words = [sys.executable, "-c", HOLD, str(fasta), str(tmp_path / "out"), str(model)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        with pytest.raises(BlockingIOError, match=f"process {first.pid} on"):
            bulk.run_bulk("embed", fasta, tmp_path / "out", model=model)
        first.kill()
    assert bulk.run_bulk("embed", fasta, tmp_path / "out", model=model) == (50, 0, 1, 0)


def test_why_a_process_could_not_do_its_share(fasta, tiny, tmp_path, capfd):
    """One line, and no traceback beside it."""
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    command = ["embed", str(fasta), "-o", str(tmp_path / "out"), "-m", str(model), "--processes", "2", "-q"]
    with output_lock(tmp_path / "out" / "rank-1"):
        assert cli.main(command) == 2
    told = capfd.readouterr().err
    assert told.startswith("rinalmo-kit: error: process 2 of 2 ended with code 2: ") and told.count("\n") == 1
    assert f"is being written by process {os.getpid()}" in told and "Finished shards stay" in told


def test_two_processes_meet_a_fault_of_the_input(tiny, tmp_path, capfd):
    path, out = write(tmp_path / "in.fa", sequences(100)), tmp_path / "out"
    path.write_bytes(gzip.compress(path.read_bytes())[:-8])
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    command = ["embed", str(path), "-o", str(out), "-m", str(model), "--processes", "2", "-q"]
    assert cli.main([*command, "--shard-size", "10"]) == 1
    told = capfd.readouterr().err
    assert "cut off" in told and "The 99 records before that place" in told and told.count("\n") == 1
    check_rows(pd.read_parquet(out), sequences(100)[:-1])  # the last one may have gone on
