"""Other programs that fold one sequence: how they are called and read, with stand-ins on PATH."""

import sys
import time
import warnings

import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.extras import optional
from rinalmo_kit.evaluation import baselines, folding_programs
from rinalmo_kit.evaluation.folding_programs import PROGRAMS, fold_by

SEQUENCE, FOLD = "GGGGAAAACCCC", "((((....))))"


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
    assert program in baselines.installed() and folding_programs.on_path() == [program]


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


def test_what_goes_wrong_is_told(stand_in):
    with pytest.raises(FileNotFoundError, match="mxfold2: no mxfold2 on PATH; it comes from https"):
        fold_by("mxfold2", SEQUENCE)
    stand_in("mxfold2", "sys.exit('out of memory')")
    with pytest.raises(RuntimeError, match=r"mxfold2 failed \(1\): out of memory"):
        fold_by("mxfold2", SEQUENCE)
    stand_in("mxfold2", "print('((..))')")
    with pytest.raises(ValueError, match="mxfold2 printed no structure of 12 nucleotides"):
        fold_by("mxfold2", SEQUENCE)


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


# programs that do not work

BAD = {
    "crashes": ("import os; os.abort()", RuntimeError, r"contrafold failed \(-6\)"),
    "complains": ("sys.stderr.write('no tables\\n'); sys.exit(3)", RuntimeError, r"failed \(3\): no tables"),
    "complains in bytes": (
        "sys.stderr.buffer.write(b'\\xff\\x00'); sys.exit(3)",
        RuntimeError,
        r"failed \(3\)",
    ),
    "hangs": ("import time; time.sleep(60)", RuntimeError, "took longer than 2 s"),
    "leaves one that hangs": (
        "import subprocess, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "time.sleep(60)",
        RuntimeError,
        "took longer than 2 s",
    ),
    "waits for a question": ("print(input())", RuntimeError, "EOFError"),
    "prints nothing": ("pass", ValueError, "contrafold gave no structure of 'mine'"),
    "prints bytes": (
        "sys.stdout.buffer.write(bytes(range(256)) * 99)",
        ValueError,
        "no structure of 12 nucleotides",
    ),
    "prints unbalanced": (
        "print('((((....))).')",
        ValueError,
        "contrafold gave no structure of 'mine'.*never closed",
    ),
    "prints another length": ("print('((....))')", ValueError, "contrafold printed no structure of 12"),
    "is told twice": (f"print('{FOLD}' * 100_000)", ValueError, "no structure of 12"),
}


@pytest.mark.parametrize("kind", BAD)
def test_programs_that_do_not_work_are_named(kind, stand_in, monkeypatch):
    monkeypatch.setattr(folding_programs, "TIMEOUT", 2)
    code, error, words = BAD[kind]
    stand_in("contrafold", code)
    start = time.monotonic()
    with pytest.raises(error, match=words):
        fold_by("contrafold", SEQUENCE, name="mine")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("content", [b"", b"\x7fELF nonsense", b"#!/no/such/interpreter\n", b"\x00\x01"])
def test_what_cannot_be_started_is_named(content, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "contrafold"
    path.write_bytes(content)
    path.chmod(0o755)
    with pytest.raises(
        (RuntimeError, ValueError), match=r"contrafold .*(could not be started|gave no structure)"
    ):
        fold_by("contrafold", SEQUENCE)


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"3 title\n1 A 0 2 0 1\n2 C 1 3 0 2\n3 G 2 4 0 3\n"]
)
def test_a_file_without_a_structure_names_its_program(content, stand_in, monkeypatch):
    stand_in("Fold", "pass" if content is None else f"Path(sys.argv[3]).write_bytes({content!r})")
    monkeypatch.setenv("DATAPATH", "/tables")
    with pytest.raises(ValueError, match="rnastructure gave no structure of 'mine'"):
        fold_by("rnastructure", SEQUENCE, name="mine")


# packages that do not work

BROKEN = {
    "shadowed": ("x = 1", ImportError, "another module of this name"),
    "syntax": ("def (", ImportError, "SyntaxError"),
    "odd": ("raise ZeroDivisionError('gone')", ImportError, "ZeroDivisionError: gone"),
    "exits": ("raise SystemExit(3)", ImportError, "SystemExit: 3"),
    "lacks a part": ("import a_part_that_is_missing", ImportError, "a_part_that_is_missing"),
    "old": ("from json import no_such_name", ImportError, "no_such_name"),
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    def make(module, code):
        (tmp_path / f"{module}.py").write_text(code + "\n")
        for name in [*sys.modules]:
            if name == module or name.startswith(f"{module}."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    yield make
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


USES = {
    "RNA": lambda: folding_programs.viennarna(SEQUENCE),
    "openTSNE": lambda: rk.evaluation.tsne_map([[0.0, 1.0]] * 6),
    "sklearn": lambda: baselines.simple("binary", ["GG", "CC"], ["a", "b"], ["GG"]),
    "pyarrow": lambda: optional("pyarrow.parquet", "absent"),
    "flash_attn": lambda: optional("flash_attn", "absent", needs=["flash_attn_varlen_func"]),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("module", USES)
def test_a_broken_package_is_named_with_what_is_wrong(module, kind, broken):
    code, error, words = BROKEN[kind]
    broken(module, code)
    with pytest.raises(error) as found:
        USES[module]()
    assert not isinstance(found.value, ModuleNotFoundError) and "not installed" not in str(found.value)
    assert module in str(found.value)
    if not (kind == "shadowed" and module in ("sklearn", "pyarrow")):
        assert words in str(found.value)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_left_out_with_a_warning(kind, broken):
    broken("RNA", BROKEN[kind][0])
    with pytest.warns(UserWarning, match="left out: RNA"):
        found = baselines.installed()
    assert "viennarna" not in found and "most-pairs" in found


def test_the_program_replaces_a_broken_linearpartition(broken, stand_in):
    broken("linearpartition", "raise OSError('libfoo.so')")
    stand_in("linearpartition", f"print('{SEQUENCE}\\n{FOLD}')")
    with pytest.warns(UserWarning, match=r"libfoo\.so"):
        assert folding_programs.linearpartition(SEQUENCE).dot_bracket == FOLD


def test_an_absent_package_gives_no_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "RNA", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "viennarna" not in baselines.installed()
    with pytest.raises(ModuleNotFoundError, match="ViennaRNA is not installed"):
        folding_programs.viennarna(SEQUENCE)
