"""Conditions on rows: what they select, what is rejected, and that nothing is evaluated."""

import re
import time
from pathlib import Path

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.rows import parse, part_of, select
from rinalmo_kit.recipes import RECIPES, splits, with_changes

TABLE = pd.DataFrame(
    {
        "sequence": ["ACGU", "GG", "GGGG", "A", "CCCCC"],
        "split": ["train", "test", "train", "O'Brien", None],
        "fold": [0, 1, 2, 9, 5],
        "value": pd.array([1, None, -3, 4, 5], dtype="Int64"),
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("split == 'train'", [0, 2]),
        ('split == "train"', [0, 2]),
        ("split != 'train'", [1, 3, 4]),
        ("split in ('train', 'test')", [0, 1, 2]),
        ("split in ['train',]", [0, 2]),
        ("split not in ('train', 'test')", [3, 4]),
        ("split in ()", []),
        (r"split == 'O\'Brien'", [3]),
        ('split == "O\'Brien"', [3]),
        ("length <= 4 and length > 1", [0, 1, 2]),
        ("split == 'test' or split == 'train' and length >= 4", [0, 1, 2]),
        ("(split == 'test' or split == 'train') and length < 4", [1]),
        ("((split == 'train'))", [0, 2]),
        ("fold == @fold", [2]),
        ("fold != @fold and fold != (@fold + 8) % 10", [1, 3, 4]),
        ("fold == (@fold+7)%10", [3]),
        ("fold in (0, 9)", [0, 3]),
        ("value < 0", [2]),
        ("value == -3.0", [2]),
        ("value >= 1e0", [0, 3, 4]),
        ("split == 7", []),
    ],
)
def test_rows_that_a_condition_selects(condition, rows):
    assert select(TABLE, condition, fold=2).index.tolist() == rows


def test_part_depends_on_the_sequence():
    for part in range(10):
        assert all(part_of(s) == part for s in select(TABLE, f"part == {part}")["sequence"])


def test_every_recipe_selects_what_pandas_did(data):
    """The text is still one that DataFrame.query reads; here it may, since it is ours."""
    computed = {}
    for recipe in RECIPES.values():
        if recipe.dataset not in computed:
            table = rk.datasets.load_table(recipe.dataset).iloc[::7]
            known = {"length": table["sequence"].str.len(), "part": table["sequence"].map(part_of)}
            computed[recipe.dataset] = table, table.assign(**known)
        table, with_computed = computed[recipe.dataset]
        for which in ("train", "validation", "test"):
            condition = getattr(recipe, which)
            expected = with_computed.query(condition, local_dict={"fold": 1}).index
            assert select(table, condition, fold=1).index.equals(expected), (recipe.name, which)


BAD = [
    "", " ", "split", "split ==", "== 'train'", "'a' == 'a'", "1 == 1", "split == train", "split == 'train",
    "split = 'train'", "not split == 'train'", "split == 'a' and", "split == 'a' split == 'b'", "(split == 'a'",
    "split == 'a')", "split in 'a'", "split in (split)", "split in ('a' 'b')", "split not 'a'", "fold == @folds",
    "fold == (@fold + x) % 10", "fold == (@fold + 9) % 0", "fold == (@fold - 9) % 10", "fold == @fold + 9",
    "split == 'a\\n'", "split == 'a' & fold == 1", "split == 'a'; fold == 1", "value == 9" + "9" * 50,
    "split.str.len() == 4", "split['a'] == 4", "@pd.eval('1')", "@__import__('os').system('touch hacked')",
    "split == @__import__('os').system('touch hacked')", "__import__('os').system('touch hacked')",
    "split == 'a' and @exec('open(\"hacked\", \"w\")')", "`split` == 'a'", "lambda: 1", "split == f'{exit()}'",
    "(" * 100_000, "(" * 5_000 + "split == 'a'" + ")" * 5_000, "split == 'a'" + " " * 50_000 + "$",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:30]))
def test_anything_else_is_rejected(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="expected a condition such as split == 'train' and") as told:
        parse(text)
    assert len(str(told.value)) < 400 and time.perf_counter() - start < 1
    for name in ("train", "validation", "test"):
        with pytest.raises(ValueError, match=f"^{name}=.*: expected a condition"):
            with_changes(RECIPES["mrl"], {name: text})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [None, 7, b"split == 'a'", ["split", "==", "a"]])
def test_what_is_no_text_is_rejected(value):
    with pytest.raises(ValueError, match=f"found {type(value).__name__}"):
        parse(value)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("species == 'human'", "no column 'species'; it has sequence, split, fold, value"),
        ("split < 3", "column 'split' cannot be compared with 3"),
    ],
)
def test_columns_are_named(condition, told):
    with pytest.raises(ValueError, match=told):
        select(TABLE, condition)


def test_a_recipe_names_the_condition_and_the_column(data):
    recipe = with_changes(RECIPES["mrl"], {"train": "species == 'human'"})
    words = r"mrl: rows for train \(species is human\): the table has no column 'species'"
    with pytest.raises(ValueError, match=words):
        splits.splits_of(recipe)


def test_long_lists_are_read_in_linear_time():
    names = [f"rna {i}" for i in range(50_000)]
    start = time.perf_counter()
    assert len(parse(f"sequence not in {names}").value) == 50_000
    assert time.perf_counter() - start < 5


EVALUATING = r"\.query\(|(?<![.\w])(?:eval|exec)\(|pd\.eval|pickle\.loads?\(|allow_pickle=True"


def test_no_text_is_evaluated_anywhere_in_the_package():
    """Neither by pandas nor by Python, and no pickle is read with what could run code."""
    package = Path(rk.__file__).parent
    for path in package.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\.query\((?!\))|(?<![.\w])(?:eval|exec)\(|pd\.eval|pickle\.loads?\(|allow_pickle=True", code
        ), path
        for call in re.findall(r"torch\.load\([^\n]*", code):
            assert "weights_only=True" in call, path
