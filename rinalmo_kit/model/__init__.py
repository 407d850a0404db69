"""The model: tokenizer, encoder, heads, files, names."""

from ..rna.alphabet import VOCABULARY
from .config import Config
from .rinalmo import Encoder, ModelOutput, RiNALMo

__all__ = ["VOCABULARY", "Config", "Encoder", "ModelOutput", "RiNALMo"]


def __dir__() -> list[str]:
    return sorted(__all__)
