"""Many sequences: shards, restarts, several processes, memory."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit import cli, inference, jobs
from rinalmo_kit import shards as folder_of_jobs
from rinalmo_kit.files import output_lock
from rinalmo_kit.heads import ClassificationHead, RibosomeLoadHead


def sequences(number, shortest=8, longest=40):
    draw = random.Random(0)
    return [
        (f"r{i}", "".join(draw.choices("ACGU", k=draw.randint(shortest, longest)))) for i in range(number)
    ]


def write(path, records):
    path.write_text("".join(f">{name} text\n{sequence}\n" for name, sequence in records))
    return path


@pytest.fixture
def records():
    return sequences(50)


@pytest.fixture
def fasta(tmp_path, records):
    return write(tmp_path / "in.fasta", records)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return rk.RiNALMo(rk.Config(dim=32, blocks=1, heads=2)).eval()


def shards(folder):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("part-*"))}


def check_rows(table, records):
    assert table["index"].tolist() == list(range(len(records)))
    assert table["name"].tolist() == [name for name, _ in records]


@pytest.mark.parametrize("pool", ["mean", "cls", None])
def test_embeddings_are_those_of_embed(pool, fasta, records, tmp_path):
    out = tmp_path / "out"
    assert jobs.run("embed", fasta, out, pool=pool, shard_size=20) == (50, 0, 3, 0)
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
    jobs.run("fold", fasta, tmp_path / "out", shard_size=20, min_loop=5)
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
    jobs.run("predict", fasta, tmp_path / "out", model=tiny, shard_size=20)
    table = pd.read_parquet(tmp_path / "out").drop(columns=["index", "length", "error"])
    pd.testing.assert_frame_equal(table, rk.predict(fasta, model=tiny), check_dtype=False, atol=1e-5)


CRASH = """
import os, sys
import pyarrow.parquet as pq
from rinalmo_kit import cli, inference
real = {"compute": inference.embeddings, "write": pq.write_table}
calls = {"compute": 0, "write": 0}
def crash(where):
    def call(*given, **named):
        calls[where] += 1
        result = real[where](*given, **named)
        if where == sys.argv[1] and calls[where] == 3:
            os.kill(os.getpid(), 9)  # as it computes the third shard; or with that one written, under another name
        return result
    return call
inference.embeddings, pq.write_table = crash("compute"), crash("write")
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
    monkeypatch.setattr(jobs, "_work", lambda *_, **__: pytest.fail("it is finished"))
    assert cli.main(command) == 0
    assert "50 records in 1 shards; finished" in capsys.readouterr().err
    assert shards(out) == before


def test_another_job_in_the_same_folder_is_refused(fasta, records, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "-q"]
    assert cli.main(command) == 0
    capsys.readouterr()
    assert cli.main([*command, "--pool", "cls", "--shard-size", "7"]) == 2
    assert "(pool: mean then, cls now; shard_size: 10000 then, 7 now)" in capsys.readouterr().err
    assert cli.main([*command, "-m", "pico-ss"]) == 2
    assert "model: pico " in capsys.readouterr().err
    write(fasta, [*records[:-1], ("r49", "ACGU")])
    assert cli.main(command) == 2
    assert "input: in.fasta " in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.csv").touch()
    with pytest.raises(ValueError, match="holds files, but no job"):
        jobs.run("embed", fasta, other)


def test_changed_weights_are_another_model(fasta, tiny, tmp_path):
    jobs.run("embed", fasta, tmp_path / "out", model=tiny)
    with torch.no_grad():
        next(tiny.parameters())[5, 0] += 1e-3
    with pytest.raises(ValueError, match=r"holds another job \(model: RiNALMo .* then, RiNALMo .* now\)"):
        jobs.run("embed", fasta, tmp_path / "out", model=tiny)


@pytest.mark.parametrize("task", ["embed", "fold", "predict"])
def test_bad_records_are_rows_with_an_error(task, tmp_path, capsys):
    path = tmp_path / "in.fa"
    path.write_text(">good\nggggaaaacccc\n>bad\nACGXU\n>empty\n>late\nACGU\n>worse\n???\n>worst\n!\n")
    command = [task, str(path), "-o", str(tmp_path / "out"), "--shard-size", "2", "-q"]
    command += [] if task == "embed" else ["-f", "parquet"]
    assert cli.main(command) == 1
    assert "6 records in 3 shards, 4 of them refused (column error)" in capsys.readouterr().err
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
    jobs.run("fold", fasta, tmp_path / "one", shard_size=10)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert jobs.run("fold", fasta, tmp_path / "two", shard_size=10, processes=2) == (50, 0, 5, 0)
        assert torch.get_num_threads() == 2  # as before
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "two"), pd.read_parquet(tmp_path / "one"))


