"""Settings of the documentation site: ``make docs`` builds it with Sphinx. Its sources are the files of the checkout.

``NOTEBOOKS=cache`` (the default) runs notebooks that changed since they ran last, ``gallery`` only the gallery, which
is drawn from the plotting functions, and ``off`` none: pages then show code without outputs.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # for the kernels

import rinalmo_kit  # noqa: E402

project = author = "rinalmo_kit"
copyright = "the authors of rinalmo_kit"
version = release = rinalmo_kit.__version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The checkout is the source folder, so that links between files mean the same on the site and beside it.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.md",
    "notebooks/*.ipynb",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "data/README.md",
    "rinalmo_kit/weights/MODEL_CARD.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "tests", "**/.ipynb_checkpoints", "**/__pycache__"]
suppress_warnings = ["ref.python"]  # names that several classes have

NOTEBOOKS = os.environ.get("NOTEBOOKS", "cache")
nb_execution_mode = "off" if NOTEBOOKS == "off" else "cache"
nb_execution_excludepatterns = ["notebooks/[!1]*", "notebooks/1[!3]*"] if NOTEBOOKS == "gallery" else []
nb_execution_timeout = 3600
nb_execution_raise_on_error = True
nb_execution_cache_path = str(ROOT / "build" / "notebooks")
nb_ipywidgets_js = {}  # widgets do not live without a kernel: their pictures are HTML
nb_mime_priority_overrides = [("html", "text/html", 0)]

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["style"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
pygments_style, pygments_dark_style = "default", "github-dark"
html_title = f"rinalmo_kit {release}"
html_extra_path = ["site"]
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False}


def warn_of_old_outputs(*_: object) -> None:
    """Say if the library is another one than that with which the notebooks in the cache ran."""
    if NOTEBOOKS == "off":
        return
    digest = hashlib.sha256()
    for path in sorted(Path(rinalmo_kit.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    mark = Path(nb_execution_cache_path) / "library.sha256"
    if mark.exists() and mark.read_text() != digest.hexdigest():
        print(
            "docs: the library changed since the notebooks ran; 'make clean docs' runs them all",
            file=sys.stderr,
        )
    elif not mark.exists():
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(digest.hexdigest())


def setup(app: object) -> None:
    """Have Sphinx call what is above, before it reads the sources."""
    app.connect("builder-inited", warn_of_old_outputs)  # type: ignore[attr-defined]
