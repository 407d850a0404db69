"""Fold RNAs: from sequences to structures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._utils.progress import progress_bar
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.tasks import TASKS, task_of
from ..model.tiled_structure_head import check_memory
from ..model.unwrap import unwrapped
from ..rna.decoding import as_min_loop, as_threshold, greedy_pairs
from ..rna.pairs import as_pairs
from ..rna.sequences import Sequences, is_single, read_sequences
from ..structure import Structure, with_probabilities
from .batching import (
    _is_memory_error,
    batches_by_length,
    notice,
    ready_sequence,
    represent,
    token_budget,
    too_large,
    within_memory,
)
from .confidence import promised_f1, read_off

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["fold", "fold_each", "pair_probabilities", "refold"]


def folding_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a ready model that has a structure head."""
    model = ready_model(model)
    task = task_of(model.head)
    if task is None or not task.folds:
        kind = "no task head" if model.head is None else f"a {type(model.head).__name__}"
        raise ValueError(
            f"{model.name} cannot fold: it has {kind}; use one with a structure head, such as 'pico-ss'"
        )
    return model


def ready_records(sequences: Sequences) -> list[tuple[str, str]]:
    """Return names and clean sequences of what a user gave; of an empty list none, but an empty file is an error.

    Examples
    --------
    >>> ready_records({"a": "acgt"}), ready_records([])
    ([('a', 'ACGU')], [])
    """
    records = [(name, ready_sequence(name, sequence)) for name, sequence in read_sequences(sequences)]
    if not records and (isinstance(sequences, str | os.PathLike) or hasattr(sequences, "read")):
        shown = getattr(sequences, "name", "the file") if hasattr(sequences, "read") else sequences
        raise ValueError(f"{shown} holds no FASTA record")
    return records


def fold(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = "pico-ss",
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    progress: bool = False,
) -> Structure | list[Structure]:
    """Predict secondary structures.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        T counts as U, lower case as upper case, white space is ignored.
    model : Encoder, name or path
        A model with a structure head; see :func:`rinalmo_kit.load`.
    threshold : float, optional
        From 0 to 1; a pair needs a probability above it. Default: the value tuned with the model.
    canonical_only : bool
        Allow A-U, G-C and G-U only.
    min_loop : int
        A pair (i, j) needs j − i of at least this; 0 and 1 allow every pair.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Structure
        If one sequence was given: as a string, which may be FASTA text with one record, or as one object
        such as a ``SeqRecord``.
    list of Structure
        For everything else, in the order of the input.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary; or the model has no
        structure head; or for a threshold or `min_loop` that cannot be.

    Examples
    --------
    >>> fold("GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA")
    <Structure 'sequence': 76 nt, 21 pairs>
    """
    single = is_single(sequences)
    records = ready_records(sequences)
    options = {"threshold": threshold, "canonical_only": canonical_only, "min_loop": min_loop}
    _check_rules(**options)
    with progress_bar(len(records), "fold", shown=progress) as bar:
        folded = []
        for structure in fold_each(records, model=model, **options):
            folded.append(structure)
            bar.update()
    return folded[0] if single and len(folded) == 1 else folded


def fold_each(
    records: Iterable[tuple[str, str]], *, model: Encoder | str | os.PathLike = "pico-ss", **options: Any
) -> Iterator[Structure]:
    """Fold (name, sequence) records one at a time, as they come; the options are those of :func:`fold`.

    Examples
    --------
    >>> [s.name for s in fold_each([("a", "GGGGAAAACCCC"), ("b", "ACGU")])]
    ['a', 'b']
    """
    _check_rules(**options)
    model = folding_model(model)
    for name, sequence in records:
        sequence = ready_sequence(name, sequence)
        notice(name, sequence, gaps=True)
        try:
            probabilities = pair_probabilities(sequence, model=model)
        except (MemoryError, RuntimeError) as error:
            if not _is_memory_error(error):
                raise
            told = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
            raise MemoryError(too_large(name, sequence, model) + told) from error
        folded = with_probabilities(Structure(sequence, [], name), probabilities)
        yield refold(folded, model=model, **options)


def _check_rules(*, threshold: float | None = None, min_loop: int = 4, **_: Any) -> None:
    """Reject what no pair could be judged by, before anything is computed."""
    if threshold is not None:
        as_threshold(threshold)
    as_min_loop(min_loop)