def test_each_process_does_its_share(fasta, tmp_path, monkeypatch):
    """As torchrun and srun start them, here one after the other."""
    out = tmp_path / "out"
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert jobs.run("embed", fasta, out, shard_size=10) == (20, 0, 2, 3)
    assert list(shards(out)) == ["part-000001.parquet", "part-000003.parquet"]
    with pytest.raises(ValueError, match="already started from outside"):
        jobs.run("embed", fasta, out, shard_size=10, processes=2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert jobs.run("embed", fasta, out, shard_size=10) == (50, 0, 5, 0)


def test_a_refused_record_does_not_make_torchrun_end_the_others(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "in.fa", [("bad", "X"), ("good", "ACGU")])
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["embed", str(path), "-o", str(tmp_path / "out"), "--shard-size", "1", "-q"]) == 0
    shown = capsys.readouterr().err
    assert "1 of them refused (column error); 1 shards of other processes are missing" in shown


def test_a_process_that_dies_is_reported(fasta, tmp_path, monkeypatch, capsys):
    start = jobs._start

    def start_and_kill(*given):
        workers = start(*given)
        workers[0].kill()
        workers[0].wait()
        return workers

    out = tmp_path / "out"
    command = ["embed", str(fasta), "-o", str(out), "--shard-size", "10", "--processes", "2", "-q"]
    monkeypatch.setattr(jobs, "_start", start_and_kill)
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
        "from rinalmo_kit import cli, jobs\n"
        "jobs._work = lambda *_, **__: os.kill(os.getpid(), 9)\n"
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
    assert jobs.run("embed", fasta, tmp_path / "out", model=tiny) == (51, 1, 1, 0)
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
    assert inference._is_memory_error(caught.value)


def test_packed_input(fasta, records, tmp_path):
    packed = tmp_path / "in.fasta.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    jobs.run("embed", packed, tmp_path / "out", shard_size=20)
    check_rows(pd.read_parquet(tmp_path / "out"), records)
    torn = tmp_path / "torn.fasta.gz"
    torn.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"torn.fasta.gz: the gzip file is cut off"):
        jobs.run("embed", torn, tmp_path / "other")


def test_a_shard_is_full_at_so_many_nucleotides(fasta, records, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "NUCLEOTIDES", 100)
    report = jobs.run("embed", fasta, tmp_path / "out")
    assert report.shards > 5
    check_rows(pd.read_parquet(tmp_path / "out"), records)
    for path in (tmp_path / "out").glob("part-*"):
        assert pd.read_parquet(path)["length"].iloc[:-1].sum() < 100


