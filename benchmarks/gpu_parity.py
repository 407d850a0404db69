"""Parity on a GPU: the golden data, the structure head against float64, structures in half precision."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rinalmo_kit as rk
from rinalmo_kit.model.attention import attention_backends
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.rna.alphabet import PAD
from tests.helpers.golden import golden_model

from . import half_precision
from .gpu import ROOT, Bench
from .gpu_models import SEED, config_of


def without_tf32(function: Callable[[], None]) -> None:
    """Call a function while float32 products are exact."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        function()
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def golden_files(bench: Bench) -> list[tuple[str, Path]]:
    """Return sizes and files of outputs of the official code: in the checkout, and beside it where they are."""
    given = os.environ.get("RINALMO_KIT_DATA")
    folders = [
        ROOT / "tests" / "data" / "golden",
        ROOT.parent / "shared" / "golden",
        ROOT / "shared" / "golden",
    ]
    folders += [Path(given) / "golden", Path(given).parent / "golden"] if given else []
    found = {}
    for size in ("tiny",) if bench.smoke else ("tiny", "nano", "micro"):  # giga's weights take too long
        paths = [folder / f"lm_{size}.npz" for folder in folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            found[size] = path
    return list(found.items())


golden = cache(golden_model)


def chosen(model: RiNALMo, choices: dict[str, Any]) -> RiNALMo:
    """Return a model that runs as it is told, by its attributes."""
    for name, value in choices.items():
        setattr(model, name, value)
    return model


@torch.inference_mode()
def distance(model: RiNALMo, path: Path, *, relative: bool) -> float:
    """Return the largest difference from the golden outputs, where there is a token; `relative` to their spread."""
    wanted_of, worst = np.load(path), 0.0
    for key in wanted_of.files:
        if not key.endswith(".tokens"):
            continue
        tokens = torch.from_numpy(wanted_of[key])
        kept = tokens != PAD
        output = model(tokens.to(model.device))
        for name in ("logits", "representation"):
            wanted = torch.from_numpy(wanted_of[key.replace("tokens", name)])[kept]
            found = getattr(output, name).float().cpu()[kept]
            difference = float((found - wanted).abs().max())
            worst = max(worst, difference / float(wanted.std()) if relative else difference)
    return worst


def parity(bench: Bench) -> None:
    """Compare with the golden data, each way and precision, and the structure head with itself in float64."""

    def encoder() -> None:
        work = "difference from the golden data"
        for size, path in golden_files(bench):
            for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16, relative")):
                ways = {
                    backend: {"attention": backend} for backend in attention_backends(bench.device, dtype)
                }
                if size == "tiny" and not bench.smoke:
                    ways |= {"compiled": {"compiled": True}, "not compiled": {"compiled": False}}
                for way, choices in ways.items():

                    def far(
                        size: str = size,
                        path: Path = path,
                        dtype: torch.dtype = dtype,
                        choices: dict[str, Any] = choices,
                    ) -> float:
                        model = chosen(copy.deepcopy(golden(size)).to(bench.device, dtype), choices)
                        return distance(model, path, relative=dtype == torch.bfloat16)

                    bench.note(work, size, f"{way}, {name}", far)

    without_tf32(encoder)
    without_tf32(lambda: head_parity(bench))


@torch.inference_mode()
def head_parity(bench: Bench) -> None:
    """Compare the head's logits with those of the CPU in float64."""
    torch.manual_seed(SEED)
    head = StructureHead(64).eval()
    for length in (20, 33) if bench.smoke else (50, 203, 600):
        rows = torch.randn(length + 2, 64)
        exact = StructureHead(64).double().eval()
        exact.load_state_dict(head.state_dict())
        wanted = exact(rows[1:-1].double())
        for dtype in (torch.float32, torch.bfloat16):

            def far(rows: Tensor = rows, wanted: Tensor = wanted, dtype: torch.dtype = dtype) -> float:
                part = rows.to(bench.device, dtype)
                found = head.to(bench.device)(part[1:-1])
                return float((found.cpu() - wanted).abs().max())

            def among(rows: Tensor = rows, wanted: Tensor = wanted, dtype: torch.dtype = dtype) -> float:
                several = [rows.to(bench.device, dtype), rows[: len(rows) - 5].to(bench.device, dtype)]
                maps = TASKS["structure"].apply_head_padded(with_head(head, bench), several, entries=10**9)
                return float((maps[0].cpu() - wanted).abs().max())

            name = str(dtype).removeprefix("torch.")
            bench.note("difference of the structure head from float64", f"L={length}", name, far)
            bench.note(
                "difference of the structure head from float64", f"L={length}", f"{name}, batch", among
            )


def with_head(head: StructureHead, bench: Bench) -> RiNALMo:
    """Return a small model with a head, which tasks ask for."""
    model = RiNALMo(config_of("tiny")).eval()
    model.head = head
    return model.to(bench.device)


def half(bench: Bench) -> None:
    """Compare structures in half precision, and those of the CPU, with float32 on the device."""
    rnas = half_precision.sequences(4 if bench.smoke else 60, examples=bench.smoke)
    exact = half_precision.probabilities(rk.load("nano-ss", device=bench.device), rnas)

    def share(other: list[Any]) -> float:
        both, either = half_precision.agreement(exact, other)
        return both / max(1, either)

    def of(device: Any, dtype: torch.dtype | None = None) -> float:
        return share(half_precision.probabilities(rk.load("nano-ss", device=device, dtype=dtype), rnas))

    work, size = "pairs above 0.2 as in float32", f"nano-ss, {len(rnas)} RNAs"
    bench.note(work, size, "bfloat16", lambda: of(bench.device, torch.bfloat16))
    bench.note(work, size, "float16", lambda: of(bench.device, torch.float16))
    few = slice(0, 3 if bench.smoke else 12)
    rnas, exact = rnas[few], exact[few]
    bench.note(work, f"nano-ss, {len(rnas)} RNAs", "float32 on the CPU", lambda: of("cpu"))
