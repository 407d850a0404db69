"""Layouts of known structures: how many lie on themselves, how many nucleotides that hides, and how long they take.

    python -m benchmarks drawings [--label NAME] [--rnas 200]

RNAs of known structure from the tables of `RINALMO_KIT_DATA`, the same number from each bin of lengths, by a fixed
seed. A nucleotide is hidden where its circle lies on that of another one that is not its neighbour; a drawing is
without overlap if no nucleotide is, and no line of the backbone or of a nested pair crosses another. Rows go to
``data/measured/drawings.csv``, a row a layout and bin; ``--label`` names the layout of this version in them.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rinalmo_kit import plot
from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.datasets import load_table
from rinalmo_kit.plot.coordinates import in_layout
from rinalmo_kit.rna.pairs import pairs_from_dot_bracket

from .run import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUT = ROOT / "data" / "measured" / "drawings.csv"
SETS = ("archiveII", "bprna", "rnastralign", "rfam14_9_seed", "newfam")
BINS = ((30, 150), (150, 200), (200, 300), (300, 400), (400, 600), (600, 900), (900, 1701))
DIAMETER = 0.84  # of a nucleotide's circle, in units of the layout

Place = Callable[["NDArray[np.int64]", int], "NDArray[np.floating]"]


def known_rnas(count: int) -> list[tuple[str, NDArray[np.int64], int]]:
    """Return (id, pairs, length) of known RNAs, equally many a bin of lengths; absent tables are skipped by name."""
    found: dict[str, tuple[str, str]] = {}
    for name in SETS:
        try:
            table = load_table(name)
        except FileNotFoundError as error:
            print(f"{name}: skipped: {error}")
            continue
        if name == "bprna":
            table = table[table["split"] == "TS0"] if "TS0" in set(table["split"]) else table
        for key, sequence, brackets in zip(table["id"], table["sequence"], table["dot_bracket"], strict=True):
            found.setdefault(sequence, (f"{name} {key}", brackets))
    random, chosen = np.random.default_rng(0), []
    for k, (low, high) in enumerate(BINS):
        share = count * (k + 1) // len(BINS) - count * k // len(BINS)
        here = [one for sequence, one in found.items() if low <= len(sequence) < high]
        for place in sorted(random.choice(len(here), min(share, len(here)), replace=False)):
            key, brackets = here[place]
            chosen.append((key, pairs_from_dot_bracket(brackets, name=key), len(brackets)))
    return chosen


def hidden(z: NDArray[np.complexfloating]) -> int:
    """Count the nucleotides whose circle lies on that of one that is not their neighbour."""
    distance = np.abs(z[:, None] - z)
    apart = np.abs(np.subtract.outer(np.arange(len(z)), np.arange(len(z)))) > 1
    return int(((distance < DIAMETER) & apart).any(axis=1).sum())


def crossings(z: NDArray[np.complexfloating], pairs: NDArray[np.int64]) -> int:
    """Count the crossings of lines, of the backbone and of nested pairs, that share no nucleotide."""
    steps = np.c_[np.arange(len(z) - 1), np.arange(1, len(z))]
    lines = np.concatenate([steps, pairs[in_layout(pairs, len(z))]])
    a, b = z[lines.T]

    def side(p: NDArray) -> NDArray[np.floating]:
        """Return, for each line and point, 1 if the point is to the left of the line, −1 to the right, 0 on it."""
        offset = ((b - a).conj()[:, None] * (p - a[:, None])).imag
        return np.sign(np.where(np.abs(offset) < 1e-6, 0, offset))

    cross = side(a) * side(b) < 0
    joined = (lines[:, None, :, None] == lines[None, :, None, :]).any(axis=(2, 3))
    return int((cross & cross.T & ~joined).sum()) // 2


def measure(place: Place, rnas: list[tuple[str, NDArray[np.int64], int]]) -> list[dict[str, Any]]:
    """Return one row a bin of lengths, and one of all."""
    results = []
    for key, pairs, length in rnas:
        start = time.process_time()
        z = place(pairs, length) @ (1, 1j)
        seconds = time.process_time() - start
        here = hidden(z), crossings(z, pairs)
        results.append((length, *here, seconds))
        if any(here):
            print(f"  {key}, {length} nt: {here[0]} hidden, {here[1]} crossings", flush=True)
    rows = []
    for low, high in (*BINS, (BINS[0][0], BINS[-1][1])):
        part = [one for one in results if low <= one[0] < high]
        if part:
            rows.append(
                {
                    "nucleotides": f"{low}-{high - 1}",
                    "rnas": len(part),
                    "without_overlap": f"{statistics.mean(not (h or c) for _, h, c, _ in part):.3f}",
                    "hidden": f"{sum(h for _, h, *_ in part) / sum(n for n, *_ in part):.4f}",
                    "median_s": f"{statistics.median(s for *_, s in part):.4f}",
                    "longest_s": f"{max(s for *_, s in part):.3f}",
                }
            )
    return rows


def layouts(label: str) -> dict[str, Place]:
    """Return the layouts to measure by name: this version's own and, where ViennaRNA is installed, its puzzler."""
    named: dict[str, Place] = {label: lambda pairs, length: plot.layout(pairs, length, method="circles")}
    try:
        import RNA  # noqa: F401
    except ImportError:
        print("puzzler: skipped: ViennaRNA is not installed")
    else:
        named["puzzler (ViennaRNA)"] = lambda pairs, length: plot.layout(pairs, length, method="puzzler")
    return named


def main(words: list[str]) -> None:
    """Measure the layouts, as words of the command line say, and write their rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drawings")
    parser.add_argument("--label", default="circles", help="name of this version's own layout in the table")
    parser.add_argument("--rnas", type=int, default=200)
    options = parser.parse_args(words)
    rnas = known_rnas(options.rnas)
    if not rnas:
        raise SystemExit("no structures to draw: RINALMO_KIT_DATA names no folder with their tables")
    rows, stamp = [], provenance()
    for name, place in layouts(options.label).items():
        print(f"{name}:", flush=True)
        for row in measure(place, rnas):
            rows.append({"layout": name} | row | stamp)
            print("  " + ", ".join(f"{key} {row[key]}" for key in list(row)[:6]), flush=True)
    write(rows, OUTPUT)


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows; older rows of other layouts are kept."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as stream:
            kept = [
                row for row in csv.DictReader(stream) if row["layout"] not in {one["layout"] for one in rows}
            ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part, part.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])
