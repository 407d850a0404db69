"""Parsers of the files as their authors publish them, one for each dataset."""

from __future__ import annotations

from .ncrna import rfam88
from .splice import splice
from .structures import archiveII, bprna, rivas
from .utr import mrl, te_el

__all__ = ["PARSERS"]

PARSERS = {
    "bprna": bprna,
    "rivas": rivas,
    "archiveII": archiveII,
    "splice": splice,
    "rfam88": rfam88,
    "mrl": mrl,
    "te_el": te_el,
}
"""Name of a dataset → its parser."""