def test_long_ones_are_told_once(tmp_path, tiny):
    path = write(tmp_path / "in.fa", [(f"long {i}", "A" * 1100) for i in range(4)])
    with pytest.warns(UserWarning, match="1100 nucleotides, and others may have as many") as told:
        jobs.run("embed", path, tmp_path / "out", model=tiny, shard_size=2)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "{empty}", "-o", "out"], "empty.fa holds no FASTA record"),
        (["embed", "absent.fa", "-o", "out"], "no such file: absent.fa"),
        (["embed", "-", "-o", "out"], "need a file for INPUT"),
        (["embed", "{fasta}", "-o", "{empty}"], "is a file"),
        (["embed", "{fasta}", "-o", "out", "--shard-size", "0"], "shard_size=0"),
        (["fold", "{fasta}", "-f", "parquet"], "a folder for --output"),
        (["fold", "{fasta}", "--processes", "2"], "give -f parquet"),
        (["fold", "{fasta}", "-m", "pico", "-f", "parquet", "-o", "out"], "pico cannot fold"),
        (["predict", "{fasta}", "-m", "pico", "-f", "parquet", "-o", "out"], "pico cannot predict"),
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
    jobs.run("embed", fasta, tmp_path / "out", shard_size=10, progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and " RNA/s, " in shown and " nt/s" in shown


MEASURE = """
import resource, sys
from rinalmo_kit import jobs
report = jobs.run("embed", sys.argv[1], sys.argv[2], model=sys.argv[3], shard_size=2000)
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


# --- what is read ----------------------------------------------------------------------------------------


def unreadable(kind, folder):
    """Path of something that is no file to be read twice, and what keeps it open."""
    path, ends = folder / kind, ()
    if kind == "folder":
        path.mkdir()
    elif kind in ("pipe", "link to a pipe"):
        os.mkfifo(folder / "fifo")
        path.symlink_to(folder / "fifo")
    elif kind == "socket":
        ends = (socket.socket(socket.AF_UNIX),)
        ends[0].bind(str(path))
    elif kind in ("process substitution", "redirected file"):
        if kind == "redirected file":
            ends = (write(folder / "in.fa", sequences(3)).open("rb"),)
        else:
            read, written = os.pipe()
            ends = os.fdopen(read, "rb"), os.fdopen(written, "wb")
        path = f"/dev/fd/{ends[0].fileno()}"
    else:
        path = kind
    return path, ends


@pytest.mark.parametrize(
    "kind",
    [
        "folder", "pipe", "link to a pipe", "socket", "process substitution", "redirected file",
        "/dev/stdin", "/proc/self/fd/0", "/dev/null", "/dev/zero",
    ],
)  # fmt: skip
def test_what_cannot_be_read_twice_is_rejected_before_anything_is_written(kind, tmp_path, capsys):
    path, ends = unreadable(kind, tmp_path)
    assert cli.main(["embed", str(path), "-o", str(tmp_path / "out"), "-q"]) == 2
    shown = capsys.readouterr().err
    assert str(path) in shown and ("is a folder" if kind == "folder" else "write it to a file first") in shown
    assert not (tmp_path / "out").exists()
    for end in ends:
        end.close()


EMPTY = {
    "nothing.fa": b"",
    "blank.fa": b"\n \r\n\t\n",
    "comments.fa": b"# one\n; two\n",
    "mark.fa": b"\xef\xbb\xbf\n",
    "nothing.fa.gz": b"",
    "packed.fa.gz": gzip.compress(b""),
    "packed.fa.bz2": bz2.compress(b"\n"),
    "packed": lzma.compress(b"# one\n"),
}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("read", [str, Path, lambda path: path.open("rb")], ids=["str", "Path", "file"])
def test_an_empty_file_is_an_error_everywhere(name, read, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(EMPTY[name])
    for compute in (rk.embed, rk.fold, rk.predict, rk.estimate):
        with pytest.raises(ValueError, match=r"holds no FASTA record|there are no sequences"):
            compute(read(path))
    assert cli.main(["predict", str(path), "-f", "parquet", "-o", str(tmp_path / "out"), "-q"]) == 2
    assert f"{name} holds no FASTA record" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("nothing", [list, dict, tuple, lambda: iter(())])
def test_of_an_empty_list_there_are_no_results(nothing, tiny):
    assert rk.embed(nothing(), model=tiny) == [] == rk.fold(nothing())
    assert rk.embed(nothing(), model=tiny, pool="cls").shape == (0, 32)
    table = rk.predict(nothing())
    assert len(table) == 0 and list(table.columns[:3]) == ["name", "label", "probability"]


PACKINGS = {
    "in.fasta.gz": gzip.compress,
    "IN.FASTA.GZ": gzip.compress,
    "gzip without an ending": gzip.compress,
    "joined.gz": lambda data: gzip.compress(data[:300]) + gzip.compress(data[300:]),
    "in.fasta.bz2": bz2.compress,
    "joined.bz2": lambda data: bz2.compress(data[:300]) + bz2.compress(data[300:]),
    "in.fasta.xz": lzma.compress,
    "not packed.gz": bytes,
}


@pytest.mark.parametrize("name", PACKINGS)
def test_packed_input_is_known_by_its_first_bytes(name, fasta, records, tiny, tmp_path):
    packed = tmp_path / name
    packed.write_bytes(PACKINGS[name](fasta.read_bytes()))
    assert jobs.run("embed", packed, tmp_path / "out", model=tiny, shard_size=20) == (50, 0, 3, 0)
    check_rows(pd.read_parquet(tmp_path / "out"), records)


def damaged(kind, text):
    """A file that is right at first: 400 records, of which the middle or end is not."""
    packed = gzip.compress(text)
    middle = len(packed) // 2
    return {
        "cut gzip": packed[:middle],
        "gzip without its checksum": packed[:-8],
        "gzip with other bytes": packed[:middle] + b"\xff" * 9 + packed[middle + 9 :],
        "gzip and more": packed + b"more",
        "second member": gzip.compress(text[:5000]) + gzip.compress(text[5000:])[:400],
        "cut bzip2": bz2.compress(text[:5000]) + bz2.compress(text[5000:])[:-20],
        "cut xz": lzma.compress(text)[:-20],
        "letter": text.replace(b">r300\n", b">r300\nAC\xfcGU\n"),
    }[kind]


FAULTS = [
    "cut gzip", "gzip without its checksum", "gzip with other bytes", "gzip and more", "second member", "cut bzip2",
    "cut xz", "letter",
]  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_what_precedes_a_fault_of_the_input_is_kept(kind, tiny, tmp_path, capsys):
    records = sequences(400, 20, 40)
    path, out = write(tmp_path / "in.fa", records), tmp_path / "out"
    whole = path.read_bytes().replace(b" text", b"")
    path.write_bytes(damaged(kind, whole))
    command = ["embed", str(path), "-o", str(out), "-m", str(rk.save(tiny, tmp_path / "tiny.safetensors"))]
    command += ["--shard-size", "30", "-q"]
    assert cli.main(command) == 1
    told = capsys.readouterr().err
    table = pd.read_parquet(out)
    right = len(table) if kind != "gzip with other bytes" else 100  # it shows only later
    check_rows(table[:right], records[:right])
    assert 30 < right <= 400 and table["error"][:right].isna().all()
    assert ("may be wrong" in told) == (right == 100)
    assert told.startswith(f"rinalmo-kit: error: {path}") and f"The {len(table)} records before" in told
    assert ("byte" in told and "line" in told) or "followed by bytes" in told
    before = shards(out)
    assert cli.main(command) == 1
    assert capsys.readouterr().err == told and shards(out) == before
    path.write_bytes(whole)
    assert cli.main(command) == 2
    assert (
        "The input is not the file it was, and its tables need a folder of their own"
        in capsys.readouterr().err
    )
    assert shards(out) == before


def test_a_fault_before_the_first_whole_record(tmp_path, capsys):
    path = tmp_path / "in.fa.gz"
    path.write_bytes(gzip.compress(b">a\n" + b"ACGU" * 100)[:-9])
    assert cli.main(["fold", str(path), "-f", "parquet", "-o", str(tmp_path / "out"), "-q"]) == 2
    assert "in.fa.gz: the gzip file is cut off" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_of_several_processes_the_last_tells_of_a_fault_of_the_input(tiny, tmp_path, monkeypatch):
    """An error would make torchrun end the processes that are still at work."""
    path = write(tmp_path / "in.fa", sequences(100))
    path.write_bytes(gzip.compress(path.read_bytes())[:-8])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.warns(UserWarning, match="cut off.*, but for 2 shards of other processes"):
        assert jobs.run("embed", path, tmp_path / "out", model=tiny, shard_size=25) == (50, 0, 2, 2)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(jobs.DamagedInputError, match="The 99 records before that place"):
        jobs.run("embed", path, tmp_path / "out", model=tiny, shard_size=25)


def test_letters_of_a_header_that_are_not_utf_8(tiny, tmp_path):
    path = tmp_path / "in.fa"
    path.write_bytes(b">M\xfcller\nACGU\n>b\nACGU\n>\xe9t\xe9\nACGU\n")
    with pytest.warns(UserWarning) as told:
        assert jobs.run("embed", path, tmp_path / "out", model=tiny, shard_size=1) == (3, 0, 3, 0)
    assert len(told) == 1 and "line 1, byte 3: 0xFC is not UTF-8" in str(told[0].message)
    assert pd.read_parquet(tmp_path / "out")["name"].tolist() == ["M\ufffdller", "b", "\ufffdt\ufffd"]


def test_one_process_of_several_tells_of_the_file(tiny, tmp_path, monkeypatch, recwarn):
    path = tmp_path / "in.fa"
    path.write_bytes(b">M\xfcller\nACGU\n>b\nACGU\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, told in ((1, 0), (0, 1)):
        monkeypatch.setenv("RANK", str(rank))
        jobs.run("embed", path, tmp_path / "out", model=tiny, shard_size=1)
        assert len(recwarn) == told


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def extend(path):
    with path.open("a") as stream:
        stream.write(">more\nACGU\n")


def other_letters(path):
    path.write_text(path.read_text().replace("A", "C"))


def replace(path):
    write(path.with_name("new"), sequences(50, 9, 41)).rename(path)


def touch(path):
    os.utime(path, (0, 0))


def same_again(path):
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").rename(path)


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen as the second shard is computed."""

    def let(happen):
        table_of, calls = folder_of_jobs.table_of, []

        def compute(*given):
            calls.append(given)
            if len(calls) == 2:
                happen()
            return table_of(*given)

        monkeypatch.setattr(folder_of_jobs, "table_of", compute)

    return let


@pytest.mark.parametrize("change", [cut, extend, other_letters, replace])
def test_an_input_that_changes_meanwhile(change, fasta, tiny, tmp_path, meanwhile):
    meanwhile(lambda: change(fasta))
    with pytest.raises(
        ValueError, match=r"in\.fasta changed while the job ran \(.* bytes at its start, .* now\)"
    ):
        jobs.run("embed", fasta, tmp_path / "out", model=tiny, shard_size=10)
    assert list(shards(tmp_path / "out")) == ["part-000000.parquet"]


@pytest.mark.parametrize("change", [touch, same_again, Path.unlink])
def test_an_input_whose_content_stays(change, fasta, records, tiny, tmp_path, meanwhile):
    meanwhile(lambda: change(fasta))
    assert jobs.run("embed", fasta, tmp_path / "out", model=tiny, shard_size=10) == (50, 0, 5, 0)
    check_rows(pd.read_parquet(tmp_path / "out"), records)


# --- the folder ------------------------------------------------------------------------------------------


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
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    expected, before = pd.read_parquet(out), shards(out)
    path = out / "part-000002.parquet"
    DAMAGE[kind](path)
    if not finished:
        (out / "_end.json").unlink()
        (out / "part-000004.parquet").unlink()
    with pytest.warns(UserWarning, match=r"part-000002\.parquet .*: it is computed again"):
        assert jobs.run("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected)
    kept = [name for name, time in shards(out).items() if before[name] == time]
    assert kept == [f"part-00000{k}.parquet" for k in ([0, 1, 3, 4] if finished else [0, 1, 3])]


def test_each_process_computes_its_own_damaged_shards_again(fasta, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    for k in range(5):
        (out / f"part-00000{k}.parquet").write_bytes(b"")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, found in enumerate([(30, 0, 3, 2), (50, 0, 5, 0)]):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.warns(UserWarning, match="it is empty") as told:
            assert jobs.run("embed", fasta, out, model=tiny, shard_size=10) == found
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
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    before = shards(out)
    (out / "_job.json").write_bytes(BROKEN[kind])
    with pytest.raises(ValueError, match=r"_job\.json is damaged or of no job: .* choose another folder"):
        jobs.run("embed", fasta, out, model=tiny, shard_size=10)
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
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    before, right = shards(out), (out / "_end.json").read_bytes()
    (out / "_end.json").write_bytes(content)
    assert jobs.run("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert shards(out) == before and (out / "_end.json").read_bytes() == right


@pytest.mark.parametrize(
    "name", ["part-000099.parquet", "part-000000 (1).parquet", "part-5.parquet", "part-x"]
)
def test_tables_of_others_in_the_folder_are_named(name, fasta, tiny, tmp_path):
    out = tmp_path / "out"
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    (out / name).write_bytes((out / "part-000000.parquet").read_bytes())
    with pytest.raises(ValueError, match=f"not of this job \\({re.escape(name)}\\)"):
        jobs.run("embed", fasta, out, model=tiny, shard_size=10)


def test_left_over_of_a_killed_process_is_removed(fasta, tiny, tmp_path):
    out = tmp_path / "out"
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    for name in ("part-000001.parquet", "_job.json", "_end.json"):  # which another process made since
        (out / f".{name}.{'0' * 32}.tmp").touch()
    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
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
        jobs.run("embed", fasta, out, model=tiny)
    assert (sorted(fasta.parent.iterdir()), fasta.read_bytes()) == before


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(fasta, tiny, tmp_path, monkeypatch):
    """But what is finished in it may be looked at."""
    out, ready = tmp_path / "out", {}

    def check(path):
        ready["path"] = path
        raise PermissionError(f"{path} cannot be written: read-only")

    jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    monkeypatch.setattr(jobs, "check_output", check)
    monkeypatch.setattr(folder_of_jobs, "table_of", lambda *_: pytest.fail("it was computed"))
    assert jobs.run("embed", fasta, out, model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert not ready
    (out / "part-000001.parquet").unlink()
    with pytest.raises(PermissionError, match="cannot be written"):
        jobs.run("embed", fasta, out, model=tiny, shard_size=10)
    assert ready["path"].parent == out


def test_paths_in_the_home_folder(fasta, records, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "target").mkdir()
    (tmp_path / "linked").symlink_to("target")
    rk.save(tiny, tmp_path / "tiny.safetensors")
    model = Path("~/tiny.safetensors")
    assert jobs.run("embed", "~/in.fasta", Path("~/linked"), model=model) == (50, 0, 1, 0)
    check_rows(pd.read_parquet(tmp_path / "target"), records)


def test_names_of_files_that_are_not_utf_8(fasta, records, tiny, tmp_path):
    path, out = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/in\xff.fa", b"/out\xff"))
    fasta.rename(path)
    for _ in range(2):
        assert jobs.run("embed", path, out, model=tiny) == (50, 0, 1, 0)
    check_rows(pd.read_parquet(io.BytesIO((out / "part-000000.parquet").read_bytes())), records)


# --- several processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"processes": 2}, {"RANK": "0", "WORLD_SIZE": "3"}], ids=str)
def test_a_second_start_says_who_is_at_work(more, fasta, tiny, tmp_path, monkeypatch, meanwhile):
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    call = {"task": "embed", "path": fasta, "output": tmp_path / "out", "model": model, "shard_size": 10}

    def start_again():
        with monkeypatch.context() as patch:
            for name in more.keys() & {"RANK", "WORLD_SIZE"}:
                patch.setenv(name, more[name])
            with pytest.raises(BlockingIOError, match=f"out is being written by process {os.getpid()} on"):
                jobs.run(**call, **{k: v for k, v in more.items() if k == "processes"})

    meanwhile(start_again)
    assert jobs.run(**call) == (50, 0, 5, 0)


def test_ranks_of_one_job_share_the_folder(fasta, records, tiny, tmp_path, monkeypatch, meanwhile):
    """The second process comes in as the first is at work, and a second start of the second one does not."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    found = []

    def other():
        with monkeypatch.context() as patch:
            patch.setenv("RANK", "1")
            found.append(jobs.run("embed", fasta, tmp_path / "out", model=tiny, shard_size=10))

    meanwhile(other)
    assert jobs.run("embed", fasta, tmp_path / "out", model=tiny, shard_size=10) == (50, 0, 5, 0)
    assert found == [(30, 0, 3, 2)]
    check_rows(pd.read_parquet(tmp_path / "out"), records)


HOLD = """
import sys, time
from rinalmo_kit import jobs, shards
def compute(*_):
    print("at work", flush=True)
    time.sleep(60)
shards.table_of = compute
jobs.run("embed", sys.argv[1], sys.argv[2], model=sys.argv[3])
"""


def test_a_killed_process_holds_no_lock(fasta, tiny, tmp_path):
    model = rk.save(tiny, tmp_path / "tiny.safetensors")
    words = [sys.executable, "-c", HOLD, str(fasta), str(tmp_path / "out"), str(model)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        with pytest.raises(BlockingIOError, match=f"process {first.pid} on"):
            jobs.run("embed", fasta, tmp_path / "out", model=model)
        first.kill()
    assert jobs.run("embed", fasta, tmp_path / "out", model=model) == (50, 0, 1, 0)


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


# --- options ---------------------------------------------------------------------------------------------

NO_NUMBERS = [True, 1.0, 2.5, float("nan"), float("inf"), "3", None, 1j, [1], np.float64(2), np.array([1, 2])]


@pytest.mark.parametrize("name", ["shard_size", "processes", "min_loop"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, -1, 10**20], ids=str)
def test_numbers_that_are_none(name, value, fasta, tiny, tmp_path):
    with pytest.raises(ValueError, match=f"{name}=.*: expected a whole number from"):
        jobs.run("embed", fasta, tmp_path / "out", model=tiny, **{name: value})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("threshold", value)
            for value in (True, float("nan"), float("inf"), -0.1, 1.1, "0.5", 0.5j, [0.5])
        ],
        *[("pool", value) for value in ("max", "", 0, False, "MEAN")],
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
        jobs.run(**call)
    assert not (tmp_path / "out").exists()


def test_numbers_of_numpy_are_numbers(fasta, tmp_path):
    numbers = {"threshold": np.float32(0.5), "min_loop": np.int64(4), "shard_size": np.int16(20)}
    assert jobs.run("fold", fasta, tmp_path / "out", **numbers) == (50, 0, 3, 0)
    assert jobs.run("fold", fasta, tmp_path / "out", threshold=0.5, min_loop=4, shard_size=20) == (
        50,
        0,
        3,
        0,
    )
