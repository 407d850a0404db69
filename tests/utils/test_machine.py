"""Memory that is left under every kind of limit, maps that do not fit, and processes that were forked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit._utils.hardware import available_memory, require_memory
from rinalmo_kit.cli import main
from rinalmo_kit.inference import bulk
from rinalmo_kit.model import tiled_structure_head
from rinalmo_kit.model.heads import StructureHead

GB = 10**9
CPU = torch.device("cpu")


def machine(root: Path, groups: str, files: dict[str, str], *, free: int = 16 * GB) -> Path:
    """Make /proc and /sys/fs/cgroup as the kernel shows them."""
    content = {
        "proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {free // 1024} kB\nSwapFree: 0 kB\n",
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(group: str, limit: object, used: int, dropped: int = 0) -> dict[str, str]:
    stat = f"anon 1\nfile {dropped}\ninactive_file {dropped // 2}\nactive_file {dropped // 2}\n"
    return {
        f"{group}/memory.max": f"{limit}\n",
        f"{group}/memory.current": f"{used}\n",
        f"{group}/memory.stat": stat,
    }


def v1(group: str, limit: int, used: int, dropped: int = 0) -> dict[str, str]:
    stat = f"cache 1\ntotal_inactive_file {dropped}\ntotal_active_file 0\n"
    return {
        f"{group}/memory.limit_in_bytes": f"{limit}\n",
        f"{group}/memory.usage_in_bytes": f"{used}\n",
        f"{group}/memory.stat": stat,
    }


NONE = 9223372036854771712
JOB = "/system.slice/slurmstepd.scope/job_5/step_0/user/task_0"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", v2(".", "max", GB), 16),
        ("0::/\n", v2(".", 3 * GB, GB), 2),  # a container that sees its own group as the root
        ("0::/a/b\n", v2("a/b", 5 * GB, GB), 4),
        (f"0::{JOB}\n", v2("system.slice/slurmstepd.scope/job_5", 6 * GB, GB) | v2(JOB[1:], "max", GB), 5),
        ("0::/a/b\n", v2("a", 4 * GB, 2 * GB) | v2("a/b", 8 * GB, GB), 2),  # the smallest wins, wherever
        ("0::/a/b\n", v2("a", 8 * GB, GB) | v2("a/b", 4 * GB, 2 * GB), 2),
        ("0::/a\n", v2("a", 4 * GB, 3 * GB, dropped=2 * GB), 3),  # the cache of files can be dropped
        ("0::/a\n", v2("a", GB, 2 * GB), 0),
        ("0::/docker/77ab\n", v2(".", 3 * GB, GB), 2),  # the host's path, seen from inside
        ("0::/../../other\n", v2(".", 3 * GB, GB), 2),
        ("4:memory:/\n0::/\n", v1("memory", NONE, GB), 16),
        ("4:memory:/docker/77ab\n", v1("memory", 3 * GB, GB), 2),
        ("9:cpu,cpuacct:/x\n4:memory:/slurm/uid_1/job_5/step_0\n0::/\n",
         v1("memory/slurm/uid_1/job_5", 6 * GB, GB) | v1("memory/slurm/uid_1/job_5/step_0", NONE, GB), 5),
        ("4:memory:/a\n", v1("memory/a", 4 * GB, 3 * GB, dropped=2 * GB), 3),
        ("4:hugetlb,memory:/a\n", v1("hugetlb,memory/a", 4 * GB, GB), 3),
        ("4:memory:/a\n0::/b\n", v1("memory/a", 4 * GB, GB) | v2("unified/b", 3 * GB, GB), 2),
        ("5:name=systemd:/a\n2:cpu:/a\n", v2("a", 3 * GB, GB), 16),  # not a group of this process
    ],
)  # fmt: skip
def test_the_smallest_limit_wins(tmp_path: Path, groups: str, files: dict[str, str], expected: int) -> None:
    root = machine(tmp_path, groups, files)
    assert available_memory("cpu", root=root) == pytest.approx(expected * GB, abs=2048)


def test_a_machine_with_less_than_the_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a\n", v2("a", 64 * GB, 0), free=2 * GB)
    assert available_memory("cpu", root=root) == pytest.approx(2 * GB, abs=2048)


def test_what_changes_is_read_again(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a\n", v2("a", 3 * GB, GB))
    before = available_memory("cpu", root=root)
    machine(root, "0::/a\n", v2("a", 3 * GB, 2 * GB))
    assert before - available_memory("cpu", root=root) == GB


def test_a_small_block_and_a_gpu_are_never_rejected() -> None:
    require_memory(50e6, CPU, "it", available=0)
    require_memory(1e18, torch.device("cuda"), "it", available=0)
    with pytest.raises(MemoryError, match=r"it needs 2\.0 GB of memory, 1\.0 GB are available"):
        require_memory(2e9, CPU, "it", available=1e9)


# --- maps that do not fit --------------------------------------------------------------------------------


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A machine with 100 MB left; the list fills with the sizes of maps that are made."""
    made: list[tuple[int, ...]] = []
    empty = torch.empty
    monkeypatch.setattr(tiled_structure_head, "available_memory", lambda *_: 100e6)
    monkeypatch.setattr(torch, "empty", lambda *size, **kw: made.append(size) or empty(*size, **kw))
    return made


