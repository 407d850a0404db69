"""Metadata of a model (threshold, labels, provenance, …), and the schema that checks it on loading and saving.

A model file may come from anyone. Nothing in it is evaluated; what is not as it should be is rejected by name.
"""

from __future__ import annotations

import itertools
import json
import math
import numbers
import re
import reprlib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._utils.rows import parse
from ..rna.rules import Decoding
from .whitening import Whitening

__all__ = [
    "ModelInfo",
    "check_heads",
    "check_metadata",
    "check_scaler",
    "check_threshold",
    "read_json",
    "read_metadata",
]

LONGEST = 4_000_000
"""Characters of a JSON text."""


DEEPEST = 300
"""Lists and objects inside each other: every round of fine-tuning puts what was known before one deeper."""


LARGEST_SIZE = 100_000
"""Of ``pad_to`` and ``window``."""


MOST_LABELS, LONGEST_LABEL = 10_000, 1_000


MOST_POINTS = 1_000


@dataclass
class ModelInfo:
    """Metadata of a model: all that it carries beside its weights.

    In a file, ``threshold``, ``scaler``, as in the official ones, and ``whitening`` are tensors; the rest is JSON in
    the metadata.

    Attributes
    ----------
    threshold : float or None
        Pairing threshold tuned on the validation set, for a structure head.
    scaler : (float, float) or None
        Mean and standard deviation of the training targets, for a regression head.
    calibration : tuple of (float, float) or None
        From the F1 that a structure head expects to the one that is seen (:mod:`rinalmo_kit.inference.confidence`).
    labels : tuple of str or None
        Names of the classes, for a classification head.
    pad_to : int or None
        Tokens every sequence is padded to, for a regression head, whose result depends on it (spec §3.4).
    window : int or None
        Nucleotides in the middle of a sequence that a classifier or a regression is shown; None: all.
    decoding : Decoding or None
        How a structure head's probabilities become pairs; None: greedily, as the paper's (spec §4.1).
    whitening : Whitening or None
        Of pooled embeddings, for ``embed(whiten=True)`` (:mod:`rinalmo_kit.model.whitening`).
    about : dict
        What is known of its training: recipe, fold, data.

    Examples
    --------
    >>> ModelInfo(threshold=0.25, labels=("no", "yes")).to_file("my.safetensors")
    ({'threshold': tensor(0.2500, dtype=torch.float64)}, '{"labels": ["no", "yes"]}')
    """

    threshold: float | None = None
    scaler: tuple[float, float] | None = None
    calibration: tuple[tuple[float, float], ...] | None = None
    labels: tuple[str, ...] | None = None
    pad_to: int | None = None
    window: int | None = None
    decoding: Decoding | None = None
    whitening: Whitening | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_file(
        cls, state: MutableMapping[str, Tensor], metadata: Mapping[str, Any], source: str
    ) -> ModelInfo:
        """Return the checked metadata of a file; its tensors are taken out of the state dict.

        Raises
        ------
        ValueError
            Names the file, the key, what was expected and what was found.
        """
        threshold = check_threshold(state.pop("threshold", metadata.get("threshold")), source)
        mean, std = (state.pop(f"scaler.{key}", None) for key in ("_mean", "_std"))
        scaler = check_scaler(mean, std, source)
        whitening = Whitening.from_tensors(state, source)
        known = read_metadata(metadata["rinalmo_kit"], source) if "rinalmo_kit" in metadata else {}
        return cls(threshold=threshold, scaler=scaler, whitening=whitening, **known)

    def to_file(self, source: str) -> tuple[dict[str, Tensor], str]:
        """Return the tensors and the JSON text that a file keeps, checked as on reading.

        Raises
        ------
        ValueError
            For what cannot be written, or could not be read again.
        """
        tensors = {}
        if (threshold := check_threshold(self.threshold, source)) is not None:
            tensors["threshold"] = torch.tensor(threshold, dtype=torch.float64)
        mean, std = self.scaler or (None, None)
        if scaler := check_scaler(mean, std, source):
            for key, number in zip(("_mean", "_std"), scaler, strict=True):
                tensors[f"scaler.{key}"] = torch.tensor([number], dtype=torch.float64)
        if self.whitening is not None:
            self.whitening.check(source)
            tensors |= self.whitening.to_tensors()
        texts = []
        for key in METADATA_FIELDS:
            value = getattr(self, key)
            if value is None or (isinstance(value, tuple | list | dict) and not value):
                continue
            value = value.as_json() if isinstance(value, Decoding) else value
            try:
                texts.append(f"{json.dumps(key)}: {json.dumps(value)}")
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"{source}: {key} cannot be written as JSON: {error}") from error
        text = "{" + ", ".join(texts) + "}"
        read_metadata(text, source)
        return tensors, text

    def identity(self) -> tuple[Any, ...]:
        """Return all that a model's results depend on beside its weights."""
        plain = (self.threshold, self.calibration, self.scaler, self.labels, self.pad_to, self.window)
        later = (self.decoding, None if self.whitening is None else self.whitening.digest())
        return (*plain, *(one for one in later if one is not None))

    def for_new_task(
        self,
        *,
        labels: tuple[str, ...] | None = None,
        pad_to: int | None = None,
        window: int | None = None,
    ) -> ModelInfo:
        """Return the info of a model that is about to learn a task: of the old one only its provenance is kept."""
        return ModelInfo(labels=labels, pad_to=pad_to, window=window, about=self.about)


