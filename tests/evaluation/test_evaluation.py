"""Scores the paper's way: against the official definitions, by group and fold, with intervals, written to a file."""

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.evaluation import average_scores, evaluate, provenance, scoring
from rinalmo_kit.evaluation.baselines import most_pairs
from rinalmo_kit.metrics import binary_scores, bootstrap_intervals, multiclass_scores, regression_scores
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead
from rinalmo_kit.model.tasks import TASKS
from rinalmo_kit.recipes import RECIPES, Recipe
from rinalmo_kit.recipes.resolve import Experiment
from tests.helpers.examples import classes, hairpins, tiny


def test_scores_are_those_of_scikit_learn():
    from sklearn import metrics

    rng = np.random.default_rng(0)
    targets, predicted = rng.random(200) < 0.3, rng.random(200) < 0.4
    found = binary_scores(targets, predicted)
    assert found["f1"] == pytest.approx(metrics.f1_score(targets, predicted))
    assert found["precision"] == pytest.approx(metrics.precision_score(targets, predicted))
    assert found["recall"] == pytest.approx(metrics.recall_score(targets, predicted))
    assert found["specificity"] == pytest.approx(metrics.recall_score(~targets, ~predicted))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    targets, predicted = (rng.choice(list("abcd"), 200, p=[0.4, 0.3, 0.2, 0.1]) for _ in "xy")
    found = multiclass_scores(targets, predicted)
    assert found["f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="weighted"))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    numbers = rng.normal(size=200)
    guesses = numbers + rng.normal(size=200).round(1)
    found = regression_scores(numbers, guesses)
    assert found["r2"] == pytest.approx(metrics.r2_score(numbers, guesses))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(numbers, guesses))
    ranks = pd.Series(numbers.round(1)), pd.Series(guesses.round(1))  # with ties
    assert regression_scores(*ranks)["spearman"] == pytest.approx(ranks[0].corr(ranks[1], method="spearman"))


def test_scores_of_nothing_right_and_of_constants():
    assert binary_scores([0, 0], [0, 0]) == {
        "accuracy": 1.0, "precision": 0.0, "recall": 0.0, "specificity": 1.0, "f1": 0.0,
    }  # fmt: skip
    found = regression_scores([1.0, 2.0], [1.5, 1.5])
    assert found["spearman"] == found["pearson"] == found["r2"] == 0.0


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        values = rng.normal(size=60)
        found = bootstrap_intervals(60, lambda i, v=values: {"mean": v[i].mean()}, draws=200, seed=seed)
        hits += found["mean"][0] < 0 < found["mean"][1]
    assert 0.88 < hits / 200 <= 1.0
    assert bootstrap_intervals(1, lambda i: {"mean": 0.0}) == {}


def test_structures_by_hand(tmp_path):
    rows = hairpins(6, seed=0)
    result = evaluate("trivial", rows, output=tmp_path / "scores.csv", draws=50)
    expected = [rk.metrics.structure_scores(s, most_pairs(s.sequence)).f1 for s in rows]
    assert result.samples["f1"].tolist() == expected and list(result.samples["name"]) == [
        s.name for s in rows
    ]
    for column in ("precision", "recall", "f1", "inf", "f1_strict"):
        assert result[column] == pytest.approx(result.samples[column].mean())
    weighted = np.average(result.samples["f1"], weights=result.samples["length"])
    assert result["f1_length_weighted"] == pytest.approx(weighted)
    written = pd.read_csv(tmp_path / "scores.csv")
    assert {
        "model",
        "recipe",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "data",
        "command",
        "commit",
        "date",
    } <= set(written)
    line = written.query("metric == 'f1'").iloc[0]
    assert line["low"] <= line["value"] <= line["high"] and line["n"] == 6


def test_newer_lines_replace_older_ones_for_the_same(tmp_path):
    path = tmp_path / "scores.csv"
    for rows, model in ((hairpins(6, seed=0), "trivial"), (hairpins(8, seed=1), "trivial")):
        evaluate(model, rows, output=path, draws=0)
    assert set(pd.read_csv(path)["n"]) == {8}
    pytest.importorskip("RNA")
    evaluate("viennarna", hairpins(4, seed=0), output=path, draws=0)
    assert pd.read_csv(path).groupby("model")["n"].first().to_dict() == {"trivial": 8, "viennarna": 4}


