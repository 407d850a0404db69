"""What a training step does on a GPU, as far as a CPU can show it: nothing in it waits for the device."""

from __future__ import annotations

import os

import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.datasets.corpus.store import ListCorpus
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.training import trainer
from rinalmo_kit.training.finite import BEHIND, Copied, FiniteLosses
from rinalmo_kit.training.masking import batches_of
from rinalmo_kit.training.pretraining import PretrainingRun, pretrain
from tests.helpers.pretraining_run import QUIET, SHORT, repeats, tiny

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Event:
    """Stands in for an event of CUDA."""

    def __init__(self) -> None:
        self.done, self.waited = False, False

    def query(self) -> bool:
        return self.done

    def synchronize(self) -> None:
        self.waited = not self.done
        self.done = True


def test_losses_of_a_gpu_are_looked_at_when_they_have_arrived() -> None:
    losses, events = FiniteLosses(), [Event() for _ in range(BEHIND + 3)]
    for step, event in enumerate(events[:-1]):
        value = torch.tensor(float("inf") if step == 3 else 1.0)
        if step == BEHIND + 1:
            events[3].done = events[2].done = True
            with pytest.raises(FloatingPointError, match=r"loss is inf at step 3 on \['rna 3'\]"):
                losses.put(value, event, step, lambda step=step: [f"rna {step}"])
        else:
            losses.put(value, event, step, lambda step=step: [f"rna {step}"])
    assert [event.waited for event in events[:4]] == [
        True,
        True,
        False,
        False,
    ]  # the first two: too far behind
    losses.put(torch.tensor(float("nan")), events[-1], 99, lambda: ["last"])
    with pytest.raises(FloatingPointError, match="loss is nan at step 99"):
        losses.finish()
    assert events[-1].waited and not losses.waiting
    losses.finish()


def test_a_checkpoint_waits_for_the_losses(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is not finite is found before the weights that it spoiled are written."""

    def later(self, loss, step, names):
        self.waiting.append(Copied(loss.detach(), Event(), step, names))

    monkeypatch.setattr(FiniteLosses, "add", later)
    model = RiNALMo(tiny(0.0))
    model.embedding.weight.data[6] = torch.nan
    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        pretrain(repeats(20), output=tmp_path, model=model, **SHORT, **QUIET)
    assert not (tmp_path / "last.ckpt").exists()


def test_the_loss_of_a_step_is_made_without_masks_of_the_device() -> None:
    """Boolean masks, nonzero and item() wait for a GPU: none may see a tensor of it, here the meta device."""
    corpus = ListCorpus([(f"r{i}", s) for i, s in enumerate(repeats(20))], holdout=0)
    data = batches_of(corpus, tokens_per_batch=300, max_tokens=60, steps=2)
    model = RiNALMo(Config(32, 2, heads=4, attention_dropout=0.0)).train()
    expected = PretrainingRun(model, data, None, corpus=corpus, lr=1e-3, seed=0)
    there = RiNALMo(Config(32, 2, heads=4)).train().to("meta")
    run = PretrainingRun(there, data, None, corpus=corpus, lr=1e-3, seed=0).to("meta")
    for batch in data:
        nll, targets = run.losses(batch)  # meta tensors have no values: whatever asks for one raises
        nll.sum().backward()
        known, wanted = expected.losses(batch)
        assert nll.shape == known.shape and nll.device.type == "meta" and targets.shape == wanted.shape
        assert wanted.tolist() == batch.tokens[batch.chosen].tolist()
    assert all(p.grad is not None for p in there.transformer.parameters())


def test_encoding_asks_no_device_for_a_value() -> None:
    """As on MPS or CUDA; and no float64, which MPS does not have, is made there."""
    from rinalmo_kit.inference.batching import encode_sequences
    from rinalmo_kit.rna.alphabet import clean

    model = RiNALMo(Config(32, 2, heads=4)).eval().to("meta")
    kinds = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            out = function(*arguments, **(options or {}))
            for one in out if isinstance(out, tuple | list) else [out]:
                if isinstance(one, torch.Tensor) and one.device.type == "meta":
                    kinds.add(one.dtype)
            return out

    with torch.inference_mode(), Watch():
        rows = encode_sequences(model, [clean("ACGUAC"), clean("GGA")])
    assert [tuple(one.shape) for one in rows] == [(8, 32), (5, 32)]
    assert torch.float32 in kinds and torch.float64 not in kinds


def test_processes_that_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    assert trainer.loading_processes("auto") == 5 and trainer.loading_processes(0) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert trainer.loading_processes("auto", "gpu") == 8 and trainer.loading_processes("auto", "cpu") == 0


@needs_cuda
def test_a_step_on_a_gpu_does_not_wait(tmp_path) -> None:
    """CUDA itself tells of whatever waits for it."""
    corpus = ListCorpus([(f"r{i}", s) for i, s in enumerate(repeats(40))], holdout=0)
    data = batches_of(corpus, tokens_per_batch=300, max_tokens=60, steps=6)
    model = RiNALMo(Config(64, 2, heads=4, attention_dropout=0.0)).train()
    run = PretrainingRun(model, data, None, corpus=corpus, lr=1e-3, seed=0).cuda()
    optimizer = trainer.make_optimizer("adamw", [{"params": list(model.parameters()), "lr": 1e-3}])
    assert optimizer.defaults["fused"]
    batches = list(data)
    for number, batch in enumerate(batches):
        torch.cuda.set_sync_debug_mode("error" if number > 2 else "default")
        try:
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                nll = run.losses(batch)[0].sum()
            nll.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_pretraining_on_a_gpu(tmp_path, compiled: bool) -> None:
    options = {key: value for key, value in QUIET.items() if key != "accelerator"}
    model = pretrain(repeats(60), output=tmp_path, model=tiny(0.0), compiled=compiled, **SHORT, **options)
    assert rk.load(tmp_path / "model.safetensors", config=tiny(0.0)).device.type == "cuda"
    assert all(bool(p.isfinite().all()) for p in model.parameters())
