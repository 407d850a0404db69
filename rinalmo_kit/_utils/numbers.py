"""The project's own files of published and measured numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .choices import did_you_mean
from .given import of_kind

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["data_folders", "read_numbers"]


def read_numbers(name: str) -> pd.DataFrame:
    """Read one of the project's files of published or measured numbers, ``data/<name>.csv``.

    An installed package has the published numbers and ``measured/model_scores``; the other measured numbers are in
    a checkout of the repository.

    Raises
    ------
    ValueError
        If there is no such file; lists those that there are.

    Examples
    --------
    >>> published = read_numbers("published/fig3c_ts0")
    >>> published.set_index("method").loc["RiNALMo", "f1"]
    np.float64(0.747)
    """
    import pandas as pd

    of_kind("name", name, str, "the name of a file of numbers")
    folders = data_folders()
    path = next((f / f"{name}.csv" for f in folders if (f / f"{name}.csv").exists()), None)
    if path is None:
        known = sorted(f"{p.parent.name}/{p.stem}" for f in folders for p in f.glob("*/*.csv"))
        message = f"no file of numbers {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
        if name.startswith("measured/"):
            message += (
                "; other measured numbers are in the repository's data/measured: run this in a checkout"
            )
        raise ValueError(message)
    return pd.read_csv(path)


def data_folders() -> list[Path]:
    """Return the folders where the project's own data files may be: in an installed wheel; in a clone."""
    package = Path(__file__).parents[1]
    return [folder for folder in (package / "data", package.parent / "data") if folder.is_dir()]
