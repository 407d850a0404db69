"""Low-rank adaptation: train two thin matrices next to each weight, then fold them into it.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685): W stays as it is, and
W + alpha/rank · B A is computed with, where A is (rank, in) and B (out, rank) and starts at zero. Not in the RiNALMo
paper, which trains all weights; it is for machines whose memory cannot hold the optimiser's state of all of them.
What was trained can be kept beside the model it was trained from, as an adapter (:mod:`rinalmo_kit.model.adapters`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .rinalmo import Encoder
from .unwrap import unwrapped

__all__ = [
    "Adapter",
    "Base",
    "LowRank",
    "add_lora",
    "encoder_sha256",
    "find_adapter",
    "has_lora",
    "linear_layers",
    "merge_adapter",
    "merge_lora",
]

LONGEST_NAME = 255
"""Characters of the name of a base."""


class Base(NamedTuple):
    """The model that low-rank matrices were trained on.

    Attributes
    ----------
    name : str
        Name of a model that :func:`rinalmo_kit.load` knows, or of a file, without its folder.
    sha256 : str
        :func:`encoder_sha256` of it.
    """

    name: str
    sha256: str


class Adapter(NamedTuple):
    """Low-rank matrices, apart from the weights they are added to.

    Attributes
    ----------
    base : Base or None
        None if it is in no file that could be named.
    rank : int
        Rows of A, columns of B.
    scale : float
        ``scale · B @ A`` is added to a weight.
    layers : dict of str to (Tensor, Tensor)
        Name of a linear layer → A, (rank, in), and B, (out, rank), on the CPU.
    """

    base: Base | None
    rank: int
    scale: float
    layers: dict[str, tuple[Tensor, Tensor]]


class LowRank(nn.Module):
    """Adds ``scale · B @ A`` to a weight; nothing is added at first, since B is zero.

    Parameters
    ----------
    weight : Tensor
        (out, in).
    rank : int
    scale : float
    base : Base, optional
        The model that the weight belongs to.

    Examples
    --------
    >>> weight = torch.eye(3)
    >>> torch.equal(LowRank(weight, rank=2, scale=2.0)(weight), weight)
    True
    """

    def __init__(self, weight: Tensor, *, rank: int, scale: float, base: Base | None = None) -> None:
        super().__init__()
        self.scale, self.base = scale, base
        self.A = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))  # as of a Linear

    def forward(self, weight: Tensor) -> Tensor:
        """``weight + scale · B @ A``, (out, in)."""
        return low_rank_sum(weight, self.A, self.B, self.scale)


def low_rank_sum(weight: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """Return ``weight + scale · B @ A``: in training, when it is merged, and when an adapter is loaded."""
    return torch.addmm(weight, B, A, alpha=scale)


def add_lora(
    encoder: Encoder, *, rank: int = 8, alpha: float = 16, targets: Sequence[str] | None = None
) -> Encoder:
    """Freeze an encoder and give the linear layers of its blocks low-rank matrices to train instead.

    The task head is left as it is and trains as before. Make the optimiser afterwards, with the parameters that
    require a gradient. To resume a training run, call this with the same arguments on the model it began from, then
    load the state dict. To save an adapter file later (``rk.save(model, path, adapter=True)``), call this on the model
    as it was loaded, before ``model.train()``, and leave all frozen parameters as they are.

    Parameters
    ----------
    encoder : Encoder
        Ours or an adapted one; it is changed in place.
    rank : int
        Rows of A, columns of B.
    alpha : float
        The product is scaled by alpha / rank.
    targets : sequence of str, optional
        Which linear layers of the blocks, by the last part of their names, such as ``("Wqkv", "out_proj")`` for
        attention alone. Default: all.

    Returns
    -------
    Encoder
        The same. It computes what it did until A and B are trained.

    Raises
    ------
    ValueError
        If the encoder has low-rank matrices already, `rank` is below 1, or a target does not exist (those that do are
        named).

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> model = add_lora(RiNALMo(Config(dim=64, blocks=2, heads=4)), rank=4)
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad), sum(p.numel() for p in model.parameters())
    (8688, 115312)
    >>> type(merge_lora(model).transformer.blocks[0].mh_attn.Wqkv).__name__
    'Linear'
    """
    encoder = unwrapped(encoder)
    if rank < 1:
        raise ValueError(f"rank={rank}: expected at least 1")
    if has_lora(encoder):
        raise ValueError(f"{encoder.name} has low-rank matrices already: merge_lora(model) folds them in")
    linear = [(name.rpartition(".")[2], part) for name, part in linear_layers(encoder)]
    known = list(dict.fromkeys(name for name, _ in linear))
    if unknown := [target for target in targets or () if target not in known]:
        raise ValueError(f"{encoder.name} has no linear layers called {unknown}; it has {known}")
    base = find_base(encoder)
    for name, parameter in encoder.named_parameters():
        if not name.startswith("head."):
            parameter.requires_grad_(False)
    for name, part in linear:
        if targets is None or name in targets:
            low_rank = LowRank(part.weight, rank=rank, scale=alpha / rank, base=base)
            parametrize.register_parametrization(part, "weight", low_rank)
    return encoder


def merge_lora(encoder: Encoder) -> Encoder:
    """Fold the low-rank matrices into the weights: the encoder is an ordinary one again, with the same results.

    Every parameter requires a gradient afterwards. The matrices are kept in ``encoder.adapter``, for an adapter file,
    until the encoder is in training mode again. To save a model in the middle of its training, merge a copy:
    ``rk.save(merge_lora(copy.deepcopy(model)), path)``.

    Parameters
    ----------
    encoder : Encoder
        Changed in place; one without low-rank matrices is left alone.
    """
    encoder = unwrapped(encoder)
    encoder.adapter = find_adapter(encoder)
    layers = _adapted_layers(encoder)
    for _, part, _ in layers:
        weight, plain = part.weight.detach(), parametrize.type_before_parametrizations(part)
        # Not by remove_parametrizations: it changes the class of the layer, which a copy of the model shares
        del part.parametrizations
        part.__class__ = plain
        part.weight = nn.Parameter(weight)
        if part.bias is not None:
            part.register_parameter(
                "bias", part._parameters.pop("bias")
            )  # after the weight, as in any Linear
    return encoder.requires_grad_(True) if layers else encoder


def has_lora(encoder: Encoder) -> bool:
    """Tell whether an encoder has low-rank matrices that are not merged yet.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> has_lora(RiNALMo(Config(dim=64, blocks=2, heads=4)))
    False
    """
    return bool(_adapted_layers(encoder))


def find_adapter(encoder: Encoder) -> Adapter | None:
    """Return the low-rank matrices of an encoder, those that are not merged yet or those that were; None without any.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> model = RiNALMo(Config(dim=64, blocks=1, heads=4))
    >>> find_adapter(model) is None
    True
    >>> adapter = find_adapter(add_lora(model, rank=4, alpha=8))
    >>> A, B = adapter.layers["transformer.blocks.0.mh_attn.Wqkv"]
    >>> adapter.rank, adapter.scale, list(A.shape), list(B.shape)
    (4, 2.0, [4, 64], [192, 4])
    """
    parts = _adapted_layers(encoder)
    if not parts:
        return encoder.adapter
    one = parts[0][2]
    layers = {name: (low.A.detach().cpu(), low.B.detach().cpu()) for name, _, low in parts}
    return Adapter(one.base, one.A.shape[0], one.scale, layers)


@torch.no_grad()
def merge_adapter(encoder: Encoder, adapter: Adapter) -> Encoder:
    """Add the matrices of an adapter to the weights of its base, in place, as :func:`merge_lora` does after a training.

    Parameters
    ----------
    encoder : Encoder
        The base, or one with its shapes.
    adapter : Adapter
        Kept in ``encoder.adapter``.
    """
    layers = dict(linear_layers(encoder))
    for name, matrices in adapter.layers.items():
        weight = layers[name].weight
        A, B = (matrix.to(weight) for matrix in matrices)
        layers[name].weight = nn.Parameter(low_rank_sum(weight, A, B, adapter.scale))
    encoder.adapter = adapter
    return encoder


def find_base(encoder: Encoder) -> Base | None:
    """Return the name and hash of an encoder that was loaded and not trained since; None for any other.

    Also None for one that was loaded from an adapter file: its weights are sums that another machine rounds otherwise,
    so their hash would not be found again.
    """
    if encoder.source is None or encoder.adapter is not None:
        return None
    name = Path(encoder.source).name
    return Base(name, encoder_sha256(encoder)) if is_plain_name(name) else None


def is_plain_name(name: str) -> bool:
    r"""Tell whether a name is one of a model or a file, which cannot lead out of a folder on any system.

    Examples
    --------
    >>> is_plain_name("nano"), is_plain_name("../nano.pt"), is_plain_name("C:\\nano.pt")
    (True, False, False)
    """
    return (
        name.isprintable()
        and not set(name) & set("/\\:")
        and name.strip(".") != ""
        and len(name) <= LONGEST_NAME
    )


def encoder_sha256(encoder: Encoder) -> str:
    """Return the SHA-256 of an encoder's weights, in hexadecimal; it depends on the numbers alone, not on their file.

    Hashed are a line with the class and the number of attention heads, then, in the order of their names, all tensors
    but those of the task head: a line with name and shape, and the numbers as little-endian float32 in row-major order,
    -0 as 0 (those of integer tensors as int64). float16 and bfloat16 numbers are float32 numbers, too, so that the
    precision of storage makes no difference to equal numbers. One tensor at a time is converted.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> model = RiNALMo(Config(dim=16, blocks=1, heads=2)).half()
    >>> encoder_sha256(model) == encoder_sha256(model.float())
    True
    """
    kind = type(getattr(encoder, "peer", encoder)).__name__
    digest = hashlib.sha256(f"{kind} {encoder.config.heads}\n".encode())
    state = {key: value for key, value in encoder.state_dict().items() if not key.startswith("head.")}
    for key in sorted(state):
        value = state[key].detach().cpu()
        numbers = value.float() + 0.0 if value.is_floating_point() else value.long()
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(
            numbers.contiguous().numpy().astype("<f4" if value.is_floating_point() else "<i8", copy=False)
        )
    return digest.hexdigest()


def linear_layers(encoder: Encoder) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the linear layers of an encoder's blocks with their full names."""
    inside = {id(part) for block in encoder.layers()[1] for part in block.modules()}
    for name, part in encoder.named_modules():
        if isinstance(part, nn.Linear) and id(part) in inside:
            yield name, part


def _adapted_layers(encoder: Encoder) -> list[tuple[str, nn.Linear, LowRank]]:
    """Return the layers with low-rank matrices that are not merged: name, layer, matrices."""
    return [
        (name, part, low_rank)
        for name, part in encoder.named_modules()
        if isinstance(part, nn.Linear) and parametrize.is_parametrized(part, "weight")
        for low_rank in part.get_submodule("parametrizations.weight").children()
        if isinstance(low_rank, LowRank)
    ]
