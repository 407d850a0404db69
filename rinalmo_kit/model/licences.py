"""Licences of models: what the weights that a model was made from ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .pretrained import EMBEDDED, OFFICIAL, REPLACED
from .rinalmo import Encoder

__all__ = ["Licence", "licence_of", "origins"]


class Licence(NamedTuple):
    """A licence by its identifier on the Hugging Face hub, and what it asks for in words."""

    identifier: str
    words: str


CC_BY = Licence(
    "cc-by-4.0",
    "CC BY 4.0: the weights are, or were made from, the official weights of RiNALMo "
    "(https://doi.org/10.5281/zenodo.15043668; Penić et al., Nature Communications 2025). Name them where you use "
    "or share these.",
)
APACHE = Licence(
    "apache-2.0",
    "Apache-2.0: the weights are, or were made from, those in rinalmo_kit; its model card names their data.",
)


def licence_of(model: Encoder) -> Licence | None:
    """Return the licence that a model's origin asks for; None where neither we nor the authors made what it began as.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> licence_of(load("nano-ss", device="cpu")).identifier
    'apache-2.0'
    """
    files = {file: name for name, (file, _) in OFFICIAL.items()}
    found = {files.get(name, name).removesuffix(".safetensors") for name in origins(model)}
    if found & {*OFFICIAL, CC_BY.identifier}:
        return CC_BY
    return APACHE if found & {*EMBEDDED, *REPLACED, APACHE.identifier} else None


def origins(model: Encoder) -> Iterator[str]:
    """Yield the names, or licences, of a model and of those that it was trained from, as far as it knows them."""
    yield from (model.name, model.source or "")
    if model.adapter is not None and model.adapter.base is not None:
        yield model.adapter.base.name
    yield from _starts(model.about)


def _starts(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the starts and licences in what is known of a training, with those of the earlier ones."""
    yield from (name for key in ("start", "licence") if isinstance(name := about.get(key), str))
    for key in ("pretraining", "earlier"):
        if isinstance(inner := about.get(key), Mapping):
            yield from _starts(inner)
