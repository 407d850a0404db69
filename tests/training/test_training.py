"""The engine that training runs share: plans of batches, schedules, folders that hold another run."""

import dataclasses

import numpy as np
import pytest

from rinalmo_kit._utils.run_folders import claim_folder
from rinalmo_kit.recipes import RECIPES, Schedule
from rinalmo_kit.training.batch_plan import BatchPlan, shuffled_batches
from rinalmo_kit.training.finetuning import make_batch_plan
from rinalmo_kit.training.trainer import default_precision


def flat(batches):
    return sorted(i for batch in batches for i in batch)


def plan(epochs=3, **options):
    return BatchPlan(
        lambda e: shuffled_batches(range(5), batch_size=2, seed=(7, e)), epochs=epochs, **options
    )


def test_plan_is_a_function_of_the_seed():
    assert list(plan()) == list(plan()) and len(plan()) == 9
    first, second = list(plan())[:3], list(plan())[3:6]
    assert flat(first) == flat(second) == [0, 1, 2, 3, 4] and first != second
    assert list(plan(steps=4)) == list(plan())[:4] and len(plan(steps=4)) == 4


@pytest.mark.parametrize("start", range(10))
def test_plan_goes_on_from_any_batch(start):
    resumed = plan()
    resumed.start = start
    assert list(resumed) == list(plan())[start:] and len(resumed) == 9
    if start < 9:
        assert resumed.epoch_at(start) == start // 3


def test_plan_is_shared_out_between_processes():
    shares = []
    for rank in range(2):
        one = plan()
        one.rank, one.world = rank, 2
        shares.append(list(one))
    for whole, a, b in zip(plan(), *shares, strict=True):
        assert len(whole) == 1 or (sorted(a + b) == sorted(whole) and not set(a) & set(b))
        assert a and b  # no process waits for another


def test_plan_of_endless_epochs_needs_steps():
    with pytest.raises(ValueError, match="number of epochs or of steps"):
        BatchPlan(lambda e: [[0]])
    assert list(BatchPlan(lambda e: [[e]], steps=3)) == [[0], [1], [2]]
    with pytest.raises(ValueError, match="epoch 0 has no batch"):
        BatchPlan(lambda e: [], epochs=1)


def test_long_sequences_are_left_out_whole_and_others_taken_in_turn():
    recipe = dataclasses.replace(
        RECIPES["pico-ss"], epochs=3, max_lengths=(50, 100), unlabelled=2, batch_size=2
    )
    plan = make_batch_plan(recipe, [30, 80, 40], seed=0, others=[20, 20, 20])
    batches = list(plan)
    taken = [{i for batch in batches for epoch, i in batch if epoch == number} for number in range(3)]
    assert taken == [{0, 2, 3, 4}, {0, 1, 2, 5, 3}, {0, 1, 2, 4, 5}]
    assert max(map(len, batches)) == 2 and len(make_batch_plan(recipe, [30, 80, 40], seed=0)) == 1 + 2 + 2


def test_schedule_of_the_papers_pretraining_and_of_its_recipes():
    cosine = Schedule(warmup_steps=10, warmup_from=0.01, decay="cosine", floor=0.2)
    rates = [cosine.factor(step, total=110) for step in range(110)]
    assert rates[0] == pytest.approx(0.01 + 0.99 / 10) and rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.6) and min(rates[10:]) >= 0.2 and np.all(np.diff(rates[10:]) <= 0)
    linear = Schedule(decay="linear", decay_steps=7000, floor=0.1)  # torch's LinearLR, spec §5
    assert [round(linear.factor(s, total=10**6), 4) for s in (0, 3500, 7000, 9000)] == [1.0, 0.55, 0.1, 0.1]
    assert Schedule().factor(5, total=9) == 1.0


def test_a_folder_with_another_run_is_refused(tmp_path):
    claim_folder(tmp_path / "run" / "run.json", {"recipe": "mrl", "seed": 0, "lr": 1e-4}, what="run")
    claim_folder(tmp_path / "run" / "run.json", {"recipe": "mrl", "seed": 0, "lr": 1e-4}, what="run")
    with pytest.raises(ValueError, match=r"holds another run[\s\S]*seed: 0 there, 1 asked for"):
        claim_folder(tmp_path / "run" / "run.json", {"recipe": "mrl", "seed": 1, "lr": 1e-4}, what="run")


def test_of_another_recipe_only_what_differs_is_told(tmp_path):
    old = dataclasses.asdict(RECIPES["mrl"])
    claim_folder(tmp_path / "run.json", {"recipe": old, "start": "micro", "data": 1}, what="run")
    with pytest.raises(ValueError, match="holds another run") as found:
        claim_folder(
            tmp_path / "run.json", {"recipe": {**old, "epochs": 3}, "start": "nano", "data": 2}, what="run"
        )
    told = str(found.value).splitlines()[1:]
    assert told == [
        "  data: other training rows there than asked for",
        f"  epochs: {old['epochs']} there, 3 asked for",
        "  start: 'micro' there, 'nano' asked for",
    ]


def test_precision_on_cpu():
    assert default_precision("cpu") == "32-true"
