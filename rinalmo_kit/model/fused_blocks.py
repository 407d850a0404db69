"""The blocks of the encoder on a GPU: aligned products, and what lies between them in few kernels.

The formulas are those of ``blocks.py``. A block is two functions of tensors, before and after attention, which
:func:`torch.compile` makes into a few kernels beside the matrix products: LayerNorm; rotary positions; residual and
LayerNorm; SwiGLU. Attention between them is called as it is, so that the compiler sees no index and no kernel that it
does not know. All blocks of a model share the two compiled functions, for any number of tokens.

The products of the feed-forward network are padded with zeros to a multiple of 64 in their hidden width, since a GPU is
slow with odd ones (giga's is 3413, nano's 853): SiLU(0) · 0 = 0 adds nothing. The padded weights are made for each call
and belong to nobody: parameters, gradients, optimizer states and files keep their shapes. In training, the cast of the
weights to half precision makes them anyway; in inference they cost one pass over two thirds of the weights a batch.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .._utils.warn import warn_user

if TYPE_CHECKING:
    from .attention import PackedBatch
    from .blocks import Block, SwiGLU

__all__ = ["MULTIPLE", "compiler_works", "is_supported", "run_block"]

Made = TypeVar("Made")

MULTIPLE = 64
"""Multiple to which the hidden width of the feed-forward network is padded."""


def is_supported(block: nn.Module) -> bool:
    """Tell whether :func:`run_block` can replace the modules of a block: its own, without hooks.

    Examples
    --------
    >>> from rinalmo_kit.model.config import Config
    >>> from rinalmo_kit.model.rinalmo import RiNALMo
    >>> block = RiNALMo(Config(dim=64, blocks=1, heads=4)).transformer.blocks[0]
    >>> is_supported(block)
    True
    >>> _ = block.mh_attn.Wqkv.register_forward_hook(print)
    >>> is_supported(block)
    False
    """
    from .blocks import Attention, Block, SwiGLU

    if type(block) is not Block:
        return False
    attention, transition = block.mh_attn, block.transition
    parts: list[tuple[type[nn.Module], list[nn.Module]]] = [
        (Attention, [attention]),
        (nn.LayerNorm, [block.attn_layer_norm, block.out_layer_norm]),
        (nn.Dropout, [block.residual_dropout]),
        (nn.Sequential, [transition]),
    ]
    if not all(is_plain(part, kind) for kind, found in parts for part in found):
        return False
    swiglu, nothing, last = transition
    if not is_plain(swiglu, SwiGLU) or not is_plain(nothing, nn.Identity):
        return False
    linear = attention.Wqkv, attention.out_proj, swiglu.linear, swiglu.linear_gate, last
    return all(is_plain(part, nn.Linear) for part in linear)


def is_plain(module: object, kind: type[nn.Module]) -> bool:
    """Tell whether a module is of a kind, its weights parametrized or not, and has no hooks."""
    if not isinstance(module, nn.Module):
        return False
    right = parametrize.type_before_parametrizations(module) is kind
    return right and not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def run_block(block: Block, x: Tensor, packing: PackedBatch, rotations: tuple[Tensor, Tensor]) -> Tensor:
    """Apply a block to a packed batch.

    Parameters
    ----------
    block : Block
        For which :func:`is_supported` is true.
    x : Tensor
        (N, dim).
    packing : PackedBatch
        The sequences of the batch; its ``way`` is ``"fused"`` or ``"compiled"``.
    rotations : (Tensor, Tensor)
        Cosine and sine of ``packing.rotations``, in float32.

    Returns
    -------
    Tensor
        (N, dim).
    """
    from .attention import attend

    attention, norm = block.mh_attn, block.out_layer_norm
    swiglu, last = cast("SwiGLU", block.transition[0]), cast("nn.Linear", block.transition[2])
    dropout = block.residual_dropout.p if block.training else 0.0
    before, after = before_attention, after_attention
    if packing.way == "compiled":
        grad = torch.is_grad_enabled()
        before, after = compiled_parts(Kind(x.shape[1], attention.heads, dropout, x.dtype, x.device, grad))
    cos, sin = (part[:, 0] for part in rotations)
    y, q, k, v = before(
        x, block.attn_layer_norm.weight, block.attn_layer_norm.bias, attention.Wqkv.weight, cos, sin,
        attention.heads,
    )  # fmt: skip
    mixed = attend(q, k, v, packing, attention.dropout if attention.training else 0.0)
    return after(
        y, mixed, attention.out_proj.weight, norm.weight, norm.bias,
        swiglu.linear.weight, swiglu.linear.bias, swiglu.linear_gate.weight, swiglu.linear_gate.bias, swiglu.beta,
        last.weight, last.bias, dropout,
    )  # fmt: skip


def before_attention(
    x: Tensor, scale: Tensor, shift: Tensor, Wqkv: Tensor, cos: Tensor, sin: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the normalised input, (N, dim), and queries and keys, rotated, and values, (N, heads, d_head) each."""
    y = F.layer_norm(x, scale.shape, scale, shift)
    q, k, v = F.linear(y, Wqkv).unflatten(-1, (3, heads, -1)).unbind(1)
    return y, rotated(q, cos, sin), rotated(k, cos, sin), v.contiguous()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to (N, heads, d_head), with angles in float32; the result has the dtype of `x`."""
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1).to(x.dtype)


def after_attention(
    y: Tensor,
    mixed: Tensor,
    out_proj: Tensor,
    scale: Tensor,
    shift: Tensor,
    linear: Tensor,
    linear_bias: Tensor,
    gate: Tensor,
    gate_bias: Tensor,
    beta: Tensor,
    last: Tensor,
    last_bias: Tensor,
    dropout: float,
) -> Tensor:
    """Return the output of a block, (N, dim), from its normalised input and the result of attention."""
    x = y + F.dropout(F.linear(mixed.flatten(1), out_proj), dropout, dropout > 0)
    z = F.layer_norm(x, scale.shape, scale, shift)
    weights = padded_feed_forward(
        linear, linear_bias, gate, gate_bias, last, multiple=MULTIPLE, dtype=mixed.dtype
    )
    a, g = F.linear(z, weights[0], weights[1]).chunk(2, dim=-1)
    hidden = a * torch.sigmoid(beta.to(a.dtype) * a) * g
    return x + F.dropout(F.linear(hidden, weights[2], last_bias), dropout, dropout > 0)


def padded_feed_forward(
    linear: Tensor,
    linear_bias: Tensor,
    gate: Tensor,
    gate_bias: Tensor,
    last: Tensor,
    *,
    multiple: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of a feed-forward network with its hidden width padded by zeros, for two products in all.

    Parameters
    ----------
    linear, gate : Tensor
        (hidden, dim), of SwiGLU.
    linear_bias, gate_bias : Tensor
        (hidden,).
    last : Tensor
        (dim, hidden).
    multiple : int
        The padded width is one of it.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    into, bias, out : Tensor
        (2 · padded, dim), SwiGLU's two maps one above the other; (2 · padded,); (dim, padded). Gradients reach the
        parts that are not padding.

    Examples
    --------
    >>> into, bias, out = padded_feed_forward(torch.ones(5, 2), torch.ones(5), torch.ones(5, 2), torch.ones(5),
    ...                                       torch.ones(2, 5), multiple=4, dtype=torch.float32)
    >>> into.shape, [int(one) for one in bias], out.shape
    (torch.Size([16, 2]), [1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0], torch.Size([2, 8]))
    """
    more = -len(linear) % multiple
    linear, gate, last, linear_bias, gate_bias = (
        part.to(dtype) for part in (linear, gate, last, linear_bias, gate_bias)
    )
    rows, numbers = linear.new_zeros(more, linear.shape[1]), linear_bias.new_zeros(more)
    into = torch.cat((linear, rows, gate, rows))
    bias = torch.cat((linear_bias, numbers, gate_bias, numbers))
    return into, bias, torch.cat((last, last.new_zeros(len(last), more)), dim=1) if more else last


