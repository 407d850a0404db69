"""Tasks as objects: what they say of themselves, targets in cells, and numbers of nucleotides from table to score."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit.inference.bulk import run_bulk
from rinalmo_kit.model.heads import NucleotideHead
from rinalmo_kit.model.losses import observed_loss
from rinalmo_kit.model.metadata import METADATA_FIELDS, ModelInfo
from rinalmo_kit.model.tasks import TASKS, RegressionTask, task_of, user_task, user_tasks
from tests.helpers.examples import QUIET, tiny
from tests.helpers.model_files import content, rejected, small, written

FAST = {"epochs": 8, "lr": 5e-3, "encoder_lr": 1.0, "train_embedding": True, "batch_size": 8}


def reactivities(n, *, seed):
    """RNAs whose A and G react, and others do not; every tenth number was not measured."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        sequence = "".join(rng.choice(list("ACGU"), rng.integers(12, 25)))
        values = np.array([{"A": 2.0, "G": 1.0}.get(letter, 0.0) for letter in sequence])
        values[rng.random(len(sequence)) < 0.1] = np.nan
        values[0] = 0.5
        rows.append({"id": f"rna{i}", "sequence": sequence, "reactivity": values})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reactivity")
    torch.manual_seed(0)
    table = reactivities(48, seed=0)
    model = rk.finetune(
        table, task="nucleotide-regression", model=tiny(), output=folder, changes=FAST, **QUIET
    )
    return folder, table, model


@pytest.mark.parametrize("name", TASKS)
def test_a_task_recognises_its_own_head(name):
    task = TASKS[name]
    head = task.new_head(16, ("a", "b", "c"))
    assert task_of(head) is task
    again = task.head_from_state(head.state_dict(), 16)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in head.state_dict().items()
    }
    others = [
        t for t in TASKS.values() if t.head is not task.head and t.head_from_state(head.state_dict(), 16)
    ]
    assert not others
    assert task.loss in task.losses and task.metric in task.monitors and name in TASKS


def test_names_of_users():
    assert user_tasks() == ("structure", "classification", "regression", "nucleotide-regression")
    assert user_task("classification", 2) is TASKS["binary"]
    assert user_task("classification", 3) is TASKS["multiclass"]
    with pytest.raises(ValueError, match="task='folding': expected one of structure, classification"):
        user_task("folding")
    assert task_of(None) is None and task_of(torch.nn.Linear(2, 2)) is None


@pytest.mark.parametrize(
    "cell",
    ["0.5 nan -1", "0.5,,-1", "[0.5, null, -1]", [0.5, None, -1], (0.5, float("nan"), -1),
     np.array([0.5, np.nan, -1]), "0.5\tNA\t-1e0", ["0.5", "", "-1"]],
    ids=repr,
)  # fmt: skip
def test_numbers_in_a_cell(cell):
    found = TASKS["nucleotide-regression"].check_cell("a", "ACG", cell)
    np.testing.assert_array_equal(found, [0.5, np.nan, -1])


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("0.5 1", "'a': 2 numbers for 3 nucleotides: expected one for each"),
        ("0.5 x 1", "'a', position 2: expected a number, or nan where there is none, found 'x'"),
        ("0.5 inf 1", "'a', position 2: expected a number"),
        ([0.5, True, 1], "'a', position 2: expected a number"),
        ("nan nan nan", "'a': expected a number for one nucleotide at least"),
        (0.5, "'a': expected a number for each nucleotide, found 0.5"),
        (None, "'a': expected a number for each nucleotide, found None"),
    ],
)
def test_numbers_that_are_none(cell, told):
    with pytest.raises(ValueError, match=told):
        TASKS["nucleotide-regression"].check_cell("a", "ACG", cell)


