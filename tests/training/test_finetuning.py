"""Fine-tuning: what is trained and when, every kind of task, modes, and killed runs that end as uninterrupted ones."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.losses import structure_loss
from rinalmo_kit.model.multimolecule import adapt
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.recipes import RECIPES, Schedule
from rinalmo_kit.training.finetuning import FineTuning, finetune, make_batch_plan, unfreezing_schedule
from tests.helpers.examples import QUIET, classes, hairpins, tiny

FAST = {"epochs": 6, "lr": 5e-3, "encoder_lr": 1.0, "train_embedding": True, "batch_size": 16}


# --- losses ------------------------------------------------------------------------------------------


def test_structure_loss_is_cross_entropy_over_the_upper_triangle():
    logits = torch.randn(9, 9, dtype=torch.float64)
    logits = logits.triu(1) + logits.triu(1).T
    pairs = np.array([[0, 8], [1, 7]])
    target = torch.zeros(9, 9)
    target[pairs[:, 0], pairs[:, 1]] = 1
    upper = torch.ones(9, 9).triu(1).bool()
    each = F.binary_cross_entropy_with_logits(logits.float()[upper], target[upper], reduction="none")
    assert torch.isclose(structure_loss(logits, pairs), each.mean())
    assert torch.isclose(structure_loss(logits, pairs, by_length=True), each.sum() / 9)
    assert structure_loss(logits, np.zeros((0, 2), dtype=np.int64)).isfinite()
    structures = [rk.Structure("ACGUACGUA", pairs), rk.Structure("ACGUACGUA", [])]
    both = TASKS["structure"].compute_loss("pairs", [logits, logits], structures)
    assert torch.isclose(both, (structure_loss(logits, pairs) + structure_loss(logits, pairs[:0])) / 2)


def test_losses_of_the_other_tasks():
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.1]])
    assert torch.isclose(
        TASKS["multiclass"].compute_loss("classes", logits, [1, 0]),
        F.cross_entropy(logits, torch.tensor([1, 0])),
    )
    one = logits[:, :1]
    expected = F.binary_cross_entropy_with_logits(one[:, 0], torch.tensor([1.0, 0.0]))
    assert torch.isclose(TASKS["binary"].compute_loss("binary", one, [1, 0]), expected)
    numbers = torch.tensor([1.0, 5.0])
    assert TASKS["regression"].compute_loss("mse", numbers, [1.0, 2.0]).item() == pytest.approx(4.5)
    assert TASKS["regression"].compute_loss("huber", numbers, [1.0, 2.0]).item() == pytest.approx(
        (0 + 2.5) / 2
    )  # delta 1


# --- what is trained -------------------------------------------------------------------------------------


def thawed(recipe, blocks=33):
    """Epoch → names of the parameters that are trained from then on, for a model of giga's depth."""
    model = RiNALMo(Config(8, blocks, heads=2))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        epoch: {names[id(p)] for p in found} for epoch, found in unfreezing_schedule(model, RECIPES[recipe])
    }


def blocks_of(names):
    return sorted({int(name.split(".")[2]) for name in names if ".blocks." in name})


def test_structure_thaws_three_blocks_of_giga_every_three_epochs():
    found = thawed("ss-bprna")
    assert {epoch: blocks_of(names) for epoch, names in found.items()} == {
        3: [30, 31, 32],
        6: [27, 28, 29],
        9: [24, 25, 26],
        12: [21, 22, 23],
    }  # spec §5
    assert "transformer.final_layer_norm.weight" in found[3]
    assert not any(
        "embedding" in name or "lm_mask_head" in name for names in found.values() for name in names
    )


def test_other_recipes_thaw_as_the_official_schedules_do():
    [(epoch, names)] = thawed("mrl").items()
    assert epoch == 3 and blocks_of(names) == list(range(6, 33))
    [(epoch, names)] = thawed("te-hek").items()
    assert epoch == 5 and blocks_of(names) == list(range(33))
    [(epoch, names)] = thawed("ncrna-0").items()
    assert epoch == 0 and blocks_of(names) == list(range(33)) and not any("beta" in name for name in names)
    [(epoch, names)] = thawed("splice-donor").items()
    assert epoch == 0 and any("beta" in name for name in names)
    assert not any("embedding" in name for name in names)


