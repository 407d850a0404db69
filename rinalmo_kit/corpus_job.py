"""What a build of a corpus is asked for, what of it is there already, and the programs it runs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .corpus_file import FILE, Corpus
from .files import whole_file

__all__ = ["available_threads", "begin", "check_options", "digest", "finished", "room_for", "run", "tool"]

LONGEST = 65_535  # MMseqs2's own limit
WORK = "corpus.work"
SCRATCH = "mmseqs-"

INSTALL = {
    "seqkit": "apt-get install seqkit (conda: conda install -c bioconda seqkit)",
    "mmseqs": "apt-get install mmseqs2 (conda: conda install -c bioconda mmseqs2)",
}


def check_options(
    min_length: int,
    max_length: int,
    holdout: float,
    min_identity: float | None = None,
    coverage: float = 1,
) -> None:
    """Refuse options out of range."""
    if not 0 < min_length <= max_length <= LONGEST:
        raise ValueError(
            f"min_length={min_length}, max_length={max_length}: expected 1 to {LONGEST}, the first no greater"
        )
    for name, value in {"holdout": holdout, "min_identity": min_identity, "coverage": coverage}.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: expected a fraction from 0 to 1")


def available_threads() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(source: Path | bytes) -> str:
    """Return a fingerprint of what a file, or a value, holds."""
    if isinstance(source, bytes):
        return hashlib.blake2b(source).hexdigest()
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def finished(output: Path, job: dict[str, Any]) -> bool:
    """Tell whether the corpus is there already; refuse to touch another one."""
    if not (output / FILE).exists():
        return False
    if differing := _differences(Corpus(output).meta["job"], job):
        raise FileExistsError(
            f"{output / FILE} was built otherwise ({differing}). Name another folder, or delete the file first"
        )
    return True


def begin(output: Path, job: dict[str, Any]) -> Path:
    """Make the folder for the stages, or see that what is in it belongs to this job."""
    work = output / WORK
    for leftover in (*output.glob(".*.tmp"), *work.glob(".*.tmp")):  # of a run that was killed
        if leftover.name.startswith((".corpus.lmdb.", ".refused.tsv.")) or leftover.parent == work:
            leftover.unlink()
    for leftover in work.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if (work / "job.json").exists():
        differing = _differences(json.loads((work / "job.json").read_text(encoding="utf-8")), job)
        if not differing:
            return work
        warnings.warn(
            f"{work} is of an unfinished build with others ({differing}): beginning anew", stacklevel=3
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with whole_file(work / "job.json") as temporary:
        temporary.write_text(json.dumps(job), encoding="utf-8")
    return work


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    plain = {"inputs": "other input files or their order", "families": "other families"}
    return ", ".join(plain.get(name, f"{name} {old.get(name)}, now {new.get(name)}") for name in changed)


@contextmanager
def room_for(output: Path) -> Iterator[None]:
    """Say what to do about a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise OSError(
                f"no room to write in {output}: {error.strerror}. What is finished is kept: make room, run again"
            ) from error
        raise


def tool(name: str) -> dict[str, str]:
    """Return the version of a program, or say how to install it."""
    if shutil.which(name) is None:
        raise FileNotFoundError(f"building a corpus needs {name}, which is not on PATH: {INSTALL[name]}")
    done = subprocess.run([name, "version"], capture_output=True, text=True, check=False)
    return {name: done.stdout.strip() or "unknown"}


def run(command: list[str], log: Path, bar: Any) -> str:
    """Run a program while the clock of the bar goes on; return what it printed."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    process.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    bar.refresh()
        except BaseException:
            process.kill()
            process.wait()
            raise
    said = re.sub(r"\x1b\[\d*m", "", log.read_text(encoding="utf-8", errors="replace"))
    if process.returncode:
        tail = "\n".join(said.strip().splitlines()[-8:])
        raise OSError(
            f"{command[0]} failed with exit code {process.returncode} (is the disk full?). "
            f"What is finished is kept; run again to go on. It said last:\n{tail}"
        )
    return said
