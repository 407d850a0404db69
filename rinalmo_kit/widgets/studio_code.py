"""The line of Python that gives what the folding studio shows."""

from __future__ import annotations

from typing import Any

__all__ = ["code_of"]

NO_FILE = "# model: the object that the studio was given; it is in no file (rk.save makes one)\n"


def code_of(
    sequence: str,
    source: str | None,
    rules: dict[str, Any],
    *,
    own: dict[str, Any],
    given: dict[str, Any],
    constraints: dict[str, list[Any]],
) -> str:
    """Return code that folds a sequence by rules and constraints.

    Parameters
    ----------
    sequence : str
    source : str, optional
        Name or path of the model; None for one that is in no file.
    rules : dict
        As :func:`rinalmo_kit.refold` takes them; those that are the model's `own` are left out of a call of fold.
    own, given : dict
        The model's rules; and further arguments of fold.
    constraints : dict
        Pairs to force and to forbid.

    Examples
    --------
    >>> print(code_of("ACGU", "nano-ss", {"gamma": 2.0}, own={}, given={}, constraints={}))
    import rinalmo_kit as rk
    rk.fold('ACGU', model='nano-ss', gamma=2.0)
    """
    plain = {"decoding": "greedy", "canonical_only": True, "min_loop": 4}  # a threshold says greedy
    rules = {key: value for key, value in rules.items() if plain.get(key) != value}
    given = given | {key: value for key, value in rules.items() if key not in own or own[key] != value}
    model = "model" if source is None else repr(source)
    call = f"rk.fold({sequence!r}, model={model}{_arguments(given)})"
    if wanted := {key: [tuple(p) for p in pairs] for key, pairs in constraints.items() if pairs}:
        call = f"rk.refold({call}{_arguments(rules | wanted)})"
    return f"import rinalmo_kit as rk\n{'' if source else NO_FILE}{call}"


def _arguments(given: dict[str, Any]) -> str:
    """Return keyword arguments as they stand in code after others."""
    return "".join(f", {key}={value!r}" for key, value in given.items())
