"""The studio's server and its kernels end with it, whatever way it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rinalmo_kit import cli
from rinalmo_kit.widgets import keeper
from rinalmo_kit.widgets.studio_page import notebook
from tests.helpers.lab import environment
from tests.helpers.waiting import eventually

SERVER = """
import os, signal, subprocess, sys, time
from pathlib import Path
stubborn = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; "
stubborn += "print(9, flush=True); time.sleep(600)"
kernel = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True, stdout=subprocess.PIPE)
kernel.stdout.readline()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
Path(sys.argv[1]).write_text(f"{os.getpid()} {kernel.pid} {child.pid}")
time.sleep(600)
"""
PARENT = """
import subprocess, sys, time
keeper, folder, told = sys.argv[1:]
held = subprocess.Popen([sys.executable, "-P", keeper, folder, sys.executable, "-c", SERVER, told],
                        stdin=subprocess.PIPE, start_new_session=True)
print(held.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, int, list[int]]]:
    """A process, its keeper, and what that keeps: a server, and two of its children in sessions of their own."""
    told, folder = tmp_path / "pids", tmp_path / "folder"
    folder.mkdir()
    code = f"SERVER = {SERVER!r}\n{PARENT}"
    command = [sys.executable, "-c", code, keeper.__file__, str(folder), str(told)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    kept = int(parent.stdout.readline())
    pids = [int(word) for word in eventually(lambda: told.exists() and told.read_text()).split()]
    yield parent, kept, pids
    for pid in (parent.pid, kept, *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()


@pytest.mark.parametrize(
    ("whom", "number"),
    [
        *(("parent", f"SIG{name}") for name in ("INT", "TERM", "HUP", "QUIT", "KILL")),
        *(("keeper", f"SIG{name}") for name in ("INT", "TERM", "HUP")),
    ],
)
def test_nothing_is_left(family: Any, whom: str, number: str, tmp_path: Path) -> None:
    parent, kept, pids = family
    assert all(map(alive, pids))
    os.kill(parent.pid if whom == "parent" else kept, getattr(signal, number))
    eventually(lambda: not any(map(alive, [kept, *pids])), seconds=40)
    assert not (tmp_path / "folder").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_killed_keeper_takes_its_server_along(family: Any) -> None:
    _, kept, (server, *_) = family
    os.kill(kept, signal.SIGKILL)
    eventually(lambda: not alive(server))


def test_a_killed_server_leaves_no_kernel(family: Any) -> None:
    _, kept, pids = family
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: not any(map(alive, [kept, *pids])), seconds=40)


def marked(pid: int) -> list[psutil.Process]:
    """Processes that the keeper under `pid` started, kernels too."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get(keeper.MARK, "").startswith(f"{pid}-") and alive(one.pid):
                found.append(one)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 0), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)]
)
def test_the_studio_ends_with_its_server_and_kernels(number: str, code: int, tmp_path: Path) -> None:
    pytest.importorskip("voila", reason="voila is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    words = ["-m", "rinalmo_kit.cli", "studio", "--no-browser", "--port", str(port)]
    with log.open("w") as output:
        studio = subprocess.Popen(
            [sys.executable, *words],
            stdout=output,
            stderr=output,
            env=environment() | {"TMPDIR": str(tmp_path)},
        )
    try:
        address = eventually(
            lambda: re.search(rf"http://\S+:{port}/\?token=\w+", log.read_text()), seconds=120
        )
        [kept] = psutil.Process(studio.pid).children()
        page = re.sub("//[^:]+:", "//127.0.0.1:", address.group())
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=90) as answer:
            answer.read(100)  # a kernel starts
        started = eventually(lambda: len(found := marked(kept.pid)) > 1 and found)
        os.kill(studio.pid, getattr(signal, number))
        assert studio.wait(60) == code
        eventually(lambda: not any(alive(one.pid) for one in [kept, *started]))
        assert marked(kept.pid) == []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
        assert not [*tmp_path.glob("rinalmo-kit-studio-*")]
    finally:
        studio.kill()
        studio.wait()


def test_a_model_that_is_not_there_is_said_before_anything_starts(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["studio", "--no-browser", "-m", "no/such.safetensors"]) == 2
    assert "no such model: no/such.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["nano-ss", "/a b/it's.safetensors", 'C:\\x"y', "ΔG\n.ckpt"])
def test_the_notebook_names_the_model(model: str) -> None:
    source = notebook(model)["cells"][0]["source"]
    made: dict[str, Any] = {"FoldingStudio": lambda model: model}
    assert eval(source.splitlines()[-1], made) == model
