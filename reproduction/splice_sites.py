"""Small numbers of the splice windows, for pages that run without the table: letters around sites, and scores.

``python -m reproduction.splice_sites`` writes two files of ``data/measured``. ``splice_letters.csv`` counts the letters
at each position around the sites. ``splice_log_odds.csv`` counts how often a model gives windows with and without a
site which log-odds, of all test rows: enough for ROC and precision-recall. Neither holds a sequence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.inference.prediction import predict

__all__ = ["log_odds_counts", "main", "site_letters"]

MEASURED = Path(__file__).parents[1] / "data" / "measured"
BORDERS = {"donor": 199, "acceptor": 201}
"""Nucleotides of a window before the border of exon and intron, which lies after or before GU and AG."""
SPANS = {"donor": (-10, 20), "acceptor": (-20, 10)}
"""Nucleotides around the border that are counted: before and after it."""


def site_letters(table: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of letters at each position around the sites of a species; there is no position 0.

    Parameters
    ----------
    table : DataFrame
        Columns sequence, site, species and label, of 1 where there is a site.

    Examples
    --------
    >>> row = {"sequence": "C" * 199 + "GU" + "A" * 199, "site": "donor", "species": "human", "label": 1}
    >>> site_letters(pd.DataFrame([row])).query("position == 1")[["A", "C", "G", "U"]].values.tolist()
    [[0, 0, 1, 0]]
    """
    parts = []
    for (site, species), rows in table[table["label"] == 1].groupby(["site", "species"]):
        start, end = SPANS[site]
        border = BORDERS[site]
        letters = np.array([list(text[border + start : border + end]) for text in rows["sequence"]])
        counts = {letter: (letters == letter).sum(axis=0) for letter in "ACGU"}
        position = [*range(start, 0), *range(1, end + 1)]
        parts.append(
            pd.DataFrame({"site": site, "species": species, "position": position, **counts, "n": len(rows)})
        )
    return pd.concat(parts, ignore_index=True)


def log_odds_counts(probability: np.ndarray, label: np.ndarray) -> pd.DataFrame:
    """Return how many windows with and without a site have which log-odds, to one decimal.

    Parameters
    ----------
    probability : array of float, shape (n,)
        Of a site.
    label : array of int, shape (n,)
        1 where there is one.

    Examples
    --------
    >>> log_odds_counts(np.array([0.5, 0.9, 0.9]), np.array([0, 1, 1])).values.tolist()
    [[0.0, 0.0, 1.0], [2.2, 2.0, 0.0]]
    """
    odds = np.log(probability / (1 - probability)).round(1) + 0.0
    counts = pd.crosstab(odds, label).reindex(columns=[1, 0], fill_value=0)
    return counts.set_axis(["with_site", "without"], axis=1).rename_axis("log_odds").reset_index()


def main() -> None:
    """Write the files."""
    table, origin = load_table("splice"), provenance()
    parts = []
    for (site, species), rows in table[table["split"] == "test"].groupby(["site", "species"]):
        model = f"pico-splice-{site}"
        asked = predict(rows["sequence"].tolist(), model=model)
        counts = log_odds_counts(asked[f"P({site} site)"].to_numpy(float), rows["label"].to_numpy())
        parts.append(counts.assign(model=model, recipe=f"splice-{site}", group=species))
    names = ["model", "recipe", "group", "log_odds", "with_site", "without"]
    found = {"splice_letters": site_letters(table), "splice_log_odds": pd.concat(parts)[names]}
    for name, one in found.items():
        with atomic_write(MEASURED / f"{name}.csv") as temporary:
            one.assign(**origin).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