def model_with(head, **facts):
    model = tiny().eval()
    model.head = head
    for name, value in facts.items():
        setattr(model, name, value)
    return model


def test_predictions_are_in_the_unit_of_the_target_and_mrl_is_not_below_zero(data):
    torch.manual_seed(1)
    model = model_with(RibosomeLoadHead(32).eval(), scaler=(-1.0, 3.0), pad_to=102)
    result = evaluate(model, "mrl", limit=60, draws=0)
    raw = rk.predict(result_sequences("mrl", result), model=model)["prediction"]
    assert (raw < 0).any() and np.allclose(result.samples["prediction"], raw.clip(lower=0))
    by_set = result.scores.query("metric == 'r2'").set_index("group")
    assert {"all", "random7600", "human7600"} == set(by_set.index)
    assert by_set.loc["random7600", "n"] + by_set.loc["human7600", "n"] == 60
    assert result.scores["data"].str.contains("a sample of 60 test rows. ").all()


def result_sequences(recipe, result):
    table = rk.datasets.load_table(RECIPES[recipe].dataset).set_index("id")["sequence"]
    return [table[name] for name in result.samples["name"]]


def test_folds_are_averaged(data):
    torch.manual_seed(1)
    models = [model_with(RibosomeLoadHead(32).eval(), pad_to=102) for _ in range(10)]
    result = evaluate(models, "te-hek", draws=20)
    by_fold = result.scores.query("metric == 'spearman'").set_index("fold")
    assert by_fold.loc["all", "value"] == pytest.approx(by_fold.drop("all")["value"].mean())
    assert by_fold.loc["all", "n"] == by_fold.drop("all")["n"].sum() == len(result.samples)
    assert by_fold.loc["all", "low"] < by_fold.loc["all", "value"] < by_fold.loc["all", "high"]
    one = evaluate(models[3], "te-hek", fold=3, draws=0)
    assert one["spearman"] == pytest.approx(by_fold.loc["3", "value"])
    with pytest.raises(ValueError, match="10 folds with test rows of their own, and 1 model"):
        evaluate(models[0], "te-hek")


def test_experiments_are_averaged_over_their_recipes():
    line = {"fold": "all", "metric": "f1"}
    scores = pd.DataFrame(
        [
            {"recipe": "splice-donor", "group": "human", "value": 0.9, **line},
            {"recipe": "splice-acceptor", "group": "human", "value": 0.7, **line},
            {"recipe": "splice-donor", "group": "fly", "value": 0.5, **line},
            {"recipe": "ss-bprna", "group": "all", "value": 0.1, **line},
            {"recipe": "te-hek", "group": "all", "value": 0.1, "fold": "all", "metric": "spearman"},
        ]
    )
    found = average_scores(scores)
    assert found[["experiment", "group", "value", "recipes"]].values.tolist() == [
        ["splice", "human", pytest.approx(0.8), 2]
    ]
    noted = average_scores(scores.assign(data=["a sample", "a stand-in", "", None, ""]))
    assert noted["data"].tolist() == ["a sample; a stand-in"]
    with pytest.raises(ValueError, match="splice-donor appears twice: give the scores of one model a recipe"):
        average_scores(pd.concat([scores, scores]))


def test_a_model_for_other_classes_is_refused():
    model = model_with(ClassificationHead(32, 8, 1), labels=("cat", "dog"))
    with pytest.raises(ValueError, match="trained for other classes than those of own data: cat, dog"):
        evaluate(model, classes(8, seed=0), task="classification")
    with pytest.raises(ValueError, match="'viennarna' folds; it has no prediction"):
        evaluate("viennarna", classes(8, seed=0), task="classification")
    with pytest.raises(ValueError, match="unknown recipe 'ss'"):
        evaluate("trivial", "ss")


