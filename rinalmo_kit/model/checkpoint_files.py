"""Reading of checkpoint files: recognised by their first bytes, and read without running code."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

__all__ = ["file_kind", "read_state"]

BEGINNINGS = {
    b"PK\x03\x04": "zip",
    b"\x80": "pickle",
    b"\x1f\x8b": "compressed by gzip (unpack it first)",
    b"BZh": "compressed by bzip2 (unpack it first)",
    b"\xfd7zXZ": "compressed by xz (unpack it first)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd (unpack it first)",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file (git lfs pull fetches it)",
    b"GGUF": "a GGUF file",
    b"%PDF": "a PDF document",
}
"""First bytes of a file → what it is."""


INFLATED = 4
"""Times that a zip archive may grow when it is unpacked: torch.save does not compress, weights hardly can be."""


def file_kind(path: Path) -> str:
    """Tell what a file is by its first bytes: ``safetensors``, ``zip``, ``pickle``, or in words what else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.pt"
    >>> path.write_text("<!DOCTYPE html><title>Not found</title>") > 0
    True
    >>> file_kind(path)
    'an HTML page'
    """
    with path.open("rb") as file:
        first = file.read(512)
    if not first:
        return "empty (a download that was cut off?)"
    if (
        first[8:9] == b"{" and int.from_bytes(first[:8], "little") <= 100_000_000
    ):  # as safetensors itself limits it
        return "safetensors"
    for beginning, kind in BEGINNINGS.items():
        if first.startswith(beginning):
            return kind
    start = first.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if first[257:262] == b"ustar":
        return "a tar archive"
    try:
        return f"text (it begins with {first.decode()[:40]!r})"
    except UnicodeDecodeError:
        return "of an unknown kind"


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint file without running code: the flat state dict, and the entries beside it.

    What the file is, its first bytes say, whatever its name ends in.
    """
    if path.is_dir():
        inside = next(iter(sorted(path.glob("*.safetensors"))), None)
        hint = f"; it holds {inside.name}" if inside else ""
        raise IsADirectoryError(f"{path} is a folder: expected the file of a model{hint}")
    if not path.exists():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file: expected the file of a model")
    kind = file_kind(path)
    if kind == "safetensors":
        return read_safetensors(path)
    if kind not in ("zip", "pickle"):
        wanted = "safetensors file" if path.suffix.lower() == ".safetensors" else "checkpoint"
        raise ValueError(f"{path} is {kind}, not a {wanted}")
    state, beside = read_pickle(path)
    return state, {key: value for key, value in beside.items() if key in BESIDE}


BESIDE = ("threshold", "heads", "encoder", "rinalmo_kit")
"""Entries beside a state dict that say something of the model; the others, of whatever program, are left alone."""


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors, and its metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})
    except OSError:
        raise
    except Exception as error:  # whatever a damaged file makes the library raise
        raise ValueError(f"{path} is not a safetensors file, or is cut off: {error}") from error


def read_pickle(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file of torch.save, of tensors and plain values alone; unwrap the state dict."""
    check_archive(path)
    try:
        with path.open("rb") as file:  # whose name torch would else go by
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"Unsupported (?:global|class|operand)[^\n]*|GLOBAL [\w.]+", str(error))
        if reason is None:
            raise ValueError(f"{path} is not a checkpoint, or is cut off: {str(error)[:500]}") from error
        raise ValueError(
            f"{path} is rejected: it is not a plain checkpoint, and unpickling it could run code ({reason.group()})"
        ) from error
    except Exception as error:  # whatever a damaged file makes an unpickler raise
        raise ValueError(f"{path} is not a checkpoint, or is cut off: {str(error)[:500]}") from error
    beside: dict[str, Any] = {}
    for wrapper in ("state_dict", "model"):  # Lightning checkpoints; some third-party files
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            beside = {key: value for key, value in content.items() if key != wrapper}
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    return dict(content), beside


def check_archive(path: Path) -> None:
    """Raise ValueError for a zip archive that torch.save did not write, or that grows beyond measure."""
    if not zipfile.is_zipfile(path):  # an older checkpoint, or one that is cut off, which torch.load says
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} is not a checkpoint, or is cut off: {error}") from error
    if not any(one.filename.endswith("/data.pkl") for one in members):
        names = ", ".join(one.filename[:60] for one in members[:3])
        raise ValueError(f"{path} is a zip archive (of {names}, …), not a checkpoint")
    if sum(one.file_size for one in members) > INFLATED * path.stat().st_size:
        raise ValueError(f"{path} is rejected: unpacked, it would take more than {INFLATED} times its size")
