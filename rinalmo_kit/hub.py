"""From a name or a file to a ready model: embedded weights, official files, every layout of spec §2."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .files import cache_folder, fetch, sha256_of, whole_file
from .heads import ClassificationHead, RibosomeLoadHead, StructureHead
from .model import Config, Encoder, RiNALMo
from .tables import FAMILIES

__all__ = ["EMBEDDED", "OFFICIAL", "load", "save"]

WEIGHTS = Path(__file__).parent / "weights"

_OURS = ("pico-ss", "pico-ncrna-0", "pico-mrl", "pico-splice-donor", "pico-splice-acceptor", "pico")
EMBEDDED = {name: f"{name}.safetensors" for name in _OURS}
"""Models inside the package → file under ``weights/``: for structures, the paper's other tasks, and the encoder."""

RECORD = "https://zenodo.org/records/15043668/files"
OFFICIAL: dict[str, tuple[str, str | None]] = {
    "micro": (
        "rinalmo_micro_pretrained.pt",
        "910c73aa722061e8904a9b0d58e1e664c075fa78683fa364fcf099ae3f81ddf9",
    ),
    "mega": (
        "rinalmo_mega_pretrained.pt",
        "8e6d5799055dc96a556ac5dc4fbf882b677c86ccfeb072d42578d655890000b0",
    ),
    "giga": (
        "rinalmo_giga_pretrained.pt",
        "cd93c3f21eb3e767373c9492191686b5846247bd1110693e453c1dd0f321c0db",
    ),
    "giga-ss-bprna": (
        "rinalmo_giga_ss_bprna_ft.pt",
        "44e377cb0c92f7b9cff8db8a38e33e5c0363d2f9a19831c6342346bb788a5e55",
    ),
    **{
        f"giga-ss-archiveII-{family}": (f"rinalmo_giga_ss_archiveII-{family}_ft.pt", None)
        for family in FAMILIES
    },
    "giga-splice-donor": ("rinalmo_giga_splice_donor_ft.pt", None),
    "giga-splice-acceptor": ("rinalmo_giga_splice_acceptor_ft.pt", None),
    "giga-ncrna-0": ("rinalmo_giga_ncrna_class_0_noise_ft.pt", None),
    "giga-ncrna-200": ("rinalmo_giga_ncrna_class_200_noise_ft.pt", None),
    "giga-mrl": ("rinalmo_giga_mrl_ft.pt", None),
}
"""Official models (CC BY 4.0) → file of the public record, and its SHA-256 where one is published (spec §2.1)."""

OFFICIAL_FACTS: dict[str, dict[str, Any]] = {
    "giga-splice-donor": {"labels": ("no donor site", "donor site")},
    "giga-splice-acceptor": {"labels": ("no acceptor site", "acceptor site")},
    "giga-mrl": {"pad_to": 102},
}
"""What predictions need to know and the official files do not say (spec §3.4, §5)."""


FACTS = ("labels", "pad_to", "window", "calibration", "about")
"""What a file says of a model beside its weights."""


