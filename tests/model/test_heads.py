"""The prediction heads against the outputs of the official code, their gradients and their memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from rinalmo_kit.rna.alphabet import PAD
from tests.helpers.golden import CONFIGS, golden_model, golden_state

MAKE = {
    "ss": StructureHead,
    "splice": lambda dim: ClassificationHead(dim, 128, 1),
    "ncrna": lambda dim: ClassificationHead(dim, 256, 88),
    "mrl": RibosomeLoadHead,
}
SIZES = ["tiny", "nano"]
GRAD = pytest.mark.parametrize("grad", [False, True], ids=["inference", "grad"])


def golden_head(golden: Path, task: str, size: str) -> nn.Module:
    head = MAKE[task](CONFIGS[size].dim)
    head.load_state_dict(
        load_file(golden / f"head_{task}_{size}.safetensors")
    )  # strict: all keys, all shapes
    return head.eval()


def assert_near(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert float((actual - torch.from_numpy(expected)).abs().max()) <= tolerance


@pytest.mark.parametrize(
    ("task", "count"), [("ss", 254_593), ("splice", 164_097), ("ncrna", 350_552), ("mrl", 77_889)]
)
def test_parameter_counts(task: str, count: int) -> None:
    assert sum(p.numel() for p in MAKE[task](1280).parameters()) == count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", MAKE)
def test_weights_of_the_recipe(golden: Path, task: str, size: str) -> None:
    state = golden_head(golden, task, size).state_dict()
    recipe = golden_state({f"{task}.{key}": value.shape for key, value in state.items()})
    for key, value in state.items():
        assert torch.equal(recipe[f"{task}.{key}"], value), key


@GRAD
@pytest.mark.parametrize("size", SIZES)
def test_golden_structure_head(golden: Path, size: str, grad: bool) -> None:
    head, arrays = golden_head(golden, "ss", size), np.load(golden / f"heads_{size}.npz")
    cases = [key.removesuffix(".rep") for key in arrays if key.startswith("ss") and key.endswith(".rep")]
    assert len(cases) == 6
    with torch.set_grad_enabled(grad):
        for case in cases:
            logits = head(torch.from_numpy(arrays[f"{case}.rep"]))
            assert_near(logits.detach(), arrays[f"{case}.logits"], 5e-4)
            assert torch.equal(logits, logits.mT)
            assert not logits.diagonal(dim1=-2, dim2=-1).any()


@GRAD
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", ["splice", "ncrna"])
def test_golden_classification_heads(golden: Path, task: str, size: str, grad: bool) -> None:
    head, arrays = golden_head(golden, task, size), np.load(golden / f"heads_{size}.npz")
    with torch.set_grad_enabled(grad):
        assert_near(head(torch.from_numpy(arrays["cls.rep"])).detach(), arrays[f"{task}.logits"], 1e-4)


@GRAD
@pytest.mark.parametrize("size", SIZES)
def test_golden_ribosome_load_head(golden: Path, size: str, grad: bool) -> None:
    """From tokens to predictions; how far a batch is padded changes them, as in the official code."""
    head, arrays = golden_head(golden, "mrl", size), np.load(golden / f"heads_{size}.npz")
    model = golden_model(size)
    for case in ("batchmax", "pad130", "nomask"):
        tokens = torch.from_numpy(arrays[f"mrl.{case}.tokens"])
        with torch.set_grad_enabled(grad):
            out = head(model(tokens).representation, tokens != PAD).detach()
            assert_near(out, arrays[f"mrl.{case}.out"], 1e-4)
            if f"mrl.{case}.rep" in arrays:
                rep = torch.from_numpy(arrays[f"mrl.{case}.rep"])
                assert_near(head(rep, tokens != PAD).detach(), arrays[f"mrl.{case}.out"], 1e-4)
                rep[tokens == PAD] = 7.0  # what stands at padding is ignored
                assert_near(head(rep, tokens != PAD).detach(), arrays[f"mrl.{case}.out"], 1e-4)
    assert np.abs(arrays["mrl.batchmax.out"] - arrays["mrl.pad130.out"]).max() > 1e-3


def test_dropout_of_the_ribosome_load_head() -> None:
    head, rep, valid = RibosomeLoadHead(16), torch.randn(4, 20, 16), torch.ones(4, 20, dtype=torch.bool)
    assert not torch.equal(head(rep, valid), head(rep, valid))
    head.eval()
    assert torch.equal(head(rep, valid), head(rep, valid))


def check_gradients(head: nn.Module, *inputs: Tensor) -> None:
    """Compare the gradients of input and parameters with finite differences, in double precision."""
    head = head.double().eval()
    names, values = zip(*head.named_parameters(), strict=True)
    values = [value.detach().clone().requires_grad_() for value in values]
    first = inputs[0].double().requires_grad_()

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(head, dict(zip(names, parameters, strict=True)), (x, *inputs[1:]))

    assert torch.autograd.gradcheck(call, (first, *values), atol=1e-6)


def test_gradients_of_the_structure_head() -> None:
    check_gradients(StructureHead(2, channels=2), torch.randn(2, 4, 2))


def test_gradients_of_the_ribosome_load_head() -> None:
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[1, 4:] = False
    check_gradients(RibosomeLoadHead(2, channels=2, blocks=2), torch.randn(2, 6, 2), valid)


def test_gradients_of_the_classification_head() -> None:
    check_gradients(ClassificationHead(3, 4, 2), torch.randn(2, 3))


def test_structure_head_in_both_modes_and_in_a_batch() -> None:
    head, rep = StructureHead(16).eval(), torch.randn(3, 12, 16)
    before = rep.clone()
    with torch.inference_mode():
        batch = head(rep)
        one = head(rep[1])
    torch.testing.assert_close(batch[1], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(head(rep).detach(), batch, atol=1e-5, rtol=0)
    assert torch.equal(rep, before)
    assert head(rep.mT.contiguous().mT).shape == (3, 12, 12)  # any strides


def test_structure_head_needs_two_nucleotides() -> None:
    head = StructureHead(8)
    assert head(torch.randn(2, 8)).shape == (2, 2)
    for length in (0, 1):
        with pytest.raises(ValueError, match="at least 2 nucleotides"):
            head(torch.randn(length, 8))


def test_half_precision_keeps_what_a_large_mean_of_the_map_would_round_away():
    torch.manual_seed(0)
    head = StructureHead(32)
    with torch.no_grad():
        head.linear_in.bias += 100 * torch.rand(64)
    representation = torch.randn(40, 32)
    found = []
    for enabled in (False, True):
        head.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = head(representation)
        logits.float().square().mean().backward()
        found.append((logits.detach().float(), {n: p.grad.clone() for n, p in head.named_parameters()}))
    (exact, gradients), (half, others) = found
    assert (half - exact).abs().max() < 0.02 * exact.std()
    for name, gradient in gradients.items():
        assert torch.cosine_similarity(gradient.flatten(), others[name].flatten(), dim=0) > 0.99, name


PEAK = """
import re, sys, torch
from pathlib import Path
from rinalmo_kit.model.heads import StructureHead

def memory(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

dim, length = map(int, sys.argv[1:])
head = StructureHead(dim).eval()
with torch.inference_mode():
    head(torch.randn(40, dim))  # libraries and their workspaces
    representation, before = torch.randn(length, dim), memory("VmRSS")
    head(representation)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("length", [400, pytest.param(800, marks=pytest.mark.slow)])
def test_the_tensor_of_all_pairs_is_never_built(length: int) -> None:
    """The official head needs L × L × 2d float32 numbers, 6.6 GB for 800 nt; this one less than a tenth."""
    command = [sys.executable, "-c", PEAK, "1280", str(length)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    used, naive = int(done.stdout), length * length * 2 * 1280 * 4
    print(f"{used / 2**20:.0f} MiB of {naive / 2**20:.0f} MiB")
    assert length * length * 64 * 4 < used < naive / 10
