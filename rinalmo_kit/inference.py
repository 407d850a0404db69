"""Embedding, folding and prediction for sequences as users have them: text, lists, FASTA."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .confidence import promised_f1, read_off
from .heads import ClassificationHead, RibosomeLoadHead, StructureHead
from .hub import load
from .model import Encoder
from .sequences import is_single
from .strips import check_memory
from .structure import Structure, as_min_loop, as_pairs, as_threshold, greedy_pairs, with_probabilities
from .tokens import Sequences, clean, is_path, read_sequences, tokenize
from .unwrap import unwrapped

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["embed", "fold", "fold_each", "pair_probabilities", "predict", "refold"]

TRAINED_LENGTH = 1022
"""Longest sequence in pretraining, nucleotides (paper, "Pre-training")."""

TOKEN_BUDGET = 768
"""Tokens encoded at a time on a CPU: enough to keep the matrix products efficient, few enough to stay in cache."""

TOKEN_BUDGET_GPU = 32_768
"""Tokens encoded at a time on a GPU (not measured: no GPU was at hand)."""


PADDED_BUDGET = 400_000
"""Positions that a batch is padded to at most, for a regression head, if one sequence has fewer."""


@lru_cache(maxsize=2)
def _load_once(name: str) -> Encoder:
    return load(name)


def ready_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a model as it is, unwrapped, or load it by name or path; the last two loaded by name are kept."""
    if not isinstance(model, str | os.PathLike):
        model = unwrapped(model)
        if model.training:
            raise ValueError(
                "the model is in training mode, where dropout makes results random: call model.eval()"
            )
        return model
    return load(model) if isinstance(model, os.PathLike) or is_path(model) else _load_once(model)


def folding_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a ready model that has a structure head."""
    model = ready_model(model)
    if not isinstance(model.head, StructureHead):
        kind = "no task head" if model.head is None else f"a {type(model.head).__name__}"
        raise ValueError(
            f"{model.name} cannot fold: it has {kind}; use one with a structure head, such as 'pico-ss'"
        )
    return model


def predicting_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a ready model that has a classification or regression head."""
    model = ready_model(model)
    if not isinstance(model.head, ClassificationHead | RibosomeLoadHead):
        kind = "no task head" if model.head is None else f"a {type(model.head).__name__} (use rk.fold)"
        raise ValueError(
            f"{model.name} cannot predict: it has {kind}; expected a classification or regression head"
        )
    return model


def ready_sequence(name: str, sequence: str) -> str:
    """Clean a sequence that is to be computed on; refuse an empty one."""
    sequence = clean(sequence, name=name)
    if not sequence:
        raise ValueError(f"{name!r} is empty: expected at least one nucleotide")
    return sequence


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


def notice(name: str, sequence: str, *, gaps: bool = False) -> None:
    """Warn of what is computed as asked, but may not be what was meant."""
    if len(sequence) > TRAINED_LENGTH:
        warnings.warn(
            f"{name!r} has {len(sequence)} nucleotides; the models were trained on at most {TRAINED_LENGTH}. "
            "It is computed whole, but expect a less reliable result",
            stacklevel=3,
        )
    if gaps and "-" in sequence:
        warnings.warn(
            f"{name!r}, position {sequence.index('-') + 1}: a gap is kept as a position that never pairs; "
            "remove gaps to fold the RNA itself",
            stacklevel=3,
        )