LONG = "GGCAUCGAUC" * 140
MESSAGE = (
    r"'long' has 1400 nucleotides, too many for the memory of cpu.*the map of 1400 nucleotides needs 0\.3 GB"
)


@pytest.mark.filterwarnings("ignore:'long' has")
@pytest.mark.parametrize("given", [{"long": LONG}, {"a": "GGGGAAAACCCC", "long": LONG}])
def test_fold_rejects_what_will_not_fit_before_it_is_computed(little: list, given: dict) -> None:
    with pytest.raises(MemoryError, match=MESSAGE):
        rk.fold(given)
    assert all(1400 not in size for size in little)


@pytest.mark.filterwarnings("ignore:'long' has")
def test_a_job_marks_the_record_and_goes_on(little: list, tmp_path: Path) -> None:
    path = tmp_path / "in.fasta"
    path.write_text(f">a\nGGGGAAAACCCC\n>long\n{LONG}\n>b\nGGGGAAAACCCC\n")
    bulk.run_bulk("fold", path, tmp_path / "out", progress=False)
    import pandas as pd

    table = pd.read_parquet(sorted((tmp_path / "out").glob("part-*.parquet"))[0])
    assert table["dot_bracket"].notna().tolist() == [True, False, True]
    assert "too many for the memory" in table["error"][1]


@pytest.mark.filterwarnings("ignore:'long' has")
def test_the_command_line_rejects_the_record_and_goes_on(little: list, tmp_path: Path, capsys) -> None:
    path = tmp_path / "in.fasta"
    path.write_text(f">long\n{LONG}\n>b\nGGGGAAAACCCC\n")
    assert main(["fold", str(path), "-q", "-o", str(tmp_path / "out.dbn")]) == 1
    assert "'long' has 1400 nucleotides, too many" in capsys.readouterr().err
    assert (tmp_path / "out.dbn").read_text().startswith(">b\n")


def test_the_plain_way_of_the_head_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rinalmo_kit._utils.hardware.available_memory", lambda *_: 1000.0)
    with pytest.raises(MemoryError, match="maps of 400 nucleotides needs"):
        StructureHead(24)(torch.zeros(400, 24))  # with gradients
    with torch.no_grad(), pytest.raises(MemoryError, match="maps of 400 nucleotides needs"):
        StructureHead(24, blocks=3)(torch.zeros(400, 24))


