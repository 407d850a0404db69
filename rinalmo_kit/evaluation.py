"""Scores of a model or a baseline on a test set, one row a structure."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .baselines import BASELINES
from .datasets import load_structures
from .files import whole_file
from .inference import fold_each, progress_bar
from .metrics import mean_scores, structure_scores
from .model import RiNALMo
from .structure import Structure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate", "provenance"]


def evaluate(
    model: RiNALMo | str | os.PathLike = "nano-ss",
    targets: str | Sequence[Structure] = "bprna",
    split: str | None = "TS0",
    *,
    output: str | os.PathLike | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fold the sequences of a test set and score them against their known structures.

    Parameters
    ----------
    model : RiNALMo, name, path, or a baseline
        ``"viennarna"`` and ``"most-pairs"`` are the baselines.
    targets : str or sequence of Structure
        A dataset of :mod:`rinalmo_kit.datasets`, or structures.
    split : str, optional
        Split of the dataset.
    output : path, optional
        Append the means as one line to this CSV, with command, commit and date.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        Columns name, length, precision, recall, f1, inf (tolerant to ±1), f1_strict.
    """
    import pandas as pd

    structures = load_structures(targets, split) if isinstance(targets, str) else list(targets)
    if not structures:
        raise ValueError("there are no structures to evaluate on")
    records = [(s.name, s.sequence) for s in structures]
    rows = []
    with progress_bar(len(structures), "evaluate", shown=progress) as bar:
        for target, predicted in zip(structures, _predict(model, records), strict=True):
            scores = structure_scores(target, predicted)._asdict()
            strict = structure_scores(target, predicted, shift=0).f1
            rows.append({"name": target.name, "length": len(target), **scores, "f1_strict": strict})
            bar.update()
    table = pd.DataFrame(rows)
    if output is not None:
        columns = ["precision", "recall", "f1", "inf"]
        means = mean_scores(table[columns].itertuples(index=False))
        weighted = mean_scores(table[columns].itertuples(index=False), lengths=table["length"])
        line = {
            "model": getattr(model, "name", str(model)),
            "dataset": targets if isinstance(targets, str) else "structures",
            "split": split,
            "n": len(table),
            **{key: round(value, 4) for key, value in means._asdict().items()},
            "f1_strict": round(float(table["f1_strict"].mean()), 4),
            "f1_length_weighted": round(weighted.f1, 4),
            **provenance(),
        }
        append_line(Path(output), line)
    return table


def _predict(model: RiNALMo | str | os.PathLike, records: list[tuple[str, str]]) -> Iterable[Structure]:
    if isinstance(model, str) and model in BASELINES:
        return (BASELINES[model](sequence, name=name) for name, sequence in records)
    return fold_each(records, model=model)


def provenance() -> dict[str, str]:
    """Tell the command that runs, the commit of the working folder (with ``+`` if it has changes) and the date."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {"command": command, "commit": commit + changed, "date": datetime.date.today().isoformat()}


def append_line(path: Path, line: dict[str, object]) -> None:
    """Add a line to a CSV; an older line with the same model, dataset and split gives way."""
    import pandas as pd

    table = pd.DataFrame([line])
    if path.exists():
        old = pd.read_csv(path)
        keys = ["model", "dataset", "split"]
        same = (old[keys].astype(str) == table[keys].astype(str).iloc[0]).all(axis=1)
        table = pd.concat([old[~same], table])
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False)
