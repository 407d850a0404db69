"""Reading and writing of structure files."""

from __future__ import annotations

import gzip
import os
import re
import stat
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinalmo_kit.rna.formats import FORMATS, format_structure
from rinalmo_kit.structure import Structure, read_structures, write_structures

SINGLE = [".st", ".bpseq"]
SEVERAL = [ending for ending in FORMATS if ending not in SINGLE]
TEXT = [ending for ending in FORMATS if ending != ".parquet"]
HAIRPIN = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
KNOT = Structure("GGGCCCAAAGGGUUU", [(0, 11), (1, 10), (3, 14), (4, 13), (6, 12)], name="knot")
# every pair crosses all others: one bracket level each, letters among them
LETTERS = Structure("N" * 24, [(i, i + 12) for i in range(12)], name="all levels")


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Structures with crossing pairs and names of all sorts."""
    sequence = draw(st.text("ACGUNRY-", min_size=1, max_size=25))
    order = draw(st.permutations(range(len(sequence))))
    pairs = [(order[2 * k], order[2 * k + 1]) for k in range(draw(st.integers(0, len(sequence) // 2)))]
    name = draw(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=12))
    return Structure(sequence, pairs, name=name)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def error_of(folder: Path, name: str, text: str) -> str:
    """Read a file that must be rejected; return the message, which begins with the path, without it."""
    path = write(folder, name, text)
    with pytest.raises(ValueError) as caught:
        read_structures(path)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    return message.removeprefix(str(path)).lstrip(",: ")


def same(got: list[Structure], expected: list[Structure], stem: str) -> None:
    """Equal in order, content and names; a file calls nameless structures after itself."""
    assert got == expected
    for number, (one, other) in enumerate(zip(got, expected, strict=True), 1):
        assert one.name == (" ".join(other.name.split()) or (stem if number == 1 else f"{stem} {number}"))


# --- round trips


@pytest.mark.parametrize("ending", [*FORMATS, *(f"{ending}.gz" for ending in TEXT)])
def test_round_trip_of_every_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    for structure in (HAIRPIN, KNOT, LETTERS, Structure("A", [], name="one")):
        assert write_structures([structure], path) == path
        same(read_structures(str(path)), [structure], "x")
        assert path.read_bytes().startswith(b"\x1f\x8b") == ending.endswith(".gz")
    if ending.removesuffix(".gz") in SEVERAL:
        several = [HAIRPIN, KNOT, LETTERS, HAIRPIN]
        same(read_structures(write_structures(iter(several), path)), several, "x")


@pytest.mark.parametrize("ending", [".dbn", ".st", ".ct", ".bpseq", ".csv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(several=st.lists(structures(), min_size=1, max_size=3))
def test_round_trip_of_any_structures(tmp_path: Path, ending: str, several: list[Structure]) -> None:
    several = several[:1] if ending in SINGLE else several
    same(read_structures(write_structures(several, tmp_path / f"x{ending}")), several, "x")


@pytest.mark.parametrize("ending", TEXT)
def test_a_name_cannot_break_a_file(tmp_path: Path, ending: str) -> None:
    evil = Structure("GAAAC", [(0, 4)], name='\t>a\nb\r\n#c\u2028\x0b 5 A 4 6 0 5, "x\n')
    got = read_structures(write_structures([evil], tmp_path / f"x{ending}"))
    same(got, [evil], "x")
    assert got[0].name.startswith(">a b #c 5 A 4 6 0 5")


@pytest.mark.parametrize("text", ["7 6 5", "A 7", "1 A 0 2 0 1", "tRNA 7", "9"])
def test_a_name_of_numbers_is_no_row_of_a_ct_file(tmp_path: Path, text: str) -> None:
    several = [Structure("GAAAAAC", [(0, 6)], name=text), Structure("GAAAAAAC", [(0, 7)], name=text)]
    same(read_structures(write_structures(several, tmp_path / "x.ct")), several, "x")


def test_tables_of_the_experiments_round_trip(data: Path, tmp_path: Path) -> None:
    """Real structures with pseudoknots and IUPAC codes, through every format for several."""
    frame = pd.read_parquet(data / "ss_bprna" / "bprna_tr0_vl0_ts0.parquet")
    knots = frame[frame["dot_bracket"].str.contains("{", regex=False)].head(20)
    frame = pd.concat((frame.iloc[::100], knots))
    frame.to_parquet(tmp_path / "bprna.parquet")
    some = read_structures(tmp_path / "bprna.parquet")
    for structure, row in zip(some, frame.itertuples(), strict=True):
        assert (structure.name, structure.sequence) == (row.id, row.sequence)
        assert 2 * len(structure.pairs) == len(structure) - row.dot_bracket.count(".")
    for ending in (".dbn", ".ct", ".csv", ".parquet"):
        same(read_structures(write_structures(some, tmp_path / f"x{ending}")), some, "x")
    for structure in some[:5]:
        same(read_structures(write_structures([structure], tmp_path / "x.bpseq")), [structure], "x")


# --- what is written


def test_text_of_each_format() -> None:
    s = Structure("GGAACC", [(0, 5), (1, 4)], name="my\tRNA")
    assert format_structure(s, "dbn") == format_structure(s, ".fasta") == ">my RNA\nGGAACC\n((..))\n"
    assert format_structure(s, "st") == "#Name: my RNA\nGGAACC\n((..))\n"
    assert format_structure(s, "ct") == (
        "6\tmy RNA\n1\tG\t0\t2\t6\t1\n2\tG\t1\t3\t5\t2\n3\tA\t2\t4\t0\t3\n"
        "4\tA\t3\t5\t0\t4\n5\tC\t4\t6\t2\t5\n6\tC\t5\t0\t1\t6\n"
    )
    assert format_structure(s, "bpseq") == "#Name: my RNA\n1 G 6\n2 G 5\n3 A 0\n4 A 0\n5 C 2\n6 C 1\n"
    for format in ("csv", "parquet"):
        with pytest.raises(ValueError, match=f"format '{format}' is a table; use write_structures"):
            format_structure(s, format)
    with pytest.raises(ValueError, match=r"unknown ending '.pdb'; known are \.dbn, \.db"):
        format_structure(s, "pdb")


def test_tables_have_three_columns(tmp_path: Path) -> None:
    expected = [["hairpin", "GGGAAAACCC", "(((....)))"], ["knot", KNOT.sequence, KNOT.dot_bracket]]
    for path, read in ((tmp_path / "x.csv", pd.read_csv), (tmp_path / "x.parquet", pd.read_parquet)):
        table = read(write_structures([HAIRPIN, KNOT], path))
        assert list(table) == ["name", "sequence", "dot_bracket"]
        assert table.to_numpy().tolist() == expected


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for ending in SINGLE:
        with pytest.raises(ValueError, match=rf"{ending} holds one structure, not 2; use \.dbn or \.ct"):
            write_structures([HAIRPIN, KNOT], tmp_path / f"x{ending}")
    for several in ([], [HAIRPIN, Structure("", [])]):
        with pytest.raises(ValueError, match="no structures to write, or one without nucleotides"):
            write_structures(several, tmp_path / "x.dbn")
    for name in ("x.pdb", "x", "x.gz", "x.parquet.gz", "dbn"):
        with pytest.raises(ValueError, match=rf"{name}: unknown ending '.*'; known are .*\.bpseq.*\.parquet"):
            write_structures([HAIRPIN], tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_structures([HAIRPIN], tmp_path / "nowhere" / "x.dbn")
    assert list(tmp_path.iterdir()) == []


# --- whole or not at all


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_structures([HAIRPIN], tmp_path / f"x{ending}")
    before = path.read_bytes()
    really_write = Path.write_bytes

    def full_disk(self: Path, content: bytes) -> int:
        really_write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_structures([KNOT], path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_move_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "x.dbn").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match=r"x\.dbn"):
        write_structures([HAIRPIN], tmp_path / "x.dbn")
    assert [p.name for p in tmp_path.iterdir()] == ["x.dbn"]


def test_a_broken_structure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_structures([HAIRPIN], tmp_path / "x.dbn")
    too_deep = Structure("N" * 62, [(i, i + 31) for i in range(31)], name="deep")
    with pytest.raises(ValueError, match=r"'deep': pair .* needs more than 30 bracket levels"):
        write_structures([KNOT, too_deep], path)
    same(read_structures(path), [HAIRPIN], "x")
    assert list(tmp_path.iterdir()) == [path]
    same(read_structures(write_structures([too_deep], tmp_path / "x.ct")), [too_deep], "x")


def test_the_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "x.ct", []
    really_write = Path.write_bytes

    def spy(self: Path, content: bytes) -> int:
        seen.append((self.parent, self.suffix, path.exists()))
        return really_write(self, content)

    monkeypatch.setattr(Path, "write_bytes", spy)
    write_structures([HAIRPIN], path)
    assert seen == [(tmp_path, ".tmp", False)]  # same folder: the move cannot cross a file system


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_the_file_has_ordinary_permissions(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        path = write_structures([HAIRPIN], tmp_path / "x.dbn")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# --- what is read


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", TEXT)
def test_files_of_any_system(tmp_path: Path, ending: str, mark: str, newline: str) -> None:
    several = [HAIRPIN] if ending in SINGLE else [HAIRPIN, KNOT]
    text = write_structures(several, tmp_path / f"x{ending}").read_text()
    blank = "" if ending == ".csv" else "\n\n"
    text = mark + blank + text.replace("\n", newline + blank) + " " * (ending != ".csv")
    same(read_structures(write(tmp_path, f"y{ending}", text)), several, "y")
    (tmp_path / f"z{ending}.gz").write_bytes(gzip.compress(text.encode()))
    same(read_structures(tmp_path / f"z{ending}.gz"), several, "z")


def test_the_ending_may_be_in_upper_case(tmp_path: Path) -> None:
    assert read_structures(write(tmp_path, "X.DBN", "GAAAC\n(...)\n"))[0].name == "X"
    assert read_structures(write(tmp_path, "a.b.Ct", "1\n1 A 0 2 0 1"))[0].name == "a.b"


def test_rnafold_output(tmp_path: Path) -> None:
    text = (
        ">first of all\nGGGAAAACCC\n(((....))) ( -1.20)\nGAAAC\n(...) (3)\n>b\nGAAAC\n..... (  0.00)\n"
        "gattaca\n(.....) [-12.5e-1]\n"
    )
    got = read_structures(write(tmp_path, "out.db", text))
    assert [s.name for s in got] == ["first of all", "out 2", "b", "out 4"]
    assert [s.dot_bracket for s in got] == ["(((....)))", "(...)", ".....", "(.....)"]
    assert got[3].sequence == "GAUUACA"


def test_blocks_of_ten(tmp_path: Path) -> None:
    text = ">a\nGGG AAA\tACC C\n((( ... .)) ) (-1.0)\n"
    assert read_structures(write(tmp_path, "x.fa", text)) == [HAIRPIN]


def test_all_bracket_levels_are_read(tmp_path: Path) -> None:
    text = ">x\n" + "N" * 15 + "\n([{<AZ.)]}>az.,\n"
    pairs = read_structures(write(tmp_path, "x.dbn", text))[0].pairs
    assert pairs.tolist() == [[i, i + 7] for i in range(6)]


def test_unpaired_symbols_that_are_also_gaps(tmp_path: Path) -> None:
    got = read_structures(write(tmp_path, "x.dbn", ">a\nA--C\n----\n>b\nGAAAC\n(-_:)\n"))
    assert [s.pairs.tolist() for s in got] == [[], [[0, 4]]]
    assert got[0].sequence == "A--C"


BPRNA_ST = """#Name: bpRNA_RFAM_1
#Length:  10
#PageNumber: 1
GGGAAAACCC
(((....)))
SSSHHHHSSS
NNNNNNNNNN
S1 1..3 "GGG" 8..10 "CCC"
H1 4..7 "AAAA" (3,8) G:C
segment1 3bp 1..3 GGG 8..10 CCC
"""


def test_bprna_files(tmp_path: Path) -> None:
    for name, text, expected in (
        ("x.st", BPRNA_ST, "bpRNA_RFAM_1"),
        ("x.ST", BPRNA_ST.replace("G", "g"), "bpRNA_RFAM_1"),
        ("y.st", "gggaaaaccc\n(((....)))\nSSS\n", "y"),
    ):
        got = read_structures(write(tmp_path, name, text))
        assert got == [HAIRPIN]
        assert got[0].name == expected
    dbn = "".join(f"#Name: r{k}\n#Length: 5\n#PageNumber: 1\nGAAAC\n(...)\n" for k in range(2))
    assert [s.name for s in read_structures(write(tmp_path, "x.dbn", dbn))] == ["r0", "r1"]
    ct = "#Name: bpRNA_X\n#Length: 2\n2\n1 G 0 2 0 1\n2 C 1 3 0 2\n"
    assert read_structures(write(tmp_path, "x.ct", ct))[0].name == "bpRNA_X"
    assert read_structures(write(tmp_path, "x.bpseq", "#Name: bpRNA_Y\n1 G 0\n"))[0].name == "bpRNA_Y"


CT_WILD = """# from the wild
    7 dG =    -1.2 [initially   -2.0] tRNA of yeast
    1 g     0     2     7     1     0     2
    2 T     1     3     0     2     1     3
    3 N     2     4     0     3
    # a comment between rows
    4 A     3     5     0
    5 A     4     6     0     5
    6 A     5     7     0     6
    7 c     6     0     1     7
  2  ENERGY = -0.3  second
