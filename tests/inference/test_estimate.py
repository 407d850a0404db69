"""Estimates beside torch's own counts of operations, and beside the memory a fresh process takes."""

import io
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import rinalmo_kit as rk
from rinalmo_kit.cli import main
from rinalmo_kit.inference import estimate
from rinalmo_kit.inference.batching import encode_sequences, token_budget
from rinalmo_kit.inference.estimate import MB
from rinalmo_kit.inference.estimate import estimate as estimate_job
from rinalmo_kit.model import batched_structure_head, cpu_training
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.flops import encoder_flops, head_flops
from rinalmo_kit.model.heads import StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo

MEASURE = """
import sys
from pathlib import Path
import torch
import rinalmo_kit as rk
import rinalmo_kit.inference.folding

def status(key):
    return 1024 * float(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0])

task, name, lengths = sys.argv[1], sys.argv[2], map(int, sys.argv[3:])
model = rk.model.RiNALMo(rk.model.Config.nano()).eval() if name == "nano" else name
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model = rk.load(name, device="cpu") if model == name else model
kept = getattr(rk, task)([("GCAU" * n)[:n] for n in lengths], model=model)
print(status("VmHWM") - before)
"""


@pytest.mark.parametrize("config", [(64, 3, 4), (320, 2, 20)])
def test_flops_of_the_encoder_are_those_torch_counts(monkeypatch, config):
    monkeypatch.setattr(
        cpu_training, "is_supported", lambda x: False
    )  # plain products, which torch can count
    model = RiNALMo(Config(*config)).eval()
    model.attention = "loop"
    lengths = [30, 30, 90, 400]
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # others are not counted
        encode_sequences(model, ["ACGUA" * (n // 5) for n in lengths])
    expected = encoder_flops(model.config, [n + 2 for n in lengths])
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_flops_of_the_structure_head_are_those_torch_counts():
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        StructureHead(64)(torch.randn(150, 64))
    assert head_flops([150]) == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("task", "name", "lengths"),
    [
        ("embed", "nano", [30 + 47 * i % 471 for i in range(400)]),
        ("embed", "nano", [30 + 47 * i % 471 for i in range(100)]),
        ("fold", "nano-ss", [700]),
    ],
)
def test_memory_is_within_a_quarter_of_what_a_process_takes(task, name, lengths):
    model = RiNALMo(Config.nano()).eval() if name == "nano" else name
    expected = estimate_job(lengths, model=model, task=task, device="cpu").peak
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, task, name, *map(str, lengths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert expected == pytest.approx(float(output), rel=0.25), (expected / MB, float(output) / MB)


def test_sequences_files_and_lengths_say_the_same(tmp_path):
    path = tmp_path / "three.fasta"
    path.write_text(">a\nACGU\nAC\n>b\nGG\n>c\nACGUACGUA\n")
    said = [
        estimate_job(x, device="cpu") for x in ([6, 2, 9], ["ACGUAC", "GG", "ACGUACGUA"], path, str(path))
    ]
    assert {(s.sequences, s.tokens, s.longest, s.task) for s in said} == {(3, 23, 9, "fold")}
    assert all(s.seconds > 0 and s.fits for s in said)


def test_nothing_is_loaded_for_a_name(monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(estimate, "ready_model", load)
    giga = estimate_job([100, 2000], model="giga-ss-bprna", device="cpu")
    assert giga.weights == 4 * 650901793 and giga.task == "fold"
    half = estimate_job([100, 2000], model="giga-ss-bprna", device="cpu", dtype=torch.float16)
    assert half.weights == giga.weights / 2
    assert "1 of 2 sequences are above the trained length of 1022" in giga.notes[0]


def test_a_loaded_model_adds_no_weights_and_pooling_keeps_a_row_a_sequence():
    model = rk.load("nano", device="cpu")
    whole, pooled = (estimate_job([100] * 50, model=model, pool=pool) for pool in (None, "mean"))
    assert whole.weights == 0
    assert (whole.results, pooled.results) == (4 * 320 * 5000, 4 * 320 * 50)


def test_time_is_operations_over_the_measured_rate_shown_as_a_range(monkeypatch):
    monkeypatch.setattr(
        estimate, "cpu_flops", lambda dtype: {torch.float32: 1e11, torch.float16: 5e10}[dtype]
    )
    job = estimate_job([1000], model="nano-ss", device="cpu")
    work = (job.encoder_flops + job.head_flops) / (estimate.EFFICIENCY * 1e11)
    assert job.seconds == pytest.approx(
        work + 2 * estimate.CALL
    )  # the encoder and the head are called once each
    assert job.seconds_range == pytest.approx((job.seconds / 1.5, job.seconds * 1.5))
    assert "time        {:.2g} to {:.2g} s".format(*job.seconds_range) in str(job)
    half = estimate_job([1000], model="nano-ss", device="cpu", dtype=torch.float16)
    assert half.seconds == pytest.approx(2 * work + 2 * estimate.CALL)


def test_a_list_is_folded_in_batches_of_tokens(monkeypatch):
    monkeypatch.setattr(estimate, "cpu_flops", lambda dtype: float("inf"))
    embedded, folded = (
        estimate_job([76] * 60, model="nano-ss", task=task, device="cpu") for task in ("embed", "fold")
    )
    batches = math.ceil(60 / (token_budget(Config.nano(), torch.device("cpu")) // 78))
    assert embedded.seconds == pytest.approx(batches * estimate.CALL)
    assert folded.seconds == pytest.approx((batches + 60) * estimate.CALL)
    assert folded.buffers == embedded.buffers


def test_a_time_that_nothing_is_known_of(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job = estimate_job([100], model="nano-ss", device="cuda")
    assert (
        np.isnan(job.seconds)
        and "time        unknown" in str(job)
        and "nothing was measured" in job.notes[-1]
    )


def test_what_does_not_fit_says_what_to_do(monkeypatch):
    need = estimate_job([2000], device="cpu")
    monkeypatch.setattr(estimate, "available_memory", lambda device: need.peak - 1)
    low = estimate_job([2000], device="cpu")
    assert low.fits and low.head < need.head and "float16" in low.notes[1]
    assert not (huge := estimate_job([100_000], device="cpu")).fits
    assert "leave out the longest" in huge.notes[-1] and "does NOT fit" in str(huge)
    kept = estimate_job([1000] * 100_000, model="nano", device="cpu")
    assert not kept.fits and "pool='mean'" in kept.notes[-1]


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([], {}, "no sequences"),
        ([10, 0], {}, r"lengths \[10, 0\]"),
        ({"x": ""}, {}, "'x' is empty"),
        ([10], {"model": "nano", "task": "fold"}, "nano has no head to fold with.*nano-ss"),
        ([10], {"task": "train"}, "task='train'"),
        ([10], {"model": "tera"}, "unknown model 'tera'"),
        *(([10], {"device": device}, rf"device={str(device)!r}: expected cpu, cuda")
          for device in ("x", "", "cpu:x", "cuda:-1", "gpu", "meta", "xla", "CPU", 1.5)),
        ([10], {"dtype": "float16"}, "dtype='float16': expected a type of floating-point"),
        ([10], {"dtype": torch.int8}, "dtype=torch.int8"),
        ([10], {"pool": "median"}, "pool='median' .did you mean 'mean'..: expected None, 'cls', 'mean', 'std' or"),
        *((empty, {}, "no sequences") for empty in ((), {}, np.zeros(0), np.zeros(0, int), iter([]), torch.zeros(0))),
        *((empty, {}, "no sequences") for empty in (io.StringIO(""), io.StringIO("\n\n"))),
        *(([10, bad], {}, r"lengths \[10(\.0)?, .*expected whole numbers of nucleotides, at least 1 each")
          for bad in (np.nan, np.inf, -np.inf, -3, 2.5, 10**30, 1j, "ACGU")),
        *((np.array([10, bad]), {}, "expected whole numbers") for bad in (np.nan, -1, 0.5)),
        (np.array([2**63 + 7], np.uint64), {}, "expected whole numbers"),
        (torch.tensor([-4]), {}, "expected whole numbers"),
        (np.ones((2, 2), int), {}, "expected whole numbers"),
        ([7, [8, 9]], {}, "expected whole numbers"),
        ({-1}, {}, r"lengths \[-1\]"),
        ([True, True], {}, "expected whole numbers"),
        (5, {}, "lengths 5: expected whole numbers"),
        (float("nan"), {}, "lengths nan: expected whole numbers"),
    ],
)  # fmt: skip
def test_errors_name_the_input(lengths, options, message):
    with pytest.raises(ValueError, match=message):
        estimate_job(lengths, **options)


@pytest.mark.parametrize(
    "lengths", [[3, 4], (3, 4), range(3, 5), {3, 4}, np.array([3, 4], np.uint8), torch.tensor([3, 4]), iter([3, 4]),
                {"a": 3, "b": 4}.values(), [np.int64(3), 4], ["ACG", "ACGU"], iter(["ACG", "ACGU"])]
)  # fmt: skip
def test_lengths_in_any_form(lengths):
    found = estimate_job(lengths, device="cpu")
    assert (found.sequences, found.tokens, found.longest) == (2, 11, 4)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps", torch.device("cpu")])
def test_devices_that_are_elsewhere_can_be_asked_for(device):
    assert estimate_job([10], device=device).device == str(device)


@pytest.mark.parametrize("options", [["--device", "x"], ["--device", ""], ["--task", "fold", "-m", "nano"]])
@pytest.mark.parametrize("content", [">a\nACGU\n", ""])
def test_the_command_line_says_what_is_wrong(tmp_path, capsys, options, content):
    path = tmp_path / "one.fasta"
    path.write_text(content)
    assert main(["estimate", str(path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rinalmo-kit: error: ") and error.count("\n") == 1


def test_an_empty_file_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "none.fasta"
    path.touch()
    assert main(["estimate", str(path)]) == 2
    assert "no sequences" in capsys.readouterr().err


def test_command_line(tmp_path, capsys):
    path = tmp_path / "one.fasta"
    path.write_text(">a\n" + "ACGU" * 300 + "\n")
    assert main(["estimate", str(path), "-m", "giga-ss-bprna", "--task", "fold", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "fold with giga-ss-bprna on cpu" in out and "1,202 tokens" in out and "above the trained" in out


def test_maps_that_a_gpu_computes_together_count(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    few, many = (estimate_job([100] * n, model="nano-ss", device="cuda") for n in (1, 1000))
    assert many.head == 4 * 64 * 4 * batched_structure_head.INFERENCE_ENTRIES > 100 * few.head
    assert estimate_job([100] * 1000, model="nano-ss", device="cpu").head < many.head / 100
