"""The planner's formulas beside torch's own counts, and the paper's run."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import rinalmo_kit as rk
from rinalmo_kit._utils.hardware import GPUS, gpu_named, peak_flops
from rinalmo_kit.cli import main
from rinalmo_kit.model import cpu_training
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.flops import parameters
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.recipes import PAPER
from rinalmo_kit.training.costs import activation_bytes, training_flops
from rinalmo_kit.training.plan import memory_of, plan

LENGTHS = [120] * 20 + [300] * 8


def step(model, *, checkpointing=False):
    """One training step on sequences of LENGTHS tokens with the language-model head on 15 % of them."""
    model.train().gradient_checkpointing = checkpointing
    tokens = rk.tokenize(["ACGU" * (n // 4) + "AC"[: n % 4] for n in (length - 2 for length in LENGTHS)])
    packing = model.packing(tokens)
    packed = model.encode(tokens, packing)
    chosen = torch.arange(len(packed)) % 20 < 3
    logits = model.lm_mask_head(packed[chosen])
    return F.cross_entropy(logits.float(), tokens[packing.batch_index, packing.positions][chosen])


@pytest.mark.parametrize("config", [Config.nano(), Config(64, 3, heads=4), Config(480, 1)])
def test_parameters_are_counted(config):
    assert parameters(config) == sum(p.numel() for p in RiNALMo(config).parameters())


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Without what the model does on a CPU only: it computes some of a step twice to keep less."""
    monkeypatch.setattr(cpu_training, "is_supported", lambda x: False)


@pytest.mark.parametrize("config", [(64, 3, 4), (160, 2, 5)])
def test_flops_are_those_torch_counts(as_on_a_gpu, config):
    model = RiNALMo(Config(*config, attention_dropout=0.1))
    model.attention = "loop"
    with FlopCounterMode(display=False) as counter:
        step(model).backward()
    assert training_flops(model.config, LENGTHS)[0] == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_activations_are_those_autograd_keeps(as_on_a_gpu, precision, checkpointing):
    """Of fused attention, as on a GPU: on a CPU that is without dropout of attention."""
    model = RiNALMo(Config(128, 4, heads=4, attention_dropout=0.0))
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and not is_weight(tensor, model):
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    half = precision == "bf16"
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        step(model, checkpointing=checkpointing)
    measured = sum(size for size, _ in kept.values()) / sum(LENGTHS)
    expected = activation_bytes(model.config, precision=precision, gradient_checkpointing=checkpointing)[0]
    assert expected == pytest.approx(measured, rel=0.15)


def is_weight(tensor, model):
    """Whether it is autocast's copy of a weight, which counts as one."""
    return tensor.dtype == torch.bfloat16 and any(
        p.shape in (tensor.shape, tensor.T.shape) for p in model.parameters() if p.dim() == tensor.dim() == 2
    )


def test_the_papers_run_is_plausible():
    paper = {
        "model": "giga",
        "n_gpus": 7,
        "steps": PAPER.steps,
        "tokens_per_batch": PAPER.tokens_per_batch,
    }
    full = plan(17_000_000 * 1024, gradient_checkpointing=True, **paper)
    assert full.fits and full.memory.total > 0.5 * GPUS["a100-80gb"].memory
    assert not plan(17_000_000 * 1024, **paper).fits
    # if all sequences were of full length, two weeks would be a high but possible utilisation; they are shorter
    assert 0.3 < full.mfu_of(days=14) < 0.5
    assert full.days == pytest.approx(14 * full.mfu_of(days=14) / full.mfu)


def test_memory_by_strategy():
    options = {"n_gpus": 8, "gradient_checkpointing": False}
    ddp, fsdp = (memory_of(Config.giga(), 1000, strategy=s, **options) for s in ("ddp", "fsdp"))
    assert ddp.adam == 8 * 650_901_793 and fsdp.adam == ddp.adam / 8
    assert fsdp.weights < ddp.weights / 4 and fsdp.activations == ddp.activations
    largest = plan(10**9, model="giga", gpu="l4", steps=10).largest_batch
    assert plan(10**9, model="giga", gpu="l4", steps=10, tokens_per_batch=largest).fits
    assert not plan(10**9, model="giga", gpu="l4", steps=10, tokens_per_batch=largest + 100).fits
    assert plan(10**9, model="giga", gpu="t4", steps=10, tokens_per_batch=1).largest_batch > 0


