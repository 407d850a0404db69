"""One door: names, recipes and tables become experiments."""

import pytest

from rinalmo_kit.recipes import RECIPES, with_changes
from rinalmo_kit.recipes.resolve import resolve
from tests.helpers.examples import classes, hairpins


def test_names_and_recipes():
    for on in ("mrl", RECIPES["mrl"]):
        found = resolve(on, changes={"epochs": 3})
        assert found.recipe == with_changes(RECIPES["mrl"], {"epochs": 3}) and found.task.name == "regression"
        assert found.table is None and found.fingerprint is None
    with pytest.raises(ValueError, match="unknown recipe 'mlr'"):
        resolve("mlr")
    with pytest.raises(ValueError, match="the recipe has no field 'epoch'"):
        resolve("mrl", changes={"epoch": 3})


def test_tables_in_any_form_are_the_same(tmp_path):
    table = classes(20, seed=0)
    table.to_csv(tmp_path / "mine.csv", index=False)
    forms = (
        table,
        table.to_dict("list"),
        table.to_dict("records"),
        tmp_path / "mine.csv",
        str(tmp_path / "mine.csv"),
    )
    found = [resolve(form, task="classification") for form in forms]
    assert len({one.fingerprint for one in found}) == 1 and found[0].fingerprint
    for one in found:
        assert one.task.name == "binary" and one.recipe == found[0].recipe
        assert one.table.equals(found[0].table)
    splits = found[0].splits(wanted=("train",))
    assert len(splits.train) == (found[0].table["split"] == "train").sum() and not splits.test


def test_what_is_to_be_learned_has_to_be_said():
    with pytest.raises(ValueError, match="task: say what is to be learned: 'structure', 'classification'"):
        resolve(classes(8, seed=0))


def test_rows_of_another_table_are_all_for_testing():
    rows = hairpins(12, seed=0)
    learned = resolve(rows, task="structure")
    assert set(learned.table["split"]) == {"train", "validation", "test"}
    tested = resolve(rows, task="structure", trained_on={None})
    assert set(tested.table["split"]) == {"test"}
    own = resolve(rows, task="structure", trained_on={learned.fingerprint})
    assert own.table["split"].tolist() == learned.table["split"].tolist()
    one = classes(8, seed=0).assign(label="a")
    with pytest.raises(ValueError, match="all 8 rows are of the class 'a'"):
        resolve(one, task="classification")
    assert len(resolve(one, task="classification", trained_on=()).table) == 8
