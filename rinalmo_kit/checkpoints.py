"""Checkpoints that appear whole or not at all, and are read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from .files import whole_file

__all__ = ["WholeCheckpoints"]


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the old one and then renamed.

    Lightning itself writes to the system's temporary folder and copies from there, so that a kill or a full disk
    leaves half a file in place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; raises OSError, with the old one as it was, if there is no room."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_over in path.parent.glob(
            f".{path.name}.*.tmp"
        ):  # of a process that was killed while writing
            left_over.unlink(missing_ok=True)
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch turns the system's error into one of its own
            kept = "the one before is as it was" if path.exists() else "there is none before it"
            raise OSError(
                f"the checkpoint {path} could not be written; {kept}. Is the disk full? Make room and start "
                f"the same run again: it goes on from there. ({error})"
            ) from error

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = "cpu",
        weights_only: bool | None = None,  # noqa: FBT001
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling anything but tensors and plain values."""
        return torch.load(path, map_location=map_location, weights_only=True)
