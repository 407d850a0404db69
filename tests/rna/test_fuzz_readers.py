"""Mutated files for every reader: a right answer or an error that names the file, and never a long wait.

``FUZZ_INPUTS=20000`` raises the number of inputs.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import time
import warnings
from pathlib import Path

import pytest

from rinalmo_kit.rna.alphabet import clean
from rinalmo_kit.rna.formats import FORMATS
from rinalmo_kit.rna.sequences import read_fasta, read_sequences
from rinalmo_kit.rna.structure_text import title
from rinalmo_kit.structure import Structure, read_structures, write_structures

INPUTS = int(os.environ.get("FUZZ_INPUTS", "2000"))
SECONDS = 3.0  # for one small input, on a busy machine
PACK = (gzip.compress, bz2.compress, lzma.compress)

HAIRPIN = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
KNOT = Structure("GGGCCCAAAGGGUUU", [(0, 11), (1, 10), (3, 14), (4, 13)], name="ENERGY = -1")
OTHERS = {
    ".dbn": [
        ">a\nGGGGAAAACCCC\n((((....)))) ( -3.20)\n((((..,.)))) [ -3.41]\n((((....)))) { -3.20 d=0.70}\n"
        " frequency of mfe structure in ensemble 0.71; ensemble diversity 1.02\n>b\nGAAAC\n(...) (-3,20)\n",
        ">a\nGGGGAAAACCCC\n>structure\n((((....))))\n",
        ">a\nGAAAC\n(...)\n.....\n; comment\n#Name: b\nGGG AAAC CC\n((. ..)) .\n",
        ">dup\nGGGG&CCCC\n((((&)))) (-3.2)\n",
    ],
    ".st": ['#Name: x\n#Length: 5\nGAAAC\n(...)\nSHHHS\nNNNNN\nS1 1..1 "G" 5..5 "C"\n'],
    ".ct": [
        "Filename: x.ct\nOrganism: Thermus exemplaris\n5 ENERGY = -3.2  x\n1 G 0 2 5 1\n2 A 1 3 0 2\n3 A 2 4 0 3\n"
        "4 A 3 5 0 4\n5 C 4 0 1 5\n",
        ">seq length: 2\t seq name: x\n1\tG\t0\t2\t0\t1\n2\tG\t1\t3\t0\t2\n",
    ],
    ".bpseq": ["Filename: x\n# comment\n1 G 3\n2 A -1\n3 C 1\n"],
    ".csv": ["id,sequence,dot_bracket\n007,GAAAC,(...)\n,GAC,...\n"],
    ".json": [
        '[{"id": 1, "sequence": "GAC", "pairs": [[1, 3, 0.5]]},\n {"sequence": "A", "dot_bracket": "."}]'
    ],
}


def seeds(folder: Path, ending: str) -> list[bytes]:
    several = [HAIRPIN, KNOT] if FORMATS[ending].several else [KNOT]
    written = write_structures(several, folder / f"seed{ending}").read_bytes()
    return [written, *(text.encode() for text in OTHERS.get(ending, []))]


def mutated(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """Change a few bytes, lines or the encoding; or join two files."""
    data = bytearray(content)
    for _ in range(random_.choice((0, 1, 1, 2, 5))):
        place = random_.randrange(len(data) + 1)
        how = random_.randrange(8)
        if how == 0 and place < len(data):
            data[place] ^= 1 << random_.randrange(8)
        elif how == 1:
            data[place : place + random_.choice((1, 1, 2, 20))] = b""
        elif how == 2:
            data[place:place] = random_.choice(
                (
                    b" ",
                    b"\n",
                    b"\r",
                    b"\0",
                    b"\xff",
                    b"\xef\xbb\xbf",
                    b"&",
                    b">",
                    b"#",
                    b"\t",
                    b"9",
                    b"-1 ",
                    b"(",
                )
            ) * random_.choice((1, 1, 2, 300))
        elif how == 3:
            data[place:place] = random_.randbytes(3)
        elif how == 4:
            lines = data.split(b"\n")
            random_.shuffle(lines)
            data = bytearray(b"\n".join(lines))
        elif how == 5:
            data = data[:place]
        elif how == 6:
            data[place:place] = other
        else:
            data = bytearray(data.replace(b"\n", random_.choice((b"\r", b"\r\n", b"\n\n"))))
    if random_.random() < 0.03:
        return (
            bytes(data).decode("utf-8", "replace").encode(random_.choice(("utf-16", "utf-16-le", "utf-32")))
        )
    return bytes(data)


def answer(read, path: Path) -> list | None:
    """What a reader gives; None for an error that is as it should be."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(read(path))
    except ValueError as error:
        assert str(path) in str(error), f"{error!r} does not name the file"
        return None
    finally:
        assert time.perf_counter() - start < SECONDS, path.read_bytes()


