"""From recipes and tables to examples."""

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.rows import part_of
from rinalmo_kit.datasets.user_tables import read_table
from rinalmo_kit.recipes import RECIPES
from rinalmo_kit.recipes.splits import splits_of
from rinalmo_kit.recipes.user_data import default_recipe, validate_user_table
from rinalmo_kit.structure import write_structures
from tests.helpers.examples import classes


@pytest.mark.parametrize("name", RECIPES)
def test_no_sequence_is_in_two_splits_of_a_recipe(data, name):
    """Rows of one split never stand in another; equal sequences may, where the original sets have them."""
    recipe = RECIPES[name]
    table = rk.datasets.load_table(recipe.dataset)
    table = table.assign(
        length=table["sequence"].str.len(), part=[part_of(sequence) for sequence in table["sequence"]]
    )
    for fold in {0, recipe.folds - 1}:
        train, validation, test = (
            table.query(getattr(recipe, which), local_dict={"fold": fold})
            for which in ("train", "validation", "test")
        )
        assert len(train) and len(validation) and len(test)
        assert not set(train.index) & set(test.index) and not set(train.index) & set(validation.index)
        if name != "mrl":  # whose validation set is one of the two test sets, as in the paper
            assert not set(validation.index) & set(test.index)
        assert not set(train["sequence"]) & set(test["sequence"]), "a leak inside the benchmark"


def test_family_splits_leave_the_family_out(data):
    found = splits_of(RECIPES["ss-archiveII-tRNA"])
    assert {e.group for e in found.test} == {"tRNA"} and len(found.test) == 279
    seen = {e.group for e in found.train + found.validation}
    assert len(seen) == 8 and "tRNA" not in seen
    assert 0.05 < len(found.validation) / len(found.train) < 0.2


def test_rivas_validates_on_the_long_rows(data):
    found = splits_of(RECIPES["ss-rivas"])
    assert min(len(e) for e in found.validation) > 500 >= max(len(e) for e in found.train)
    assert len(found.validation) == 247  # the table's README
    assert len(found.train) + len(found.validation) == 3166  # paper


def test_folds_partition_the_rows(data):
    recipe = RECIPES["te-hek"]
    tests = [{e.name for e in splits_of(recipe, fold=fold).test} for fold in range(10)]
    assert (
        sum(map(len, tests))
        == len(set.union(*tests))
        == len(rk.datasets.load_table("te_el").query("dataset == 'HEK'"))
    )
    for fold in (0, 4):  # validation is the fold before the test fold (spec §5)
        assert {e.name for e in splits_of(recipe, fold=fold).validation} == tests[fold - 1]
    with pytest.raises(ValueError, match="fold 10: te-hek has the folds 0 to 9"):
        splits_of(recipe, fold=10)


def test_labels_of_the_papers_tasks(data):
    splice = splits_of(RECIPES["splice-donor"], wanted=("test",))
    assert splice.labels == ("no donor site", "donor site") and not splice.train
    assert {e.target for e in splice.test} == set(splice.labels)
    assert {e.group for e in splice.test} == {"human", "arabidopsis"}
    ncrna = splits_of(RECIPES["ncrna-0"], wanted=("test",))
    counts = rk.datasets.load_table("rfam88").query("split == 'train'")["label"].value_counts()
    assert len(ncrna.labels) == 88 and [counts[name] for name in ncrna.labels] == sorted(counts, reverse=True)


def test_training_classes_are_balanced_and_boundaries_noisy(data):
    clean, noisy = (splits_of(RECIPES[name]) for name in ("ncrna-0", "ncrna-200"))
    sizes = pd.Series([e.target for e in clean.train]).value_counts()
    given = rk.datasets.load_table("rfam88").query("split == 'train'")["label"].value_counts()
    assert len(sizes) == 88 and set(sizes) == {3 * given.min()}  # spec §5
    assert len(clean.test) == len(noisy.test) == 1272
    for one, other in zip(clean.test[:50], noisy.test[:50], strict=True):
        # as many dinucleotides on each side as make up the sequence; an odd last nucleotide may be drawn as one of them
        assert one.sequence in other.sequence and 2.8 * len(one) <= len(other) <= 3 * len(one)
    again = splits_of(RECIPES["ncrna-200"], wanted=("test",))
    assert [e.sequence for e in again.test] == [e.sequence for e in noisy.test]


def test_limits_keep_every_class_and_are_the_same_every_time(data):
    one, other = (
        splits_of(RECIPES["ncrna-0"], limit=176, test_limit=50, wanted=("validation", "test")) for _ in "ab"
    )
    assert [e.name for e in one.test] == [e.name for e in other.test] and len(one.test) == 50
    assert pd.Series([e.target for e in one.validation]).value_counts().tolist() == [2] * 88


def test_own_table_without_splits():
    table = pd.concat([classes(100, seed=1), classes(100, seed=1)])
    found = validate_user_table(table, task="classification")
    shares = found["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8) and shares["test"] == shares["validation"] == pytest.approx(
        0.1
    )
    assert (found.groupby("sequence")["split"].nunique() == 1).all(), "equal sequences stay together"
    recipe = default_recipe(found, task="classification")
    assert (recipe.task, recipe.loss) == ("binary", "binary")
    splits = splits_of(recipe, found)
    assert splits.labels == ("poor", "rich") and len(splits.train) == 160
    assert (
        validate_user_table(table.iloc[::-1], task="classification")["split"].tolist()
        == found["split"].tolist()[::-1]
    )


def test_splits_of_an_own_table():
    table = classes(4, seed=1).assign(split=["TRAIN ", "valid", "Test", "train"])
    found = validate_user_table(table, task="classification")
    assert found["split"].tolist() == ["train", "validation", "test", "train"]
    for wrong, told in (("holdout", "'holdout'"), (None, "nothing"), (float("nan"), "nothing")):
        with pytest.raises(ValueError, match=f"'rna 2': expected train, validation or test .* found {told}"):
            validate_user_table(table.assign(split=["train", "test", wrong, "train"]), task="classification")


def test_tables_from_files(tmp_path):
    table = classes(6, seed=1)
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.tsv.gz", index=False, sep="\t")
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.tsv.gz", "t.parquet"):
        assert (
            read_table(tmp_path / name, task="regression")["sequence"].tolist() == table["sequence"].tolist()
        )
    structures = rk.datasets.load_structures("examples")[:3]
    write_structures(structures, tmp_path / "s.dbn")
    assert read_table(tmp_path / "s.dbn", task="structure") == structures
    with pytest.raises(ValueError, match=r"s\.dbn: expected \.csv, \.tsv or \.parquet"):
        read_table(tmp_path / "s.dbn", task="regression")
    (tmp_path / "bad.csv").write_text('a,b\n1,2\n3,4,5\n"')
    with pytest.raises(ValueError, match=r"bad\.csv is not a table"):
        read_table(tmp_path / "bad.csv", task="regression")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_table(tmp_path / "none.csv", task="regression")
