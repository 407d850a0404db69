"""Files that appear whole or not at all; one writer an output."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "atomic_write",
    "cache_folder",
    "check_output",
    "is_same",
    "is_stream",
    "left_over",
    "open_stream",
    "output_lock",
    "remove_left_over",
    "sha256_of",
    "user_path",
]


def user_path(path: str | os.PathLike) -> Path:
    """Return a path that a user gave as a Path, with ``~`` expanded: every path that we take goes through here.

    Examples
    --------
    >>> user_path("~/my.fasta") == Path.home() / "my.fasta"
    True
    """
    if not isinstance(path, str | os.PathLike):
        found = "nothing (None)" if path is None else f"a {type(path).__name__}"
        raise TypeError(f"expected the path of a file or folder, found {found}")
    if not os.fspath(path):
        raise ValueError("the path is empty: expected the name of a file or folder")
    return Path(os.path.expanduser(path))  # noqa: PTH111 - leaves a file that is called ~name alone


def is_stream(path: Path) -> bool:
    """Return whether a path is a device, a pipe or an open descriptor, which is written to as it is, not replaced.

    Examples
    --------
    >>> is_stream(Path(os.devnull)), is_stream(Path(__file__))
    (True, False)
    """
    place = os.path.abspath(path)  # noqa: PTH100 - /dev/stdout is a link to whatever it is at the moment
    if place.startswith(("/dev/", "/proc/")) and not place.startswith("/dev/shm/"):
        return path.exists()
    return path.exists() and not path.is_file() and not path.is_dir()


def open_stream(path: Path) -> BinaryIO:
    """Open a device, a pipe or an open descriptor for writing; see :func:`is_stream`."""
    standard = {"/dev/stdout": "1", "/dev/stderr": "2"}
    place = os.path.abspath(path)  # noqa: PTH100
    number = standard.get(place) or "".join(re.findall(r"^/(?:dev|proc/self)/fd/(\d+)$", place))
    return os.fdopen(os.dup(int(number)), "wb") if number else path.open("ab")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to, and rename it at the end; an error leaves nothing behind.

    The content is on the disk before the rename, and the file has the permissions that the user's umask gives. A
    device or a pipe gets the content when it is whole, and stays what it is.
    """
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder, path.name)
            yield temporary
            with temporary.open("rb") as source, open_stream(path) as target:
                shutil.copyfileobj(source, target)
        return
    temporary = _temporary(path)
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


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_beginning(path.name)}.{uuid.uuid4().hex}.tmp")


def _beginning(name: str) -> str:
    """Return what the temporary names of a file begin with: its own name, cut if it is long, for 255 bytes in all."""
    raw = os.fsencode(name)
    if len(raw) > 200:
        name = f"{raw[:180].decode(errors='ignore')}~{hashlib.sha256(raw).hexdigest()[:16]}"
    return f".{name}"


def left_over(folder: Path) -> dict[str, list[Path]]:
    """Return the temporary files of :func:`atomic_write` that lie in a folder, by the names they are for.

    A long name is cut; look it up as :func:`remove_left_over` does.
    """
    found: dict[str, list[Path]] = {}
    for one in folder.iterdir() if folder.is_dir() else ():
        if match := re.fullmatch(r"(.*)\.[0-9a-f]{32}\.tmp", one.name, re.DOTALL):
            found.setdefault(match[1], []).append(one)
    return found


def remove_left_over(path: Path, among: dict[str, list[Path]] | None = None) -> None:
    """Remove temporary files that a killed process left of writing `path`; call it under :func:`output_lock`.

    For many files of a folder, list it once: ``among=left_over(folder)``.
    """
    among = left_over(path.parent) if among is None else among
    for one in among.get(_beginning(path.name), ()):
        one.unlink(missing_ok=True)


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths mean one file, by whatever name or link; it need not exist."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


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
    for one in map(user_path, inputs):
        if one.exists() and not (is_stream(path) and is_stream(one)) and is_same(path, one):
            raise ValueError(f"{path} is the input {one}: choose another output")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file")
    if is_stream(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = _temporary(path)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def output_lock(path: Path) -> Iterator[None]:
    """Hold the one lock of an output, file or folder, or say who holds it.

    Locks lie in the user's cache folder, so none is left beside the output, and end with their process. A device or a
    pipe has none.

    Raises
    ------
    BlockingIOError
        If another process, or another part of this one, is writing there.
    """
    from filelock import FileLock, Timeout

    if is_stream(path):
        yield
        return
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
        with atomic_write(holder) as temporary:
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
    """Return the folder for downloads: ``$RINALMO_KIT_CACHE``, by default the user's cache folder."""
    import pooch

    return user_path(os.environ.get("RINALMO_KIT_CACHE") or pooch.os_cache("rinalmo_kit"))
