"""The sizes of a model: those of the paper, ours, and yours."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Config"]


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