def refold(
    structure: Structure,
    *,
    model: Encoder | None = None,
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    force: ArrayLike = (),
    forbid: ArrayLike = (),
) -> Structure:
    """Decode a structure's probabilities again, with another threshold or other rules; the model is not run.

    Of the pairs that the rules allow and whose probability is above the threshold, the most probable is taken, then the
    most probable of those that share no nucleotide with it, and so on. At threshold 0 a pair of probability 0 is none.

    Parameters
    ----------
    structure : Structure
        With probabilities, from :func:`fold`.
    model : Encoder, optional
        Its threshold is the default, and its calibration gives the new pairs a confidence.
    threshold, canonical_only, min_loop
        As for :func:`fold`.
    force : array_like of int, shape (n, 2)
        Pairs, 0-based, that are to be there, whatever their probability and letters.
    forbid : array_like of int, shape (n, 2)
        Pairs that are not to be there.

    Raises
    ------
    ValueError
        Without probabilities; for constraints that cannot be met, naming them (positions from 1); or for a threshold
        or `min_loop` that cannot be.

    Examples
    --------
    >>> s = fold("GGGGAAAACCCC")
    >>> refold(s, threshold=1.0).dot_bracket
    '............'
    >>> refold(s, threshold=1.0, force=[(0, 11)]).dot_bracket
    '(..........)'
    """
    if structure.probabilities is None:
        raise ValueError(f"{structure.name!r} has no probabilities to decode: fold it first")
    model = None if model is None else unwrapped(model)
    if threshold is None:
        threshold = 0.5 if model is None or model.threshold is None else model.threshold
    length = len(structure)
    forced = as_pairs(force, length=length, name="force")
    forbidden = as_pairs(forbid, length=length, name="forbid", multiplets=True)
    if both := {*map(tuple, forced.tolist())} & {*map(tuple, forbidden.tolist())}:
        i, j = min(both)
        raise ValueError(f"{structure.name!r}: pair {i + 1}-{j + 1} is to be there and not to be there")
    p = structure.probabilities
    if len(forced) or len(forbidden):
        p = p.copy()
        p[forced.ravel()] = p[:, forced.ravel()] = 0
        for i, j in forbidden:
            p[i, j] = p[j, i] = 0
    rules = {"threshold": threshold, "canonical_only": canonical_only, "min_loop": min_loop}
    pairs, _ = greedy_pairs(p, structure.sequence, **rules)
    pairs = as_pairs(np.concatenate((forced, pairs)))
    confidence = None
    if model is not None and model.calibration is not None:
        confidence = read_off(model.calibration, promised_f1(structure.probabilities, pairs))
    found = Structure(structure.sequence, pairs, structure.name)
    return with_probabilities(found, structure.probabilities, confidence)


@torch.inference_mode()
def pair_probabilities(
    sequence: str, *, model: Encoder | str | os.PathLike = "pico-ss"
) -> NDArray[np.float32]:
    """Pairing probability of every two nucleotides of one sequence: float32 (L, L), symmetric, zero diagonal."""
    model = folding_model(model)
    sequence = ready_sequence("sequence", sequence)
    if len(sequence) == 1:
        return np.zeros((1, 1), dtype=np.float32)
    check_memory(model.head, len(sequence))
    return _as_probabilities(pair_logits(model, [sequence])[0], model)


def _as_probabilities(logits: Tensor, model: Encoder) -> NDArray[np.float32]:
    probabilities = logits.float().sigmoid().triu(1)
    found = (probabilities + probabilities.T).cpu().numpy().copy()  # equal on both sides to the last bit
    return _finite(found, model)


def _finite(found: NDArray[np.float32], model: Encoder) -> NDArray[np.float32]:
    """Return what a model gives, or raise ValueError if it is no number."""
    if not np.isfinite(found).all():
        raise ValueError(
            f"{model.name} gives numbers that are not finite: its weights are damaged, or too large for {model.dtype}"
        )
    return found


@torch.inference_mode()
def structures(
    model: Encoder, texts: list[str], **options: Any
) -> Iterator[tuple[list[int], list[Structure] | None]]:
    """Yield indices of clean sequences and their structures, batch by batch; see :func:`within_memory`.

    One batch is encoded at a time, where :func:`fold_each` encodes one sequence at a time. The options are those of
    :func:`fold`.
    """

    def compute(batch: list[int]) -> list[Structure]:
        check_memory(model.head, max(len(texts[i]) for i in batch))
        found = []
        for i, rows in zip(batch, represent(model, [texts[i] for i in batch]), strict=True):
            lone = len(texts[i]) == 1
            p = (
                np.zeros((1, 1), np.float32)
                if lone
                else _as_probabilities(TASKS["structure"].apply_head(model, [rows])[0], model)
            )
            found.append(refold(with_probabilities(Structure(texts[i], [], ""), p), model=model, **options))
        return found

    lengths = [len(text) for text in texts]
    yield from within_memory(
        batches_by_length(lengths, token_budget(model.config, model.device)), lengths, compute
    )


def pair_logits(model: Encoder, sequences: list[str]) -> list[Tensor]:
    """(L, L) pairing logits of each sequence; the encoder sees all of them as one packed batch."""
    return list(TASKS["structure"].apply_head(model, represent(model, sequences)))
