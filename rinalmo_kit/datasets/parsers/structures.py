"""Parsers of structure datasets: bpRNA, Rivas, ArchiveII."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...rna.families import FAMILIES
from ...structure import read_structures
from ..schemas import check_table
from .archives import unpacked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["archiveII", "bprna", "rivas"]


def bprna(source: Path) -> pd.DataFrame:
    """Read ``bpRNA_dataset.zip``: folders TR0, VL0 and TS0 with one ``.st`` file a structure.

    The folder names are those the official code moves (read in its source), the ``.st`` files those its
    reader takes; ``.ct``, ``.bpseq`` and ``.dbn`` are read too. The family is the second word of the file's
    name: ``bpRNA_RFAM_40177``.
    """
    wanted = r"(^|/)(TR0|VL0|TS0)/[^/]+\.(st|ct|bpseq|dbn)$"

    def about(path: Path) -> dict[str, str]:
        return {"split": path.parent.name, "family": [*path.stem.split("_"), ""][1]}

    return _structures("bprna", source, wanted, about)


def rivas(source: Path) -> pd.DataFrame:
    """Read ``Rivas.tar.gz``: folders TrainSetA, TestSetA, TrainSetB and TestSetB with BPSEQ files.

    That the sets are folders of BPSEQ files is known from their author's other release and from programs
    that read them; this archive itself was not available. They name no families. X, an unknown nucleotide of
    some of these sequences, becomes N.
    """
    sets = "TrainSetA|TestSetA|TrainSetB|TestSetB"
    wanted = rf"(^|/)({sets})/(.+/)?[^/]+\.(bpseq|ct|st|dbn)$"

    def about(path: Path) -> dict[str, str]:
        return {"split": next(part for part in reversed(path.parts) if part in sets.split("|")), "family": ""}

    return _structures("rivas", source, wanted, about, unknown=True)


def archiveII(source: Path) -> pd.DataFrame:
    """Read ``ct-splits.tar.gz``: ``ct/fam-fold/<family>/{train,valid,test}/*.ct``.

    The test folder of a family holds the whole family, so the nine of them are the whole set (the layout is
    read in the source of the official code and in a third party's that checks the 3,865 files).
    """
    wanted = rf"(^|fam-fold/)({'|'.join(FAMILIES)})/test/[^/]+\.ct$"
    return _structures("archiveII", source, wanted, lambda path: {"family": path.parent.parent.name})


def _structures(
    name: str, source: Path, wanted: str, about: Callable[[Path], dict[str, str]], *, unknown: bool = False
) -> pd.DataFrame:
    """Read one structure a file; `about` tells its further columns from its path."""
    import pandas as pd

    rows = []
    seen: dict[tuple[str, ...], Path] = {}
    with unpacked(source, wanted) as (folder, files):
        for path in files:
            place = path.relative_to(folder)
            key = (path.stem, *about(place).values())
            if key in seen:
                raise ValueError(
                    f"{source}: {seen[key]} and {place} are the same structure; leave one of them"
                )
            seen[key] = place
            if unknown and path.suffix == ".bpseq":
                text = path.read_text(encoding="utf-8-sig")
                path.write_text(re.sub(r"(?m)^([ \t]*\d+[ \t]+)[Xx](?=\s)", r"\1N", text), encoding="utf-8")
            [structure] = read_structures(path)[:1]
            texts = {"sequence": structure.sequence, "dot_bracket": structure.dot_bracket}
            rows.append({"where": f"{source}: {place}", "id": path.stem, **texts, **about(place)})
    return check_table(pd.DataFrame(rows), name, source=str(source))
