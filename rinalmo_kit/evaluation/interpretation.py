"""Interpretation of a model, ``rk.explain``: masked letters, variants and mutations, attention against base pairs.

The probabilities of masked nucleotides are those of the pretraining task (paper, "Pre-training"); in-silico mutation
and the reading of attention (symmetrised, with the average product correction) are common practice, not the paper's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .._utils.defaults import LANGUAGE_MODEL
from .._utils.extras import importing
from .._utils.given import of_kind
from ..inference.batching import ready_sequence
from ..inference.masked import LETTERS, language_model, letter_logits
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder, RiNALMo
from ..model.tokenizer import tokenize
from ..rna.alphabet import MASK
from ..rna.sequences import Sequences, read_one
from ..structure import Structure
from .variants import variant_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "attention_of_pairs",
    "average_product_corrected",
    "masked_probabilities",
    "mutation_effects",
    "variant_scores",
]


def masked_probabilities(
    sequence: Sequences, *, model: Encoder | str | os.PathLike = LANGUAGE_MODEL
) -> NDArray[np.float32]:
    """Mask each nucleotide in turn and return what the language model expects in its place.

    Parameters
    ----------
    sequence : str, or one record as for :func:`rinalmo_kit.fold`
        L nucleotides.
    model : RiNALMo, name or path
        With a language-model head.

    Returns
    -------
    ndarray of float32, shape (L, 4)
        Probabilities of A, C, G and U, which sum to 1; other letters of the vocabulary are left out.

    Raises
    ------
    ValueError
        For a letter outside the vocabulary, or a model without a language-model head.

    Examples
    --------
    >>> masked_probabilities("GGGAAACCC").shape
    (9, 4)
    """
    text, encoder = ready_sequence(*read_one(sequence)), language_model(model)
    places = range(len(text))
    rows = np.zeros((len(text), len(LETTERS)), dtype=np.float32)
    for k, logits in letter_logits(encoder, text, [{k: MASK} for k in places], [[k] for k in places]):
        rows[k] = logits[0]
    return torch.from_numpy(rows).softmax(-1).numpy()


def mutation_effects(sequence: Sequences, score: Callable[[list[str]], ArrayLike]) -> NDArray[np.float64]:
    """Score every single substitution of a sequence against the sequence itself.

    Parameters
    ----------
    sequence : str, or one record as for :func:`rinalmo_kit.fold`
        L letters of A, C, G, U (or T).
    score : callable
        Takes a list of sequences and returns a number for each, such as
        ``lambda s: rk.predict(s, model="pico-mrl")["prediction"]``.

    Returns
    -------
    ndarray of float64, shape (L, 4)
        Score with A, C, G or U at each position, less that of the sequence; 0 for the letter that is there.

    Raises
    ------
    ValueError
        For another letter, or if not every sequence gets a score.

    Examples
    --------
    >>> mutation_effects("GA", lambda sequences: [s.count("G") for s in sequences]).tolist()
    [[-1.0, -1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    text = read_one(sequence)[1].upper().replace("T", "U")
    if bad := [k for k, letter in enumerate(text) if letter not in LETTERS]:
        raise ValueError(f"position {bad[0] + 1} is {text[bad[0]]!r}: only A, C, G and U are mutated")
    changed = [(k, n) for k, letter in enumerate(text) for n in range(4) if LETTERS[n] != letter]
    mutants = [text[:k] + LETTERS[n] + text[k + 1 :] for k, n in changed]
    values = np.asarray(score([text, *mutants]), dtype=float)
    if values.shape != (len(mutants) + 1,):
        raise ValueError(f"score gave {values.shape} for {len(mutants) + 1} sequences")
    effects = np.zeros((len(text), 4))
    effects[tuple(np.array(changed, dtype=int).reshape(-1, 2).T)] = values[1:] - values[0]
    return effects


def average_product_corrected(weights: Tensor) -> Tensor:
    """Symmetrise square maps and take out what rows and columns have in common: (…, L, L) → (…, L, L).

    Examples
    --------
    >>> average_product_corrected(torch.ones(3, 3)).abs().max()
    tensor(0.)
    """
    of_kind("weights", weights, torch.Tensor, "a tensor of maps")
    weights = weights + weights.mT
    rows, columns = weights.sum(-1, keepdim=True), weights.sum(-2, keepdim=True)
    return weights - rows * columns / weights.sum((-1, -2), keepdim=True).clamp(min=1e-12)


@torch.inference_mode()
def attention_of_pairs(
    structure: Structure, *, model: Encoder | str | os.PathLike = LANGUAGE_MODEL, least: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Compare the attention of every head with the base pairs of a structure.

    Parameters
    ----------
    structure : Structure
        With at least one pair; L nucleotides.
    model : RiNALMo, name or path
    least : int
        Positions nearer to each other are left out of the comparison.

    Returns
    -------
    maps : ndarray of float32, shape (blocks, heads, L, L)
        Attention between nucleotides as it is, from row to column.
    scores : ndarray of float64, shape (blocks, heads)
        Average precision of the corrected, symmetrised attention in finding the pairs; by chance, the share of pairs.

    Raises
    ------
    ValueError
        For a structure without pairs, or a model that gives no attention.

    Examples
    --------
    >>> s = Structure.from_dot_bracket("GGGGAAAACCCC", "((((....))))")
    >>> maps, scores = attention_of_pairs(s)
    >>> maps.shape, scores.shape
    ((6, 20, 12, 12), (6, 20))
    """
    with importing("sklearn", "average precision needs scikit-learn: pip install scikit-learn"):
        from sklearn.metrics import average_precision_score

    of_kind("structure", structure, Structure, "a Structure")
    if not len(structure.pairs):
        raise ValueError(f"{structure.name!r} has no pairs to compare with")
    encoder = ready_model(model)
    if not isinstance(encoder, RiNALMo):
        raise ValueError(f"{encoder.name} gives no attention; use a RiNALMo, such as 'nano' or 'giga'")
    maps = encoder(tokenize([structure.sequence]).to(encoder.device), attentions=True).attentions
    maps = maps[0].float().cpu()[..., 1:-1, 1:-1]
    i, j = torch.triu_indices(len(structure), len(structure), least)
    known = np.zeros((len(structure), len(structure)), dtype=bool)
    known[tuple(structure.pairs.T)] = True
    truth = known[i, j]
    values = average_product_corrected(maps)[..., i, j].numpy()
    scores = [[average_precision_score(truth, head) for head in block] for block in values]
    return maps.numpy(), np.array(scores)
