"""Checks of the options of a training run, before any work: options of Lightning and fields of recipes."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from .._utils.numbers_given import _is_number, positive_number, whole_number
from ..model.tasks import TASKS
from ..recipes.recipe import Recipe, with_changes

__all__ = ["check_recipe", "check_trainer_options"]

LENGTH = ("max_steps", "max_epochs", "min_steps", "min_epochs")


PARTIAL: dict[str, tuple[Any, ...]] = {
    "limit_train_batches": (None, 1.0),
    "overfit_batches": (None, 0),
    "fast_dev_run": (None, 0),
    "barebones": (None, 0),
}
"""Options that train on a part, or not at all, and end as if all was done; with the values that do not."""


FIELDS = (
    *("epochs", "steps", "batch_size", "lr", "encoder_lr", "folds", "pad_to", "window", "unlabelled"),
    *("seconds", "map_entries", "ema"),
)


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Reject options that Lightning does not have, and those with which an unfinished run would look finished.

    Raises
    ------
    ValueError
        Names the option and what is expected.

    Examples
    --------
    >>> check_trainer_options({"fast_dev_run": True})
    Traceback (most recent call last):
    ValueError: fast_dev_run=True: the run would look finished without its training; make it shorter by epochs=…, ...
    """
    import lightning

    known = set(inspect.signature(lightning.Trainer).parameters)
    for name, value in options.items():
        if name in LENGTH:
            raise ValueError(
                f"{name}: the length of a run is the recipe's epochs, or steps=…; max_time ends it early"
            )
        if name not in known:
            raise ValueError(f"Lightning takes no such option: {name!r}; it has {', '.join(sorted(known))}")
        if name in PARTIAL and not any(value is one or _same(value, one) for one in PARTIAL[name]):
            raise ValueError(
                f"{name}={value!r}: the run would look finished without its training; make it shorter by "
                "epochs=…, steps=… or limit=…"
            )
    for name in ("accumulate_grad_batches", "num_nodes"):
        if name in options:
            whole_number(name, options[name])
    if options.get("limit_val_batches") is not None:
        positive_number("limit_val_batches", options["limit_val_batches"])
    _check_devices(options.get("devices", "auto"))
    _check_time(options.get("max_time"))


def _same(value: Any, other: Any) -> bool:
    """Tell 1.0, all batches, from 1, which is one batch."""
    return other is not None and value == other and (not other or isinstance(value, float))


def _check_devices(devices: Any) -> None:
    several = isinstance(devices, list | tuple) and len(devices) > 0
    if several or (isinstance(devices, str) and devices.strip()):
        return
    if not _is_number(devices) or devices != -1:
        try:
            whole_number("devices", devices)
        except ValueError as error:
            raise ValueError(f'{error}, a list of indices, -1 or "auto"') from None


def _check_time(value: Any) -> None:
    if value is not None and not isinstance(value, str | dict | datetime.timedelta):
        raise ValueError(
            f"max_time={value!r}: expected 'days:hours:minutes:seconds', a dict such as {{'hours': 12}} or a timedelta"
        )


def check_recipe(recipe: Recipe, columns: Collection[str] | None = None) -> None:
    """Reject a recipe that cannot be carried out.

    Parameters
    ----------
    recipe : Recipe
    columns : collection of str, optional
        Of the table that it is for; default: those of its dataset.

    Raises
    ------
    ValueError
        Names the field and what is expected.

    Examples
    --------
    >>> from rinalmo_kit.recipes import RECIPES
    >>> check_recipe(with_changes(RECIPES["mrl"], {"target": "rl"}))
    Traceback (most recent call last):
    ValueError: target='rl': no such column; there are id, sequence, target, split
    """
    from ..datasets.schemas import SCHEMAS

    with_changes(recipe, {name: getattr(recipe, name) for name in FIELDS})
    if recipe.loss not in (losses := TASKS[recipe.task].losses):
        raise ValueError(f"loss={recipe.loss!r}: expected {' or '.join(losses)}, for the task {recipe.task}")
    columns = SCHEMAS.get(recipe.dataset) if columns is None else columns
    for name in ("target", "group"):
        column = getattr(recipe, name)
        if columns is not None and column is not None and column not in columns:
            raise ValueError(f"{name}={column!r}: no such column; there are {', '.join(columns)}")
    for name in ("weight_decay", "noise", "mutate"):
        if not _is_number(getattr(recipe, name)) or getattr(recipe, name) < 0:
            raise ValueError(f"{name}={getattr(recipe, name)!r}: expected a number, 0 or more")
    if recipe.seconds is not None:
        positive_number("seconds", recipe.seconds)
    if recipe.ema is not None:
        check_ema(recipe.ema)
    if recipe.map_entries is not None and not TASKS[recipe.task].predicts_structures:
        raise ValueError(f"map_entries={recipe.map_entries}: only structures have maps")
    if recipe.gradient_clip is not None:
        positive_number("gradient_clip", recipe.gradient_clip)
    for length in recipe.max_lengths:
        whole_number("max_lengths", length)
    for pair in recipe.unfreeze:
        good = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(_is_number, pair))
        if not good or pair[0] < 0 or not 0 < pair[1] <= 1:
            raise ValueError(f"unfreeze={recipe.unfreeze!r}: expected pairs of an epoch and a share above 0")


def check_ema(value: float) -> None:
    """Reject a decay of averaged weights that is not from 0 to 1.

    Examples
    --------
    >>> check_ema(1)
    Traceback (most recent call last):
    ValueError: ema=1: expected a number from 0 to below 1, such as 0.998
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"ema={value!r}: expected a number from 0 to below 1, such as 0.998")
