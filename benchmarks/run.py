"""Benchmarks against the official way of computing and against multimolecule; see docs/speed.md.

    python -m benchmarks [encode|head|decode|evaluate|start|train|maps|all] [--quick]

Every line first checks that both sides give the same numbers, then times them in turn and compares medians.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rinalmo_kit import embed, tokenize
from rinalmo_kit._utils.hardware import available_memory
from rinalmo_kit._utils.provenance import provenance
from rinalmo_kit.metrics import THRESHOLDS, threshold_scores, tune_threshold
from rinalmo_kit.model.batched_structure_head import MAP_ENTRIES
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.flops import encoder_flops
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.rna.decoding import greedy_pairs
from rinalmo_kit.rna.folded import FoldedRNA

from . import official, peers

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "data" / "measured" / "benchmarks.csv"
SEED = 0
HEAD_DIM = 1280
PEAK_SIDE = 2048
LIMIT = "the limit: its operations at the speed of a matrix product of 2048 × 2048"


@dataclass
class Line:
    """One comparison; of a memory benchmark, the two amounts are MB and not seconds."""

    benchmark: str
    size: str
    ours_s: float
    reference: str
    reference_s: float
    ratio: float = field(init=False)
    goal: str
    repetitions: int

    def __post_init__(self) -> None:
        self.ratio = self.reference_s / self.ours_s


def stamp(line: Line) -> dict[str, Any]:
    """A line as it is written: with the machine, the command, the commit and the date."""
    row = asdict(line)
    for key in ("ours_s", "reference_s", "ratio"):
        row[key] = f"{row[key]:.4g}"
    return row | {
        "threads": torch.get_num_threads(),
        "machine cores": os.cpu_count(),
        "torch version": torch.__version__,
        **provenance(),
    }


def write(lines: list[Line], path: Path) -> None:
    """Write the lines; older lines about something else are kept."""
    rows = {}
    if path.exists():
        with path.open(newline="") as stream:
            rows = {(row["benchmark"], row["size"], row["reference"]): row for row in csv.DictReader(stream)}
    rows |= {(line.benchmark, line.size, line.reference): stamp(line) for line in lines}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(stamp(lines[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


class Clock:
    """Times functions in turn, so that a disturbance of the machine meets all of them."""

    def __init__(self, *, cpu: bool) -> None:
        self.now = time.process_time if cpu else time.perf_counter

    def medians(self, functions: list[Callable[[], Any]], repetitions: int) -> list[float]:
        times: list[list[float]] = [[] for _ in functions]
        for _ in range(repetitions):
            for function, taken in zip(functions, times, strict=True):
                start = self.now()
                function()
                taken.append(self.now() - start)
        return [statistics.median(taken) for taken in times]

    def fastest(self, functions: dict[Any, Callable[[], Any]]) -> Any:
        """Key of the function that takes the least time, of two runs each; prints all."""
        taken = {}
        for key, function in functions.items():
            taken[key] = min(self.medians([function], 1)[0] for _ in range(2))
            print(f"    {key}: {taken[key]:.2f} s", flush=True)
        return min(taken, key=taken.get)


def check(what: str, difference: float, tolerance: float) -> None:
    if not difference <= tolerance:
        raise SystemExit(f"{what}: the two sides differ by {difference:.1e}, more than {tolerance:.0e}")
    print(f"  same numbers as {what}: largest difference {difference:.1e}", flush=True)


# Encoding


def random_model(size: str) -> RiNALMo:
    """A model with weights far from their initial values: attention not uniform, no bias zero, no scale one."""
    torch.manual_seed(SEED)
    model = RiNALMo(getattr(Config, size)()).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
        elif "Wqkv" in name:
            parameter.mul_(2)
    return model


def random_sequences(count: int, shortest: int = 30, longest: int = 500) -> list[str]:
    random = np.random.default_rng(SEED)
    return ["".join(random.choice(list("ACGU"), n)) for n in random.integers(shortest, longest + 1, count)]


def encode(clock: Clock, *, quick: bool, repetitions: int, sizes: list[str]) -> Iterator[Line]:
    """Ragged RNAs of 30–500 nt in input order, as ``embed`` takes them."""
    sequences = random_sequences(64 if quick else 256)
    tokens = [tokenize(sequence)[0] for sequence in sequences]
    part = tokens[: 8 if quick else 24]  # to look for the best settings
    for size in sizes:
        name = f"{size}, {len(sequences)} RNAs"
        print(f"\nencode: {name}, {sum(map(len, tokens))} tokens", flush=True)
        model = random_model(size)
        reference = official.Encoder(model.config.dim, model.config.blocks, model.config.heads).eval()
        own = {k: v for k, v in model.state_dict().items() if not k.startswith("lm_mask_head.")}
        reference.load_state_dict(own)
        references: dict[str, Callable[[], list[torch.Tensor]]] = {}
        print(f"  official, on {len(part)} RNAs:")
        trials = {f"batch {b}": (lambda b=b: official.encode(reference, part, b)) for b in (1, 2, 4, 8, 16)}
        best = int(clock.fastest(trials).split()[1])
        references["official, batch 64"] = lambda: official.encode(reference, tokens, 64)
        references[f"official at its best, batch {best}"] = lambda: official.encode(reference, tokens, best)
        whole = 3.5 * 4 * len(tokens) * model.config.heads * max(map(len, tokens)) ** 2
        if len(tokens) > 64 and whole < 0.8 * available_memory():
            references["official, one batch"] = lambda: official.encode(reference, tokens, len(tokens))
        elif len(tokens) > 64:
            print(f"  official, one batch: left out, it needs about {whole / 1e9:.0f} GB")
        if peers.version():
            peer = peers.Peer(model)
            print(f"  multimolecule {peers.version()}, on {len(part)} RNAs:")
            setting = clock.fastest({s: (lambda s=s: peer.encode(part, s)) for s in peers.SETTINGS})
            references[f"multimolecule {peers.version()}, {setting}"] = lambda: peer.encode(tokens, setting)
        else:
            print("  multimolecule is not installed here: its line is left out (benchmarks/README.md)")
        expected = embed(sequences[: len(part)], model=model)
        for what, function in [
            ("official", lambda: official.encode(reference, part, 8)),
            *([("multimolecule", lambda: peer.encode(part, setting))] if peers.version() else []),
        ]:
            pairs = zip(expected, function(), strict=True)
            check(what, max(float(np.abs(a - b[1:-1].numpy()).max()) for a, b in pairs), 1e-4)
        side = torch.randn(2, PEAK_SIDE, PEAK_SIDE)
        ours, product, *others = clock.medians(
            [lambda: embed(sequences, model=model), lambda: side[0] @ side[1], *references.values()],
            repetitions,
        )
        limit = encoder_flops(model.config, [len(one) for one in tokens]) / (2 * PEAK_SIDE**3 / product)
        yield Line("encode", name, ours, LIMIT, limit, "0.7" if size != "nano" else "", repetitions)
        for what, seconds in zip(references, others, strict=True):
            goal = "8" if what == "official, batch 64" else "1.5" if what.startswith("multimolecule") else ""
            yield Line("encode", name, ours, what, seconds, goal, repetitions)


# Structure head


def heads(length: int) -> tuple[StructureHead, official.PairHead, torch.Tensor]:
    torch.manual_seed(SEED)
    ours, reference = StructureHead(HEAD_DIM).eval(), official.PairHead(HEAD_DIM).eval()
    reference.load_state_dict(ours.state_dict())
    return ours, reference, torch.randn(length, HEAD_DIM)


def convolutions(length: int) -> Callable[[], None]:
    """The convolutions of our head and nothing else, on maps laid out as torch is quickest with."""
    head, _, _ = heads(length)
    x = torch.randn(1, 64, length, length).contiguous(memory_format=torch.channels_last)
    layers = [layer for block in head.resnet.blocks for layer in block.conv_net.values()][
        1:
    ]  # the first splits

    @torch.inference_mode()
    def call() -> None:
        for layer in (*layers, head.conv_out):
            layer(x)

    return call


def apply_head(side: str, length: int) -> Callable[[], torch.Tensor]:
    """A call of one side; ours as ``fold`` runs it, the reference as the official code does."""
    ours, reference, representation = heads(length)
    if side == "ours":
        return torch.inference_mode()(lambda: ours(representation))
    return torch.no_grad()(lambda: reference(representation[None])[0])


def peak_memory(side: str, length: int) -> float:
    """MB that one call adds, at its peak, to a fresh process."""
    command = [sys.executable, "-m", "benchmarks", "head", "--peak", side, str(length)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def print_peak(side: str, length: int) -> None:
    apply_head(side, 40)()  # what the first call of all allocates is not counted
    call = apply_head(side, length)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far

    def status(key: str) -> float:
        return float(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) / 1024

    before = status("VmRSS")
    call()
    print(status("VmHWM") - before)


def head(clock: Clock, *, quick: bool, repetitions: int) -> Iterator[Line]:
    """Structure head at the giant model's width."""
    for length in (100, 200) if quick else (100, 200, 400, 800):
        name = f"dim {HEAD_DIM}, L={length}"
        print(f"\nhead: {name}", flush=True)
        needed = 1.5 * 4 * 2 * HEAD_DIM * length**2
        if needed > available_memory():
            print(f"  left out: the reference needs about {needed / 1e9:.1f} GB")
            continue
        ours, reference = apply_head("ours", length), apply_head("reference", length)
        check("official", float((ours() - reference()).abs().max()), 5e-4)
        times = repetitions + 2 * (length <= 200)
        seconds = clock.medians([ours, reference, convolutions(length)], times)
        yield Line("head", name, seconds[0], "official", seconds[1], "4.5", times)
        yield Line("head", name, seconds[0], "the limit: its convolutions alone", seconds[2], "0.67", times)
        if sys.platform == "linux":
            goal = "10" if length == 800 else ""
            used, three = peak_memory("ours", length), 3 * 4 * 64 * length**2 / 2**20
            yield Line(
                "head, peak memory in MB", name, used, "official", peak_memory("reference", length), goal, 1
            )
            yield Line("head, peak memory in MB", name, used, "three maps of L × L × 64", three, "1", 1)


