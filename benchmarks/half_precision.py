"""How far structures in half precision are those in float32.

    python -m benchmarks half [--rows 60] [--model nano-ss] [--dtype bfloat16] [--device cpu]

RNAs of TS0 of up to 220 nt, evenly over its lengths, where the tables are (``RINALMO_KIT_DATA``), else the examples of
the package. Agreement is the share of the pairs with a probability above 0.2 in either precision that have it in both.
On a CPU ``as a GPU computes`` puts the maps through the head in float16, as a GPU does; without that the maps are in
the precision that is fast there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference.batching import encode_sequences
from rinalmo_kit.model import batched_structure_head
from rinalmo_kit.model.rinalmo import Encoder
from rinalmo_kit.rna.alphabet import clean
from rinalmo_kit.rna.decoding import greedy_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 220  # nucleotides
THRESHOLD = 0.2


def sequences(rows: int, *, examples: bool = False) -> list[str]:
    """Return so many RNAs, evenly over the lengths of TS0, or of the package's examples."""
    try:
        found = (
            rk.datasets.load_structures("examples")
            if examples
            else rk.datasets.load_structures("bprna", "TS0")
        )
    except (OSError, ImportError):  # no tables here
        found = rk.datasets.load_structures("examples")
    chosen = sorted(
        {s.sequence for s in found if 30 <= len(s.sequence) <= LONGEST}, key=lambda s: (len(s), s)
    )
    places = np.linspace(0, len(chosen) - 1, min(rows, len(chosen))).round().astype(int)
    return [chosen[place] for place in places]


@torch.inference_mode()
def probabilities(
    model: Encoder, rnas: Sequence[str], *, maps: torch.dtype | None = None
) -> list[NDArray[np.float32]]:
    """Return the pairing probabilities of each RNA, (L, L), with maps in a given precision."""
    found = []
    for rna in rnas:
        [rows] = encode_sequences(model, [clean(rna)])
        head = model.head
        assert head is not None
        if maps is None:
            logits = head(rows[1:-1])
        else:
            length = torch.tensor([len(rna)], device=rows.device)
            logits = batched_structure_head.logits(head, rows[None, 1:-1], length, dtype=maps)[0]
        found.append(logits.float().sigmoid().cpu().numpy())
    return found


def agreement(
    exact: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]], threshold: float = THRESHOLD
) -> tuple[int, int]:
    """Return how many pairs have a probability above the threshold in both, and in either."""
    both = either = 0
    for one, two in zip(exact, other, strict=True):
        a, b = np.triu(one, 1) > threshold, np.triu(two, 1) > threshold
        both, either = both + int((a & b).sum()), either + int((a | b).sum())
    return both, either


def same_folds(
    rnas: Sequence[str], exact: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]
) -> tuple[int, int]:
    """Return how many pairs the greedy structures of both have in common, and of either."""
    both = either = 0
    for rna, *maps in zip(rnas, exact, other, strict=True):
        a, b = ({*map(tuple, greedy_pairs(p, rna, threshold=THRESHOLD)[0].tolist())} for p in maps)
        both, either = both + len(a & b), either + len(a | b)
    return both, either


def main(words: list[str]) -> None:
    """Fold in both precisions and print how many pairs agree."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks half",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--model", default="nano-ss")
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(words)
    rnas = sequences(options.rows)
    exact = probabilities(rk.load(options.model, device=options.device), rnas)
    half = rk.load(options.model, device=options.device, dtype=getattr(torch, options.dtype))
    print(f"{options.model} in {options.dtype} on {options.device}: {len(rnas)} RNAs")
    ways: dict[str, torch.dtype | None] = {"as computed here": None}
    if half.device.type == "cpu":
        ways["as a GPU computes"] = torch.float16
    for name, maps in ways.items():
        other = probabilities(half, rnas, maps=maps)
        (both, either), (folded, all_) = agreement(exact, other), same_folds(rnas, exact, other)
        largest = max(float(np.abs(a - b).max()) for a, b in zip(exact, other, strict=True))
        print(f"{name}: {both / either:.2%} of {either} pairs with a probability above {THRESHOLD},", end=" ")
        print(f"{folded / all_:.2%} of {all_} pairs of greedy structures;", end=" ")
        print(f"largest difference of a probability {largest:.3f}")