def read_metadata(text: Any, source: str) -> dict[str, Any]:
    """Return the checked metadata in a file.

    Parameters
    ----------
    text : str
        JSON: the entry ``rinalmo_kit`` of the file's metadata.
    source : str
        The file, for errors.

    Returns
    -------
    dict
        With some of the keys ``labels`` (tuple of str), ``pad_to``, ``window`` (int), ``calibration`` (tuple of pairs),
        ``decoding`` (Decoding) and ``about`` (dict).

    Raises
    ------
    ValueError
        Names the file, the key, what was expected and what was found.

    Examples
    --------
    >>> read_metadata('{"labels": ["no", "yes"], "window": 80}', "my.safetensors")
    {'labels': ('no', 'yes'), 'window': 80}
    >>> read_metadata('{"window": "wide"}', "my.safetensors")
    Traceback (most recent call last):
    ...
    ValueError: my.safetensors: window: expected a whole number from 1 to 100,000, found 'wide'
    """
    return check_metadata(read_json(text, source, "rinalmo_kit"), source)


def check_metadata(facts: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the facts of :func:`read_metadata` as a model has them, or raise ValueError."""
    if unknown := [key for key in facts if key not in METADATA_FIELDS]:
        raise ValueError(
            f"{source}: unknown entry {_shown(unknown[0])}; expected {', '.join(METADATA_FIELDS)}. "
            "Was the file written by a newer rinalmo_kit?"
        )
    return {key: METADATA_FIELDS[key](value, source, key) for key, value in facts.items()}


def read_json(text: Any, source: str, key: str) -> dict[str, Any]:
    """Return the JSON object that a text holds, or raise ValueError; nothing in it is infinite, doubled or too deep.

    Examples
    --------
    >>> read_json('{"a": 1, "a": 2}', "my.safetensors", "encoder")
    Traceback (most recent call last):
    ...
    ValueError: my.safetensors: encoder: the key 'a' appears twice
    """
    if not isinstance(text, str):
        raise _wrong(source, key, "JSON text", text)
    if len(text) > LONGEST:
        raise ValueError(f"{source}: {key}: {len(text):,} characters, expected at most {LONGEST:,}")
    try:
        found = json.loads(
            text, object_pairs_hook=_object, parse_constant=_not_finite, parse_float=_finite_float
        )
        too_deep = _deeper_than(DEEPEST, found)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        what = f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else error
        raise ValueError(f"{source}: {key}: {what}") from None
    if too_deep:
        raise ValueError(f"{source}: {key}: nested more than {DEEPEST} deep")
    if not isinstance(found, dict):
        raise _wrong(source, key, "a JSON object", found)
    return found


def check_threshold(value: Any, source: str) -> float | None:
    """Return a pairing threshold, from 0 to 1, or raise ValueError."""
    if value is None:
        return None
    number = _number(value)
    if not 0 <= number <= 1:
        raise _wrong(source, "threshold", "one number from 0 to 1", value)
    return number


def check_scaler(mean: Any, std: Any, source: str) -> tuple[float, float] | None:
    """Return mean and standard deviation of training targets, the latter above 0, or raise ValueError."""
    if mean is None and std is None:
        return None
    found = {"scaler._mean": mean, "scaler._std": std}
    for key, value in found.items():
        if value is None:
            raise ValueError(f"{source}: {key} is missing")
        if not math.isfinite(_number(value)):
            raise _wrong(source, key, "one finite number", value)
    if not _number(std) > 0:
        raise _wrong(source, "scaler._std", "a number above 0", std)
    return _number(mean), _number(std)


def check_heads(value: Any, source: str) -> int:
    """Return a number of attention heads that a file states, or raise ValueError."""
    text = str(value) if _is_whole(value) else value
    if not isinstance(text, str) or not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise _wrong(source, "heads", "the number of attention heads", value)
    return int(text)


def _labels(value: Any, source: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_LABELS:
        raise _wrong(source, key, f"a list of 2 to {MOST_LABELS:,} names of classes", value)
    for label in value:
        if (
            not isinstance(label, str)
            or not 1 <= len(label) <= LONGEST_LABEL
            or re.search("[\ud800-\udfff]", label)
        ):
            raise _wrong(source, key, f"names of 1 to {LONGEST_LABEL:,} characters", label)
    if len(set(value)) < len(value):
        twice = next(label for label in value if value.count(label) > 1)
        raise ValueError(f"{source}: {key}: {_shown(twice)} appears twice")
    return tuple(value)


def _size(value: Any, source: str, key: str) -> int:
    if not _is_whole(value) or not 1 <= value <= LARGEST_SIZE:
        raise _wrong(source, key, f"a whole number from 1 to {LARGEST_SIZE:,}", value)
    return int(value)


def _calibration(value: Any, source: str, key: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_POINTS:
        raise _wrong(source, key, f"a list of 1 to {MOST_POINTS:,} points", value)
    for point in value:
        if not isinstance(point, list) or len(point) != 2 or not all(0 <= _number(one) <= 1 for one in point):
            raise _wrong(source, key, "points of two numbers from 0 to 1", point)
    if any(a[0] > b[0] for a, b in itertools.pairwise(value)):
        raise ValueError(f"{source}: {key}: expected points from left to right, found {_shown(value)}")
    return tuple((x, y) for x, y in value)


def _decoding(value: Any, source: str, key: str) -> Decoding:
    if not isinstance(value, dict):
        raise _wrong(source, key, "an object", value)
    try:
        return Decoding.from_json(value)
    except ValueError as error:
        raise ValueError(f"{source}: {key}: {error}") from None


def _about(value: Any, source: str, key: str) -> dict[str, Any]:
    """Check what is known of a training, and of those before it; entries that we do not use may be anything."""
    if not isinstance(value, dict):
        raise _wrong(source, key, "an object", value)
    training: Any = value
    while training:
        for name, (kind, what) in ABOUT.items():
            if not isinstance(found := training.get(name), kind | None) or isinstance(found, bool):
                raise _wrong(source, f"{key}.{name}", what, found)
        if (rows := training.get("rows")) is not None:
            try:
                parse(rows)
            except ValueError as error:
                raise ValueError(f"{source}: {key}.rows: {error}") from None
        key, training = f"{key}.earlier", training.get("earlier")
    return value


METADATA_FIELDS: dict[str, Callable[[Any, str, str], Any]] = {
    "labels": _labels,
    "pad_to": _size,
    "window": _size,
    "calibration": _calibration,
    "decoding": _decoding,
    "about": _about,
}
"""What the metadata of a file may say of a model, in the order of files, and what checks it."""


ABOUT: dict[str, tuple[type, str]] = {
    "recipe": (str, "a name"),
    "fold": (int, "a whole number"),
    "dataset": (str, "a name"),
    "rows": (str, "a condition"),
    "limit": (int, "a whole number"),
    "start": (str, "a name"),
    "own data": (int, "a whole number"),
    "pretraining": (dict, "an object"),
    "earlier": (dict, "an object"),
}
"""What is known of a training: kinds of the entries that are used."""


def _number(value: Any) -> float:
    """Return a plain real number, or the only one of a tensor; NaN for anything else."""
    if isinstance(value, Tensor):
        odd = value.is_meta or value.is_quantized or value.is_sparse or value.is_complex()
        if odd or value.dtype == torch.bool or value.numel() != 1:
            return math.nan
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {_shown(key)} appears twice")
        found[key] = value
    return found


def _not_finite(text: str) -> Any:
    raise ValueError(f"expected finite numbers, found {text}")


def _finite_float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _not_finite(text[:40])


def _deeper_than(most: int, value: Any) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ())
        ]
        if not level:
            return False
    return True


def _wrong(source: str, key: str, expected: str, found: Any) -> ValueError:
    return ValueError(f"{source}: {key}: expected {expected}, found {_shown(found)}")


def _shown(value: Any) -> str:
    """Show a value in a line, whatever its size and depth."""
    return reprlib.repr(value).replace("\n", " ")[:200]
