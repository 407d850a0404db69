"""The input of a job: what can be read, packed, damaged or changed meanwhile."""

import bz2
import gzip
import lzma
import os
import socket
from pathlib import Path

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit.inference import bulk, job_input
from rinalmo_kit.inference.estimate import estimate
from tests.helpers.job_examples import check_rows, sequences, shards, write


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
    for compute in (rk.embed, rk.fold, rk.predict, estimate):
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
    assert len(table) == 0 and list(table.columns[:4]) == ["name", "label", "family", "probability"]


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
    assert bulk.run_bulk("embed", packed, tmp_path / "out", model=tiny, shard_size=20) == (50, 0, 3, 0)
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
    told = capsys.readouterr().err
    assert "holds another job: choose another folder" in told and f"\n  input: '{path.name} " in told
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
        assert bulk.run_bulk("embed", path, tmp_path / "out", model=tiny, shard_size=25) == (50, 0, 2, 2)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(job_input.DamagedInputError, match="The 99 records before that place"):
        bulk.run_bulk("embed", path, tmp_path / "out", model=tiny, shard_size=25)


def test_letters_of_a_header_that_are_not_utf_8(tiny, tmp_path):
    path = tmp_path / "in.fa"
    path.write_bytes(b">M\xfcller\nACGU\n>b\nACGU\n>\xe9t\xe9\nACGU\n")
    with pytest.warns(UserWarning) as told:
        assert bulk.run_bulk("embed", path, tmp_path / "out", model=tiny, shard_size=1) == (3, 0, 3, 0)
    assert len(told) == 1 and "line 1, byte 3: 0xFC is not UTF-8" in str(told[0].message)
    assert pd.read_parquet(tmp_path / "out")["name"].tolist() == ["M\ufffdller", "b", "\ufffdt\ufffd"]


def test_one_process_of_several_tells_of_the_file(tiny, tmp_path, monkeypatch, recwarn):
    path = tmp_path / "in.fa"
    path.write_bytes(b">M\xfcller\nACGU\n>b\nACGU\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, told in ((1, 0), (0, 1)):
        monkeypatch.setenv("RANK", str(rank))
        bulk.run_bulk("embed", path, tmp_path / "out", model=tiny, shard_size=1)
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


@pytest.mark.parametrize("change", [cut, extend, other_letters, replace])
def test_an_input_that_changes_meanwhile(change, fasta, tiny, tmp_path, meanwhile):
    meanwhile(lambda: change(fasta))
    with pytest.raises(
        ValueError, match=r"in\.fasta changed while the job ran \(.* bytes at its start, .* now\)"
    ):
        bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny, shard_size=10)
    assert list(shards(tmp_path / "out")) == ["part-000000.parquet"]


@pytest.mark.parametrize("change", [touch, same_again, Path.unlink])
def test_an_input_whose_content_stays(change, fasta, records, tiny, tmp_path, meanwhile):
    meanwhile(lambda: change(fasta))
    assert bulk.run_bulk("embed", fasta, tmp_path / "out", model=tiny, shard_size=10) == (50, 0, 5, 0)
    check_rows(pd.read_parquet(tmp_path / "out"), records)
