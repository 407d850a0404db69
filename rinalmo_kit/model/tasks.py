"""Tasks: what a model can be fine-tuned for, one class each, with all that is particular to it.

To add a task, write its head in :mod:`rinalmo_kit.model.heads` and a class here, and put an instance of it into
:data:`TASKS`. Training, prediction, evaluation, tables of users and the shell commands ask the task object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._utils.cells import cell_text
from .._utils.choices import did_you_mean
from ..metrics import (
    THRESHOLDS,
    StructureScores,
    binary_scores,
    multiclass_scores,
    regression_scores,
    structure_scores,
    threshold_scores,
    tune_threshold,
)
from ..rna.decoding import greedy_pairs
from ..rna.folded import FoldedRNA
from .batched_structure_head import PaddedMaps, padded_maps
from .devices import to_device
from .heads import ClassificationHead, NucleotideHead, RibosomeLoadHead, StructureHead
from .losses import observed_loss, padded_structure_loss, structure_loss
from .task_base import Outputs, Scorer, Task, objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .rinalmo import Encoder

__all__ = ["TASKS", "Task", "task_of", "user_task", "user_tasks"]


class StructureTask(Task):
    """Secondary structure: the base pairs of an RNA."""

    name = user_name = "structure"
    answers = "structures"
    head = StructureHead
    losses = ("pairs", "pairs-by-length")
    monitors = ("precision", "recall", "f1")
    target_columns = ("dot_bracket", "structure")
    loss, metric, epochs, batch_size = "pairs-by-length", "f1", 5, 4
    predicts_structures = whole = True
    scored = (*StructureScores._fields, "f1_strict")

    def new_head(
        self, dim: int, labels: Sequence[str] | None = None, *, loss: str | None = None
    ) -> nn.Module:
        head = StructureHead(dim)
        if loss == "pairs-by-length":  # ours: begin with what is known, that pairs are rare
            nn.init.constant_(cast(Tensor, head.conv_out.bias), -5.0)
        return head

    def head_from_state(self, state: Mapping[str, Tensor], dim: int) -> nn.Module | None:
        return StructureHead(dim) if "conv_out.weight" in state else None

    def apply_head(self, model: Encoder, representations: list[Tensor]) -> Outputs:
        head = cast(StructureHead, model.head)
        return [head(one[1:-1]) for one in representations]

    def apply_head_padded(self, model: Encoder, representations: list[Tensor], *, entries: int) -> Outputs:
        return padded_maps(model.head, representations, entries=entries)

    def check_sequence(self, name: str, sequence: str) -> None:
        super().check_sequence(name, sequence)
        if len(sequence) < 2:
            raise ValueError(f"{name!r}: one nucleotide has no structure to learn; leave it out")

    def check_cell(self, name: str, sequence: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{name!r}: expected a dot-bracket structure, found {value!r}")
        return FoldedRNA.from_dot_bracket(sequence, value, name=name).dot_bracket

    def target(
        self, name: str, sequence: str, value: Any, class_names: tuple[str, str] | None = None
    ) -> FoldedRNA:
        return FoldedRNA.from_dot_bracket(sequence, value, name=name)

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        """Targets are structures, or pairs with ``values``, their probabilities."""
        by_length = kind == "pairs-by-length"
        if isinstance(outputs, PaddedMaps):
            found = []
            for rows, logits, lengths in outputs.groups:
                chosen = [targets[row] for row in rows]
                pairs, values = [s.pairs for s in chosen], [getattr(s, "values", None) for s in chosen]
                found.append(
                    padded_structure_loss(logits, lengths, pairs, values=values, by_length=by_length)
                )
            return torch.cat(found).mean()
        losses = [
            structure_loss(one, s.pairs, values=getattr(s, "values", None), by_length=by_length)
            for one, s in zip(outputs, targets, strict=True)
        ]
        return torch.stack(losses).mean()

    def validate(
        self, model: Encoder, outputs: Outputs, sequences: Sequence[str], targets: Sequence[Any]
    ) -> list[NDArray[np.float64]]:
        found = []
        for sequence, target, logits in zip(sequences, targets, outputs, strict=True):
            probabilities = logits.float().sigmoid().cpu().numpy()
            pairs = greedy_pairs(probabilities, sequence, threshold=THRESHOLDS[0])
            found.append(threshold_scores(target, *pairs))
        return found

    def validation_scores(self, model: Encoder, found: Sequence[Any]) -> dict[str, float]:
        threshold, means = tune_threshold(found)
        model.threshold = threshold
        best = means[THRESHOLDS.index(threshold)]
        scores = dict(zip(("precision", "recall", "f1"), best.tolist(), strict=False))
        return {**scores, "threshold": threshold}

    def sample(self, target: Any, predicted: Any) -> dict[str, Any]:
        strict = structure_scores(target, predicted, shift=0).f1
        return {**structure_scores(target, predicted)._asdict(), "f1_strict": strict}

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        values, lengths = np.stack([samples[name] for name in self.scored], axis=1), samples["length"]
        f1 = self.scored.index("f1")

        def means(chosen: NDArray[np.int64]) -> dict[str, float]:
            mean = dict(zip(self.scored, values[chosen].mean(axis=0).tolist(), strict=True))
            weighted = np.average(values[chosen, f1], weights=lengths[chosen])
            return {**mean, "f1_length_weighted": float(weighted)}

        return means


class ClassificationTask(Task):
    """What the two kinds of classification have in common."""

    user_name = "classification"
    answers = "classes"
    head = ClassificationHead
    target_columns = ("label", "class", "family", "target")
    metric = "accuracy"

    def head_from_state(self, state: Mapping[str, Tensor], dim: int) -> nn.Module | None:
        first, last = (state.get(f"classifier.{i}.weight") for i in (0, 2))
        if first is None or last is None or first.dim() != 2 or last.dim() != 2:
            return None
        return ClassificationHead(dim, len(first), len(last))

    def count_classes(self, head: nn.Module) -> int | None:
        return max(2, _logits(head))  # one logit for yes or no

    def read_rows(self, representation: Tensor) -> Tensor:
        return representation[:1]

    def apply_head(self, model: Encoder, representations: list[Tensor]) -> Outputs:
        return cast(ClassificationHead, model.head)(torch.stack([one[0] for one in representations]))

    def columns(self, model: Encoder, outputs: Sequence[NDArray[np.floating]]) -> dict[str, Any]:
        classes = _logits(cast(nn.Module, model.head))
        logits = np.array(outputs, dtype=np.float64).reshape(-1, classes)
        if classes == 1:  # one logit for yes or no
            yes = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
            probabilities = np.concatenate((1 - yes, yes), axis=1)
        else:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
            probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        names = model.labels or [f"class {i}" for i in range(probabilities.shape[1])]
        labels = np.array(names, dtype=object)
        return {
            "label": labels[probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1, initial=0.0),
            **{f"P({label})": probabilities[:, i] for i, label in enumerate(labels)},
        }

    def column_kind(self, column: str) -> Literal["text", "number", "numbers"]:
        return "text" if column == "label" else "number"

    def answers_in(self, columns: Mapping[str, Any]) -> Sequence[Any]:
        return columns["label"]

    def check_cell(self, name: str, sequence: str, value: Any) -> str:
        try:
            return cell_text(value, "the name of a class")
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from None

    def target(self, name: str, sequence: str, value: Any, class_names: tuple[str, str] | None = None) -> str:
        return class_names[int(value)] if class_names else str(value)

    def encode_targets(self, model: Encoder, targets: Sequence[Any]) -> list[int]:
        index = {label: i for i, label in enumerate(model.labels or ())}
        return [index[target] for target in targets]

    def constant(self, targets: Sequence[Any]) -> Any:
        return Counter(targets).most_common(1)[0][0]

    def for_labels(self, labels: Sequence[str] | None) -> Task:
        return TASKS["binary" if labels is not None and len(labels) == 2 else "multiclass"]


class BinaryTask(ClassificationTask):
    """Yes or no, as splice sites: one logit for the second of two classes."""

    name = "binary"
    losses = ("binary",)
    loss = "binary"
    monitors = ("accuracy", "precision", "recall", "specificity", "f1")
    most_classes = 2

    def new_head(
        self, dim: int, labels: Sequence[str] | None = None, *, loss: str | None = None
    ) -> nn.Module:
        return ClassificationHead(dim, 128, 1)

    def owns(self, head: nn.Module | None) -> bool:
        return isinstance(head, ClassificationHead) and _logits(head) == 1

    def order_labels(self, counts: Mapping[str, int], class_names: tuple[str, str] | None) -> tuple[str, ...]:
        return class_names or tuple(sorted(counts))  # the negative one first

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        logits = cast(Tensor, outputs).float().squeeze(1)
        wanted = to_device(torch.tensor(targets, dtype=torch.float32), logits.device)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        positive = cast(Sequence[str], labels)[1]
        targets, predicted = samples["target"] == positive, samples["prediction"] == positive
        return lambda chosen: binary_scores(targets[chosen], predicted[chosen])


class MulticlassTask(ClassificationTask):
    """One of several classes, as families of ncRNAs."""

    name = "multiclass"
    losses = ("classes",)
    loss = "classes"
    monitors = ("accuracy", "f1")
    most_classes = None

    def new_head(
        self, dim: int, labels: Sequence[str] | None = None, *, loss: str | None = None
    ) -> nn.Module:
        return ClassificationHead(dim, 256, len(labels or ()))

    def order_labels(self, counts: Mapping[str, int], class_names: tuple[str, str] | None) -> tuple[str, ...]:
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))  # spec §5, ncRNA

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        logits = cast(Tensor, outputs).float()
        return F.cross_entropy(logits, to_device(torch.tensor(targets), logits.device))

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        both = np.concatenate((samples["target"], samples["prediction"])).astype(str)
        targets, predicted = np.split(np.unique(both, return_inverse=True)[1], 2)
        return lambda chosen: multiclass_scores(targets[chosen], predicted[chosen])


class RegressionTask(Task):
    """A number for each sequence, as mean ribosome load."""

    name = user_name = "regression"
    answers = "numbers"
    head: type[nn.Module] = RibosomeLoadHead
    padded = True

    def head_from_state(self, state: Mapping[str, Tensor], dim: int) -> nn.Module | None:
        return RibosomeLoadHead(dim) if "linear_out.weight" in state else None

    def apply_head(self, model: Encoder, representations: list[Tensor]) -> Outputs:
        lengths = torch.tensor([len(one) for one in representations])
        # A sequence beyond pad_to is padded to nothing; it is alone in its batch, see batches_for
        width = max(model.pad_to or 0, int(lengths.max()))
        padded = torch.stack([F.pad(one, (0, 0, 0, width - len(one))) for one in representations])
        valid = torch.arange(width) < lengths[:, None]
        return cast(RibosomeLoadHead, model.head)(padded, to_device(valid, padded.device))

    def columns(self, model: Encoder, outputs: Sequence[NDArray[np.floating]]) -> dict[str, Any]:
        mean, std = model.scaler or (0.0, 1.0)
        return {"prediction": np.array(outputs, dtype=np.float64).reshape(-1) * std + mean}

    def check_cell(self, name: str, sequence: str, value: Any) -> Any:
        number = _number(value)
        if not np.isfinite(number):
            raise ValueError(f"{name!r}: expected a number, found {value!r}")
        return number

    def target(self, name: str, sequence: str, value: Any, class_names: tuple[str, str] | None = None) -> Any:
        return float(value)

    def scaler(self, targets: Sequence[Any], loss: str) -> tuple[float, float] | None:
        values = np.array(targets)
        return (float(values.mean()), float(values.std()) or 1.0) if loss == "mse" else None

    def encode_targets(self, model: Encoder, targets: Sequence[Any]) -> list[Any]:
        mean, std = model.scaler or (0.0, 1.0)
        return [(target - mean) / std for target in targets]

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        found = cast(Tensor, outputs).float()
        return observed_loss(kind, found, torch.tensor(targets, dtype=torch.float32))

    def constant(self, targets: Sequence[Any]) -> Any:
        return float(np.mean(targets))

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        targets, predicted = samples["target"], samples["prediction"]
        return lambda chosen: regression_scores(targets[chosen], predicted[chosen])


class NucleotideRegressionTask(RegressionTask):
    """A number for each nucleotide, as chemical reactivity; numbers that were not measured are NaN."""

    name = user_name = "nucleotide-regression"
    answers = "numbers of nucleotides"
    head = NucleotideHead
    target_columns = ("reactivity", "target", "values", "value")
    monitors = ("spearman", "pearson", "r2")
    metric = "spearman"
    padded = False
    whole = True

    def head_from_state(self, state: Mapping[str, Tensor], dim: int) -> nn.Module | None:
        weight = state.get("regressor.0.weight")
        return NucleotideHead(dim, len(weight)) if weight is not None and weight.dim() == 2 else None

    def apply_head(self, model: Encoder, representations: list[Tensor]) -> Outputs:
        inner = [one[1:-1] for one in representations]
        numbers = cast(NucleotideHead, model.head)(torch.cat(inner))
        return list(numbers.split([len(one) for one in inner]))

    def columns(self, model: Encoder, outputs: Sequence[NDArray[np.floating]]) -> dict[str, Any]:
        mean, std = model.scaler or (0.0, 1.0)
        return {"prediction": objects([np.asarray(one, dtype=np.float64) * std + mean for one in outputs])}

    def column_kind(self, column: str) -> Literal["text", "number", "numbers"]:
        return "numbers"

    def check_cell(self, name: str, sequence: str, value: Any) -> NDArray[np.float64]:
        cells = _split(value) if isinstance(value, str) else value
        if not isinstance(cells, list | tuple | np.ndarray):
            raise ValueError(f"{name!r}: expected a number for each nucleotide, found {value!r}")
        numbers = np.array([np.nan if _is_empty(cell) else _number(cell) for cell in cells], dtype=np.float64)
        if bad := [i for i, n in enumerate(numbers) if not np.isfinite(n) and not _is_empty(cells[i])]:
            raise ValueError(
                f"{name!r}, position {bad[0] + 1}: expected a number, or nan where there is none, "
                f"found {cells[bad[0]]!r}"
            )
        if len(numbers) != len(sequence):
            raise ValueError(
                f"{name!r}: {len(numbers)} numbers for {len(sequence)} nucleotides: expected one for each, "
                "nan where there is none"
            )
        if np.isnan(numbers).all():
            raise ValueError(f"{name!r}: expected a number for one nucleotide at least")
        return numbers

    def target(
        self, name: str, sequence: str, value: Any, class_names: tuple[str, str] | None = None
    ) -> NDArray[np.float64]:
        return self.check_cell(name, sequence, value)

    def target_text(self, target: Any) -> str:
        return " ".join(map(str, target.tolist())) if isinstance(target, np.ndarray) else str(target)

    def scaler(self, targets: Sequence[Any], loss: str) -> tuple[float, float] | None:
        values = np.concatenate(targets)
        return super().scaler(values[~np.isnan(values)].tolist(), loss)

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        return super().compute_loss(kind, torch.cat(list(outputs)), np.concatenate(targets).tolist())

    def constant(self, targets: Sequence[Any]) -> float:
        return float(np.nanmean(np.concatenate(targets)))

    def answer_all(self, constant: Any, sequences: Sequence[str]) -> list[Any]:
        return [np.full(len(sequence), constant) for sequence in sequences]

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        """Scores are those of all nucleotides of the samples together."""

        def scores(chosen: NDArray[np.int64]) -> dict[str, float]:
            targets = np.concatenate(list(samples["target"][chosen]))
            predicted = np.concatenate(list(samples["prediction"][chosen]))
            observed = ~np.isnan(targets)
            return regression_scores(targets[observed], predicted[observed])

        return scores


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        StructureTask(),
        BinaryTask(),
        MulticlassTask(),
        RegressionTask(),
        NucleotideRegressionTask(),
    )
}
"""Name in recipes → task."""


def user_tasks() -> tuple[str, ...]:
    """Return what users call the tasks: ``task=…`` and ``--task`` for a table of your own."""
    return tuple(dict.fromkeys(task.user_name for task in TASKS.values()))


def user_task(name: str, classes: int = 0) -> Task:
    """Return the task that users call by a name, for so many classes, if it classifies.

    Raises
    ------
    ValueError
        For an unknown name; lists those there are.

    Examples
    --------
    >>> user_task("classification", 3).name, user_task("regression").name
    ('multiclass', 'regression')
    """
    if name not in user_tasks():
        known = user_tasks()
        raise ValueError(f"task={name!r}{did_you_mean(name, known)}: expected one of {', '.join(known)}")
    named = [task for task in TASKS.values() if task.user_name == name]
    return next(task for task in named if not task.most_classes or classes <= task.most_classes)


def task_of(head: nn.Module | None) -> Task | None:
    """Return the task that a head is for; None without one, or for a head of your own that no task knows.

    Examples
    --------
    >>> task_of(StructureHead(24)).name, task_of(ClassificationHead(24, 8, 1)).name, task_of(None)
    ('structure', 'binary', None)
    """
    return next((task for task in TASKS.values() if task.owns(head)), None)


def _logits(head: nn.Module) -> int:
    """Return the number of outputs of a classification head."""
    return cast(nn.Linear, cast(ClassificationHead, head).classifier[2]).out_features


def _number(value: Any) -> float:
    """Return the number that a cell of a table holds; NaN if it holds none."""
    text = isinstance(value, str) and value.isascii() and "_" not in value
    if (text or isinstance(value, Real | Decimal)) and not isinstance(value, bool | np.bool_):
        with suppress(ValueError, OverflowError):
            return float(value)
    return float("nan")


def _split(text: str) -> list[str]:
    """Return the numbers of a cell, as text: separated by commas or white space, in brackets or not."""
    text = text.strip().removeprefix("[").removesuffix("]")
    return [cell.strip() for cell in text.split(",")] if "," in text else text.split()


def _is_empty(cell: Any) -> bool:
    """Return whether a number is stated to be missing."""
    if isinstance(cell, str):
        return cell.lower() in ("", "nan", "na", "null", "none")
    return cell is None or (isinstance(cell, float | np.floating) and bool(np.isnan(cell)))