# Decoding and threshold tuning


def random_map(length: int, random: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
    """Sequence, target matrix and a sharp probability matrix: stems, their blurred borders and false pairs."""
    letters = random.choice(list("ACGU"), length)
    partner = np.full(length, -1)
    for _ in range(length // 12):
        stem = int(random.integers(3, 9))
        i = int(random.integers(0, max(1, length - 2 * stem - 4)))
        j = min(length - 1, i + 2 * stem + 3 + int(random.exponential(length / 6)))
        ends = [(i + n, j - n) for n in range(stem)]
        if all(b - a > 3 and partner[a] < 0 and partner[b] < 0 for a, b in ends):
            for a, b in ends:
                partner[a], partner[b] = b, a
                letters[a], letters[b] = ("GC", "CG", "AU", "UA", "GU")[random.integers(5)]
    target = np.zeros((length, length), dtype=int)
    paired = np.flatnonzero(partner >= 0)
    target[paired, partner[paired]] = 1
    signal = 4.0 * target + 1.5 * (official.relaxed(target) - target)
    logits = np.triu(3.2 * signal - 10 + 1.9 * random.standard_normal((length, length)), 1)
    probabilities = (1 / (1 + np.exp(-(logits + logits.T)))).astype(np.float32)
    return "".join(letters), target, probabilities


def tune(maps: list[tuple[str, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Our way: one greedy pass and one table a structure. Targets come as pairs."""
    tables = [
        threshold_scores(target, *greedy_pairs(probabilities, sequence, threshold=THRESHOLDS[0]))
        for sequence, target, probabilities in maps
    ]
    return tune_threshold(tables)[0], np.asarray(tables)


def decode(clock: Clock, *, quick: bool, repetitions: int) -> Iterator[Line]:
    """Decode at 29 thresholds, score each and choose the best."""
    random = np.random.default_rng(SEED)
    maps = [random_map(int(n), random) for n in np.linspace(50, 500, 4 if quick else 16)]
    name = f"{len(maps)} maps, L=50–500"
    above = [int((np.triu(p, 4) > 0.01).sum()) for _, _, p in maps]
    print(f"\ndecode: {name}; {min(above)} to {max(above)} candidates above 0.01", flush=True)
    own = [(sequence, np.argwhere(np.triu(target)), p) for sequence, target, p in maps]
    threshold, table = tune(own)
    expected_threshold, expected = official.tune(maps)
    difference = np.abs(table[:, :, :3] - expected.transpose(1, 0, 2)).max()
    check(
        f"official (best threshold {threshold})", float(difference + (threshold != expected_threshold)), 1e-12
    )
    repeat = 20  # ours is too short for the clock
    seconds = clock.medians(
        [lambda: [tune(own) for _ in range(repeat)], lambda: official.tune(maps)], repetitions
    )
    yield Line(
        "decode and tune", name, seconds[0] / repeat, "official, 29 decodings", seconds[1], "500", repetitions
    )


# A whole evaluation


def evaluate(clock: Clock, *, quick: bool, repetitions: int) -> Iterator[Line]:
    """TS0 with the embedded model: fold, decode at 29 thresholds, score, choose; beside the forward passes alone."""
    from rinalmo_kit import load
    from rinalmo_kit.inference import folding
    from rinalmo_kit.recipes import RECIPES
    from rinalmo_kit.recipes.splits import splits_of

    chosen = splits_of(RECIPES["ss-bprna"], wanted=("test",), test_limit=40 if quick else None)
    targets = [example.target for example in chosen.test]
    model = load("nano-ss")
    print(f"\nevaluate: {len(targets)} structures of TS0", flush=True)

    def forward() -> None:
        for target in targets:
            with torch.inference_mode():
                folding.pair_logits(model, [target.sequence])

    def whole() -> None:
        tables = []
        for target in targets:
            p = folding.pair_probabilities(target.sequence, model=model)
            pairs = greedy_pairs(p, target.sequence, threshold=THRESHOLDS[0])
            tables.append(threshold_scores(target, *pairs))
        tune_threshold(tables)

    seconds = clock.medians([whole, forward], repetitions)
    yield Line("evaluate and tune", f"{len(targets)} rows of TS0", seconds[0], "the model's forward passes alone",
               seconds[1], "0.5", repetitions)  # fmt: skip


# Starting

START = """
import time, torch
start = time.perf_counter(); import rinalmo_kit; imported = time.perf_counter()
rinalmo_kit.fold("GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCAGGGAAACCCUUUGGGAAACCCAUUU")
print(imported - start, time.perf_counter() - imported)
"""


def start(clock: Clock, *, quick: bool, repetitions: int) -> Iterator[Line]:
    """A fresh process: the import beyond torch's own, and the first fold of 100 nt."""
    print("\nstart: fresh processes", flush=True)
    command = [sys.executable, "-W", "ignore", "-c", START]
    runs = [
        [float(x) for x in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]
        for _ in range(repetitions + 2)
    ]
    imports, folds = (statistics.median(column) for column in zip(*runs, strict=True))
    yield Line("start", "import rinalmo_kit after torch", imports, "1 s", 1.0, "1", repetitions + 2)
    yield Line("start", "first fold, 100 nt", folds, "3 s", 3.0, "1", repetitions + 2)


# Training


def train(clock: Clock, *, quick: bool, repetitions: int, sizes: list[str]) -> Iterator[Line]:
    """Forward, backward and AdamW step with all dropouts; and what loading the batch takes beside it."""
    from . import training  # needs pandas and the tables of the experiments

    for size in sizes:
        model = random_model(size)
        for make in (training.masked_language_model, training.splice_sites):
            task = make(model, count=4) if quick else make(model)
            name = f"{size}, {task.name}"
            print(f"\ntrain: {name}, {int((task.tokens != official.PAD).sum())} tokens", flush=True)
            ours, *others = training.sides(model, task, available_memory())
            for other in others:
                check(other.name, training.difference(ours, other), 1e-3)
            for side in (ours, *others):
                side.train(True)
            seconds = clock.medians([task.load, *(side.step for side in (ours, *others))], repetitions + 1)
            for other, theirs in zip(others, seconds[2:], strict=True):
                goal = "1.6" if other.name == "official" else ""
                yield Line("train, one step", name, seconds[1], other.name, theirs, goal, repetitions + 1)
            yield Line(
                "load a batch", name, seconds[0], "a training step of ours", seconds[1], "10", repetitions + 1
            )


def maps(clock: Clock, *, quick: bool, repetitions: int) -> Iterator[Line]:
    """Training steps of the structure head: a batch of padded maps, and one map after the other."""
    rng, device = np.random.default_rng(SEED), "cuda" if torch.cuda.is_available() else "cpu"
    lengths = rng.integers(80, 161, 4 if quick else 64).tolist()
    model, task = random_model("nano").to(device), TASKS["structure"]
    model.head = StructureHead(model.config.dim).to(device)
    rows = [torch.randn(n + 2, model.config.dim, device=device) for n in lengths]
    targets = [FoldedRNA("A" * n, [(i, n - 1 - i) for i in range(n // 3)]) for n in lengths]

    def step(*, together: bool) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            found = (
                task.apply_head_padded(model, rows, entries=MAP_ENTRIES)
                if together
                else task.apply_head(model, rows)
            )
        loss = task.compute_loss("pairs-by-length", found, targets)
        loss.backward()
        return loss.detach().cpu()

    print(f"\nmaps: {len(lengths)} maps on {device}", flush=True)
    one, other = step(together=True), step(together=False)
    check("one map after the other", float((one - other).abs() / other), 1e-2 if device == "cuda" else 1e-5)
    seconds = clock.medians([lambda: step(together=True), lambda: step(together=False)], repetitions)
    each = [taken / len(lengths) for taken in seconds]
    name = f"{len(lengths)} maps of 80–160 nt, {device}"
    yield Line("train the head", name, each[0], "one map after the other", each[1], "8 on a GPU", repetitions)


BENCHMARKS = {
    "encode": encode,
    "head": head,
    "decode": decode,
    "evaluate": evaluate,
    "start": start,
    "train": train,
    "maps": maps,
}


def main(words: list[str]) -> None:
    """Run some of the benchmarks, as words of the command line say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="?", default="all", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter RNAs")
    parser.add_argument(
        "--sizes", nargs="+", default=["nano", "micro"], help="for encode and train; default: nano micro"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, help="default: torch's, one a core")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine, with --threads 1")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(options.peak[0], int(options.peak[1]))
        return
    if options.cpu_time and torch.get_num_threads() != 1:
        parser.error("--cpu-time adds up the threads' time: it needs --threads 1")
    clock, lines = Clock(cpu=options.cpu_time), []
    for name in BENCHMARKS if options.which == "all" else [options.which]:
        settings: dict[str, Any] = {"quick": options.quick, "repetitions": options.repetitions}
        if name in ("encode", "train"):
            settings["sizes"] = options.sizes
        for line in BENCHMARKS[name](clock, **settings):
            print(
                f"  {line.reference}: {line.ratio:.3g} × (ours {line.ours_s:.3g}, reference {line.reference_s:.3g})"
            )
            lines.append(line)
            write(lines, options.output)
    print(
        f"\n{'benchmark':<24} {'size':<20} {'ours':>8} {'reference':>10} {'ratio':>7} {'goal':>5}  reference"
    )
    for line in lines:
        amounts = f"{line.ours_s:>8.3g} {line.reference_s:>10.3g} {line.ratio:>7.3g} {line.goal:>5}"
        print(f"{line.benchmark:<24} {line.size:<20} {amounts}  {line.reference}")
    print(f"written to {options.output}")
