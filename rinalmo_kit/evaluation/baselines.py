"""Baselines: constant answers, classical learners, folding programs, and n-grams for masked letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.extras import importing, usable
from ..inference.energies import PACKAGES
from ..model.tasks import TASKS
from ..rna.pairs import CANONICAL
from ..structure import Structure
from .folding_programs import PROGRAMS, fold_by, linearpartition, on_path, viennarna

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BASELINES", "installed", "kmer_counts", "most_pairs", "ngram_perplexity", "simple", "trivial"]


def most_pairs(sequence: str, *, min_loop: int = 4, name: str = "sequence") -> Structure:
    """Fold into the nested structure with the most canonical pairs (Nussinov): the trivial baseline.

    O(L³) time, O(L²) memory. Of equally good choices the first is taken.

    Examples
    --------
    >>> most_pairs("GGGAAAACCC").dot_bracket
    '(((....)))'
    """
    length = len(sequence)
    best = np.zeros((length + 1, length + 1), dtype=np.int32)  # best[i, j]: pairs in sequence[i:j]
    can = np.array([[a + b in CANONICAL for b in sequence] for a in sequence], dtype=bool).reshape(
        length, length
    )
    for i in range(length - 1, -1, -1):
        best[i] = best[i + 1]
        for k in (np.flatnonzero(can[i, i + min_loop :]) + i + min_loop).tolist():  # i pairs with k
            best[i, k + 1 :] = np.maximum(best[i, k + 1 :], best[i + 1, k] + 1 + best[k + 1, k + 1 :])
    pairs: list[tuple[int, int]] = []
    stack = [(0, length)]
    while stack:
        i, j = stack.pop()
        while i < j and best[i, j] == best[i + 1, j]:
            i += 1
        if i >= j:
            continue
        ks = np.flatnonzero(can[i, i + min_loop : j]) + i + min_loop
        k = next(k for k in ks.tolist() if best[i + 1, k] + 1 + best[k + 1, j] == best[i, j])
        pairs.append((i, k))
        stack += [(i + 1, k), (k + 1, j)]
    return Structure(sequence, np.array(pairs, dtype=np.int64).reshape(-1, 2), name)


BASELINES: dict[str, Callable[..., Structure]] = {
    "most-pairs": most_pairs,
    "viennarna": viennarna,
    "viennarna-centroid": partial(viennarna, kind="centroid"),
    "viennarna-mea": partial(viennarna, kind="mea"),
    **{name: partial(fold_by, name) for name in PROGRAMS},
    "linearpartition": linearpartition,
}
"""Name → function of a sequence: the trivial one, and those of ``folding_programs.py``."""


def installed() -> list[str]:
    """Return the names of the structure baselines that can be used here; warn of those that are installed but broken.

    Examples
    --------
    >>> "most-pairs" in installed()
    True
    """
    found = [name for name, (package, needs, _) in PACKAGES.items() if usable(package, needs=needs)]
    names = {"most-pairs", *found, *on_path()}
    return [name for name in BASELINES if name in names or name.partition("-")[0] in found]


def trivial(task: str, targets: Sequence[Any]) -> Any:
    """Return the best answer that does not look at the sequence: the most frequent class, or the mean.

    Examples
    --------
    >>> trivial("multiclass", ["tRNA", "5S", "tRNA"]), trivial("regression", [1.0, 3.0])
    ('tRNA', 2.0)
    """
    return TASKS[task].constant(targets)


def letter_codes(sequence: str) -> NDArray[np.int64]:
    """Return 0–3 for A, C, G, U, and 4 for every other letter."""
    codes = np.full(128, 4)
    codes[[ord(letter) for letter in "ACGU"]] = range(4)
    return codes[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def kmer_counts(sequences: Sequence[str], *, longest: int = 4) -> NDArray[np.float32]:
    """Return the share of each k-mer of A, C, G, U among those of its length, for k from 1 to `longest`.

    Returns
    -------
    ndarray of float32, shape (sequences, 4 + 16 + …)

    Examples
    --------
    >>> kmer_counts(["AACG"], longest=1).tolist()
    [[0.5, 0.25, 0.25, 0.0]]
    """
    if isinstance(sequences, str):
        raise TypeError(
            f"sequences: expected a list of sequences, found a string, {sequences[:20]!r}: put it in a list"
        )
    rows = np.zeros((len(sequences), sum(4**k for k in range(1, longest + 1))), dtype=np.float32)
    for row, sequence in zip(rows, sequences, strict=True):
        codes, start = letter_codes(sequence), 0
        for k in range(1, longest + 1):
            windows = (
                np.lib.stride_tricks.sliding_window_view(codes, k) if len(codes) >= k else codes[:0, None]
            )
            windows = windows[(windows < 4).all(axis=1)]
            numbers = windows @ 4 ** np.arange(windows.shape[1])[::-1]
            row[start : start + 4**k] = np.bincount(numbers, minlength=4**k) / max(1, len(numbers))
            start += 4**k
    return rows


def _upstream_starts(sequences: Sequence[str]) -> NDArray[np.float32]:
    """Count the AUGs of each 5′ UTR by their frame to its end, and its length: (n, 4)."""
    rows = []
    for sequence in sequences:
        frames = [(len(sequence) - i) % 3 for i in range(len(sequence) - 2) if sequence[i : i + 3] == "AUG"]
        rows.append([*(frames.count(frame) for frame in range(3)), len(sequence)])
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def simple(task: str, sequences: Sequence[str], targets: Sequence[Any], test: Sequence[str]) -> NDArray[Any]:
    """Predict by a classical learner, which a language model has to beat.

    Windows of one length, as around splice sites: logistic regression on the letter at each position. Other classes:
    logistic regression on 1- to 4-mers. Numbers: gradient-boosted trees on 1- to 4-mers, upstream AUGs and length.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
    sequences, targets : sequence
        To learn from.
    test : sequence of str

    Returns
    -------
    ndarray, shape (test,)

    Examples
    --------
    >>> simple("binary", ["GGGG", "CCCC"] * 5, ["a", "b"] * 5, ["GGGC"]).tolist()
    ['a']
    """
    with importing("sklearn", "simple learners need scikit-learn: pip install scikit-learn"):
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    if not TASKS[task].classifies:
        rows, test_rows = (np.hstack([kmer_counts(s), _upstream_starts(s)]) for s in (sequences, test))
        learner = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, random_state=0)
        return learner.fit(rows, np.asarray(targets, dtype=np.float64)).predict(test_rows)
    if len({len(s) for s in (*sequences, *test)}) == 1:
        rows, test_rows = (
            np.stack([np.eye(5, dtype=np.float32)[letter_codes(s)].ravel() for s in part])
            for part in (sequences, test)
        )
        learner = LogisticRegression(C=0.01, max_iter=300)
    else:
        rows, test_rows = kmer_counts(sequences), kmer_counts(test)
        learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return learner.fit(rows, np.asarray(targets)).predict(test_rows)


def ngram_perplexity(train: Sequence[str], test: Sequence[str]) -> dict[str, float]:
    """Compute the perplexity of A, C, G, U under letter frequencies and under trigrams; others are left out.

    Parameters
    ----------
    train, test : sequence of str

    Returns
    -------
    dict
        ``unigram``; ``trigram``, a letter given the two before it; ``neighbours``, given the one on either side, which
        is what a masked letter has, too. Each with one count added.

    Examples
    --------
    >>> ngram_perplexity(["ACGU" * 50], ["ACGUACGU"])["trigram"] < 1.5
    True
    """
    places = {"unigram": (), "trigram": (-2, -1), "neighbours": (-1, 1)}
    counts = {name: np.ones((5,) * len(around) + (4,)) for name, around in places.items()}
    sums = dict.fromkeys(places, 0.0)
    seen = dict.fromkeys(places, 0)
    for sequences, learn in ((train, True), (test, False)):
        for sequence in sequences:
            codes = np.concatenate(([4, 4], letter_codes(sequence), [4]))
            middle = np.flatnonzero(codes[2:-1] < 4) + 2
            for name, around in places.items():
                index = (*(codes[middle + place] for place in around), codes[middle])
                if learn:
                    np.add.at(counts[name], index, 1)
                else:
                    sums[name] -= np.log(counts[name][index] / counts[name].sum(-1)[index[:-1]]).sum()
                    seen[name] += len(middle)
    return {name: float(np.exp(sums[name] / seen[name])) for name in places}
