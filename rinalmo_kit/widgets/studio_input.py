"""What a person gives to the folding studio: pasted text, forced pairs, and how long a fold will take."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from ..inference.decoding import rules_of
from ..inference.energies import LONGEST
from ..inference.estimate import estimate
from ..rna.mea import check_nested
from ..rna.pairs import CANONICAL, as_pairs
from ..rna.sequences import read_fasta
from .payload import strip_position_numbers
from .studio_compare import COMPARED_UP_TO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model.rinalmo import Encoder

__all__ = ["EXAMPLES", "checked_pair", "expected_time", "not_empty", "pasted", "time_of"]

EXAMPLES = {
    "tRNA-Phe (yeast)": "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA",
    "5S rRNA (E. coli)": (
        "UGCCUGGCGGCCGUAGCGCGGUGGUCCCACCUGACCCCAUGCCGAACUCAGAAGUGAAACGCCGUAGCGCCGAUGGUAGUGUGGGGUCUCCCC"
        "AUGCGAGAGUAGGGAACUGCCAGGCAU"
    ),
    "frameshifting element (SARS-CoV-2)": (
        "UUUAAACGGGUUUGCGGUGUAAGUGCAGCCCGUCUUACACCGUGCGGCACAGGCACUAGUACUGAUGUCGUAUACAGGGCUUUUG"
    ),
}
"""RNAs to try, by name."""


LONG, PATIENCE, QUICK = 1500, 10.0, 500
"""Nucleotides, and seconds, above which the time is said before a fold starts; nucleotides that take no time."""


def pasted(text: str) -> list[tuple[str, str]]:
    r"""Read what a person pasted, FASTA or one sequence, into (name, sequence) records; it is never a path.

    Examples
    --------
    >>> pasted(">tRNA 1\n  1 gcgg auuu\n 61 acca"), pasted("ACG U")
    ([('tRNA', 'gcggauuuacca')], [('sequence', 'ACGU')])
    >>> pasted("/etc/hostname")
    [('sequence', '/etc/hostname')]
    """
    text = strip_position_numbers(text.lstrip("\ufeff \t\r\n"))
    return (
        list(read_fasta(io.StringIO(text))) if text.startswith(">") else [("sequence", "".join(text.split()))]
    )


def not_empty(records: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
    """Return the records that have a sequence, and a sentence that names the others.

    Raises
    ------
    ValueError
        If none has a sequence.

    Examples
    --------
    >>> not_empty([("a", "ACGU"), ("b", "")])
    ([('a', 'ACGU')], "Skipped, no sequence: 'b'.")
    """
    kept = [record for record in records if record[1].strip()]
    skipped = [repr(name) for name, sequence in records if not sequence.strip()]
    if not kept:
        raise ValueError("there is no sequence yet: paste one, or FASTA")
    if not skipped:
        return kept, ""
    more = f" and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    return kept, f"Skipped, no sequence: {', '.join(skipped[:10])}{more}."


def checked_pair(
    i: int,
    j: int,
    sequence: str,
    forced: Sequence[Sequence[int]] = (),
    *,
    canonical_only: bool = True,
    min_loop: int = 4,
    nested: bool = False,
) -> list[int]:
    """Return a pair to force, sorted; or say why it cannot be.

    Parameters
    ----------
    i, j : int
        From 0.
    sequence : str
    forced : sequence of pairs
        That are forced already.
    canonical_only, min_loop
        As for :func:`rinalmo_kit.fold`.
    nested : bool
        Pseudoknots are switched off.

    Raises
    ------
    ValueError
        If the nucleotides are too near each other, are not A-U, G-C or G-U, or pair already, or if the pair crosses
        another one where pseudoknots are off. Positions count from 1.

    Examples
    --------
    >>> checked_pair(9, 0, "GGGAAAACCC")
    [0, 9]
    >>> checked_pair(0, 2, "GGCAAAACCC")
    Traceback (most recent call last):
    ValueError: G1 and C3 cannot pair: 1 nucleotide lies between them, and a hairpin loop has 3 or more ...
    """
    i, j = as_pairs([(i, j)], length=len(sequence), name="force")[0].tolist()
    named = f"{sequence[i]}{i + 1} and {sequence[j]}{j + 1} cannot pair"
    between, least = j - i - 1, max(1, min_loop) - 1
    if between < least:
        lie = "1 nucleotide lies" if between == 1 else f"{between} nucleotides lie"
        raise ValueError(f"{named}: {lie} between them, and a hairpin loop has {least} or more (see More)")
    if canonical_only and sequence[i] + sequence[j] not in CANONICAL:
        raise ValueError(f"{named}: only A-U, G-C and G-U pairs are allowed (see More)")
    for other in forced:
        if [*other] == [i, j]:
            continue
        if both := {i, j} & {*other}:
            a, b = sorted(other)
            raise ValueError(
                f"{named}: {min(both) + 1} is in the forced pair {a + 1}-{b + 1}; clear that first"
            )
    if nested:
        check_nested(as_pairs([*forced, (i, j)] if [i, j] not in [[*one] for one in forced] else forced))
    return [i, j]


def time_of(text: str, model: Encoder) -> dict[str, Any]:
    """Return the ``seconds`` that a pasted text takes to fold, and ``words`` to say before it starts, if it is long.

    Nothing for a text that cannot be folded: what is wrong with it is said then.
    """
    try:
        lengths = [len(letters) for _, letters in not_empty(pasted(text))[0]]
        seconds, words = expected_time(lengths, model) if sum(lengths) > QUICK else (0.0, "")
    except (ValueError, RuntimeError, OSError):
        return {}
    said = seconds > PATIENCE or max(lengths) > LONG
    return {"seconds": round(seconds, 1), "words": words if said else ""}


def expected_time(lengths: Sequence[int], model: Encoder) -> tuple[float, str]:
    """Return the seconds that a fold of RNAs of these lengths takes, and a range in words; 0 and "" if unknown.

    To the model's time (:func:`rinalmo_kit.inference.estimate.estimate`) comes that of the energy models, as they
    took on one core of the machine on which the estimate was made.
    """
    job = estimate(list(lengths), model=model)
    if not job.seconds > 0:
        return 0.0, ""
    energies = sum(_energy_seconds(n) for n in lengths) if rules_of(model).energy else 0.0
    energies += sum(1.3e-9 * n**3 for n in lengths if n <= COMPARED_UP_TO)
    low, high = job.seconds_range
    seconds = job.seconds + energies
    return seconds, _span(low + energies / 1.5, high + energies * 1.5)


def _energy_seconds(length: int) -> float:
    """Return the seconds of an ensemble: ViennaRNA's exact one up to some length, then LinearPartition's."""
    return 7.5e-9 * length**3 if length <= LONGEST else 5e-3 * length


def _span(low: float, high: float) -> str:
    """Return a range of times in words.

    Examples
    --------
    >>> _span(12.4, 31.0), _span(70, 150), _span(0.2, 0.4)
    ('12 to 31 s', '1 to 3 min', '1 s')
    """
    if high < 90:
        first, last, unit = max(1, round(low)), max(1, round(high)), "s"
    else:
        first, last, unit = max(1, round(low / 60)), math.ceil(high / 60), "min"
    return f"{first} {unit}" if first == last else f"{first} to {last} {unit}"
