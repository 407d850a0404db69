"""Model files: every layout of the specification, read and written."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .._utils.files import atomic_write, user_path
from .config import Config
from .metadata import ModelInfo, check_heads, read_json
from .rinalmo import Encoder, RiNALMo
from .tasks import TASKS, task_of
from .tensors import check_tensors, misfits, not_finite, shortened, some
from .unwrap import unwrapped

__all__ = ["save"]


def save(
    model: Encoder, path: str | os.PathLike, *, dtype: torch.dtype | None = None, adapter: bool = False
) -> Path:
    """Write a model as safetensors that :func:`load` reads: the released layout, head and threshold included.

    The file appears complete or not at all. Into a folder, the layout of the Hugging Face hub is written:
    ``model.safetensors``, ``config.json`` and, unless there is one, ``README.md``, the model's card with its licence.

    Parameters
    ----------
    model : Encoder
        Also inside torch.compile, DataParallel and the like.
    path : path
        Ends in ``.safetensors``; or a folder: one that exists, or a path without an ending.
    dtype : torch.dtype, optional
        Store in this precision, such as ``torch.float16`` for half the size. With one of 8 bits, such as
        ``torch.float8_e4m3fn``, matrices alone are; biases and norms are kept in float16.
    adapter : bool
        Of a model fine-tuned with ``mode="lora"``, store what was trained alone, the low-rank matrices and the head
        (:mod:`rinalmo_kit.model.adapters`): about 1 MB, with the name and the hash of the model it was trained from,
        which :func:`load` adds it to.

    Raises
    ------
    ValueError
        For another ending, and for a model that :func:`load` would reject: weights that are not numbers or become
        infinite in `dtype`, a head of another kind, unmerged low-rank matrices, or nonsense in ``labels``,
        ``threshold``, … With `adapter`: for a model that was not made by low-rank training, was trained since, or was
        trained from one that is not in a file of its own.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> import tempfile
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> folder = tempfile.mkdtemp()
    >>> load(save(RiNALMo(Config(dim=64, blocks=2, heads=4)), f"{folder}/my.safetensors")).config.blocks
    2
    """
    path, model = user_path(path), unwrapped(model)
    if not adapter and (path.is_dir() or not path.suffix):
        return _save_folder(model, path, dtype=dtype)
    if path.suffix.lower() != ".safetensors":
        what = "an adapter is saved as .safetensors"
        raise ValueError(
            f"{path}: {what if adapter else 'a model is saved as .safetensors, or into a folder'}"
        )
    if adapter:
        from .adapters import adapter_content

        state, metadata = adapter_content(model, str(path), dtype=dtype)
    else:
        state, metadata = file_content(model, str(path), dtype=dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        save_file(state, temporary, metadata=metadata)
    return path


def _save_folder(model: Encoder, folder: Path, *, dtype: torch.dtype | None) -> Path:
    """Write a model in the layout of the Hugging Face hub; a card that is there stays."""
    from .hub_layout import CONFIG, WEIGHTS, layout_config
    from .licences import licence_of
    from .model_card import model_card

    title = model.name if model.name != type(model).__name__ else folder.resolve().name
    texts = {CONFIG: json.dumps(layout_config(model), indent=2) + "\n"}
    if not (folder / "README.md").exists():
        texts["README.md"] = model_card(model, title.removesuffix(".safetensors"))
    if (licence := licence_of(model)) is not None:  # which its name told, in the folder another one
        model = copy.copy(model)
        model.info = replace(model.info, about={**model.about, "licence": licence.identifier})
    save(model, folder / WEIGHTS, dtype=dtype)
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder


def file_content(
    model: Encoder, source: str, *, dtype: torch.dtype | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a model's file, checked as on loading."""
    prefix = "" if model.head is None else "lm."
    state = {}
    for key, value in model.state_dict().items():
        name = f"pred_head.{key.removeprefix('head.')}" if key.startswith("head.") else prefix + key
        state[name] = stored_tensor(value, key, model, dtype)
    tensors, text = model.info.to_file(source)
    state |= tensors
    metadata = {"format": "pt", "rinalmo_kit": text}
    if isinstance(model, RiNALMo):
        metadata["heads"] = str(model.config.heads)
    else:
        from .multimolecule import AdaptedEncoder, describe

        metadata["encoder"] = json.dumps(describe(cast(AdaptedEncoder, model)))
    if type(model) is RiNALMo:  # an ablation is written too, though nobody else can load it
        model_from_state(dict(state), metadata, source=source)
    elif bad := not_finite(state):
        raise ValueError(f"{source}: weights that are not finite numbers ({len(bad)}): {some(bad)}")
    return state, metadata


