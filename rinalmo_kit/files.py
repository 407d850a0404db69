"""Files that appear whole or not at all, written or downloaded."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["cache_folder", "fetch", "sha256_of", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, and rename it at the end; an error leaves nothing behind."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Folder for what is downloaded: ``$RINALMO_KIT_CACHE``, by default the user's cache folder."""
    import pooch

    return Path(os.environ.get("RINALMO_KIT_CACHE") or pooch.os_cache("rinalmo_kit")).expanduser()


def fetch(url: str, path: Path, *, sha256: str | None, otherwise: str) -> Path:
    """Download a file unless it is there; of several processes one downloads.

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
        If the checksum differs.
    """
    import pooch
    from filelock import FileLock

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            return path
        known = sha256 and f"sha256:{sha256}"
        try:
            pooch.retrieve(url, known_hash=known, fname=path.name, path=path.parent, downloader=download)
        except OSError as error:
            raise ConnectionError(
                f"{path.name} could not be downloaded ({error}). What has arrived is kept; call again to go on. "
                f"{otherwise}"
            ) from error
    return path


def download(url: str, output_file: str | os.PathLike, _pooch: Any = None, *, attempts: int = 5) -> None:
    """Download with progress; a broken connection is resumed, also by a later call (a pooch downloader)."""
    import time

    import requests
    from tqdm.auto import tqdm

    folder = Path(output_file).parent
    part = folder / (hashlib.sha256(url.encode()).hexdigest()[:16] + ".part")
    for attempt in range(1, attempts + 1):
        done = part.stat().st_size if part.exists() else 0
        try:
            headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
            with requests.get(url, headers=headers, stream=True, timeout=30) as response:
                if response.status_code == 416:  # nothing left, or the file has changed: start over
                    part.unlink()
                    continue
                response.raise_for_status()
                if response.status_code != 206:
                    done = 0
                length = response.headers.get("Content-Length")
                total = done + int(length) if length else None
                bar = tqdm(
                    total=total,
                    initial=done,
                    unit="B",
                    unit_scale=True,
                    desc=url.split("/")[-1].split("?")[0],
                )
                with part.open("ab" if done else "wb") as file, bar:
                    for chunk in response.iter_content(1 << 16):
                        file.write(chunk)
                        bar.update(len(chunk))
            if total is not None and part.stat().st_size != total:
                raise requests.ConnectionError(f"{part.stat().st_size} of {total} bytes arrived")
            part.replace(output_file)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if attempt == attempts:
                raise
            time.sleep(min(2**attempt, 30))
    raise requests.ConnectionError(f"{url} could not be downloaded in {attempts} attempts")
