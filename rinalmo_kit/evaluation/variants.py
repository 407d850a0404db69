"""Effects of variants by the language model alone: log-odds of the mutant letters against those of the wild type.

The three conventions are those of Meier et al. 2021 ("Language models enable zero-shot prediction of the effects of
mutations on protein function", NeurIPS 34), for nucleotides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._utils.defaults import LANGUAGE_MODEL
from .._utils.progress import progress_bar
from ..inference.batching import ready_sequence, warn_if_unusual
from ..inference.masked import LETTERS, language_model, letter_logits
from ..model.rinalmo import Encoder, RiNALMo
from ..model.tokenizer import tokenize
from ..rna.alphabet import MASK, CleanSequence
from ..rna.sequences import Sequences, read_one

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["FILLS", "Fill", "Variant", "parse_variant", "variant_scores"]

Fill = Literal["mask", "wt", "mut"]
"""What the model sees at the positions of a variant."""


FILLS: tuple[Fill, ...] = ("mask", "wt", "mut")


class Variant(NamedTuple):
    """Substitutions of a sequence: positions from 0, ascending, and the letters before and after."""

    places: tuple[int, ...]
    wild_type: str
    mutant: str

    def __str__(self) -> str:
        parts = zip(self.wild_type, self.places, self.mutant, strict=True)
        return ":".join(f"{before}{place + 1}{after}" for before, place, after in parts)


def variant_scores(
    sequence: Sequences,
    variants: Iterable[Any] | pd.DataFrame | str | None = None,
    *,
    fill: Fill = "mask",
    model: Encoder | str | os.PathLike = LANGUAGE_MODEL,
    progress: bool = False,
) -> pd.DataFrame:
    r"""Score variants of a sequence by the log-odds of the mutant letters against the wild type's.

    The score of a variant with the positions T is the sum of log p(mutant letter) − log p(wild-type letter) over T,
    negative where the model finds the mutant less likely, with the probabilities (Meier et al. 2021)

    * ``fill="mask"``, masked marginals: given the sequence with all positions T masked, one pass for each set of
      positions;
    * ``fill="wt"``, wild-type marginals: given the wild type as it is, one pass for all variants;
    * ``fill="mut"``, mutant marginals: given the mutant as it is, one pass for each variant.

    Parameters
    ----------
    sequence : str, or one record as for :func:`rinalmo_kit.fold`
        The wild type; T counts as U.
    variants : iterable, DataFrame, str or None
        Each as ``"G12A"``, several substitutions at once as ``"G12A:C15U"``, HGVS such as ``"n.12G>A"`` and
        ``"r.12g>a"``, or (position, reference, alternative) as in VCF; positions count from 1. A table has the
        columns POS, REF and ALT, or ``variant``. None: all single substitutions.
    fill : {"mask", "wt", "mut"}
    model : RiNALMo, name or path
        With a language-model head.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        One row a variant: ``variant``, ``position`` (of the first substitution, from 1), ``wild_type``, ``mutant``
        (letters), ``score`` (in nats). For :func:`rinalmo_kit.plot.variant_map`.

    Raises
    ------
    ValueError
        Names the variant that is an insertion or a deletion, for which letters at one position cannot be compared,
        that has another letter than the sequence, or that cannot be read.

    Examples
    --------
    >>> variant_scores("GGGAAACCC", ["G2A", (9, "C", "T")])[["variant", "position"]].values.tolist()
    [['G2A', 2], ['C9U', 9]]
    >>> len(variant_scores("GGGAAACCC", fill="wt"))
    27
    """
    import pandas as pd

    if fill not in FILLS:
        raise ValueError(f"fill={fill!r}: expected 'mask', 'wt' or 'mut'")
    name, given = read_one(sequence)
    text = ready_sequence(name, given)
    warn_if_unusual(name, text)
    chosen = _singles(text) if variants is None else [parse_variant(text, one) for one in _listed(variants)]
    scores = _scores(text, chosen, fill, language_model(model), progress=progress)
    rows = [(str(one), one.places[0] + 1, one.wild_type, one.mutant) for one in chosen]
    table = pd.DataFrame(rows, columns=["variant", "position", "wild_type", "mutant"])
    return table.assign(score=scores)


def _scores(
    text: CleanSequence, variants: list[Variant], fill: Fill, model: RiNALMo, *, progress: bool
) -> NDArray[np.float64]:
    """Return the score of each variant; those for which the model sees the same share a pass."""
    codes = dict(zip(LETTERS, tokenize([LETTERS])[0, 1:-1].tolist(), strict=True))

    def seen(one: Variant) -> tuple[tuple[int, int], ...]:
        if fill == "wt":
            return ()
        return tuple(
            (k, MASK if fill == "mask" else codes[c]) for k, c in zip(one.places, one.mutant, strict=True)
        )

    copies: dict[tuple[tuple[int, int], ...], int] = {}
    copy_of = [copies.setdefault(seen(one), len(copies)) for one in variants]
    places = [[k for k, _ in copy] or range(len(text)) for copy in copies]
    logits: dict[int, NDArray[np.float32]] = {}
    with progress_bar(len(copies), "variants", shown=progress) as bar:
        for copy, found in letter_logits(model, text, [dict(one) for one in copies], places):
            logits[copy] = found
            bar.update()
    scores = np.zeros(len(variants))
    for k, (one, copy) in enumerate(zip(variants, copy_of, strict=True)):
        rows = logits[copy][list(one.places)] if fill == "wt" else logits[copy]
        after, before = ([LETTERS.index(c) for c in letters] for letters in (one.mutant, one.wild_type))
        index = np.arange(len(one.places))
        scores[k] = (rows[index, after].astype(np.float64) - rows[index, before]).sum()
    return scores


def _singles(text: str) -> list[Variant]:
    """Return all substitutions of one letter; letters other than A, C, G and U stay."""
    return [
        Variant((k,), letter, other)
        for k, letter in enumerate(text)
        if letter in LETTERS
        for other in LETTERS
        if other != letter
    ]


def _listed(variants: Any) -> list[Any]:
    """Return variants one by one, from a list, a table, or one alone."""
    if isinstance(variants, str):
        return [variants]
    if hasattr(variants, "columns"):
        return rows_of_table(variants)
    if isinstance(variants, Mapping | bytes) or not isinstance(variants, Iterable):
        raise TypeError(
            f"variants: expected strings such as 'G12A', or a table, not {type(variants).__name__}"
        )
    found = list(variants)
    if isinstance(variants, tuple) and len(found) == 3 and isinstance(found[0], int):  # one as in VCF
        return [variants]
    return found


def rows_of_table(table: pd.DataFrame) -> list[Any]:
    """Return the variants of a table: its column ``variant``, or POS, REF and ALT as in VCF, in any case.

    Examples
    --------
    >>> import pandas as pd
    >>> rows_of_table(pd.DataFrame({"#CHROM": ["x"], "POS": ["12"], "REF": ["G"], "ALT": ["A"]}))
    [('12', 'G', 'A')]
    """
    columns = {str(column).lower(): column for column in table.columns}
    if "variant" in columns:
        return list(table[columns["variant"]])
    if missing := [name for name in ("pos", "ref", "alt") if name not in columns]:
        raise ValueError(
            f"expected the column variant, or POS, REF and ALT; {missing[0].upper()} is missing among "
            f"{', '.join(map(str, table.columns))}"
        )
    return list(zip(*(list(table[columns[name]]) for name in ("pos", "ref", "alt")), strict=True))


_LETTER = re.compile(r"([A-Za-z])(\d+)([A-Za-z*=]+)")
_HGVS = re.compile(r"(?:[nrg]\.)?(\d+)([A-Za-z]+)>([A-Za-z]+)")
_INDEL = re.compile(r"del|ins|dup|inv|[-.*]|fs", re.IGNORECASE)


def parse_variant(sequence: str, variant: Any) -> Variant:
    """Read one variant of a sequence, of A, C, G and U, as :func:`variant_scores` takes it.

    Examples
    --------
    >>> parse_variant("GGGAAACCC", "g2t:A4C"), str(parse_variant("GGGAAACCC", (3, "GA", "AC")))
    (Variant(places=(1, 3), wild_type='GA', mutant='UC'), 'G3A:A4C')
    >>> parse_variant("GGGAAACCC", "4_5del")
    Traceback (most recent call last):
    ValueError: '4_5del' is an insertion or deletion: the score compares letters at one position, ...
    """
    if isinstance(variant, str):
        shown, parts = (
            variant,
            [_read_part(variant, one) for one in re.split("[:;,/ ]+", variant.strip()) if one],
        )
    elif isinstance(variant, tuple | list) and len(variant) == 3:
        shown = f"{variant[0]} {variant[1]}>{variant[2]}"
        if not all(isinstance(one, str) and one for one in variant[1:]):
            raise ValueError(f"{shown!r}: expected a reference and an alternative in letters")
        parts = [_part(shown, str(variant[0]), variant[1], variant[2])]
    else:
        raise ValueError(
            f"{variant!r} is not a variant: expected text such as 'G12A', or (position, ref, alt)"
        )
    changes: dict[int, tuple[str, str]] = {}
    for position, before, after in parts:
        for k, letters in enumerate(zip(before, after, strict=True), position - 1):
            if not 0 <= k < len(sequence):
                raise ValueError(f"{shown!r}: position {k + 1} lies outside the {len(sequence)} nucleotides")
            if k in changes:
                raise ValueError(f"{shown!r}: position {k + 1} is changed twice")
            if letters[0] != sequence[k]:
                raise ValueError(
                    f"{shown!r}: position {k + 1} of the sequence is {sequence[k]}, not {letters[0]}"
                )
            changes[k] = letters
    if not changes:
        raise ValueError(f"{shown!r} is not a variant: expected text such as 'G12A'")
    places = tuple(sorted(changes))
    return Variant(places, "".join(changes[k][0] for k in places), "".join(changes[k][1] for k in places))


def _read_part(shown: str, text: str) -> tuple[int, str, str]:
    if found := _LETTER.fullmatch(text):
        before, position, after = found.groups()
    elif found := _HGVS.fullmatch(text):
        position, before, after = found.groups()
    elif text[:2].lower() in ("c.", "p."):
        raise ValueError(f"{shown!r}: positions of '{text[:2]}' are not those of the sequence: give n. or r.")
    elif _INDEL.search(text):
        raise _is_indel(shown)
    else:
        raise ValueError(
            f"{shown!r} is not a variant: expected text such as 'G12A', 'G12A:C15U' or 'n.12G>A'"
        )
    return _part(shown, position, before, after)


def _part(shown: str, position: str, before: str, after: str) -> tuple[int, str, str]:
    """Return position and letters of one change, checked."""
    before, after = (letters.strip().upper().replace("T", "U") for letters in (before, after))
    if len(before) != len(after) or {before, after} & {"-", ".", "*", ""}:
        raise _is_indel(shown)
    if not position.strip().isdecimal() or int(position) < 1:
        raise ValueError(f"{shown!r}: expected a position from 1 on, found {position!r}")
    if wrong := sorted(set(before + after) - set(LETTERS)):
        raise ValueError(f"{shown!r}: {wrong[0]!r} is not one of A, C, G and U (or T)")
    return int(position), before, after


def _is_indel(shown: str) -> ValueError:
    return ValueError(
        f"{shown!r} is an insertion or deletion: the score compares letters at one position, so substitutions alone"
    )