@torch.inference_mode()
def embed(
    sequences: Sequences,
    *,
    model: Encoder | str | os.PathLike = "pico",
    pool: Literal["cls", "mean"] | None = None,
    progress: bool = False,
) -> list[NDArray[np.float32]] | NDArray[np.float32]:
    """Embed sequences with the encoder.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        A single string is treated as a list of one.
    model : Encoder, name or path
        See :func:`rinalmo_kit.load`.
    pool : {None, "cls", "mean"}
        None gives one row a nucleotide; ``"cls"`` the row of ``<cls>``, which the paper uses for maps and
        classification; ``"mean"`` the mean over nucleotides. ``<cls>`` and ``<eos>`` are never among the
        nucleotide rows and never in the mean.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of ndarray, each float32 (L, dim), or one ndarray (number of sequences, dim) with `pool`
        In the order of the input. What a sequence gets does not depend on the others beside it.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary, before any is computed.
    MemoryError
        Names the sequence that does not fit into memory by itself; several that do not are encoded in smaller batches.

    Examples
    --------
    >>> [e.shape for e in embed(["GGGAAACCC", "ACGU"])], embed("ACGU", pool="cls").shape
    ([(9, 192), (4, 192)], (1, 192))
    """
    if pool not in (None, "cls", "mean"):
        raise ValueError(f"pool={pool!r}: expected None, 'cls' or 'mean'")
    records = ready_records(sequences)
    texts = [text for _, text in records]
    for record in records:
        notice(*record)
    model = ready_model(model)
    results: list[Any] = [None] * len(texts)
    with progress_bar(len(texts), "embed", shown=progress) as bar:
        for batch, rows in embeddings(model, texts, pool):
            if rows is None:
                raise MemoryError(too_large(*records[batch[0]], model))
            for i, one in zip(batch, rows, strict=True):
                results[i] = one
            bar.update(len(batch))
    if pool is None:
        return results
    return np.stack(results) if results else np.zeros((0, model.config.dim), dtype=np.float32)


@torch.inference_mode()
def embeddings(
    model: Encoder, texts: list[str], pool: Literal["cls", "mean"] | None
) -> Iterator[tuple[list[int], list[NDArray[np.float32]] | None]]:
    """Yield indices of clean sequences and their embeddings, batch by batch; see :func:`within_memory`."""

    def compute(batch: list[int]) -> list[NDArray[np.float32]]:
        found = []
        for rows in represent(model, [texts[i] for i in batch]):
            rows = rows.float()
            pooled = rows[0] if pool == "cls" else rows[1:-1].mean(0) if pool == "mean" else rows[1:-1]
            found.append(_finite(pooled.cpu().numpy().copy(), model))
        return found

    lengths = [len(text) for text in texts]
    yield from within_memory(
        batches_by_length(lengths, token_budget(model.config, model.device)), lengths, compute
    )


def within_memory(
    batches: Iterable[list[int]], lengths: list[int], compute: Callable[[list[int]], Any]
) -> Iterator[tuple[list[int], Any]]:
    """Compute batch after batch; what memory does not suffice for is tried again in halves.

    Parameters
    ----------
    batches : iterable of list of int
        Indices of sequences, as from :func:`batches_by_length`.
    lengths : list of int
        Of the sequences.
    compute : callable
        From the indices of a batch to its results.

    Yields
    ------
    batch : list of int
        A batch, or the part of one that fitted. No later batch has more tokens than half of one that did not fit.
    results : Any
        Of `compute`; None for a sequence that does not fit by itself.

    Examples
    --------
    >>> def compute(batch):
    ...     if len(batch) > 2:
    ...         raise MemoryError
    ...     return [f"result {i}" for i in batch]
    >>> [batch for batch, _ in within_memory([[0, 1, 2, 3], [4]], [9] * 5, compute)]
    [[0, 1], [2, 3], [4]]
    """
    limit = float("inf")
    for whole in batches:
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            tokens = sum(lengths[i] + 2 for i in batch)
            fits = tokens <= limit or len(batch) == 1
            if fits:
                try:
                    results = compute(batch)
                except (MemoryError, RuntimeError) as error:
                    if not _is_memory_error(error):
                        raise
                    fits, results = False, None
            if fits or len(batch) == 1:
                yield batch, results
                continue
            if tokens <= limit:
                limit = tokens / 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]


def _is_memory_error(error: Exception) -> bool:
    """Tell whether memory ran out, on a GPU or in the CPU's allocator, which raises a mere RuntimeError."""
    words = "out of memory|not enough memory|can't allocate memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(re.search(words, str(error)))


def too_large(name: str, sequence: str, model: Encoder) -> str:
    """Say that memory does not suffice for one sequence, and what may help."""
    return (
        f"{name!r} has {len(sequence)} nucleotides, too many for the memory of {model.device}, even by itself: "
        "use a device with more memory, a smaller model, or cut the sequence"
    )


