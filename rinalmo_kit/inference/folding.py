"""Fold RNAs: from sequences to structures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from .._utils.defaults import STRUCTURE
from .._utils.given import of_kind
from .._utils.progress import progress_bar
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.tasks import TASKS, task_of
from ..model.tiled_structure_head import check_memory
from ..model.unwrap import unwrapped
from ..rna.alphabet import CleanSequence
from ..rna.mea import Pseudoknots
from ..rna.pairs import as_pairs
from ..rna.rules import Energy, Method
from ..rna.sequences import Sequences, is_single, read_sequences, stream_sequences
from ..structure import Structure
from .batching import (
    batches_by_length,
    encode_sequences,
    ready_sequence,
    run_with_oom_retry,
    token_budget,
    too_large,
    warn_if_unusual,
)
from .decoding import Rules, decoded, mixed, reactivities, rules_of
from .pair_maps import pair_probability_maps
from .probing import as_reactivity

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["fold", "fold_each", "fold_or_explain", "pair_probabilities", "refold"]

CHUNK_BATCHES = 8
"""Batches of tokens that :func:`fold_each` reads ahead: a batch then holds RNAs of similar lengths."""


CHUNK_VALUES = 2**25
"""Pairing probabilities that :func:`fold_each` holds at most (128 MiB), but for its last record."""


Result = TypeVar("Result")


def folding_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a ready model that has a structure head."""
    model = ready_model(model)
    task = task_of(model.head)
    if task is None or not task.predicts_structures:
        kind = "no task head" if model.head is None else f"a {type(model.head).__name__}"
        raise ValueError(
            f"{model.name} cannot fold: it has {kind}; use one with a structure head, such as 'nano-ss'"
        )
    return model


def ready_records(sequences: Sequences) -> list[tuple[str, CleanSequence]]:
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
    model: Encoder | str | os.PathLike = STRUCTURE,
    decoding: Method | None = None,
    energy: Energy | Literal["model"] | None = "model",
    gamma: float | None = None,
    pseudoknots: Pseudoknots | None = None,
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    reactivity: Any = None,
    progress: bool = False,
) -> Structure | list[Structure]:
    """Predict secondary structures.

    Parameters
    ----------
    sequences : str, list of str, {name: sequence}, or path to FASTA
        T counts as U, lower case as upper case, white space is ignored.
    model : Encoder, name or path
        A model with a structure head; see :func:`rinalmo_kit.load`.
    decoding : {"greedy", "mea"}, optional
        The paper's greedy pass over the probabilities, or maximum expected accuracy (:mod:`rinalmo_kit.rna.mea`).
        Default: as the model's file says, greedy for official models; greedy if a `threshold` is given.
    energy : {"model", "viennarna", "linearpartition"} or None
        Energy model whose pairing probabilities are mixed with the model's; None: the model alone. Default: as the
        model's file says, with a warning if that program is not installed; none for greedy decoding.
    gamma : float, optional
        Weight of pairs in maximum expected accuracy; higher predicts more. Default: the model's.
    pseudoknots : {"strong", "all", "none"}, optional
        Which helices may cross, in maximum expected accuracy. Default: the model's.
    threshold : float, optional
        From 0 to 1, for greedy decoding: a pair needs a probability above it. Default: the value tuned with the model.
    canonical_only : bool
        Allow A-U, G-C and G-U only.
    min_loop : int
        A pair (i, j) needs j − i of at least this; 0 and 1 allow every pair.
    reactivity : array_like of float (L,), or one for each sequence, optional
        SHAPE or DMS reactivity of each nucleotide, normalised, NaN where there is none; shifts the log-odds of its
        pairs (:mod:`rinalmo_kit.inference.probing`).
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
        structure head; or for a rule or reactivities that cannot be.
    ImportError
        If `energy` names a program that is not installed, or cannot be used.

    Examples
    --------
    >>> fold("GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA")
    <Structure 'sequence': 76 nt, 21 pairs>
    """
    single = is_single(sequences)
    records = ready_records(sequences)
    options: dict[str, Any] = {
        "decoding": decoding,
        "energy": energy,
        "gamma": gamma,
        "pseudoknots": pseudoknots,
        "threshold": threshold,
        "canonical_only": canonical_only,
        "min_loop": min_loop,
    }
    model = folding_model(model)
    rules_of(model, **options)
    evidence = reactivities(reactivity, records, single=single)
    for record in records:
        warn_if_unusual(*record, gaps=True)
    folded: list[Any] = [None] * len(records)
    with progress_bar(len(records), "fold", shown=progress) as bar:
        for i, structure in structures(model, records, evidence=evidence, **options):
            folded[i] = _or_raise(structure)
            bar.update()
    return folded[0] if single and len(folded) == 1 else folded


