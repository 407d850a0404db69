"""What a prediction should be read with: names of families, RNAs of other families, windows without a splice site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.rinalmo import Encoder
from ..rna.families import RFAM, rfam_name

__all__ = ["DOUBTFUL", "check_length", "with_doubts"]

DOUBTFUL = 0.6
"""Entropy in nats of the 88 probabilities above which an RNA may be of another family.

``pico-ncrna-0`` is above it for 5 % of the RNAs of its families and for 70 % of those of other families of Rfam
(``python -m reproduction.unknown_families``; of ``giga-ncrna-0`` that is not measured).
"""


SITES = {"donor": "GU", "acceptor": "AG"}
"""Kind of splice site → the letters at the end of the intron, which are in the middle of a window."""


WINDOW = 400
"""Nucleotides of a window in the paper's table of splice sites."""


def check_length(model: Encoder, name: str, sequence: str) -> None:
    """Raise ValueError for a sequence that is shorter than a splice model reads, or has no middle for it.

    Examples
    --------
    >>> import rinalmo_kit as rk
    >>> check_length(rk.load("pico-splice-donor", device="cpu"), "a", "ACGU")
    Traceback (most recent call last):
    ValueError: 'a' has 4 nucleotides; pico-splice-donor reads 80, with the GU of the site in the middle
    """
    kind = splice_site(model)
    if kind is None or model.info.about.get("recipe", model.name.partition("-")[2]) != f"splice-{kind}":
        return
    reads = model.window or WINDOW
    if len(sequence) < reads or (model.window is None and len(sequence) > reads):
        raise ValueError(
            f"{name!r} has {len(sequence)} nucleotides; {model.name} reads {reads}, with the {SITES[kind]} of the site "
            "in the middle"
        )


def splice_site(model: Encoder) -> str | None:
    """Return the kind of splice site that a model tells from other windows, None for any other model."""
    kinds = [kind for kind in SITES if tuple(model.labels or ()) == (f"no {kind} site", f"{kind} site")]
    return kinds[0] if kinds else None


def with_doubts(model: Encoder, columns: dict[str, Any], sequences: Sequence[str]) -> dict[str, Any]:
    """Return the columns of a prediction with ``family`` and ``note`` where there is something to say.

    Families of Rfam get their names; an RNA whose probabilities are spread over many families, or a window without the
    letters of a splice site in its middle, gets a note in words.
    """
    labels = tuple(model.labels or ())
    found: dict[str, Any] = {}
    if "label" not in columns or not labels:
        return columns
    if set(labels) <= set(RFAM):
        found["family"] = _objects([rfam_name(label) for label in columns["label"]])
    if set(labels) == set(RFAM):
        found["note"] = _objects(_unknown([columns[f"P({label})"] for label in labels]))
    elif (kind := splice_site(model)) is not None:
        found["note"] = _objects([_middle(sequence, kind) for sequence in sequences])
    chances = {name: column for name, column in columns.items() if name not in ("label", "probability")}
    first = {"label": columns["label"], "family": found.get("family"), "probability": columns["probability"]}
    shown = {**first, "note": found.get("note")}
    return {name: column for name, column in shown.items() if column is not None} | chances


def _unknown(probabilities: list[Any]) -> list[str]:
    p = np.stack(probabilities, axis=1)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    return [f"perhaps none of the {len(RFAM)} families" if one else "" for one in entropy > DOUBTFUL]


def _middle(sequence: str, kind: str) -> str:
    """Return what is wrong with the middle of a window, empty for the letters of a site.

    Examples
    --------
    >>> _middle("AAGUCC", "donor"), _middle("AACUCC", "donor")
    ('', 'the middle is CU, not GU: no site of the usual kind')
    """
    start = len(sequence) // 2 - 1
    middle = sequence[max(0, start) : start + 2]
    if middle == SITES[kind]:
        return ""
    return f"the middle is {middle}, not {SITES[kind]}: no site of the usual kind"


def _objects(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=object)
