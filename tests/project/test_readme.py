"""What the README says works: its Python runs, its commands exist.

A Python block is run unless its fence says ``python no-run``; a shell block if it says ``bash run``. GitHub
shows neither word.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pytest

from tests.helpers.lab import ROOT, environment

BLOCK = re.compile(r"^```(?P<language>\w+) *(?P<mark>[^\n]*)\n(?P<code>.*?)^```", re.M | re.S)


class Block(NamedTuple):
    language: str
    mark: str
    line: int
    code: str


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(readme: str) -> list[Block]:
    return [
        Block(m["language"], m["mark"].strip(), readme[: m.start("code")].count("\n") + 1, m["code"])
        for m in BLOCK.finditer(readme)
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


def test_python_blocks_run(blocks, folder):
    python = [block for block in blocks if block.language == "python" and block.mark != "no-run"]
    assert python
    namespace = {"__name__": "readme"}
    with mpl.rc_context({"backend": "agg"}):
        for block in python:
            code = "\n" * (block.line - 1) + block.code  # so that an error names the line of the README
            exec(compile(code, "README.md", "exec"), namespace)


def test_marked_shell_blocks_run(blocks, folder):
    shell = [block for block in blocks if block.language in ("sh", "bash", "shell") and block.mark == "run"]
    for block in shell:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"README.md, line {block.line}: {done.stderr[-2000:]}"


def test_commands_come_first(readme):
    start = "\n".join(readme.splitlines()[:40])
    assert "make lab" in start and "make test" in start


def test_targets_of_make_exist(readme):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"lab", "test", "lint", "clean", "help"} <= targets
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", readme, re.M))
    assert {a or b for a, b in named} <= targets


def test_commands_of_rinalmo_kit_exist(readme, folder):
    known = subprocess.run(["rinalmo-kit", "--help"], capture_output=True, text=True, check=True).stdout
    for name in set(re.findall(r"^rinalmo-kit ([a-z]+)", readme, re.M)):
        assert re.search(rf"\b{name}\b", known), f"rinalmo-kit {name}"
