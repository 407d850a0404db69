"""What programs print and databases hand out, as they write it: structures, alignments, probabilities."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from rinalmo_kit.rna.recognition import looks_like
from rinalmo_kit.structure import Structure, read_probabilities, read_structures, write_structures

HAIRPIN, FOLDED = "GGGGAAAACCCC", "((((....))))"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, name: str, text: str) -> list[tuple[str, str, str]]:
    return [(s.name, s.sequence, s.dot_bracket) for s in read_structures(write(folder, name, text))]


def message(folder: Path, name: str, text: str) -> str:
    path = write(folder, name, text)
    with pytest.raises(ValueError) as caught:
        read_structures(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


# --- Stockholm

RFAM = """# STOCKHOLM 1.0
#=GF ID   Test_RNA
#=GF AC   RF00000
#=GF AU   Müller A; 0000-0001
#=GS AB000001.1/1-12  AC   AB000001.1

AB000001.1/1-12          GGGC-AAA.AGCCC
AB000002.1/5-16          gggCUAAAUAGcc-
#=GR AB000002.1/5-16 PP  **************
#=GC SS_cons             <<<<~____.>>>>
#=GC RF                  GGGC.AAA.AGCCC
//
"""


def test_stockholm_is_projected_on_each_sequence(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"x\.sto: 1 pairs of SS_cons are left out in 1 of 2 sequences"
    ) as notices:
        found = read(tmp_path, "x.sto", RFAM)
    assert len(notices) == 1
    assert found == [
        ("AB000001.1/1-12", "GGGCAAAAGCCC", "((((....))))"[:4] + "...." + "))))"),
        ("AB000002.1/5-16", "GGGCUAAAUAGCC", ".(((......)))"),
    ]


def test_blocks_pseudoknots_and_several_alignments(tmp_path: Path) -> None:
    text = (
        "# STOCKHOLM 1.0\n\na  GGGAAA\nb  GGG--A\n#=GC SS_cons ((.,AA\n\n"
        "a  CCCUUU\nb  CCCUUU\n#=GC SS_cons )):-aa\n//\n# STOCKHOLM 1.0\nc GAAAC\n#=GC SS_cons {___}\n//\n"
    )
    with pytest.warns(UserWarning, match="1 pairs of SS_cons are left out in 1 of 3"):
        found = read(tmp_path, "x.stk", text)
    assert found == [
        ("a", "GGGAAACCCUUU", "((..[[))..]]"),
        ("b", "GGGACCCUUU", "((.[))..]."[:10]),
        ("c", "GAAAC", "(...)"),
    ]


def test_both_sides_in_gaps_are_no_loss(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    text = "# STOCKHOLM 1.0\na GGAAACC\nb -GAAAC-\n#=GC SS_cons <<...>>\n//\n"
    assert read(tmp_path, "x.stockholm", text)[1] == ("b", "GAAAC", "(...)")
    assert not recwarn


def test_structures_of_single_sequences(tmp_path: Path) -> None:
    text = "# STOCKHOLM 1.0\na GG.AAACC\n#=GR a SS <<....>>\nb GGUAAACC\n//\n"
    assert read(tmp_path, "x.sto", text) == [("a", "GGAAACC", "((...))")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# STOCKHOLM 1.0\na GGAAACC\n//\n", "line 1: this is a Stockholm file without SS_cons"),
        (
            "# STOCKHOLM 1.0\na GGAAAC\n#=GC SS_cons <<...>>\n//\n",
            "record 'a', its row has 6 columns, the structure 7",
        ),
        (
            "# STOCKHOLM 1.0\na GGAAACC\n#=GC SS_cons <<...>.\n//\n",
            "'SS_cons', position 1: '<' is never closed",
        ),
        (
            "# STOCKHOLM 1.0\na GGXAACC\n#=GC SS_cons <<...>>\n//\n",
            "'a', position 3: 'X' is not a nucleotide code",
        ),
        (
            "# STOCKHOLM 1.0\na b c\n#=GC SS_cons <<...>>\n//\n",
            "line 2: expected 'name sequence', found 'a b c'",
        ),
        ("# STOCKHOLM 1.0\na -..~\n#=GC SS_cons ....\n//\n", "record 'a', its row holds gaps alone"),
        ("# STOCKHOLM 1.0\n//\n", "expected a structure, found none"),
    ],
)
def test_alignments_that_are_rejected(tmp_path: Path, text: str, words: str) -> None:
    assert words in message(tmp_path, "x.sto", text)


def test_stockholm_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.sto: stockholm is read and not written; choose \.dbn or \.ct"):
        write_structures([Structure("GAAAC", [(0, 4)])], tmp_path / "x.sto")


# --- programs that fold

OUTPUTS = {
    "RNAfold -p --MEA": (
        f">a\n{HAIRPIN}\n{FOLDED} ( -5.40)\n((({{,..||}})) [ -5.51]\n{FOLDED} {{ -5.40 d=0.60}}\n"
        f"{FOLDED} {{ -5.40 MEA=11.62}}\n frequency of mfe structure in ensemble 0.838; ensemble diversity 0.93  \n"
    ).replace("((({,..||}))", "((({..||})))"),
    "RNAfold -p0": f">a\n{HAIRPIN}\n{FOLDED} ( -5.40)\n free energy of ensemble =  -5.51 kcal/mol\n"
    " frequency of mfe structure in ensemble 0.838; \n",
    "RNAfold and its warnings": f"WARNING: stacking enthalpies not symmetric\n>a\n{HAIRPIN}\n{FOLDED} ( -5.40)\n",
    "LinearFold": f">a\n{HAIRPIN}\n{FOLDED} (-5.40)\n",
    "LinearPartition -M": f">a\n{HAIRPIN}\nFree Energy of Ensemble: -5.51 kcal/mol\n{FOLDED}\n",
    "LinearPartition -o": f">a\n{HAIRPIN}\nLog Partition Coefficient: 1.23\nPartition Function Calculation Time: 0.00 "
    f"seconds.\nOutputing base pairing probability matrix to bpp.txt...\nDone!\n{FOLDED}\n",
    "EternaFold": f"Training mode: \nUse constraints: 0\nUse evidence: 0\n>a\n{HAIRPIN}\n>structure\n{FOLDED}\n",
    "CONTRAfold": f">a\n{HAIRPIN}\n>structure\n{FOLDED}\n",
    "MXfold2": f">a\n{HAIRPIN}\n{FOLDED} (8.1)\n",
    "IPknot": f">a\n{HAIRPIN}\n{FOLDED}\n",
}


@pytest.mark.parametrize("program", OUTPUTS)
@pytest.mark.parametrize("times", [1, 2])
def test_what_programs_print(tmp_path: Path, program: str, times: int) -> None:
    assert read(tmp_path, "x.dbn", OUTPUTS[program] * times) == [("a", HAIRPIN, FOLDED)] * times


def test_suboptimal_structures_of_unafold(tmp_path: Path) -> None:
    """One record a structure, with eight columns and the energy in the header."""

    def record(energy: str, partners: list[int]) -> str:
        rows = [
            f"{i}\t{HAIRPIN[i - 1]}\t{i - 1}\t{(i + 1) % 13}\t{j}\t{i}\t{(i - 1) * (j > 0)}\t{(i + 1) % 13 * (j > 0)}\n"
            for i, j in enumerate(partners, 1)
        ]
        return f"12\tdG = {energy}\ta\n" + "".join(rows)

    best = [12, 11, 10, 9, 0, 0, 0, 0, 4, 3, 2, 1]
    other = [0, 11, 10, 9, 0, 0, 0, 0, 4, 3, 2, 0]
    found = read(tmp_path, "a.ct", record("-5.4", best) + record("-3.1", other))
    assert found == [("a", HAIRPIN, FOLDED), ("a", HAIRPIN, ".(((....))).")]


CRW = """Filename: d.5.e.S.cerevisiae.{ending}
Organism: Saccharomyces cerevisiae
Accession Number: X67579
Citation and related information available at http://www.rna.icmb.utexas.edu
"""


def test_files_of_the_comparative_rna_web_site(tmp_path: Path) -> None:
    partners = [12, 11, 10, 9, 0, 0, 0, 0, 4, 3, 2, 1]
    rows = "".join(f"{i} {HAIRPIN[i - 1]} {j}\n" for i, j in enumerate(partners, 1))
    bpseq = CRW.format(ending="bpseq") + rows
    assert read(tmp_path, "d.bpseq", bpseq) == [("d", HAIRPIN, FOLDED)]
    rows = "".join(
        f"{i:5d} {HAIRPIN[i - 1]} {i - 1:7d} {i + 1:4d} {j:4d} {i:4d}\n" for i, j in enumerate(partners, 1)
    )
    ct = CRW.format(ending="ct") + f"   12 ENERGY = 0.0  S. cerevisiae 5S\n{rows}"
    assert read(tmp_path, "d.ct", ct) == [("S. cerevisiae 5S", HAIRPIN, FOLDED)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "x.dbn",
            ">a\nGGGG&CCCC\n((((&)))) (-4.10)\n",
            "record 'a' has two strands, joined by '&' at position 5",
        ),
        ("x.csv", "name,sequence,dot_bracket\na,GG&CC,((&))\n", "'&' is not a nucleotide code; two strands"),
        (
            "x.json",
            '{"name": "a", "sequence": "GG+CC", "dot_bracket": "((+))"}',
            "two strands are not supported",
        ),
        (
            "x.ct",
            "4\tdG = -1\ta-b\n1\tG\t0\t2\t4\t1\n2\tG\t1\t0\t3\t2\n3\tC\t0\t4\t2\t1\n4\tC\t3\t0\t1\t2\n",
            "record 'a-b' has two strands, the second from nucleotide 3 on",
        ),
    ],
)
def test_two_strands_are_rejected_by_name(tmp_path: Path, name: str, text: str, words: str) -> None:
    assert words in message(tmp_path, name, text)


def test_a_quadruplex_is_rejected_by_name(tmp_path: Path) -> None:
    found = message(tmp_path, "x.dbn", ">a\nGGUGGUGGUGG\n++.++.++.++ (-1.00)\n")
    assert "record 'a': '+' at position 1 marks a G-quadruplex" in found


# --- packed


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_parts_that_were_joined(tmp_path: Path, pack) -> None:
    path = tmp_path / "x.dbn.packed"
    parts = [f">{name}\n{HAIRPIN}\n{FOLDED}\n".encode() for name in "ab"]
    path = tmp_path / "x.dbn"
    path.write_bytes(b"".join(map(pack, parts)))
    assert [s.name for s in read_structures(path)] == ["a", "b"]
    path = tmp_path / "x.sto.gz"
    path.write_bytes(pack(b"# STOCKHOLM 1.0\na GAAAC\n#=GC SS_cons <...>\n//\n"))
    assert read_structures(path) == [Structure("GAAAC", [(0, 4)])]


# --- what it looks like

LOOKS = {
    "x.dbn": ("# STOCKHOLM 1.0\na GAAAC\n#=GC SS_cons <...>\n//\n", "Stockholm"),
    "x.ct": (f">a\n{HAIRPIN}\n{FOLDED}\n", "looks like dot-bracket: name it .dbn"),
    "x.bpseq": ("2 x\n1 A 0 2 0 1\n2 C 1 0 0 2\n", "looks like CT: name it .ct"),
    "y.dbn": ("# x\n1 A 0\n2 C 0\n3 G 0\n", "looks like BPSEQ: name it .bpseq"),
    "x.out": (f"{HAIRPIN}\n{FOLDED} (-5.40)\n", "unknown ending '.out'; known are"),
    "y.out": (f"{HAIRPIN}\n{FOLDED} (-5.40)\n", "looks like dot-bracket: name it .dbn"),
    "x.txt": ("#Name: a\n#Length: 5\nGAAAC\n(...)\nSHHHS\nNNNNN\n", "looks like bpRNA's .st"),
    "x.fa": (">a\nGAAAC\nGAAAC\n>b\nGAAAC\n", "FASTA without structures: fold predicts them"),
    "z.dbn": ('<?xml version="1.0"?>\n<rnaml version="1.1">\n', "looks like RNAML, which is not read"),
    "a_dp.ps": ("%!PS-Adobe-3.0 EPSF-3.0\n%%Title: RNA Dot Plot\n", "read_probabilities"),
    "x.ps.txt": ("1 12 0.9\n2 11 0.8\n", "a table of probabilities"),
    "post.txt": ("1 G 12:0.9\n2 G 11:0.8\n", "posterior probabilities"),
    "x.pdb": ("HEADER    RNA\nATOM      1  P     G A   1\n", "looks like a file of PDB"),
    "w.dbn": ("% NUPACK 3.2.2\n% Program: mfe\n12\n", "looks like output of NUPACK"),
    "v.dbn": ("name,sequence,dot_bracket\na,GAAAC,(...)\n", "looks like a table: name it .csv"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_file_that_is_not_read_is_named_with_what_it_looks_like(tmp_path: Path, name: str) -> None:
    text, words = LOOKS[name]
    assert words in message(tmp_path, name, text)


def test_a_broken_file_of_its_own_format_looks_like_nothing_else(tmp_path: Path) -> None:
    for name, text in (("x.ct", "3 x\n1 A 0 2 0 1\n"), ("x.dbn", f">a\n{HAIRPIN}\n{FOLDED}\n>b\nGGG\n((.\n")):
        assert "looks like" not in message(tmp_path, name, text)
    assert looks_like(write(tmp_path, "x.unknown", "some words\n")) == ""
    assert looks_like(write(tmp_path, "x.empty", "\n")) == ""


# --- probabilities

SIZE = len(HAIRPIN)


def expected() -> np.ndarray:
    p = np.zeros((SIZE, SIZE))
    p[0, 11] = p[11, 0] = 0.81
    p[1, 10] = p[10, 1] = 0.25
    return p


TABLES = {
    "LinearPartition": "1 12 0.81\n2 11 0.25\n\n",
    "with a name": ">a\n1 12 8.1e-01\n2 11 2.5e-01\n",
    "with a header": "i\tj\tp\n1\t12\t0.81\n2\t11\t0.25\n",
    "commas and both halves": "i,j,prob\n1,12,0.81\n12,1,0.81\n2,11,0.25\n",
    "ProbabilityPlot of RNAstructure": "12\ni\tj\t-log10(Probability)\n1\t12\t0.0915149811\n2\t11\t0.6020599913\n",
    "posteriors of EternaFold": "".join(
        f"{i} {letter}{ {1: ' 12:0.81', 2: ' 11:0.25'}.get(i, '') }\n" for i, letter in enumerate(HAIRPIN, 1)
    ),
    "dot plot": "%!PS-Adobe-3.0 EPSF-3.0\n%%Title: RNA Dot Plot\n/ubox {\n} bind def\n/sequence { (\\\n"
    f"{HAIRPIN[:5]}\\\n{HAIRPIN[5:]}\\\n) }} def\n%start of base pair probability data\n"
    "%  i  j  sqrt(p(i,j)) ubox\n1 12 0.9 ubox\n2 11 0.5 ubox\n1 12 0.95 lbox\nshowpage\nend\n%%EOF\n",
    "alidot": "0.16 1.00 1 12 0.9 ubox\n0.00 0.40 2 11 0.5 ubox\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_probabilities_of_programs(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, "bpp", TABLES[kind])
    found = read_probabilities(path, sequence=HAIRPIN.lower().replace("u", "t"))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(), atol=1e-6)
    Structure(HAIRPIN, [(0, 11)], probabilities=found)
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_allclose(read_probabilities(path, sequence=HAIRPIN), expected(), atol=1e-6)
    if kind in ("dot plot", "posteriors of EternaFold", "ProbabilityPlot of RNAstructure"):
        np.testing.assert_allclose(read_probabilities(path), expected(), atol=1e-6)
    else:
        with pytest.raises(ValueError, match="does not say how long the RNA is: give sequence="):
            read_probabilities(path)


def test_probabilities_in_arrays(tmp_path: Path) -> None:
    p = expected()
    np.savez(tmp_path / "a.npz", probabilities=p.astype(np.float32), other=np.zeros(3))
    np.savez(tmp_path / "b.npz", np.triu(p))
    vienna = np.zeros((SIZE + 1, SIZE + 1))
    vienna[1:, 1:] = np.triu(p)
    np.save(tmp_path / "c.npy", vienna)
    for name in ("a.npz", "b.npz", "c.npy"):
        np.testing.assert_allclose(read_probabilities(tmp_path / name, sequence=HAIRPIN), p, atol=1e-6)
    np.savez(tmp_path / "d.npz", x=p, y=p)
    np.save(tmp_path / "e.npy", np.array([{"p": 1}], dtype=object), allow_pickle=True)
    for name, words in (("d.npz", "expected one matrix"), ("e.npy", "allow_pickle|Object arrays")):
        with pytest.raises(ValueError, match=words) as caught:
            read_probabilities(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 12 1.5\n", "line 1: 1.5 is not a probability"),
        ("1 12 nan\n", "line 1: nan is not a probability"),
        ("1 13 0.5\n", "line 1: 1 and 13 cannot pair in 12 nucleotides"),
        ("0 12 0.5\n", "line 1: 0 and 12 cannot pair"),
        ("1 12 0.5\n12 1 0.6\n", "line 2: 12 and 1 stand there twice, with different numbers"),
        ("1 12 0.5\n1 2\n", "line 2: expected 'i j p', found '1 2'"),
        (">a\n1 12 0.5\n>b\n1 12 0.5\n", "line 3: expected one RNA, found another"),
        ("1 A 12:0.5\n2 G\n", "its sequence, AG… of 2 nucleotides, is not the one given"),
        ("/sequence { (\\\nGG&CC\\\n) } def\n1 4 0.9 ubox\n", "two strands, joined by '&' at position 3"),
        ("", "expected pairing probabilities, found nothing"),
    ],
)
def test_probabilities_that_are_rejected(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, "bpp.txt", text)
    with pytest.raises(ValueError) as caught:
        read_probabilities(path, sequence=HAIRPIN)
    assert words in str(caught.value)
    assert "bpp.txt" in str(caught.value)


def test_a_dot_plot_of_the_installed_viennarna(tmp_path: Path) -> None:
    RNA = pytest.importorskip("RNA")
    sequence = "GGGGAAAACCCCUUGGGAAACCC"
    RNA.fold(sequence)
    RNA.pf_fold(sequence)
    path = tmp_path / "x_dp.ps"
    assert RNA.PS_dot_plot(sequence, str(path))
    compound = RNA.fold_compound(sequence)
    compound.pf()
    truth = np.array(compound.bpp())[1:, 1:]
    np.testing.assert_allclose(read_probabilities(path), truth + truth.T, atol=1e-4)
