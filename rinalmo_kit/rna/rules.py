"""How pairing probabilities become pairs: the rules that a model carries, and that a user may change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from .._utils.choices import did_you_mean
from .decoding import greedy_pairs
from .mea import Pseudoknots, constrained, mea_pairs
from .mixing import Mixer
from .pairs import as_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Decoding"]

Method = Literal["greedy", "mea"]
Energy = Literal["viennarna", "linearpartition"]


@dataclass(frozen=True)
class Decoding:
    """Rules of decoding, as a model file holds them.

    Parameters
    ----------
    method : {"greedy", "mea"}
        The paper's greedy pass (spec §4.1), or maximum expected accuracy (:mod:`rinalmo_kit.rna.mea`).
    energy : {"viennarna", "linearpartition"}, optional
        Energy model whose pairing probabilities are mixed with the model's.
    gamma, gamma_alone : float
        Weight of pairs in "mea", with energies and without.
    pseudoknots : {"strong", "all", "none"}
        Helices that may cross, in "mea".
    weights : (float, float)
        Share of the model in the mixture where it expects little of itself, and where it expects much.
    between : (float, float)
        Expected F1 of the model's own pairs up to which the first share counts, and from which the second does.
    mixer : Mixer, optional
        Network that mixes both instead, pair by pair (:mod:`rinalmo_kit.rna.mixing`).
    calibration, calibration_alone : tuple of (float, float)
        Expected F1 → F1 that was seen, with energies and without (:mod:`rinalmo_kit.inference.confidence`).

    Examples
    --------
    >>> Decoding("mea", energy="viennarna").share(0.3)
    0.5
    """

    method: Method = "greedy"
    energy: Energy | None = None
    gamma: float = 3.0
    gamma_alone: float = 4.0
    pseudoknots: Pseudoknots = "strong"
    weights: tuple[float, float] = (0.5, 0.8)
    between: tuple[float, float] = (0.3, 0.4)
    mixer: Mixer | None = None
    calibration: tuple[tuple[float, float], ...] = ()
    calibration_alone: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("method", Method), ("pseudoknots", Pseudoknots)):
            if getattr(self, name) not in get_args(kind):
                value = getattr(self, name)
                meant = did_you_mean(value, get_args(kind))
                raise ValueError(f"{name}={value!r}{meant}: expected one of {', '.join(get_args(kind))}")
        if self.energy is not None and self.energy not in get_args(Energy):
            meant = did_you_mean(self.energy, get_args(Energy))
            raise ValueError(
                f"energy={self.energy!r}{meant}: expected None or one of {', '.join(get_args(Energy))}"
            )
        for name in ("gamma", "gamma_alone"):
            if not _number(getattr(self, name), low=0, high=1e6) or getattr(self, name) == 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a number above 0")
        for name in ("weights", "between"):
            value = getattr(self, name)
            if (
                not isinstance(value, tuple | list)
                or len(value) != 2
                or not all(_number(one) for one in value)
            ):
                raise ValueError(f"{name}={value!r}: expected two numbers from 0 to 1")
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        if self.between[0] > self.between[1]:
            raise ValueError(f"between={self.between!r}: expected two rising numbers")
        for name in ("calibration", "calibration_alone"):
            points = getattr(self, name)
            fits = isinstance(points, tuple | list) and len(points) <= 1000
            if not fits or not all(
                isinstance(point, tuple | list) and len(point) == 2 and all(_number(one) for one in point)
                for point in points
            ):
                raise ValueError(f"{name}: expected pairs of numbers from 0 to 1")
            points = tuple((float(x), float(y)) for x, y in points)
            if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(points)):
                raise ValueError(f"{name}: expected rising points")
            object.__setattr__(self, name, points)

    def changed(self, **changes: Any) -> Decoding:
        """Return these rules with others in place of some; None leaves a rule as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def share(self, expected: float) -> float:
        """Return the share of the model in the mixture, given the F1 that it expects of its own pairs."""
        (low, high), (start, end) = self.weights, self.between
        step = (
            float(expected >= end) if start == end else min(1.0, max(0.0, (expected - start) / (end - start)))
        )
        return low + (high - low) * step

    def pairs(
        self,
        probabilities: Any,
        sequence: str,
        *,
        threshold: float,
        alone: bool,
        canonical_only: bool = True,
        min_loop: int = 4,
        force: ArrayLike = (),
        forbid: ArrayLike = (),
        unpaired: ArrayLike = (),
    ) -> NDArray[np.int64]:
        """Return the pairs of a matrix of probabilities by these rules.

        Parameters
        ----------
        probabilities : array_like, shape (L, L)
        sequence : str
        threshold : float
            For "greedy".
        alone : bool
            Whether the probabilities are the model's alone, without energies.
        canonical_only, min_loop, force, forbid, unpaired
            As for :func:`rinalmo_kit.rna.mea.mea_pairs`.
        """
        rules: dict[str, Any] = {"canonical_only": canonical_only, "min_loop": min_loop}
        if self.method == "mea":
            return mea_pairs(
                probabilities,
                sequence,
                gamma=self.gamma_alone if alone else self.gamma,
                pseudoknots=self.pseudoknots,
                force=force,
                forbid=forbid,
                unpaired=unpaired,
                **rules,
            )
        forced = as_pairs(force, length=len(sequence), name="force")
        if len(forced) or np.size(forbid) or np.size(unpaired):
            probabilities = constrained(np.array(probabilities), forced, forbid=forbid, unpaired=unpaired)
        pairs, _ = greedy_pairs(probabilities, sequence, threshold=threshold, **rules)
        return as_pairs(np.concatenate((forced, pairs)))

    def words(self, *, threshold: float, alone: bool) -> str:
        """Say in a few words how the pairs are made.

        Examples
        --------
        >>> Decoding("mea").words(threshold=0.5, alone=True)
        'maximum expected accuracy, γ = 4, strong pseudoknots'
        """
        if self.method == "greedy":
            return f"greedy, pairs above {threshold:g}"
        knots = {"strong": "strong", "all": "all", "none": "no"}[self.pseudoknots]
        return f"maximum expected accuracy, γ = {self.gamma_alone if alone else self.gamma:g}, {knots} pseudoknots"

    def as_json(self) -> dict[str, Any]:
        """Return the rules that are not the defaults, for a model file."""
        plain = Decoding()
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found["mixer"] = self.mixer and self.mixer.as_json()
        return {name: value for name, value in found.items() if value != getattr(plain, name)}

    @classmethod
    def from_json(cls, rules: Mapping[str, Any]) -> Decoding:
        """Make rules from what a model file says.

        Raises
        ------
        ValueError
            Names a rule that there is not, or a value that it cannot have.
        """
        known = [one.name for one in fields(cls)]
        if unknown := [name for name in rules if name not in known]:
            raise ValueError(f"unknown rule {str(unknown[0])[:80]!r}; known: {', '.join(known)}")
        found = dict(rules)
        if found.get("mixer") is not None:
            found["mixer"] = Mixer.from_json(found["mixer"])
        return cls(**found)


def _number(value: Any, *, low: float = 0, high: float = 1) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )
