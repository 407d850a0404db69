"""What ``python -m benchmarks gpu`` measures: one function a section, from parity to the kernels of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import rinalmo_kit as rk
from rinalmo_kit.inference.batching import encode_sequences
from rinalmo_kit.model.batched_structure_head import MAP_ENTRIES
from rinalmo_kit.model.flops import encoder_flops, head_flops
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.rna.alphabet import MASK, PAD, clean
from rinalmo_kit.rna.folded import FoldedRNA

from . import official
from .gpu import OFFICIAL, OURS, Bench
from .gpu_models import SEED, clear, config_of, random_model, random_sequences
from .gpu_paper import paper
from .gpu_parity import chosen, half, parity, with_head

HEAD_DIM = 1280
STEP_TOKENS = {"nano": 32_768, "micro": 32_768, "giga": 8_192}
LEARNING_RATE = 1e-5
COMPILED = ("giga", "micro")  # whose blocks are compiled for the comparison, which takes a while


def official_model(bench: Bench, size: str) -> official.Encoder:
    """Return the encoder of the official way, in float32, which it runs under autocast."""
    config = config_of(size)
    torch.manual_seed(SEED)
    with torch.device(bench.device):
        return official.Encoder(config.dim, config.blocks, config.heads).eval()


def half_of(bench: Bench) -> torch.autocast:
    """Return autocast to bfloat16 on the device."""
    return torch.autocast(bench.device.type, torch.bfloat16)


def encoder_ways(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the ways to run an encoder that can be chosen: what the library takes by itself, and fixed choices."""
    yield OURS, {}
    if size in COMPILED:
        yield "compiled", {"compiled": True}
        yield "not compiled", {"compiled": False}
    yield "padded attention", {"attention": "padded"}


# --- speed -----------------------------------------------------------------------------------------------------


def embed(bench: Bench) -> None:
    """Embed ragged RNAs in input order."""
    rnas = random_sequences(6, 10, 40) if bench.smoke else random_sequences(256, 30, 500)
    tokens = [rk.tokenize([rna])[0] for rna in rnas]
    count = sum(map(len, tokens))
    for size in ("tiny",) if bench.smoke else ("giga", "micro", "nano"):
        flops = encoder_flops(config_of(size), [len(one) for one in tokens])

        def theirs(size: str = size) -> Callable[[], Any]:
            model, on_device = official_model(bench, size), [one.to(bench.device) for one in tokens]

            def call() -> Any:
                with torch.device(bench.device), half_of(bench):
                    return [one.cpu() for one in official.encode(model, on_device, 64)]

            return call

        name = f"{size}, {len(rnas)} RNAs"
        bench.time("embed", name, OFFICIAL, theirs, count=count, unit="token", flops=flops)
        for way, choices in encoder_ways(size):

            def ours(size: str = size, choices: dict[str, Any] = choices) -> Callable[[], Any]:
                model = chosen(random_model(bench, size, dtype=torch.bfloat16), choices)
                return lambda: rk.embed(rnas, model=model, pool="mean")

            bench.time("embed", name, way, ours, count=count, unit="token", flops=flops)
        clear(bench)


def masked(bench: Bench, size: str) -> tuple[Tensor, Tensor, list[int]]:
    """Return masked tokens, (B, L), what they were, and the lengths, of a batch that fits the size."""
    budget = 128 if bench.smoke else STEP_TOKENS[size]
    rnas: list[str] = []
    for rna in random_sequences(4000, 10, 40) if bench.smoke else random_sequences(2000, 30, 500):
        if sum(map(len, rnas)) + 2 * len(rnas) + len(rna) + 2 > budget:
            break
        rnas.append(rna)
    tokens = rk.tokenize(rnas)
    lengths = (tokens != PAD).sum(1).tolist()
    chosen = (torch.rand(tokens.shape, generator=torch.Generator().manual_seed(SEED)) < 0.15) & (tokens > 4)
    return tokens.masked_fill(chosen, MASK), torch.where(chosen, tokens, PAD), lengths


def pretraining_step(bench: Bench, size: str, **changes: Any) -> Callable[[], Any]:
    """Return a step of ours: masked tokens, encoder, loss, gradients, AdamW, under autocast."""
    choices = {key: changes.pop(key) for key in ("compiled", "attention") if key in changes}
    model = chosen(random_model(bench, size, **changes).train(), choices)
    tokens, targets, _ = masked(bench, size)
    tokens, kept = tokens.to(bench.device), (targets != PAD)[tokens != PAD]
    places = kept.nonzero()[:, 0].to(bench.device)
    wanted = targets[targets != PAD].to(bench.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=bench.device.type == "cuda")

    def step() -> None:
        with half_of(bench):
            packed = model.encode(tokens, model.packing(tokens))
            logits = model.lm_mask_head(packed[places])
        F.cross_entropy(logits.float(), wanted).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def official_step(bench: Bench, size: str) -> Callable[[], Any]:
    """Return a step of the official way: padded, every block recomputed, logits of all tokens."""
    model, head = official_model(bench, size).train(), random_model(bench, size).lm_mask_head
    tokens, targets, _ = (
        one.to(bench.device) if isinstance(one, Tensor) else one for one in masked(bench, size)
    )
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)

    def step() -> None:
        with torch.device(bench.device), half_of(bench):
            logits = head(model(tokens))
        F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=PAD).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def pretrain(bench: Bench) -> None:
    """Take steps of pretraining, with the dropout of the paper and without dropout in attention."""
    for size in ("tiny",) if bench.smoke else ("giga", "micro", "nano"):
        lengths = masked(bench, size)[2]
        what: dict[str, Any] = {"count": sum(lengths), "unit": "token"}
        what["flops"] = 3 * encoder_flops(config_of(size), lengths)
        name = f"{size}, {len(lengths)} RNAs of 30–500 nt"
        bench.time("pretraining step", name, OFFICIAL, lambda size=size: official_step(bench, size), **what)
        clear(bench)
        ways: dict[str, dict[str, Any]] = {OURS: {}, "no dropout in attention": {"attention_dropout": 0.0}}
        ways["no dropout"] = {"attention_dropout": 0.0, "residual_dropout": 0.0}
        ways["no dropout in attention, padded"] = {"attention_dropout": 0.0, "attention": "padded"}
        if size in COMPILED:
            ways["no dropout in attention, compiled"] = {"attention_dropout": 0.0, "compiled": True}
        for way, changes in ways.items():

            def make(size: str = size, changes: dict[str, Any] = changes) -> Callable[[], Any]:
                return pretraining_step(bench, size, **changes)

            bench.time("pretraining step", name, way, make, **what)
            clear(bench)