def test_plan_counts_a_corpus_as_training_does():
    from rinalmo_kit.datasets.corpus.store import ListCorpus
    from rinalmo_kit.training.masking import batches_of

    rng = np.random.default_rng(0)
    records = [(str(i), "A" * int(n)) for i, n in enumerate(rng.integers(16, 2000, 3000))]
    corpus = ListCorpus(records, families=[str(i // 3) for i in range(3000)])
    planned = plan(corpus, epochs=2, tokens_per_batch=20_000)
    trained = len(batches_of(corpus, tokens_per_batch=20_000, max_tokens=1024, epochs=2).batch_sampler)
    assert planned.steps == pytest.approx(trained, rel=0.05)
    short = plan(corpus, epochs=2, tokens_per_batch=20_000, max_tokens=100)
    assert short.steps < 0.2 * planned.steps and short.attention_share < planned.attention_share


def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match=r"unknown GPU 'b100' \(did you mean 'h100'\?\); known are a100-80gb"
    ):
        plan(1000, gpu="b100", steps=1)
    with pytest.raises(ValueError, match="unknown size 'tera'; known are pico, nano"):
        plan(1000, model="tera", steps=1)
    with pytest.raises(ValueError, match=r"either steps=… or epochs=…"):
        plan(1000)
    with pytest.raises(ValueError, match="mfu=2"):
        plan(1000, steps=1, mfu=2)


def test_gpus_agree_with_lightning_where_its_numbers_are_dense():
    throughput = pytest.importorskip("lightning.fabric.utilities.throughput")
    pairs = {"a100-80gb": "a100", "h100": "h100 sxm", "h100-pcie": "h100 pcie", "l40": "l40", "l4": "l4"}
    for ours, theirs in pairs.items():
        assert GPUS[ours].flops == throughput._CUDA_FLOPS[theirs][torch.bfloat16]
    assert gpu_named("NVIDIA H100 80GB HBM3") == "h100" and gpu_named("NVIDIA H100 PCIe") == "h100-pcie"
    assert gpu_named("NVIDIA A100 80GB PCIe") == "a100-80gb" and gpu_named("NVIDIA L40S") == "l40s"
    assert gpu_named("NVIDIA RTX A4000") is None


def test_speed_of_this_cpu():
    assert 1e8 < peak_flops("cpu") < 1e14
    assert 1e7 < peak_flops("cpu", half=True) < 1e14
    assert peak_flops("meta") is None


def test_command_line(capsys, tmp_path):
    command = ["plan", "--tokens", "1.7e10", "--size", "giga", "--gpu", "h100", "--n", "8", "--epochs", "2"]
    assert main([*command, "--tokens-per-batch", "1e6", "--strategy", "fsdp", "--checkpointing"]) == 0
    shown = capsys.readouterr().out
    assert "650.9 M parameters" in shown and "8 × H100, fsdp, with gradient checkpointing" in shown
    assert "34,000 steps" in shown and "fsdp + ckpt" in shown and "←" in shown
    fasta = tmp_path / "rnas.fasta"
    fasta.write_text(">a\nACGU\n>b\nGGCC\n")
    assert main(["plan", str(fasta), "--steps", "10"]) == 0
    assert main(["plan", "--steps", "10"]) == 2
    assert "give a corpus or --tokens" in capsys.readouterr().err


def test_a_plan_of_less_than_a_day_is_in_hours():
    short, long = (plan(10**9, gpu="rtx-4090", epochs=n) for n in (1, 1000))
    assert short.days < 1 < long.days
    assert f"{24 * short.days:.3g} hours" in str(short) and f"{long.days:.3g} days" in str(long)
    assert "1 × RTX-4090" in str(short)