def token_budget(config: Any, device: torch.device) -> int:
    """Tokens to encode at a time; a narrow model takes more, whose calls would else take longer than what they do.

    Examples
    --------
    >>> from rinalmo_kit import Config
    >>> token_budget(Config.pico(), torch.device("cpu")), token_budget(Config.giga(), torch.device("cpu"))
    (1562, 768)
    """
    return TOKEN_BUDGET_GPU if device.type == "cuda" else max(TOKEN_BUDGET, 300_000 // config.dim)


def batches_by_length(lengths: list[int], budget: int = TOKEN_BUDGET) -> Iterator[list[int]]:
    """Yield indices in batches of at most `budget` tokens, or of one longer sequence, sorted by length.

    Examples
    --------
    >>> list(batches_by_length([5, 100, 7], budget=20))
    [[0, 2], [1]]
    """
    batch, tokens = [], 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and tokens + lengths[i] + 2 > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i] + 2
    if batch:
        yield batch


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
                else _as_probabilities(head_outputs(model, [rows])[0], model)
            )
            found.append(refold(with_probabilities(Structure(texts[i], [], ""), p), model=model, **options))
        return found

    lengths = [len(text) for text in texts]
    yield from within_memory(
        batches_by_length(lengths, token_budget(model.config, model.device)), lengths, compute
    )


def pair_logits(model: Encoder, sequences: list[str]) -> list[Tensor]:
    """(L, L) pairing logits of each sequence; the encoder sees all of them as one packed batch."""
    return head_outputs(model, represent(model, sequences))


def represent(model: Encoder, sequences: list[str]) -> list[Tensor]:
    """Representation of each sequence, (L + 2, dim) with ``<cls>`` and ``<eos>``, from one packed batch."""
    tokens = tokenize(sequences).to(model.device)
    packing = model.packing(tokens)
    return list(model.encode(tokens, packing).split(packing.lengths))


def head_outputs(model: Encoder, rows: list[Tensor]) -> list[Tensor] | Tensor:
    """Apply the task head to sequences that :func:`represent` has encoded.

    Returns
    -------
    list of Tensor
        (L, L) pairing logits of each, from a structure head.
    Tensor
        (B, classes) logits, or (B,) predictions in the scale of the training targets.
    """
    if isinstance(model.head, StructureHead):
        return [model.head(one[1:-1]) for one in rows]
    if isinstance(model.head, ClassificationHead):
        return model.head(torch.stack([one[0] for one in rows]))
    lengths = torch.tensor([len(one) for one in rows])
    # A sequence beyond pad_to is padded to nothing; it is alone in its batch, see predict
    width = max(model.pad_to or 0, int(lengths.max()))
    padded = torch.stack([F.pad(one, (0, 0, 0, width - len(one))) for one in rows])
    valid = torch.arange(width) < lengths[:, None]
    return model.head(padded, valid.to(padded.device))


@torch.inference_mode()
def predict(
    sequences: Sequences, *, model: Encoder | str | os.PathLike = "pico-ncrna-0", progress: bool = False
) -> pd.DataFrame:
    """Classify sequences, or predict a number for each, with a fine-tuned model.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
    model : Encoder, name or path
        With a classification or regression head. Default: the embedded classifier of 88 ncRNA families, which knows no
        others. Also embedded: ``"pico-splice-donor"`` and ``"pico-splice-acceptor"`` (400 nt, the site in the middle)
        and ``"pico-mrl"`` (5′ UTRs of up to 100 nt); the official ``"giga-splice-donor"``, …; or a file that
        :func:`rinalmo_kit.finetune` wrote. For structures use :func:`fold`. A model with a ``window`` reads so many
        nucleotides in the middle of each sequence.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        One row a sequence, in the order of the input. Columns ``name`` and, from a classifier, ``label`` and
        ``probability`` of that label, and the probability of each class, ``P(class)``; from a regression
        ``prediction``, in the unit of the training targets. What a sequence gets does not depend on the others.

    Raises
    ------
    ValueError
        Names the sequence that is empty or has a letter outside the vocabulary; or the model has no such head.
    MemoryError
        As for :func:`embed`.

    Examples
    --------
    >>> from rinalmo_kit.heads import ClassificationHead
    >>> encoder = load("pico", device="cpu")
    >>> encoder.head, encoder.labels = ClassificationHead(192, 16, 2), ("tRNA", "other")
    >>> list(predict(["ACGUACGU", "GGCC"], model=encoder).columns)
    ['name', 'label', 'probability', 'P(tRNA)', 'P(other)']
    """
    import pandas as pd

    records = ready_records(sequences)
    for record in records:
        notice(*record)
    model = predicting_model(model)
    found: list[Any] = [None] * len(records)
    with progress_bar(len(records), "predict", shown=progress) as bar:
        for batch, outputs in predictions(model, [text for _, text in records]):
            if outputs is None:
                raise MemoryError(too_large(*records[batch[0]], model))
            for i, output in zip(batch, outputs, strict=True):
                found[i] = output
            bar.update(len(batch))
    names = [name for name, _ in records]
    return pd.DataFrame({"name": names, **as_columns(model, np.array(found, dtype=np.float64))})


