"""Fixtures shared by tests and doctests: golden data and tables, fixed seeds, no figure left open."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# The models of the tests are small: on a busy machine, threads that wait for each other cost ten times
# what they bring. Set before torch is imported, and so that subprocesses have it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent


# The same examples in every run, however busy the machine.
settings.register_profile("kit", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("kit")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    config.addinivalue_line("markers", "slow: takes more than half a minute (leave out with -m 'not slow')")


@pytest.fixture(autouse=True)
def seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what is to be fixed
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """Close what a test drew: matplotlib warns of many open figures, whichever test opened the last of them."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


def shared_folder() -> Path:
    """Folder with ``golden/`` and ``data/``: $RINALMO_KIT_DATA or its parent, else ``../shared``."""
    candidates = [ROOT.parent / "shared"]
    if value := os.environ.get("RINALMO_KIT_DATA"):
        path = Path(value).expanduser().resolve()
        candidates = [path, path.parent, *candidates]
    for folder in candidates:
        if (folder / "golden").is_dir() or (folder / "data").is_dir():
            return folder
    pytest.skip("needs the project's data: set RINALMO_KIT_DATA or put shared/ beside the project")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the project's data."""
    return shared_folder()


class GoldenFolder(type(Path())):
    """A folder with outputs of the official code; a file that it lacks skips the test that asks for it, by name."""

    def __truediv__(self, name: str) -> Path:
        if not (path := Path(self, name)).exists():
            pytest.skip(f"needs golden data: {name} is not in tests/data/golden; set RINALMO_KIT_DATA")
        return path


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the outputs of the official code: all of them, or those of the small model that the project holds."""
    with suppress(pytest.skip.Exception):
        if (folder := shared_folder() / "golden").is_dir():
            return GoldenFolder(folder)
    from tests.helpers.golden import write_derived_files

    folder = tmp_path_factory.mktemp("golden")
    shutil.copytree(ROOT / "tests" / "data" / "golden", folder, dirs_exist_ok=True)
    write_derived_files(folder)
    return GoldenFolder(folder)


@pytest.fixture
def data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the tables of the experiments, which RINALMO_KIT_DATA names during the test."""
    if not (shared / "data").is_dir():
        pytest.skip(f"needs the tables of the experiments: {shared / 'data'} is absent; set RINALMO_KIT_DATA")
    monkeypatch.setenv("RINALMO_KIT_DATA", str(shared))
    return shared / "data"
