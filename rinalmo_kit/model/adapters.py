"""Adapter files: the low-rank matrices and the task head of a fine-tuned model, without the weights they are added to.

A safetensors file. Tensors: for each changed linear layer of the base ``lora.LAYER.A`` (rank, in) and ``lora.LAYER.B``
(out, rank), and ``pred_head.…``, ``threshold``, ``scaler.…`` as in a model file. Metadata: ``rinalmo_kit`` as in a
model file, and ``adapter``: JSON with the name of the base, the SHA-256 of its weights
(:func:`rinalmo_kit.model.lora.encoder_sha256`), rank and scale. The model is the base with ``scale · B @ A`` added to
the weight of each layer. An adapter may come from anyone: nothing in it is trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checkpoint import check_fit, check_labels, head_from_state, load_strict, stored_tensor
from .lora import Adapter, Base, encoder_sha256, find_adapter, is_plain_name, linear_layers, merge_adapter
from .metadata import ModelInfo, _is_whole, _number, _wrong, read_json
from .rinalmo import Encoder
from .tensors import check_tensors, misfits, not_finite, some

__all__ = ["AdapterFile", "adapter_content", "apply_adapter", "read_adapter"]

LARGEST_RANK, LARGEST_SCALE = 10_000, 1e6


FACTS = ("base", "sha256", "rank", "scale")
"""What an adapter says of itself."""


class AdapterFile(NamedTuple):
    """What an adapter file holds.

    Attributes
    ----------
    base : Base
    adapter : Adapter
    head : dict of str to Tensor
        State dict of the task head; empty without one.
    info : ModelInfo
    """

    base: Base
    adapter: Adapter
    head: dict[str, Tensor]
    info: ModelInfo


def adapter_content(
    model: Encoder, source: str, *, dtype: torch.dtype | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a model's adapter file, checked as on loading.

    Raises
    ------
    ValueError
        If the model was not made by low-rank training, or its base is in no file.
    """
    adapter = find_adapter(model)
    if adapter is None:
        raise ValueError(
            f'{model.name} has no low-rank matrices: only a model fine-tuned with mode="lora", and not trained since, '
            "is saved as an adapter; leave out adapter=True to save the whole model"
        )
    if adapter.base is None:
        raise ValueError(
            f"{model.name}: its low-rank matrices were trained on a model that is not in a file of its own (it was "
            "trained or made in memory, or loaded from an adapter): save that one whole with rk.save, and fine-tune "
            "from its file"
        )
    state = {
        f"lora.{name}.{key}": stored_tensor(matrix, f"{name}.{key}", model, dtype)
        for name, matrices in adapter.layers.items()
        for key, matrix in zip("AB", matrices, strict=True)
    }
    for key, value in model.head.state_dict().items() if model.head is not None else ():
        state[f"pred_head.{key}"] = stored_tensor(value, f"head.{key}", model, dtype)
    tensors, text = model.info.to_file(source)
    state |= tensors
    facts = dict(zip(FACTS, (*adapter.base, adapter.rank, adapter.scale), strict=True))
    metadata = {"format": "pt", "rinalmo_kit": text, "adapter": json.dumps(facts)}
    found = read_adapter(dict(state), metadata, source)
    if found.head:
        with torch.device("meta"):
            head = head_from_state(found.head, model.config.dim, source)
        check_fit(misfits(head.state_dict(), found.head), source)
    check_labels(model, source)
    return state, metadata


def read_adapter(state: dict[str, Any], metadata: Mapping[str, Any], source: str) -> AdapterFile:
    """Return what the tensors and the metadata of an adapter file say, all that can be checked without its base.

    Parameters
    ----------
    state : dict
        Tensors by their names in the file.
    metadata : mapping
        With the entry ``adapter``.
    source : str
        The file, for errors.

    Raises
    ------
    ValueError
        Names the file, the key, what was expected and what was found.
    """
    base, rank, scale = read_facts(metadata["adapter"], source)
    info = ModelInfo.from_file(state, metadata, source)
    check_tensors(state, source)
    found = {key: re.fullmatch(r"lora\.(.+)\.([AB])", key) for key in state}
    names = list(dict.fromkeys(match[1] for match in found.values() if match))
    head = {key.removeprefix("pred_head."): state[key] for key in state if key.startswith("pred_head.")}
    if unknown := sorted(key for key in state if not found[key] and not key.startswith("pred_head.")):
        raise ValueError(
            f"{source}: unknown tensors ({len(unknown)}): {some(unknown)}; "
            "expected lora.LAYER.A, lora.LAYER.B and pred_head.…"
        )
    if not names:
        raise ValueError(
            f"{source}: an adapter without low-rank matrices: expected lora.LAYER.A and lora.LAYER.B"
        )
    matrices = {key: state[key] for key in state if found[key]}
    expected: dict[str, Tensor] = {}
    for name in names:
        wide, tall = (_side(matrices.get(f"lora.{name}.{key}"), at) for key, at in (("A", 1), ("B", 0)))
        expected |= _shapes(name, rank, wide, tall)
    check_fit(misfits(expected, matrices), source)
    if bad := not_finite(state):
        raise ValueError(f"{source} has weights that are not finite numbers ({len(bad)}): {some(bad)}")
    layers = {name: (state[f"lora.{name}.A"].float(), state[f"lora.{name}.B"].float()) for name in names}
    return AdapterFile(base, Adapter(base, rank, scale, layers), head, info)


