"""From a recipe, or a user's own table, to the examples that a model is trained and tested on."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .recipes import Recipe, Schedule
from .rows import part_of as part_of
from .rows import select
from .structure import Structure
from .tokens import clean
from .user_tables import SOURCE, as_table, cell_text, is_missing, missing_columns, read_table

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

__all__ = ["Example", "Splits", "own_recipe", "own_table", "read_table", "splits_of"]


@dataclass
class Example:
    """One sequence with what is to be predicted of it.

    Attributes
    ----------
    name, sequence : str
    target : Structure, str or float
        A structure, the name of a class, or a number.
    group : str
        Value of the recipe's ``group`` column.
    rows : Tensor or None
        Its representation, where the encoder is frozen and it was computed beforehand.
    """

    name: str
    sequence: str
    target: Any
    group: str = ""
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sequence)


@dataclass
class Splits:
    """Training, validation and test examples, and the names of the classes where there are any."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    labels: tuple[str, ...] | None = None


def splits_of(
    recipe: Recipe,
    table: pd.DataFrame | None = None,
    *,
    fold: int = 0,
    limit: int | None = None,
    test_limit: int | None = None,
    wanted: Sequence[str] = ("train", "validation", "test"),
) -> Splits:
    """Select a recipe's examples from its table.

    Parameters
    ----------
    recipe : Recipe
    table : DataFrame, optional
        Default: the table of the recipe's dataset.
    fold : int
        For recipes with folds.
    limit, test_limit : int, optional
        Keep at most this many of the training rows and of the validation rows, and of the test rows, the same ones
        every time.
    wanted : sequence of str
        The splits that are needed; the others are left empty.

    Raises
    ------
    ValueError
        For a fold that the recipe does not have, a column that the table does not have, or a split without rows.
    """
    import pandas as pd

    from .ncrna import resample, with_boundary_noise

    if not 0 <= fold < recipe.folds:
        raise ValueError(f"fold {fold}: {recipe.name} has the folds 0 to {recipe.folds - 1}")
    if table is None:
        from .datasets import load_table

        table = load_table(recipe.dataset)
    tables = {}
    for which in ("train", "validation", "test"):
        condition = getattr(recipe, which)
        try:
            tables[which] = select(table, condition, fold=fold)
        except ValueError as error:
            raise ValueError(f"{recipe.name}: {which}={condition!r}: {error}") from error
        if tables[which].empty and which in wanted:
            raise ValueError(f"{recipe.name}: the table has no {which} rows ({condition}, fold {fold})")
    labels = labels_of(recipe, tables) if recipe.task in ("binary", "multiclass") else None
    for which, most in (("train", limit), ("validation", limit), ("test", test_limit)):
        if most is not None:
            tables[which] = _some(tables[which], most, recipe.target if labels else None)
    if recipe.balance and "train" in wanted:
        both = resample(pd.concat([tables["train"], tables["validation"]]))
        tables["train"], tables["validation"] = (both[both["split"] == split] for split in ("train", "val"))
    found = {}
    for which, chosen in tables.items():
        if which in wanted and recipe.noise:
            chosen = with_boundary_noise(chosen, recipe.noise)
        found[which] = list(_examples(recipe, chosen)) if which in wanted else []
    return Splits(**found, labels=labels)


def _some(table: pd.DataFrame, limit: int, label: str | None) -> pd.DataFrame:
    """Choose rows at random, the same ones every time; of every class as many as of the others, while it has them."""
    shuffled = table.sample(frac=1, random_state=0)
    if label is not None:
        shuffled = shuffled.iloc[np.argsort(shuffled.groupby(label).cumcount(), kind="stable")]
    return shuffled.head(limit)


