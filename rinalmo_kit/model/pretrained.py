"""Models by name: those in the package and the official ones."""

from __future__ import annotations

import copy
import os
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._utils.choices import did_you_mean
from .._utils.contents import check_content
from .._utils.defaults import STRUCTURE
from .._utils.download import fetch, note_of
from .._utils.files import cache_folder, sha256_of, user_path
from .._utils.numbers import read_numbers
from .._utils.warn import warn_user
from ..rna.families import FAMILIES
from ..rna.sequences import is_path
from .adapters import apply_adapter, read_adapter
from .checkpoint import model_from_state
from .checkpoint_files import read_state
from .config import Config
from .heads import StructureHead
from .hub_layout import PREFIX, check_config, download, is_layout, read_folder
from .lora import has_lora
from .rinalmo import Encoder, RiNALMo
from .unwrap import unwrapped

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EMBEDDED", "OFFICIAL", "load", "models"]

EXPERIMENTS = {
    "ss": ("structure", "f1"),
    "splice": ("splice site", "f1"),
    "ncrna": ("ncRNA family", "accuracy"),
    "mrl": ("mean ribosome load", "r2"),
    "te": ("translation efficiency", "spearman"),
    "el": ("expression level", "spearman"),
}
"""Second part of a model's name → what it predicts, and the paper's score of it."""


LICENCES = {"embedded": "Apache-2.0; data: see the model card", "official": "CC BY 4.0"}


def models() -> pd.DataFrame:
    """List all models that :func:`rinalmo_kit.load` knows by name.

    Returns
    -------
    pandas.DataFrame
        One row a model: ``name``; ``task``; ``size``; ``parameters`` of the encoder; ``file_mb``, of those in the
        package; ``source`` (embedded or official); ``licence``; and of the measured scores, where there are any,
        ``test_set``, ``metric``, ``score`` with ``low`` and ``high`` (95 % interval), and ``n`` test sequences
        (``data/measured/model_scores.csv``; of the encoders, see ``pretraining.csv`` and ``embeddings.csv`` there).

    Examples
    --------
    >>> models().set_index("name").loc["giga", "parameters"]
    np.int64(650901793)
    """
    import pandas as pd

    scores = read_numbers("measured/model_scores")
    rows = []
    for name in (*EMBEDDED, *OFFICIAL):
        size = name.partition("-")[0]
        task, metric = task_and_metric(name)
        source = "embedded" if name in EMBEDDED else "official"
        row: dict[str, Any] = {"name": name, "task": task, "size": size, "parameters": _parameters(size)}
        row["file_mb"] = (
            round((WEIGHTS / EMBEDDED[name]).stat().st_size / 1e6, 1) if name in EMBEDDED else None
        )
        row |= {"source": source, "licence": LICENCES[source], "test_set": "", "metric": metric}
        for score in scores[scores["model"] == name].itertuples():
            row |= {"test_set": score.recipe, "score": score.value, "low": score.low, "high": score.high}
            row["n"] = score.n
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({"n": "Int64"}) if "n" in table else table


def task_and_metric(name: str) -> tuple[str, str]:
    """Return the task of a named model and the metric that :func:`models` shows, which is empty for an encoder.

    Examples
    --------
    >>> task_and_metric("nano-ss")[1], task_and_metric("giga")
    ('f1', ('encoder', ''))
    """
    return EXPERIMENTS.get(name.partition("-")[2].split("-")[0], ("encoder", ""))


@cache
def _parameters(size: str) -> int:
    """Count the parameters of a size without making them."""
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in RiNALMo(getattr(Config, size)()).parameters())


WEIGHTS = Path(__file__).parents[1] / "weights"


_OURS = ("nano-ss", "pico-ncrna-0", "pico-mrl", "pico-splice-donor", "pico-splice-acceptor", "nano")


EMBEDDED = {name: f"{name}.safetensors" for name in _OURS}
"""Models inside the package → file under ``weights/``: for structures, the paper's other tasks, and the encoder."""


REPLACED = {"pico": "nano", "pico-ss": "nano-ss"}
"""Models of earlier versions → what took their place."""


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


OFFICIAL_METADATA: dict[str, dict[str, Any]] = {
    "giga-splice-donor": {"labels": ("no donor site", "donor site")},
    "giga-splice-acceptor": {"labels": ("no acceptor site", "acceptor site")},
    "giga-mrl": {"pad_to": 102},
}
"""What the official files do not say of a model and its predictions need (spec §3.4, §5)."""


