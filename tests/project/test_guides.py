"""What README and guides say works: their Python runs, their commands exist, their links lead somewhere.

A Python block is run unless its fence says ``python no-run``; a shell block if it says ``bash run``. Neither GitHub nor
the site shows these words. The blocks of one document run one after the other, in a folder of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pytest

from rinalmo_kit.datasets.catalogue import CATALOGUE
from rinalmo_kit.rna.formats import FORMATS, READ_ONLY
from tests.helpers.lab import ROOT, environment

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = "CHANGELOG.md CONTRIBUTING.md benchmarks/README.md data/README.md rinalmo_kit/weights/MODEL_CARD.md".split()
PAGES = [*GUIDES, *(ROOT / name for name in OTHERS), *sorted((ROOT / "docs/api").glob("*.md"))]
PAGES += sorted((ROOT / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```(?P<language>\w+) *(?P<mark>[^\n]*)\n(?P<code>.*?)^```", re.M | re.S)
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)|\bsrc=\"([^\"]+)\"")

every_guide = pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    language: str
    mark: str
    line: int
    code: str


def text_of(path: Path) -> str:
    """Return the text of a document; of a notebook, that of its Markdown cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def blocks(path: Path) -> list[Block]:
    text = text_of(path)
    return [
        Block(m["language"], m["mark"].strip(), text[: m.start("code")].count("\n") + 1, m["code"])
        for m in BLOCK.finditer(text)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, where ``rinalmo-kit`` is the one of this environment."""
    command = tmp_path / "bin" / "rinalmo-kit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rinalmo_kit.cli "$@"\n')
    command.chmod(0o755)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@every_guide
def test_python_blocks_run(path, folder):
    python = [block for block in blocks(path) if block.language == "python" and block.mark != "no-run"]
    namespace = {"__name__": "guide"}
    with mpl.rc_context({"backend": "agg"}):
        for block in python:
            code = "\n" * (block.line - 1) + block.code  # so that an error names the line of the document
            exec(compile(code, path.name, "exec"), namespace)


@every_guide
def test_marked_shell_blocks_run(path, folder):
    shell = [block for block in blocks(path) if block.language in ("sh", "bash", "shell")]
    for block in shell:
        if block.mark == "run":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{path.name}, line {block.line}: {done.stderr[-2000:]}"


def test_most_python_is_run():
    python = [block for path in GUIDES for block in blocks(path) if block.language == "python"]
    assert sum(block.mark != "no-run" for block in python) > len(python) / 2
    assert {block.mark for block in python} <= {"", "no-run"}
    assert any(block.language == "python" and not block.mark for block in blocks(ROOT / "README.md"))


def test_readme_is_short_and_its_commands_come_first():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 8192, "the guides in docs/ are the place for more"
    start = "\n".join(text.splitlines()[:40])
    assert "make lab" in start and "make test" in start


@every_page
def test_targets_of_make_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"lab", "test", "lint", "docs", "clean", "help"} <= targets
    named = set(re.findall(r"`make ([a-z]+)|^ *make ([a-z]+)", text_of(path), re.M))
    assert {a or b for a, b in named} <= targets


def test_commands_of_rinalmo_kit_exist(folder):
    known = subprocess.run(["rinalmo-kit", "--help"], capture_output=True, text=True, check=True).stdout
    for path in PAGES:
        for name in set(re.findall(r"(?:^|`)rinalmo-kit ([a-z]+)", text_of(path), re.M)):
            assert re.search(rf"\b{name}\b", known), f"{path.name}: rinalmo-kit {name}"


# links


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and MyST make them."""
    found: list[str] = []
    for title in re.findall(
        r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text_of(path), flags=re.M | re.S), re.M
    ):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Give the file and the anchor that each link of a document to another or to itself names."""
    prose = re.sub(r"^```\w.*?^```|`[^`\n]*`(?!\]\()", "", text_of(path), flags=re.M | re.S)
    for target in (a or b for a, b in LINK.findall(prose)):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            yield ((path.parent / name).resolve() if name else path), anchor


def entries(path: Path) -> Iterator[Path]:
    """Give the pages of the tables of contents of a document."""
    for body in TOCTREE.findall(text_of(path)):
        for line in filter(None, map(str.strip, body.splitlines())):
            if line.startswith(":") or line == "self":
                continue
            target = os.path.normpath(path.parent / re.sub(r".*<(.*)>", r"\1", line).removesuffix(".md"))
            found = [page for page in PAGES if fnmatch(str(page.with_suffix("")), target)]
            assert found or "*" in line, f"{path.name}: {line} is not a page"
            yield from found


@every_page
def test_links_lead_somewhere(path):
    for target, anchor in links(path):
        assert target.exists(), f"{path.name}: {os.path.relpath(target, ROOT)} is absent"
        assert not anchor or anchor in anchors(target), f"{path.name}: {target.name} has no heading #{anchor}"


def reached(start: Path, *ways) -> set[Path]:
    found, new = set(), [start]
    while new:
        page = new.pop()
        if page not in found and page in PAGES:
            found.add(page)
            for way in ways:
                new += [one[0] if isinstance(one, tuple) else one for one in way(page)]
    return found


def test_every_page_is_in_a_table_of_contents_of_the_site():
    assert {*PAGES} - {ROOT / "README.md"} == reached(ROOT / "docs/index.md", entries)


def test_readme_leads_to_every_guide():
    assert {*GUIDES} <= reached(ROOT / "README.md", links, entries)


# what the guide of data and formats lists


def test_formats_of_structures_are_those_that_are_read():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\..*?) \|", text, re.M)
    assert {ending for row in rows for ending in re.findall(r"\.\w+", row)} == {*FORMATS, *READ_ONLY}


def test_every_dataset_of_the_catalogue_is_in_the_guide():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert {name for name in CATALOGUE if f"`{name}`" in text} == {*CATALOGUE}
