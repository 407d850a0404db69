"""Stand-ins for programs on PATH."""

import stat
import sys

import pytest


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a Python script on PATH under a program's name."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name, code):
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    return make
