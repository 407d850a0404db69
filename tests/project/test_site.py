"""The documentation site: it builds without a warning, offline, and has a page for everything."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.lab import ROOT, environment

MISSING = [name for name in ("sphinx", "myst_nb", "furo") if importlib.util.find_spec(name) is None]
NAMESPACES = "plot metrics datasets recipes evaluation widgets model datasets.corpus training.plan".split()


def documented() -> dict[str, str]:
    """Return the modules and functions that the pages of the API take docstrings from, and on which page."""
    pages = sorted((ROOT / "docs/api").glob("*.md"))
    found = [
        (name, page.name)
        for page in pages
        for name in re.findall(r"^\.\. auto\w+:: (\S+)", page.read_text(encoding="utf-8"), re.M)
    ]
    assert len({*found}) == len({name for name, _ in found}) == len(found), "twice on the pages"
    return dict(found)


def test_every_public_namespace_is_in_the_api():
    assert {"rinalmo_kit", *(f"rinalmo_kit.{name}" for name in NAMESPACES)} <= {*documented()}


def test_what_the_api_names_exists():
    for name, page in documented().items():
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            place, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(place), attribute), f"{page}: {name}"
        else:
            assert module.__all__, f"{page}: {name} has no __all__, so that nothing would be shown"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with notebooks as they are committed."""
    if MISSING:
        pytest.skip(f"the site: {', '.join(MISSING)} not installed (pip install 'rinalmo-kit[docs]')")
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, options), ".", str(folder / "html")],
        cwd=ROOT,
        env=environment() | {"NOTEBOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"([^\"]+)\"", text)
        assert not [one for one in loaded if re.match(r"(?:https?:)?//", one)], page
        for one in loaded:
            if not one.startswith("data:"):
                assert (page.parent / re.sub(r"[?#].*", "", one)).exists(), f"{page}: {one}"
    elsewhere = re.compile(r"(?:@import|url\()[\s\"']*(?:https?:)?//")
    for style in site.rglob("*.css"):
        assert not elsewhere.search(style.read_text(encoding="utf-8")), style


@pytest.mark.slow
def test_the_start_page_shows_the_studio_and_leads_on(site: Path):
    start = (site / "docs/index.html").read_text(encoding="utf-8")
    assert "studio.png" in start
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    for name in ("fold", "your_own_task", "api", "model_specification", "accuracy", "speed", "architecture"):
        assert f'href="{name}.html"' in start
    for page in ("notebooks/13_gallery", "rinalmo_kit/weights/MODEL_CARD", "CONTRIBUTING", "CHANGELOG"):
        assert f'href="../{page}.html"' in start


@pytest.mark.slow
def test_every_public_name_has_an_entry(site: Path):
    from sphinx.util.inventory import InventoryFile

    text = (site / "objects.inv").read_bytes()
    entries = {name for kind in InventoryFile.loads(text, uri="").data.values() for name in kind}
    for space in ("rinalmo_kit", *(f"rinalmo_kit.{name}" for name in NAMESPACES)):
        module = importlib.import_module(space)
        for name in module.__all__:
            public = getattr(module, name)
            if callable(public):
                assert f"{space}.{name}" in entries, "its docstring is on no page"
            elif not isinstance(public, ModuleType):  # a constant stands under the module that defines it
                assert any(entry.endswith(f".{name}") for entry in entries), f"{space}.{name}"
