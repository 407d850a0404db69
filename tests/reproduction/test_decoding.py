"""The rules of decoding are fitted on validation rows alone, and on families that the halves do not share."""

from __future__ import annotations

import pytest

import rinalmo_kit as rk
from reproduction.decoding import fit, validation_rows
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.metrics import THRESHOLDS


def test_rows_are_those_of_validation_and_halves_share_no_family(data):
    rows = validation_rows(60)
    assert {name: len(table) for name, table in rows.items()} == dict.fromkeys(rows, 60)
    ts0 = set(load_table("bprna").query("split == 'TS0'")["sequence"])
    rfam = load_table("rfam").query("split == 'test'")
    new = rfam.query("seen == 'no'")
    assert all(ts0.isdisjoint(table["sequence"]) for table in rows.values())
    assert all(set(new["sequence"]).isdisjoint(table["sequence"]) for table in rows.values())
    for name in ("known families", "new families"):
        assert set(rfam["family"]).isdisjoint(rows[name]["family"])
    families = [set(rows[name]["family"]) for name in ("known families", "new families")]
    assert families[0].isdisjoint(families[1])
    half = rows["new families"]["family"]
    assert len(set(half[:30]) & set(half[30:])) <= 1


@pytest.mark.slow
def test_rules_are_fitted(data):
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    model = rk.load("nano-ss", device="cpu")
    model.threshold, model.calibration = None, None
    decoding, table = fit(model, number=16)
    assert decoding.mixer is not None and decoding.calibration and decoding.calibration_alone
    assert model.threshold in THRESHOLDS and model.calibration
    assert {"VL0", "known families", "new families", "mean"} <= set(table) and len(table) == 7
    assert decoding.gamma == table[table["energy"] != ""].sort_values("mean")["gamma"].iloc[-1]
    structure = rk.fold(
        "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA", model=model
    )
    assert 0 < structure.confidence < 1
