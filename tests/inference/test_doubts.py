"""What stands beside a prediction: names of families, RNAs of other families, windows without a splice site."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

import rinalmo_kit as rk
from reproduction.unknown_families import measured, redrawn
from rinalmo_kit import cli
from rinalmo_kit.inference.bulk import run_bulk
from rinalmo_kit.rna.families import RFAM

WINDOW = "ACGUC" * 39 + "ACAA" + "GU" + "CAGUC" * 39 + "ACAA"


@pytest.fixture(scope="module")
def rfam():
    return rk.datasets.read_numbers("published/rfam_rnas")


def test_families_have_the_names_of_rfam(rfam):
    assert dict(zip(rfam["family"], rfam["name"], strict=True)) == RFAM
    [trna] = rk.datasets.load_structures("examples")[:1]
    table = rk.predict(trna.sequence)
    assert list(table.columns[:5]) == ["name", "label", "family", "probability", "note"]
    assert table.loc[0, ["label", "family", "note"]].tolist() == ["RF00005", "tRNA (RF00005)", ""]


def test_rnas_of_other_families_are_noted_more_often_than_those_of_the_88(rfam):
    some = rfam.groupby("family").head(2)["sequence"].tolist()
    known, others = measured(some), measured([redrawn(one, seed) for seed, one in enumerate(some)])
    assert known["noted"] < 0.1 and others["noted"] > 0.55


@pytest.mark.parametrize(
    ("model", "middle", "note"),
    [("pico-splice-donor", "GU", ""), ("pico-splice-donor", "CA", "the middle is CA, not GU"),
     ("pico-splice-acceptor", "AG", ""), ("pico-splice-acceptor", "GU", "the middle is GU, not AG")],
)  # fmt: skip
def test_splice_models_say_when_the_middle_is_no_site(model, middle, note):
    assert len(WINDOW) == 400
    [found] = rk.predict([WINDOW[:199] + middle + WINDOW[201:]], model=model)["note"]
    assert found.startswith(note) and bool(found) == bool(note)


def test_the_middle_is_where_the_splice_models_look():
    """The consensus of donor sites moves the probability most where its GU is the 200th and 201st letter."""
    consensus = "CAGGUAAGU"
    shifted = {k: WINDOW[: 196 + k] + consensus + WINDOW[205 + k :] for k in (-2, -1, 0, 1, 2)}
    found = rk.predict({str(k): one for k, one in shifted.items()}, model="pico-splice-donor")
    assert found.loc[found["P(donor site)"].idxmax(), "name"] == "0"


@pytest.mark.parametrize("length", [1, 40, 79])
def test_a_sequence_that_is_shorter_than_a_splice_model_reads_is_rejected(length, tmp_path, capsys):
    message = (
        f"'b' has {length} nucleotides; pico-splice-donor reads 80, with the GU of the site in the middle"
    )
    with pytest.raises(ValueError, match=message):
        rk.predict({"a": WINDOW, "b": "A" * length}, model="pico-splice-donor")
    fasta, output = tmp_path / "x.fasta", tmp_path / "x.csv"
    fasta.write_text(f">a\n{WINDOW}\n>b\n{'A' * length}\n>c\n{WINDOW}\n")
    assert cli.main(["predict", str(fasta), "-m", "pico-splice-donor", "-o", str(output), "-q"]) == 1
    assert f"skipped: {message}" in capsys.readouterr().err
    assert [line.split(",")[0] for line in output.read_text().splitlines()] == ["name", "a", "c"]
    run_bulk("predict", fasta, tmp_path / "job", model="pico-splice-donor")
    table = pq.read_table(tmp_path / "job").to_pydict()
    assert table["error"] == [None, message, None] and table["note"] == ["", None, ""]
    assert rk.predict(WINDOW[160:240], model="pico-splice-donor")["note"].tolist() == [""]


@pytest.mark.parametrize("bad", [">b\nACGX\n", ">b\n\n", ">b\n" + "Z" * 30 + "\n"])
def test_predict_goes_on_after_a_bad_record(bad, tmp_path, capsys):
    fasta, output = tmp_path / "x.fasta", tmp_path / "x.csv"
    fasta.write_text(f">a\nGGGGAAAACCCC\n{bad}>c\nACGUACGU\n")
    assert cli.main(["predict", str(fasta), "-o", str(output), "-q"]) == 1
    said = capsys.readouterr().err
    assert "skipped: 'b'" in said and "2 predicted, 1 skipped" in said
    rows = output.read_text().splitlines()
    assert [line.split(",")[0] for line in rows] == ["name", "a", "c"]
    assert rows[0].startswith("name,label,family,probability,note,P(")