@torch.inference_mode()
def predictions(model: Encoder, texts: list[str]) -> Iterator[tuple[list[int], NDArray[np.float32] | None]]:
    """Yield indices of clean sequences and what the head gives for them, batch by batch; see :func:`within_memory`."""
    texts = [middle(text, model.window) for text in texts]

    def compute(batch: list[int]) -> NDArray[np.float32]:
        outputs = head_outputs(model, represent(model, [texts[i] for i in batch]))
        return _finite(outputs.float().cpu().numpy(), model)

    lengths = [len(text) for text in texts]
    yield from within_memory(batches_for(model, lengths), lengths, compute)


def middle(sequence: str, window: int | None) -> str:
    """Return so many nucleotides in the middle of a sequence, or all.

    Examples
    --------
    >>> middle("AACGUU", 2), middle("AACGUU", None)
    ('CG', 'AACGUU')
    """
    start = 0 if window is None else max(0, (len(sequence) - window) // 2)
    return sequence[start : len(sequence) if window is None else start + window]


def batches_for(model: Encoder, lengths: list[int]) -> Iterator[list[int]]:
    """Yield batches in which no sequence changes what another one gets: a regression head sees the padding."""
    budget = token_budget(model.config, model.device)
    if not isinstance(model.head, RibosomeLoadHead):
        yield from batches_by_length(lengths, budget)
        return
    fits = [i for i, length in enumerate(lengths) if length + 2 <= (model.pad_to or 0)]
    most = max(1, PADDED_BUDGET // (model.pad_to or 1))
    for batch in batches_by_length([lengths[i] for i in fits], budget):
        for start in range(0, len(batch), most):
            yield [fits[i] for i in batch[start : start + most]]
    yield from ([i] for i, length in enumerate(lengths) if length + 2 > (model.pad_to or 0))


def as_columns(model: Encoder, outputs: NDArray[np.float64]) -> dict[str, Any]:
    """Columns of :func:`predict` from the outputs of the head, (n, classes) or (n,)."""
    if isinstance(model.head, RibosomeLoadHead):
        mean, std = model.scaler or (0.0, 1.0)
        return {"prediction": outputs.reshape(-1) * std + mean}
    classes = model.head.classifier[2].out_features
    outputs = outputs.reshape(-1, classes)
    if classes == 1:  # one logit for yes or no
        yes = 1 / (1 + np.exp(-np.clip(outputs, -500, 500)))
        probabilities = np.concatenate((1 - yes, yes), axis=1)
    else:
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True, initial=-np.inf))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    labels = np.array(model.labels or [f"class {i}" for i in range(probabilities.shape[1])], dtype=object)
    best = probabilities.argmax(axis=1)
    return {
        "label": labels[best],
        "probability": probabilities.max(axis=1, initial=0.0),
        **{f"P({label})": probabilities[:, i] for i, label in enumerate(labels)},
    }


def progress_bar(total: int, what: str, *, shown: bool) -> Any:
    """Open a tqdm bar that counts RNAs."""
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not shown, desc=what, unit="RNA")
