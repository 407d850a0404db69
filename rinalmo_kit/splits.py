"""From a recipe, or a user's own table, to the examples that a model is trained and tested on."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import user_path
from .recipes import Recipe, Schedule
from .rows import part_of as part_of
from .rows import select
from .structure import Structure
from .tokens import clean

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


def own_table(
    data: pd.DataFrame | Sequence[Structure], *, task: str, target: str | None = None
) -> pd.DataFrame:
    """Check a user's table and bring it into shape: columns id, sequence, target and split.

    Parameters
    ----------
    data : DataFrame or sequence of Structure
        A column ``sequence``, a target column, and optionally ``id`` and ``split`` (train, validation, test). Without
        ``split``, eight tenths of the sequences are for training, a tenth for each of the others; equal sequences
        stay together.
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
    import pandas as pd

    if task not in TARGETS:
        raise ValueError(f"task={task!r}: expected one of {', '.join(TARGETS)}")
    if not isinstance(data, pd.DataFrame):
        rows = [{"id": s.name, "sequence": s.sequence, "dot_bracket": s.dot_bracket} for s in data]
        data = pd.DataFrame(rows, columns=["id", "sequence", "dot_bracket"])
    target = target or next((name for name in TARGETS[task] if name in data), None)
    missing = [name for name in ("sequence", target) if name not in data]
    if missing:
        wanted = target or " or ".join(TARGETS[task])
        raise ValueError(
            f"the table needs the columns sequence and {wanted}; it has {', '.join(map(str, data.columns))}"
        )
    if data.empty:
        raise ValueError("the table has no rows")
    ids = data["id"].astype(str) if "id" in data else [f"row {i}" for i in range(1, len(data) + 1)]
    table = pd.DataFrame({"id": list(ids)})
    table["sequence"] = [
        _own_sequence(name, value) for name, value in zip(ids, data["sequence"], strict=True)
    ]
    table["target"] = [
        _own_target(task, *row) for row in zip(ids, table["sequence"], data[target], strict=True)
    ]
    if "split" in data:
        table["split"] = [_own_split(*row) for row in zip(ids, data["split"], strict=True)]
    else:
        different = sorted(set(table["sequence"]), key=lambda sequence: zlib.crc32(sequence.encode()))
        share = max(1, round(len(different) / 10))
        which = dict.fromkeys(different, "train")
        which.update(dict.fromkeys(different[:share], "validation"))
        which.update(dict.fromkeys(different[share : 2 * share], "test"))
        table["split"] = [which[sequence] for sequence in table["sequence"]]
    return table


def fingerprint(table: pd.DataFrame) -> int:
    """Return a number that tells a table's training rows from those of other tables."""
    return zlib.crc32("\n".join(sorted(table.loc[table["split"] == "train", "sequence"])).encode())


def read_table(path: Path, *, task: str | None = None) -> pd.DataFrame | list[Structure]:
    """Read a user's table: CSV, TSV or Parquet; for structures also every format of :mod:`rinalmo_kit.formats`.

    Raises
    ------
    ValueError
        If the file cannot be read as a table.
    """
    import pandas as pd

    from .formats import read_structures

    path = user_path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    if name.endswith((".csv", ".tsv", ".txt")):
        try:
            return pd.read_csv(path, sep="," if name.endswith(".csv") else "\t")
        except pd.errors.ParserError as error:
            raise ValueError(f"{path} is not a table: {error}") from error
    if task != "structure":
        raise ValueError(f"{path}: expected .csv, .tsv or .parquet")
    return read_structures(path)


def _own_sequence(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name!r}: expected a sequence, found {value!r}")
    return clean(value, name=name)


SPLITS = {"train": "train", "test": "test", **dict.fromkeys(("validation", "val", "valid"), "validation")}


def _own_split(name: str, value: Any) -> str:
    split = SPLITS.get(str(value).strip().lower())
    if split is None:
        found = "nothing" if value is None or value != value else repr(value)
        raise ValueError(f"{name!r}: expected train, validation or test in the column split, found {found}")
    return split


def _own_target(task: str, name: str, sequence: str, value: Any) -> Any:
    if task == "structure":
        if not isinstance(value, str):
            raise ValueError(f"{name!r}: expected a dot-bracket structure, found {value!r}")
        return Structure.from_dot_bracket(sequence, value, name=name).dot_bracket
    if task == "regression":
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise ValueError(f"{name!r}: expected a number, found {value!r}")
        return number
    if value is None or value != value or not str(value):
        raise ValueError(f"{name!r}: expected the name of a class, found {value!r}")
    return str(value)


def own_recipe(table: pd.DataFrame, *, task: str) -> Recipe:
    """Make a recipe for a table of :func:`own_table`: all of the encoder is trained, the best epoch is kept."""
    classes = table["target"].nunique()
    if task == "classification" and classes < 2:
        raise ValueError(
            f"all {len(table)} rows are of the class {table['target'].iloc[0]!r}: expected two at least"
        )
    kind = {"classification": "binary" if classes == 2 else "multiclass"}.get(task, task)
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
