"""Prediction of classes and numbers of RNAs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .._utils.defaults import FAMILIES
from .._utils.progress import progress_bar
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder
from ..model.task_base import Task, to_arrays
from ..model.tasks import task_of
from ..rna.alphabet import CleanSequence
from ..rna.sequences import Sequences
from .batching import (
    batches_for,
    encode_sequences,
    finite,
    ready_sequence,
    run_with_oom_retry,
    too_large,
    warn_if_unusual,
)
from .doubts import check_length, with_doubts
from .folding import ready_records

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["predict"]


def predicting_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a ready model that has a classification or regression head."""
    model = ready_model(model)
    task = task_of(model.head)
    if task is None or task.predicts_structures:
        kind = "no task head" if model.head is None else f"a {type(model.head).__name__} (use rk.fold)"
        raise ValueError(
            f"{model.name} cannot predict: it has {kind}; expected a classification or regression head"
        )
    return model


def columns_of(
    model: Encoder, outputs: Sequence[NDArray[np.floating]], texts: Sequence[str]
) -> dict[str, Any]:
    """Return the columns of :func:`predict` for what :func:`predictions` gave for each sequence."""
    return with_doubts(model, _task_of(model).columns(model, outputs), texts)


def ready_to_predict(model: Encoder, name: str, sequence: str) -> CleanSequence:
    """Return a sequence cleaned; reject an empty one, and one that is shorter than a splice model reads."""
    text = ready_sequence(name, sequence)
    check_length(model, name, text)
    return text


def column_kind(model: Encoder, column: str) -> Literal["text", "number", "numbers"]:
    """Return what kind of value a cell of one of the columns holds."""
    return "text" if column in ("family", "note") else _task_of(model).column_kind(column)


def _task_of(model: Encoder) -> Task:
    task = task_of(model.head)
    if task is None:
        raise ValueError(
            f"{model.name} cannot predict: its head, {type(model.head).__name__}, is of no known task"
        )
    return task


@torch.inference_mode()
def predict(
    sequences: Sequences, *, model: Encoder | str | os.PathLike = FAMILIES, progress: bool = False
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
        ``probability`` of that label, and the probability of each class, ``P(class)``; for families of Rfam also
        ``family``, with the name, and from the classifier of all 88 ``note``, which says where an RNA is perhaps of
        none of them (:data:`rinalmo_kit.inference.doubts.DOUBTFUL`); from a splice model ``note``, which says where
        the middle of a window is no ``GU`` or ``AG``; from a regression
        ``prediction``, in the unit of the training targets: a number or, from a regression of nucleotides, an array
        with a number for each. What a sequence gets does not depend on the others.

    Raises
    ------
    ValueError
        Names the sequence that is empty, has a letter outside the vocabulary or is shorter than a splice model reads;
        or the model has no such head.
    MemoryError
        As for :func:`embed`.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> from rinalmo_kit.model.heads import ClassificationHead
    >>> encoder = load("nano", device="cpu")
    >>> encoder.head, encoder.labels = ClassificationHead(320, 16, 2), ("tRNA", "other")
    >>> list(predict(["ACGUACGU", "GGCC"], model=encoder).columns)
    ['name', 'label', 'probability', 'P(tRNA)', 'P(other)']
    """
    import pandas as pd

    records = ready_records(sequences)
    model = predicting_model(model)
    for record in records:
        check_length(model, *record)
        warn_if_unusual(*record)
    found: list[Any] = [None] * len(records)
    with progress_bar(len(records), "predict", shown=progress) as bar:
        for batch, outputs in predictions(model, [text for _, text in records]):
            if isinstance(outputs, Exception):
                raise MemoryError(too_large(*records[batch[0]], model, error=outputs))
            for i, output in zip(batch, outputs, strict=True):
                found[i] = output
            bar.update(len(batch))
    names = [name for name, _ in records]
    return pd.DataFrame({"name": names, **columns_of(model, found, [text for _, text in records])})


@torch.inference_mode()
def predictions(
    model: Encoder, texts: list[CleanSequence]
) -> Iterator[tuple[list[int], Sequence[NDArray[np.floating]] | Exception]]:
    """Yield indices of clean sequences and what the head gives, batch by batch; see :func:`run_with_oom_retry`."""
    texts = [CleanSequence(crop_to_center(text, model.window)) for text in texts]

    task = _task_of(model)

    def compute(batch: list[int]) -> Sequence[NDArray[np.floating]]:
        found = to_arrays(task.apply_head(model, encode_sequences(model, [texts[i] for i in batch])))
        return [finite(one, model) for one in found]

    lengths = [len(text) for text in texts]
    yield from run_with_oom_retry(batches_for(model, lengths), lengths, compute, model.device)


def crop_to_center(sequence: str, window: int | None) -> str:
    """Return the `window` nucleotides at the center of a sequence, or all of it if there are fewer or it is None.

    Examples
    --------
    >>> crop_to_center("AACGUU", 2), crop_to_center("AACGUU", None)
    ('CG', 'AACGUU')
    """
    start = 0 if window is None else max(0, (len(sequence) - window) // 2)
    return sequence[start : len(sequence) if window is None else start + window]