def head(bench: Bench) -> None:
    """Apply the structure head to one RNA, in both precisions, and to a batch of short ones."""
    for dtype in (torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        for length in (16, 24) if bench.smoke else (100, 200, 400, 800, 1600, 3000):

            def call(kind: Any, length: int, dtype: torch.dtype) -> Callable[[], Any]:
                torch.manual_seed(SEED)
                with torch.device(bench.device):
                    made = kind(HEAD_DIM).eval()
                    rows = torch.randn(length, HEAD_DIM).to(dtype)
                if kind is StructureHead:  # whose weights stay in float32, as load() leaves them
                    return torch.inference_mode()(lambda: made(rows))
                made = made.to(dtype)
                return torch.inference_mode()(lambda: made(rows[None]))

            flops = head_flops([length])
            for way, kind in ((OFFICIAL, official.PairHead), (OURS, StructureHead)):
                if way == OURS or length <= 800:  # 1,600 nt would take 26 GB
                    size = f"L={length}, {name}"
                    what: dict[str, Any] = {"count": 1, "unit": "RNA", "flops": flops}
                    bench.time(
                        "structure head", size, way, lambda k=kind, n=length, d=dtype: call(k, n, d), **what
                    )

        number, length = (4, 16) if bench.smoke else (64, 100)

        def several(dtype: torch.dtype = dtype) -> Callable[[], Any]:
            torch.manual_seed(SEED)
            model = with_head(StructureHead(HEAD_DIM).eval(), bench)
            rows = [torch.randn(length + 2, HEAD_DIM).to(bench.device, dtype) for _ in range(number)]
            task = TASKS["structure"]
            return torch.inference_mode()(lambda: task.apply_head_padded(model, rows, entries=MAP_ENTRIES))

        what = {"count": number, "unit": "RNA", "flops": head_flops([length] * number)}
        bench.time("structure head", f"{number} × L={length}, {name}", OURS, several, **what)


def structure_step(bench: Bench, size: str, *, together: bool) -> tuple[Callable[[], Any], list[str]]:
    """Return a step of fine-tuning for structures, and its RNAs."""
    rnas = random_sequences(4, 12, 24) if bench.smoke else random_sequences(64, 80, 160)
    model, task = random_model(bench, size).train(), TASKS["structure"]
    model.head = StructureHead(model.config.dim).to(bench.device)
    targets = [FoldedRNA("A" * len(r), [(i, len(r) - 1 - i) for i in range(len(r) // 3)]) for r in rnas]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=bench.device.type == "cuda")

    def step() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=not bench.smoke):
            rows = encode_sequences(model, [clean(rna) for rna in rnas])
            if together:
                found = task.apply_head_padded(model, rows, entries=MAP_ENTRIES)
            else:
                found = task.apply_head(model, rows)
        task.compute_loss("pairs-by-length", found, targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, rnas


def official_structure_step(bench: Bench, size: str) -> Callable[[], Any]:
    """Return the official step: one RNA after the other through encoder and head."""
    rnas = random_sequences(2, 12, 24) if bench.smoke else random_sequences(8, 80, 160)
    tokens = [rk.tokenize([rna]).to(bench.device) for rna in rnas]
    with torch.device(bench.device):
        model, pair_head = official_model(bench, size).train(), official.PairHead(config_of(size).dim)
    optimizer = torch.optim.AdamW([*model.parameters(), *pair_head.parameters()], lr=LEARNING_RATE)

    def step() -> None:
        for one in tokens:
            precision = torch.autocast(bench.device.type, torch.bfloat16, enabled=not bench.smoke)
            with torch.device(bench.device), precision:
                logits = pair_head(model(one)[:, 1:-1])
            F.binary_cross_entropy_with_logits(logits.float(), torch.zeros_like(logits.float())).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def structures(bench: Bench) -> None:
    """Fine-tune for structures: a batch of maps, and one map after the other."""
    for size in ("tiny",) if bench.smoke else ("nano", "micro"):
        rnas = structure_step(bench, "tiny", together=True)[1]
        name = f"{size}, RNAs of 80–160 nt"
        number = 2 if bench.smoke else 8
        bench.time(
            "structure fine-tuning",
            name,
            OFFICIAL,
            lambda size=size: official_structure_step(bench, size),
            count=number,
            unit="structure",
        )
        flops = 3 * (
            encoder_flops(config_of(size), [len(r) + 2 for r in rnas]) + head_flops([*map(len, rnas)])
        )
        for way, together in ((OURS, True), ("one map after the other", False)):

            def make(size: str = size, together: bool = together) -> Callable[[], Any]:
                return structure_step(bench, size, together=together)[0]

            what: dict[str, Any] = {"count": len(rnas), "unit": "structure", "flops": flops}
            bench.time("structure fine-tuning", name, way, make, **what)
        clear(bench)


def fold(bench: Bench) -> None:
    """Fold a list of RNAs with the embedded model, decoding included, in both precisions."""
    rnas = random_sequences(4, 10, 40) if bench.smoke else random_sequences(256, 30, 300)
    for dtype in (torch.float32, torch.bfloat16):

        def make(dtype: torch.dtype = dtype) -> Callable[[], Any]:
            model = rk.load("nano-ss", device=bench.device, dtype=dtype)
            return lambda: rk.fold(rnas, model=model, energy=None, decoding="greedy")

        name = f"nano-ss, {len(rnas)} RNAs, {str(dtype).removeprefix('torch.')}"
        bench.time("fold", name, OURS, make, count=len(rnas), unit="structure")

    def giga() -> Callable[[], Any]:
        model = random_model(bench, "tiny" if bench.smoke else "giga", dtype=torch.bfloat16)
        model.head = StructureHead(model.config.dim).to(bench.device).eval()
        return lambda: rk.fold(rnas, model=model, energy=None, decoding="greedy")

    name = f"{'tiny' if bench.smoke else 'giga'}, {len(rnas)} RNAs, bfloat16"
    bench.time("fold", name, OURS, giga, count=len(rnas), unit="structure")
    clear(bench)


def profiles(bench: Bench) -> None:
    """Tell where the time of an embedding, of training steps and of the head goes."""
    big, small = ("tiny", "tiny") if bench.smoke else ("giga", "nano")
    rnas = random_sequences(4, 10, 40) if bench.smoke else random_sequences(64, 30, 500)

    def embedding() -> Callable[[], Any]:
        model = random_model(bench, big, dtype=torch.bfloat16)
        return lambda: rk.embed(rnas, model=model, pool="mean")

    def maps() -> Callable[[], Any]:
        with torch.device(bench.device):
            made, rows = StructureHead(HEAD_DIM).eval(), torch.randn(24 if bench.smoke else 200, HEAD_DIM)
        rows = rows.bfloat16()
        return torch.inference_mode()(lambda: made(rows))

    bench.profile(big, "embed", embedding)
    clear(bench)
    bench.profile(big, "pretraining step", lambda: pretraining_step(bench, big))
    clear(bench)
    bench.profile(small, "structure fine-tuning", lambda: structure_step(bench, small, together=True)[0])
    bench.profile("L=24" if bench.smoke else "L=200", "structure head", maps)


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "parity": parity,
    "head": head,
    "structures": structures,
    "embed": embed,
    "pretrain": pretrain,
    "half": half,
    "fold": fold,
    "paper": paper,
    "profile": profiles,
}
"""Sections in their order: what is quick and decides whether the rest means anything comes first."""
