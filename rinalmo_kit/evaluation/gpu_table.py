"""The table of speeds on a GPU: what ``python -m benchmarks gpu`` measured, and what is not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._utils.numbers import read_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["gpu_table"]

NOT_MEASURED = "not measured"

WORK: dict[tuple[str, str, str], str] = {
    ("embed", "giga", "ours"): "40 % of the peak, 2.5 × official",
    ("embed", "giga", "compiled"): "",
    ("embed", "micro", "ours"): "",
    ("embed", "nano", "ours"): "",
    ("pretraining step", "giga", "ours"): "45 % of the peak",
    ("pretraining step", "giga", "no dropout in attention, compiled"): "",
    ("pretraining step", "micro", "ours"): "25 % of the peak",
    ("pretraining step", "micro", "no dropout in attention, compiled"): "",
    ("structure head", "L=200, bfloat16", "ours"): "1 × official",
    ("structure head", "L=200, float32", "ours"): "1 × official",
    ("structure head", "L=800, bfloat16", "ours"): "",
    ("structure head", "64 × L=100, bfloat16", "ours"): "",
    ("structure fine-tuning", "nano", "ours"): "2,500 structures/s",
    ("fold", "nano-ss", "ours"): "",
}
"""Work, the beginning of its size, and the way it is done → the goal on an H100."""


def gpu_table(measured: pd.DataFrame | None = None, *, card: str | None = None) -> pd.DataFrame:
    """Return the speeds on a GPU that matter, each with its goal on an H100; those that are absent say so.

    Parameters
    ----------
    measured : DataFrame, optional
        Rows as ``python -m benchmarks gpu`` writes them; default: ``data/measured/gpu.csv``, if there is one.
    card : str, optional
        Which card, as the rows name it. Default: the last one in the file.

    Returns
    -------
    DataFrame
        One row a piece of work: work, size, way, measured (tokens, RNAs or structures a second), share of peak (the
        model's operations a second over those of a large bfloat16 matrix product), times official, memory (GB), goal
        and card. Texts: a cell that does not apply is empty; ``measured`` says ``"not measured"`` where there is no
        row, and why where one failed.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"work": "embed", "size": "giga, 256 RNAs", "way": "ours", "rate": 73e3, "unit": "token/s"}
    >>> row |= {"share_of_peak": 0.13, "times_official": 1.5, "peak_gb": 3.0, "status": "ok", "card": "X1"}
    >>> gpu_table(pd.DataFrame([row]))["measured"][:2].tolist()
    ['73,000 tokens/s', 'not measured']
    """
    import pandas as pd

    table = _rows() if measured is None else measured
    if card is None and len(table):
        card = str(table["card"].iloc[-1])
    table = table[table["card"] == card] if len(table) else table
    rows = []
    for (work, size, way), goal in WORK.items():
        cells = {"work": work, "size": size, "way": way, "measured": NOT_MEASURED}
        cells |= {"share of peak": "", "times official": "", "memory (GB)": "", "goal": goal, "card": ""}
        if len(table):
            names = table["size"].fillna("").astype(str)
            same = (names == size) | names.str.startswith(f"{size}, ")
            found = table[(table["work"] == work) & same & (table["way"] == way)]
            cells |= _cells(found.iloc[0]) if len(found) else {}
        rows.append(cells)
    return pd.DataFrame(rows)


def _rows() -> pd.DataFrame:
    """Return what was measured; no rows where there is no file."""
    import pandas as pd

    try:
        return read_numbers("measured/gpu")
    except ValueError:  # no such file
        return pd.DataFrame()


def _cells(row: pd.Series) -> dict[str, str]:
    """Return what one measured row says, in words."""
    import pandas as pd

    if row["status"] != "ok":
        skipped = str(row["status"]).startswith("skipped")
        return {"measured": NOT_MEASURED if skipped else str(row["status"]), "card": str(row["card"])}

    def text(key: str, template: str) -> str:
        return "" if pd.isna(row.get(key)) else template.format(float(row[key]))

    unit = str(row["unit"]).replace("/s", "s/s")
    return {
        "measured": f"{text('rate', '{:,.0f}')} {unit}",
        "share of peak": text("share_of_peak", "{:.0%}"),
        "times official": text("times_official", "{:.2g}"),
        "memory (GB)": text("peak_gb", "{:.2g}"),
        "card": str(row["card"]),
    }