# --- torch.compile -----------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """What the code of the two functions depends on, beside the number of tokens."""

    dim: int
    heads: int
    dropout: float
    dtype: torch.dtype
    device: torch.device
    grad: bool


@cache
def compiled_parts(
    kind: Kind,
) -> tuple[Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]], Callable[..., Tensor]]:
    """Return the two functions of a block, compiled; each kind has a cache of its own."""
    return compiled(before_attention, (0, 4, 5)), compiled(after_attention, (0, 1))


def compiled(function: Callable[..., Made], packed: Sequence[int] = ()) -> Callable[..., Made]:
    """Return a function compiled, for any number of tokens in the arguments whose places are `packed`.

    Where the compiler fails, the function itself runs, after one warning.
    """
    plain = cast(types.FunctionType, function)
    # A code object of its own: torch keeps at most eight compiled versions of one
    own = types.FunctionType(plain.__code__.replace(), plain.__globals__, plain.__name__)
    fast: Callable[..., Any] = torch.compile(own)

    def call(*arguments: Any) -> Made:
        if _failed:
            return function(*arguments)
        for place in packed:
            torch._dynamo.maybe_mark_dynamic(arguments[place], 0)
        try:
            return fast(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:  # of the compiler alone
            result = function(*arguments)  # which raises what is not the compiler's fault
            give_up(error)
            return result

    return call


_failed: list[Exception] = []


def give_up(error: Exception) -> None:
    """Compile nothing from now on, and say so once."""
    _failed.append(error)
    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    warn_user(
        f"torch.compile does not work here ({reason[:300]}): the blocks run without it, with the same results but "
        "slower; compiled=False, as an argument or the model's attribute, leaves it out"
    )


@cache
def compiler_works(device_type: str) -> bool:
    """Compile a small function and its gradient on a device, and tell whether that went well; warn if it did not."""
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device_type, enabled=False):
            x = torch.ones(4, 8, device=device_type, requires_grad=True)
            torch.compile(_trial)(x).backward()
    except Exception as error:
        give_up(error)
        return False
    return True


def _trial(x: Tensor) -> Tensor:
    return (x * torch.sigmoid(x)).sum()
