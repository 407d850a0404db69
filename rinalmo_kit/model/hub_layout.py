"""Models in the layout of the Hugging Face hub: a folder with ``config.json`` and ``model.safetensors``, ours or not.

Two kinds are read: folders that :func:`rinalmo_kit.save` wrote, and multimolecule's RiNALMo
(:mod:`rinalmo_kit.model.multimolecule_weights`). No other file of a folder is looked at, and nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from .._utils.extras import optional
from .checkpoint_files import file_kind, read_safetensors
from .multimolecule_weights import MODEL_TYPE as MULTIMOLECULE
from .multimolecule_weights import from_multimolecule_state
from .rinalmo import Encoder, RiNALMo

__all__ = [
    "CONFIG",
    "MODEL_TYPE",
    "WEIGHTS",
    "check_config",
    "download",
    "is_layout",
    "layout_config",
    "read_folder",
]

PREFIX = "hf:"


CONFIG, WEIGHTS = "config.json", "model.safetensors"


MODEL_TYPE = "rinalmo_kit"


LONGEST = 1_000_000
"""Bytes of a ``config.json``."""


HUB_NAME = re.compile(r"hf:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)


def is_layout(path: Path) -> bool:
    """Return whether a path is a folder in the hub's layout."""
    return path.is_dir() and (path / CONFIG).is_file()


def layout_config(model: Encoder) -> dict[str, Any]:
    """Return what ``config.json`` says of a model; an encoder of another package is described in the weights alone."""
    found: dict[str, Any] = {"model_type": MODEL_TYPE, "architectures": [type(model).__name__]}
    found["head"] = None if model.head is None else type(model.head).__name__
    if isinstance(model, RiNALMo):
        found |= {name: getattr(model.config, name) for name in ("dim", "blocks", "heads")}
    return found


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Read the tensors and the metadata of a folder's model, in our layout, and its ``config.json``.

    Raises
    ------
    FileNotFoundError
        Without ``model.safetensors``.
    ValueError
        Names what is wrong with which of the two files.
    """
    config = read_config(folder / CONFIG)
    kind, path = config.get("model_type"), folder / WEIGHTS
    if kind not in (MODEL_TYPE, MULTIMOLECULE):
        shown = "none" if kind is None else repr(kind)[:80]
        raise ValueError(
            f"{folder / CONFIG} has the model_type {shown}: expected {MODEL_TYPE!r}, of a model that rk.save wrote, or "
            f"{MULTIMOLECULE!r}, multimolecule's RiNALMo"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {WEIGHTS}: expected {CONFIG} and {WEIGHTS}")
    if (found := file_kind(path)) != "safetensors":
        raise ValueError(f"{path} is {found}, not a safetensors file")
    state, metadata = read_safetensors(path)
    if kind == MULTIMOLECULE:
        state, metadata = from_multimolecule_state(state, config, str(path))
    return state, metadata, config


def read_config(path: Path) -> dict[str, Any]:
    """Read a ``config.json``: a JSON object of at most :data:`LONGEST` bytes."""
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes: expected a short JSON object")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}: expected a JSON object")
    return found


def check_config(model: Encoder, config: dict[str, Any], folder: Path) -> None:
    """Raise ValueError if a model is not what the ``config.json`` beside its weights says."""
    if config["model_type"] != MODEL_TYPE:
        return
    for name, own in layout_config(model).items():
        if name in config and config[name] != own:
            raise ValueError(
                f"{folder / CONFIG} says {name}={str(config[name])[:80]}, but {WEIGHTS} has {name}={own}"
            )


# --- from the hub ------------------------------------------------------------------------------------------


def download(name: str) -> Path:
    """Download a model from the hub, unless it is in huggingface_hub's cache.

    Only ``config.json`` and ``model.safetensors`` are asked for, both of the same commit.

    Parameters
    ----------
    name : str
        ``"hf:owner/name"`` or ``"hf:owner/name@revision"``.

    Returns
    -------
    Path
        A folder of huggingface_hub's cache, named after the commit.

    Raises
    ------
    ValueError
        For another form of name.
    FileNotFoundError
        If the hub does not have the model, or one of the two files.
    ConnectionError
        If it cannot be reached and the model is not in the cache.
    ModuleNotFoundError
        Without huggingface_hub.
    """
    match = HUB_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r}: expected 'hf:owner/name', or 'hf:owner/name@revision'")
    repository, revision = match[1], match[2]
    config = _file(name, repository, CONFIG, revision)
    _file(name, repository, WEIGHTS, config.parent.name)
    return config.parent


def _file(name: str, repository: str, file: str, revision: str | None) -> Path:
    """Return the path of a file of a repository in huggingface_hub's cache."""
    absent = "models of the Hugging Face hub need huggingface_hub: pip install 'rinalmo-kit[hub]'"
    hub = optional("huggingface_hub", absent, needs=("hf_hub_download",))
    errors = optional(
        "huggingface_hub.errors", absent, needs=("RepositoryNotFoundError", "EntryNotFoundError")
    )
    try:
        return Path(hub.hf_hub_download(repository, file, revision=revision, library_name="rinalmo_kit"))
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{name}: the hub cannot be reached, and {file} is not in its cache. Without internet: put {CONFIG} and "
            f"{WEIGHTS} into a folder, and load the folder ({_first_line(error)})"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise FileNotFoundError(
            f"{name}: the hub has no such model or revision, or it is private (hf auth login): expected "
            f"'hf:owner/name' ({_first_line(error)})"
        ) from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{name} has no {file}: expected a model with {CONFIG} and {WEIGHTS}; files of other kinds, such as "
            "pytorch_model.bin, are not read"
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise ConnectionError(f"{name}: {file} could not be downloaded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