def load(
    name_or_path: str | os.PathLike = "pico-ss",
    *,
    config: Config | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Encoder:
    """Load a model by name or from a file; every parameter must be there, none may be left over.

    Parameters
    ----------
    name_or_path : str or path
        ``"pico-ss"`` (structure), ``"pico"`` (encoder) and the others of :data:`EMBEDDED` come with the package.
        ``"micro"``, ``"mega"``, ``"giga"`` and the fine-tuned ``"giga-ss-bprna"``, … (:data:`OFFICIAL`) are
        downloaded once from their public record, or taken from ``$RINALMO_KIT_DATA`` where there is no internet.
        Else a file: ``.pt``, ``.ckpt`` or ``.safetensors`` in any layout of the official code, or saved by
        :func:`save`.
    config : Config, optional
        Needed only for a file whose number of heads is not 20; width and depth are read from the file.
    device : optional
        Default: CUDA, else MPS, else CPU.
    dtype : torch.dtype, optional
        Default: float32.

    Returns
    -------
    RiNALMo
        In eval mode, with ``head``, ``threshold``, ``scaler`` and ``labels`` where the file has them; an adapted
        encoder (:mod:`rinalmo_kit.adapters`) if the file was saved from one.

    Raises
    ------
    ValueError
        For an unknown name, a file that is not a checkpoint or would run code, and for missing, unexpected
        or misshapen parameters, which are listed.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> model = load("pico-ss", device="cpu")
    >>> model.config.dim, type(model.head).__name__
    (192, 'StructureHead')
    """
    name = os.fspath(name_or_path)
    if name in EMBEDDED:
        path = WEIGHTS / EMBEDDED[name]
    elif name in OFFICIAL:
        path = official_file(name)
    elif os.sep in name or Path(name).suffix or isinstance(name_or_path, os.PathLike):
        path = Path(name).expanduser()
    else:
        raise ValueError(
            f"unknown model {name!r}; embedded: {', '.join(EMBEDDED)}; official: {', '.join(OFFICIAL)}; "
            "or give the path of a checkpoint file"
        )
    model = model_from_state(*read_state(path), config=config, source=str(path))
    model.name = name if name in EMBEDDED or name in OFFICIAL else path.name
    model.source = name if name in EMBEDDED or name in OFFICIAL else str(path.resolve())
    for fact, value in OFFICIAL_FACTS.get(name, {}).items():
        setattr(model, fact, value)
    if device is None:
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    return model.to(device=device, dtype=dtype or torch.float32).eval()


def save(model: Encoder, path: str | os.PathLike, *, dtype: torch.dtype | None = None) -> Path:
    """Write a model as safetensors that :func:`load` reads: the released layout, head and threshold included.

    The file appears complete or not at all.

    Parameters
    ----------
    model : Encoder
    path : path
        Ends in ``.safetensors``.
    dtype : torch.dtype, optional
        Store in this precision, such as ``torch.float16`` for half the size.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a model is saved as .safetensors")
    prefix = "" if model.head is None else "lm."
    state = {}
    for key, value in model.state_dict().items():
        key = f"pred_head.{key.removeprefix('head.')}" if key.startswith("head.") else prefix + key
        state[key] = value.detach().to(device="cpu", dtype=dtype).contiguous()
    if model.threshold is not None:
        state["threshold"] = torch.tensor(model.threshold, dtype=torch.float64)
    if model.scaler is not None:
        state["scaler._mean"], state["scaler._std"] = (
            torch.tensor([v], dtype=torch.float64) for v in model.scaler
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {name: getattr(model, name) for name in FACTS}
    metadata = {"format": "pt", "rinalmo_kit": json.dumps({k: v for k, v in facts.items() if v})}
    if isinstance(model, RiNALMo):
        metadata["heads"] = str(model.config.heads)
    else:
        from .adapters import describe

        metadata["encoder"] = json.dumps(describe(model))
    with whole_file(path) as temporary:
        save_file(state, temporary, metadata=metadata)
    return path


# --- reading checkpoints -----------------------------------------------------------------------------


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint file without running code: the flat state dict, and what stands beside it."""
    if not path.exists():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"Unsupported (?:global|class|operand)[^\n]*|GLOBAL [\w.]+", str(error))
        raise ValueError(
            f"{path} is refused: it is not a plain checkpoint, and unpickling it could run code "
            f"({reason.group() if reason else str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, KeyError, IndexError) as error:
        raise ValueError(f"{path} is not a checkpoint, or is cut off: {error}") from error
    beside = {}
    for wrapper in ("state_dict", "model"):  # Lightning checkpoints; some third-party files
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            beside = {key: value for key, value in content.items() if key != wrapper}
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    return dict(content), beside


def model_from_state(
    state: dict[str, Any],
    beside: Mapping[str, Any],
    *,
    config: Config | None = None,
    source: str = "checkpoint",
) -> Encoder:
    """Build the model that a state dict describes and fill it, strictly."""
    threshold = state.pop("threshold", beside.get("threshold"))
    scaler = [state.pop(f"scaler.{key}", None) for key in ("_mean", "_std")]
    if "encoder" in beside:
        from .adapters import rebuild

        model = rebuild(json.loads(beside["encoder"]))
        state = {re.sub(r"^pred_head\.", "head.", key.removeprefix("lm.")): v for key, v in state.items()}
    else:
        state, heads = released_layout(state)
        if "heads" in beside:
            heads = int(beside["heads"])
        lm = {key: value for key, value in state.items() if not key.startswith("head.")}
        config = config_of(lm, heads=heads, config=config, source=source)
        with torch.device("meta"):
            model = RiNALMo(config)
    head = {key.removeprefix("head."): value for key, value in state.items() if key.startswith("head.")}
    if head:
        with torch.device("meta"):
            model.head = head_of(head, model.config.dim, source)
    fill(model, state, source)
    model.threshold = None if threshold is None else float(threshold)
    if all(value is not None for value in scaler):
        model.scaler = (float(scaler[0]), float(scaler[1]))
    facts = json.loads(beside.get("rinalmo_kit", "{}"))
    model.labels = tuple(facts["labels"]) if "labels" in facts else None
    model.pad_to, model.window = facts.get("pad_to"), facts.get("window")
    model.about = facts.get("about", {})
    if "calibration" in facts:
        model.calibration = tuple((x, y) for x, y in facts["calibration"])
    return model


def released_layout(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int | None]:
    """Rename keys of any known layout to those of the released files, task heads under ``head.``.

    Returns
    -------
    state : dict
    heads : int or None
        Number of attention heads, where the layout tells it.
    """
    renamed, split, heads = {}, {}, None
    for key, value in state.items():
        key = re.sub(r"^(lm|rinalmo|model)\.", "", key)
        key = re.sub(r"^pred_head\.", "head.", key).replace("mh_attn.mh_attn.", "mh_attn.")
        if key.endswith("rotary_emb.inv_freq"):  # computed, not learned; tells the width of a head
            embedding = next((v for k, v in state.items() if k.endswith("embedding.weight")), None)
            heads = None if embedding is None else embedding.shape[1] // (2 * len(value))
        elif match := re.fullmatch(r"(.*mh_attn)\.to_([qkv])\.weight", key):
            split.setdefault(match[1], {})[match[2]] = (key, value)
        else:
            renamed[key] = value
    for attention, parts in split.items():
        if set(parts) == set("qkv"):
            renamed[f"{attention}.Wqkv.weight"] = torch.cat([parts[part][1] for part in "qkv"])
        else:  # incomplete: left as it is, for the strict check to report
            renamed.update(parts.values())
    return renamed, heads


def config_of(lm: Mapping[str, Tensor], *, heads: int | None, config: Config | None, source: str) -> Config:
    """Read width and depth off a state dict; check them against `config` if there is one."""
    embedding = lm.get("embedding.weight")
    if not isinstance(embedding, Tensor) or embedding.dim() != 2:
        known = ", ".join(list(lm)[:5]) or "nothing"
        raise ValueError(
            f"{source} is not a RiNALMo checkpoint: missing key embedding.weight; it holds {known}, …"
        )
    dim = embedding.shape[1]
    numbers = [int(m[1]) for m in (re.match(r"transformer\.blocks\.(\d+)\.", key) for key in lm) if m]
    blocks = max(numbers, default=-1) + 1
    if config is not None:
        if (config.dim, config.blocks) != (dim, blocks):
            raise ValueError(
                f"{source} has dim={dim} and {blocks} blocks, config says dim={config.dim} and {config.blocks} blocks"
            )
        return config
    heads = heads or 20
    if dim % (2 * heads):
        raise ValueError(
            f"{source} has dim={dim}, which {heads} heads do not divide: pass config=Config({dim}, {blocks}, heads=…)"
        )
    return Config(dim, blocks, heads)


def head_of(state: Mapping[str, Tensor], dim: int, source: str) -> nn.Module:
    """Make the task head that a state dict describes."""
    if "conv_out.weight" in state:
        return StructureHead(dim)
    if "linear_out.weight" in state:
        return RibosomeLoadHead(dim)
    if "classifier.0.weight" in state and "classifier.2.weight" in state:
        return ClassificationHead(dim, len(state["classifier.0.weight"]), len(state["classifier.2.weight"]))
    raise ValueError(f"{source} has an unknown task head with the keys {', '.join(sorted(state))}")


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put a state dict into a model on the meta device, or list every key that does not fit."""
    expected = model.state_dict()
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "wrong shape": [
            f"{key} {tuple(getattr(state[key], 'shape', ()))}, expected {tuple(expected[key].shape)}"
            for key in sorted(expected.keys() & state.keys())
            if getattr(state[key], "shape", None) != expected[key].shape
        ],
    }
    if any(problems.values()):
        lists = "\n".join(f"  {what} ({len(keys)}): {_some(keys)}" for what, keys in problems.items() if keys)
        raise ValueError(f"{source} does not fit the model; nothing was loaded\n{lists}")
    model.load_state_dict(state, assign=True)


def _some(keys: list[str], limit: int = 12) -> str:
    return ", ".join(keys[:limit]) + (f", … and {len(keys) - limit} more" if len(keys) > limit else "")


# --- official files ----------------------------------------------------------------------------------


def official_file(name: str) -> Path:
    """Path of an official file: from ``$RINALMO_KIT_DATA``, the cache, or downloaded into the cache.

    The cache is ``$RINALMO_KIT_CACHE``, by default the user's cache folder.
    """
    filename, sha256 = OFFICIAL[name]
    if root := os.environ.get("RINALMO_KIT_DATA"):
        for folder in (Path(root), Path(root) / "checkpoints"):
            if (folder / filename).exists():
                check_sha256(folder / filename, sha256)
                return folder / filename
    path = cache_folder() / filename
    if sha256 is None and not path.exists():
        warnings.warn(f"no SHA-256 is published for {filename}: only its keys can be checked", stacklevel=3)
    otherwise = f"Without internet: put {filename} into the folder $RINALMO_KIT_DATA"
    return fetch(f"{RECORD}/{filename}?download=1", path, sha256=sha256, otherwise=otherwise)


def check_sha256(path: Path, expected: str | None) -> None:
    """Raise ValueError if the file is not the one that was published."""
    if expected is None:
        return
    if (found := sha256_of(path)) != expected:
        raise ValueError(f"{path} is not the official file: its SHA-256 is {found}, expected {expected}")