def fold_each(
    records: Sequences, *, model: Encoder | str | os.PathLike = STRUCTURE, **options: Any
) -> Iterator[Structure]:
    """Fold (name, sequence) records, or whatever :func:`fold` takes, as they come, in their order.

    The options are those of :func:`fold`.

    The first is folded alone and the next ones in growing chunks, of which no more is held than :data:`CHUNK_BATCHES`
    batches: a result is not long in coming, and a file of millions is never held as a whole.

    Raises
    ------
    ValueError, MemoryError
        As :func:`fold`, when all records before the one that the error names have been yielded.

    Examples
    --------
    >>> [s.name for s in fold_each([("a", "GGGGAAAACCCC"), ("b", "ACGU")])]
    ['a', 'b']
    """
    yield from map(_or_raise, fold_or_explain(records, model=model, **options))


def fold_or_explain(
    records: Sequences,
    *,
    model: Encoder | str | os.PathLike = STRUCTURE,
    reactivity: Any = None,
    **options: Any,
) -> Iterator[Structure | ValueError | MemoryError]:
    """Yield, as :func:`fold_each`, the structure of each record, or the error that says why it has none.

    If `records` or the computation raises, what is finished is yielded first, in its order. `reactivity` holds for each
    record, so that there should be one.

    Examples
    --------
    >>> list(fold_or_explain([("a", "ACGU"), ("b", "")]))
    [<Structure 'a': 4 nt, 0 pairs>, ValueError("'b' is empty: expected at least one nucleotide")]
    """
    model = folding_model(model)
    rules_of(model, **options)
    for chunk in _growing_chunks(
        stream_sequences(records), CHUNK_BATCHES * token_budget(model.config, model.device)
    ):
        yield from _in_order(_fold_chunk(model, chunk, options, reactivity))


def _or_raise(found: Structure | Exception) -> Structure:
    if isinstance(found, Exception):
        raise found from found.__cause__
    return found


def _growing_chunks(records: Iterable[tuple[str, str]], tokens: int) -> Iterator[list[tuple[str, str]]]:
    """Cut records into chunks of 1, 2, 4, … records, of about so many tokens and :data:`CHUNK_VALUES` at most."""
    of_kind("records", records, Iterable, "(name, sequence) records")
    records = iter(records)
    read, most = 0, 1
    while True:
        chunk: list[tuple[str, str]] = []
        held = values = 0
        fault: BaseException | None = None
        while len(chunk) < most and held < tokens and values < CHUNK_VALUES:
            try:
                record = next(records)
            except StopIteration:
                break
            except BaseException as error:  # those before it are folded first
                fault = error
                break
            if not (isinstance(record, tuple | list) and len(record) == 2 and isinstance(record[1], str)):
                fault = TypeError(f"record {read + 1}: expected (name, sequence), found {str(record)[:60]!r}")
                break
            read += 1
            chunk.append(record)
            held += len(record[1]) + 2
            values += len(record[1]) ** 2
        if chunk:
            yield chunk
        if fault is not None:
            raise fault
        if not chunk:
            return
        most *= 2


def _fold_chunk(
    model: Encoder, chunk: list[tuple[str, str]], options: dict[str, Any], reactivity: Any = None
) -> Iterator[tuple[int, Structure | ValueError | MemoryError]]:
    """Yield places in a chunk of records as a user gave them, and what each becomes."""
    places, cleaned = [], []
    for i, (name, sequence) in enumerate(chunk):
        try:
            cleaned.append((name, ready_sequence(name, sequence)))
        except ValueError as error:
            yield i, error
        else:
            warn_if_unusual(*cleaned[-1], gaps=True)
            places.append(i)
    evidence = None
    if reactivity is not None:
        evidence = [as_reactivity(reactivity, len(text), name=name) for name, text in cleaned]
    for i, found in structures(model, cleaned, evidence=evidence, **options):
        yield places[i], found


def _in_order(found: Iterator[tuple[int, Result]]) -> Iterator[Result]:
    """Yield results by their numbers, from 0; if the computation is stopped, those that are finished, then the error.

    Examples
    --------
    >>> list(_in_order(iter([(1, "b"), (0, "a"), (2, "c")])))
    ['a', 'b', 'c']
    """
    waiting: dict[int, Result] = {}
    first = 0
    try:
        for i, one in found:
            waiting[i] = one
            while first in waiting:
                yield waiting.pop(first)
                first += 1
    except GeneratorExit:
        raise
    except BaseException:
        yield from (waiting[i] for i in sorted(waiting))
        raise


