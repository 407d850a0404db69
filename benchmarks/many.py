"""A million RNAs through ``rinalmo_kit.inference.bulk``: speed, and memory that does not grow.

    python -m benchmarks many [--records 1000000] [--model nano] [--task embed] [--processes 1]

Without ``--model`` a small encoder with random weights, so that reading, cutting and writing are what is measured.
The records (20 to 40 nt, fixed seed) are written first. Memory is that of all processes together, sampled every
half second: up to a tenth of the shards, at the end, and the most there was. The row goes to
``data/measured/many.csv``.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import threading
import time
from pathlib import Path

import torch

import rinalmo_kit as rk
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.inference import bulk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo

from .run import ROOT

OUTPUT = ROOT / "data" / "measured" / "many.csv"


def write_fasta(path: Path, records: int) -> None:
    import numpy as np

    draw = np.random.default_rng(0)
    with path.open("wb") as stream:
        for start in range(0, records, 10_000):
            lengths = draw.integers(20, 41, min(10_000, records - start))
            letters = draw.choice(np.frombuffer(b"ACGU", np.uint8), lengths.sum()).tobytes()
            ends = lengths.cumsum()
            for i, (length, end) in enumerate(zip(lengths, ends, strict=True), start):
                stream.write(b">r%d\n%b\n" % (i, letters[end - length : end]))


def small_encoder(path: Path) -> Path:
    torch.manual_seed(0)
    return rk.save(RiNALMo(Config(dim=64, blocks=2, heads=4)), path)


def memory() -> float:
    """MB in use by this process and those it started (Linux)."""
    pages = 0
    pids = [os.getpid()]
    pids += Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:  # it has just ended
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(words: list[str]) -> None:
    """Run the job, as words of the command line say, and write its row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks many")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--model", help="name or checkpoint file (default: a small one with random weights)")
    parser.add_argument("--task", choices=list(bulk.MODELS), default="embed")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(words)
    stamp = provenance()  # of the code that runs, whatever happens to it meanwhile
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fasta, output = folder / "many.fasta", folder / "out"
        write_fasta(fasta, options.records)
        model = options.model or small_encoder(folder / "small.safetensors")
        samples: list[tuple[int, float]] = []  # shards that are there, MB
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                samples.append((len(list(output.glob("part-*"))), memory()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        try:
            report = bulk.run_bulk(
                options.task, fasta, output, model=model, processes=options.processes, progress=True
            )
        finally:
            seconds = time.perf_counter() - start
            done.set()
            watcher.join()
        assert report.records == options.records and not report.rejected and not report.missing
        size = sum(path.stat().st_size for path in output.iterdir()) / 2**20
    row = {
        "task": options.task,
        "model": options.model or "random, 64 wide, 2 blocks",
        "processes": options.processes,
        "records": options.records,
        "seconds": f"{seconds:.1f}",
        "records_per_s": f"{options.records / seconds:.0f}",
        "mb_at_tenth": f"{max(mb for shards, mb in samples if shards <= max(1, report.shards // 10)):.0f}",
        "mb_at_end": f"{samples[-1][1]:.0f}",
        "mb_most": f"{max(mb for _, mb in samples):.0f}",
        "output_mb": f"{size:.0f}",
        "threads": torch.get_num_threads(),
        "machine_cores": os.cpu_count(),
        **stamp,
    }
    write(row, OUTPUT)
    print(*(f"{key}: {value}" for key, value in row.items()), sep="\n")


def write(row: dict, path: Path) -> None:
    """Write the row in place of an older one about the same."""
    rows = {}

    def about(row: dict) -> tuple[str, ...]:
        return tuple(str(row[key]) for key in ("task", "model", "processes", "records"))

    if path.exists():
        with path.open(newline="") as stream:
            rows = {about(row): row for row in csv.DictReader(stream)}
    rows[about(row)] = row
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