def test_depths_scale_with_the_number_of_blocks():
    assert {epoch: blocks_of(names) for epoch, names in thawed("ss-bprna", blocks=11).items()} == {
        3: [10], 6: [9], 9: [8], 12: [7],
    }  # fmt: skip
    assert {epoch: blocks_of(names) for epoch, names in thawed("ss-bprna", blocks=6).items()} == {
        3: [5], 6: [], 9: [4], 12: [],
    }  # fmt: skip
    assert blocks_of(thawed("mrl", blocks=6)[3]) == [1, 2, 3, 4, 5]


def test_rates_of_head_and_encoder():
    recipe = RECIPES["ss-bprna"]
    model = tiny(blocks=11)
    model.head = TASKS["structure"].new_head(32, loss=recipe.loss)
    run = FineTuning(model, recipe, make_batch_plan(recipe, [10, 20], seed=0), seed=0)
    groups, optimizer, schedule = run.groups()
    assert [group["lr"] for group in groups] == pytest.approx([1e-4] + [1e-5] * 4) and optimizer == "adam"
    assert schedule.factor(7000, total=10**5) == pytest.approx(0.1)


def test_frozen_parts_do_not_move(tmp_path):
    model = tiny(blocks=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    changes = {**FAST, "epochs": 2, "train_embedding": False, "unfreeze": ((1, 1 / 3),), "best": None}
    finetune(
        classes(40, seed=1), task="classification", model=model, output=tmp_path, changes=changes, **QUIET
    )
    moved = {k.split(".weight")[0] for k, v in before.items() if not torch.equal(model.state_dict()[k], v)}
    assert any("blocks.2" in key for key in moved) and not any("blocks.1" in key for key in moved)
    assert not any("embedding" in key or "lm_mask_head" in key for key in moved)
    assert all(parameter.requires_grad for parameter in model.parameters())


# --- own data ------------------------------------------------------------------------------------------


def test_classes_of_my_own(tmp_path):
    table = classes(240, seed=1, names=("rich", "poor", "purine"))
    model = finetune(table, task="classification", model=tiny(), output=tmp_path, changes=FAST, **QUIET)
    assert set(model.labels) == {"rich", "poor", "purine"} and not model.training
    path = tmp_path / "model.safetensors"
    unseen = classes(60, seed=2, names=("rich", "poor", "purine"))
    predicted = rk.predict(dict(zip(unseen["id"], unseen["sequence"], strict=True)), model=path)
    assert (predicted["label"] == unseen["label"]).mean() > 0.85
    assert predicted["name"].tolist() == unseen["id"].tolist()
    assert np.allclose(predicted[[f"P({label})" for label in model.labels]].sum(axis=1), 1)
    result = rk.evaluate(path, unseen, task="classification")
    assert result["accuracy"] == pytest.approx((predicted["label"] == unseen["label"]).mean())
    assert rk.load(path).about["start"] == "RiNALMo"


def test_a_window_is_all_a_model_is_shown(tmp_path):
    table = classes(24, seed=1).assign(split=["train"] * 16 + ["validation"] * 4 + ["test"] * 4)
    longer = table.assign(sequence="A" * 50 + table["sequence"] + "C" * 50)
    size = int(table["sequence"].str.len().min())
    models = []
    for name, rows in {"alone": table, "flanked": longer}.items():
        changes = {**FAST, "epochs": 1, "window": size}
        options = {"task": "classification", "output": tmp_path / name, "changes": changes, **QUIET}
        models.append(finetune(rows, model=tiny(), **options))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    saved = rk.load(tmp_path / "alone" / "model.safetensors")
    columns = [c for c in rk.predict(["ACGU"], model=saved) if c.startswith("P(")]
    found = [rk.predict(rows["sequence"].tolist(), model=saved)[columns] for rows in (table, longer)]
    assert saved.window == size and np.array_equal(*found)
    with pytest.raises(ValueError, match="structures are learned whole"):
        finetune(
            hairpins(12, seed=0), task="structure", model=tiny(), output=tmp_path / "s", changes={"window": 9}
        )


def test_numbers_of_my_own(tmp_path):
    table = classes(240, seed=1).assign(y=lambda t: 100 + 50 * t["gc"])
    options = {"task": "regression", "target": "y", "changes": {**FAST, "epochs": 8, "lr": 3e-3}}
    model = finetune(table, model=tiny(), output=tmp_path, **options, **QUIET)
    assert model.scaler[0] == pytest.approx(125, abs=5)
    unseen = classes(60, seed=2).assign(y=lambda t: 100 + 50 * t["gc"])
    result = rk.evaluate(tmp_path / "model.safetensors", unseen, task="regression", target="y")
    assert result["r2"] > 0.6 and result["spearman"] > 0.8
    short, together = unseen["sequence"][:1].tolist(), unseen["sequence"].tolist()
    one, all_of_them = rk.predict(short, model=model), rk.predict(together, model=model)
    assert one["prediction"][0] == pytest.approx(all_of_them["prediction"][0], abs=1e-4), (
        "no batch changes it"
    )


def test_structures_of_my_own(tmp_path):
    changes = {"epochs": 4, "lr": 2e-3, "encoder_lr": 1.0, "train_embedding": True}
    found = finetune(
        hairpins(300, seed=1), task="structure", model=tiny(), output=tmp_path, changes=changes, **QUIET
    )
    assert found.threshold in rk.metrics.THRESHOLDS
    unseen = hairpins(40, seed=3)
    score, trivial = (rk.evaluate(m, unseen)["f1"] for m in (tmp_path / "model.safetensors", "trivial"))
    assert score > trivial + 0.05, (score, trivial)
    assert isinstance(rk.fold(unseen[0].sequence, model=tmp_path / "model.safetensors"), rk.Structure)


@pytest.mark.parametrize(
    ("table", "task", "message"),
    [
        ({"sequence": ["ACGU"], "label": ["a"]}, "classification", "of the class 'a': expected two"),
        ({"sequence": ["ACGU", "ACXU"], "label": ["a", "b"]}, "classification", "'row 2', position 3: 'X'"),
        ({"sequence": ["ACGU", None], "label": ["a", "b"]}, "classification", "'row 2': expected a sequence"),
        (
            {"id": ["p", "q"], "sequence": ["A", "C"], "y": [1, "tall"]},
            "regression",
            "'q': expected a number",
        ),
        ({"sequence": ["ACGU"], "y": [float("nan")]}, "regression", "'row 1': expected a number, found nan"),
        ({"seq": ["ACGU"], "label": [1]}, "classification", "needs the columns sequence and label"),
        ({"sequence": ["ACGU"], "dot_bracket": ["(.)"]}, "structure", "row 1"),
        (
            {"sequence": ["ACGU"], "label": [1], "split": ["dev"]},
            "classification",
            "'row 1': expected train, validation or test in the column split, found 'dev'",
        ),
        ({"sequence": ["ACGU"], "label": [1]}, "folding", "task='folding': expected one of"),
    ],
)
def test_bad_tables_are_refused_by_row(tmp_path, table, task, message):
    with pytest.raises(ValueError, match=message):
        finetune(pd.DataFrame(table), task=task, model=tiny(), output=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_class_without_training_rows_is_refused(tmp_path):
    table = classes(8, seed=0).assign(split=["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
    table.loc[7, "label"] = "new"
    with pytest.raises(
        ValueError, match=r"'rna 7' is of the class 'new', which has no training row \(test\)"
    ):
        finetune(table, task="classification", model=tiny(), output=tmp_path, **QUIET)


# --- modes -----------------------------------------------------------------------------------------------


def test_frozen_mode_trains_the_head_alone(tmp_path):
    model = tiny(dropout=0.1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    table = classes(160, seed=1).rename(columns={"gc": "y"})
    changes = {**FAST, "epochs": 25, "lr": 0.01}
    finetune(
        table,
        task="regression",
        target="y",
        model=model,
        mode="frozen",
        output=tmp_path,
        changes=changes,
        **QUIET,
    )
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert rk.evaluate(model, classes(60, seed=2), task="regression", target="gc")["r2"] > 0.5


def test_lora_ends_as_an_ordinary_model(tmp_path):
    model = tiny()
    keys, bias = list(model.state_dict()), model.transformer.blocks[0].transition[2].bias.clone()
    weight = model.transformer.blocks[0].mh_attn.Wqkv.weight.clone()
    finetune(classes(120, seed=1), task="classification", mode="lora", model=model, output=tmp_path,
             changes={**FAST, "epochs": 10}, **QUIET)  # fmt: skip
    assert [key for key in model.state_dict() if not key.startswith("head")] == keys
    assert not torch.equal(model.transformer.blocks[0].mh_attn.Wqkv.weight, weight)
    assert torch.equal(model.transformer.blocks[0].transition[2].bias, bias)
    assert (
        rk.evaluate(tmp_path / "model.safetensors", classes(60, seed=2), task="classification")["accuracy"]
        > 0.8
    )


def test_an_adapter_is_stored_beside_the_model(tmp_path):
    base = rk.save(tiny(), tmp_path / "base.safetensors")
    options = {"task": "classification", "mode": "lora", "changes": {**FAST, "epochs": 2}, **QUIET}
    model = finetune(classes(40, seed=1), model=base, output=tmp_path / "run", **options)
    path = tmp_path / "run" / "adapter.safetensors"
    assert path.stat().st_size < 0.8 * path.with_name("model.safetensors").stat().st_size
    loaded, whole = (
        rk.load(path, base=base, device="cpu"),
        rk.load(path.with_name("model.safetensors"), device="cpu"),
    )
    assert loaded.info == whole.info == model.info and loaded.about["start"] == "base.safetensors"
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value) and torch.equal(whole.state_dict()[key], value), (
            key
        )
    before = path.read_bytes()
    again = finetune(classes(40, seed=1), model=base, output=tmp_path / "run", **options)  # a finished run
    assert path.read_bytes() == before and again.adapter is not None
    rk.save(again, tmp_path / "again.safetensors", adapter=True)
    for key, value in rk.load(tmp_path / "again.safetensors", device="cpu").state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    finetune(classes(40, seed=1), model=model, output=tmp_path / "next", **options)  # from what is in no file
    assert {file.name for file in (tmp_path / "next").glob("*.safetensors")} == {"model.safetensors"}
    with pytest.raises(ValueError, match="trained on a model that is not in a file of its own"):
        rk.save(model, tmp_path / "next.safetensors", adapter=True)
    start = tmp_path / "again.safetensors"  # an adapter, whose weights are in no file
    finetune(classes(40, seed=1), model=start, output=tmp_path / "third", **options)
    assert {file.name for file in (tmp_path / "third").glob("*.safetensors")} == {"model.safetensors"}


def test_an_adapter_of_a_run_in_another_precision_keeps_the_hash_of_its_base(tmp_path):
    base = rk.save(tiny(), tmp_path / "base.safetensors")
    options = {"task": "classification", "mode": "lora", "changes": {**FAST, "epochs": 1}, **QUIET}
    model = finetune(classes(40, seed=1), model=base, output=tmp_path, precision="bf16-true", **options)
    loaded = rk.load(tmp_path / "adapter.safetensors", device="cpu")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value.float(), rtol=1e-2, atol=1e-2)


def test_an_encoder_of_another_kind_is_fine_tuned_and_found_again(tmp_path):
    peers = pytest.importorskip("multimolecule")
    config = peers.UtrLmConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    torch.manual_seed(0)
    encoder = adapt(peers.UtrLmModel(config))
    changes = {"epochs": 8, "lr": 3e-3, "encoder_lr": 1.0, "train_embedding": True}
    finetune(
        classes(160, seed=1), task="classification", model=encoder, output=tmp_path, changes=changes, **QUIET
    )
    path, unseen = tmp_path / "model.safetensors", classes(60, seed=2)
    assert rk.evaluate(path, unseen, task="classification")["accuracy"] > 0.8
    assert torch.equal(next(rk.load(path).parameters()).cpu(), next(encoder.parameters()).cpu())


def test_a_fitting_head_is_kept(tmp_path):
    model = rk.load("nano-ss", device="cpu")
    head = model.head
    rows = rk.datasets.load_structures("examples")
    changes = {"epochs": 1, "lr": 0.0, "batch_size": 4}
    finetune(rows[:12], task="structure", model=model, output=tmp_path, changes=changes, **QUIET)
    assert model.head is head


# --- trouble ----------------------------------------------------------------------------------------------


def test_nan_loss_names_the_batch(tmp_path):
    model = tiny()
    model.embedding.weight.data[7] = torch.nan
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 0 on .*hairpin"):
        finetune(hairpins(30, seed=1), task="structure", model=model, output=tmp_path, **QUIET)
    assert not (tmp_path / "model.safetensors").exists()


def test_another_run_in_the_folder_is_refused(tmp_path):
    options = {"task": "classification", "output": tmp_path, "changes": {**FAST, "epochs": 1}}
    finetune(classes(24, seed=1), model=tiny(), **options, **QUIET)
    with pytest.raises(ValueError, match=r"holds another run[\s\S]*data: "):
        finetune(classes(24, seed=5), model=tiny(), **options, **QUIET)


def test_other_targets_of_the_same_sequences_are_another_run(tmp_path):
    rows = classes(24, seed=1).assign(other=lambda t: 1 - t["gc"])
    options = {"task": "regression", "output": tmp_path, "changes": {**FAST, "epochs": 1}}
    finetune(rows, target="gc", model=tiny(), **options, **QUIET)
    with pytest.raises(ValueError, match="holds another run"):
        finetune(rows, target="other", model=tiny(), **options, **QUIET)


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    options = {"task": "classification", "output": tmp_path, "changes": {**FAST, "epochs": 1}}
    first = finetune(classes(24, seed=1), model=tiny(), **options, **QUIET)
    monkeypatch.setattr(FineTuning, "training_step", None)
    again = finetune(classes(24, seed=1), model=tiny(), **options, **QUIET)
    weights = again.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in first.state_dict().items())
    assert again.labels == first.labels and again.about == first.about


def test_ctrl_c_stops_and_the_run_goes_on_afterwards(tmp_path, monkeypatch):
    """Lightning would leave the process, and Ctrl-C without effect in it: the death of a notebook's kernel."""
    options = {"task": "classification", "changes": {**FAST, "epochs": 2}, "checkpoint_every": 1}
    rows, step, handler = classes(60, seed=1), FineTuning.training_step, signal.getsignal(signal.SIGINT)

    def pressed(run, batch, i):
        if run.position == 3:
            raise KeyboardInterrupt
        return step(run, batch, i)

    monkeypatch.setattr(FineTuning, "training_step", pressed)
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped at step 3 of 6; started again it resumes from its last"
    ):
        finetune(rows, model=tiny(), output=tmp_path / "a", **options, **QUIET)
    assert signal.getsignal(signal.SIGINT) is handler and not (tmp_path / "a" / "model.safetensors").exists()
    monkeypatch.setattr(FineTuning, "training_step", step)
    one, other = (finetune(rows, model=tiny(), output=tmp_path / run, **options, **QUIET) for run in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_run_cut_short_is_not_taken_for_finished(tmp_path):
    options = {"task": "classification", "output": tmp_path, "changes": {**FAST, "epochs": 2}}
    with pytest.raises(ValueError, match="max_steps: the length of a run is the recipe's epochs"):
        finetune(classes(60, seed=1), model=tiny(), max_steps=2, **options, **QUIET)
    with pytest.raises(TimeoutError, match="max_time is over at step 0 of 6; start the same run again"):
        finetune(classes(60, seed=1), model=tiny(), max_time={"seconds": 0}, **options, **QUIET)
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "model.safetensors").exists()
    assert finetune(classes(60, seed=1), model=tiny(), **options, **QUIET).labels == ("poor", "rich")


def test_lightning_keeps_quiet(tmp_path, caplog):
    finetune(
        classes(24, seed=1),
        task="classification",
        model=tiny(),
        output=tmp_path,
        changes={"epochs": 1},
        **QUIET,
    )
    assert not [record for record in caplog.records if "lightning" in record.name]


def test_a_short_run_has_a_curve(tmp_path):
    options = {name: value for name, value in QUIET.items() if name != "log_every_n_steps"}
    changes = {**FAST, "epochs": 2}
    finetune(
        classes(24, seed=1), task="classification", model=tiny(), output=tmp_path, changes=changes, **options
    )
    curve = pd.read_csv(tmp_path / "log" / "version_0" / "metrics.csv")
    assert curve["train_loss"].notna().sum() >= 2 and curve["val_accuracy"].notna().sum() == 2


def test_an_option_that_lightning_does_not_have(tmp_path):
    with pytest.raises(ValueError, match=r"Lightning takes no such option: .*'devces'"):
        finetune(classes(24, seed=1), task="classification", model=tiny(), output=tmp_path, devces=2)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown recipe 'ss'; known: ss-bprna"):
        finetune("ss", output="nowhere")
    with pytest.raises(ValueError, match="mode='half'"):
        finetune("mrl", output="nowhere", mode="half")
    with pytest.raises(ValueError, match="say what is to be learned"):
        finetune(classes(4, seed=0), output="nowhere")


RUN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from tests.helpers.examples import QUIET, classes, hairpins, tiny
import rinalmo_kit as rk
from rinalmo_kit.training import finetuning
folder, task, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
step = finetuning.FineTuning.training_step
def dying(self, batch, i):
    if self.position == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, i)
