"""Structures as programs write them; names and endings of every sort; tables and folders that are not right."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rinalmo_kit.rna.formats import FORMATS, format_structure
from rinalmo_kit.structure import Structure, read_structures, write_structures

HAIRPIN, FOLDED = "GGGGAAAACCCC", "((((....))))"
NINE, PAIRED = "GGGAAACCC", "(((...)))"
PARTNER = [9, 8, 7, 0, 0, 0, 3, 2, 1]
ROWS = "".join(f"{i} {NINE[i - 1]} {i - 1} {(i + 1) % 10} {j} {i}\n" for i, j in enumerate(PARTNER, 1))
PARTNERS = "".join(f"{i} {NINE[i - 1]} {j}\n" for i, j in enumerate(PARTNER, 1))
CRW = (
    "Filename: x\nOrganism: Thermus exemplaris\nAccession Number: X00000\n"
    "Citation and related information available at http://www.example.org\n"
)


def read(folder: Path, name: str, text: str) -> list[tuple[str, str, str]]:
    path = folder / name
    path.write_text(text)
    return [(s.name, s.sequence, s.dot_bracket) for s in read_structures(path)]


HEADERS = {
    "9 ENERGY = -3.2  x": "x",
    "9 ENERGY=-3.2 x": "x",
    "  9\tdG = -3,2\tx": "x",
    "9 dG = -1.2 [initially  -2.0] x y": "x y",
    "9 Energy = -1e-2 x": "x",
    "9 ENERGY = -3.2": "f",
    ">seq length: 9\t seq name: x_1": "x_1",
    ">seq length: 9 seq name: a b": "a b",
    "9": "f",
    "9 x": "x",
    "9 ENERGY": "ENERGY",
    "9 dG = kT": "dG = kT",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("before", ["", CRW, "# comment\n", "; comment\n\n"], ids=["", "crw", "#", ";"])
def test_headers_of_ct(tmp_path: Path, header: str, before: str) -> None:
    assert read(tmp_path, "f.ct", f"{before}{header}\n{ROWS}") == [(HEADERS[header], NINE, PAIRED)]
    two = read(tmp_path, "f.ct", f"{before}{header}\n{ROWS}" * 2)
    assert [one[1:] for one in two] == [(NINE, PAIRED)] * 2


@pytest.mark.parametrize("before", ["", CRW, "# comment\n", "; comment\n\n"], ids=["", "crw", "#", ";"])
@pytest.mark.parametrize("unpaired", ["0", "-1"])
def test_headers_of_bpseq(tmp_path: Path, before: str, unpaired: str) -> None:
    rows = PARTNERS.replace("A 0", f"A {unpaired}")
    assert read(tmp_path, "f.bpseq", before + rows) == [("f", NINE, PAIRED)]


@pytest.mark.parametrize("length", [7, 8])
def test_a_header_that_is_too_short(tmp_path: Path, length: int) -> None:
    for before in ("", "# comment\n"):
        start = 1 + before.count("\n")
        with pytest.raises(
            ValueError, match=rf"f\.ct, .*line {start} says {length} nucleotides, but there are 9 rows"
        ):
            read(tmp_path, "f.ct", f"{before}{length} x\n{ROWS}")
    with pytest.raises(ValueError, match=r"line 1, record 'x': expected 10 rows, found 9"):
        read(tmp_path, "f.ct", f"10 x\n{ROWS}")


def test_a_name_of_five_numbers_after_a_shorter_record(tmp_path: Path) -> None:
    """``8 A 7 9 0 8`` may be the header of 8 rows or the 8th row of 7."""
    several = [Structure("GAAAAAC", [(0, 6)], name="x"), Structure("GAAAAAAC", [(0, 7)], name="A 7 9 0 8")]
    found = read_structures(write_structures(several, tmp_path / "x.ct"))
    assert found == several
    assert found[1].name == "A 7 9 0 8"


ENERGIES = [
    "",
    " (-3.20)",
    " ( -3.20)",
    "  (  0.00)",
    " (-3,20)",
    "\t-3.20",
    " [-3.2e-1]",
    " {-3.2 d=0.7}",
    " -3",
    " (.5)",
    " (-.5)",
    " ( - 3.2 )",
    "(-3.20)",
    " (-3.20 = -2.10 + -1.10)",
    " (3) some 5 words",
    " " * 2000 + "(-3.2)",
    "   ",
]


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("structure", [FOLDED, "((((", "." * 12, "(((( .... ))))", "((((--..))))"])
def test_energies_behind_a_structure(tmp_path: Path, energy: str, structure: str) -> None:
    if structure == "((((":
        with pytest.raises(ValueError, match=r"line 3, record 'a': expected a structure of 12 symbols"):
            read(tmp_path, "x.dbn", f">a\n{HAIRPIN}\n(((({energy}\n")
        return
    [(name, sequence, brackets)] = read(tmp_path, "x.dbn", f">a\n{HAIRPIN}\n{structure}{energy}\n")
    assert (name, sequence) == ("a", HAIRPIN)
    assert brackets == structure.replace(" ", "").replace("-", ".")


@pytest.mark.parametrize(
    "filler", [" ", "\t", "(", "-", ".", "1", "( ", "- ", " \u00a0", "#", "=", "[initially "]
)
@pytest.mark.parametrize("name", ["x.dbn", "x.ct", "x.bpseq", "x.st", "x.csv", "x.json"])
def test_time_is_linear(tmp_path: Path, name: str, filler: str) -> None:
    """A cubic expression takes hours for these."""
    many = filler * 50_000
    for text in (
        f">a\n{HAIRPIN}\n{FOLDED}{many}x\n",
        f"9 ENERGY = {many}\n",
        f"9 ENERGY{many}= -1 [initially{many}\n",
        f"#{many}name:{many}\n1 A{many} 0\n",
        f"{many}\n",
        f'{{"name": "{many}", "sequence": "A"\n',
    ):
        start = time.perf_counter()
        path = tmp_path / name
        path.write_text(text)
        try:
            read_structures(path)
        except ValueError as error:
            assert len(str(error)) < 1000 or name in ("x.csv", "x.json", "x.bpseq", "x.ct")
        assert time.perf_counter() - start < 5


ENSEMBLE = (
    "((((..,.)))) [ -3.41]\n((((....)))) { -3.20 d=0.70}\n((((....)))) { -3.20 MEA=11.2}\n"
    " frequency of mfe structure in ensemble 0.71; ensemble diversity 1.02\n"
)
RECORDS = {
    "RNAfold -p": (f">a\n{HAIRPIN}\n{FOLDED} ( -3.20)\n{ENSEMBLE}", [("a", FOLDED)]),
    "RNAfold -p without names": (f"{HAIRPIN}\n{FOLDED} ( -3.20)\n{ENSEMBLE}", [("x", FOLDED)]),
    "RNAsubopt": (
        f">a [100]\n{HAIRPIN}   -320    100\n{FOLDED}  -3.20\n.(((....))).  -1.20\n",
        [("a [100]", FOLDED), ("a [100]", ".(((....))).")],
    ),
    "several": (f">a\n{HAIRPIN}\n{FOLDED}\n{'.' * 12}\n", [("a", FOLDED), ("a", "." * 12)]),
    "several without names": (f"{HAIRPIN}\n{FOLDED}\n{'.' * 12}\n", [("x", FOLDED), ("x", "." * 12)]),
    "CONTRAfold": (f">a\n{HAIRPIN}\n>structure\n{FOLDED}\n", [("a", FOLDED)]),
    "a name of CONTRAfold's": (f">structure\n{HAIRPIN}\n{FOLDED}\n", [("structure", FOLDED)]),
}


@pytest.mark.parametrize("program", RECORDS)
@pytest.mark.parametrize("times", [1, 2])
def test_records_of_programs(tmp_path: Path, program: str, times: int) -> None:
    text, expected = RECORDS[program]
    found = read(tmp_path, "x.dbn", text * times)
    assert [(name.removesuffix(" 2"), brackets) for name, _, brackets in found] == expected * times
    assert {sequence for _, sequence, _ in found} == {HAIRPIN}


@pytest.mark.parametrize("strand", "&+")
@pytest.mark.parametrize("name", ["x.dbn", "x.fa", "x.st"])
def test_two_strands_are_rejected(tmp_path: Path, strand: str, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name}, line 2, record 'a' has two strands, joined by '\{strand}' at position 5"
    ):
        read(tmp_path, name, f">a\nGG GG{strand}CCCC\n(((({strand})))) (-3.2)\n")


ST = f'#Name: a\n#Length: 12\n{HAIRPIN}\n{FOLDED}\nSSSSHHHHSSSS\nNNNNNNNNNNNN\nS1 1..4 "GGGG" 9..12 "CCCC"\n'


def test_annotation_of_st(tmp_path: Path) -> None:
    assert read(tmp_path, "x.st", ST) == [("a", HAIRPIN, FOLDED)]
    assert read(tmp_path, "x.st", ST + ST.replace("Name: a", "Name: b")) == [
        ("a", HAIRPIN, FOLDED),
        ("b", HAIRPIN, FOLDED),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "GAUUACA\nGAUUACA\n",
        f"{HAIRPIN}\n",
        "some words\nabout it\n",
        f"{HAIRPIN}\n{FOLDED}\n{FOLDED}\n",
        "data_\nloop_\n",
        f"{HAIRPIN}\n{FOLDED}\n12 34\n",
        f"{HAIRPIN}\n{FOLDED}\n>b\n{HAIRPIN}\n",
        "A--C\nA--C\n",
        f"{FOLDED}\n{HAIRPIN}\n",
        "\n",
    ],
)
def test_st_that_is_no_structure(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"x\.st, "):
        read(tmp_path, "x.st", text)


NAMES = [
    "ENERGY = -1",
    "energy=-1 x",
    "dG = 3 x",
    "dG = -1.2 [initially -2.0] x",
    "ENERGY",
    "#x",
    "# Name: y",
    "#Name: y",
    ">x",
    ">",
    ";x",
    "&",
    "12",
    "7 6 5",
    "1 A 0 2 0 1",
    "10 G 9 0 1 10",
    "0",
    "-1",
    "Name: x",
    "structure",
    ">structure",
    "Filename: x",
    "seq length: 3 seq name: y",
    "frequency of mfe structure",
    "((..))",
    "GAUUACA",
    "ACGU 5",
    "a,b",
    'a"b"',
    '"',
    "'",
    "a\tb",
    "\\n",
    "NA",
    "None",
    "nan",
    "TRUE",
    "00001",
    "1.10",
    "1e5",
    "null",
    "{}",
    "[]",
    "=1+1",
    "@x",
    "# STOCKHOLM 1.0",
    "CLUSTAL",
    "β-globin",
    "名前",
    "🧬",
    "e\u0301",
    "\ufeffx",
    "x\u2028y",
    "\u200b",
    "a\0b",
    "a\ud800b",
    "",
    " ",
    "x" * 3000,
    "CON",
    "../x",
    "a/b",
    "--",
    "...",
]


@pytest.mark.parametrize("ending", FORMATS)
def test_names_survive_every_format(tmp_path: Path, ending: str) -> None:
    length = 10
    for name in NAMES:
        one = Structure("GGGAAAACCC", [(0, 9), (1, 8)], name=name)
        several = (
            [one, Structure("GAAAAC" + "A" * (length - 5), [(0, 5)], name=name)]
            if FORMATS[ending].several
            else [one]
        )
        found = read_structures(write_structures(several, tmp_path / f"x{ending}"))
        assert found == several, name
        shown = " ".join(name.split()).replace("\0", "\ufffd").replace("\ud800", "\ufffd")
        assert [s.name for s in found] == ([shown] * len(several) if shown else ["x", "x 2"][: len(several)])


@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != ".parquet"])
@pytest.mark.parametrize(("packed", "unpack"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma), (".GZ", gzip)])
def test_packed_endings_are_written_packed(tmp_path: Path, ending: str, packed: str, unpack) -> None:
    one = Structure(HAIRPIN, [(0, 11)], name="a")
    plain = write_structures([one], tmp_path / f"x{ending}").read_bytes()
    for name in (f"x{ending}{packed}", f"X{ending.upper()}{packed}"):
        path = write_structures([one], tmp_path / name)
        assert unpack.decompress(path.read_bytes()) == plain
        assert read_structures(path) == [one]


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz", ".zst", ".GZ"])
def test_parquet_is_not_packed_again(tmp_path: Path, packed: str) -> None:
    with pytest.raises(ValueError, match="unknown ending"):
        write_structures([Structure("A", [])], tmp_path / f"x.parquet{packed}")
    assert not list(tmp_path.iterdir())


def test_json_is_what_the_command_writes(tmp_path: Path) -> None:
    p = np.zeros((5, 5))
    p[0, 4] = p[4, 0] = 0.98765
    one = Structure("GAAAC", [(0, 4)], name="é", probabilities=p, confidence=0.75)
    text = format_structure(one, "json")
    assert text == (
        '{"name": "é", "sequence": "GAAAC", "dot_bracket": "(...)", "confidence": 0.75, "pairs": [[1, 5, 0.9877]]}\n'
    )
    for shape in (text, text * 2, "[" + text + "," + text + "]", json.dumps(json.loads(text), indent=2)):
        (tmp_path / "x.json").write_text(shape, encoding="utf-8")
        found = read_structures(tmp_path / "x.json")
        assert all(s == one and s.name == "é" and s.confidence == 0.75 for s in found)
    assert format_structure(Structure("GAAAC", [(0, 4)]), "jsonl").endswith('"pairs": [[1, 5]]}\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a structure, found none"),
        ("[]", "expected a structure, found none"),
        ("5", "line 1, expected an object"),
        ('{"sequence": "GAC"}', "line 1, record 'x': expected a dot_bracket or pairs"),
        ('{"sequence": 5, "dot_bracket": "."}', "line 1, record 'x': expected a sequence, found 5"),
        ('{"name": "a", "sequence": "GAC", "pairs": [[1]]}', "record 'a': expected a pair"),
        ('{"name": "a", "sequence": "GAC", "pairs": [[1, 9]]}', "'a': pair 1-9 lies outside"),
        ('{"name": "a", "sequence": "GAC", "pairs": [[1.0, 3]]}', "record 'a': expected a pair"),
        ('{"sequence": "GAC", "dot_bracket": "...", "pairs": [[1, 3]]}', "are different structures"),
        ('{"sequence": "A", "dot_bracket": ".", "confidence": NaN}', "expected a confidence"),
        ('{"sequence": "A", "dot_bracket": "."}\n\n{"sequence": "A"', "line 3: not JSON"),
        ("[" * 100_000, "line 1: too deeply nested"),
        ('{"sequence": "A", "dot_bracket": ".", "confidence": ' + "9" * 5000 + "}", "x.json, "),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"x\.json, ") as caught:
        read(tmp_path, "x.json", text)
    assert message in str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_names_in_tables_stay_text(tmp_path: Path, ending: str) -> None:
    names = ["00001", "007", "1.10", "1e5", "NA", "None", "nan", "TRUE", "null", "-", "1_000"]
    table = pd.DataFrame({"id": names, "sequence": "GAC", "dot_bracket": "(.)"})
    path = tmp_path / f"X{ending.upper()}"
    table.to_parquet(path) if ending == ".parquet" else table.to_csv(
        path, index=False, sep=",\t"[ending == ".tsv"]
    )
    assert [s.name for s in read_structures(path)] == names


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 50, b"PAR1", b"\x89PNG\r\n", "id\n1\n".encode("utf-16"), b'id,"sequence\n']
)
def test_tables_that_cannot_be_read_are_named(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_structures(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 4, 100, -1, -8, -50])
def test_a_cut_parquet_table_is_named(tmp_path: Path, cut: int) -> None:
    path = write_structures([Structure("GAC", [(0, 2)], name="a")], tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"x\.parquet, not a Parquet table that can be read"):
        read_structures(path)


@pytest.mark.parametrize("bad", ["x.ct", "x.dbn.gz", "x.csv", "x.parquet", "x.json", "x.fa", "x.bpseq"])
def test_a_folder_with_one_bad_file(tmp_path: Path, bad: str) -> None:
    good = [Structure("GAC", [(0, 2)], name=f"n{k}") for k in range(2)]
    write_structures(good[:1], tmp_path / "a.ct")
    write_structures(good[1:], tmp_path / "z.dbn")
    (tmp_path / bad).write_bytes(b"\x1f\x8b\x08\0")
    with pytest.warns(UserWarning, match=f"left out: .*{bad}") as notices:
        assert read_structures(tmp_path) == good
    assert len(notices) == 1


def test_one_structure_may_be_written_by_itself(tmp_path: Path) -> None:
    one = Structure("GAC", [(0, 2)], name="a")
    assert read_structures(write_structures(one, tmp_path / "x.dbn")) == [one]
