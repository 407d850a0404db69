"""Perplexity of an encoder as the paper defines it, and at masked positions alone.

``python -m reproduction.perplexity MODEL OUTPUT.csv`` hides nucleotides of test RNAs that no corpus holds. The paper's
definition counts the tenth of the chosen nucleotides that are left as they are, whose letter can be read off; masked
positions alone say what is known of a letter that is not seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.datasets.loading import load_table
from rinalmo_kit.evaluation.baselines import ngram_perplexity
from rinalmo_kit.model.pretrained import load
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import MASK
from rinalmo_kit.training.masking import corrupt

__all__ = ["main", "perplexities"]

SEED = 0


@torch.inference_mode()
def perplexities(model: RiNALMo, sequences: list[str], *, seed: int = SEED) -> dict[str, float]:
    """Return the perplexity of the nucleotides that masking chooses: all of them (paper), and those masked alone.

    Parameters
    ----------
    model : RiNALMo
        With a trained language-model head.
    sequences : list of str
    seed : int
        Of the choice.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> sorted(perplexities(load("nano", device="cpu"), ["GGGGAAAACCCC" * 4]))
    ['masked alone', 'paper']
    """
    generator = torch.Generator().manual_seed(seed)
    losses, hidden = [], []
    for sequence in sequences:
        tokens = tokenize([sequence])[0]
        corrupted, chosen = corrupt(tokens, generator=generator)
        logits = model(corrupted[None]).logits[0].float().cpu()
        loss = torch.nn.functional.cross_entropy(logits[chosen], tokens[chosen], reduction="none")
        losses.append(loss.numpy())
        hidden.append((corrupted == MASK)[chosen].numpy())
    loss, masked = np.concatenate(losses), np.concatenate(hidden)
    return {"paper": float(np.exp(loss.mean())), "masked alone": float(np.exp(loss[masked].mean()))}


def main() -> None:
    """Run ``python -m reproduction.perplexity MODEL OUTPUT``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name or file of an encoder with a language-model head")
    parser.add_argument("output", type=Path, help="CSV")
    parser.add_argument("--rows", type=int, default=1000, help="RNAs to score (default: 1000)")
    options = parser.parse_args()
    table = load_table("rfam88")
    test = table["sequence"][table["split"] == "test"]
    texts = test.sample(min(options.rows, len(test)), random_state=SEED).tolist()
    known = table["sequence"][table["split"] == "train"].tolist()
    model = load(options.model, device="cpu")
    rows = [(model.name, counted, value) for counted, value in perplexities(model, texts).items()]
    rows += [(name, "every letter", value) for name, value in ngram_perplexity(known, texts).items()]
    found = pd.DataFrame(rows, columns=["model", "counted", "perplexity"]).assign(
        n=len(texts), **provenance()
    )
    with atomic_write(options.output) as temporary:
        found.to_csv(temporary, index=False, float_format="%.6g")
    print(found.to_string())


if __name__ == "__main__":
    main()
