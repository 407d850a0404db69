"""Files that appear whole or not at all; one writer an output."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "cache_folder",
    "check_output",
    "output_lock",
    "remove_left_over",
    "sha256_of",
    "user_path",
    "whole_file",
]


def user_path(path: str | os.PathLike) -> Path:
    """Return a path that a user gave as a Path, with ``~`` expanded: every path that we take goes through here.

    Examples
    --------
    >>> user_path("~/my.fasta") == Path.home() / "my.fasta"
    True
    """
    return Path(path).expanduser()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, and rename it at the end; an error leaves nothing behind.

    The content is on the disk before the rename, and the file has the permissions that the user's umask gives.
    """
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(path: Path) -> None:
    """Remove temporary files that a killed process left of writing `path`; call it under :func:`output_lock`."""
    prefix = f".{path.name[:100]}."
    for one in path.parent.iterdir() if path.parent.is_dir() else ():
        if one.name.startswith(prefix) and one.name.endswith(".tmp"):
            one.unlink(missing_ok=True)


def check_output(path: Path, *, inputs: Iterable[str | os.PathLike] = ()) -> None:
    """Make sure, before the work, that a file can be written; its folder is made.

    Parameters
    ----------
    path : Path
        The file to be written.
    inputs : iterable of path
        Files that are read, none of which may be the output, by whatever name or link.

    Raises
    ------
    ValueError
        If the output is one of the inputs.
    OSError
        If the file cannot be written there.
    """
    for one in inputs:
        if Path(one).exists() and path.exists() and path.samefile(one):
            raise ValueError(f"{path} is the input {one}: choose another output")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file")
    if path.exists() and not path.is_file():  # /dev/null, a pipe: written to as it is
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def output_lock(path: Path) -> Iterator[None]:
    """Hold the one lock of an output, file or folder, or say who holds it.

    Locks lie in the user's cache folder, so none is left beside the output, and end with their process.

    Raises
    ------
    BlockingIOError
        If another process, or another part of this one, is writing there.
    """
    from filelock import FileLock, Timeout

    key = hashlib.sha256(os.fspath(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    try:
        folder = cache_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock", timeout=0)
        held = lock.acquire()
    except Timeout:
        held = None
    except OSError:  # a cache that cannot be written to
        folder = Path(tempfile.gettempdir())
        lock = FileLock(folder / f"rinalmo_kit-{key}.lock", timeout=0)
        try:
            held = lock.acquire()
        except Timeout:
            held = None
    holder = Path(f"{lock.lock_file}.holder")
    if held is None:
        try:
            who = json.loads(holder.read_text(encoding="utf-8"))
            who = f"process {who['pid']} on {who['host']}, started {who['since']}: {who['command']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = "another process"
        raise BlockingIOError(f"{path} is being written by {who}. Wait for it, or choose another output")
    with held:
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.argv)[:300]}
        with whole_file(holder) as temporary:
            temporary.write_text(json.dumps({**facts, "since": time.strftime("%F %T")}), encoding="utf-8")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Folder for what is downloaded: ``$RINALMO_KIT_CACHE``, by default the user's cache folder."""
    import pooch

    return user_path(os.environ.get("RINALMO_KIT_CACHE") or pooch.os_cache("rinalmo_kit"))
