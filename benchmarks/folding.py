"""CPU time of a fold beside ViennaRNA's, and beside what its operations take at the least, on one thread.

    python -m benchmarks folding [--rows 200] [--output FILE]

Test rows of bpRNA (TS0). CPU seconds, so that other work on the machine counts little; the ways take turns, and none
finds energies that another left in the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

import rinalmo_kit as rk
from rinalmo_kit._utils.hardware import cpu_flops
from rinalmo_kit.inference import energies
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.flops import encoder_flops, head_flops

from .run import OUTPUT, Clock, Line, write


def main(words: list[str]) -> None:
    """Run the benchmark, as words of the command line say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks folding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=200, help="default: 200")
    parser.add_argument("--repetitions", type=int, default=3, help="default: 3")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(words)
    import RNA

    torch.set_num_threads(1)
    table = rk.datasets.load_table("bprna").query("split == 'TS0'").sample(options.rows, random_state=0)
    texts = table["sequence"].tolist()
    model = rk.load(device="cpu")

    def uncached(compute: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: (energies._ensemble.cache_clear(), compute())

    ways: dict[str, Callable[[], Any]] = {
        "default": uncached(partial(rk.fold, texts, model=model)),
        "the model alone": partial(rk.fold, texts, model=model, energy=None),
        "ViennaRNA, minimum free energy": lambda: [RNA.fold(text) for text in texts],
        "ViennaRNA, probabilities": uncached(
            lambda: [energies.energy_probabilities(text, "viennarna") for text in texts]
        ),
    }
    rk.fold(texts[0], model=model)
    times = dict(zip(ways, Clock(cpu=True).medians([*ways.values()], options.repetitions), strict=True))
    lengths = [len(text) for text in texts]
    needed = encoder_flops(cast(Config, model.config), [n + 2 for n in lengths]) + head_flops(lengths)
    times["the limit: its operations at the speed of a matrix product"] = needed / cpu_flops()
    ours = {name: times.pop(name) for name in ("default", "the model alone")}
    size = f"{len(texts)} rows of TS0, {sum(lengths) / len(texts):.0f} nt on average"
    lines = []
    for name, mine in ours.items():
        for reference, theirs in times.items():
            line = Line(f"fold, CPU time: {name}", size, mine, reference, theirs, "", options.repetitions)
            lines.append(line)
            each = 1e3 / len(texts)
            print(
                f"{name}: {line.ratio:.3g} × {reference} ({mine * each:.1f} ms, {theirs * each:.1f} ms a fold)"
            )
    write(lines, options.output)
