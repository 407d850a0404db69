"""How the whitening of embeddings was fitted, and how well neighbours among embeddings tell families.

``python -m reproduction.embeddings MODEL OUTPUT.safetensors`` fits the whitening to RNAs of the pretraining table,
without labels, and writes the model with it. Beside it goes a table of scores: five neighbours among 3,000 training
rows of ``rfam88`` tell the family of each test row, by cosine; and a linear probe learns from the same rows. What the
recipe is (pool, layer, width) was chosen by validation rows of ``rfam88``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.evaluation.baselines import kmer_counts
from rinalmo_kit.evaluation.embedding_maps import neighbour_labels
from rinalmo_kit.inference.embedding import embed, fit_whitening
from rinalmo_kit.model.checkpoint import save
from rinalmo_kit.model.pretrained import load

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from rinalmo_kit.model.rinalmo import Encoder
    from rinalmo_kit.model.whitening import Pool

__all__ = ["neighbour_scores", "whitened"]

SEED = 0
LONGEST = 300
FITTED, REFERENCES = 2500, 3000
POOL: Pool = "std"
WIDTH = 256


def unlabelled(number: int) -> list[str]:
    """Return RNAs of the pretraining table, none of which is a validation or test row of rfam88."""
    table, tests = load_table("pretrain_ncrna"), load_table("rfam88").query("split != 'train'")
    usable = table["sequence"].str.len().between(20, LONGEST) & ~table["sequence"].isin(
        set(tests["sequence"])
    )
    rows = table.loc[usable, "sequence"]
    return rows.sample(min(number, len(rows)), random_state=SEED).tolist()


def whitened(model: Encoder, rows: int = FITTED, *, width: int = WIDTH) -> Encoder:
    """Fit the whitening of a model and store it with the model."""
    model.info.whitening = fit_whitening(unlabelled(rows), model=model, pool=POOL, width=width)
    return model


def vectors_of(models: Mapping[str, Encoder], texts: list[str]) -> Iterable[tuple[str, NDArray[np.float32]]]:
    """Yield names of kinds of vectors and the vectors: k-mer counts, then embeddings of each model."""
    counts = kmer_counts(texts, longest=5)
    ends = np.cumsum([4**k for k in range(1, 6)])
    yield "1- to 4-mers", counts[:, : ends[3]]
    yield "4-mers", counts[:, ends[2] : ends[3]]
    yield "5-mers", counts[:, ends[3] :]
    for name, model in models.items():
        for pool in ("cls", "mean", "std"):
            found = cast("NDArray[np.float32]", embed(texts, model=model, pool=pool))
            yield f"{name}, {pool}", found
            if (whitening := model.info.whitening) is not None and whitening.pool == pool:
                yield f"{name}, {pool}, whitened", whitening.apply(found)


def neighbour_scores(
    models: Mapping[str, Encoder], *, references: int = REFERENCES, split: str = "test"
) -> pd.DataFrame:
    """Measure how well embeddings of models tell the families of rfam88, beside counts of k-mers.

    Parameters
    ----------
    models : mapping
        Name → model; the whitened vectors of those with a whitening are scored, too.
    references : int
        Training rows among which neighbours are looked for, and from which the linear probe learns.
    split : str
        Rows whose families are to be told: ``"test"`` or ``"val"``.

    Returns
    -------
    DataFrame
        A row a kind of vectors: ``vectors``, ``width``, ``knn_accuracy`` (five neighbours, cosine),
        ``probe_accuracy`` (logistic regression of standardised columns), ``references``, ``n``.
    """
    import pandas as pd

    table = load_table("rfam88")
    known = table[table["split"] == "train"].sample(references, random_state=SEED)
    asked = table[table["split"] == split]
    texts = [*known["sequence"], *asked["sequence"]]
    labels, truth = known["label"].to_numpy(), asked["label"].to_numpy()
    rows = []
    for name, vectors in vectors_of(models, texts):
        old, new = vectors[:references], vectors[references:]
        rows.append(
            {
                "vectors": name,
                "width": vectors.shape[1],
                "knn_accuracy": float(np.mean(neighbour_labels(old, labels, new) == truth)),
                "probe_accuracy": probe_accuracy(old, labels, new, truth),
                "references": references,
                "n": len(truth),
            }
        )
    return pd.DataFrame(rows)


def probe_accuracy(old: Any, labels: Any, new: Any, truth: Any) -> float:
    """Return the accuracy of a logistic regression on standardised columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    return float(learner.fit(old, labels).score(new, truth))


def main() -> None:
    """Run ``python -m reproduction.embeddings MODEL OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name or file of a model")
    parser.add_argument("output", type=Path, help="file of the model with its whitening")
    parser.add_argument("--name", help="of the model in the table (default: of its file)")
    parser.add_argument(
        "--beside", nargs="*", default=[], help="other models to score, with a whitening of their own"
    )
    options = parser.parse_args()
    models = {options.name or Path(options.model).stem: whitened(load(options.model, device="cpu"))}
    save(next(iter(models.values())), options.output, dtype=torch.float16)
    models |= {Path(other).stem: whitened(load(other, device="cpu")) for other in options.beside}
    table = neighbour_scores(models)
    with atomic_write(options.output.with_suffix(".csv")) as temporary:
        table.assign(**provenance()).to_csv(temporary, index=False, float_format="%.4g")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