finetuning.FineTuning.training_step = dying
rows = hairpins(60, seed=1) if task == "structure" else classes(60, seed=1)
changes = {{"epochs": 4, "batch_size": 4, "lr": 2e-3, "unfreeze": ((0, 0.5), (2, 1.0))}}
finetuning.finetune(rows, task=task, model=tiny(dropout=0.1), output=folder, checkpoint_every=5, changes=changes,
                    **QUIET)
"""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["structure", "classification"])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, task):
    script = tmp_path / "run.py"
    script.write_text(RUN.format(tests=str(Path(__file__).parents[2])))

    def run(folder, kill_at):
        command = [sys.executable, str(script), str(tmp_path / folder), task, str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = run("whole", -1)
    assert whole.returncode == 0, whole.stderr
    for kill_at in (3, 18, 33):  # before the first checkpoint, and after some, across the thaw at epoch 2
        assert run("killed", kill_at).returncode == -signal.SIGKILL
    assert (done := run("killed", -1)).returncode == 0, done.stderr
    one, other = (rk.load(tmp_path / folder / "model.safetensors") for folder in ("whole", "killed"))
    assert one.threshold == other.threshold and one.labels == other.labels
    weights = other.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in one.state_dict().items())


TOGETHER = """
import os, sys
sys.path.insert(0, {tests!r})
import torch
from tests.helpers.examples import QUIET, classes, tiny
import rinalmo_kit as rk
folder, processes = sys.argv[1], int(sys.argv[2])
changes = {{"epochs": 3, "lr": 5e-3, "unfreeze": ((1, 0.5), (2, 1.0))}}
options = dict(devices=2, strategy="ddp_find_unused_parameters_true") if processes == 2 else {{}}
model = rk.finetune(classes(96, seed=1), task="classification", model=tiny(), output=folder, changes=changes, **QUIET,
                    **options)
