"""What a language model expects at positions of a sequence, as it stands or with letters masked or changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.devices import to_device
from ..model.pretrained import ready_model
from ..model.rinalmo import Encoder, RiNALMo
from ..model.tokenizer import tokenize
from ..rna.alphabet import CleanSequence
from .batching import batches_by_length, token_budget

__all__ = ["LETTERS", "language_model", "letter_logits"]

LETTERS = "ACGU"


def language_model(model: Encoder | str | os.PathLike) -> RiNALMo:
    """Return a ready model that has a language-model head, or raise ValueError."""
    found = ready_model(model)
    if not isinstance(found, RiNALMo):
        raise ValueError(f"{found.name} has no language-model head; use a RiNALMo, such as 'nano' or 'giga'")
    return found


@torch.inference_mode()
def letter_logits(
    model: RiNALMo,
    sequence: CleanSequence,
    changes: Sequence[Mapping[int, int]],
    places: Sequence[Sequence[int]],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the logits of A, C, G and U at some positions of changed copies of a sequence, in batches of copies.

    Parameters
    ----------
    model : RiNALMo
    sequence : str
        L nucleotides.
    changes : sequence of {position: token id}
        What each copy has in place of the sequence's own tokens.
    places : sequence of sequences of int
        The positions that are wanted of each copy, from 0.

    Yields
    ------
    (int, ndarray of float32, shape (positions, 4))
        Number of a copy, and its logits.
    """
    tokens = tokenize([sequence])[0]
    letters = to_device(tokenize([LETTERS])[0, 1:-1], model.device)
    budget = token_budget(model.config, model.device)
    for batch in batches_by_length([len(sequence)] * len(changes), budget):
        copies = tokens.repeat(len(batch), 1)
        for row, copy in enumerate(batch):
            for place, token in changes[copy].items():
                copies[row, place + 1] = token
        packing = model.packing(copies)
        wanted = [
            row * copies.shape[1] + place + 1 for row, copy in enumerate(batch) for place in places[copy]
        ]
        rows = model.encode(to_device(copies, model.device), packing)[
            torch.tensor(wanted, device=model.device)
        ]
        logits = model.lm_mask_head(rows).float()[:, letters].cpu()
        parts = logits.split([len(places[copy]) for copy in batch])
        yield from ((copy, part.numpy()) for copy, part in zip(batch, parts, strict=True))
