"""What 'make lab' runs, .ci/lab: a port that is taken is named, and nothing is printed but what one needs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.helpers.lab import ROOT, environment

LAB = ROOT / ".ci" / "lab"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def run_lab(port: object) -> subprocess.CompletedProcess:
    """Run the script as far as its choice of a port: the version is all that JupyterLab is asked for."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    return subprocess.run(
        [sys.executable, LAB, str(port), "--version"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_taken_port_is_named_with_the_fix(taken):
    done = run_lab(taken)
    assert done.returncode == 0, done.stderr
    assert f"port {taken} is taken by another program" in done.stdout and "make lab PORT=" in done.stdout
    assert re.search(r"taking \d+\.", done.stdout)


def test_a_free_port_is_no_news(taken):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        free = server.getsockname()[1]
    assert "taken" not in run_lab(free).stdout


@pytest.mark.parametrize("port", ["", "eighty", "-1", "0", "65536", "8888.5"])
def test_a_port_that_is_none_is_said(port):
    done = run_lab(port)
    assert done.returncode == 1
    assert f"make lab: PORT={port}: expected a number from 1 to 65535" in done.stderr


def test_the_makefile_starts_that_script():
    recipe = subprocess.run(
        [
            "make",
            "-C",
            ROOT,
            "--dry-run",
            "lab",
            "EXTRAS=dev",
            "PORT=1234",
            "--assume-old=.venv/.installed-dev",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (
        '.venv/bin/python .ci/lab "1234" --LabApp.default_url=/lab/tree/notebooks/00_quickstart.ipynb'
        in recipe
    )


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "active", "OPENBLAS_THREAD_TIMEOUT": "20"}])
def test_threads_of_kernels_wait_as_the_package_has_it(given, tmp_path):
    """The configuration is Python that JupyterLab runs: it shows what kernels inherit."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
    show = f"import os\nprint('threads', *map(os.environ.get, {names}))\n"
    (tmp_path / "show.py").write_text(show)
    bare = {name: value for name, value in environment().items() if name not in names} | given
    shown = [
        subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=120, env=bare
        ).stdout
        for command in (
            [LAB, "8888", f"--config={tmp_path / 'show.py'}", "--show-config-json"],
            ["-c", f"import rinalmo_kit\n{show}"],
        )
    ]
    lab, package = (re.search("^threads .*", text, re.MULTILINE) for text in shown)
    assert lab.group() == package.group()
    assert ("None" in lab.group()) == bool(given), "a policy of the user has no number of spins"


def test_the_start_prints_the_address_and_no_noise(taken, tmp_path):
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    command = [sys.executable, LAB, str(taken), "--ServerApp.use_redirect_file=False", "--log-level=WARN"]
    command += ["--LabApp.log_level=WARN", "--allow-root", "--no-browser", f"--ServerApp.root_dir={tmp_path}"]
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    log = tmp_path / "output"
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment() | folders,
        )
    try:
        deadline = time.monotonic() + 120
        while "token=" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        text = log.read_text()
        assert f"port {taken} is taken" in text and f":{taken}/" not in text
        assert not re.search("deprecat|warning", text, re.IGNORECASE) and "[I " not in text, text
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
