"""Files of other programs and of hurried people that once failed, from ``shared/cases``, and what is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.datasets.user_tables import read_table

HAIRPIN, FOLDED = "GGGGAAAACCCC", "((((....))))"


@pytest.fixture(scope="module")
def inputs(shared: Path) -> Path:
    folder = shared / "cases" / "inputs"
    if not folder.is_dir():
        pytest.skip(f"needs the inputs that failed: {folder} is absent; set RINALMO_KIT_DATA")
    return folder


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    line = [sys.executable, "-m", "rinalmo_kit.cli", *map(str, words)]
    return subprocess.run(line, capture_output=True, env={**os.environ, **environment}, check=False)


NINE = ("GGGAAACCC", "(((...)))")
READ = {
    "crw.ct": [("x", *NINE)],
    "crw.bpseq": [("crw", *NINE)],
    "ufold.ct": [("x_1", *NINE)],
    "minus1.bpseq": [("minus1", *NINE)],
    "rnafold_p.dbn": [("a", HAIRPIN, FOLDED), ("b", HAIRPIN, FOLDED)],
    "contrafold.dbn": [("a", HAIRPIN, FOLDED)],
    "comma_locale.dbn": [("a", HAIRPIN, FOLDED)],
    "x.sto": [("seq1", HAIRPIN, FOLDED), ("seq2", "GGGGAAAAACCCC", "((((.....))))")],
}


@pytest.mark.parametrize("name", READ)
def test_structures_that_programs_write(inputs: Path, name: str) -> None:
    found = rk.read_structures(inputs / name)
    assert [(s.name, s.sequence, s.dot_bracket) for s in found] == READ[name]


def test_every_structure_of_a_sequence_is_read(inputs: Path) -> None:
    found = rk.read_structures(inputs / "multi_struct.dbn")
    brackets = [FOLDED, ".(((....))).", "." * 12, FOLDED]
    assert [s.dot_bracket for s in found] == brackets
    assert [s.name[0] for s in found] == ["a", "a", "a", "b"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("header_short.ct", r"line 1\b.*\b8\b.*\b9\b"),
        ("cofold.dbn", r"two strands.*\b5\b"),
    ],
)
def test_structures_that_are_rejected_say_why(inputs: Path, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        rk.read_structures(inputs / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["hash.fa", "gz_noext.fa", "x.fa.bz2", "x.fa.xz"])
def test_sequences_are_read_whatever_packs_them(inputs: Path, name: str) -> None:
    [structure] = rk.fold(inputs / name)
    assert structure.sequence
    assert structure.name


def test_a_header_is_decoration_and_keeps_what_it_can(inputs: Path) -> None:
    with pytest.warns(UserWarning, match="UTF-8") as notices:
        folded = rk.fold(inputs / "latin1.fa")
    assert len(notices) == 1
    assert [s.name for s in folded] == ["ok1", "M\ufffdller_7", "ok2"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_output_is_utf8_whatever_the_terminal(inputs: Path, encoding: str) -> None:
    done = command("fold", inputs / "greek.fa", PYTHONIOENCODING=encoding, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert re.findall(r">(\S+)", done.stdout.decode("utf-8")) == ["β-globin", "b"]


@pytest.mark.parametrize("name", ["trunc.fa.gz", "corrupt.fa.gz"])
def test_records_before_the_damage_are_kept(inputs: Path, name: str, tmp_path: Path) -> None:
    output = tmp_path / "out.dbn"
    done = command("fold", inputs / name, "-o", output, "-q")
    assert done.returncode == 1
    assert name in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    kept = [one for one in tmp_path.iterdir() if one.name.startswith("out.dbn")]
    assert kept, "the records before the damage are in a file"
    assert kept[0].read_text().count(">") > 0


@pytest.mark.parametrize("name", ["names.fa", "dots.fa"])
def test_each_record_gets_a_legal_file(inputs: Path, name: str, tmp_path: Path) -> None:
    text = (inputs / name).read_text()
    folder = tmp_path / "out"
    done = command("fold", inputs / name, "-o", f"{folder}{os.sep}", "-f", "ct", "-q")
    assert done.returncode == 0, done.stderr
    files = list(folder.iterdir())
    assert len(files) == text.count(">")
    assert len({one.name.lower() for one in files}) == len(files)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    for one in files:
        assert one.is_file()
        assert len(one.name.encode()) <= 255
        assert not set(one.name) & set('/\\:*?"<>|')
        assert one.suffix == ".ct"
    if name == "dots.fa":
        stems = {one.name.removesuffix(".ct") for one in files}
        assert {"tX_Xyl.fast._TRW-1_1-12", "a.gz", "b.parquet", "c.tar.gz.bpseq"} <= stems


TABLES = {
    "id_zero.csv": ("id", [f"{i:05d}" for i in range(20)]),
    "zero_label.csv": ("label", ["007", "010"] * 10),
    "none_label.csv": ("label", ["None", "tRNA"] * 10),
    "UPPER.CSV": ("label", ["a", "b"] * 10),
    "latin1.csv": ("label", ["Bänder", "tRNA"] * 10),
}


@pytest.mark.parametrize("name", TABLES)
def test_text_of_a_table_stays_text(inputs: Path, name: str) -> None:
    column, expected = TABLES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # latin1.csv: a notice, or an error with line and byte
        try:
            table = read_table(inputs / name, task="classification")
        except ValueError as error:
            assert name == "latin1.csv"
            assert re.search(r"line 2\b.*byte", str(error))
            return
    found = list(table[column])
    if name == "latin1.csv":
        raw = pd.read_csv(inputs / name, encoding="latin-1")
        expected = list(raw["label"])
    assert found == expected


@pytest.mark.parametrize("name", ["zero_label.csv", "none_label.csv", "UPPER.CSV"])
def test_a_trained_model_predicts_labels_as_written(inputs: Path, name: str, tmp_path: Path) -> None:
    rk.finetune(
        inputs / name,
        task="classification",
        mode="frozen",
        changes={"epochs": 1},
        output=tmp_path / "run",
        accelerator="cpu",
        enable_progress_bar=False,
    )
    found = rk.predict(["ACGUACGU"], model=tmp_path / "run" / "model.safetensors")
    assert {f"P({label})" for label in TABLES[name][1]} <= set(found.columns)
