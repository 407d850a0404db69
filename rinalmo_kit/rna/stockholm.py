"""Stockholm alignments with a consensus structure in WUSS notation, projected on each of their sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .._utils.warn import warn_user
from .folded import FoldedRNA
from .pairs import pairs_from_dot_bracket
from .structure_text import at, lines

__all__ = ["parse_stockholm"]

GAPS = frozenset("-._~")

FIRST = "# STOCKHOLM"


@dataclass
class _Alignment:
    """The rows of one alignment; each list holds the blocks of a row, to be joined."""

    line: int
    rows: dict[str, list[str]] = field(default_factory=dict)
    consensus: list[str] = field(default_factory=list)
    own: dict[str, list[str]] = field(default_factory=dict)


def parse_stockholm(path: Path) -> Iterator[FoldedRNA]:
    """Read the sequences of one or more alignments, each with the pairs of ``#=GC SS_cons`` that it can form.

    Columns in which a sequence has a gap are removed from it. A pair of the consensus that has a gap on one side or
    both does not exist in that sequence; one warning a file says how many there are with a gap on one side alone.
    Without ``SS_cons``, sequences that have a structure of their own (``#=GR name SS``) are read with that. Further
    structures, such as ``SS_cons_1`` of R-scape, are left out.

    Raises
    ------
    ValueError
        For an alignment without structures, a row of another length than its structure, or a bracket without its
        partner.
    """
    broken = {}
    count = 0
    for alignment in _alignments(path):
        for name, structure, dropped in _projected(alignment):
            count += 1
            if dropped:
                broken[f"{name} ({count})"] = dropped
            yield structure
    if broken:
        warn_user(
            f"{path}: {sum(broken.values())} pairs of SS_cons are left out in {len(broken)} of {count} sequences, "
            "which have a gap on one side of them"
        )


def _alignments(path: Path) -> Iterator[_Alignment]:
    now: _Alignment | None = None
    for number, line in lines(path, lambda line: line.startswith("#"), first=FIRST):
        if line.startswith((FIRST, "//")):
            if now is not None and now.rows:
                yield now
            now = _Alignment(number) if line.startswith(FIRST) else None
            continue
        now = now or _Alignment(number)
        tag, *words = line.split()
        if tag == "#=GC" and words[:1] == ["SS_cons"]:
            now.consensus += words[1:]
        elif tag == "#=GR" and words[1:2] == ["SS"]:
            now.own.setdefault(words[0], []).extend(words[2:])
        elif not tag.startswith("#"):
            if len(words) != 1:
                raise ValueError(f"line {number}: expected 'name sequence', found {line[:40]!r}")
            now.rows.setdefault(tag, []).append(words[0])
    if now is not None and now.rows:
        yield now


def _projected(alignment: _Alignment) -> Iterator[tuple[str, FoldedRNA, int]]:
    """Yield the name of each sequence, its structure, and the number of pairs with a gap on one side alone."""
    if not alignment.consensus and not alignment.own:
        raise ValueError(
            f"line {alignment.line}: this is a Stockholm file without SS_cons: its sequences have no structure "
            "(esl-reformat fasta FILE makes FASTA of it, which fold reads)"
        )
    known: dict[str, list[list[int]]] = {}
    for name, blocks in alignment.rows.items():
        row, consensus = "".join(blocks), "".join(alignment.consensus or alignment.own.get(name, []))
        if not consensus:
            continue
        with at(f"record {name!r}"):
            if len(row) != len(consensus):
                raise ValueError(f"its row has {len(row)} columns, the structure {len(consensus)}")
            kept = [k for k, symbol in enumerate(row) if symbol not in GAPS]
            if not kept:
                raise ValueError("its row holds gaps alone")
            place = {column: position for position, column in enumerate(kept)}
            if consensus not in known:
                known[consensus] = pairs_from_dot_bracket(consensus, name="SS_cons").tolist()
            pairs = known[consensus]
            whole = [(place[i], place[j]) for i, j in pairs if i in place and j in place]
            either = sum(i in place or j in place for i, j in pairs)
            yield name, FoldedRNA("".join(row[k] for k in kept), whole, name), either - len(whole)