def load(
    name_or_path: str | os.PathLike = STRUCTURE,
    *,
    base: Encoder | str | os.PathLike | None = None,
    config: Config | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    compiled: bool | None = None,
) -> Encoder:
    """Load a model by name or from a file; every parameter must be there, none may be left over.

    Parameters
    ----------
    name_or_path : str or path
        ``"nano-ss"`` (structure), ``"nano"`` (encoder) and the others of :data:`EMBEDDED` come with the package.
        ``"micro"``, ``"mega"``, ``"giga"`` and the fine-tuned ``"giga-ss-bprna"``, … (:data:`OFFICIAL`) are
        downloaded once from their public record, or taken from ``$RINALMO_KIT_DATA`` where there is no internet.
        Else a file: ``.pt``, ``.ckpt`` or ``.safetensors`` in any layout of the official code, or saved by
        :func:`save`; or a folder in the layout of the Hugging Face hub, ours or multimolecule's RiNALMo; or
        ``"hf:owner/name"`` for one on the hub (``"hf:owner/name@revision"``), by huggingface_hub and its cache. It may
        come from anyone: nothing in it is run. An adapter file (``adapter.safetensors`` of a
        run with ``mode="lora"``) is merged into its base, and gives the model that the training gave.
    base : Encoder, name or path, optional
        Of an adapter file: the model that it was trained on. Default: the model of the name that the adapter tells, or
        the file of that name in the adapter's folder.
    config : Config, optional
        Needed only for a file whose number of heads is not 20; width and depth are read from the file.
    device : optional
        Default: CUDA, else MPS, else CPU.
    dtype : torch.dtype, optional
        Default: float32. The weights of a structure head, which are few, stay in float32 in a model in half precision.
    compiled : bool, optional
        Compile the blocks with torch.compile, at their first batch, or never. Default: on CUDA, once the model has
        computed enough for that to pay (see docs/gpu.md).

    Returns
    -------
    RiNALMo
        In eval mode, with ``head``, ``threshold``, ``scaler`` and ``labels`` where the file has them; an adapted
        encoder (:mod:`rinalmo_kit.model.multimolecule`) if the file was saved from one.

    Raises
    ------
    ValueError
        For an unknown name, or one of an earlier version (says what took its place), for a file that is not a
        checkpoint or would run code, for missing, unexpected or misshapen parameters and weights that are not finite
        numbers, which are listed, and for anything that the file says of its model and that makes no sense
        (:mod:`rinalmo_kit.model.metadata`). For an adapter and a base that it was not trained on (both hashes are
        named), or a base of a file that is not an adapter.
    FileNotFoundError, IsADirectoryError
        If the file, or the base of an adapter, does not exist, or is a folder.
    TypeError
        For what is neither a name nor a path.

    Examples
    --------
    >>> model = load("nano-ss", device="cpu")
    >>> model.config.dim, type(model.head).__name__
    (320, 'StructureHead')
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"expected the name or path of a model, found {type(name_or_path).__name__}")
    target = ready_device(device)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype!r}: expected torch.float32, torch.bfloat16 or torch.float16")
    path = model_file(name_or_path)
    state, metadata, described = read_model(path)
    if "adapter" in metadata:
        file = read_adapter(state, metadata, str(path))
        whole, place = base_model(file.base.name, path, base=base, config=config)
        model = apply_adapter(file, whole, str(path), base_source=place)
    elif base is not None:
        raise ValueError(f"{path} is a whole model: base= is for adapter files")
    else:
        model = model_from_state(state, metadata, config=config, source=str(path))
    if described is not None:
        check_config(model, described, path)
    name = os.fspath(name_or_path)
    known = name in EMBEDDED or name in OFFICIAL
    on_hub = isinstance(name_or_path, str) and name.startswith(PREFIX)
    model.name = name if known or on_hub else path.name
    model.compiled = compiled
    if on_hub:
        name = f"{name.partition('@')[0]}@{path.name}"  # the folder is named after the commit
    model.source = name if known or on_hub else str(path.resolve()) if base is None else None
    for fact, value in OFFICIAL_METADATA.get(name, {}).items():
        setattr(model, fact, value)
    return _placed(model, target, dtype or torch.float32).eval()


def ready_device(device: torch.device | str | None) -> torch.device:
    """Return the device to use: a GPU if there is one and none is named; reject one that is not here.

    Examples
    --------
    >>> ready_device("gpu")
    Traceback (most recent call last):
    ValueError: device='gpu': expected None, 'cpu', 'cuda' (an NVIDIA GPU), 'cuda:1' or 'mps' (an Apple GPU)
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device is None:
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError
        found = torch.device(device)
    except (TypeError, RuntimeError):
        raise ValueError(
            f"device={device!r}: expected None, 'cpu', 'cuda' (an NVIDIA GPU), 'cuda:1' or 'mps' (an Apple GPU)"
        ) from None
    if (found.type == "cuda" and not cuda) or (found.type == "mps" and not mps):
        raise ValueError(
            f"device={str(device)!r}: PyTorch finds no such GPU here; use 'cpu', or leave it out"
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r}: there are {torch.cuda.device_count()} GPUs, counted from 0"
        )
    return found