def labels_of(recipe: Recipe, tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Names of the classes: for yes or no the negative first, else the most frequent first (spec §5, ncRNA).

    Raises
    ------
    ValueError
        Names a row whose class has no training rows.
    """
    rows = tables["test"] if tables["train"].empty else tables["train"]
    counts = rows[recipe.target].astype(str).value_counts()
    for which, chosen in tables.items():
        for name, label in zip(chosen["id"], chosen[recipe.target].astype(str), strict=True):
            if label not in counts.index:
                raise ValueError(
                    f"{name!r} is of the class {label!r}, of which there is no training row ({which})"
                )
    if recipe.task == "binary":
        return recipe.class_names or tuple(sorted(counts.index))
    return tuple(sorted(counts.index, key=lambda name: (-counts[name], name)))


def _examples(recipe: Recipe, table: pd.DataFrame) -> Iterable[Example]:
    groups = table[recipe.group].astype(str) if recipe.group in table else [""] * len(table)
    columns = (table["id"].astype(str), table["sequence"], table[recipe.target], groups)
    for name, sequence, target, group in zip(*columns, strict=True):
        if recipe.task == "structure":
            target = Structure.from_dot_bracket(sequence, target, name=name)
        else:
            target = float(target) if recipe.task == "regression" else str(target)
            if recipe.class_names:
                target = recipe.class_names[int(target)]
        yield Example(name, sequence, target, group)


# --- a user's own data -------------------------------------------------------------------------------

TARGETS = {
    "structure": ("dot_bracket", "structure"),
    "classification": ("label", "class", "family", "target"),
    "regression": ("target", "value", "label", "y"),
}
"""Names under which the target column of a user's table is looked for."""


def own_table(data: Any, *, task: str, target: str | None = None) -> pd.DataFrame:
    """Return a user's table, checked and in shape: columns id, sequence, target and split.

    Parameters
    ----------
    data
        As for :func:`rinalmo_kit.user_tables.as_table`. A column ``sequence``, a target column, and optionally ``id``
        and ``split`` (train, validation, test). Without ``split``, eight tenths of the sequences are for training, a
        tenth for each of the others; equal sequences stay together, and every class keeps one for training.
    task : {"classification", "regression", "structure"}
    target : str, optional
        Name of the target column; default: the first of :data:`TARGETS` that is there.

    Raises
    ------
    ValueError
        Names the row and what is wrong with it.

    Examples
    --------
    >>> import pandas as pd
    >>> table = own_table(pd.DataFrame({"sequence": ["ACGT", "GGGU"], "label": ["a", "b"]}), task="classification")
    >>> table["sequence"].tolist(), list(table.columns)
    (['ACGU', 'GGGU'], ['id', 'sequence', 'target', 'split'])
    """
    if task not in TARGETS:
        raise ValueError(f"task={task!r}: expected one of {', '.join(TARGETS)}")
    data = as_table(data, task=task)
    try:
        return _checked(data, task, target)
    except ValueError as error:
        source = data.attrs.get(SOURCE)
        raise ValueError(f"{source}: {error}" if source else str(error)) from None


def _checked(data: pd.DataFrame, task: str, target: str | None) -> pd.DataFrame:
    import pandas as pd

    if data.empty and not len(data.columns):
        raise ValueError("the table has no rows")
    target = target or next((name for name in TARGETS[task] if name in data), None)
    if any(name not in data for name in ("sequence", target)):
        raise ValueError(missing_columns(data, f"sequence and {target or ' or '.join(TARGETS[task])}"))
    if data.empty:
        raise ValueError("the table has no rows")
    ids = rows = [f"row {i}" for i in range(1, len(data) + 1)]
    places = [f"{row}, " for row in rows] if "id" in data else [""] * len(data)
    if "id" in data:
        ids = _cells(lambda _, value: cell_text(value, "an id"), rows, data["id"], places)
    sequences = _cells(_own_sequence, ids, data["sequence"], places)
    pairs = zip(sequences, data[target], strict=True)
    targets = _cells(lambda name, pair: _own_target(task, name, *pair), ids, pairs, places)
    table = pd.DataFrame({"id": ids, "sequence": sequences, "target": targets})
    if "split" in data:
        table["split"] = _cells(_own_split, ids, data["split"], places)
    else:
        table["split"] = _shared_out(table, classes=task == "classification")
    return table


def _cells(
    check: Callable[[str, Any], Any], names: Sequence[str], values: Iterable[Any], places: Sequence[str]
) -> list[Any]:
    """Check each cell of a column; an error begins with the place of its row."""
    found = []
    for name, value, place in zip(names, values, places, strict=True):
        try:
            found.append(check(name, value))
        except ValueError as error:
            raise ValueError(f"{place}{error}") from None
    return found


def _shared_out(table: pd.DataFrame, *, classes: bool) -> list[str]:
    """Choose the split of each row by its sequence alone; the last sequence of a class is always for training."""
    of: dict[str, set[Any]] = {}
    for sequence, target in zip(table["sequence"], table["target"], strict=True):
        of.setdefault(sequence, set()).add(target if classes else None)
    left = Counter(label for labels in of.values() for label in labels)
    share = max(1, round(len(of) / 10))
    which = dict.fromkeys(of, "train")
    wanted = ["validation"] * share + ["test"] * share
    for sequence in sorted(of, key=lambda sequence: zlib.crc32(sequence.encode())):
        if not wanted:
            break
        if min(left[label] for label in of[sequence]) > 1 or not classes:
            left.subtract(of[sequence])
            which[sequence] = wanted.pop(0)
    return [which[sequence] for sequence in table["sequence"]]


def fingerprint(table: pd.DataFrame) -> int:
    """Return a number that tells a table's training rows from those of other tables."""
    return zlib.crc32("\n".join(sorted(table.loc[table["split"] == "train", "sequence"])).encode())


def _own_sequence(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name!r}: expected a sequence, found {value!r}")
    sequence = clean(value, name=name)
    if not sequence.strip("-"):
        raise ValueError(f"{name!r}: expected a sequence, found no nucleotide in {value!r}")
    return sequence


SPLITS = {"train": "train", "test": "test", **dict.fromkeys(("validation", "val", "valid"), "validation")}


def _own_split(name: str, value: Any) -> str:
    nothing = is_missing(value) or value == ""
    split = None if nothing else SPLITS.get(str(value).strip().lower())
    if split is None:
        found = "nothing" if nothing else repr(value)
        raise ValueError(f"{name!r}: expected train, validation or test in the column split, found {found}")
    return split


def _own_target(task: str, name: str, sequence: str, value: Any) -> Any:
    if task == "structure":
        if not isinstance(value, str):
            raise ValueError(f"{name!r}: expected a dot-bracket structure, found {value!r}")
        return Structure.from_dot_bracket(sequence, value, name=name).dot_bracket
    if task == "regression":
        return _own_number(name, value)
    try:
        return cell_text(value, "the name of a class")
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None


def _own_number(name: str, value: Any) -> float:
    number = float("nan")
    text = isinstance(value, str) and value.isascii() and "_" not in value
    if (text or isinstance(value, Real | Decimal)) and not isinstance(value, bool | np.bool_):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name!r}: expected a number, found {value!r}")
    return number


