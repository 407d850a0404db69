"""The processes that share a job: those started from outside, and those that the first one starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

__all__ = ["check", "end", "place", "start"]


def place() -> tuple[int, int, int]:
    """Return rank, number of processes and local rank, as torchrun or srun tell them."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    for rank, world, local in names:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world]), int(os.environ.get(local, 0))
    return 0, 1, 0


def start(arguments: dict[str, Any], processes: int, threads: int) -> list[subprocess.Popen]:
    """Start all processes but the first, which is this one."""
    command = [
        sys.executable,
        "-c",
        "from rinalmo_kit.inference import bulk; bulk._worker()",
        json.dumps(arguments),
    ]
    return [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": str(threads),
            },
        )
        for rank in range(1, processes)
    ]


def check(workers: list[subprocess.Popen]) -> None:
    """Raise an error if a process has died, and say why."""
    for rank, worker in enumerate(workers, 1):
        if worker.poll():
            said = worker.stdout.read().decode("utf-8", "replace").strip() if worker.stdout else ""
            killed = "it was killed, as happens where memory runs out"
            said = said or (killed if worker.returncode == -9 else "what it said is above")
            raise ChildProcessError(
                f"process {rank + 1} of {len(workers) + 1} ended with code {worker.returncode}: {said}. "
                "Finished shards stay, and the same call resumes the job"
            )


def end(workers: list[subprocess.Popen]) -> None:
    """End all processes, finished or not."""
    for worker in workers:
        worker.kill()
        worker.wait()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                stream.close()
