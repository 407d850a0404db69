"""Text files as they come: packed, of any encoding, damaged, or no text at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from rinalmo_kit._utils import text_files
from rinalmo_kit._utils.text_files import open_text, pack, read_text
from rinalmo_kit.rna.sequences import read_fasta, read_sequences
from rinalmo_kit.structure import Structure, read_structures, write_structures

FASTA = b">a desc\nACGU\nGG\n>b\nGGCC\n"
RECORDS = [("a", "ACGUGG"), ("b", "GGCC")]
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", ["x.fa", "x", "x.fa.gz", "X.FA.GZ", "x.bz2", "x.xz", "x.txt"])
@pytest.mark.parametrize("kind", [*PACK, "plain"])
def test_first_bytes_decide_and_not_the_name(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACK.get(kind, bytes)(FASTA))
    assert list(read_fasta(path)) == read_sequences(str(path)) == RECORDS
    with path.open("rb") as stream:
        assert list(read_fasta(stream)) == RECORDS
        assert not stream.closed  # it is its owner's


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("gap", [b"", b"\0" * 512], ids=["joined", "padded"])
def test_joined_members_are_one_text(tmp_path: Path, kind: str, gap: bytes) -> None:
    text = b"".join(b">r%d\nACGU\n" % k for k in range(20_000))
    halves = [PACK[kind](part) for part in (text[:77_777], text[77_777:])]
    path = tmp_path / "x.fa"
    path.write_bytes(halves[0] + gap + halves[1] + gap)
    with open_text(path) as stream:
        assert stream.read() == text.decode()


def records_and_error(source) -> tuple[list, str]:
    found = []
    with warnings.catch_warnings(), pytest.raises(ValueError) as caught:
        warnings.simplefilter("ignore")  # of the names that damage makes
        for record in read_fasta(source):
            found.append(record)
    return found, str(caught.value)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("how", ["cut off", "damaged", "followed by"])
def test_whole_records_before_damage_come_first(tmp_path: Path, kind: str, how: str) -> None:
    text = b"".join(
        b">r%d\n%b\n" % (k, b"ACGU" * (k % 7 + 1)) for k in range(80_000 if kind == "bzip2" else 20_000)
    )
    packed = bytearray(PACK[kind](text))
    if how == "cut off":
        packed = packed[: len(packed) * 3 // 4]
    elif how == "damaged":
        packed[len(packed) * 3 // 4] ^= 0x10
    else:
        packed += b"something else"
    path = tmp_path / "torn.fa.gz"
    path.write_bytes(packed)
    found, message = records_and_error(path)
    assert message.startswith(f"{path}: the {kind} file is {how}")
    assert re.search(r"read to byte [\d,]+, which gave [\d,]+ lines", message)
    assert "Fetch or write it again" in message
    assert len(found) > 3000
    # what was decoded right before the check that fails may be wrong; all before is as it was written
    assert [name for name, _ in found[:3000]] == [f"r{k}" for k in range(3000)]
    assert all(sequence == "ACGU" * (k % 7 + 1) for k, (_, sequence) in enumerate(found[:3000]))
    if how == "cut off":  # the record at the fault is not among them
        assert found == [(f"r{k}", "ACGU" * (k % 7 + 1)) for k in range(len(found))]


def test_small_damaged_files_give_what_comes_before_the_fault(tmp_path: Path) -> None:
    packed = gzip.compress(FASTA * 5)
    path = tmp_path / "x.fa"
    path.write_bytes(packed[:-6])  # the checksum is missing
    found, message = records_and_error(path)
    assert (found, "cut off" in message) == ((RECORDS * 5)[:-1], True)
    path.write_bytes(packed[:-8] + b"\0" * 8)
    found, message = records_and_error(path)
    assert (found, "incorrect data check" in message) == ((RECORDS * 5)[:-1], True)


def test_damage_is_named_rather_than_what_it_made_of_the_text(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b">%d\nGAAAC\n(...)\n" % k for k in range(500)))
    damaged = packed[:200] + bytes(b ^ 0x55 for b in packed[200:220]) + packed[220:]
    for name, read in (("x.dbn", read_structures), ("x.fa", lambda path: list(read_fasta(path)))):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}: the gzip file is damaged"):
            read(tmp_path / name)


@pytest.mark.parametrize("ending", [".st", ".bpseq", ".ct", ".dbn", ".json", ".csv", ".tsv"])
@pytest.mark.parametrize("kind", PACK)
def test_checksums_are_checked(tmp_path: Path, ending: str, kind: str) -> None:
    """Every bit of the stored checksum or the data before it, also where one structure is read."""
    path = write_structures([Structure("GAAAC", [(0, 4)], name="x")], tmp_path / f"x{ending}")
    packed = PACK[kind](path.read_bytes())
    for place in range(len(packed) - 8, len(packed)):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :])
        if kind == "bzip2" and place == len(packed) - 1:
            continue  # padding bits
        with pytest.raises(ValueError, match=f"{path.name}: the {kind} file is"):
            read_structures(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("kind", [*PACK, "plain"])
def test_pipes(mark: bytes, kind: str) -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as stream:  # noqa: PTH123 - a number
        stream.write(PACK.get(kind, bytes)(mark + FASTA))
    with open(reading, "rb") as stream:  # noqa: PTH123
        assert list(read_fasta(open_text(stream))) == RECORDS


def test_standard_input() -> None:
    code = (
        "import sys; from rinalmo_kit._utils.text_files import open_text; "
        "from rinalmo_kit.rna.sequences import read_fasta; print(list(read_fasta(open_text(sys.stdin.buffer))))"
    )
    given = gzip.compress(b"\xef\xbb\xbf" + FASTA)
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(RECORDS)


def test_a_pipe_that_gives_a_byte_at_a_time() -> None:
    class Slow(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            one = self.data.read(1)
            buffer[: len(one)] = one
            return len(one)

    for given in (FASTA, *(pack_(FASTA) for pack_ in PACK.values())):
        assert list(read_fasta(Slow(given))) == RECORDS


WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["x.fa", "x.dbn", "x.ct", "x.bpseq", "x.st", "x.csv", "x.tsv", "x.json"])
def test_wide_encodings_are_named(tmp_path: Path, encoding: str, packed: bool, name: str) -> None:
    content = ">a\nGAAAC\n(...)\n".encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    wanted = rf"{name}: not a UTF-8 text file, but " + (encoding[:6].upper())
    for read in (read_structures, read_sequences):
        with pytest.raises(ValueError, match=wanted):
            read(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a PNG image"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 40, "a program"),
        (b"PK\x03\x04\x14\0" + b"\0" * 40, "a ZIP archive"),
        (b"PAR1\x15\x04\x15", "a Parquet table"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x98\0\0\0\0\0\0\0" + b'{"__metadata__"', "a safetensors file"),
        (b"\0" * 100, "binary data"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    for name in ("x.fa", "x.dbn", "x.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        for read in (read_structures, read_sequences):
            with pytest.raises(ValueError, match=rf"{name}: not a UTF-8 text file, but {what}"):
                read(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("# STOCKHOLM 1.0\n\nseq1 GGGG\n//\n", "Stockholm"),
        ("CLUSTAL W (1.8)\n\na GGGG\n", "Clustal"),
        ("LOCUS       X 12 bp\n", "GenBank"),
        ("@read1\nACGU\n+\nIIII\n", "FASTQ"),
        ("<!DOCTYPE html>\n<html>\n", "web page"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
@pytest.mark.parametrize("name", ["x.fa", "x.dbn", "x.ct", "x.bpseq", "x.st"])
def test_other_formats_are_named(tmp_path: Path, text: str, what: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    for read in (read_structures, read_sequences):
        with pytest.raises(ValueError, match=rf"{name}.*{what}"):
            read(path)


HEADERS = {
    "x.fa": (b">ok\nACGU\n", b">M\xfcller 7\nACGU\n"),
    "x.dbn": (b">ok\nACGU\n....\n", b">M\xfcller\nACGU\n....\n"),
    "x.ct": (b"1 ok\n1 A 0 2 0 1\n", b"1 M\xfcller\n1 A 0 2 0 1\n"),
    "x.st": (b"#Name: M\xfcller\n", b"ACGU\n....\n"),
    "x.bpseq": (b"# by M\xfcller\n#Name: M\xfcller\n", b"1 A 0\n"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_keeps_what_it_can_with_one_notice(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(
        b"".join(HEADERS[name]) + (HEADERS[name][1] if name in ("x.fa", "x.dbn", "x.ct") else b"")
    )
    with pytest.warns(UserWarning, match=rf"{name}, line \d, byte \d+: 0xFC is not UTF-8") as notices:
        found = (
            read_sequences(path) if name == "x.fa" else [(s.name, s.sequence) for s in read_structures(path)]
        )
    assert len(notices) == 1
    assert [one for one, _ in found][-1] == "M\ufffdller"


LATIN1 = {
    "x.fa": (b">a\nAC\xe9GU\n", "line 2, byte 3: 0xE9 is not UTF-8"),
    "y.fa": (b">\xce\xb2\n\nACGU\n\xce\xb2G\xe9\n", "line 4, byte 4: 0xE9 is not UTF-8"),
    "x.dbn": (b">a\nAC\xe9\n...\n", "line 2, byte 3: 0xE9 is not UTF-8"),
    "z.dbn": (b">a\nACG\n..\xa0\n", "line 3, byte 3: 0xA0 is not UTF-8"),
    "x.ct": (b"1 a\n1 \xe9 0 2 0 1\n", "line 2, byte 3: 0xE9 is not UTF-8"),
    "x.bpseq": (b"1 A 0\n2 \xff 0\n", "line 2, byte 3: 0xFF is not UTF-8"),
    "x.st": (b"A\xe9\n..\n", "line 1, byte 2: 0xE9 is not UTF-8"),
    "x.csv": (b"id,sequence,dot_bracket\nB\xe4r,A,.\n", "line 2, byte 2: 0xE4 is not UTF-8"),
    "x.tsv": (b"id\tsequence\tdot_bracket\nB\xe4r\tA\t.\n", "line 2, byte 2: 0xE4 is not UTF-8"),
    "x.json": (
        b'{"name": "B\xe4r", "sequence": "A", "dot_bracket": "."}',
        "line 1, byte 12: 0xE4 is not UTF-8",
    ),
}


@pytest.mark.parametrize("name", LATIN1)
@pytest.mark.parametrize("packed", [False, True])
def test_other_bytes_are_an_error_with_line_and_byte(tmp_path: Path, name: str, packed: bool) -> None:
    content, message = LATIN1[name]
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=re.escape(f"{path}, {message}") + ".*save the file as UTF-8"):
        read_sequences(path) if name.endswith(".fa") else read_structures(path)


def test_files_that_were_joined_with_their_marks(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "x.fa").write_bytes(mark + FASTA + mark + FASTA)
    assert list(read_fasta(tmp_path / "x.fa")) == RECORDS * 2
    (tmp_path / "x.dbn").write_bytes((mark + b">a\nGAAAC\n(...)\n") * 2)
    assert [s.name for s in read_structures(tmp_path / "x.dbn")] == ["a", "a"]


def test_packed_twice(tmp_path: Path) -> None:
    (tmp_path / "x.fa.gz.bz2").write_bytes(bz2.compress(gzip.compress(FASTA)))
    with pytest.raises(ValueError, match=r"x\.fa\.gz\.bz2 is packed twice"):
        open_text(tmp_path / "x.fa.gz.bz2")


class _Frame:
    """A stand-in for the decompressor of compression.zstd, with its interface and a trivial packing."""

    def __init__(self) -> None:
        self.inner, self.eof, self.needs_input, self.unused_data = bytearray(), False, True, b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        self.inner += data
        end = 5 + self.inner[4] if len(self.inner) > 4 else 1 << 20
        self.eof, self.unused_data = len(self.inner) >= end, bytes(self.inner[end:])
        return bytes(self.inner[5:end]) if self.eof else b""


def test_zstd_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fa.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes([len(FASTA)]) + FASTA)
    module = types.ModuleType("compression.zstd")
    module.ZstdDecompressor, module.compress = (
        _Frame,
        lambda data: b"\x28\xb5\x2f\xfd" + bytes([len(data)]) + data,
    )
    monkeypatch.setattr(text_files, "_zstandard", lambda: None)
    with pytest.raises(ValueError, match=r"x\.fa\.zst is packed by zstd: .*pip install zstandard"):
        list(read_fasta(path))
    with pytest.raises(ImportError, match=r"\.zst needs zstandard: pip install zstandard"):
        pack(FASTA, ".zst")
    monkeypatch.setattr(text_files, "_zstandard", lambda: module)
    assert list(read_fasta(path)) == RECORDS
    assert pack(FASTA, ".zst") == path.read_bytes()


def test_zstd_for_real(tmp_path: Path) -> None:
    if text_files._zstandard() is None:
        pytest.skip("needs zstandard, or Python 3.14")
    path = tmp_path / "x.fa"
    packed = pack(FASTA, ".zst")
    path.write_bytes(packed + packed)
    assert list(read_fasta(path)) == RECORDS * 2
    path.write_bytes(packed[:-3])
    assert "the zstd file is" in records_and_error(path)[1]


@pytest.mark.parametrize("name", ["", "folder"])
def test_what_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder: expected a file"):
        open_text(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none"):
        open_text(tmp_path / "none")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "x.fa").write_bytes(FASTA)
    assert read_sequences("~/x.fa") == read_sequences(Path("~/x.fa")) == RECORDS
    write_structures([Structure("A", [], name="x")], "~/x.dbn")
    assert read_structures("~/x.dbn")[0].name == "x"


def test_text_of_a_table_is_whole_and_right(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeffid,β\r\n1,ä\r\n".encode())
    assert read_text(path) == "id,β\n1,ä\n"


def test_no_file_stays_open(tmp_path: Path) -> None:
    for name, content in (("x.fa", b"\x89PNG"), ("y.fa", gzip.compress(FASTA)), ("z.fa", FASTA)):
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for name in ("y.fa", "z.fa"):
            assert list(read_fasta(tmp_path / name)) == RECORDS
        with pytest.raises(ValueError):
            read_sequences(tmp_path / "x.fa")
    if Path("/proc/self/fd").is_dir():
        held = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists()]
        assert not [one for one in held if one.startswith(str(tmp_path))]
