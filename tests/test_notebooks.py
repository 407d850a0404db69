"""Every notebook is committed without outputs and runs top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from lab import ROOT, environment, workplace
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_is_a_quickstart():
    assert NOTEBOOKS[0].name == "00_quickstart.ipynb"


@every_notebook
def test_committed_without_outputs(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            assert not cell.outputs, f"cell {number} has outputs: jupyter nbconvert --clear-output --inplace"
            assert cell.execution_count is None, f"cell {number} has an execution count"
    assert "widgets" not in notebook.metadata, "the state of widgets is saved with the notebook"


@every_notebook
def test_opens_with_text_and_runs_in_any_python3(path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_runs_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copies = workplace(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(copies / path.name, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": copies}}
    )
    client.execute()  # an error of a cell is raised
    assert not any(o.output_type == "error" for cell in notebook.cells for o in cell.get("outputs", []))
