"""Small model files, and what it means that one is rejected."""

import json
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, RibosomeLoadHead, StructureHead
from rinalmo_kit.model.rinalmo import RiNALMo


def small(head="structure"):
    """A model of a few thousand weights, with all that a file can say of one."""
    torch.manual_seed(0)
    model = RiNALMo(Config(16, 2, heads=2)).eval()
    if head == "structure":
        model.head = StructureHead(16)
        model.threshold, model.calibration = 0.3, ((0.1, 0.2), (0.5, 0.6))
    elif head == "classes":
        model.head, model.labels, model.window = ClassificationHead(16, 8, 3), ("a", "b", "c"), 8
    elif head == "binary":
        model.head, model.labels = ClassificationHead(16, 8, 1), ("no", "yes")
    else:
        model.head, model.scaler, model.pad_to = RibosomeLoadHead(16), (1.5, 2.0), 20
    model.about = {"recipe": "x", "dataset": "bprna", "rows": "split != 'TS0'", "fold": 0, "earlier": {}}
    return model.eval()


def content(model, tmp_path):
    path = rk.save(model, tmp_path / "whole.safetensors")
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def written(tmp_path, head="structure", *, change=None, facts=None, **metadata):
    """Write a small model's file with something changed in it, past all checks."""
    state, told = content(small(head), tmp_path)
    known = json.loads(told["rinalmo_kit"]) | (facts or {})
    told |= {"rinalmo_kit": json.dumps(known)} | metadata
    if change is not None:
        change(state)
    path = tmp_path / "changed.safetensors"
    save_file(state, path, metadata=told)
    return path


def rejected(path, told, error=ValueError):
    """Load a file that is to be rejected: at once, in a short message with its name."""
    start = time.perf_counter()
    with pytest.raises(error, match=told) as caught:
        rk.load(path, device="cpu")
    assert path.name in str(caught.value) and len(str(caught.value)) < 3000
    assert time.perf_counter() - start < 3