torch.save(model.state_dict(), f"{{folder}}/rank{{os.environ.get('LOCAL_RANK', 0)}}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TOGETHER.format(tests=str(Path(__file__).parents[2])))
    for processes in (1, 2):
        command = [sys.executable, str(script), str(tmp_path / str(processes)), str(processes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, first, second = (
        torch.load(tmp_path / name, weights_only=True) for name in ("1/rank0.pt", "2/rank0.pt", "2/rank1.pt")
    )
    for key, value in one.items():
        assert torch.equal(first[key], second[key]) and torch.allclose(first[key], value, atol=1e-6), key


def test_dropout_follows_the_seed(tmp_path):
    def weights(folder, seed):
        model = finetune(classes(24, seed=1), task="classification", model=tiny(dropout=0.3), seed=seed,
                         output=tmp_path / folder, changes={**FAST, "epochs": 1}, **QUIET)  # fmt: skip
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights("a", 0), weights("b", 0))
    assert not torch.equal(weights("a2", 0), weights("c", 1))


def test_embedded_models_recipe_runs_on_real_rows(data, tmp_path):
    recipe = replace(RECIPES["pico-ss"], max_lengths=(60,), epochs=1, steps=2)
    model = finetune(recipe, output=tmp_path, limit=40, **QUIET)
    assert model.config == Config.pico() and model.threshold is not None
    assert recipe.schedule == Schedule(warmup_steps=200, decay="cosine", floor=0.01)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_one_bar_without_messages_of_lightning(progress, tmp_path, capfd):
    quiet = {"accelerator": "cpu", "logger": False}
    finetune(
        classes(8, seed=0),
        task="classification",
        model=tiny(),
        output=tmp_path,
        changes={"epochs": 2},
        progress=progress,
        **quiet,
    )
    out, told = capfd.readouterr()
    assert not out
    if progress:
        assert "2/2" in told and "loss=" in told and "accuracy=" in told
    assert bool(told) is progress
