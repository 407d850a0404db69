"""Whatever can be evaluated: names, paths, models, baselines of your own and functions."""

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.evaluation import Baseline, FoldingFunction, ModelPredictor, compare, evaluate
from rinalmo_kit.evaluation.baselines import BASELINES, most_pairs
from rinalmo_kit.evaluation.predictors import predictors_of
from tests.helpers.examples import classes, hairpins

ROWS = hairpins(6, seed=0)


def brackets(sequence):
    return most_pairs(sequence).dot_bracket


def test_a_function_of_ones_own_scores_as_the_baseline_does():
    expected = evaluate("trivial", ROWS, draws=0)
    for function in (most_pairs, brackets, lambda sequence: most_pairs(sequence, name="other")):
        result = evaluate(function, ROWS, draws=0)
        assert result.samples.equals(expected.samples)
    assert evaluate(brackets, ROWS, draws=0).scores["model"].unique().tolist() == ["brackets"]


def test_a_function_sees_each_test_sequence_once():
    seen = []

    def unpaired(sequence):
        seen.append(sequence)
        return "." * len(sequence)

    assert evaluate(unpaired, ROWS, draws=0)["f1"] == 0.0
    assert seen == [row.sequence for row in ROWS]


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ("((.))", ValueError, "gave no structure of 'hairpin0': .* the dot-bracket 5 symbols"),
        ("(((", ValueError, "gave no structure of 'hairpin0'"),
        (rk.Structure("ACGU", []), ValueError, "gave no structure of 'hairpin0': it has 4 nucleotides"),
        (None, TypeError, "of 'hairpin0': expected a Structure or a dot-bracket string, found a NoneType"),
        (np.zeros(3), TypeError, "found a ndarray"),
    ],
    ids=str,
)
def test_wrong_answers_are_named(answer, error, told):
    name = ROWS[0].name
    with pytest.raises(error, match=told.replace("hairpin0", name)):
        evaluate(lambda sequence: answer, ROWS, draws=0)


def test_errors_of_a_function_tell_the_rna():
    def broken(sequence):
        raise RuntimeError("no licence")

    with pytest.raises(RuntimeError, match="no licence") as caught:
        evaluate(broken, ROWS, draws=0)
    assert caught.value.__notes__ == [f"while broken folded {ROWS[0].name!r}"]


class Longest(Baseline):
    name = "longest"

    def fit(self, recipe, train):
        self.labels = tuple(sorted({example.target for example in train}))

    def predict(self, recipe, sequences, *, progress=False):
        return [self.labels[len(sequence) % 2] for sequence in sequences]


def test_a_baseline_of_ones_own():
    table = classes(40, seed=0)
    result = evaluate(
        Longest(), table.assign(split=["train", "train", "test", "test"] * 10), task="classification", draws=0
    )
    assert len(result.samples) == 20 and result.scores["model"][0] == "longest"
    with pytest.raises(ValueError, match="longest has no method fold: it has no answer for own data"):
        evaluate(Longest(), ROWS)
    with pytest.raises(ValueError, match="'brackets' folds; it has no prediction for own data"):
        evaluate(brackets, table, task="classification")


def test_functions_and_names_in_one_table():
    found = compare(["most-pairs", brackets, FoldingFunction(brackets, "mine")], ROWS, draws=0)
    assert found.samples.groupby("method").size().to_dict() == {"most-pairs": 6, "brackets": 6, "mine": 6}
    assert found.samples.groupby("method")["f1"].mean().nunique() == 1


def test_every_name_becomes_an_object():
    for name in ("trivial", "simple", *BASELINES):
        [one] = predictors_of(name)
        assert isinstance(one, Baseline) and one.name == name
    assert predictors_of("nano-ss")[0].name == "nano-ss"
    with pytest.raises(ValueError, match="unknown model 'viennarn'"):
        predictors_of("viennarn")
    with pytest.raises(TypeError, match="expected an encoder"):
        predictors_of(3)


def test_a_model_by_itself_and_with_an_energy_model_has_names_of_its_own(tmp_path):
    pytest.importorskip("RNA")
    model = rk.load("nano-ss", device="cpu")
    for energy, name in ((None, "nano-ss, alone"), ("viennarna", "nano-ss, viennarna")):
        expected = [s.pairs.tolist() for s in rk.fold([row.sequence for row in ROWS], energy=energy)]
        [one] = predictors_of("nano-ss", energy=energy)
        assert [s.pairs.tolist() for s in one.fold([(s.name, s.sequence) for s in ROWS])] == expected
        for given in ("nano-ss", model):
            found = evaluate(given, ROWS, energy=energy, output=tmp_path / "scores.csv", draws=0)
            assert set(found.scores["model"]) == {name}
        same = evaluate(ModelPredictor(model, energy=energy), ROWS, draws=0)
        assert set(same.scores["model"]) == {name} and same["f1"] == found["f1"]
    assert set(pd.read_csv(tmp_path / "scores.csv")["model"]) == {"nano-ss, alone", "nano-ss, viennarna"}


def test_an_energy_model_is_for_models_that_fold():
    with pytest.raises(ValueError, match="energy=None: expected a model, and trivial is not one"):
        evaluate("trivial", ROWS, energy=None)
    table = classes(10, seed=0).assign(split="test")
    with pytest.raises(ValueError, match="energy=None is for structures; own data has classes to predict"):
        evaluate("pico-ncrna-0", table, task="classification", energy=None)
