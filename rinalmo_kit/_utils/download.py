"""Downloads that are resumed and verified."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contents import CHECKSUMMED, check_content
from .files import atomic_write, check_output, sha256_of

if TYPE_CHECKING:
    import requests

__all__ = ["fetch"]

OVERLAP = 4096  # bytes that are asked for again where the server does not say which file it has


NOTED = 1 << 25  # bytes after which the note beside a part is written again


ATTEMPTS = 5


def fetch(url: str, path: Path, *, sha256: str | None, otherwise: str) -> Path:
    """Return the path of a file that is downloaded unless it is there; of several processes one downloads.

    Without a published checksum the file's own structure is checked, and the SHA-256 of the first download is
    remembered beside it (:func:`note_of`). Later calls compare size and time of the file with that note, and the
    SHA-256 itself where these differ.

    Parameters
    ----------
    url : str
    path : Path
        Its name here; what has this name is whole and was checked.
    sha256 : str or None
        None where none is known.
    otherwise : str
        How to do without the download, for the error.

    Raises
    ------
    ConnectionError
        If the download fails; what has arrived is kept for the next call.
    ValueError
        If the checksum differs; or if the file is a web page, cut off, damaged, or changed since it was downloaded.
    OSError
        If it cannot be written here; names the variable that moves the folder.
    """
    import requests
    from filelock import FileLock

    if not os.access(path, os.F_OK):  # also where it cannot be looked at
        try:
            check_output(path)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    _download(url, path, sha256, otherwise)
                    return path
        except requests.RequestException as error:
            kept = "What has arrived is kept; call again to go on. " if _part_of(url, path).exists() else ""
            raise ConnectionError(
                f"{path.name} could not be downloaded ({error}). {kept}{otherwise}"
            ) from error
        except OSError as error:
            reason = str(error).removeprefix(f"{path} cannot be written: ")
            raise type(error)(
                f"{path} cannot be written: {reason}. Set RINALMO_KIT_CACHE to a folder that can be, with room"
            ) from error
    if sha256 is None:
        _check_remembered(path, url)
    return path


def _part_of(url: str, path: Path) -> Path:
    return path.with_name(hashlib.sha256(url.encode()).hexdigest()[:16] + ".part")


def _download(url: str, path: Path, sha256: str | None, otherwise: str) -> None:
    """Download, check, and give the file its name; what was resumed and turns out wrong is downloaded anew, once."""
    part = Part(_part_of(url, path), url)
    checksummed = sha256 is not None or Path(path.name).suffix.lower() in CHECKSUMMED
    part.load(checksummed=checksummed)
    for last in (False, True):
        resumed = _receive(part, path.name, otherwise, checksummed=checksummed)
        try:
            if sha256 is None:
                check_content(part.path, path.name)
            elif part.sha256 != sha256:
                raise ValueError(f"{path.name} has another SHA-256 hash, {part.sha256}, expected {sha256}")
            break
        except ValueError as error:
            part.remove()
            if last or not resumed:
                raise ValueError(f"{error}. It was not kept. {otherwise}") from None
    facts = part.facts()
    part.path.replace(path)
    part.remove()
    if sha256 is None:
        _remember(path, facts)


@dataclass
class Part:
    """What has arrived of a file, and what it is a part of."""

    path: Path
    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256, repr=False)

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def validator(self) -> str | None:
        """What If-Range may be given: a strong ETag, else the date."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.last_modified

    def facts(self) -> dict[str, Any]:
        names = ("url", "etag", "last_modified", "total", "size", "sha256")
        return {name: getattr(self, name) for name in names}

    def begin(
        self, *, etag: str | None = None, last_modified: str | None = None, total: int | None = None
    ) -> None:
        """Discard what was received so far."""
        self.etag, self.last_modified, self.total = etag, last_modified, total
        self.size, self.digest = 0, hashlib.sha256()

    def remove(self) -> None:
        self.begin()
        for one in (self.path, self.note):
            one.unlink(missing_ok=True)

    def load(self, *, checksummed: bool) -> None:
        """Load what an earlier call left, if it can be resumed; else remove it."""
        try:
            said = json.loads(self.note.read_text(encoding="utf-8"))
            facts = {name: said[name] for name in ("etag", "last_modified", "total")}
            size, digest = said["size"], hashlib.sha256()
            with self.path.open("rb+") as file:
                file.truncate(size)  # what came after the note was written
                while block := file.read(1 << 20):
                    digest.update(block)
                length = file.tell()
        except (OSError, ValueError, KeyError, TypeError):
            return self.remove()
        whole = (length, digest.hexdigest(), self.url) == (size, said.get("sha256"), said.get("url"))
        self.begin(**facts)
        fits = isinstance(self.total, int | None) and (self.total is None or size <= self.total)
        if not (whole and fits and (checksummed or self.validator)):
            return self.remove()
        self.size, self.digest = size, digest
        return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        """Yield a function that adds bytes; the note is brought up to date now and then, and at the end."""
        with self.path.open("rb+" if self.size else "wb") as file:
            file.truncate(self.size)
            file.seek(self.size)
            noted = self.size

            def note() -> None:
                file.flush()
                os.fsync(file.fileno())
                with atomic_write(self.note) as temporary:
                    temporary.write_text(json.dumps(self.facts(), indent=1), encoding="utf-8")

            def add(block: bytes) -> None:
                nonlocal noted
                file.write(block)
                self.digest.update(block)
                self.size += len(block)
                if self.size - noted >= NOTED:
                    noted = self.size
                    note()

            try:
                yield add
            finally:
                note()


