"""RiNALMo: a BERT-style encoder for RNA with rotary positions and SwiGLU (paper, Methods; spec §1).

The module names are those of the released checkpoints, so a state dict loads as it is. Three things
differ from the paper's text because the released weights need them (spec §7): the attention residual
starts from the layer-normed input, embeddings are rescaled as in ESM's token dropout, and the SwiGLU
has biases and a learned beta.

Inside, a batch is *packed*: the tokens of all sequences stand in one (tokens, dim) matrix and padding
is never computed. Only attention has to know where one sequence ends and the next begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import cpu, kernels
from .extras import usable
from .tokens import MASK, PAD, VOCABULARY

__all__ = ["Config", "Encoder", "ModelOutput", "RiNALMo", "attention_backends"]

MASK_RATE = 0.15 * 0.8  # share of tokens replaced by <mask> in pretraining


@dataclass(frozen=True)
class Config:
    """Size of a model (spec §1.1). ``Config.giga()`` and its sisters are the named sizes.

    Parameters
    ----------
    dim : int
        Width of the representation, d.
    blocks : int
        Number of Transformer blocks.
    heads : int
        Attention heads; `dim` must be a multiple of twice this number.
    attention_dropout, residual_dropout : float
        Used in training only.

    Examples
    --------
    >>> Config.giga()
    Config(dim=1280, blocks=33, heads=20, attention_dropout=0.1, residual_dropout=0.1)
    >>> Config.nano().ffn_hidden
    853
    """

    dim: int
    blocks: int
    heads: int = 20
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("dim", "blocks", "heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r}: expected a whole number, 1 or more")
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"dim={self.dim} is not a multiple of 2 × heads={self.heads}: rotary positions need an even head width"
            )

    @property
    def ffn_hidden(self) -> int:
        """Hidden width of the feed-forward network, ``int(2/3 · 4 · dim)`` in floating point."""
        return int(2 / 3 * 4 * self.dim)

    @classmethod
    def pico(cls) -> Config:
        """2.7 M parameters; our embedded size, not in the paper."""
        return cls(192, 6, 6)

    @classmethod
    def nano(cls) -> Config:
        """7.5 M parameters; not in the paper."""
        return cls(320, 6)

    @classmethod
    def micro(cls) -> Config:
        """33.5 M parameters, the paper's RiNALMo-33M."""
        return cls(480, 12)

    @classmethod
    def mega(cls) -> Config:
        """148 M parameters, the paper's RiNALMo-150M."""
        return cls(640, 30)

    @classmethod
    def giga(cls) -> Config:
        """651 M parameters, the paper's RiNALMo-650M."""
        return cls(1280, 33)


class ModelOutput(NamedTuple):
    """What ``model(tokens)`` returns; rows at ``<pad>`` are zero.

    Attributes
    ----------
    representation : Tensor
        (B, L, dim), after the last LayerNorm.
    logits : Tensor
        (B, L, 22), of the language-model head.
    attentions : Tensor or None
        (B, blocks, heads, L, L), softmax weights, on request.
    """

    representation: Tensor
    logits: Tensor
    attentions: Tensor | None = None


