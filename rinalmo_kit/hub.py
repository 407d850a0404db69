"""From a name or a file to a ready model: embedded weights, official files, every layout of spec §2."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoints import read_state
from .contents import check_content
from .download import fetch, note_of
from .files import cache_folder, sha256_of, user_path, whole_file
from .heads import ClassificationHead, RibosomeLoadHead, StructureHead
from .metadata import check_heads, check_scaler, check_threshold, read_facts, read_json
from .model import Config, Encoder, RiNALMo
from .tables import FAMILIES
from .tensors import check_tensors, misfits, not_finite, shortened, some
from .unwrap import unwrapped

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
        :func:`save`. It may come from anyone: nothing in it is run.
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
        For an unknown name, a file that is not a checkpoint or would run code, for missing, unexpected or misshapen
        parameters and weights that are no finite numbers, which are listed, and for anything that the file says of
        its model and that makes no sense (:mod:`rinalmo_kit.metadata`).
    FileNotFoundError, IsADirectoryError
        If the file does not exist, or is a folder.
    TypeError
        For what is neither a name nor a path.

    Examples
    --------
    >>> model = load("pico-ss", device="cpu")
    >>> model.config.dim, type(model.head).__name__
    (192, 'StructureHead')
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"expected the name or path of a model, found {type(name_or_path).__name__}")
    name = os.fspath(name_or_path)
    if name in EMBEDDED:
        path = WEIGHTS / EMBEDDED[name]
    elif name in OFFICIAL:
        path = official_file(name)
    elif os.sep in name or Path(name).suffix or isinstance(name_or_path, os.PathLike):
        path = user_path(name)
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
        Also inside torch.compile, DataParallel and the like.
    path : path
        Ends in ``.safetensors``.
    dtype : torch.dtype, optional
        Store in this precision, such as ``torch.float16`` for half the size.

    Raises
    ------
    ValueError
        For another ending, and for a model that :func:`load` would reject: weights that are no numbers or become
        infinite in `dtype`, a head of another kind, unmerged low-rank matrices, or nonsense in ``labels``,
        ``threshold``, …

    Examples
    --------
    >>> import tempfile
    >>> from rinalmo_kit import Config, RiNALMo
    >>> folder = tempfile.mkdtemp()
    >>> load(save(RiNALMo(Config(dim=64, blocks=2, heads=4)), f"{folder}/my.safetensors")).config.blocks
    2
    """
    path, model = user_path(path), unwrapped(model)
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"{path}: a model is saved as .safetensors")
    state, metadata = file_content(model, str(path), dtype=dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        save_file(state, temporary, metadata=metadata)
    return path


def file_content(
    model: Encoder, source: str, *, dtype: torch.dtype | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a model's file, checked as on loading."""
    prefix = "" if model.head is None else "lm."
    state = {}
    for key, value in model.state_dict().items():
        if value.is_meta or value.layout != torch.strided:
            raise ValueError(
                f"{model.name}: {key} has no numbers that can be saved ({value.device}, {value.layout})"
            )
        name = f"pred_head.{key.removeprefix('head.')}" if key.startswith("head.") else prefix + key
        state[name] = value.detach().to(device="cpu", dtype=dtype).contiguous()
    if (threshold := check_threshold(model.threshold, source)) is not None:
        state["threshold"] = torch.tensor(threshold, dtype=torch.float64)
    if scaler := check_scaler(*(model.scaler or (None, None)), source):
        for key, value in zip(("_mean", "_std"), scaler, strict=True):
            state[f"scaler.{key}"] = torch.tensor([value], dtype=torch.float64)
    facts = {name: getattr(model, name) for name in FACTS}
    metadata = {"format": "pt", "rinalmo_kit": written_facts(facts, source)}
    if isinstance(model, RiNALMo):
        metadata["heads"] = str(model.config.heads)
    else:
        from .adapters import describe

        metadata["encoder"] = json.dumps(describe(model))
    if type(model) is RiNALMo:  # an ablation is written too, though nobody else can load it
        model_from_state(dict(state), metadata, source=source)
    elif bad := not_finite(state):
        raise ValueError(f"{source}: weights that are no finite numbers ({len(bad)}): {some(bad)}")
    return state, metadata


def written_facts(facts: Mapping[str, Any], source: str) -> str:
    """Return what is known of a model as JSON that can be read again."""
    texts = []
    for key, value in facts.items():
        if value is None or (isinstance(value, tuple | list | dict) and not value):
            continue
        try:
            texts.append(f"{json.dumps(key)}: {json.dumps(value)}")
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{source}: {key} cannot be written as JSON: {error}") from error
    text = "{" + ", ".join(texts) + "}"
    read_facts(text, source)
    return text


# --- from tensors to a model -----------------------------------------------------------------------------


def model_from_state(
    state: dict[str, Any],
    beside: Mapping[str, Any],
    *,
    config: Config | None = None,
    source: str = "checkpoint",
) -> Encoder:
    """Build the model that a state dict describes and fill it, strictly.

    Nothing of the two is trusted: all is checked before memory is taken for it.

    Raises
    ------
    ValueError
        Names the source, the key, and what is wrong with it.
    """
    threshold = check_threshold(state.pop("threshold", beside.get("threshold")), source)
    scaler = check_scaler(*(state.pop(f"scaler.{key}", None) for key in ("_mean", "_std")), source)
    facts = read_facts(beside["rinalmo_kit"], source) if "rinalmo_kit" in beside else {}
    check_tensors(state, source)
    if "encoder" in beside:
        state = renamed(state, peer_key, source)
        model = peer_of(read_json(beside["encoder"], source, "encoder"), state, source)
    else:
        state, heads = released_layout(state, source)
        if "heads" in beside:
            heads = check_heads(beside["heads"], source)
        lm = {key: value for key, value in state.items() if not key.startswith("head.")}
        config = config_of(lm, heads=heads, config=config, source=source)
        with torch.device("meta"):
            model = RiNALMo(config)
    head = {key.removeprefix("head."): value for key, value in state.items() if key.startswith("head.")}
    if head:
        with torch.device("meta"):
            model.head = head_of(head, model.config.dim, source)
    fill(model, state, source)
    model.threshold, model.scaler = threshold, scaler
    for fact, value in facts.items():
        setattr(model, fact, value)
    check_labels(model, source)
    return model


def check_labels(model: Encoder, source: str) -> None:
    """Raise ValueError unless a classifier has as many labels as classes, if it has any."""
    if model.labels is None or not isinstance(model.head, ClassificationHead):
        return
    outputs = model.head.classifier[2].out_features
    classes = max(2, outputs)  # one logit for yes or no
    if len(model.labels) != classes:
        raise ValueError(
            f"{source}: labels: expected {classes} names, one for each class of its head, found {len(model.labels)}"
        )


def peer_of(description: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> Encoder:
    """Make an encoder of another package, once the file's tensors are known to be those that it needs."""
    from .adapters import outline, rebuild

    lm = {key: value for key, value in state.items() if not key.startswith("head.")}
    try:
        fitting(misfits(outline(description, most=len(lm)).state_dict(), lm), source)
        return rebuild(description)
    except ValueError as error:
        raise error if str(error).startswith(source) else ValueError(f"{source}: encoder: {error}") from error


def peer_key(key: str) -> str:
    """Return the name of a parameter in an adapted encoder."""
    return re.sub(r"^pred_head\.", "head.", key.removeprefix("lm."))


def released_key(key: str) -> str:
    """Return the name that a parameter of any layout has in the released files, task heads under ``head.``."""
    key = re.sub(r"^(lm|rinalmo|model)\.", "", key)
    return re.sub(r"^pred_head\.", "head.", key).replace("mh_attn.mh_attn.", "mh_attn.")


def renamed(state: Mapping[str, Tensor], name: Callable[[str], str], source: str) -> dict[str, Tensor]:
    """Rename the keys of a state dict, or raise ValueError if two get the same name."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if name(key) in found:
            raise ValueError(
                f"{source} has two tensors called {shortened(name(key))}, with and without a prefix"
            )
        found[name(key)] = value
    return found


def released_layout(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], int | None]:
    """Rename keys of any known layout to those of the released files, task heads under ``head.``.

    Returns
    -------
    state : dict
    heads : int or None
        Number of attention heads, where the layout tells it.
    """
    found, split, heads = {}, {}, None
    for key, value in renamed(state, released_key, source).items():
        if key.endswith("rotary_emb.inv_freq"):  # computed, not learned; tells the width of a head
            embedding = next((v for k, v in state.items() if k.endswith("embedding.weight")), None)
            heads = None if embedding is None else embedding.shape[-1] // (2 * value.numel())
        elif match := re.fullmatch(r"(.*mh_attn)\.to_([qkv])\.weight", key):
            split.setdefault(match[1], {})[match[2]] = (key, value)
        else:
            found[key] = value
    for attention, parts in split.items():
        one = {(part.shape, part.dtype) for _, part in parts.values()}
        if set(parts) == set("qkv") and len(one) == 1 and f"{attention}.Wqkv.weight" not in found:
            found[f"{attention}.Wqkv.weight"] = torch.cat([parts[part][1] for part in "qkv"])
        else:  # incomplete: left as it is, for the strict check to report
            found.update(parts.values())
    return found, heads


def config_of(lm: Mapping[str, Tensor], *, heads: int | None, config: Config | None, source: str) -> Config:
    """Read width and depth off a state dict; check them against `config` if there is one."""
    embedding = lm.get("embedding.weight")
    if not isinstance(embedding, Tensor) or embedding.dim() != 2:
        raise ValueError(
            f"{source} is not a RiNALMo checkpoint: missing key embedding.weight; it holds "
            f"{some(list(lm), 5) or 'nothing'}"
        )
    dim = embedding.shape[1]
    found = (re.match(r"transformer\.blocks\.([0-9]{1,6})\.", key) for key in lm)
    numbers = {int(match[1]) for match in found if match}
    blocks = len(numbers)
    if numbers != set(range(blocks)) or not blocks:
        absent = next(i for i in range(blocks + 1) if i not in numbers)
        raise ValueError(
            f"{source} is missing transformer.blocks.{absent}: its {blocks} blocks are not numbered from 0 on"
        )
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
    layers = [state.get(f"classifier.{i}.weight") for i in (0, 2)]
    if all(layer is not None and layer.dim() == 2 for layer in layers):
        return ClassificationHead(dim, *(len(layer) for layer in layers))
    raise ValueError(f"{source} has an unknown task head with the keys {some(sorted(state))}")


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put a state dict into a model on the meta device, or list every key that does not fit."""
    fitting(misfits(model.state_dict(), state), source)
    if bad := not_finite(state):
        raise ValueError(f"{source} has weights that are no finite numbers ({len(bad)}): {some(bad)}")
    model.load_state_dict({key: value.contiguous() for key, value in state.items()}, assign=True)


def fitting(problems: Mapping[str, list[str]], source: str) -> None:
    """Raise ValueError if there are problems, listing them."""
    if problems:
        lists = "\n".join(f"  {what} ({len(keys)}): {some(keys)}" for what, keys in problems.items())
        raise ValueError(f"{source} does not fit the model; nothing was loaded\n{lists}")


# --- official files ----------------------------------------------------------------------------------


def official_file(name: str) -> Path:
    """Path of an official file: from ``$RINALMO_KIT_DATA``, the cache, or downloaded into the cache.

    The cache is ``$RINALMO_KIT_CACHE``, by default the user's cache folder. Of a file without a published SHA-256 a
    warning says, when it is downloaded, what could not be verified.
    """
    filename, sha256 = OFFICIAL[name]
    if root := os.environ.get("RINALMO_KIT_DATA"):
        for folder in (user_path(root), user_path(root) / "checkpoints"):
            if (folder / filename).exists():
                check_sha256(folder / filename, sha256)
                return folder / filename
    path = cache_folder() / filename
    otherwise = f"Without internet: put {filename} into the folder $RINALMO_KIT_DATA"
    there = os.access(path, os.F_OK)  # False also where it cannot be looked at
    fetch(f"{RECORD}/{filename}?download=1", path, sha256=sha256, otherwise=otherwise)
    if sha256 is None and not there:
        warnings.warn(
            f"no SHA-256 is published for {filename}: its length and structure fit, but that it is the official file "
            f"was not verified. Later loads are compared with its own SHA-256, in {note_of(path)}",
            stacklevel=3,
        )
    return path


def check_sha256(path: Path, expected: str | None) -> None:
    """Raise ValueError if the file is not the one that was published, or cannot be, where no checksum is."""
    if expected is None:
        check_content(path)
        warnings.warn(
            f"no SHA-256 is published for {path.name}: its structure fits, but that {path} is the official file was "
            "not verified",
            stacklevel=4,
        )
    elif (found := sha256_of(path)) != expected:
        raise ValueError(f"{path} is not the official file: its SHA-256 is {found}, expected {expected}")
