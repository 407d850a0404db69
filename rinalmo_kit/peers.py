"""What the encoders of multimolecule are like: their classes, vocabularies, blocks and longest sequence.

multimolecule is AGPL-3.0 and optional: it is imported inside functions, when it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .tokens import VOCABULARY

__all__ = ["find_blocks", "most_tokens", "multimolecule", "peer_class", "token_table", "vocabulary_of"]

ALPHABETS = ("standard", "iupac", "streamline", "nucleobase")
"""Alphabets of multimolecule's RnaTokenizer, with 28 (spec §1.2), 22, 11 and 10 tokens."""

NEEDED = ("<cls>", "<pad>", "<eos>", *"ACGT")
"""What a vocabulary cannot do without; for the other symbols ``N`` or ``<unk>`` may stand in."""

UNUSED_SETTINGS = ("architectures", "dtype", "transformers_version")
"""Entries of a peer's configuration that do not shape it, besides those whose names begin with ``_``."""


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leave torch's random state as it was: parts of multimolecule seed it when they are first used."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=gpus):
        yield


def find_blocks(peer: nn.Module, number: int) -> tuple[nn.Module, str]:
    """Find the list of Transformer blocks: the module that holds it, and its name there."""
    for above in peer.modules():
        for name, part in above.named_children():
            if isinstance(part, nn.ModuleList) and len(part) == number:
                return above, name
    raise ValueError(f"{type(peer).__name__} has no list of {number} blocks, as its configuration says")


def most_tokens(peer: nn.Module) -> int | None:
    """Most tokens that a peer has positions for, None if it computes positions for any length.

    fairseq's tables (RNA-FM, RNA-MSM) know their padding; their first position comes two rows after it.
    """
    most = getattr(peer.config, "max_position_embeddings", None)
    for name, part in peer.named_modules():
        if name.endswith("distance_embedding"):
            return most
        learned = isinstance(part, nn.Embedding) and isinstance(part.weight, nn.Parameter)
        if learned and name.endswith("position_embeddings"):
            rows = part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 2)
            return min(rows, most or rows)
    return None


@same_random_state()
def vocabulary_of(model: nn.Module) -> dict[str, int]:
    """Token ids of a peer of multimolecule, known by the size of its vocabulary."""
    size = getattr(model.config, "vocab_size", None)
    package = multimolecule()
    for alphabet in ALPHABETS:
        vocabulary = package.RnaTokenizer(alphabet=alphabet).get_vocab()
        if len(vocabulary) == size:
            return vocabulary
    raise ValueError(
        f"{type(model).__name__} has a vocabulary of {size}, which is none of multimolecule's for single RNA "
        "nucleotides; pass tokenizer=…. Models of k-mers or codons cannot be adapted: they have no row a nucleotide"
    )


def token_table(vocabulary: Mapping[str, int], *, name: str) -> list[int]:
    """Id that stands for each symbol of our vocabulary in another one; U and T are the same.

    Examples
    --------
    >>> ours = {symbol: i for i, symbol in enumerate(VOCABULARY)}
    >>> token_table(ours, name="ours") == list(range(22))
    True
    """
    ids = {symbol: vocabulary[symbol] for symbol in VOCABULARY if symbol in vocabulary}
    if "U" in vocabulary:
        ids["T"] = vocabulary["U"]
    if missing := [symbol for symbol in NEEDED if symbol not in ids]:
        raise ValueError(
            f"the vocabulary of {name} lacks {' '.join(missing)}: expected <cls>, <eos>, <pad> and one token a "
            "nucleotide (models of k-mers or codons cannot be adapted)"
        )
    stand_in = next((symbol for symbol in ("N", "<unk>") if symbol in ids), None)
    if lacking := [symbol for symbol in VOCABULARY if symbol not in ids]:
        if stand_in is None:
            raise ValueError(f"the vocabulary of {name} lacks {' '.join(lacking)}, and N and <unk> as well")
        warnings.warn(f"{name} does not know {' '.join(lacking)}: it will read {stand_in}", stacklevel=3)
    return [ids.get(symbol, ids.get(stand_in)) for symbol in VOCABULARY]


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that shape a peer."""
    return {k: v for k, v in settings.items() if not k.startswith("_") and k not in UNUSED_SETTINGS}


@same_random_state()
def peer_class(name: str) -> type[nn.Module]:
    """Find an encoder's class in multimolecule.models by its name, and nowhere else."""
    found = getattr(multimolecule().models, name, None)
    inside = isinstance(found, type) and found.__module__.startswith("multimolecule.models.")
    if not inside or not issubclass(found, nn.Module) or not hasattr(found, "config_class"):
        raise ValueError(f"{name!r} is not an encoder of multimolecule.models")
    return found


@same_random_state()
def multimolecule() -> ModuleType:
    """Import multimolecule, or say how to get it."""
    try:
        import multimolecule
        import multimolecule.models
    except ImportError as error:
        raise ImportError(
            "encoders of other groups need multimolecule (AGPL-3.0): pip install 'rinalmo-kit[peers]'"
        ) from error
    return multimolecule
