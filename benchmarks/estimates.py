"""Compare estimates with what is measured; see docs/speed.md.

    python -m benchmarks estimates

Each case runs in fresh processes: one gives the memory that the job adds, loading included, the other the median time.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import rinalmo_kit as rk
from rinalmo_kit._utils import hardware
from rinalmo_kit.inference.estimate import estimate as estimate_job

from . import run

OUTPUT = run.OUTPUT.with_name("estimates.csv")
RANDOM = ("nano", "micro")  # sizes with random weights
CASES = [  # task, model, number, shortest, longest
    ("embed", "nano", 400, 30, 500),
    ("embed", "nano", 1000, 15, 40),
    ("embed", "nano", 1, 3000, 3000),
    ("embed", "nano", 100, 30, 500),
    ("embed", "micro", 20, 30, 500),
    ("fold", "nano-ss", 60, 40, 120),
    ("fold", "nano-ss", 1, 300, 300),
    ("fold", "nano-ss", 1, 700, 700),
    ("fold", "nano-ss", 1, 1500, 1500),
    ("predict", "pico-ncrna-0", 200, 30, 500),
]


def sequences(number: int, shortest: int, longest: int) -> list[str]:
    return run.random_sequences(number, shortest, longest)


def status(key: str) -> float:
    return 1024 * float(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0])


def measure(case: list[Any], what: str) -> None:
    """Print what a case takes in this process: bytes with loading, or the median seconds without."""
    task, name, *rest = case
    rnas, job = sequences(*rest), getattr(rk, task)
    made = run.random_model(name) if name in RANDOM else name
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    if what == "memory":
        job(rnas, model=rk.load(made, device="cpu") if isinstance(made, str) else made)
        print(status("VmHWM") - before)
        return
    model = rk.load(made, device="cpu") if isinstance(made, str) else made
    job(rnas[:2], model=model)
    estimated, taken = [], []
    for _ in range(3):  # the machine's speed changes: it is taken beside each repetition
        hardware._measured.cache_clear()
        estimated.append(estimate_job(rnas, model=model, task=task).seconds)
        start = time.perf_counter()
        job(rnas, model=model)
        taken.append(time.perf_counter() - start)
    print(json.dumps([median(estimated), median(taken)]))


def in_fresh_process(case: list[Any], what: str) -> Any:
    """Return what :func:`measure` prints in another process."""
    words = ["-W", "ignore", "-m", "benchmarks", "estimates", "--measure", what, json.dumps(case)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=run.ROOT)
    return json.loads(done.stdout)


def main(words: list[str]) -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks estimates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(words)
    if options.measure:
        measure(json.loads(options.measure[1]), options.measure[0])
        return
    rows = []
    for case in CASES:
        task, name, number, shortest, longest = case
        rnas = sequences(number, shortest, longest)
        model = run.random_model(name) if name in RANDOM else name
        expected = estimate_job(rnas, model=model, task=task, device="cpu").peak
        seconds, taken = in_fresh_process(list(case), "seconds")
        peak = in_fresh_process(list(case), "memory")
        shown = f"{shortest}" if shortest == longest else f"{shortest}–{longest}"
        line = run.Line(task, f"{name}, {number} × {shown} nt", taken, "", seconds, "", 3)
        stamped = run.stamp(line)
        row = {"task": task, "case": line.size, "estimated_s": f"{seconds:.4g}", "measured_s": f"{taken:.4g}"}
        row |= {"ratio_s": f"{seconds / taken:.2f}", "estimated_mb": f"{expected / 2**20:.1f}"}
        row |= {"measured_mb": f"{peak / 2**20:.1f}", "ratio_mb": f"{expected / peak:.2f}"}
        row |= {key: stamped[key] for key in ("threads", "machine cores", "torch version")}
        rows.append(row | {key: stamped[key] for key in ("command", "commit", "date")})
        with options.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print("  ".join(str(cell) for cell in list(row.values())[:8]), flush=True)
    print(f"written to {options.output}")
