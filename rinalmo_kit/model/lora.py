"""Low-rank adaptation: train two thin matrices next to each weight, then fold them into it.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685): W stays as it is, and
W + alpha/rank · B A is computed with, where A is (rank, in) and B (out, rank) and starts at zero. Not in the RiNALMo
paper, which trains all weights; it is for machines whose memory cannot hold the optimiser's state of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .rinalmo import Encoder
from .unwrap import unwrapped

__all__ = ["LowRank", "add_lora", "has_lora", "merge_lora"]


class LowRank(nn.Module):
    """Adds ``scale · B @ A`` to a weight; nothing is added at first, since B is zero.

    Parameters
    ----------
    weight : Tensor
        (out, in).
    rank : int
    scale : float

    Examples
    --------
    >>> weight = torch.eye(3)
    >>> torch.equal(LowRank(weight, rank=2, scale=2.0)(weight), weight)
    True
    """

    def __init__(self, weight: Tensor, *, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.A = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))  # as of a Linear

    def forward(self, weight: Tensor) -> Tensor:
        """``weight + scale · B @ A``, (out, in)."""
        return torch.addmm(weight, self.B, self.A, alpha=self.scale)


def add_lora(
    encoder: Encoder, *, rank: int = 8, alpha: float = 16, targets: Sequence[str] | None = None
) -> Encoder:
    """Freeze an encoder and give the linear layers of its blocks low-rank matrices to train instead.

    The task head is left as it is and trains as before. Make the optimiser afterwards, with the parameters that
    require a gradient. To resume a training run, call this with the same arguments on the model it began from, then
    load the state dict.

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
    linear = [(name.rpartition(".")[2], part) for name, part in _linear_layers(encoder)]
    known = list(dict.fromkeys(name for name, _ in linear))
    if unknown := [target for target in targets or () if target not in known]:
        raise ValueError(f"{encoder.name} has no linear layers called {unknown}; it has {known}")
    for name, parameter in encoder.named_parameters():
        if not name.startswith("head."):
            parameter.requires_grad_(False)
    for name, part in linear:
        if targets is None or name in targets:
            low_rank = LowRank(part.weight, rank=rank, scale=alpha / rank)
            parametrize.register_parametrization(part, "weight", low_rank)
    return encoder


def merge_lora(encoder: Encoder) -> Encoder:
    """Fold the low-rank matrices into the weights: the encoder is an ordinary one again, with the same results.

    Every parameter requires a gradient afterwards. To save a model in the middle of its training, merge a copy:
    ``rk.save(merge_lora(copy.deepcopy(model)), path)``.

    Parameters
    ----------
    encoder : Encoder
        Changed in place; one without low-rank matrices is left alone.
    """
    encoder = unwrapped(encoder)
    layers = _adapted_layers(encoder)
    for part in layers:
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


def _linear_layers(encoder: Encoder) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the linear layers of the blocks with their names."""
    for block in encoder.layers()[1]:
        for name, part in block.named_modules():
            if isinstance(part, nn.Linear):
                yield name, part


def _adapted_layers(encoder: Encoder) -> list[nn.Linear]:
    return [
        part
        for part in encoder.modules()
        if isinstance(part, nn.Linear)
        and parametrize.is_parametrized(part, "weight")
        and any(isinstance(one, LowRank) for one in part.get_submodule("parametrizations.weight").children())
    ]