1 A 0 2 0 1
2 C 1 3 0 2
3
1 A 0 2 0 1
2 C 1 3 0 2
3 C 2 4 0 3
"""


def test_ct_files_of_other_programs(tmp_path: Path) -> None:
    """Headers of mfold and RNAstructure; 5, 6 and 8 columns; T, N and lower case; several structures."""
    got = read_structures(write(tmp_path, "x.ct", CT_WILD))
    assert [s.name for s in got] == ["tRNA of yeast", "second", "x 3"]
    assert [s.sequence for s in got] == ["GUNAAAC", "AC", "ACC"]
    assert [s.pairs.tolist() for s in got] == [[[0, 6]], [], []]


def test_bpseq_with_comments(tmp_path: Path) -> None:
    got = read_structures(write(tmp_path, "x.bpseq", "# file\n1 g 3\n#\n2\tT\t0\n3   C  1\n"))
    assert got == [Structure("GUC", [(0, 2)])]
    assert got[0].name == "x"


def test_tables_of_others(tmp_path: Path) -> None:
    text = 'id,family,sequence,dot_bracket\nNA,x,gat,(.)\n,y,NAN,"..."\n'
    got = read_structures(write(tmp_path, "x.csv", text))
    assert [(s.name, s.sequence, s.dot_bracket) for s in got] == [("NA", "GAU", "(.)"), ("x 2", "NAN", "...")]
    table = pd.DataFrame({"sequence": ["GAAAC"], "dot_bracket": ["(...)"]})
    table.to_parquet(tmp_path / "y.parquet")
    assert read_structures(tmp_path / "y.parquet")[0].name == "y"
    table.assign(id=[7], name=[None]).to_parquet(tmp_path / "y.parquet")
    assert read_structures(tmp_path / "y.parquet")[0].name == "y"
    table.assign(id=[7]).to_parquet(tmp_path / "y.parquet")
    assert read_structures(tmp_path / "y.parquet")[0].name == "7"


def test_folders(tmp_path: Path) -> None:
    for name in ("b/2.ct", "b/10.dbn.gz", "a.bpseq", "c.parquet", "b/deep/er/1.st"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_structures([Structure("GAAAC", [], name=name)], tmp_path / name)
    for name in ("readme.md", ".hidden.ct", ".ipynb_checkpoints/a.bpseq", "b/._2.ct", "x.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no structure")
    (tmp_path / "folder.ct").mkdir()
    expected = ["a.bpseq", "b/10.dbn.gz", "b/2.ct", "b/deep/er/1.st", "c.parquet"]
    assert [s.name for s in read_structures(tmp_path)] == expected
    with pytest.raises(ValueError, match=r"folder\.ct: no file with one of the endings \.dbn, "):
        read_structures(tmp_path / "folder.ct")
    (tmp_path / "b" / "bad.ct").write_text("2 x\n")
    wanted = r"left out: .*bad\.ct, line 1, record 'x': expected 2 rows, found 0"
    with pytest.warns(UserWarning, match=wanted) as notices:
        assert [s.name for s in read_structures(tmp_path)] == expected
    assert len(notices) == 1
    for name in ("bad", "worse"):
        write(tmp_path / "folder.ct", f"{name}.ct", "2 x\n")
    with pytest.raises(
        ValueError, match=r"folder\.ct: none of 2 files can be read; the first: .*bad\.ct, line 1"
    ):
        read_structures(tmp_path / "folder.ct")


# --- what is rejected


NONE = "expected a structure, found none"
UNFOLDED = "expected its structure (fold would predict it) in the next line"
MULTIPLET = "; a nucleotide in several pairs cannot be represented"
HEADER = "expected a header 'length name' after"
COLUMNS = "expected the columns sequence, dot_bracket and name or id, found"

DBN_ERRORS = {
    "": NONE,
    "# only a comment\n\n": NONE,
    ">a\nGAAAC\n((..)\n": "line 3, 'a', position 1: '(' is never closed",
    ">a\nGAAAC\n(..))\n": "line 3, 'a', position 5: ')' closes nothing",
    ">a\nGAAAC\n(.*.)\n": "line 3, 'a', position 3: '*' is not a dot-bracket symbol",
    "\n>a\nGAXAC\n(...)\n": "line 3, 'a', position 3: 'X' is not a nucleotide code",
    ">a\nGA C\n(..)\n": "line 3, record 'a': expected a structure of 3 symbols on one line, found 4: '(..)'",
    ">a\nGAC\nGAC\n......": "line 3, record 'a': expected a structure of 3 symbols on one line, found 3: 'GAC'",
    ">a\nGAAAC\nGG\n.......": "line 3, record 'a': expected a structure of 5 symbols on one line, found 2: 'GG'",
    ">a\n(...)\nGAAAC\n": "line 2, record 'a': expected a sequence, found '(...)'",
    ">a\nGAAAC\n(...)\n....\n": "line 4, record 'a': expected a structure of 5 symbols on one line, found 4: '....'",
    "GAAAC\n(...)\n>b\n.....\n": "line 4, record 'b': expected a sequence, found '.....'",
    ">a\nGAAAC\n(...)\n\n>b\nGAAAC\n": f"line 6, record 'b': {UNFOLDED}",
    ">a\nGAAAC\n>b\nGAAAC\n(...)\n": f"line 2, record 'a': {UNFOLDED}",
    "GAAAC\n(...)\nGAAAC\n": f"line 3, record 'x 2': {UNFOLDED}",
    ">a\n>b\nGAAAC\n(...)\n": "line 1, record 'a': expected a sequence in the next line",
    ">a\nGAAAC\n(...)\n>\n": "line 4, record 'x 2': expected a sequence in the next line",
}
CT_ERRORS = {
    "": NONE,
    "3 x\n1 G 0 2 3 1\n2 A 1 3 0 2\n3 C 2 0 2 3\n": "line 2, record 'x': nucleotide 1 has partner 3, "
    "but 3 (line 4) has partner 2" + MULTIPLET,
    "3 x\n1 G 0 2 3 1\n2 A 1 3 0 2\n3 C 2 0 0 3\n": "line 2, record 'x': nucleotide 1 has partner 3, "
    "but 3 (line 4) has partner none",
    "3 x\n1 G 0 2 3 1\n2 A 1 3 3 2\n3 C 2 0 1 3\n": "line 3, record 'x': nucleotide 2 has partner 3, "
    "but 3 (line 4) has partner 1" + MULTIPLET,
    "2 x\n1 G 0 2 0 1\n3 C 2 0 0 3\n": "line 3, record 'x': expected the row of nucleotide 2, found '3'",
    "2 x\n2 G 0 2 0 1\n1 C 2 0 0 3\n": "line 2, record 'x': expected the row of nucleotide 1, found '2'",
    "3 x\n1 G 0 2 2 1\n1 G 0 2 3 1\n2 C 2 0 1 2\n": "line 3, record 'x': expected the row of nucleotide 2, "
    "found '1'" + MULTIPLET,
    "3 x\n1 G 0 2 0 1\n2 G 0 2 3 1\n2 C 2 0 1 2\n": "line 4, record 'x': expected the row of nucleotide 3, "
    "found '2'" + MULTIPLET,
    "2 x\n1 G 0 2 3 1\n2 C 1 0 1 2\n": "line 2, record 'x': 1 of 2 cannot pair with '3' (0 for none)",
    "2 x\n1 G 0 2 1 1\n2 C 1 0 0 2\n": "line 2, record 'x': 1 of 2 cannot pair with '1' (0 for none)",
    "2 x\n1 G 0 2 -1 1\n2 C 1 0 0 2\n": "line 2, record 'x': 1 of 2 cannot pair with '-1' (0 for none)",
    "2 x\n1 G 0 2 b 1\n2 C 1 0 0 2\n": "line 2, record 'x': 1 of 2 cannot pair with 'b' (0 for none)",
    "2 x\n1 X 0 2 0 1\n2 C 1 0 0 2\n": "line 2, record 'x': 'X' of nucleotide 1 is not a nucleotide code",
    "2 x\n1 GG 0 2 0 1\n2 C 1 0 0 2\n": "line 2, record 'x': 'GG' of nucleotide 1 is not a nucleotide code",
    "2 x\n1 G 0 2\n2 C 1 0 0 2\n": "line 2, record 'x': expected row 1 of 2, "
    "'i base i-1 i+1 partner i', found '1 G 0 2'",
    "#c\n3 x\n1 G 0 2 0 1\n2 C 1 0 0 2\n": "line 2, record 'x': expected 3 rows, found 2",
    "2 x\n1 G 0 2 0 1\n2 C 1 3 0 2\n3 C 2 4 0 3\n": f"line 4: {HEADER} 2 rows, found '3 C 2 4 0 3'",
    "2 x\n1 G 0 2 0 1\n2 C 1 3 0 2\nend\n": f"line 4: {HEADER} 2 rows, found 'end'",
    "1 G 0 2 0 1\n2 C 1 3 0 2\n": f"line 1: {HEADER} 0 rows, found '1 G 0 2 0 1'",
    "0 x\n": f"line 1: {HEADER} 0 rows, found '0 x'",
    "3 x\n1 G 0 2 0 1\n2 y\n1 A 0 2 0 1\n2 A 1 3 0 2\n": "line 3, record 'x': expected row 2 of 3",
    ">a\nGAAAC\n(...)\n": f"line 1: {HEADER} 0 rows, found '>a'",
}
BPSEQ_ERRORS = {
    "#Name: y\n": NONE,
    "1 G 0\n2 C 0\n1 G 0\n": "line 3, record 'x': expected the row of nucleotide 3, found '1'; "
    ".bpseq holds one structure",
    "1 G 3\n2 A 3\n3 C 1\n": "line 2, record 'x': nucleotide 2 has partner 3, "
    "but 3 (line 3) has partner 1" + MULTIPLET,
    "1 G 3\n2 A 0\n2 A 3\n": "line 3, record 'x': expected the row of nucleotide 3, found '2'" + MULTIPLET,
    "1 G\n": "line 1: expected 'i base partner' or '# comment', found '1 G'",
    "#Name: y\n1 G 2\n": "line 2, record 'y': 1 of 1 cannot pair with '2' (0 for none)",
    "1 é 0\n": "line 1, record 'x': 'é' of nucleotide 1 is not a nucleotide code",
}
FIRST = "name,sequence,dot_bracket\n"
CSV_ERRORS = {
    "": "No columns",
    "sequence,dot_bracket\n": NONE,
    "sequence,structure\nG,.\n": f"{COLUMNS} ['sequence', 'structure']",
    FIRST + "a,G,.\nb,GC,.\n": "row 2, 'b': the sequence has 2 nucleotides, the dot-bracket 1 symbols",
    FIRST + "a,G,.\nb,GC,().\n": "row 2, 'b': the sequence has 2 nucleotides, the dot-bracket 3 symbols",
    FIRST + "a,GX,()\n": "row 1, 'a', position 2: 'X' is not a nucleotide code",
    FIRST + "a,GC,((\n": "row 1, 'a', position 1: '(' is never closed",
    FIRST + "a,GC\n": "row 1, record 'a': expected a sequence and a structure, found ['GC', ",
    FIRST + ",,\n": "row 1, record 'x': expected a sequence and a structure, found ['', '']",
}
ERRORS = [
    (file, text, message)
    for files, errors in (
        (("x.dbn", "x.fasta"), DBN_ERRORS),
        (("x.ct",), CT_ERRORS),
        (("x.bpseq",), BPSEQ_ERRORS),
        (("x.csv",), CSV_ERRORS),
    )
    for file in files
    for text, message in errors.items()
]


@pytest.mark.parametrize(("name", "text", "message"), ERRORS)
def test_errors_say_what_is_wrong_and_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    found = error_of(tmp_path, name, text)
    assert found.startswith(message), found


def test_errors_of_st_files(tmp_path: Path) -> None:
    message = error_of(tmp_path, "x.st", "#Name: y\nGAAAC\n((..)\nSHHHS\n")
    assert message == "line 3, 'y', position 1: '(' is never closed"
    assert error_of(tmp_path, "x.st", "#Name: y\nGAAAC\n") == f"line 2, record 'y': {UNFOLDED}"


def test_files_that_are_not_text(tmp_path: Path) -> None:
    for name in ("x.dbn", "x.ct", "x.bpseq", "x.st", "x.csv"):
        path = tmp_path / name
        path.write_bytes("2 x\n".encode("utf-16"))
        with pytest.raises(ValueError, match=re.escape(f"{path}: not a UTF-8 text file")):
            read_structures(path)
    packed = gzip.compress(b"".join(b">%d\nGAAAC\n(...)\n" % k for k in range(500)))
    broken = packed[:200] + bytes(b ^ 0x55 for b in packed[200:220]) + packed[220:]
    for content, how in ((packed[:-20], "cut off"), (broken, "damaged")):
        path = tmp_path / "x.dbn.gz"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(path))}: the gzip file is {how}.*read to byte"
        ):
            read_structures(path)
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"x\.parquet, .*[Pp]arquet"):
        read_structures(tmp_path / "x.parquet")


def test_unknown_endings_and_missing_files(tmp_path: Path) -> None:
    for name in ("x.pdb", "noending", "x.txt.gz"):
        write(tmp_path, name, "GAAAC\n(...)\n")
        with pytest.raises(
            ValueError, match=rf"{re.escape(name)}: unknown ending '.*'; known are \.dbn, \.db, "
        ):
            read_structures(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*none\.ct"):
        read_structures(tmp_path / "none.ct")


def test_nulls_in_a_table(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "sequence": ["GC", None], "dot_bracket": ["()", ".."]})
    table.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(
        ValueError, match=r"x\.parquet, row 2, record 'b': expected a sequence and a structure"
    ):
        read_structures(tmp_path / "x.parquet")