def refold(
    structure: Structure,
    *,
    model: Encoder | None = None,
    decoding: Method | None = None,
    gamma: float | None = None,
    pseudoknots: Pseudoknots | None = None,
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    force: ArrayLike = (),
    forbid: ArrayLike = (),
    unpaired: ArrayLike = (),
) -> Structure:
    """Decode a structure's probabilities again, with other rules or constraints; the model is not run.

    Greedy: of the pairs that the rules allow and whose probability is above the threshold, the most probable is taken,
    then the most probable of those that share no nucleotide with it, and so on. At threshold 0 a pair of probability 0
    is not taken. Maximum expected accuracy: see :mod:`rinalmo_kit.rna.mea`.

    Parameters
    ----------
    structure : Structure
        With probabilities, from :func:`fold`.
    model : Encoder, optional
        Its rules are the default, and its calibration gives the new pairs a confidence.
    decoding, gamma, pseudoknots, threshold, canonical_only, min_loop
        As for :func:`fold`.
    force : array_like of int, shape (n, 2)
        Pairs, 0-based, that are to be there, whatever their probability and letters.
    forbid : array_like of int, shape (n, 2)
        Pairs that are not to be there.
    unpaired : array_like of int, shape (n,)
        Positions, 0-based, that are to stay unpaired.

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
    of_kind("structure", structure, Structure, "a Structure, as fold returns")
    model = None if model is None else unwrapped(model)
    rules = rules_of(
        model,
        decoding=decoding,
        gamma=gamma,
        pseudoknots=pseudoknots,
        threshold=threshold,
        canonical_only=canonical_only,
        min_loop=min_loop,
    )
    constraints = {"force": force, "forbid": forbid, "unpaired": unpaired}
    return decoded(structure, rules, model=model, source=structure.method.partition(":")[0], **constraints)


@torch.inference_mode()
def pair_probabilities(
    sequence: str, *, model: Encoder | str | os.PathLike = STRUCTURE
) -> NDArray[np.float32]:
    """Return the pairing probability of every two nucleotides: float32 (L, L), symmetric, zero diagonal."""
    model = folding_model(model)
    text = ready_sequence("sequence", sequence)
    check_memory(model.head, len(text))
    [rows] = encode_sequences(model, [text])
    [(_, found)] = pair_probability_maps(model, {0: rows})
    if isinstance(found, Exception):
        raise found
    return found


@torch.inference_mode()
def structures(
    model: Encoder,
    records: list[tuple[str, CleanSequence]],
    *,
    evidence: list[NDArray[np.float64]] | None = None,
    **options: Any,
) -> Iterator[tuple[int, Structure | ValueError | MemoryError]]:
    """Yield numbers of records and their structures, as they are finished: the one way in which RNAs are folded.

    A batch of similar lengths is encoded at a time, and their maps then go through the head, together where that is
    faster (:mod:`rinalmo_kit.inference.pair_maps`). The options are those of :func:`fold`. In place of a structure
    comes an error that names the record, if memory does not suffice for it by itself, or that says that the model gives
    numbers that are not finite.
    """
    lengths = [len(text) for _, text in records]
    rules = rules_of(model, **options)

    def encode(batch: list[int]) -> list[Tensor]:
        if len(batch) == 1:  # a long one: its map is larger than all else
            check_memory(model.head, lengths[batch[0]])
        return encode_sequences(model, [records[i][1] for i in batch])

    budget = token_budget(model.config, model.device)
    for batch, encoded in run_with_oom_retry(batches_by_length(lengths, budget), lengths, encode):
        if isinstance(encoded, Exception):
            yield batch[0], _too_large(model, records[batch[0]], encoded)
            continue
        for i, found in pair_probability_maps(model, dict(zip(batch, encoded, strict=True))):
            yield i, structure_or_error(model, records[i], found, rules, evidence[i] if evidence else None)


def structure_or_error(
    model: Encoder,
    record: tuple[str, CleanSequence],
    found: NDArray[np.float32] | Exception,
    rules: Rules,
    reactivity: NDArray[np.float64] | None = None,
) -> Structure | ValueError | MemoryError:
    """Fold one RNA by its pairing probabilities, (L, L), or return why it has none, with its name."""
    if isinstance(found, ValueError):
        return found
    if isinstance(found, Exception):
        return _too_large(model, record, found)
    return structure_of(model, record, found, rules, reactivity)


def structure_of(
    model: Encoder,
    record: tuple[str, CleanSequence],
    probabilities: NDArray[np.float32],
    rules: Rules,
    reactivity: NDArray[np.float64] | None = None,
) -> Structure:
    """Return the structure that rules make of a model's own probabilities, (L, L), with the energies they name."""
    name, sequence = record
    probabilities, energy, source = mixed(model, record, probabilities, rules, reactivity)
    unpaired = Structure.from_checked(sequence, as_pairs(()), name, probabilities, energy=energy)
    if reactivity is not None:
        source += ", reactivities"
    return decoded(unpaired, rules, model=model, source=source)


def _too_large(model: Encoder, record: tuple[str, CleanSequence], error: Exception) -> MemoryError:
    named = MemoryError(too_large(*record, model, error=error))
    named.__cause__ = error
    return named


def pair_logits(model: Encoder, sequences: Sequence[CleanSequence]) -> list[Tensor]:
    """Return the (L, L) pairing logits of each sequence; the encoder sees all of them as one packed batch."""
    return list(TASKS["structure"].apply_head(model, encode_sequences(model, sequences)))
