"""Checkpoints of a run, written atomically and read without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from .._utils.extras import importing
from .._utils.files import atomic_write

with importing("lightning", "training needs Lightning: pip install 'rinalmo-kit[training]'"):
    from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

__all__ = ["read_checkpoint"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written to a temporary file and then renamed.

    Lightning itself writes to the system's temporary folder and copies from there, so that a kill or a full disk
    leaves half a file in place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; raises OSError, with the old one as it was, if there is no room."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process killed while writing
            left_over.unlink(missing_ok=True)
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch turns the system's error into one of its own
            kept = "the one before is as it was" if path.exists() else "there is none before it"
            raise OSError(
                f"the checkpoint {path} could not be written; {kept}. Is the disk full? Make room and start "
                f"the same run again: it resumes from there. ({error})"
            ) from error

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = "cpu",
        weights_only: bool | None = None,  # noqa: FBT001
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling anything but tensors and plain values."""
        return read_checkpoint(Path(path), map_location)


PARTS = ("state_dict", "position", "threshold")


def read_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint, unpickling nothing but tensors and plain values.

    Raises
    ------
    ValueError
        If it is empty, cut or something else; says what to do.
    """
    try:
        found = torch.load(path, map_location=device, weights_only=True)
        if isinstance(found, dict) and all(part in found for part in PARTS):
            return found
        wrong = "it is not a checkpoint of a run"
    except MemoryError:
        raise
    except Exception as error:  # torch, zipfile and pickle raise what they come to
        wrong = str(error).partition("\n")[0][:200] if path.stat().st_size else "it is empty"
    other = path.with_name("best.ckpt")
    if path.name == "best.ckpt":
        remedy = "delete it and start the same run again, which ends with the weights of the last step"
    elif other.exists():
        remedy = f"put {other.name} in its place to resume from there, or delete both to start the run anew"
    else:
        remedy = "delete it to start the run anew"
    raise ValueError(f"the checkpoint {path} is damaged ({wrong}): {remedy}")
