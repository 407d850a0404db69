"""Make the pictures of README and start page: ``python -m docs.pictures``, in a checkout with JupyterLab and Chromium.

The studio is the widget itself, in a notebook of a real JupyterLab; the drawing is what ``Structure.plot`` gives.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import nbformat

import rinalmo_kit as rk
from tests.helpers.lab import errors, jupyterlab, page, run_all

IMAGES = Path(__file__).parent / "images"
STUDIO = """
import rinalmo_kit as rk

rna = rk.datasets.load_structures("examples", family="SAM-riboswitch")[0]
rk.widgets.FoldingStudio(rna.sequence, reference=rna.dot_bracket)
"""


def drawing(path: Path) -> None:
    """Write the drawing of the tRNA of the README, coloured by probability, as SVG."""
    trna = rk.datasets.load_structures("examples", family="tRNA")[0]
    with rk.plot.paper_style(), mpl.rc_context({"svg.hashsalt": "rinalmo_kit"}):
        ax = rk.plot.structure(rk.fold(trna.sequence), color_by="probability")
        ax.figure.savefig(path, metadata={"Date": None})


def studio(path: Path) -> None:
    """Write a picture of the folding studio, with a SAM riboswitch beside its known structure, as PNG."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as home:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(STUDIO.strip())])
        notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        nbformat.write(notebook, Path(work, "studio.ipynb"))
        with jupyterlab(Path(work), home=Path(home)) as address, page(address) as tab:
            if failed := errors(run_all(tab, "studio.ipynb")):
                sys.exit("\n".join(failed))
            shown = tab.locator(".rk-studio").first
            shown.locator("svg").first.wait_for()
            tab.wait_for_timeout(3000)  # the fold, and ViennaRNA's beside it
            shown.screenshot(path=path)


def main() -> None:
    """Write both pictures to ``docs/images``."""
    IMAGES.mkdir(exist_ok=True)
    drawing(IMAGES / "drawing.svg")
    studio(IMAGES / "studio.png")
    for path in IMAGES.iterdir():
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
