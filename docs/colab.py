"""Let notebooks open in Google Colab: ``python -m docs.colab`` writes the badge and the first code cell into each.

The badge stands below the title. The cell does nothing elsewhere. The address of the repository is ``repository`` below
``[tool.rinalmo-kit]`` in ``pyproject.toml``; after a change of it, or for a new notebook, run this again.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["rinalmo-kit"]
REPOSITORY: str = SETTINGS["repository"]
BADGE = "[![Open in Colab](../docs/images/colab.svg)]"
CELL_ID = "colab"
CELL = f"""\
# Only in Google Colab: get the project and install it. Elsewhere this cell does nothing.
import sys

if "google.colab" in sys.modules:
    import os
    import subprocess
    from pathlib import Path

    repository, checkout = "{REPOSITORY}", Path("/content/checkout")
    if not checkout.exists():
        subprocess.run(["git", "clone", "--depth=1", repository, checkout], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"{{checkout}}[all]"], check=True)
    os.chdir(checkout)
"""


def badge(name: str) -> str:
    """Return the badge of the notebook with that file name, as Markdown."""
    place = REPOSITORY.removeprefix("https://")
    host, _, repository = place.partition("/")
    return f"{BADGE}(https://colab.research.google.com/{host.removesuffix('.com')}/{repository}/blob/main/notebooks/{name})"


def with_colab(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a notebook with the badge below the title and the cell before all others that hold code."""
    first, *others = (cell for cell in notebook["cells"] if cell["id"] != CELL_ID)
    title, *rest = (line for line in "".join(first["source"]).split("\n") if not line.startswith(BADGE))
    text = "\n".join([title, "", badge(name), "", *"\n".join(rest).strip("\n").split("\n")])
    first = first | {"source": text.splitlines(keepends=True)}
    code = {"cell_type": "code", "execution_count": None, "id": CELL_ID, "metadata": {}, "outputs": []}
    code["source"] = CELL.rstrip("\n").splitlines(keepends=True)
    return notebook | {"cells": [first, code, *others]}


def main() -> None:
    """Write badge and cell into every notebook of the checkout."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = with_colab(json.loads(path.read_text(encoding="utf-8")), path.name)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