def apply_adapter(file: AdapterFile, base: Encoder, source: str, *, base_source: str) -> Encoder:
    """Return the base with the adapter's matrices added to its weights, and its head and metadata; changed in place.

    Parameters
    ----------
    file : AdapterFile
    base : Encoder
        On the CPU, in float32.
    source, base_source : str
        Where the two come from, for errors.

    Raises
    ------
    ValueError
        If it is not the model that the adapter was trained on, or the matrices or the head do not fit it.
    """
    if (found := encoder_sha256(base)) != file.base.sha256:
        raise ValueError(
            f"{source} was trained on another model: its base {file.base.name} has the hash {file.base.sha256[:12]}, "
            f"{base_source} has {found[:12]}"
        )
    known = dict(linear_layers(base))
    given: dict[str, Tensor] = {}
    expected: dict[str, Tensor] = {}
    for name, matrices in file.adapter.layers.items():
        given |= {f"lora.{name}.{key}": matrix for key, matrix in zip("AB", matrices, strict=True)}
        if name in known:
            expected |= _shapes(name, file.adapter.rank, known[name].in_features, known[name].out_features)
    check_fit(misfits(expected, given), source)
    merge_adapter(base, file.adapter)
    if bad := not_finite({name: known[name].weight for name in file.adapter.layers}):
        raise ValueError(
            f"{source} gives {file.base.name} weights that are not finite numbers ({len(bad)}): {some(bad)}"
        )
    base.head = None
    if file.head:
        with torch.device("meta"):
            base.head = head_from_state(file.head, base.config.dim, source)
        load_strict(base.head, file.head, source)
    base.info = file.info
    check_labels(base, source)
    return base


def read_facts(text: Any, source: str) -> tuple[Base, int, float]:
    """Return what an adapter says of itself: base, rank and scale, checked.

    Examples
    --------
    >>> read_facts('{"base": "nano", "sha256": "0", "rank": 8, "scale": 2.0}', "my.safetensors")
    Traceback (most recent call last):
    ...
    ValueError: my.safetensors: adapter.sha256: expected 64 hexadecimal digits, found '0'
    """
    facts = read_json(text, source, "adapter")
    if set(facts) != set(FACTS):
        raise ValueError(
            f"{source}: adapter: expected the entries {', '.join(FACTS)}, found {some(list(facts)) or 'none'}. "
            "Was the file written by a newer rinalmo_kit?"
        )
    base, sha256, rank, scale = (facts[key] for key in FACTS)
    if not isinstance(base, str) or not is_plain_name(base):
        raise _wrong(source, "adapter.base", "the name of a model, or of a file without a folder", base)
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise _wrong(source, "adapter.sha256", "64 hexadecimal digits", sha256)
    if not _is_whole(rank) or not 1 <= rank <= LARGEST_RANK:
        raise _wrong(source, "adapter.rank", f"a whole number from 1 to {LARGEST_RANK:,}", rank)
    if not abs(_number(scale)) <= LARGEST_SCALE:
        raise _wrong(
            source, "adapter.scale", f"a number from -{LARGEST_SCALE:,.0f} to {LARGEST_SCALE:,.0f}", scale
        )
    return Base(base, sha256), int(rank), float(scale)


def _side(matrix: Tensor | None, dim: int) -> int:
    """Return the length of a matrix along one side; 1 for what is not a matrix, so that it does not fit."""
    return matrix.shape[dim] if isinstance(matrix, Tensor) and matrix.dim() == 2 else 1


def _shapes(name: str, rank: int, wide: int, tall: int) -> dict[str, Tensor]:
    """Return matrices of the expected shapes for a layer, without memory for numbers."""
    with torch.device("meta"):
        return {f"lora.{name}.A": torch.empty(rank, wide), f"lora.{name}.B": torch.empty(tall, rank)}
