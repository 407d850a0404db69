"""Unwrapping of models from torch.compile, DataParallel and the like."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from .rinalmo import Encoder

__all__ = ["unwrapped"]


def unwrapped(model: Any) -> Encoder:
    """Return the encoder that a model is or holds.

    What torch.compile, DataParallel, DistributedDataParallel and AveragedModel give computes the same as the
    model inside, which is returned. Nothing else is unwrapped.

    Raises
    ------
    TypeError
        For anything else; names its type, and how to get at an encoder if it is plain.

    Examples
    --------
    >>> import torch
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> model = RiNALMo(Config(dim=64, blocks=1, heads=4))
    >>> unwrapped(torch.nn.DataParallel(model)) is model
    True
    >>> unwrapped(torch.nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    TypeError: expected an encoder, the name of a model or its path, found Linear
    """
    given = model
    while not isinstance(model, Encoder):
        inside = _inside(model)
        if inside is None:
            raise TypeError(
                f"expected an encoder, the name of a model or its path, found {_type_name(given)}{_hint(model)}"
            )
        model = inside
    return model


def _inside(model: Any) -> nn.Module | None:
    """Return what a wrapper holds that computes the same."""
    if isinstance(model, DataParallel | DistributedDataParallel | AveragedModel):
        return model.module
    if type(model).__name__ == "OptimizedModule" and isinstance(model, nn.Module):  # of torch.compile
        return getattr(model, "_orig_mod", None)
    return None


def _type_name(model: Any) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__


def _hint(model: Any) -> str:
    """Say how to get an encoder, where it is plain."""
    if isinstance(model, type):
        return ": pass a model, not its class"
    if type(model).__module__.startswith("multimolecule."):
        return ": pass rinalmo_kit.model.multimolecule.adapt(model)"
    if hasattr(model, "merge_and_unload"):  # peft
        return ": pass model.merge_and_unload()"
    if isinstance(model, nn.Module):
        names = [name for name, part in model.named_children() if isinstance(part, Encoder)]
        return f": pass its attribute {names[0]}, which is one" if names else ""
    return ": pass rinalmo_kit.RiNALMo(config)" if type(model).__name__ == "Config" else ""
