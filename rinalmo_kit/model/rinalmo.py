"""The RiNALMo encoder with its language-model head, and the base class of all encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..rna.alphabet import MASK, PAD, VOCABULARY
from . import cpu_inference, fused_blocks
from .attention import PackedBatch, Way, attention_backends
from .blocks import Block
from .config import Config
from .devices import autocast_dtype, to_device
from .flops import forward_flops
from .metadata import ModelInfo

__all__ = ["Encoder", "ModelOutput", "RiNALMo"]

if TYPE_CHECKING:
    from .lora import Adapter
    from .multimolecule import ExternalConfig

T = TypeVar("T")
MASK_RATE = 0.15 * 0.8  # share of tokens replaced by <mask> in pretraining


WORTH_COMPILING = 2e15
"""Operations of the blocks after which they are compiled on a GPU: half a minute of an H100 without (estimated)."""


class ModelOutput(NamedTuple):
    """Output of ``model(tokens)``; rows at ``<pad>`` are zero.

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


class _InfoField(Generic[T]):
    """An attribute of a model that is kept in its ``info``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: Encoder, owner: type) -> T: ...
    def __get__(self, model: Encoder | None, owner: type) -> T | Self:
        return self if model is None else getattr(model.info, self.name)

    def __set__(self, model: Encoder, value: T) -> None:
        setattr(model.info, self.name, value)


class Encoder(nn.Module):
    """Base class of every encoder, ours or an adapted one: a task head, and what was tuned with it.

    A subclass provides ``config`` (with ``dim`` and ``blocks``), :meth:`encode`, :meth:`block_outputs` and
    :meth:`layers`.

    Attributes
    ----------
    head : nn.Module or None
        Task head (:mod:`rinalmo_kit.model.heads`) of a fine-tuned model.
    info : ModelInfo
        What it carries beside its weights: ``threshold``, ``scaler``, ``calibration``, ``labels``, ``pad_to``,
        ``window`` and ``about``, which are also attributes of the model itself.
    attention : str
        ``"auto"`` or one of :func:`attention_backends`.
    compiled : bool or None
        Whether our blocks are compiled (:mod:`rinalmo_kit.model.fused_blocks`); None: on CUDA, once a model has
        computed as much as makes the seconds of compiling worth while.
    source : str or None
        Name or full path from which :func:`rinalmo_kit.load` gives the same model; None once it was in training mode.
    adapter : Adapter or None
        The low-rank matrices that were merged into its weights; None once it was in training mode.
    """

    config: Config | ExternalConfig
    threshold = _InfoField[float | None]()
    scaler = _InfoField[tuple[float, float] | None]()
    calibration = _InfoField[tuple[tuple[float, float], ...] | None]()
    labels = _InfoField[tuple[str, ...] | None]()
    pad_to = _InfoField[int | None]()
    window = _InfoField[int | None]()
    about = _InfoField[dict[str, Any]]()

    def __init__(self) -> None:
        super().__init__()
        self.head: nn.Module | None = None
        self.info = ModelInfo()
        self.attention = "auto"
        self.compiled: bool | None = None
        self.name = type(self).__name__
        self.source: str | None = None
        self.adapter: Adapter | None = None

    def train(self, mode: bool = True) -> Encoder:  # noqa: FBT001, FBT002 - as torch has it
        """Switch training mode; what is trained is no longer what was loaded."""
        if mode:
            self.source = self.adapter = None
        return super().train(mode)

    @property
    def device(self) -> torch.device:
        """Return the device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the parameters."""
        return next(self.parameters()).dtype

    def packing(self, tokens: Tensor) -> PackedBatch:
        """Pack a (B, L) batch of tokens for the chosen attention backend, onto the device of the model.

        Tokens that are still on the CPU are the quicker way to a batch on a GPU: nothing waits for it.
        """
        device = self.device
        dtype = autocast_dtype(device.type) or self.dtype
        available = attention_backends(
            device,
            dtype,
            d_head=self.config.dim // self.config.heads,
            dropout=getattr(self.config, "attention_dropout", 0.0) if self.training else 0.0,
        )
        backend = available[0] if self.attention == "auto" else self.attention
        if backend not in available:
            dropped = " and attention dropout" if backend == "varlen" and self.training else ""
            raise ValueError(
                f"attention={backend!r} cannot run on {device} with {dtype}{dropped}; available: {available}"
            )
        packing = PackedBatch.of(tokens, backend).to(device)
        packing.way = self.way_of_blocks(packing)
        return packing

    def way_of_blocks(self, packing: PackedBatch) -> Way:
        """Return how the blocks are to be computed for a batch."""
        return "module"

    def encode(self, tokens: Tensor, packing: PackedBatch) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim)."""
        raise NotImplementedError

    def block_outputs(self, tokens: Tensor, packing: PackedBatch, numbers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of some blocks, numbered from 1, each packed: (N, dim)."""
        raise NotImplementedError

    def layers(self) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
        """Return the parts from bottom to top: what embeds tokens, the blocks, the last normalisation if any."""
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
        self.config: Config = config
        self.embedding = nn.Embedding(len(VOCABULARY), config.dim, padding_idx=PAD)
        self.transformer = Transformer(config)
        self.lm_mask_head = MaskedLMHead(config.dim)
        self.gradient_checkpointing = False
        self.operations = 0.0  # of the blocks so far, on a GPU

    def way_of_blocks(self, packing: PackedBatch) -> Way:
        """Return how the blocks are to be computed for a batch: on CUDA fused, and compiled where that pays."""
        gpu, compiled = packing.positions.device.type == "cuda", self.compiled
        if gpu and compiled is None:
            passes = 3 if torch.is_grad_enabled() else 1
            self.operations += passes * forward_flops(self.config, packing.lengths)[0]
            compiled = self.operations > WORTH_COMPILING
        if compiled and fused_blocks.compiler_works(packing.positions.device.type):
            return "compiled"
        return "fused" if gpu else "module"

    def rotations(self, packing: PackedBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of a batch's rotary angles, for all blocks."""
        d_head = self.config.dim // self.config.heads
        return packing.rotations(d_head, dtype if packing.way == "module" else torch.float32)

    def layers(self) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
        """Return the parts from bottom to top: the embedding, the blocks, the last LayerNorm."""
        return self.embedding, list(self.transformer.blocks), self.transformer.final_layer_norm

    def encode(self, tokens: Tensor, packing: PackedBatch, *, maps: list[Tensor] | None = None) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim).

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L).
        packing : PackedBatch
            ``self.packing(tokens)``.
        maps : list, optional
            Receives the attention weights of each block.
        """
        x = self.embed_tokens(tokens, packing)
        rotations = self.rotations(packing, x.dtype)
        x = self._run_blocks(list(self.transformer.blocks), x, packing, rotations, maps)
        return self.transformer.final_layer_norm(x)

    def block_outputs(self, tokens: Tensor, packing: PackedBatch, numbers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of some blocks, before the final LayerNorm; blocks above them are not computed.

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L).
        packing : PackedBatch
            ``self.packing(tokens)``.
        numbers : sequence of int
            From 1 to ``config.blocks``.

        Returns
        -------
        list of Tensor
            Each packed: (N, dim).
        """
        x = self.embed_tokens(tokens, packing)
        rotations = self.rotations(packing, x.dtype)
        blocks, found, below = list(self.transformer.blocks), {}, 0
        for number in sorted(set(numbers)):
            x = found[number] = self._run_blocks(blocks[below:number], x, packing, rotations)
            below = number
        return [found[number] for number in numbers]

    def _run_blocks(
        self,
        modules: list[nn.Module],
        x: Tensor,
        packing: PackedBatch,
        rotations: tuple[Tensor, Tensor],
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        blocks = cast("list[Block]", modules)
        plain = maps is None and packing.backend == "loop" and packing.way == "module"
        if plain and cpu_inference.is_supported(x, blocks):
            return cpu_inference.run_blocks(blocks, x, packing, rotations)
        for block in blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, packing, rotations, maps, use_reentrant=False)
            else:
                x = block(x, packing, rotations, maps)
        return x

    def embed_tokens(self, tokens: Tensor, packing: PackedBatch) -> Tensor:
        """Look up and rescale the input embeddings (token dropout, docs/model_specification.md §1.3.2): (N, dim).

        ``<mask>`` rows are zero and the rest is scaled by 0.88 / (1 − share of masks), in training and
        out of it, so that the scale does not depend on how much is masked.
        """
        ids = to_device(tokens, packing.positions.device)[packing.batch_index, packing.positions]
        masked = ids == MASK
        x = self.embedding(ids).masked_fill(masked[:, None], 0.0)
        counts = packing.sizes
        masks = torch.zeros_like(counts).index_add_(0, packing.batch_index, masked.to(counts.dtype))
        kept = 1 - masks / counts.clamp(min=1)  # float32 whatever the model's precision
        scale = (1 - MASK_RATE) / kept.masked_fill(kept == 0, 1.0)
        return x * scale[packing.batch_index, None].to(x.dtype)

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
        packing, width = self.packing(tokens), tokens.shape[1]
        maps: list[Tensor] | None = [] if attentions else None
        packed = self.encode(tokens, packing, maps=maps)
        stacked = None
        if maps is not None:
            stacked = torch.stack(maps, dim=1)  # as wide as the longest sequence
            missing = width - stacked.shape[-1]
            stacked = F.pad(stacked, (0, missing, 0, missing))
        return ModelOutput(packing.pad(packed, width), packing.pad(self.lm_mask_head(packed), width), stacked)