def test_missing_numbers_do_not_count_in_the_loss():
    outputs = torch.tensor([1.0, 2.0, 7.0], requires_grad=True)
    loss = observed_loss("mse", outputs, torch.tensor([0.0, 2.0, float("nan")]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert outputs.grad.tolist() == pytest.approx([1.0, 0.0, 0.0])
    task = TASKS["nucleotide-regression"]
    two = task.compute_loss(
        "mse", [torch.tensor([1.0, 2.0]), torch.tensor([7.0])], [np.array([0, 2]), np.array([np.nan])]
    )
    assert two.item() == pytest.approx(0.5)


def test_reactivities_are_learned_saved_and_predicted(trained):
    folder, table, model = trained
    observed = np.concatenate(table["reactivity"])
    assert model.scaler[0] == pytest.approx(np.nanmean(observed), abs=0.1) and model.labels is None
    unseen = reactivities(12, seed=1)
    sequences = dict(zip(unseen["id"], unseen["sequence"], strict=True))
    found = rk.predict(sequences, model=folder / "model.safetensors")
    assert list(found.columns) == ["name", "prediction"]
    assert [len(one) for one in found["prediction"]] == unseen["sequence"].str.len().tolist()
    alone = rk.predict(sequences["rna3"], model=model)["prediction"][0]
    np.testing.assert_allclose(alone, found["prediction"][3], atol=1e-4)
    result = rk.evaluate(folder, unseen, task="nucleotide-regression", draws=20)
    targets, predicted = np.concatenate(unseen["reactivity"]), np.concatenate(found["prediction"])
    kept = ~np.isnan(targets)
    expected = rk.metrics.regression_scores(targets[kept], predicted[kept])
    assert result["spearman"] == pytest.approx(expected["spearman"], abs=1e-4) and result["spearman"] > 0.8
    assert result["pearson"] == pytest.approx(expected["pearson"], abs=1e-4)
    split = reactivities(30, seed=2).assign(split=["train", "validation", "test"] * 10)
    trivial = rk.evaluate("trivial", split, task="nucleotide-regression", draws=0)
    assert trivial["pearson"] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(
        ValueError, match="'simple' predicts classes and numbers; own data is about numbers of"
    ):
        rk.evaluate("simple", unseen, task="nucleotide-regression")
    with pytest.raises(
        ValueError, match=r"own data has numbers to predict; .* predicts numbers of nucleotides"
    ):
        rk.evaluate(model, unseen.assign(y=1.0), task="regression", target="y")
    with pytest.raises(ValueError, match="cannot fold: it has a NucleotideHead"):
        rk.fold("ACGUACGU", model=model)


def test_reactivities_in_files(trained, tmp_path, capsys):
    folder, table, model = trained
    fasta = tmp_path / "rna.fasta"
    fasta.write_text(
        "".join(f">{n}\n{s}\n" for n, s in zip(table["id"], table["sequence"], strict=True)) + ">bad\nX1\n"
    )
    path = folder / "model.safetensors"
    assert cli.main(["predict", str(fasta), "-m", str(path), "-o", str(tmp_path / "out.csv"), "-q"]) == 1
    found = pd.read_csv(tmp_path / "out.csv")
    expected = rk.predict(dict(zip(table["id"], table["sequence"], strict=True)), model=model)["prediction"]
    for text, numbers in zip(found["prediction"], expected, strict=True):
        np.testing.assert_allclose(np.array(text.split(" "), dtype=float), numbers, rtol=1e-4, atol=1e-4)
    run_bulk("predict", fasta, tmp_path / "shards", model=path, shard_size=20)
    shards = pd.read_parquet(tmp_path / "shards")
    assert len(shards) == len(table) + 1 and shards["prediction"].isna().sum() == 1
    for numbers, wanted in zip(shards["prediction"], expected, strict=False):
        np.testing.assert_allclose(numbers, wanted, rtol=1e-4, atol=1e-4)
    text = table.assign(reactivity=[" ".join(map(str, one)) for one in table["reactivity"]])
    text.to_csv(tmp_path / "table.csv", index=False)
    words = ["evaluate", str(path), str(tmp_path / "table.csv"), "--task", "nucleotide-regression"]
    assert cli.main([*words, "--samples", str(tmp_path / "samples.csv")]) == 0
    assert "spearman" in capsys.readouterr().out
    samples = pd.read_csv(tmp_path / "samples.csv")
    assert len(samples["target"][0].split()) == samples["length"][0]


@pytest.mark.parametrize("mode", ["lora", "frozen"])
def test_reactivities_in_other_modes(mode, tmp_path):
    changes = {**FAST, "epochs": 1}
    options = {"model": tiny(), "output": tmp_path, "mode": mode, "changes": changes, **QUIET}
    model = rk.finetune(reactivities(12, seed=3), task="nucleotide-regression", **options)
    assert isinstance(model.head, NucleotideHead)
    with pytest.raises(ValueError, match="window=8: numbers of nucleotides are learned whole"):
        rk.finetune(
            reactivities(12, seed=3),
            task="nucleotide-regression",
            **{**options, "output": tmp_path / "b", "changes": {**changes, "window": 8}},
        )


def test_a_hostile_nucleotide_head_is_rejected(tmp_path):
    model = small("structure")
    model.head, model.threshold, model.calibration = NucleotideHead(16, 8), None, None
    path = rk.save(model, tmp_path / "a.safetensors")
    assert isinstance(rk.load(path, device="cpu").head, NucleotideHead)
    state, metadata = content(model, tmp_path)
    from safetensors.torch import save_file

    for change in (
        {"pred_head.regressor.0.weight": torch.zeros(4)},
        {"pred_head.regressor.0.weight": torch.zeros(8, 99)},
        {"pred_head.regressor.2.weight": torch.zeros(2, 8)},
        {"pred_head.regressor.0.weight": torch.full((8, 16), float("nan"))},
        {"pred_head.regressor.9.weight": torch.zeros(1)},
    ):
        changed = tmp_path / "changed.safetensors"
        save_file(state | change, changed, metadata=metadata)
        rejected(changed, "head")


def test_the_info_of_a_model_is_that_of_its_file(tmp_path):
    model = small("classes")
    assert model.info.labels is model.labels and model.window == model.info.window == 8
    model.threshold = 0.25
    assert model.info.threshold == 0.25
    again = rk.load(rk.save(model, tmp_path / "a.safetensors"), device="cpu")
    assert again.info == model.info
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert list(json.loads(file.metadata()["rinalmo_kit"])) == ["labels", "window", "about"]
        assert "threshold" in file.keys()
    assert set(vars(ModelInfo())) == {"threshold", "scaler", "whitening", *METADATA_FIELDS}
    for name, value in (
        ("threshold", 0.3),
        ("scaler", (0.0, 2.0)),
        ("pad_to", 30),
        ("labels", ("x", "y", "z")),
    ):
        changed = rk.load(tmp_path / "a.safetensors", device="cpu")
        setattr(changed, name, value)
        assert changed.info.identity() != model.info.identity()
    new = model.info.for_new_task(labels=None, pad_to=None, window=None)
    assert new == ModelInfo(about=model.about)


def test_a_head_of_a_task_is_rejected_in_a_file_that_changes_it(tmp_path):
    rejected(written(tmp_path, "classes", facts={"labels": ["a", "b"]}), "labels: expected 3 names")


class CountHead(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.rate = torch.nn.Linear(dim, 1)

    def forward(self, mean):
        return self.rate(mean).squeeze(-1)


class CountTask(RegressionTask):
    """Counts, by a head and a loss that the package does not have."""

    name = user_name = "counts"
    answers = "counts"
    head = CountHead
    losses, loss, metric, padded = ("poisson",), "poisson", "spearman", False

    def head_from_state(self, state, dim):
        return CountHead(dim) if "rate.weight" in state else None

    def apply_head(self, model, representations):
        return model.head(torch.stack([one[1:-1].mean(0) for one in representations]))

    def columns(self, model, outputs):
        return {"prediction": np.exp(np.array(outputs, dtype=np.float64))}

    def compute_loss(self, kind, outputs, targets):
        return torch.nn.functional.poisson_nll_loss(outputs.float(), torch.tensor(targets).to(outputs))


def test_a_task_from_elsewhere_takes_its_place_everywhere(monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "counts", CountTask())
    table = reactivities(40, seed=0)[["id", "sequence"]]
    table["target"] = [sequence.count("A") for sequence in table["sequence"]]
    model = rk.finetune(table, task="counts", model=tiny(), output=tmp_path, changes=FAST, **QUIET)
    assert isinstance(model.head, CountHead) and model.scaler is None
    loaded = rk.load(tmp_path / "model.safetensors", device="cpu")
    sequences = table["sequence"].tolist()
    found, again = (rk.predict(sequences, model=one)["prediction"] for one in (model, loaded))
    assert (found > 0).all() and np.allclose(found, again)
    result = rk.evaluate(tmp_path, table, task="counts", draws=0)
    assert {"spearman", "mae"} <= set(result.scores["metric"])
    with pytest.raises(ValueError, match="loss='mse': expected poisson, for the task counts"):
        options = {"output": tmp_path / "b", "changes": {"loss": "mse"}}
        rk.finetune(table, task="counts", model=tiny(), **options, **QUIET)
