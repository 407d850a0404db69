"""Parser of the ncRNA families of Rfam, with the filter by length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..._utils.extras import importing
from ...rna.sequences import read_fasta
from ..resampling import SEED
from ..schemas import check_table
from .archives import unpacked
from .rdata import read_dna_sets

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["length_predictable", "rfam88"]


def length_predictable(table: pd.DataFrame) -> list[str]:
    """Find the families that a decision tree tells from the others by length alone.

    Depth 10, ten stratified folds, mean F1 above 0.8, random state 42 (spec §5, ncRNA).

    Parameters
    ----------
    table : pandas.DataFrame
        Columns sequence and label, all splits.

    Returns
    -------
    list of str
        Labels, sorted.
    """
    import pandas as pd

    with importing("sklearn", "the length filter needs scikit-learn: pip install scikit-learn"):
        from sklearn.metrics import f1_score
        from sklearn.model_selection import StratifiedKFold
        from sklearn.tree import DecisionTreeClassifier

    lengths = table["sequence"].str.len().to_numpy()[:, None]
    labels = pd.Categorical(table["label"])
    known, scores = np.arange(len(labels.categories)), []
    folds = StratifiedKFold(n_splits=10, shuffle=True, random_state=SEED).split(lengths, labels.codes)
    for train, test in folds:
        tree = DecisionTreeClassifier(random_state=SEED, max_depth=10)
        predicted = tree.fit(lengths[train], labels.codes[train]).predict(lengths[test])
        true = labels.codes[test]
        scores.append(f1_score(true, predicted, average=None, labels=known, zero_division=0.0))
    return sorted(labels.categories[np.mean(scores, axis=0) > 0.8])


# --- ncRNA families --------------------------------------------------------------------------------------


def rfam88(source: Path, *, smallest: int = 400) -> pd.DataFrame:
    """Read Rfam-novel of ncrna-deep, ``train_test_val_sets_177_families.RDa``, and filter it as the paper does.

    The file holds the Biostrings sets ``x_train``, ``x_val`` and ``x_test``, whose names are the families
    (read in the source of ncrna-deep and of the official preparation). The same three as FASTA
    (``x_train.fasta`` …) are read too. In the order of the official preparation (spec §5, ncRNA): families
    of all three sets; sequences of A, C, G, T alone; no family that length alone tells
    (:func:`rinalmo_kit.datasets.parsers.ncrna.length_predictable`); up to 200 nt; families with at least
    `smallest` training
    sequences. Classes are balanced later, by :func:`rinalmo_kit.datasets.resampling.resample`.
    """
    import pandas as pd

    rows = []
    with unpacked(
        source, r"(train_test_val_sets_177_families\.RDa|(^|/)(x_)?(train|val|test)\.fa(sta)?)$"
    ) as (_, files):
        for path in files:
            if path.suffix == ".RDa":
                sets = {name.removeprefix("x_"): records for name, records in read_dna_sets(path).items()}
            else:
                sets = {path.stem.removeprefix("x_"): list(read_fasta(path))}
            for split, records in sets.items():
                where = f"{source}: {path.name}, {split}"
                rows += [
                    {
                        "where": f"{where}, record {i}",
                        "id": f"{split}_{i}",
                        "label": label,
                        "sequence": text.upper(),
                        "split": split,
                    }
                    for i, (label, text) in enumerate(records, 1)
                ]
    table = pd.DataFrame(rows)
    if table.empty or set(table["split"]) != {"train", "val", "test"}:
        raise ValueError(f"{source}: expected the sets x_train, x_val and x_test")
    everywhere = table.groupby("label")["split"].nunique() == 3
    table = table[table["label"].map(everywhere) & ~table["sequence"].str.contains("[^ACGT]")]
    table = table[~table["label"].isin(length_predictable(table))]
    table = table[table["sequence"].str.len() <= 200]
    sizes = table.loc[table["split"] == "train", "label"].value_counts()
    return check_table(
        table[table["label"].isin(sizes.index[sizes >= smallest])], "rfam88", source=str(source)
    )
