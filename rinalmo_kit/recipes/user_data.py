"""Tables of users: checked, and with a default recipe."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._utils.cells import cell_text, is_missing
from ..datasets.user_tables import SOURCE, as_table, missing_columns
from ..model.task_base import Task
from ..model.tasks import user_task
from ..rna.alphabet import clean
from .recipe import Recipe, Schedule

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["default_recipe", "validate_user_table"]


def validate_user_table(data: Any, *, task: str, target: str | None = None) -> pd.DataFrame:
    """Return a user's table, checked and in shape: columns id, sequence, target and split.

    Parameters
    ----------
    data
        As for :func:`rinalmo_kit.datasets.user_tables.as_table`. A column ``sequence``, a target column, and
        optionally ``id``
        and ``split`` (train, validation, test). Without ``split``, eight tenths of the sequences are for training, a
        tenth for each of the others; equal sequences stay together, and every class keeps one for training.
    task : {"structure", "classification", "regression", "nucleotide-regression"}
        The target is a structure in dot-bracket notation; the name of a class; a number; or a number for each
        nucleotide, as a list or as text with commas or spaces between, ``nan`` where there is none.
    target : str, optional
        Name of the target column; default: the first of the task's ``target_columns`` that is there.

    Raises
    ------
    ValueError
        Names the row and what is wrong with it.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"sequence": ["ACGT", "GGGU"], "label": ["a", "b"]})
    >>> table = validate_user_table(rows, task="classification")
    >>> table["sequence"].tolist(), list(table.columns)
    (['ACGU', 'GGGU'], ['id', 'sequence', 'target', 'split'])
    """
    kind = user_task(task)
    data = as_table(data, task=task)
    try:
        return _checked(data, kind, target)
    except ValueError as error:
        source = data.attrs.get(SOURCE)
        raise ValueError(f"{source}: {error}" if source else str(error)) from None


def _checked(data: pd.DataFrame, task: Task, target: str | None) -> pd.DataFrame:
    import pandas as pd

    if data.empty and not len(data.columns):
        raise ValueError("the table has no rows")
    target = target or next((name for name in task.target_columns if name in data), None)
    if any(name not in data for name in ("sequence", target)):
        raise ValueError(missing_columns(data, f"sequence and {target or ' or '.join(task.target_columns)}"))
    if data.empty:
        raise ValueError("the table has no rows")
    ids = rows = [f"row {i}" for i in range(1, len(data) + 1)]
    places = [f"{row}, " for row in rows] if "id" in data else [""] * len(data)
    if "id" in data:
        ids = _cells(lambda _, value: cell_text(value, "an id"), rows, data["id"], places)
    sequences = _cells(_own_sequence, ids, data["sequence"], places)
    pairs = zip(sequences, data[target], strict=True)
    targets = _cells(lambda name, pair: task.check_cell(name, *pair), ids, pairs, places)
    table = pd.DataFrame({"id": ids, "sequence": sequences, "target": targets})
    if "split" in data:
        table["split"] = _cells(_own_split, ids, data["split"], places)
    else:
        table["split"] = _shared_out(table, classes=task.classifies)
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


def default_recipe(table: pd.DataFrame, *, task: str, least: int = 2) -> Recipe:
    """Return a recipe for a user's table: all of the encoder is trained, and the best epoch is kept.

    The table comes from :func:`validate_user_table`. `least` is the least number of classes; to test a model, one is
    enough.
    """
    classes = table["target"].nunique() if user_task(task).classifies else 0
    if user_task(task).classifies and classes < least:
        raise ValueError(
            f"all {len(table)} rows are of the class {table['target'].iloc[0]!r}: expected two at least"
        )
    kind = user_task(task, classes)
    return Recipe(
        name="own data",
        task=kind.name,
        dataset="own data",
        target="target",
        train="split == 'train'",
        validation="split == 'validation'",
        test="split == 'test'",
        loss=kind.loss,
        metric=kind.metric,
        epochs=kind.epochs,
        batch_size=kind.batch_size,
        lr=5e-4,
        optimizer="adamw",
        weight_decay=0.01,
        schedule=Schedule(warmup_steps=20, decay="linear", floor=0.05),
        encoder_lr=0.2,
        best=kind.metric,
        gradient_clip=1.0,
        pad_to=int(table["sequence"].str.len().max()) + 2 if kind.padded else None,
        source="Ours, for data of your own: a warm-up and a linear decay, the encoder at a fifth of the head's rate.",
    )
