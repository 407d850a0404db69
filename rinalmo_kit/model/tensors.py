"""Tensors of a file that anyone may have written: checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["check_tensors", "misfits", "not_finite", "some"]

SHARED = 3
"""Times that the tensors of a file may use its numbers: tied weights use them twice."""


LARGEST = torch.finfo(torch.float32).max


def check_tensors(state: Mapping[str, Any], source: str) -> None:
    """Raise ValueError unless these are plain tensors that take no more memory than their numbers in the file.

    Examples
    --------
    >>> check_tensors({"a": torch.zeros(1).expand(10**12)}, "my.pt")
    Traceback (most recent call last):
    ...
    ValueError: my.pt: a: a shape (1000000000000,) but only 4 bytes of numbers
    """
    storages, total = {}, 0
    for key, value in state.items():
        if problem := _problem(value):
            raise ValueError(f"{source}: {shortened(key)}: {problem}")
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        total += value.nbytes
    if total > SHARED * sum(storages.values()):
        raise ValueError(
            f"{source}: its {len(state)} tensors share {sum(storages.values()):,} bytes of numbers, but have shapes "
            f"for {total:,}"
        )


def _problem(value: Any) -> str:
    """Say what is wrong with a tensor, if anything is."""
    if type(value) not in (Tensor, nn.Parameter):
        return f"expected a tensor, found {type(value).__name__}"
    if value.layout != torch.strided or value.is_quantized:
        return "expected an ordinary tensor, found a sparse or quantized one"
    if value.is_meta:
        return "a tensor without numbers (of the device meta)"
    if not value.numel():
        return f"an empty tensor, of shape {tuple(value.shape)}"
    if value.nbytes > (there := value.untyped_storage().nbytes()):
        return f"a shape {tuple(value.shape)} but only {there:,} bytes of numbers"
    return ""


def misfits(expected: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, list[str]]:
    """List what of a state dict does not fit: kind of fault → keys.

    Parameters
    ----------
    expected : mapping
        State dict of the model, whose tensors may be on the device meta.
    state : mapping
        What is to be put into it.

    Examples
    --------
    >>> misfits({"a": torch.zeros(2)}, {"b": torch.zeros(2)})
    {'missing': ['a'], 'unexpected': ['b']}
    """
    both = sorted(expected.keys() & state.keys())
    fitting = [key for key in both if getattr(state[key], "shape", None) == expected[key].shape]
    floats = [key for key in fitting if expected[key].is_floating_point()]
    found = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "wrong shape": [
            f"{key} {tuple(getattr(state[key], 'shape', ()))}, expected {tuple(expected[key].shape)}"
            for key in both
            if key not in fitting
        ],
        "not floating-point numbers": [
            f"{key} ({state[key].dtype})" for key in floats if not state[key].is_floating_point()
        ],
        "wrong type": [
            f"{key} ({state[key].dtype}), expected {expected[key].dtype}"
            for key in fitting
            if key not in floats and state[key].dtype != expected[key].dtype
        ],
    }
    return {what: keys for what, keys in found.items() if keys}


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """List the keys of tensors with NaN, infinity, or what becomes infinity in float32.

    Examples
    --------
    >>> not_finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])})
    ['b']
    """
    return [key for key, value in state.items() if value.is_floating_point() and not _finite(value)]


def _finite(value: Tensor) -> bool:
    value = value.detach()
    low, high = torch.aminmax(value if value.element_size() > 1 else value.float())
    return -LARGEST <= low.item() <= high.item() <= LARGEST  # which NaN is not


def shortened(key: str) -> str:
    """Return a key for a message: however long it is, a line of it."""
    return key if len(key) <= 120 else f"{key[:120]}…"


def some(keys: list[str], limit: int = 12) -> str:
    """Return the first keys, and how many more there are."""
    shown = ", ".join(shortened(key) for key in keys[:limit])
    return shown + (f", … and {len(keys) - limit} more" if len(keys) > limit else "")