def own_recipe(table: pd.DataFrame, *, task: str, least: int = 2) -> Recipe:
    """Make a recipe for a table of :func:`own_table`: all of the encoder is trained, the best epoch is kept.

    `least` is the number of classes that there have to be; to test a model, one is enough.
    """
    classes = table["target"].nunique()
    if task == "classification" and classes < least:
        raise ValueError(
            f"all {len(table)} rows are of the class {table['target'].iloc[0]!r}: expected two at least"
        )
    kind = {"classification": "binary" if classes <= 2 else "multiclass"}.get(task, task)
    loss, metric, epochs, batch = {
        "structure": ("pairs-by-length", "f1", 5, 4),
        "binary": ("binary", "accuracy", 10, 16),
        "multiclass": ("classes", "accuracy", 10, 16),
        "regression": ("mse", "r2", 10, 16),
    }[kind]
    return Recipe(
        name="own data",
        task=kind,
        dataset="own data",
        target="target",
        train="split == 'train'",
        validation="split == 'validation'",
        test="split == 'test'",
        loss=loss,
        metric=metric,
        epochs=epochs,
        batch_size=batch,
        lr=5e-4,
        optimizer="adamw",
        weight_decay=0.01,
        schedule=Schedule(warmup_steps=20, decay="linear", floor=0.05),
        encoder_lr=0.2,
        best=metric,
        gradient_clip=1.0,
        pad_to=int(table["sequence"].str.len().max()) + 2 if kind == "regression" else None,
        source="Ours, for data of your own: a warm-up and a linear decay, the encoder at a fifth of the head's rate.",
    )
