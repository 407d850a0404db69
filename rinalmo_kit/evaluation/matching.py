"""Predicted structures of any program beside known ones: matched by name, scored one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._utils.files import user_path
from .._utils.warn import warn_user
from ..metrics import matthews_correlation, structure_scores
from ..rna.decoding import are_canonical
from ..rna.folded import FoldedRNA
from ..rna.formats import FORMATS, READ_ONLY
from ..rna.structure_rows import without_energy
from ..rna.structure_text import split_name
from ..structure import Structure, read_structures

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Matched", "UnscoredWarning", "holds_structures", "match_structures", "matched_scores"]

SHOWN = 10
"""Names that a message lists at most."""


class UnscoredWarning(UserWarning):
    """Known structures that are not scored: nothing was predicted for them, or for another sequence."""


class Matched(NamedTuple):
    """What :func:`match_structures` returns.

    Attributes
    ----------
    pairs : list of (Structure, Structure)
        Prediction and reference, in the order of the references.
    unpredicted : list of str
        References without a prediction.
    unknown : list of str
        Predictions without a reference.
    different : list of str
        Names whose sequences differ, with how.
    """

    pairs: list[tuple[FoldedRNA, FoldedRNA]]
    unpredicted: list[str]
    unknown: list[str]
    different: list[str]


def holds_structures(given: Any) -> bool:
    """Return whether what a user gives are structures, or the path of a file or folder of them.

    Examples
    --------
    >>> holds_structures("nano-ss"), holds_structures("predicted.ct"), holds_structures([Structure("A", [])])
    (False, True, True)
    """
    if isinstance(given, str | os.PathLike):
        path = user_path(given)
        if path.is_dir():
            of_models = (path / "model.safetensors").exists() or (path / "fold-0").is_dir()
            files = (one for one in path.rglob("*") if one.is_file())
            return not of_models and any(split_name(one)[1] in FORMATS | READ_ONLY for one in files)
        return split_name(path)[1] in FORMATS | READ_ONLY
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, Sequence) and not isinstance(given, bytes):
        return bool(given) and all(isinstance(one, FoldedRNA) for one in given)
    return isinstance(given, FoldedRNA)


def structures_of(given: Any, *, what: str) -> list[FoldedRNA]:
    """Return the structures that a user gives: a path, one, several, or a mapping by name.

    Raises
    ------
    TypeError
        For anything else, by the name of its type.
    """
    if isinstance(given, str | os.PathLike):
        return list(read_structures(given))
    if isinstance(given, FoldedRNA):
        return [given]
    found: list[Any]
    if isinstance(given, Mapping):
        found = [
            Structure(one.sequence, one.pairs, str(name)) if isinstance(one, FoldedRNA) else one
            for name, one in given.items()
        ]
    elif isinstance(given, Iterable) and not hasattr(given, "columns"):
        found = list(given)
    else:
        raise TypeError(f"{what}: expected structures or a path of them, not {type(given).__name__}")
    for number, one in enumerate(found, 1):
        if not isinstance(one, FoldedRNA):
            raise TypeError(f"{what} {number}: expected a Structure, not {type(one).__name__}")
    return found


def match_structures(predicted: Any, reference: Any) -> Matched:
    """Match predictions with references by name.

    Names are equal as they stand, or else in their first word, an energy before it aside, as programs keep the whole
    header of FASTA or its first word. Of several predictions with one name the first, the best of most programs, is
    taken, with a warning. One prediction and one reference belong together whatever they are called.

    Parameters
    ----------
    predicted, reference : path, Structure, list of Structures, or {name: Structure}

    Raises
    ------
    ValueError
        For several references of one name, or where no name is on both sides.

    Examples
    --------
    >>> found = match_structures([Structure("GAC", [], "a 1"), Structure("GG", [], "b")], [Structure("GAC", [], "a")])
    >>> len(found.pairs), found.unpredicted, found.unknown
    (1, [], ['b'])
    """
    predictions = _by_name(structures_of(predicted, what="prediction"), several=True)
    references = _by_name(structures_of(reference, what="reference"), several=False)
    partner = {name: name for name in references if name in predictions}
    taken = set(partner.values())
    short = _unique({name: _word(name) for name in predictions if name not in taken})
    wanted = _unique({name: _word(name) for name in references if name not in partner})
    partner |= {name: short[word] for word, name in wanted.items() if word in short}
    if len(predictions) == len(references) == 1:
        partner = dict(zip(references, predictions, strict=True))
    if not partner:
        raise ValueError(
            f"no name is on both sides: predicted are {_some(list(predictions))}; references {_some(list(references))}"
        )
    pairs, different = [], []
    for name, known in references.items():
        if name in partner:
            found = predictions[partner[name]]
            if how := _difference(found.sequence, known.sequence):
                different.append(f"{name!r} ({how})")
            else:
                pairs.append((found, known))
    taken = set(partner.values())
    unknown = [name for name in predictions if name not in taken]
    return Matched(pairs, [name for name in references if name not in partner], unknown, different)


def _by_name(structures: list[FoldedRNA], *, several: bool) -> dict[str, FoldedRNA]:
    """Return structures by name; of several of one name the first, if that may be."""
    found: dict[str, FoldedRNA] = {}
    twice: dict[str, int] = {}
    for one in structures:
        first = found.setdefault(one.name, one)
        if first is one or first == one:
            continue
        if not several or first.sequence != one.sequence:
            side = "predicted" if several else "reference"
            what = "structures" if first.sequence == one.sequence else "sequences"
            raise ValueError(f"{one.name!r}: there are two {side} {what} of this name: expected one")
        twice[one.name] = twice.get(one.name, 1) + 1
    if twice:
        warn_user(f"several structures were predicted for {_some(list(twice))}: the first of each is scored")
    return found


def _word(name: str) -> str:
    return next(iter(without_energy(name).split()), "")


def _unique(words: dict[str, str]) -> dict[str, str]:
    """Return names by their words, of which none is shared."""
    counts = Counter(words.values())
    return {word: name for name, word in words.items() if word and counts[word] == 1}


def _difference(found: str, known: str) -> str:
    if len(found) != len(known):
        return f"predicted for {len(found)} nucleotides, the reference has {len(known)}"
    k = next((k for k in range(len(known)) if found[k] != known[k]), None)
    return "" if k is None else f"position {k + 1}: predicted for {found[k]}, the reference has {known[k]}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def matched_scores(
    predicted: Any, reference: Any, *, canonical_only: bool = False
) -> tuple[pd.DataFrame, str]:
    """Score predictions against references, one row each, and say what was left out.

    Parameters
    ----------
    predicted, reference
        As for :func:`match_structures`.
    canonical_only : bool
        Leave pairs other than A-U, G-C and G-U out on both sides.

    Returns
    -------
    samples : DataFrame
        name, group, length, pairs (of the reference), pairs_predicted; precision, recall, f1, inf, mcc tolerant to
        ±1, and the same with ``_strict``.
    note : str
        What the rows are, if they are not all references with all their pairs.

    Raises
    ------
    ValueError
        As :func:`match_structures`, and if all sequences differ.

    Warns
    -----
    UnscoredWarning
        Names the references that are not scored.
    """
    import pandas as pd

    found = match_structures(predicted, reference)
    notes = ["canonical pairs alone"] * canonical_only
    total = len(found.pairs) + len(found.unpredicted) + len(found.different)
    left = {"whose sequence is another one": found.different, "without a prediction": found.unpredicted}
    for how, names in left.items():
        if names:
            notes.append(f"{len(names)} of {total} references {how} are left out")
            message = f"{len(names)} of {total} references {how} are not scored: {_some(names)}"
            warn_user(message, UnscoredWarning)
    if found.unknown:
        warn_user(f"no reference for {len(found.unknown)} predictions: {_some(found.unknown)}")
    if not found.pairs:
        raise ValueError(f"no structure can be scored: {_some(found.different)}")
    rows = [_row(one, known, canonical_only=canonical_only) for one, known in found.pairs]
    return pd.DataFrame(rows), "; ".join(notes)


def _row(predicted: FoldedRNA, known: FoldedRNA, *, canonical_only: bool) -> dict[str, Any]:
    target, found = known.pairs, predicted.pairs
    if canonical_only:
        target, found = (pairs[are_canonical(known.sequence, *pairs.T)] for pairs in (target, found))
    row: dict[str, Any] = {"name": known.name, "group": "", "length": len(known)}
    row |= {"pairs": len(target), "pairs_predicted": len(found)}
    for shift, ending in ((1, ""), (0, "_strict")):
        scores = structure_scores(target, found, shift=shift)._asdict()
        scores["mcc"] = matthews_correlation(target, found, length=len(known), shift=shift)
        row |= {f"{metric}{ending}": value for metric, value in scores.items()}
    return row
