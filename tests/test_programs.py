"""Other folding programs: how they are called and read, with stand-ins on PATH that print what the real ones do."""

import stat
import sys
from pathlib import Path

import pytest

from rinalmo_kit import baselines, programs
from rinalmo_kit.programs import PROGRAMS, families_by_cmscan, fold_by

SEQUENCE, FOLD = "GGGGAAAACCCC", "((((....))))"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a Python script on PATH under a program's name."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name, code):
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    return make


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("contrafold", f"Training mode: \\n>target\\n{SEQUENCE}\\n>structure\\n{FOLD}"),
        ("eternafold", f">target\\n{SEQUENCE}\\n>structure\\n{FOLD}"),
        ("mxfold2", f">target\\n{SEQUENCE}\\n{FOLD} (10.3)"),
    ],
)
def test_programs_that_read_fasta_and_print(stand_in, program, printed):
    check = f"assert Path(sys.argv[2]).read_text() == '>target\\n{SEQUENCE}\\n' and sys.argv[1] == 'predict'"
    stand_in(PROGRAMS[program].command[0], f"{check}\nprint('{printed}')")
    found = fold_by(program, SEQUENCE, name="mine")
    assert found.dot_bracket == FOLD and found.name == "mine"
    assert baselines.BASELINES[program](SEQUENCE).dot_bracket == FOLD
    assert program in baselines.installed() and programs.on_path() == [program]


def test_linearpartition_reads_the_bare_sequence(stand_in):
    stand_in(
        "linearpartition", f"assert sys.stdin.read().strip() == '{SEQUENCE}'\nprint('{SEQUENCE}\\n{FOLD}')"
    )
    assert fold_by("linearpartition", SEQUENCE).dot_bracket == FOLD


def test_rnastructure_writes_ct_and_needs_its_tables(stand_in, monkeypatch):
    rows = "\n".join(
        f"{i + 1} {c} {i} {i + 2} {12 - i if i < 4 or i > 7 else 0} {i + 1}" for i, c in enumerate(SEQUENCE)
    )
    stand_in("Fold", f"Path(sys.argv[3]).write_text('''12 ENERGY = -5.4 target\n{rows}\n''')")
    monkeypatch.delenv("DATAPATH", raising=False)
    with pytest.raises(FileNotFoundError, match="rnastructure needs the environment variable DATAPATH"):
        fold_by("rnastructure", SEQUENCE)
    monkeypatch.setenv("DATAPATH", "/tables")
    assert fold_by("rnastructure", SEQUENCE).dot_bracket == FOLD


def test_homologs_are_given_on(stand_in):
    stand_in(
        "centroid_homfold",
        f"assert Path(sys.argv[2]).read_text() == '>homolog0\\nGGGCAAAAGCCC\\n'\nprint('{FOLD} (g=4)')",
    )
    assert fold_by("centroid-homfold", SEQUENCE, homologs=["GGGCAAAAGCCC"]).dot_bracket == FOLD
    with pytest.raises(ValueError, match="locarna needs homologs of 'mine'"):
        fold_by("locarna", SEQUENCE, name="mine")


def test_a_consensus_is_put_onto_the_target(stand_in):
    write = "folder = Path(sys.argv[sys.argv.index('--tgtdir') + 1], 'results')\nfolder.mkdir(parents=True)\n"
    rows = "target    GGGG-AAAACCCC\\nhomolog0  GGGCUAAAAGCCC\\n"
    write += f"(folder / 'result.aln').write_text('CLUSTAL W\\n\\n{rows}')\n"
    stand_in("mlocarna", write + "print('target    GGGG-AAAACCCC\\nalifold   ((((.....)))) (-5.0)')")
    stand_in("centroid_alifold", "print('>consensus\\nGGGG-AAAACCCC\\n((((.....)))) (g=2)')")
    for program in ("locarna", "centroid-alifold"):
        assert fold_by(program, SEQUENCE, homologs=["GGGCUAAAAGCCC"]).dot_bracket == FOLD


def test_what_goes_wrong_is_told(stand_in):
    with pytest.raises(FileNotFoundError, match="mxfold2: no mxfold2 on PATH; it comes from https"):
        fold_by("mxfold2", SEQUENCE)
    stand_in("mxfold2", "sys.exit('out of memory')")
    with pytest.raises(RuntimeError, match=r"mxfold2 failed \(1\): out of memory"):
        fold_by("mxfold2", SEQUENCE)
    stand_in("mxfold2", "print('((..))')")
    with pytest.raises(ValueError, match="mxfold2 printed no structure of 12 nucleotides"):
        fold_by("mxfold2", SEQUENCE)


def test_families_come_from_the_table_of_hits(stand_in):
    hit = "5S_rRNA RF00001 target - cm 1 119 1 12 + no 1 0.5 0.0 60.2 1.1e-10 ! 5S ribosomal RNA"
    worse = "tRNA RF00005 target - cm 1 71 1 12 + no 1 0.5 0.0 20.2 0.3 ? tRNA"
    stand_in("cmscan", f"Path(sys.argv[3]).write_text('# header\\n{worse}\\n{hit}\\n')")
    assert families_by_cmscan(SEQUENCE, Path("Rfam.cm"))[0] == ("RF00001", "5S_rRNA", 1.1e-10)


def test_kinds_of_viennarna():
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    for name in ("viennarna", "viennarna-centroid", "viennarna-mea"):
        assert baselines.BASELINES[name]("GGGGGAAAACCCCC").dot_bracket == "(((((....)))))"
        assert name in baselines.installed()


def test_linearpartition_folds_a_trna_as_a_package():
    pytest.importorskip("linearpartition", reason="linearpartition-unofficial is not installed")
    assert "linearpartition" in baselines.installed()
    hairpin = "GGGCGUAGCUCUUCGGAGCUACGCCC"
    folded = baselines.BASELINES["linearpartition"](hairpin, name="hairpin")
    assert folded.name == "hairpin" and folded.dot_bracket.startswith("(((((((((")