def _placed(model: Encoder, device: torch.device | str, dtype: torch.dtype) -> Encoder:
    """Move a model to a device and a precision, but for a structure head's weights, which stay exact.

    They are small, and half precision in the maps alone costs a structure less (docs/gpu_structures.md).
    """
    head = model.head
    if not isinstance(head, StructureHead) or dtype.itemsize != 2:
        return model.to(device=device, dtype=dtype)
    model.head = None
    model.to(device=device, dtype=dtype)
    model.head = head.to(device=device, dtype=torch.float32)
    return model


def model_file(name_or_path: str | os.PathLike) -> Path:
    """Return the file of a model by its name, downloaded if need be, or the path that is given."""
    name = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and name.startswith(PREFIX):
        return download(name)
    if name in EMBEDDED:
        return WEIGHTS / EMBEDDED[name]
    if name in OFFICIAL:
        return official_file(name)
    if os.sep in name or Path(name).suffix or isinstance(name_or_path, os.PathLike):
        return user_path(name)
    if name in REPLACED:
        raise ValueError(f"{name!r} is no longer in the package: {REPLACED[name]!r} took its place")
    known = (*EMBEDDED, *OFFICIAL)
    raise ValueError(
        f"unknown model {name!r}{did_you_mean(name, known)}; embedded: {', '.join(EMBEDDED)}; "
        f"official: {', '.join(OFFICIAL)}; or give the path of a checkpoint file, or 'hf:owner/name'"
    )


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """Read a file or a folder in the hub's layout: the state dict, the metadata, and the ``config.json`` if any."""
    return read_folder(path) if is_layout(path) else (*read_state(path), None)


def base_model(
    name: str, adapter: Path, *, base: Encoder | str | os.PathLike | None, config: Config | None
) -> tuple[Encoder, str]:
    """Return the base of an adapter file, to be changed, on the CPU in float32, and where it comes from.

    Parameters
    ----------
    name : str
        What the adapter calls it.
    adapter : Path
        The adapter file.
    base : optional
        What the caller says that it is.
    config : Config, optional
        For a base whose file does not tell its number of heads.
    """
    if base is not None and not isinstance(base, str | os.PathLike):
        base = unwrapped(base)
        if has_lora(base):
            raise ValueError(
                f"base={base.name}: it has low-rank matrices of its own: pass it as it was before them"
            )
        return copy.deepcopy(base).to(device="cpu", dtype=torch.float32), base.name
    if base is None and name not in EMBEDDED and name not in OFFICIAL:
        base = adapter.with_name(name)
        if not base.exists():
            raise FileNotFoundError(
                f"{adapter} is an adapter of {name}, which is neither a model known by name nor a file in its folder: "
                f"put {name} there, or call rk.load({adapter.name!r}, base=…) with its path"
            )
    path = model_file(name if base is None else base)
    state, metadata, _ = read_model(path)
    if "adapter" in metadata:
        raise ValueError(
            f"{path} is an adapter itself: expected the whole model {name}, the base of {adapter}"
        )
    model = model_from_state(state, metadata, config=config, source=str(path))
    return model.to(torch.float32), str(path)


# --- official files ----------------------------------------------------------------------------------


def official_file(name: str) -> Path:
    """Return the path of an official file: from ``$RINALMO_KIT_DATA``, the cache, or downloaded into the cache.

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
        warn_user(
            f"no SHA-256 is published for {filename}: its length and structure fit, but that it is the official file "
            f"was not verified. Later loads are compared with its own SHA-256, in {note_of(path)}"
        )
    return path


def check_sha256(path: Path, expected: str | None) -> None:
    """Raise ValueError if the file is not the one that was published, or cannot be, where no checksum is."""
    if expected is None:
        check_content(path)
        warn_user(
            f"no SHA-256 is published for {path.name}: its structure fits, but that {path} is the official file was "
            "not verified"
        )
    elif (found := sha256_of(path)) != expected:
        raise ValueError(f"{path} is not the official file: its SHA-256 is {found}, expected {expected}")


@lru_cache(maxsize=2)
def _load_once(name: str) -> Encoder:
    return load(name)


def ready_model(model: Encoder | str | os.PathLike) -> Encoder:
    """Return a model as it is, unwrapped, or load it by name or path; the last two loaded by name are kept."""
    if not isinstance(model, str | os.PathLike):
        model = unwrapped(model)
        if model.training:
            raise ValueError(
                "the model is in training mode, where dropout makes results random: call model.eval()"
            )
        return model
    return load(model) if isinstance(model, os.PathLike) or is_path(model) else _load_once(model)