@dataclass
class Packing:
    """Where each sequence of a batch lies in the packed (tokens, …) matrix."""

    lengths: list[int]
    rows: Tensor  # (N,) batch row of each token
    positions: Tensor  # (N,) column of each token in the padded batch
    backend: str

    @classmethod
    def of(cls, tokens: Tensor, backend: str) -> Packing:
        rows, positions = (tokens != PAD).nonzero(as_tuple=True)
        return cls(torch.bincount(rows, minlength=len(tokens)).tolist(), rows, positions, backend)

    @cached_property
    def width(self) -> int:
        """Columns of the padded batch that hold a token."""
        return int(self.positions.max()) + 1

    @cached_property
    def valid(self) -> Tensor:
        """Where the padded batch holds a token: bool (B, width)."""
        return self.pad(torch.ones_like(self.rows, dtype=torch.bool), self.width)

    @cached_property
    def ends(self) -> Tensor:
        """Where each sequence begins, and the last one ends: int32 (B + 1,), as flash-attn wants it."""
        return F.pad(torch.tensor(self.lengths).cumsum(0), (1, 0)).to(self.rows.device, torch.int32)

    def pad(self, packed: Tensor, width: int) -> Tensor:
        """(N, …) → (B, width, …), zeros at padding."""
        padded = packed.new_zeros(len(self.lengths), width, *packed.shape[1:])
        return padded.index_put((self.rows, self.positions), packed)

    def rotations(self, d_head: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles, (N, 1, 1, d_head / 2); angles are computed in float32."""
        device = self.positions.device
        steps = torch.arange(0, d_head, 2, device=device, dtype=torch.float32)
        angles = torch.outer(self.positions.float(), 10000.0 ** (-steps / d_head))[:, None, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, half-split ("NeoX") convention: x is (N, …, heads, d_head)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)  # autocast: x is in half precision, the angles are not
    x1, x2 = x.chunk(2, dim=-1)
    if not torch.is_grad_enabled():  # in place: nothing else needs the unrotated halves
        shifted = x1 * sin
        x1.mul_(cos).addcmul_(x2, sin, value=-1)
        x2.mul_(cos).add_(shifted)
        return x
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)


@cache
def has_flash_attn() -> bool:
    return usable("flash_attn", needs=("flash_attn_varlen_func",))


def attention_backends(device: torch.device | str, dtype: torch.dtype) -> list[str]:
    """Attention backends that can run on a device at a precision, the fastest first.

    ``flash`` is flash-attn's variable-length kernel (CUDA, half precision), ``loop`` is torch's
    scaled-dot-product attention on one sequence length at a time, without padding, ``padded`` is the same on the
    padded batch with a key mask. All give the same numbers.

    Examples
    --------
    >>> attention_backends("cpu", torch.float32)
    ['loop', 'padded']
    """
    device = torch.device(device)
    if device.type == "cpu":
        return ["loop", "padded"]
    half = dtype in (torch.float16, torch.bfloat16)
    flash = ["flash"] if device.type == "cuda" and half and has_flash_attn() else []
    return [*flash, "padded", "loop"]


def attend(
    q: Tensor, k: Tensor, v: Tensor, packing: Packing, dropout: float, *, out: Tensor | None = None
) -> Tensor:
    """Multi-head attention within each sequence of a packed batch; q, k, v and result: (N, heads, d_head).

    The backend ``loop`` puts the result into `out` where it is given.
    """
    if packing.backend == "flash":
        from flash_attn import flash_attn_varlen_func

        ends, longest = packing.ends, max(packing.lengths)
        return flash_attn_varlen_func(q, k, v, ends, ends, longest, longest, dropout_p=dropout)
    if packing.backend == "loop" and kernels.serve(q):  # torch's own are slow to train with on a CPU
        if not dropout:
            return kernels.grouped_attention(q, k, v, packing.lengths)
        kept = [x if x.dtype != torch.bfloat16 else x.float() for x in (q, k, v)]
        return kernels.attention(*kept, packing.lengths, dropout).to(q.dtype)
    if packing.backend == "padded":
        padded = [packing.pad(x, packing.width).transpose(1, 2) for x in (q, k, v)]
        mask = packing.valid[:, None, None, :]
        out = F.scaled_dot_product_attention(*padded, attn_mask=mask, dropout_p=dropout)
        return out.transpose(1, 2)[packing.rows, packing.positions]
    out = torch.empty_like(q) if out is None else out
    start, row = 0, 0
    while row < len(packing.lengths):  # neighbours of one length go together
        length, first = packing.lengths[row], row
        while row < len(packing.lengths) and packing.lengths[row] == length:
            row += 1
        stop = start + (row - first) * length
        if length:
            split = [x[start:stop].unflatten(0, (-1, length)).transpose(1, 2) for x in (q, k, v, out)]
            split[3].copy_(F.scaled_dot_product_attention(*split[:3], dropout_p=dropout))
        start = stop
    return out


def attention_weights(q: Tensor, k: Tensor, packing: Packing) -> Tensor:
    """Softmax weights as a padded (B, heads, L, L) tensor, zeros wherever a query or a key is padding."""
    valid = packing.valid
    q, k = (packing.pad(x, packing.width).transpose(1, 2) for x in (q, k))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~valid[:, None, None, :], -torch.inf).softmax(-1)
    return weights.nan_to_num(0.0) * valid[:, None, :, None]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions; no biases."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.Wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(
        self, x: Tensor, packing: Packing, rotations: tuple[Tensor, Tensor], maps: list[Tensor] | None
    ) -> Tensor:
        qkv = self.Wqkv(x).unflatten(-1, (3, self.heads, -1))  # (N, 3, heads, d_head)
        q, k = rotate(qkv[:, :2], *rotations).unbind(1)
        if maps is not None:
            maps.append(attention_weights(q, k, packing))
        out = attend(q, k, qkv[:, 2], packing, self.dropout if self.training else 0.0)
        return self.out_proj(out.flatten(1))


class SwiGLU(nn.Module):
    """``a · sigmoid(beta · a) · g`` with ``a`` and ``g`` two linear maps of the input and a learned beta."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, hidden)
        self.linear_gate = nn.Linear(dim, hidden)
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        a, gate = self.linear(x), self.linear_gate(x)
        if self.training and kernels.serve(a):
            return kernels.gated(a, gate, self.beta)
        if torch.is_grad_enabled():
            return a * torch.sigmoid(self.beta * a) * gate
        return (a * self.beta).sigmoid_().mul_(a).mul_(gate)


class Block(nn.Module):
    """One Transformer block: attention, then feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.mh_attn = Attention(config)
        self.attn_layer_norm = nn.LayerNorm(config.dim)
        self.out_layer_norm = nn.LayerNorm(config.dim)
        self.residual_dropout = nn.Dropout(config.residual_dropout)
        hidden = config.ffn_hidden
        # Index 1 is a dropout of rate 0 in the official code: it holds no weights but gives 2 its name.
        self.transition = nn.Sequential(
            SwiGLU(config.dim, hidden), nn.Identity(), nn.Linear(hidden, config.dim)
        )

    def forward(
        self,
        x: Tensor,
        packing: Packing,
        rotations: tuple[Tensor, Tensor],
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        y = self.attn_layer_norm(x)
        # The residual starts from y, not x: an oversight its authors kept, the released weights need it.
        x = self.add(y, self.mh_attn(y, packing, rotations, maps))
        return self.add(x, self.transition(self.out_layer_norm(x)))

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Residual connection, with dropout of the branch in training."""
        if self.training and kernels.serve(branch):
            return kernels.add_dropped(x, branch, self.residual_dropout.p)
        return x + self.residual_dropout(branch)


class Transformer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.final_layer_norm = nn.LayerNorm(config.dim)


class MaskedLMHead(nn.Module):
    """Logits over the vocabulary for every token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, dim)
        self.layer_norm = nn.LayerNorm(dim)
        self.linear2 = nn.Linear(dim, len(VOCABULARY))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.layer_norm(F.gelu(self.linear1(x))))


class Encoder(nn.Module):
    """What every encoder has, ours or an adapted one: a task head, and what was tuned or learned with it.

    A subclass provides ``config`` (with ``dim`` and ``blocks``), :meth:`encode` and :meth:`layers`.

    Attributes
    ----------
    head : nn.Module or None
        Task head (:mod:`rinalmo_kit.heads`) of a fine-tuned model.
    threshold : float or None
        Pairing threshold tuned on the validation set, for a structure head.
    scaler : (float, float) or None
        Mean and standard deviation of the training targets, for a regression head.
    calibration : tuple of (float, float) or None
        How the F1 that a structure head expects is to be read (:mod:`rinalmo_kit.confidence`).
    labels : tuple of str or None
        Names of the classes, for a classification head.
    pad_to : int or None
        Tokens every sequence is padded to, for a regression head, whose result depends on it (spec §3.4).
    window : int or None
        Nucleotides in the middle of a sequence that a classifier or a regression is shown; None: all.
    about : dict
        What is known of its training: recipe, fold, data.
    attention : str
        ``"auto"`` or one of :func:`attention_backends`.
    source : str or None
        Name or full path from which :func:`rinalmo_kit.load` gives the same model; None once it was in training mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head: nn.Module | None = None
        self.threshold: float | None = None
        self.calibration: tuple[tuple[float, float], ...] | None = None
        self.scaler: tuple[float, float] | None = None
        self.labels: tuple[str, ...] | None = None
        self.pad_to: int | None = None
        self.window: int | None = None
        self.about: dict[str, Any] = {}
        self.attention = "auto"
        self.name = type(self).__name__
        self.source: str | None = None

    def train(self, mode: bool = True) -> Encoder:  # noqa: FBT001, FBT002 - as torch has it
        """Switch training mode; what is trained is no longer what was loaded."""
        self.source = None if mode else self.source
        return super().train(mode)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return next(self.parameters()).dtype

    def packing(self, tokens: Tensor) -> Packing:
        """Pack a (B, L) batch of tokens for the chosen attention backend."""
        dtype = self.dtype
        if torch.is_autocast_enabled(tokens.device.type):
            dtype = torch.get_autocast_dtype(tokens.device.type)
        available = attention_backends(tokens.device, dtype)
        backend = available[0] if self.attention == "auto" else self.attention
        if backend not in available:
            raise ValueError(
                f"attention={backend!r} cannot run on {tokens.device} with {dtype}; available: {available}"
            )
        return Packing.of(tokens, backend)

    def encode(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim)."""
        raise NotImplementedError

    def layers(self) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
        """Parts from bottom to top: what embeds tokens, the blocks, and the last normalisation if there is one."""
        raise NotImplementedError


class RiNALMo(Encoder):
    """The encoder with its language-model head and, in a fine-tuned model, a task head.

    Parameters
    ----------
    config : Config
        Size of the model.

    Attributes
    ----------
    gradient_checkpointing : bool
        Recompute each block in the backward pass: less memory, one more forward pass.

    Examples
    --------
    >>> from rinalmo_kit import tokenize
    >>> model = RiNALMo(Config(dim=64, blocks=2, heads=4)).eval()
    >>> model(tokenize(["ACGU", "GG"])).representation.shape
    torch.Size([2, 6, 64])
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(len(VOCABULARY), config.dim, padding_idx=PAD)
        self.transformer = Transformer(config)
        self.lm_mask_head = MaskedLMHead(config.dim)
        self.gradient_checkpointing = False

    def layers(self) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
        """Parts from bottom to top: the embedding, the blocks, the last LayerNorm."""
        return self.embedding, list(self.transformer.blocks), self.transformer.final_layer_norm

    def encode(self, tokens: Tensor, packing: Packing, *, maps: list[Tensor] | None = None) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim).

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L).
        packing : Packing
            ``self.packing(tokens)``.
        maps : list, optional
            Receives the attention weights of each block.
        """
        x = self.embed_tokens(tokens, packing)
        rotations = packing.rotations(self.config.dim // self.config.heads, x.dtype)
        if maps is None and packing.backend == "loop" and cpu.serves(x, self.transformer.blocks):
            x = cpu.run_blocks(self.transformer.blocks, x, packing, rotations)
            return self.transformer.final_layer_norm(x)
        for block in self.transformer.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, packing, rotations, maps, use_reentrant=False)
            else:
                x = block(x, packing, rotations, maps)
        return self.transformer.final_layer_norm(x)

    def embed_tokens(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Look up and rescale the input embeddings (token dropout, spec §1.3.2): (N, dim).

        ``<mask>`` rows are zero and the rest is scaled by 0.88 / (1 − share of masks), in training and
        out of it, so that the scale does not depend on how much is masked.
        """
        ids = tokens[packing.rows, packing.positions]
        masked = ids == MASK
        x = self.embedding(ids).masked_fill(masked[:, None], 0.0)
        counts = torch.tensor(packing.lengths, device=ids.device)
        masks = torch.zeros_like(counts).index_add_(0, packing.rows, masked.to(counts.dtype))
        kept = 1 - masks / counts.clamp(min=1)  # float32 whatever the model's precision
        scale = (1 - MASK_RATE) / kept.masked_fill(kept == 0, 1.0)
        return x * scale[packing.rows, None].to(x.dtype)

    def forward(self, tokens: Tensor, *, attentions: bool = False) -> ModelOutput:
        """Encode a batch.

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L), from :func:`rinalmo_kit.tokenize`.
        attentions : bool
            Also return the attention maps of every block and head: B · blocks · heads · L² numbers.

        Returns
        -------
        ModelOutput
            Rows at ``<pad>`` are zero.
        """
        if tokens.dim() != 2:
            raise ValueError(f"tokens must be (B, L), got shape {tuple(tokens.shape)}")
        if tokens.numel() == 0 or bool((tokens == PAD).all()):
            raise ValueError("tokens hold nothing but <pad>: there is no sequence to encode")
        tokens = tokens.to(self.device)
        packing, width = self.packing(tokens), tokens.shape[1]
        maps = [] if attentions else None
        packed = self.encode(tokens, packing, maps=maps)
        stacked = None
        if maps is not None:
            stacked = torch.stack(maps, dim=1)  # as wide as the longest sequence
            missing = width - stacked.shape[-1]
            stacked = F.pad(stacked, (0, missing, 0, missing))
        return ModelOutput(packing.pad(packed, width), packing.pad(self.lm_mask_head(packed), width), stacked)
