"""Embedding, folding and prediction of a FASTA file with millions of records, shard by shard.

The file is read as a stream and cut into chunks. Chunk k makes the table ``part-00000k.parquet`` of the output folder,
which appears whole or not at all: what is there need not be done again, by whichever process, after whatever stop.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .._utils import files
from .._utils.defaults import MODELS
from .._utils.extras import optional, usable
from .._utils.files import check_output, output_lock, user_path
from .._utils.run_folders import claim_folder
from .._utils.warn import warn_user
from ..model import pretrained
from ..model.pretrained import load
from ..model.rinalmo import Encoder
from ..model.unwrap import unwrapped
from ..model.whitening import Pool
from . import embedding, folding, prediction, shards
from .energies import PACKAGES
from .job_input import DamagedInputError, Fingerprint, check_input, chunks, fingerprint, open_input, unchanged
from .shards import Operation, Report
from .workers import check as _check
from .workers import end as _end
from .workers import place as _place
from .workers import start as _start

__all__ = ["run", "run_bulk"]

RECORDS = 10_000
"""Records of a shard, at most."""


NUCLEOTIDES = 2_000_000
"""Nucleotides of a shard, but for its last record."""


VALUES = 2**25
"""Numbers of a shard with a row for each nucleotide (128 MiB), but for its last record."""


def run_bulk(
    task: Operation,
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    model: Encoder | str | os.PathLike | None = None,
    pool: Pool | None = "mean",
    layer: int | Sequence[int] | None = None,
    combine: embedding.Combine = "mean",
    whiten: bool = False,
    dtype: str = "float32",
    window: int | None = None,
    overlap: int | None = None,
    decoding: str | None = None,
    energy: str | None = "model",
    gamma: float | None = None,
    pseudoknots: str | None = None,
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    shard_size: int = RECORDS,
    processes: int = 1,
    progress: bool = False,
) -> Report:
    r"""Embed, fold or predict every record of a FASTA file into a folder of Parquet tables; call again to resume.

    The folder as a whole is one table, in the order of the file: ``pandas.read_parquet(output)``. Columns ``index``
    (from 0), ``name``, ``length``, the results, and ``error``: why a record was skipped, else missing. Results are
    ``embedding``; ``sequence``, ``dot_bracket``, ``confidence`` and ``pairs`` (their number); or the columns of
    :func:`rinalmo_kit.predict`.

    Under ``torchrun`` or ``srun`` each process does its share, on the GPU of its local rank.

    Parameters
    ----------
    task : {"embed", "fold", "predict"}
    path : path
        FASTA, packed or not; never held as a whole. Not a pipe: it is read again when the job resumes.
    output : path
        Folder; an empty one, or that of the same job, which is resumed: finished shards are kept as they are.
    model : Encoder, name or path, optional
        Default: that of the operation (:data:`rinalmo_kit._utils.defaults.MODELS`). With `processes` a name or path.
    pool : {"mean", "cls", "std", "max", None}
        For embeddings; None: ``embedding.reshape(length, -1)`` has a row for each nucleotide.
    layer, combine, whiten, dtype, window, overlap
        For embeddings, see :func:`rinalmo_kit.embed`. With `window`, the column ``windows`` has the number of windows
        of each record, 1 for one that was computed whole.
    decoding, energy, gamma, pseudoknots, threshold, canonical_only, min_loop
        For structures, see :func:`rinalmo_kit.fold`.
    shard_size : int
        Records of a shard at most; a shard is also full at 2 million nucleotides, or 128 MiB of nucleotide rows.
    processes : int
        Worker processes on this machine, which share its GPUs or cores.
    progress : bool
        Show records and nucleotides a second, and the time left, told from the bytes of the file.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If the folder holds another job, with what differs; if the file has no record, is a pipe, or changes meanwhile;
        for a model without the head.
    DamagedInputError
        If the file can be read up to some place only: after the records before it are done.
    BlockingIOError
        If the folder is being written by another call, with who it is.
    ChildProcessError
        If one of the processes dies; finished shards stay.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> fasta = Path(folder.name, "rna.fasta")
    >>> _ = fasta.write_text(">a\nGGGGAAAACCCC\n>b\nACXU\n>c\nACGU\n")
    >>> run_bulk("fold", fasta, fasta.with_name("folded"))
    Report(records=3, rejected=1, shards=1, missing=0)
    >>> import pandas as pd
    >>> list(pd.read_parquet(fasta.with_name("folded"))["name"])
    ['a', 'b', 'c']
    >>> folder.cleanup()
    """
    path, output = user_path(path), user_path(output)
    if task not in tuple(MODELS):
        raise ValueError(f"task={task!r}: expected 'embed', 'fold' or 'predict'")
    embedding.check_pool(pool)
    if whiten not in (True, False):
        raise ValueError(f"whiten={whiten!r}: expected True or False")
    if canonical_only not in (True, False):
        raise ValueError(f"canonical_only={canonical_only!r}: expected True or False")
    rules: dict[str, Any] = {
        "threshold": _probability(threshold),
        "canonical_only": bool(canonical_only),
        "min_loop": _whole_number("min_loop", min_loop, least=0, most=2**62),
    }
    chosen = {"decoding": decoding, "gamma": gamma, "pseudoknots": pseudoknots}
    rules |= {name: value for name, value in chosen.items() if value is not None}
    rules |= {} if energy == "model" else {"energy": energy}
    shard_size = _whole_number("shard_size", shard_size, most=10**9)
    processes = _whole_number("processes", processes, most=1024)
    rank, world, local = (0, processes, 0) if processes > 1 else _place()
    if processes > 1 and _place()[1] > 1:
        raise ValueError("processes are already started from outside (torchrun, srun): leave `processes` out")
    if processes > 1 and not isinstance(model, str | os.PathLike | None):
        name = unwrapped(model).name
        raise ValueError(f"several processes each load the model: give its name or path, not {name!r}")
    optional("pyarrow.parquet", "tables in shards need pyarrow: pip install 'rinalmo-kit[tables]'")
    check_input(path)
    shards.check_folder(output, path)
    _check_record(path)

    model = MODELS[task] if model is None else model
    # A second start has a first process, too, whatever its number of processes
    with output_lock(output if rank == 0 else output / f"rank-{rank}"):
        encoder = _ready(task, model, world=world, local=local)
        options: dict[str, Any] = {}
        if task != "predict":
            options = (
                rules
                if task == "fold"
                else embedding.embedding_options(
                    encoder,
                    pool,
                    layer,
                    whiten=whiten,
                    combine=combine,
                    dtype=dtype,
                    window=window,
                    overlap=overlap,
                )
            )
        rows = task == "embed" and pool is None
        limits = {
            "shard_size": shard_size,
            "nucleotides": VALUES // embedding.width_of(encoder, **options) if rows else NUCLEOTIDES,
        }
        content = fingerprint(path)
        about = {"model": _identity(encoder), **options, **limits}
        if task == "fold" and (program := folding.rules_of(encoder, **rules).energy) is not None:
            package, needs, _ = PACKAGES[program]
            about["energies"] = program if usable(package, needs=needs) else f"{program} is missing"
        facts = {"task": task, **about, "input": f"{path.name} {content.sha256[:16]}"}
        if not (note := output / "_job.json").exists():
            files.check_output(note)
        claim_folder(note, facts, what="job", required=("task", "model", "input"))
        shards.remove_left_over(output, rank, world, alone=_place()[1] == 1)
        whole, damaged = shards.whole_shards(output)
        if shards.is_finished(output, whole):
            return shards.report(output, len(whole))
        check_output(output / "_end.json")
        for name, why in damaged.items():
            if shards.number_of(name) % world == rank:
                warn_user(f"{output / name} is damaged ({why}): it is computed again")
        job = _Job(task, path, output, encoder, options, limits, content)
        given = {"task": task, "path": str(path), "output": str(output), "shard_size": shard_size, **options}
        given["model"] = str(user_path(model).absolute()) if isinstance(model, os.PathLike) else model
        threads = torch.get_num_threads()
        each = max(1, threads // processes)
        workers: list[subprocess.Popen] = []
        try:
            if processes > 1:
                workers = _start(given, processes, each)
                torch.set_num_threads(each)
            end, fault = _work(job, whole, (rank, world), workers, progress=progress and rank == 0)
            while any(worker.poll() is None for worker in workers):
                _check(workers)
                time.sleep(0.1)
            _check(workers)
        except KeyboardInterrupt:
            there = len(shards.whole_shards(output)[0])
            raise KeyboardInterrupt(
                f"stopped with {there} shards in {output}; the same call resumes the job"
            ) from None
        finally:
            torch.set_num_threads(threads)
            _end(workers)
        report = shards.report(output, end)
        if fault is not None:
            _tell(fault, report, output, rank)
        return report


run = run_bulk  # the older name, which rinalmo_kit.jobs.run still has


class _Job(NamedTuple):
    """What all processes of a job have in common."""

    task: Operation
    path: Path
    output: Path
    model: Encoder
    options: dict[str, Any]
    limits: dict[str, int]
    content: Fingerprint


def _work(
    job: _Job,
    whole: dict[str, shards.Shard],
    share: tuple[int, int],
    workers: list[subprocess.Popen],
    *,
    progress: bool,
) -> tuple[int, DamagedInputError | None]:
    """Write the missing shards k of one process, k % world == rank; return the number of all shards.

    The second value is the fault at which reading of the input ended, if any.
    """
    from tqdm import tqdm

    rank, world = share
    told: set[str] = set()
    first = done = nucleotides = count = position = 0
    content, fault = job.content, None
    line = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with (
        open_input(job.path) as raw,
        tqdm(total=content.size, desc=job.task, smoothing=0, bar_format=line, disable=not progress) as bar,
    ):
        start = time.monotonic()

        def advance(lengths: list[int]) -> None:
            """Show that so many records are done; the bar counts bytes of the file, letter by letter."""
            nonlocal done, nucleotides
            done, nucleotides = done + len(lengths), nucleotides + sum(lengths)
            seconds = max(time.monotonic() - start, 1e-9)
            speed = f"{done / seconds:,.0f} RNA/s, {nucleotides / seconds:,.0f} nt/s"
            bar.set_postfix_str(speed, refresh=False)
            bar.update(min(size * sum(lengths) / letters, position - bar.n))

        try:
            for k, chunk in enumerate(_told_once(chunks(raw, **job.limits), rank)):
                name = shards.name_of(k)
                size, position = raw.tell() - position, raw.tell()
                letters = max(1, sum(len(sequence) for _, sequence in chunk))
                if name in whole and whole[name].records == len(chunk):
                    bar.initial = position  # says nothing about the speed
                elif k % world == rank:
                    if name in whole:
                        warn_user(f"{job.output / name} has too few records: it is computed again")
                    table = shards.table_of(job.task, job.model, chunk, first, job.options, told, advance)
                    content = unchanged(job.path, raw, content)
                    shards.write_shard(table, job.output / name)
                else:
                    advance([len(sequence) for _, sequence in chunk])
                bar.update(position - bar.n)
                first, count = first + len(chunk), k + 1
                _check(workers)
        except DamagedInputError as error:
            fault = error
        unchanged(job.path, raw, content)
    if fault is None:
        shards.write_end(job.output, shards.End(count, first))
    return count, fault


def _told_once(found: Iterator[list[tuple[str, str]]], rank: int) -> Iterator[list[tuple[str, str]]]:
    """Yield chunks; warnings about the file as a whole are given by the first process alone."""
    if rank == 0:
        yield from found
        return
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chunk = next(found, None)
        if chunk is None:
            return
        yield chunk


def _tell(fault: DamagedInputError, report: Report, output: Path, rank: int) -> None:
    """Raise the fault of the input once all before it is done: torchrun and srun would end the other processes."""
    told = f"{fault}. The {report.records:,} records before that place are in {output}"
    if "damaged" in str(fault):  # packed data show wrong bytes late
        told += ", and the last of them may be wrong"
    if not report.missing:
        raise DamagedInputError(f"{told}; a file that was repaired needs another folder") from fault
    if rank == 0:
        warn_user(f"{told}, but for {report.missing} shards of other processes")


def _check_record(path: Path) -> None:
    """Raise ValueError if the input has no record, before anything is written."""
    with open_input(path) as raw, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told when it is read
        try:
            found = next(chunks(raw, shard_size=1, nucleotides=1), None)
        except DamagedInputError as error:
            raise ValueError(str(error)) from None
    if found is None:
        raise ValueError(f"{path} holds no FASTA record")


def _whole_number(name: str, value: Any, *, least: int = 1, most: int) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"{name}={value!r}: expected a whole number from {least:,} to {most:,}")
    return number


def _probability(threshold: Any) -> float | None:
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) <= 1:
        raise ValueError(f"threshold={threshold!r}: a probability lies between 0 and 1")
    return float(threshold)


def _identity(model: Encoder) -> str:
    """Return the name of a model and a hash of all that its results depend on."""
    found = hashlib.sha256(repr((model.info.identity(), type(model.head).__name__)).encode())
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{model.name} {found.hexdigest()[:16]}"


def _ready(task: Operation, model: Encoder | str | os.PathLike, *, world: int, local: int) -> Encoder:
    """Return the model for a task; of several processes each has its GPU."""
    if isinstance(model, str | os.PathLike) and world > 1 and torch.cuda.is_available():
        model = load(model, device=f"cuda:{local % torch.cuda.device_count()}")
    ready = {"fold": folding.folding_model, "predict": prediction.predicting_model}
    return ready.get(task, pretrained.ready_model)(model)


def started_alone() -> bool:
    """Tell whether this is the only process, without others that torchrun or srun started."""
    return _place()[1] == 1


def _worker() -> None:
    """Run as one of several processes; end with the first one, whose end of the pipe then closes.

    The reason why it cannot do its share goes to standard output, for the first process to tell.
    """

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    reason = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed
    warnings.showwarning = lambda message, *_: print(f"rinalmo-kit: note: {message}", file=sys.stderr)
    try:
        run_bulk(**json.loads(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
    except DamagedInputError:  # the first process comes to that place, too
        sys.exit(0)
    except (ValueError, OSError, ImportError, FloatingPointError, MemoryError) as error:
        os.write(reason, (str(error) or type(error).__name__).encode("utf-8", "backslashreplace")[:10_000])
        sys.exit(2)
