"""Every notebook is committed without outputs and runs top to bottom."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

from docs.colab import REPOSITORY, badge, with_colab
from tests.helpers.lab import ROOT, environment, workplace

NUMBER = r"\s+(-?\d+\.\d+)"
KNOWN, NEW = (rf"(?s:families {which} +trivial.*?" for which in ("trained on", "left out"))
CLAIMS = {  # of a notebook: two rows of its tables, and by how much the number of the first is above the other's
    "02": [("\nafter", "\nbefore", 0.3)],
    "03": [
        (f"{KNOWN}after)", f"{KNOWN}before)", 0.5),
        (f"{KNOWN}after)", f"{NEW}after)", 0.2),
        (f"{NEW}viennarna)", f"{NEW}after)", 0.2),
    ],
    "05": [("\nafter", "\nbefore", 0.3)],
    "06": [("\nafter", "\nbefore", 0.2)],
}
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
def test_opens_in_colab(path: Path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook == with_colab(notebook, path.name), "run python -m docs.colab"
    assert badge(path.name) in "".join(notebook["cells"][0]["source"])


def test_first_cell_installs_in_colab_alone(monkeypatch: pytest.MonkeyPatch):
    cell = nbformat.read(NOTEBOOKS[0], as_version=4).cells[1].source
    ran, folders = [], []
    monkeypatch.setattr(subprocess, "run", lambda command, *, check: ran.append([*map(str, command)]))
    monkeypatch.setattr(os, "chdir", lambda folder: folders.append(str(folder)))
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    exec(cell, {})
    assert not ran and not folders
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(cell, {})
    assert [command[:2] for command in ran] == [["git", "clone"], [sys.executable, "-m"]]
    assert REPOSITORY in ran[0] and ran[1][-1] == f"{folders[0]}[all]" == f"{ran[0][-1]}[all]"


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, first: str | None = None) -> str:
    """Run a copy of a notebook, after other code if any; return the text of its outputs."""
    copies = workplace(folder)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(copies / path.name, as_version=4)
    if first is not None:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": copies}}
    )
    client.execute()  # an error of a cell is raised
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    drawn = sum("image/png" in output.get("data", {}) for output in outputs)
    without = "RINALMO_KIT_DATA" not in os.environ
    asked = [cell for cell in notebook.cells if "rk.plot.paper_style(" in cell.source]
    asked = [cell for cell in asked if not (without and cell.source.startswith("if TABLE"))]
    assert drawn == len(asked)
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@every_notebook
@pytest.mark.slow
def test_runs_top_to_bottom_with_nothing_but_the_package(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(tmp_path / "cache"))
    text = run(path, tmp_path, monkeypatch)
    for better, worse, by in CLAIMS.get(path.name[:2], []):
        first, second = (float(re.search(row + NUMBER, text).group(1)) for row in (better, worse))
        assert first > second + by, f"{better}: {first}, {worse}: {second}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if p.name[:2] not in ("00", "01", "08", "09", "10", "12", "13")]
)
def test_runs_on_the_tables(path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(path, tmp_path, monkeypatch)


SHRINK = "from tests.helpers import paper_scale; paper_scale.shrink()"
PAPER_SCALE = [p for p in NOTEBOOKS if p.name[:2] not in ("08", "13", "14")]  # 08 below


@pytest.mark.slow
@pytest.mark.parametrize("path", PAPER_SCALE, ids=lambda path: path.stem)
def test_runs_at_the_scale_of_the_paper(
    path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SCALE", "paper")
    run(path, tmp_path, monkeypatch, first=SHRINK)


@pytest.mark.slow
def test_embeds_at_the_scale_of_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCALE", "paper")
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)  # the table of Rfam takes minutes
    run(ROOT / "notebooks/08_embedding_maps.ipynb", tmp_path, monkeypatch, first=SHRINK)


@every_notebook
def test_text_says_what_it_shows_and_needs_and_ends_with_a_conclusion(path: Path):
    cells = nbformat.read(path, as_version=4).cells
    for words in ("**What it shows.**", "**What it needs.**", "`SCALE"):
        assert words in cells[0].source
    assert "**Conclusion.**" in "".join(cell.source for cell in cells[-3:])


@every_notebook
def test_defines_no_long_functions_and_edits_no_paths(path: Path):
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for source in code:
        assert "sys.path" not in source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 5, f"{node.name}: its place is the library"


@pytest.mark.slow
def test_pretraining_learns_from_the_table(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = run(ROOT / "notebooks/01_pretraining.ipynb", tmp_path, monkeypatch)
    assert "the power was cut" in text
    reached, letters = map(float, re.search(r"perplexity ([\d.]+), from .* alone ([\d.]+)", text).groups())
    assert reached < letters - 0.15


@pytest.mark.slow
def test_own_task_beats_the_trivial_answer(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = run(ROOT / "notebooks/10_your_own_task.ipynb", tmp_path, monkeypatch)
    accuracy, correlation = re.findall(r"\ntrained +([-\d.]+) +\S+ to \S+ +([-\d.]+)", text)
    assert float(accuracy[0]) > 0.4  # six classes
    assert float(correlation[1]) > 0.2
    assert "test rows are in the data that nano-ss was trained on" in text
