"""Our own runs in JupyterLab do not hang with a kernel that does."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from tests.helpers.lab import jupyterlab, needs_browser, open_notebook, page, run_all

pytestmark = [pytest.mark.xdist_group("lab"), needs_browser()]


def test_a_kernel_that_never_answers_is_replaced(tmp_path: Path) -> None:
    home, started = tmp_path / "home", tmp_path / "started"
    kernel = f"""
        import pathlib, time
        if not pathlib.Path({str(started)!r}).exists():
            pathlib.Path({str(started)!r}).touch()
            time.sleep(1000)
        from ipykernel.kernelapp import launch_new_instance
        launch_new_instance()
    """
    argv = [sys.executable, "-c", textwrap.dedent(kernel), "-f", "{connection_file}"]
    specification = home / "data" / "kernels" / "late" / "kernel.json"
    specification.parent.mkdir(parents=True)
    specification.write_text(json.dumps({"argv": argv, "display_name": "Late", "language": "python"}))
    cell = nbformat.v4.new_code_cell("6 * 7")
    metadata = {"kernelspec": {"display_name": "Late", "name": "late", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), tmp_path / "late.ipynb")
    with jupyterlab(tmp_path, home=home) as address, page(address) as tab:
        with pytest.raises(Exception, match="within 5 s"):
            open_notebook(tab, "late.ipynb", seconds=5, tries=1)
        open_notebook(tab, "late.ipynb", seconds=10)
        (ran,) = run_all(tab, "late.ipynb")
        assert ran["outputs"][0]["data"]["text/plain"] == "42"