@pytest.mark.parametrize("ending", FORMATS)
def test_mutated_structures(tmp_path: Path, ending: str) -> None:
    random_ = random.Random(f"structures {ending}")
    given = seeds(tmp_path, ending)
    all_of_them = [one for other in (".dbn", ".ct", ".bpseq", ".csv") for one in seeds(tmp_path, other)]
    share = 4 if ending == ".parquet" else 1  # a third of a millisecond against some
    path, again = tmp_path / f"x{ending}", tmp_path / f"again{ending}"
    found = 0
    for _ in range(max(20, INPUTS // (2 * len(FORMATS) * share))):
        text = content = mutated(random_, random_.choice(given), random_.choice(all_of_them))
        if ending != ".parquet" and random_.random() < 0.2:
            content = mutated(random_, random_.choice(PACK)(content), b"")
        path.write_bytes(content)
        structures = answer(read_structures, path)
        if not structures:
            assert structures is None, content
            continue
        found += 1
        assert all(map(len, structures)), content
        for one in structures if FORMATS[ending].several else structures[:1]:
            [back] = read_structures(write_structures([one], again))
            assert back == one, content
            assert back.name == (title(one.name) or "again"), content
        if ending in (".dbn", ".fa", ".st"):
            letters = "".join(text.decode("utf-8", "replace").replace("\ufeff", "").split())
            letters = letters.upper().replace("T", "U")
            assert all(one.sequence in letters for one in structures), content
    assert found > 3


@pytest.mark.parametrize("how", ["file", "text", "stream"])
def test_mutated_fasta(tmp_path: Path, how: str) -> None:
    random_ = random.Random(f"fasta {how}")
    given = [b">a first\nACGU\nGG\n>b\nGAUUACA\n\n>\nNN\n", b"# by a program\n>a\nAC-GU\n;x\nA\n", b"ACGU\n"]
    path = tmp_path / "x.fa"
    found = 0
    for _ in range(max(50, INPUTS // 6)):
        content = mutated(random_, random_.choice(given), random_.choice(given))
        if random_.random() < 0.3:
            content = mutated(random_, random_.choice(PACK)(content), b"")
        path.write_bytes(content)
        if how == "file":
            records = answer(read_fasta, path)
        elif how == "text":
            records = read_text_of(content)
        else:
            records = read_stream_of(content)
        for name, sequence in records or []:
            found += 1
            assert name and isinstance(name, str), content
            try:
                clean(sequence, name=name)
            except ValueError as error:
                assert name in str(error) or repr(name) in str(error)
    assert found > 20


def read_text_of(content: bytes) -> list | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_sequences(content.decode("utf-8", "surrogateescape"))
    except (ValueError, FileNotFoundError):
        return None


def read_stream_of(content: bytes) -> list | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_sequences(io.BytesIO(content))
    except ValueError:
        return None


@pytest.mark.parametrize("pack", PACK, ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("ending", [".st", ".bpseq", ".dbn", ".json", ".csv"])
def test_a_flipped_bit_of_a_packed_file_is_noticed(tmp_path: Path, pack, ending: str) -> None:
    """Or it changes nothing, as the time in a header of gzip does."""
    content = pack(write_structures([KNOT], tmp_path / f"x{ending}").read_bytes())
    path = tmp_path / f"y{ending}"
    random_ = random.Random(ending)
    places = random_.sample(range(8 * len(content)), min(8 * len(content), max(60, INPUTS // 20)))
    noticed = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        structures = answer(read_structures, path)
        noticed += structures is None
        assert structures is None or (structures == [KNOT] and structures[0].name == KNOT.name), place
    assert noticed > len(places) / 2
