"""The folder of a run or a corpus: one writer at a time, seen to before the work, and files in it that are damaged."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import output_lock

__all__ = ["check_folder", "leads", "patient_lock", "read_facts", "run_lock"]

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


def read_facts(path: Path, *, remedy: str) -> dict[str, Any]:
    """Return what a JSON file of ours says.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do about a damaged one, for the error.

    Raises
    ------
    ValueError
        If it is empty, cut or something else.
    """
    text = path.read_bytes()
    try:
        facts = json.loads(text)
        if isinstance(facts, dict):
            return facts
        wrong = f"it holds {type(facts).__name__}, not an object"
    except (ValueError, RecursionError) as error:
        wrong = str(error) if text.strip() else "it is empty"
    raise ValueError(f"{path} is damaged ({wrong}): {remedy}")
