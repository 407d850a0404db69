"""Names of the RNA families of ArchiveII."""

from __future__ import annotations

__all__ = ["FAMILIES"]

FAMILIES = ("5s", "16s", "23s", "grp1", "srp", "telomerase", "RNaseP", "tmRNA", "tRNA")
"""The nine families of ArchiveII in the paper (Fig. 4)."""