def stored_tensor(value: Tensor, key: str, model: Encoder, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor as a file keeps it, or raise ValueError if it has no numbers."""
    if value.is_meta or value.layout != torch.strided:
        raise ValueError(
            f"{model.name}: {key} has no numbers that can be saved ({value.device}, {value.layout})"
        )
    return value.detach().to(device="cpu", dtype=dtype).contiguous()


# --- from tensors to a model -----------------------------------------------------------------------------


def model_from_state(
    state: dict[str, Any],
    metadata: Mapping[str, Any],
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
    info = ModelInfo.from_file(state, metadata, source)
    check_tensors(state, source)
    if "encoder" in metadata:
        state = rename_keys(state, external_key, source)
        model = external_encoder(read_json(metadata["encoder"], source, "encoder"), state, source)
    else:
        state, heads = to_released_layout(state, source)
        if "heads" in metadata:
            heads = check_heads(metadata["heads"], source)
        lm = {key: value for key, value in state.items() if not key.startswith("head.")}
        config = config_from_state(lm, heads=heads, config=config, source=source)
        with torch.device("meta"):
            model = RiNALMo(config)
    head = {key.removeprefix("head."): value for key, value in state.items() if key.startswith("head.")}
    if head:
        with torch.device("meta"):
            model.head = head_from_state(head, model.config.dim, source)
    load_strict(model, state, source)
    model.info = info
    check_labels(model, source)
    if info.whitening is not None:
        info.whitening.check_size(model.config.dim, model.config.blocks, source)
    return model


def check_labels(model: Encoder, source: str) -> None:
    """Raise ValueError unless a classifier has as many labels as classes, if it has any."""
    if model.labels is None or model.head is None or (task := task_of(model.head)) is None:
        return
    classes = task.count_classes(model.head)
    if classes is not None and len(model.labels) != classes:
        raise ValueError(
            f"{source}: labels: expected {classes} names, one for each class of its head, found {len(model.labels)}"
        )


def external_encoder(description: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> Encoder:
    """Make an encoder of another package, once the file's tensors are known to be those that it needs."""
    from .multimolecule import outline, rebuild

    lm = {key: value for key, value in state.items() if not key.startswith("head.")}
    try:
        check_fit(misfits(outline(description, most=len(lm)).state_dict(), lm), source)
        return rebuild(description)
    except ValueError as error:
        raise error if str(error).startswith(source) else ValueError(f"{source}: encoder: {error}") from error


def external_key(key: str) -> str:
    """Return the name of a parameter in an adapted encoder."""
    return re.sub(r"^pred_head\.", "head.", key.removeprefix("lm."))


def to_released_key(key: str) -> str:
    """Return the name that a parameter of any layout has in the released files, task heads under ``head.``."""
    key = re.sub(r"^(lm|rinalmo|model)\.", "", key)
    return re.sub(r"^pred_head\.", "head.", key).replace("mh_attn.mh_attn.", "mh_attn.")


def rename_keys(state: Mapping[str, Tensor], name: Callable[[str], str], source: str) -> dict[str, Tensor]:
    """Rename the keys of a state dict, or raise ValueError if two get the same name."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if name(key) in found:
            raise ValueError(
                f"{source} has two tensors called {shortened(name(key))}, with and without a prefix"
            )
        found[name(key)] = value
    return found


def to_released_layout(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], int | None]:
    """Rename keys of any known layout to those of the released files, task heads under ``head.``.

    Returns
    -------
    state : dict
    heads : int or None
        Number of attention heads, where the layout tells it.
    """
    found: dict[str, Tensor] = {}
    split: dict[str, dict[str, tuple[str, Tensor]]] = {}
    heads = None
    for key, value in rename_keys(state, to_released_key, source).items():
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


def config_from_state(
    lm: Mapping[str, Tensor], *, heads: int | None, config: Config | None, source: str
) -> Config:
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


def head_from_state(state: Mapping[str, Tensor], dim: int, source: str) -> nn.Module:
    """Make the task head that a state dict describes."""
    for task in TASKS.values():
        if (head := task.head_from_state(state, dim)) is not None:
            return head
    raise ValueError(f"{source} has an unknown task head with the keys {some(sorted(state))}")


def load_strict(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put a state dict into a model on the meta device, or list every key that does not fit."""
    check_fit(misfits(model.state_dict(), state), source)
    if bad := not_finite(state):
        raise ValueError(f"{source} has weights that are not finite numbers ({len(bad)}): {some(bad)}")
    model.load_state_dict({key: value.contiguous() for key, value in state.items()}, assign=True)


def check_fit(problems: Mapping[str, list[str]], source: str) -> None:
    """Raise ValueError if there are problems, listing them."""
    if problems:
        lists = "\n".join(f"  {what} ({len(keys)}): {some(keys)}" for what, keys in problems.items())
        raise ValueError(f"{source} does not fit the model; nothing was loaded\n{lists}")
