"""What makes training fast on a GPU, on a CPU: batches of maps, averaged weights, runs by the clock."""

from __future__ import annotations

import time
from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.model.tasks import StructureTask
from rinalmo_kit.recipes import RECIPES, Schedule, with_changes
from rinalmo_kit.recipes.splits import Example
from rinalmo_kit.training.batch_plan import map_batches
from rinalmo_kit.training.clock import ENDLESS
from rinalmo_kit.training.finetuning import FineTuning, finetune, make_batch_plan
from rinalmo_kit.training.pretraining import pretrain
from rinalmo_kit.training.run_options import check_recipe
from tests.helpers.examples import QUIET, classes, hairpins, tiny

CHANGES = {"epochs": 2, "lr": 2e-3, "map_entries": 6000, "batch_size": 16, "optimizer": "adamw"}


def train(output, *, rows=60, model=None, changes=CHANGES, **options):
    model = tiny(dropout=0.1) if model is None else model
    return finetune(
        hairpins(rows, seed=1),
        task="structure",
        model=model,
        output=output,
        changes=changes,
        **options,
        **QUIET,
    )


def assert_equal(one, other, **tolerance):
    state = other.state_dict()
    for key, value in one.state_dict().items():
        torch.testing.assert_close(state[key], value, **{"atol": 0, "rtol": 0, **tolerance}, msg=key)


# --- batches of maps --------------------------------------------------------------------------------------


def test_an_epoch_holds_every_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(20, 300, 500)
    rows = np.arange(1000, 1500)
    batches = map_batches(rows, lengths, entries=400_000, most=64, seed=(0, 1))
    assert sorted(i for batch in batches for i in batch) == rows.tolist()
    sizes = [lengths[np.array(batch) - 1000] for batch in batches]
    assert all(len(s) <= 64 and (len(s) == 1 or len(s) * s.max() ** 2 <= 400_000) for s in sizes)
    assert np.mean([s.sum() / (len(s) * s.max()) for s in sizes]) > 0.9  # little padding
    means = [s.mean() for s in sizes]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.4  # not from short to long
    assert batches == map_batches(rows, lengths, entries=400_000, most=64, seed=(0, 1))
    assert batches != map_batches(rows, lengths, entries=400_000, most=64, seed=(0, 2))


def test_a_plan_of_map_batches_resumes_at_any_batch():
    lengths = np.random.default_rng(0).integers(20, 60, 40).tolist()
    recipe = with_changes(RECIPES["pico-ss"], {**CHANGES, "unlabelled": 5, "max_lengths": (40, 60)})
    plan = make_batch_plan(recipe, lengths, seed=0, others=[30] * 8)
    whole = list(plan)
    for number, most in enumerate((40, 60)):
        taken = sorted(i for batch in whole for epoch, i in batch if epoch == number)
        wanted = [i for i, n in enumerate(lengths) if n <= most]
        assert taken == wanted + sorted(40 + (number * 5 + k) % 8 for k in range(5))
    for start in (1, 3, len(whole) - 1):
        resumed = make_batch_plan(recipe, lengths, seed=0, others=[30] * 8)
        resumed.start = start
        assert list(resumed) == whole[start:]


class Losses(lightning.Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, *_):
        self.found.append(float(trainer.callback_metrics["train_loss"]))


def test_maps_together_train_as_one_after_the_other(tmp_path, monkeypatch):
    found, calls = [], []
    apply = StructureTask.apply_head_padded
    monkeypatch.setattr(
        StructureTask, "apply_head_padded", lambda *a, **k: calls.append(len(a[2])) or apply(*a, **k)
    )
    for together in (None, True):
        losses = Losses()
        changes = {**CHANGES, "lr": 1e-4}
        train(
            tmp_path / str(together), model=tiny(), changes=changes, batch_maps=together, callbacks=[losses]
        )
        found.append(losses.found)
        assert bool(calls) == bool(together)  # on a CPU, one after the other
    assert len(found[0]) > 4 and found[1] == pytest.approx(found[0], rel=1e-4)
    assert max(calls) > 2


def test_batches_may_be_prepared_by_other_processes(tmp_path):
    changes = {**CHANGES, "mutate": 0.2, "epochs": 1}
    assert_equal(
        train(tmp_path / "alone", rows=20, changes=changes),
        train(tmp_path / "workers", rows=20, changes=changes, workers=1),
    )


def test_only_structures_have_maps():
    with pytest.raises(ValueError, match="map_entries=9: only structures have maps"):
        check_recipe(replace(RECIPES["mrl"], map_entries=9))
    with pytest.raises(ValueError, match="map_entries=0: expected a whole number, 1 or more"):
        with_changes(RECIPES["pico-ss"], {"map_entries": 0})


# --- averaged weights ---------------------------------------------------------------------------------------