def test_a_model_of_another_kind_or_an_unfinished_run_is_refused(tmp_path):
    classifier = model_with(ClassificationHead(32, 8, 1), labels=("a", "b"))
    table = classes(8, seed=0).assign(y=1.0)
    with pytest.raises(ValueError, match=r"own data has numbers to predict; .* predicts classes"):
        evaluate(classifier, table, task="regression", target="y")
    with pytest.raises(ValueError, match=r"own data has classes to predict; .* predicts numbers"):
        evaluate(model_with(RibosomeLoadHead(32), pad_to=102), table, task="classification")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors: is its training finished"):
        evaluate(tmp_path, table, task="classification")
    labels = tuple(sorted(table["label"].unique()))
    rk.save(model_with(ClassificationHead(32, 8, 1), labels=labels), tmp_path / "model.safetensors")
    assert len(evaluate(tmp_path, table, task="classification", draws=0).samples) == 8


def test_a_test_set_that_was_trained_on_gives_a_warning(data):
    from rinalmo_kit.evaluation.leakage import LeakWarning

    with pytest.warns(LeakWarning, match=r"of 12 test rows are in the data that nano-ss was trained on"):
        evaluate("nano-ss", "ss-rivas", limit=12, draws=0)


def test_trivial_answers(data):
    result = evaluate("trivial", "ncrna-0", draws=0)
    assert set(result.samples["prediction"]) == {result.samples["prediction"][0]}
    assert result["accuracy"] == pytest.approx(
        (result.samples["target"] == result.samples["prediction"]).mean()
    )
    assert evaluate("trivial", "mrl", draws=0, limit=500)["spearman"] == 0.0


def test_provenance_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance()["commit"] == "unknown"


def test_provenance_tells_nothing_of_the_machine(monkeypatch):
    words = [
        "/home/me/bin/rinalmo-kit",
        "evaluate",
        "/data/my model.pt",
        "ss-bprna",
        "--trainer=path=/x/y",
        "-o",
        "a/b.csv",
    ]
    monkeypatch.setattr("sys.argv", words)
    assert provenance()["command"] == "rinalmo-kit evaluate my model.pt ss-bprna --trainer=path=y -o a/b.csv"


def test_the_classes_are_those_of_the_model():
    table = classes(20, seed=0)
    for labels in (("rich", "poor"), ("poor", "rich")):  # the second is the positive one
        model = model_with(ClassificationHead(32, 8, 1), labels=labels)
        result = evaluate(model, table, task="classification", draws=0)
        positive = result.samples.query("target == @labels[1]")
        assert result["recall"] == (positive["prediction"] == labels[1]).mean()
    model = model_with(ClassificationHead(32, 8, 3), labels=("other", "poor", "rich"))
    result = evaluate(model, table, task="classification", draws=0)
    assert result["accuracy"] == (result.samples["target"] == result.samples["prediction"]).mean()
    assert "recall" not in set(result.scores["metric"]), "of three classes none is the positive one"


def of_families(number, each=2):
    """Test rows of so many families, of which later ones have more rows."""
    rows = hairpins(number * each + number, seed=3)
    family = np.repeat(np.arange(number), each + (np.arange(number) >= number // 2) * each)[: len(rows)]
    table = pd.DataFrame({"id": [s.name for s in rows], "sequence": [s.sequence for s in rows]})
    table = table.assign(dot_bracket=[s.dot_bracket for s in rows], family=family.astype(str), split="test")
    return Recipe(**{**vars(RECIPES["ss-rfam"]), "dataset": "own data", "train": "split == 'none'"}), table


@pytest.mark.parametrize("families", [20, 21])
def test_of_many_families_the_mean_of_their_means_is_given(families, monkeypatch):
    recipe, table = of_families(families)
    monkeypatch.setattr(scoring, "resolve", lambda *_, **__: Experiment(TASKS["structure"], recipe, table))
    found = evaluate("trivial", recipe, draws=200)
    mean = found.scores.query("metric == 'f1'").set_index("group")
    of_each = found.samples.groupby("group")["f1"].mean()
    if families == 20:
        assert set(mean.index) == {"all", *of_each.index}
        return
    assert set(mean.index) == {"all", "family mean"}
    line = mean.loc["family mean"]
    assert line["value"] == pytest.approx(of_each.mean()) and line["n"] == families
    assert line["value"] != pytest.approx(mean.loc["all", "value"])
    rng = np.random.default_rng(0)
    draws = [of_each.to_numpy()[rng.integers(0, families, families)].mean() for _ in range(200)]
    assert [line["low"], line["high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())
    assert mean.loc["all", "n"] == len(table) and found["f1"] == mean.loc["all", "value"]
