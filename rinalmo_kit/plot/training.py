"""Curves of training runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from .._utils.given import table_with
from .._utils.run_log import training_log
from ..metrics import METRIC_NAMES
from .style import BLUE, GREEN, GREY, ORANGE, PALETTE, chart_axes, ink, legend, palette, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["perplexity", "training_curves"]

# Training -----------------------------------------------------------------------------------------------


def training_curves(log: str | os.PathLike | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how a run went: perplexity beside that of the letters' frequencies; else scores, or the training loss.

    Parameters
    ----------
    log : path or DataFrame
        Folder of a run, or its table as from :func:`training_log`: a column ``val_perplexity``, or columns
        ``val_…`` that are scores from 0 to 1, or ``train_loss``; the index is the step.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the table has none of these columns.

    Examples
    --------
    >>> import pandas as pd
    >>> perplexity = {"val_perplexity": [3.9, 3.7], "val_perplexity_unigram": [4.0, 4.0]}
    >>> ax = training_curves(pd.DataFrame(perplexity, index=[50, 100]))
    """
    table = training_log(log) if isinstance(log, str | os.PathLike) else log
    table_with("log", table)
    scores = [name for name in ("accuracy", "f1", "r2", "spearman") if f"val_{name}" in table]
    if "val_perplexity" in table:
        shown = {"val_perplexity": "model", "val_perplexity_unigram": "letter frequencies alone"}
        label = "validation perplexity"
    elif scores:
        shown = {f"val_{name}": METRIC_NAMES[name] for name in scores}
        label = f"validation {METRIC_NAMES[scores[0]]}" if len(scores) == 1 else "validation score"
    else:
        shown, label = {"train_loss": "training loss"}, "training loss"
    if missing := [name for name in shown if name not in table]:
        raise ValueError(f"the log has no column {missing[0]}; it has {', '.join(map(str, table.columns))}")
    ax = chart_axes(ax)
    reference = "letter frequencies alone"
    colors = dict(zip(shown.values(), (BLUE, ORANGE, GREEN, ink()), strict=False))
    colors |= {reference: GREY} if reference in colors else {}
    for name, text in shown.items():
        values = table[name].dropna()
        style: dict[str, Any] = (
            {"ls": "--", "lw": 1.0} if text == reference else {"marker": "o", "ms": 2.5, "lw": 1.2}
        )
        ax.plot(values.index, values, color=colors[text], label=text, **style)
    ax.set_xlabel("step", fontsize=8)
    ax.set_ylabel(label, fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(shown) > 1:
        legend(ax, colors, dashed=reference, loc="lower left", bbox_to_anchor=(0, 1.01))
    return ax


def perplexity(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw perplexity against tokens seen, with dashed lines for what needs no training.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``tokens`` and ``perplexity``, as in ``data/measured/pretraining.csv``; a model whose only
        number of tokens is 0 becomes a line.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("pico", 1e6, 3.8), ("pico", 2e6, 3.6), ("unigram", 0, 4.0)]
    >>> ax = perplexity(pd.DataFrame(rows, columns=["model", "tokens", "perplexity"]))
    """
    table_with("table", table, ["model", "tokens", "perplexity"])
    ax = chart_axes(ax)
    lines, trained = 0, {}
    plain_text: dict[str, Any] = {"fontsize": 7, "ha": "right", "parse_math": False}
    for number, (name, part) in enumerate(table.groupby("model", sort=False)):
        if part["tokens"].max() == 0:
            value = part["perplexity"].iloc[0]
            ax.axhline(value, color=GREY, ls="--", lw=0.8)
            place: Any = ("axes fraction", "data")
            back = {"facecolor": mpl.rcParams["axes.facecolor"], "edgecolor": "none", "pad": 0.8}
            where = 1 - 0.3 * lines, value
            ax.annotate(plain(name), where, xycoords=place, va="center", color=GREY, bbox=back, **plain_text)
            lines += 1  # labels side by side: lines may lie close together
            continue
        part = part.sort_values("tokens")
        color = palette()[number % len(PALETTE)]
        ax.plot(part["tokens"] / 1e6, part["perplexity"], "o-", ms=2.5, lw=1.2, color=color)
        trained[str(name)] = color
        end = part["tokens"].iloc[-1] / 1e6, part["perplexity"].iloc[-1]
    if len(trained) > 1:
        legend(ax, trained, loc="upper right", ncols=1, borderaxespad=0.5)
    for name, color in trained.items() if len(trained) == 1 else ():
        ax.annotate(plain(name), end, xytext=(0, 4), textcoords="offset points", color=color, **plain_text)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("tokens seen (millions)", fontsize=8)
    ax.set_ylabel("validation perplexity", fontsize=8)
    return ax