class Seen(lightning.Callback):
    """The weights after each step, and those that are validated."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, run, *_):
        self.steps.append(torch.nn.utils.parameters_to_vector(run.model.parameters()).detach().clone())

    def on_validation_batch_start(self, trainer, run, *_):
        self.validated.append(torch.nn.utils.parameters_to_vector(run.model.parameters()).detach().clone())


def test_a_run_ends_with_the_moving_average_which_is_what_it_validates(tmp_path):
    seen = Seen()
    model = train(tmp_path, rows=40, changes={**CHANGES, "ema": 0.8}, callbacks=[seen])
    average = seen.steps[0]
    for number, weights in enumerate(seen.steps[1:], 1):
        keep = min(0.8, number / (number + 10))
        average = keep * average + (1 - keep) * weights
    final = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.testing.assert_close(final, average, atol=1e-6, rtol=0)
    assert torch.equal(seen.validated[-1], final) and not torch.equal(final, seen.steps[-1])
    assert_equal(model, rk.load(tmp_path / "model.safetensors", device="cpu"))


@pytest.mark.parametrize("end", ["error", "out of time", "no time"])
def test_a_resumed_run_ends_with_the_same_average(tmp_path, monkeypatch, end):
    best = "f1" if end == "error" else None  # a run that is out of time is validated once more
    changes = {**CHANGES, "ema": 0.9, "best": best}
    whole = train(tmp_path / "whole", rows=40, changes=changes, checkpoint_every=3)
    step, taken = FineTuning.training_step, []

    def stopping(self, batch, i):
        taken.append(self.position)
        if self.position == 5 and end == "error" and len(taken) == 6:
            raise InterruptedError
        if self.position == 5 and end == "out of time" and len(taken) == 6:
            time.sleep(3)  # longer than the run may take
        return step(self, batch, i)

    monkeypatch.setattr(FineTuning, "training_step", stopping)
    options = {"out of time": {"max_time": {"seconds": 3}}, "no time": {"max_time": {"seconds": 0}}}
    with pytest.raises((InterruptedError, TimeoutError)):
        train(tmp_path / "cut", rows=40, changes=changes, checkpoint_every=3, **options.get(end, {}))
    before = len(taken)
    resumed = train(tmp_path / "cut", rows=40, changes=changes, checkpoint_every=3)
    assert taken[before:] == list(range({"error": 3, "out of time": 6, "no time": 0}[end], taken[-1] + 1))
    assert taken[-1] > 6 and resumed.threshold == whole.threshold
    assert_equal(whole, resumed)


@pytest.mark.parametrize("value", [1, -0.1, float("nan"), True])
def test_a_decay_is_a_number_below_one(value, tmp_path):
    with pytest.raises(ValueError, match="ema="):
        train(tmp_path, changes={"ema": value})
    with pytest.raises(ValueError, match="ema="):
        pretrain(["ACGU"], steps=1, ema=value, output=tmp_path)


# --- by the clock ---------------------------------------------------------------------------------------------


def test_a_schedule_follows_the_share_of_the_time():
    schedule = Schedule(warmup_steps=2, decay="cosine", floor=0.0)
    rates = [schedule.factor(5, total=ENDLESS, over=share) for share in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1.0, 0.5, 0.0]) and schedule.factor(0, total=ENDLESS, over=0.5) == 0.5


def test_a_run_by_the_clock_ends_when_its_time_is_up_and_resumes_what_is_left(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("rinalmo_kit.training.clock.time.monotonic", lambda: now[0])
    step, rates, cut = FineTuning.training_step, [], [True]

    def ticking(self, batch, i):
        rates.append(self.lr_schedulers().get_last_lr()[0])
        now[0] += 1
        if len(rates) == 13 and cut[0]:
            raise InterruptedError
        return step(self, batch, i)

    monkeypatch.setattr(FineTuning, "training_step", ticking)
    schedule = Schedule(decay="linear", floor=0.0)
    changes = {**CHANGES, "seconds": 20, "ema": 0.9, "schedule": schedule}
    with pytest.raises(InterruptedError):
        train(tmp_path, changes=changes, checkpoint_every=5)
    now[0], cut[0] = 1000.0, False
    model = train(tmp_path, changes=changes, checkpoint_every=5)
    assert len(rates) == 13 + 10  # from the checkpoint after 10 steps
    assert rates[:13] == pytest.approx([2e-3 * (1 - n / 20) for n in range(13)])
    assert rates[13:] == pytest.approx([2e-3 * (1 - n / 20) for n in range(10, 20)])
    assert model.about["recipe"] and (tmp_path / "model.safetensors").exists()


def test_pretraining_by_the_clock_with_averaged_weights(tmp_path):
    sequences = [e.sequence for e in hairpins(40, seed=0)]
    options = {"model": tiny().config, "tokens_per_batch": 256, "output": tmp_path, **QUIET}
    model = pretrain(sequences, seconds=1.5, ema=0.9, validate_every=10**9, **options)
    assert model.about["pretraining"]["seconds"] == 1.5 and model.about["pretraining"]["ema"] == 0.9
    assert torch.isfinite(torch.nn.utils.parameters_to_vector(model.parameters())).all()
    with pytest.raises(ValueError, match="by one of them"):
        pretrain(sequences, seconds=1, steps=3, **options)


def test_a_clock_is_for_one_process(tmp_path):
    recipe = with_changes(RECIPES["pico-ss"], {"seconds": 5})
    model = tiny()
    model.head = rk.load("nano-ss", device="cpu").head
    run = FineTuning(model, recipe, make_batch_plan(recipe, [10, 20], seed=0), seed=0)
    run.trainer = type("Two", (), {"world_size": 2, "global_rank": 0, "strategy": None, "barebones": False})()
    with pytest.raises(ValueError, match="for one process"):
        run.setup("fit")


def test_examples_of_two_datasets_share_a_run(tmp_path):
    """More examples may have structures too: this is how known structures of several tables are mixed."""
    more = [Example(s.name, s.sequence, s) for s in hairpins(6, seed=5)]
    model = train(tmp_path, rows=20, changes={**CHANGES, "unlabelled": 3, "mutate": 0.1}, unlabelled=more)
    assert 0 < model.threshold < 1


def test_options_do_not_reach_other_tasks(tmp_path):
    model = finetune(
        classes(24, seed=1), task="classification", model=tiny(), output=tmp_path, batch_maps=True,
        changes={"epochs": 1, "ema": 0.9}, **QUIET,
    )  # fmt: skip
    assert model.labels
