"""What other work on the machine costs: our setting of OpenMP's threads beside its default and beside one thread.

    python -m benchmarks busy [--repetitions 3] [--output FILE]

Each measurement is a process of its own, by wall time, once on the machine as it is and once beside processes that
spin, one a core. The settings take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rinalmo_kit._utils.hardware import available_threads

from .run import OUTPUT, Line, write

SETTINGS: dict[str, dict[str, str]] = {
    "ours": {},
    "OpenMP's default": {"IMPORT": "torch"},  # loaded before ours, so that nothing is set
    "one thread": {"OMP_NUM_THREADS": "1"},
}


WORK = {
    "embed 200 RNAs": "rk.embed(texts[:200], model='nano')",
    "fold 40 RNAs": "rk.fold(texts[:40])",
    "fine-tune 20 steps": (
        "rk.finetune({'sequence': texts, 'label': table['family']}, task='classification', model='nano', "
        "output=folder, progress=False, changes={'steps': 20})"
    ),
}


PROGRAM = """
import importlib, os, sys, tempfile, time
if os.environ.get("IMPORT"):
    importlib.import_module(os.environ["IMPORT"])
import rinalmo_kit as rk
table = rk.datasets.read_numbers("published/rfam_rnas").sample(300, random_state=0)
texts = table["sequence"].tolist()
rk.fold(texts[0])
with tempfile.TemporaryDirectory() as folder:
    folder += "/run"
    start = time.perf_counter()
    exec(sys.argv[1])
    print(time.perf_counter() - start)
"""


def seconds(work: str, setting: dict[str, str]) -> float:
    """Return the seconds that a piece of work takes in a process with a setting."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, work]
    run = subprocess.run(command, env=environment | setting, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


@contextmanager
def spinning(number: int) -> Iterator[None]:
    """Keep so many cores busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def main(words: list[str]) -> None:
    """Run the benchmark, as words of the command line say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks busy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repetitions", type=int, default=3, help="default: 3")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(words)
    lines = []
    for others in (0, available_threads()):
        with spinning(others):
            for name, work in WORK.items():
                taken: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
                for _ in range(options.repetitions):
                    for setting, variables in SETTINGS.items():
                        taken[setting].append(seconds(work, variables))
                times = {setting: statistics.median(found) for setting, found in taken.items()}
                ours = times.pop("ours")
                size = f"{name}, " + (f"beside {others} busy processes" if others else "idle")
                for setting, reference in times.items():
                    lines.append(Line("busy", size, ours, setting, reference, "", options.repetitions))
                    print(
                        f"{size}: {lines[-1].ratio:.3g} × {setting} ({ours:.3g} s, {reference:.3g} s)",
                        flush=True,
                    )
                write(lines, options.output)
