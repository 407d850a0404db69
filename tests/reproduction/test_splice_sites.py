"""Letters around splice sites and counts of scores, for pages without the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reproduction.splice_sites import log_odds_counts, site_letters
from rinalmo_kit.datasets import read_numbers


def test_positions_count_from_the_border_and_there_is_no_zero():
    donor = "A" * 198 + "G" + "GU" + "C" * 199
    acceptor = "C" * 199 + "AG" + "U" * 199
    table = pd.DataFrame(
        [
            {"sequence": donor, "site": "donor", "species": "human", "label": 1},
            {"sequence": "U" * 400, "site": "donor", "species": "human", "label": 0},
            {"sequence": acceptor, "site": "acceptor", "species": "human", "label": 1},
        ]
    )
    found = site_letters(table).set_index(["site", "position"])
    assert 0 not in found.index.get_level_values("position")
    rows = found[[*"ACGU"]].to_numpy()
    read = {key: "ACGU"[int(np.argmax(row))] for key, row in zip(found.index, rows, strict=True)}
    assert "".join(read["donor", place] for place in (-2, -1, 1, 2, 3)) == "AGGUC"
    assert "".join(read["acceptor", place] for place in (-3, -2, -1, 1)) == "CAGU"
    assert (found[[*"ACGU"]].sum(axis=1) == found["n"]).all()


def test_every_window_is_counted_once():
    probability, label = np.array([0.1, 0.9, 0.9, 0.5]), np.array([0, 0, 1, 1])
    counts = log_odds_counts(probability, label)
    assert counts["log_odds"].tolist() == [-2.2, 0.0, 2.2]
    assert counts[["with_site", "without"]].sum().tolist() == [2, 2]


def test_measured_counts_agree_with_the_measured_scores():
    scores = read_numbers("measured/scores").query("fold == 'all' and metric == 'accuracy'")
    scores = scores.set_index(["model", "recipe", "group"])["value"]
    counts = read_numbers("measured/splice_log_odds")
    for key, rows in counts.groupby(["model", "recipe", "group"]):
        right = rows["with_site"][rows["log_odds"] > 0].sum() + rows["without"][rows["log_odds"] < 0].sum()
        every = rows[["with_site", "without"]].sum().sum()
        assert right / every == pytest.approx(scores[key], abs=0.01), (
            key
        )  # log-odds of 0.0 are of either kind
