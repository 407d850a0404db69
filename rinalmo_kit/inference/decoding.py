"""From the probabilities of a model to a structure: its rules, the energies that are mixed in, the decoding."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from .._utils.choices import did_you_mean
from .._utils.given import yes_or_no
from .._utils.warn import warn_user
from ..model.rinalmo import Encoder
from ..rna.alphabet import CleanSequence
from ..rna.decoding import as_min_loop, as_threshold, greedy_pairs
from ..rna.mea import Pseudoknots, allowed
from ..rna.rules import Decoding, Energy, Method
from ..structure import Structure
from .confidence import apply_calibration, promised_f1
from .energies import LONGEST, PROGRAMS, energy_module, energy_probabilities
from .probing import as_reactivity, with_reactivity

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Rules", "decoded", "mixed", "rules_of"]


class Rules(NamedTuple):
    """How the probabilities of a model become pairs, every choice made."""

    decoding: Decoding
    energy: Energy | None
    asked: bool  # whether the user named the energy model, so that it has to be there
    threshold: float
    canonical_only: bool
    min_loop: int


def rules_of(
    model: Encoder | None,
    *,
    decoding: Method | None = None,
    energy: Energy | Literal["model"] | None = "model",
    gamma: float | None = None,
    pseudoknots: Pseudoknots | None = None,
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
) -> Rules:
    """Return the rules for a model, of those that the user gave and those that its file says.

    Raises
    ------
    ValueError
        For a rule that cannot be.
    ImportError
        If `energy` names a program that is not installed, or cannot be used.
    """
    if decoding is not None and decoding not in get_args(Method):
        meant = did_you_mean(decoding, get_args(Method))
        raise ValueError(f"decoding={decoding!r}{meant}: expected one of {', '.join(get_args(Method))}")
    own = Decoding() if model is None or model.info.decoding is None else model.info.decoding
    if decoding is None:
        mea = gamma is not None or pseudoknots is not None
        decoding = "greedy" if threshold is not None else "mea" if mea else own.method
    chosen = own.changed(method=decoding, gamma=gamma, gamma_alone=gamma, pseudoknots=pseudoknots)
    program = (own.energy if decoding == "mea" else None) if energy == "model" else energy
    chosen.changed(energy=program)  # rejects a name that is not known
    asked = energy != "model" and program is not None
    if asked and program is not None:
        energy_module(program)
    tuned = 0.5 if model is None or model.threshold is None else model.threshold
    return Rules(
        chosen,
        program,
        asked,
        tuned if threshold is None else as_threshold(threshold),
        yes_or_no("canonical_only", canonical_only),
        as_min_loop(min_loop),
    )


def reactivities(
    given: Any, records: list[tuple[str, CleanSequence]], *, single: bool
) -> list[NDArray[np.float64]] | None:
    """Return the reactivities of each record, checked."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        if absent := [name for name, _ in records if name not in given]:
            raise ValueError(f"{absent[0]!r} has no entry among the reactivities")
        given = [given[name] for name, _ in records]
    elif single:
        given = [given]
    if len(given) != len(records):
        raise ValueError(
            f"{len(given)} arrays of reactivities for {len(records)} sequences: expected one each"
        )
    return [
        as_reactivity(one, len(text), name=name) for one, (name, text) in zip(given, records, strict=True)
    ]


@lru_cache(maxsize=16)
def _told_missing(program: str, why: str) -> None:
    """Say once that an energy model is missing, and what that costs."""
    warn_user(
        f"{why}. Folds are the model's alone: nearly as good for RNAs of known families, worse for those of new ones "
        '(README, "How good are the folds?"); energy=None says that this is wanted'
    )


def energies_of(
    record: tuple[str, CleanSequence], rules: Rules, reactivity: NDArray[np.float64] | None
) -> tuple[NDArray[np.float32] | None, Energy | None]:
    """Return the pairing probabilities of the energy model for one RNA, and which model it was; None for neither.

    Raises
    ------
    ImportError, RuntimeError
        As :func:`rinalmo_kit.inference.energies.energy_probabilities`, if the user asked for this program.
    """
    name, text = record
    wanted = energy = rules.energy
    if wanted is None or energy is None or len(text) < 6:
        return None, None
    if energy == "viennarna" and len(text) > LONGEST and not rules.asked:
        energy = "linearpartition"
    try:
        return energy_probabilities(text, energy, name=name, reactivity=reactivity), energy
    except (ImportError, RuntimeError) as error:
        if rules.asked:
            raise
        if energy == wanted and isinstance(error, ImportError):
            _told_missing(energy, str(error))
        else:
            what = str(error) if energy == wanted else f"{name!r} is too long for {PROGRAMS[wanted]}"
            warn_user(f"{what}: it is folded by the model alone")
        return None, None


def mixed(
    model: Encoder,
    record: tuple[str, CleanSequence],
    probabilities: NDArray[np.float32],
    rules: Rules,
    reactivity: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float32], Energy | None, str]:
    """Return the probabilities of the model and the energy model together, which that was, and their source in words.

    A model's own mixer weighs pair by pair (:class:`rinalmo_kit.rna.mixing.Mixer`). Without one the share of the model
    is the same for all pairs, and rises with the F1 that it expects of its own
    (:meth:`rinalmo_kit.rna.rules.Decoding.share`).
    """
    if reactivity is not None:
        probabilities = with_reactivity(probabilities, reactivity)
    energies, energy = energies_of(record, rules, reactivity)
    if energies is None or energy is None:
        return probabilities, None, model.name
    text = record[1]
    possible = allowed(probabilities, text, canonical_only=rules.canonical_only, min_loop=rules.min_loop)
    mixer = rules.decoding.mixer
    threshold = 0.0 if mixer is not None or model.threshold is None else model.threshold
    own, _ = greedy_pairs(probabilities, text, threshold=threshold)
    expected = promised_f1(probabilities, own)
    if mixer is not None:
        source = f"{model.name} and {PROGRAMS[energy]}"
        return mixer.mix(possible, energies, expected=expected), energy, source
    share = rules.decoding.share(expected)
    source = f"{share:.0%} {model.name}, {1 - share:.0%} {PROGRAMS[energy]}"
    return (share * possible + (1 - share) * energies).astype(np.float32), energy, source


def decoded(
    structure: Structure, rules: Rules, *, model: Encoder | None, source: str, **constraints: ArrayLike
) -> Structure:
    """Return the structure that the rules make of the probabilities of another one.

    `source` says in words whose probabilities they are.
    """
    p = structure.probabilities
    if p is None:
        raise ValueError(f"{structure.name!r} has no probabilities to decode: fold it first")
    alone = structure.energy is None
    try:
        pairs = rules.decoding.pairs(
            p,
            structure.sequence,
            threshold=rules.threshold,
            alone=alone,
            canonical_only=rules.canonical_only,
            min_loop=rules.min_loop,
            **constraints,
        )
    except ValueError as error:
        raise ValueError(f"{structure.name!r}: {error}") from error
    confidence, calibration = None, None
    if model is not None and rules.decoding.method == "greedy":
        calibration = model.calibration if alone else None
    elif model is not None:
        calibration = rules.decoding.calibration_alone if alone else rules.decoding.calibration
    if calibration:
        confidence = apply_calibration(calibration, promised_f1(p, pairs))
    words = rules.decoding.words(threshold=rules.threshold, alone=alone)
    return Structure.from_checked(
        CleanSequence(structure.sequence),
        pairs,
        structure.name,
        p,
        confidence,
        method=f"{source}: {words}" if source else words,
        energy=structure.energy,
    )
