"""What a task is: the base class, to whose methods :mod:`rinalmo_kit.model.tasks` gives a body for each task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .rinalmo import Encoder

__all__ = ["Outputs", "Scorer", "Task", "objects", "to_arrays"]

Outputs = list[Tensor] | Tensor
"""What a head gives for a batch: a tensor with a row for each sequence, or a tensor for each."""


Scorer = Callable[[Any], dict[str, float]]
"""From indices of samples, int64 (n,), to their scores."""


class Task:
    """What a model can be fine-tuned for. Tasks have no state; what was learned is in the model.

    Attributes
    ----------
    name, user_name : str
        The name in recipes, and the one in ``task=…`` and ``--task`` for a table of your own.
    answers : str
        What is predicted, for messages.
    head : type of nn.Module
    losses : tuple of str
        Names of the losses that a recipe may have.
    monitors : tuple of str
        Scores of the validation set by which the best epoch can be chosen.
    target_columns : tuple of str
        Names under which the target column of a user's table is looked for.
    loss, metric, epochs, batch_size
        Defaults for a user's table.
    predicts_structures : bool
        Its answers are structures, made by :func:`rinalmo_kit.fold`; else :func:`rinalmo_kit.predict` makes them.
    padded : bool
        What a sequence gets depends on how far its batch is padded (spec §3.4).
    whole : bool
        Has an answer for every nucleotide, so that no window can be cut out of a sequence.
    most_classes : int or None
        Number of classes that it can tell apart, for classifiers; 0: it does not classify; None: any number.
    """

    name: str
    user_name: str
    answers: str
    head: type[nn.Module]
    losses: tuple[str, ...] = ("mse", "huber")
    monitors: tuple[str, ...] = ("r2", "spearman", "pearson")
    target_columns: tuple[str, ...] = ("target", "value", "label", "y")
    loss: str = "mse"
    metric: str = "r2"
    epochs: int = 10
    batch_size: int = 16
    predicts_structures: bool = False
    padded: bool = False
    whole: bool = False
    most_classes: int | None = 0

    @property
    def classifies(self) -> bool:
        """Whether its answers are names of classes."""
        return self.most_classes != 0

    # --- the head ------------------------------------------------------------------------------------------

    def new_head(
        self, dim: int, labels: Sequence[str] | None = None, *, loss: str | None = None
    ) -> nn.Module:
        """Make a head with random weights, for an encoder of a width, the names of the classes and a loss."""
        return self.head(dim)

    def owns(self, head: nn.Module | None) -> bool:
        """Return whether a head is one of this task."""
        return isinstance(head, self.head)

    def head_from_state(self, state: Mapping[str, Tensor], dim: int) -> nn.Module | None:
        """Make the head that a state dict describes, not filled yet; None if it is not one of this task."""
        raise NotImplementedError

    def count_classes(self, head: nn.Module) -> int | None:
        """Return the number of classes that a head tells apart; None if it does not classify."""
        return None

    # --- from representations to answers -----------------------------------------------------------------------

    def read_rows(self, representation: Tensor) -> Tensor:
        """Return the rows of a representation, (L + 2, dim), that the head reads, for keeping them in memory."""
        return representation

    def apply_head(self, model: Encoder, representations: list[Tensor]) -> Outputs:
        """Apply a model's head to the representations of sequences, each (L + 2, dim).

        Returns
        -------
        list of Tensor
            Of each sequence (L, L) pairing logits, or (L,) numbers.
        Tensor
            (B, classes) logits, or (B,) numbers, in the scale of the training targets.
        """
        raise NotImplementedError

    def apply_head_padded(self, model: Encoder, representations: list[Tensor], *, entries: int) -> Outputs:
        """Apply a model's head as :meth:`apply_head` does; maps of `entries` entries together, where it makes maps."""
        return self.apply_head(model, representations)

    def columns(self, model: Encoder, outputs: Sequence[NDArray[np.floating]]) -> dict[str, Any]:
        """Return the columns of :func:`rinalmo_kit.predict` for the outputs of each sequence."""
        raise NotImplementedError

    def column_kind(self, column: str) -> Literal["text", "number", "numbers"]:
        """Return what kind of value a cell of one of the columns holds."""
        return "number"

    def answers_in(self, columns: Mapping[str, Any]) -> Sequence[Any]:
        """Return the column with the answers that are scored."""
        return columns["prediction"]

    # --- targets -----------------------------------------------------------------------------------------------

    def check_sequence(self, name: str, sequence: str) -> None:
        """Raise ValueError for a sequence from which nothing can be learned."""
        if not sequence:
            raise ValueError(f"{name!r} is empty: expected a sequence")

    def check_cell(self, name: str, sequence: str, value: Any) -> Any:
        """Return the cell of a user's table in the form that the task's datasets have, or raise ValueError."""
        raise NotImplementedError

    def target(self, name: str, sequence: str, value: Any, class_names: tuple[str, str] | None = None) -> Any:
        """Return the target that a cell of a dataset's table stands for."""
        raise NotImplementedError

    def order_labels(self, counts: Mapping[str, int], class_names: tuple[str, str] | None) -> tuple[str, ...]:
        """Return the names of the classes in the order of the head's outputs, from their training rows."""
        raise NotImplementedError

    def target_text(self, target: Any) -> str:
        """Return a text that is another one for another target."""
        return str(target)

    def scaler(self, targets: Sequence[Any], loss: str) -> tuple[float, float] | None:
        """Return the mean and standard deviation of the training targets, where the loss needs them standardised."""
        return None

    def encode_targets(self, model: Encoder, targets: Sequence[Any]) -> list[Any]:
        """Return targets in the scale of the model's outputs, as the loss takes them."""
        return list(targets)

    def compute_loss(self, kind: str, outputs: Outputs, targets: Sequence[Any]) -> Tensor:
        """Compute the loss of a batch, the mean over its sequences, by the name that recipes use."""
        raise NotImplementedError

    # --- scores ------------------------------------------------------------------------------------------------

    def constant(self, targets: Sequence[Any]) -> Any:
        """Return the best answer that does not look at the sequence."""
        raise NotImplementedError

    def answer_all(self, constant: Any, sequences: Sequence[str]) -> list[Any]:
        """Return the answers of a predictor that gives the same one to each sequence."""
        return [constant] * len(sequences)

    def validate(
        self, model: Encoder, outputs: Outputs, sequences: Sequence[str], targets: Sequence[Any]
    ) -> list[Any]:
        """Return what is kept of each sequence of a validation batch until all are there."""
        answers = self.answers_in(self.columns(model, to_arrays(outputs, torch.float64)))
        return list(zip(targets, answers, strict=True))

    def validation_scores(self, model: Encoder, found: Sequence[Any]) -> dict[str, float]:
        """Return the scores of a validation set; what is tuned on it is put into the model."""
        targets, answers = zip(*found, strict=True)
        samples = {"target": objects(targets), "prediction": objects(answers)}
        return self.scorer(samples, model.labels)(np.arange(len(found)))

    def sample(self, target: Any, predicted: Any) -> dict[str, Any]:
        """Return what the table of test samples says of one."""
        return {"target": target, "prediction": predicted}

    def for_labels(self, labels: Sequence[str] | None) -> Task:
        """Return the task by whose scores a model with these labels is measured."""
        return self

    def scorer(self, samples: Mapping[str, NDArray[Any]], labels: Sequence[str] | None = None) -> Scorer:
        """Return a function from indices of samples to their scores.

        Parameters
        ----------
        samples : mapping of ndarray
            Columns of :meth:`sample`, and ``length``.
        labels : sequence of str, optional
            Names of the classes; of two the second is the positive one.
        """
        raise NotImplementedError


def to_arrays(outputs: Outputs, dtype: torch.dtype = torch.float32) -> list[NDArray[np.floating]]:
    """Return the outputs of a head for each sequence of a batch as NumPy arrays."""
    if isinstance(outputs, list):
        return [one.cpu().to(dtype).numpy() for one in outputs]
    return list(outputs.cpu().to(dtype).numpy())  # not before: MPS has no float64


def objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return an array, (n,), of anything, arrays of different lengths among it."""
    values = list(values)
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found