RLIMIT = """
import resource
import rinalmo_kit as rk
from pathlib import Path
rk.fold("GGGGAAAACCCC" * 10)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    rk.fold({"long": "GGCAUCGAUC" * 400})
except MemoryError as error:
    print(error)
print(len(rk.fold("GGGGAAAACCCC" * 10)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_of_the_address_space() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RLIMIT],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    first, second = run.stdout.splitlines()
    assert "'long' has 4000 nucleotides, too many" in first and "needs 2.2 GB of memory, 0.3 GB are" in first
    assert second == "120"


# --- after a fork ----------------------------------------------------------------------------------------

FORK = """
import multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor
import numpy as np, torch
import rinalmo_kit as rk

RNA = "GGGGCUAUAGCUCAGUUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCACCA" * 2

def work(_=None):
    return rk.fold(RNA).dot_bracket, rk.embed([RNA])[0].sum(), rk.predict([RNA])["label"][0]

torch.set_num_threads(2)
here, context = work(), multiprocessing.get_context("fork")

def in_child(queue):
    queue.put((work(), torch.get_num_threads()))

def forked():
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, repr(work()[0]).encode())
        os._exit(0)
    os.wait()
    return [(eval(os.read(read, 10000)), *here[1:])]

def process():
    queue = context.SimpleQueue()
    one = context.Process(target=in_child, args=(queue,))
    one.start()
    found, threads = queue.get()
    one.join()
    assert threads == 1
    return [found]

def pool():
    with context.Pool(2) as workers:
        return workers.map(work, range(3))

def executor():
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        return list(workers.map(work, range(3)))

def loader():
    from torch.utils.data import DataLoader
    return list(DataLoader(range(2), batch_size=1, collate_fn=work, num_workers=1, multiprocessing_context="fork"))

def thread():
    found = []
    one = threading.Thread(target=lambda: found.extend(process()))
    one.start()
    one.join()
    return found

def grandchild():
    queue = context.SimpleQueue()
    one = context.Process(target=lambda: queue.put(process()))
    one.start()
    found = queue.get()
    one.join()
    return found

for way in sys.argv[1:]:
    for found in globals()[way]():
        assert found[0] == here[0] and found[2] == here[2] and np.isclose(found[1], here[1], atol=1e-2), found
    print(way, flush=True)
assert torch.get_num_threads() == 2 and work()[0] == here[0]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "ways", [["forked", "process", "pool", "executor"], ["loader", "thread", "grandchild"]]
)
def test_a_forked_process_does_not_hang(ways: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-W", "ignore", "-c", FORK, *ways]
    options = {"stdout": subprocess.PIPE, "text": True, "env": environment, "start_new_session": True}
    with subprocess.Popen(command, **options) as run:
        try:
            out, _ = run.communicate(timeout=100)
        finally:
            with contextlib.suppress(ProcessLookupError):  # children that hang, too
                os.killpg(run.pid, signal.SIGKILL)
    assert out.split() == ways


@pytest.mark.parametrize(
    ("imports", "given", "expected"),
    [
        ("rinalmo_kit", {}, ["passive", "2000", "4"]),
        ("rinalmo_kit.cli", {}, ["passive", "2000", "4"]),
        ("rinalmo_kit", {"OMP_WAIT_POLICY": "active"}, ["active", "None", "4"]),
        ("rinalmo_kit", {"OMP_WAIT_POLICY": "passive"}, ["passive", "None", "4"]),
        ("rinalmo_kit", {"OPENBLAS_THREAD_TIMEOUT": "26"}, ["passive", "2000", "26"]),
    ],
)
def test_threads_soon_sleep_while_they_wait_unless_told_otherwise(
    imports: str, given: dict[str, str], expected: list[str]
):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    program = (
        "import importlib.abc, os, sys\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name in ('numpy', 'torch'): print(name, *map(os.environ.get, {names}), flush=True)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {imports}"
    )
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    seen = {line.split()[0]: line.split()[1:] for line in reversed(run.stdout.splitlines())}
    assert seen == {"numpy": expected, "torch": expected}, run.stderr