class _StartOver(Exception):
    """What the server sends does not fit what has arrived."""


def _receive(part: Part, name: str, otherwise: str, *, checksummed: bool) -> bool:
    """Download all that is missing, in several attempts; return whether the last one resumed an earlier one."""
    import requests
    import urllib3

    if part.size and part.size == part.total:  # an earlier call ended before the file got its name
        return True
    ranges, reason = True, ""
    for attempt in range(1, ATTEMPTS + 1):
        if part.size and not (checksummed or part.validator):
            part.remove()
        try:
            return _attempt(part, name, otherwise, ranges=ranges)
        except _StartOver as error:
            part.remove()
            ranges, reason = False, f"the server's answers do not fit together: {error}"
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.HTTPError,
        ) as error:
            ranges, reason = True, str(error)
            if attempt < ATTEMPTS:
                time.sleep(min(2**attempt, 30))
    raise requests.ConnectionError(reason)


def _attempt(part: Part, name: str, otherwise: str, *, ranges: bool) -> bool:
    """Ask once for what is missing and write it; tell whether something was there already."""
    import requests
    from tqdm.auto import tqdm

    first = part.size if part.validator else max(0, part.size - OVERLAP)
    headers = {"Accept-Encoding": "identity"}
    if ranges:
        headers["Range"] = f"bytes={first}-"
    if first and part.validator:
        headers["If-Range"] = part.validator
    with requests.get(part.url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code == 416:
            raise _StartOver("there is nothing at the byte where this one ends")
        response.raise_for_status()
        _reject_web_page(response, name, otherwise)
        if response.status_code == 206:
            total = _check_range(response, part, first)
        else:
            first, total = 0, _length(response)
        if not first:
            part.begin(
                etag=response.headers.get("ETag"),
                last_modified=response.headers.get("Last-Modified"),
                total=total,
            )
        blocks = response.raw.stream(1 << 16, decode_content=False)  # as they were sent
        known = _last_bytes(part, part.size - first)
        bar = tqdm(total=total, initial=part.size, unit="B", unit_scale=True, desc=name)
        with bar, part.writing() as add:
            for block in blocks:
                same = min(len(known), len(block))
                if block[:same] != known[:same]:
                    raise _StartOver("what was sent again differs")
                known = known[same:]
                add(block[same:])
                bar.update(len(block) - same)
    if total is not None and part.size != total:
        raise requests.ConnectionError(f"{part.size} of {total} bytes arrived")
    return first > 0


def _reject_web_page(response: requests.Response, name: str, otherwise: str) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not name.lower().endswith((".html", ".htm")):
        where = response.url.partition("?")[0]
        raise ValueError(
            f"{name}: {where} is a web page ({kind}) and not the file, perhaps one to sign in or with an error "
            f"message. {otherwise}"
        )


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _check_range(response: requests.Response, part: Part, first: int) -> int | None:
    """Make sure that a part of a file continues where the part here ends; return the length of the whole."""
    said, length = response.headers.get("Content-Range"), _length(response)
    total = None if length is None else first + length
    if said is None:
        if part.validator or not first:  # else the bytes that are repeated tell
            raise _StartOver("it does not say which bytes it sends")
    else:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said.strip())
        if not match or int(match[1]) != first:
            raise _StartOver(f"{said!r} was sent, bytes from {first} on were asked for")
        if total is not None and total != int(match[2]) + 1:
            raise _StartOver(f"{said!r} was announced, with {length} bytes")
        total = total if match[3] == "*" else int(match[3])
    if first:
        now = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
        for key, value in {**now, "total": total}.items():
            before = getattr(part, key)
            if None not in (before, value) and before != value:
                raise _StartOver(f"the file has changed ({key} was {before}, is {value})")
    return total


def _last_bytes(part: Part, count: int) -> bytes:
    if not count:
        return b""
    with part.path.open("rb") as file:
        file.seek(part.size - count)
        return file.read()


# --- what is remembered of a file without a published checksum -------------------------------------------


def note_of(path: Path) -> Path:
    """Return the name of the note that is kept beside a file."""
    return path.with_name(f"{path.name}.sha256.json")


def _remember(path: Path, facts: dict[str, Any]) -> None:
    """Write beside a file what it is; where that cannot be, the next call checks the file again."""
    now = path.stat()
    facts |= {
        "size": now.st_size,
        "mtime_ns": now.st_mtime_ns,
        "date": datetime.date.today().isoformat(),
        "note": "not compared with a published value: none is known",
    }
    with contextlib.suppress(OSError), atomic_write(note_of(path)) as temporary:
        temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _check_remembered(path: Path, url: str) -> None:
    """Raise ValueError if a file is not the one that was downloaded; what was put there by hand is checked once."""
    now = path.stat()
    try:
        facts = json.loads(note_of(path).read_text(encoding="utf-8"))
        expected, size, mtime = facts["sha256"], facts["size"], facts["mtime_ns"]
    except (OSError, ValueError, KeyError, TypeError):
        check_content(path)
        _remember(path, {"url": url, "sha256": sha256_of(path)})
        return
    if (size, mtime) == (now.st_size, now.st_mtime_ns):
        return
    if (found := sha256_of(path)) != expected:
        raise ValueError(
            f"{path} has changed since it was downloaded: its SHA-256 is {found}, it was {expected}. "
            "Remove it and call again"
        )
    _remember(path, facts)
