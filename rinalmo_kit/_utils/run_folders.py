"""The folder of a run, a job or a corpus: checked before the work, one writer at a time, and for one purpose."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import atomic_write, output_lock

__all__ = [
    "check_folder",
    "claim_folder",
    "differences",
    "leads",
    "patient_lock",
    "read_facts",
    "run_lock",
    "write_facts",
]

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK")


def leads() -> bool:
    """Tell whether this is the first of the processes that train together, or the only one.

    Lightning, torchrun and srun number the others through these variables.
    """
    return all(os.environ.get(name, "0") in ("", "0") for name in RANKS)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the one lock of a run's folder; of several processes that train together the first holds it for all.

    Raises
    ------
    BlockingIOError
        If another run writes there: says which.
    """
    if not leads():
        yield
        return
    with output_lock(folder):
        yield


@contextmanager
def patient_lock(path: Path, *, seconds: float = 60) -> Iterator[None]:
    """Hold the lock of a file to which several add, after those who hold it, for a moment each, are done."""
    end = time.monotonic() + seconds
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(output_lock(path))
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        yield


def check_folder(folder: Path) -> None:
    """Make sure, before the work, that a folder can be made and written to; what is made for that goes again.

    Raises
    ------
    OSError
        Names the folder and what is in the way.
    """
    made: list[Path] = []
    try:
        for one in reversed((folder, *folder.parents)):
            if not one.exists():
                one.mkdir(exist_ok=True)
                made.append(one)
        trial = folder / f".{uuid.uuid4().hex}.tmp"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise type(error)(f"the folder {folder} cannot be written to: {error.strerror or error}") from error
    finally:
        for one in reversed(made):
            with suppress(OSError):  # another start has put something there
                one.rmdir()


def claim_folder(note: Path, facts: dict[str, Any], *, what: str, required: Iterable[str] = ()) -> None:
    """Write down what a folder is for, or make sure that it is for the same.

    Parameters
    ----------
    note : Path
        JSON file in the folder, which is made.
    facts : dict
        All that makes this run the run it is.
    what : str
        What the folder is of, for the errors, such as ``"run"``.
    required : iterable of str
        Keys without which the note is not one of ours.

    Raises
    ------
    ValueError
        If the folder is for something else: lists what differs. If the note is damaged.

    Examples
    --------
    >>> import tempfile
    >>> note = Path(tempfile.mkdtemp(), "run.json")
    >>> claim_folder(note, {"seed": 0}, what="run")
    >>> claim_folder(note, {"seed": 1}, what="run")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ... holds another run: choose another folder, delete it to start anew, or call as before
      seed: 0 there, 1 asked for
    """
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        write_facts(note, facts)
        return
    remedy = f"put it back from a copy, delete it to resume the {what}, if it is this one, or choose another folder"
    before = read_facts(note, remedy=remedy, required=required)
    if differing := differences(before, facts):
        raise ValueError(
            f"{note.parent} holds another {what}: choose another folder, delete it to start anew, or call as before\n  "
            + "\n  ".join(differing)
        )


OPAQUE = {
    "data": "other training rows there than asked for",
    "inputs": "other input files there, or in another order",
    "families": "other families there than asked for",
}
"""What to say of a fact that is a hash."""


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a line for each fact that differs, by name.

    Facts are compared as JSON; those in a dict count as facts themselves, and its ``name`` stands for it.

    Examples
    --------
    >>> differences({"seed": 0, "data": 17}, {"seed": 1, "data": 18, "lr": 0.1})
    ['data: other training rows there than asked for', 'lr: None there, 0.1 asked for', 'seed: 0 there, 1 asked for']
    """
    old, new = _flat(before), _flat(json.loads(json.dumps(now, default=str)))
    return [
        f"{key}: {OPAQUE.get(key, f'{old.get(key)!r} there, {new.get(key)!r} asked for')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in facts.items() if isinstance(value, dict)}
    parts = {name: value for one in inner.values() for name, value in one.items()}
    return parts | facts | {key: one.get("name") for key, one in inner.items()}


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Write facts to a JSON file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")


def read_facts(path: Path, *, remedy: str, required: Iterable[str] = ()) -> dict[str, Any]:
    """Return the facts in a JSON file that :func:`write_facts` wrote.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do about a damaged one, for the error.
    required : iterable of str
        Keys that it has.

    Raises
    ------
    ValueError
        If it is empty, cut or something else.
    """
    text = path.read_bytes()
    try:
        facts = json.loads(text)
        if not isinstance(facts, dict):
            wrong = f"it holds {type(facts).__name__}, not an object"
        elif lacking := [key for key in required if key not in facts]:
            wrong = f"it does not say the {', '.join(lacking)}"
        else:
            return facts
    except (ValueError, RecursionError) as error:
        wrong = str(error) if text.strip() else "it is empty"
    raise ValueError(f"{path} is damaged ({wrong}): {remedy}")
