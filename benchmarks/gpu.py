"""Measure everything on the GPU of this machine, within five minutes.

    python -m benchmarks gpu [--seconds 280] [--only parity embed …] [--smoke]

Needs the checkout, torch, NumPy and safetensors: weights come from seeds, nothing is downloaded. Rows go to
``data/measured/gpu.csv`` as they are measured, in place of older ones of the same card; one that cannot be measured
says ``failed`` and why, one for which no time is left says ``skipped``. ``--smoke`` runs it all on the CPU at toy size.

The official way is that of ``official.py``, under autocast. *Share of peak* is the model's operations a second over
those of a large bfloat16 matrix product in the same run; *utilisation* takes the peak of the card's data sheet.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rinalmo_kit._utils.files import atomic_write
from rinalmo_kit._utils.hardware import peak_flops
from rinalmo_kit._utils.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "data" / "measured" / "gpu.csv"
OURS, OFFICIAL = "ours", "official"
GRACE = 25.0  # seconds that a running measurement may take beyond the limit
REASON = 160  # letters of an error that are kept


@dataclass
class Row:
    """One measurement; numbers that do not apply are None.

    Attributes
    ----------
    work, size, way : str
        What is done, of which model or length, and how; ``ours`` is what the library does by itself.
    seconds : float or None
        Of one call, the median.
    rate, unit
        What is done in a second, and in what it is counted.
    share_of_peak, utilisation : float or None
        Of the measured and of the stated peak.
    times_official : float or None
        Our rate over that of the official way.
    peak_gb : float or None
        Memory that a call adds, at its peak.
    value : float or None
        Of what is no time: a difference, an agreement, a share of the time.
    status : str
        ``ok``, ``failed: why`` or ``skipped: why``.
    """

    work: str
    size: str
    way: str
    seconds: float | None = None
    rate: float | None = None
    unit: str = ""
    share_of_peak: float | None = None
    utilisation: float | None = None
    times_official: float | None = None
    peak_gb: float | None = None
    value: float | None = None
    status: str = "ok"


@dataclass
class Bench:
    """Takes measurements on a device, keeps their rows and writes them; no failure leaves it."""

    device: torch.device
    output: Path
    seconds: float
    smoke: bool = False
    repetitions: int = 5
    peak: float | None = None
    stated_peak: float | None = None
    rows: list[Row] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.facts = facts(self.device)

    @property
    def left(self) -> float:
        """Seconds until nothing new is begun."""
        return self.seconds - (time.perf_counter() - self.start)

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def add(self, row: Row) -> Row:
        """Keep a row, print it, and write all."""
        self.rows.append(row)
        numbers = asdict(row)
        shown = {k: f"{v:.4g}" for k, v in numbers.items() if isinstance(v, float)}
        words = "  ".join(f"{key} {value}" for key, value in shown.items())
        print(
            f"[{self.seconds - self.left:4.0f} s] {row.work} · {row.size} · {row.way}: {words} {row.status}",
            flush=True,
        )
        self.write()
        return row

    @contextmanager
    def row(self, work: str, size: str, way: str) -> Iterator[Row | None]:
        """Give a row to fill; None if no time is left. What goes wrong is written there."""
        if self.left <= 0:
            self.add(Row(work, size, way, status="skipped: no time left"))
            yield None
            return
        row = Row(work, size, way)
        try:
            yield row
        except Exception as error:  # whatever it is, the others are measured
            row = Row(work, size, way, status=reason(error))
            if self.device.type == "cuda":
                with_patience(torch.cuda.empty_cache)
        self.add(row)

    def time(
        self,
        work: str,
        size: str,
        way: str,
        make: Callable[[], Callable[[], Any]],
        *,
        count: float = 0.0,
        unit: str = "",
        flops: float = 0.0,
    ) -> None:
        """Measure what `make` returns, a function without arguments.

        Parameters
        ----------
        work, size, way : str
        make : callable
            Prepares what is not measured; an error there is an error of the row.
        count, unit
            How much a call does, and of what.
        flops : float
            Operations of a call, those of the model.
        """
        with self.row(work, size, way) as row:
            if row is None:
                return
            call = make()
            seconds, row.peak_gb = self.median(call)
            row.seconds = seconds
            if count:
                row.rate, row.unit = count / seconds, f"{unit}/s"
            if flops and self.peak:
                row.share_of_peak = flops / seconds / self.peak
            if flops and self.stated_peak:
                row.utilisation = flops / seconds / self.stated_peak
            if way != OFFICIAL:
                row.times_official = self.times_official(row)

    def times_official(self, row: Row) -> float | None:
        """Return how many times as fast as the official way a row is, if that was measured."""
        for other in self.rows:
            if (other.work, other.size, other.way) == (row.work, row.size, OFFICIAL):
                if row.rate and other.rate:
                    return row.rate / other.rate
                return other.seconds / row.seconds if other.seconds and row.seconds else None
        return None

    def median(self, call: Callable[[], Any]) -> tuple[float, float | None]:
        """Return the median seconds of a call, and the memory in GB that it adds."""
        cuda = self.device.type == "cuda"
        call()
        self.wait()
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
        taken: list[float] = []
        while len(taken) < self.repetitions and (len(taken) < 2 or (sum(taken) < 6 and self.left > 0)):
            begun = time.perf_counter()
            call()
            self.wait()
            taken.append(time.perf_counter() - begun)
        memory = (torch.cuda.max_memory_allocated(self.device) - before) / 1e9 if cuda else None
        return statistics.median(taken), memory

    def note(self, work: str, size: str, way: str, function: Callable[[], float]) -> None:
        """Keep a number that is no time."""
        with self.row(work, size, way) as row:
            if row is not None:
                row.value = float(function())

    def profile(self, size: str, work: str, make: Callable[[], Callable[[], Any]], *, top: int = 8) -> None:
        """Keep the kernels that take most of the time of one call: seconds, and the share of all."""
        with self.row(f"profile, {work}", size, "all kernels") as row:
            if row is None:
                return
            call = make()
            call()
            self.wait()
            from torch.profiler import ProfilerActivity, profile

            cuda = self.device.type == "cuda"
            with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as found:
                call()
                self.wait()
            key = "self_device_time_total" if cuda else "self_cpu_time_total"
            times = sorted(((getattr(e, key), e.key) for e in found.key_averages()), reverse=True)
            total = sum(microseconds for microseconds, _ in times)
            row.seconds, row.value = total / 1e6, 1.0
            for microseconds, name in times[:top]:
                part = Row(row.work, size, " ".join(name.split())[:100], seconds=microseconds / 1e6)
                part.value = microseconds / max(total, 1e-9)
                self.add(part)

    def write(self) -> None:
        """Write all rows, whole or not at all; those of other cards stay."""
        others = []
        if self.output.exists():
            with self.output.open(newline="") as stream:
                others = [row for row in csv.DictReader(stream) if row.get("card") != self.facts["card"]]
        rows = others + [self.written(row) for row in self.rows]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.output) as part, part.open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(rows[-1]), restval="", extrasaction="ignore", lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(rows)

    def written(self, row: Row) -> dict[str, str]:
        """Return a row as it stands in the file."""
        cells = {
            k: "" if v is None else f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()
        }
        return cells | self.facts


def facts(device: torch.device) -> dict[str, str]:
    """Return the card, its driver, torch, and where the numbers come from."""
    found = {"card": "CPU", "driver": "", "torch": torch.__version__, "cuda": torch.version.cuda or ""}
    if device.type == "cuda":
        found["card"] = torch.cuda.get_device_name(device)
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
            found["driver"] = done.stdout.split("\n")[0].strip()
        except (OSError, subprocess.SubprocessError):
            found["driver"] = "unknown"
    return found | provenance()


def reason(error: Exception) -> str:
    """Return the status of a measurement that failed: one line."""
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())}"[:REASON]


def with_patience(function: Callable[[], Any]) -> None:
    """Call a function whose failure does not matter: a device that an error has broken raises it everywhere."""
    try:
        function()
    except Exception as error:
        print(f"  {reason(error)}", flush=True)


def matrix_product(bench: Bench) -> None:
    """Measure the peak: a large product of matrices in bfloat16, and the same in float32."""
    side = 256 if bench.smoke else 8192
    for dtype in (torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")

        def make(dtype: torch.dtype = dtype) -> Callable[[], Any]:
            a, b = torch.randn(2, side, side, device=bench.device).to(dtype).unbind(0)
            return lambda: a @ b

        bench.time("matrix product", f"{side} × {side}", name, make, count=2.0 * side**3 / 1e12, unit="TFLOP")
        if dtype == torch.bfloat16 and bench.rows[-1].seconds:
            bench.peak = 2.0 * side**3 / bench.rows[-1].seconds


def run(bench: Bench, only: list[str] | None = None) -> None:
    """Take all measurements, or those of some sections."""
    from .gpu_sections import SECTIONS

    with_patience(lambda: matrix_product(bench))
    for name, section in SECTIONS.items():
        if only and name not in only:
            continue
        try:
            section(bench)
        except Exception as error:
            bench.add(Row(name, "", "section", status=reason(error)))


def main(words: list[str]) -> None:
    """Measure, as words of the command line say, and write the file."""
    from .gpu_sections import SECTIONS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=280.0, help="begin nothing after (default: 280)")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections, and the peak")
    parser.add_argument("--smoke", action="store_true", help="all of it on the CPU at toy size")
    parser.add_argument(
        "--output", type=Path, help="default: data/measured/gpu.csv; with --smoke none is kept"
    )
    options = parser.parse_args(words)
    if not options.smoke and not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use: --smoke runs everything on the CPU at toy size")
    device = torch.device("cpu" if options.smoke else "cuda")
    with tempfile.TemporaryDirectory() as folder:
        output = options.output or (Path(folder, "gpu.csv") if options.smoke else OUTPUT)
        bench = Bench(device, output, options.seconds, options.smoke, repetitions=2 if options.smoke else 5)
        bench.stated_peak = None if options.smoke else peak_flops(device, half=True)
        watchdog = threading.Timer(options.seconds + GRACE, stop)
        watchdog.daemon = True
        watchdog.start()
        run(bench, options.only)
        watchdog.cancel()
        bad = [row for row in bench.rows if row.status.startswith("failed")]
        print(f"{len(bench.rows)} rows, {len(bad)} failed, {bench.seconds - bench.left:.0f} s: {output}")
        for row in bad:
            print(f"  {row.work} · {row.size} · {row.way}: {row.status}")


def stop() -> None:
    """End the process: a measurement hangs. What was measured is in the file."""
    print("a measurement took too long: stopped; the rows so far are written", flush=True)
    os._exit(3)
