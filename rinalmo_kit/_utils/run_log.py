"""Logs of training runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .files import user_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["training_log"]


def training_log(folder: str | os.PathLike) -> pd.DataFrame:
    r"""Read the CSV logs of a training run, those of its resumed parts put together.

    Parameters
    ----------
    folder : path
        The ``output`` of :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`.

    Returns
    -------
    pandas.DataFrame
        One row a logged step, ascending; the index is the number of steps done. Where a run was stopped after its
        last checkpoint, the steps that were made again are there once.

    Raises
    ------
    FileNotFoundError
        If there is no log.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for version, rows in enumerate(("19,1.4\n39,1.3\n", "39,1.3\n59,1.2\n")):
    ...         log = Path(folder, "log", f"version_{version}", "metrics.csv")
    ...         log.parent.mkdir(parents=True)
    ...         _ = log.write_text("step,train_loss\n" + rows)
    ...     training_log(folder)["train_loss"].to_dict()
    {20: 1.4, 40: 1.3, 60: 1.2}
    """
    import pandas as pd

    folder = user_path(folder)
    paths = sorted(folder.glob("log/version_*/metrics.csv"), key=lambda path: int(path.parent.name[8:]))
    paths = [path for path in paths if path.stat().st_size]  # a killed run may leave an empty one
    if not paths:
        raise FileNotFoundError(
            f"no log of a training run: {folder / 'log/version_0/metrics.csv'} is missing"
        )
    table = pd.DataFrame({"step": pd.Series(dtype=int)})
    for path in paths:
        part = pd.read_csv(path)
        table = pd.concat([table[table["step"] < part["step"].min()], part]) if len(table) else part
    table["step"] += 1
    return table.groupby("step").first()  # training and validation have lines of their own
