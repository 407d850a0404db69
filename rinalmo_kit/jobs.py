"""Embedding, folding and prediction of a FASTA file with millions of records, shard by shard.

The file is read as a stream and cut into chunks. Chunk k makes the table ``part-00000k.parquet`` of the output folder,
which appears whole or not at all: what is there need not be done again, by whichever process, after whatever stop.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np
import torch

from . import inference
from .extras import optional
from .files import sha256_of, user_path, whole_file
from .hub import load
from .model import Encoder
from .structure import to_dot_bracket
from .tokens import read_fasta
from .unwrap import unwrapped

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Report", "run"]

RECORDS = 10_000
"""Records of a shard, at most."""

NUCLEOTIDES = 2_000_000
"""Nucleotides of a shard, but for its last record."""

VALUES = 2**25
"""Numbers of a shard with a row for each nucleotide (128 MiB), but for its last record."""

MODELS = {"embed": "pico", "fold": "pico-ss", "predict": "pico-ncrna-0"}

Task = Literal["embed", "fold", "predict"]


class Report(NamedTuple):
    """What is in the folder of a job.

    Attributes
    ----------
    records, refused : int
        Rows of the shards that are there, and how many of them have an ``error`` for a result.
    shards : int
        Shards that are there.
    missing : int
        Shards that are not: other processes are at them, or have not been started.
    """

    records: int
    refused: int
    shards: int
    missing: int


def run(
    task: Task,
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    model: Encoder | str | os.PathLike | None = None,
    pool: Literal["cls", "mean"] | None = "mean",
    threshold: float | None = None,
    canonical_only: bool = True,
    min_loop: int = 4,
    shard_size: int = RECORDS,
    processes: int = 1,
    progress: bool = False,
) -> Report:
    r"""Embed, fold or predict every record of a FASTA file into a folder of Parquet tables; call again to go on.

    The folder as a whole is one table, in the order of the file: ``pandas.read_parquet(output)``. Columns ``index``
    (from 0), ``name``, ``length``, the results, and ``error``: why a record was refused, else missing. Results are
    ``embedding``; ``sequence``, ``dot_bracket``, ``confidence`` and ``pairs`` (their number); or the columns of
    :func:`rinalmo_kit.predict`.

    Under ``torchrun`` or ``srun`` each process does its share, on the GPU of its local rank.

    Parameters
    ----------
    task : {"embed", "fold", "predict"}
    path : path
        FASTA, ``.gz`` or not; never held as a whole.
    output : path
        Folder; an empty one, or that of the same job, which goes on: finished shards are kept as they are.
    model : Encoder, name or path, optional
        Default: ``"pico"``, ``"pico-ss"`` or ``"pico-ncrna-0"``. With `processes` a name or path.
    pool : {"mean", "cls", None}
        For embeddings; None: ``embedding.reshape(length, -1)`` has a row for each nucleotide.
    threshold, canonical_only, min_loop
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
        If the folder holds another job, with what differs; if the file has no record; for a model without the head.
    ChildProcessError
        If one of the processes dies; finished shards stay.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> fasta = Path(folder.name, "rna.fasta")
    >>> _ = fasta.write_text(">a\nGGGGAAAACCCC\n>b\nACXU\n>c\nACGU\n")
    >>> run("fold", fasta, fasta.with_name("folded"))
    Report(records=3, refused=1, shards=1, missing=0)
    >>> import pandas as pd
    >>> list(pd.read_parquet(fasta.with_name("folded"))["name"])
    ['a', 'b', 'c']
    >>> folder.cleanup()
    """
    path, output = user_path(path), user_path(output)
    if task not in MODELS:
        raise ValueError(f"task={task!r}: expected 'embed', 'fold' or 'predict'")
    if pool not in (None, "cls", "mean"):
        raise ValueError(f"pool={pool!r}: expected None, 'cls' or 'mean'")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold}: a probability lies between 0 and 1")
    if shard_size < 1 or processes < 1:
        raise ValueError(f"shard_size={shard_size}, processes={processes}: expected 1 or more of each")
    rank, world, local = (0, processes, 0) if processes > 1 else _place()
    if processes > 1 and _place()[1] > 1:
        raise ValueError("processes are already started from outside (torchrun, srun): leave `processes` out")
    if processes > 1 and not isinstance(model, str | os.PathLike | None):
        name = unwrapped(model).name
        raise ValueError(f"several processes each load the model: give its name or path, not {name!r}")
    optional("pyarrow.parquet", "tables in shards need pyarrow: pip install 'rinalmo-kit[notebooks]'")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with path.open("rb") as raw:
        if next(_chunks(raw, path, shard_size=1, nucleotides=1), None) is None:
            raise ValueError(f"{path} holds no FASTA record")

    model = MODELS[task] if model is None else model
    encoder = _ready(task, model, world=world, local=local)
    rules = {"threshold": threshold, "canonical_only": canonical_only, "min_loop": min_loop}
    options = {"embed": {"pool": pool}, "fold": rules, "predict": {}}[task]
    rows = task == "embed" and pool is None
    limits = {
        "shard_size": shard_size,
        "nucleotides": VALUES // encoder.config.dim if rows else NUCLEOTIDES,
    }
    content = f"{path.name} {sha256_of(path)[:16]}"
    _claim(output, {"task": task, "model": _identity(encoder), **options, **limits, "input": content})
    if (end := _end(output)) is not None and len(_shards(output)) == end:
        return _report(output, end)

    arguments = {"task": task, "path": str(path), "output": str(output), "shard_size": shard_size, **options}
    threads = torch.get_num_threads()
    each = max(1, threads // processes)
    workers: list[subprocess.Popen] = []
    try:
        if processes > 1:
            workers = _start(arguments | {"model": os.fspath(model)}, processes, each)
            torch.set_num_threads(each)
        end = _work(
            task,
            path,
            output,
            encoder,
            options,
            limits,
            (rank, world),
            workers,
            progress=progress and rank == 0,
        )
        while any(worker.poll() is None for worker in workers):
            _check(workers)
            time.sleep(0.1)
        _check(workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped with {len(_shards(output))} shards in {output}; the same call goes on with them"
        ) from None
    finally:
        torch.set_num_threads(threads)
        for worker in workers:
            worker.kill()
            worker.wait()
    return _report(output, end)


def _work(
    task: Task,
    path: Path,
    output: Path,
    model: Encoder,
    options: dict[str, Any],
    limits: dict[str, int],
    share: tuple[int, int],
    workers: list[subprocess.Popen],
    *,
    progress: bool,
) -> int:
    """Make the shards k of one process, k % world == rank, that are not there; return the number of all."""
    import pyarrow.parquet as pq
    from tqdm import tqdm

    rank, world = share
    there = _shards(output)
    told: set[str] = set()
    first = done = nucleotides = count = position = 0
    line = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with (
        path.open("rb") as raw,
        tqdm(total=path.stat().st_size, desc=task, smoothing=0, bar_format=line, disable=not progress) as bar,
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

        for k, chunk in enumerate(_chunks(raw, path, **limits)):
            name = f"part-{k:06d}.parquet"
            size, position = raw.tell() - position, raw.tell()
            letters = max(1, sum(len(sequence) for _, sequence in chunk))
            if name in there:
                bar.initial = position  # says nothing about the speed
            elif k % world == rank:
                for left in output.glob(f".{name}.*.tmp"):  # of a process that was killed as it wrote
                    left.unlink(missing_ok=True)
                table = _table(task, model, chunk, first, options, told, advance)
                with whole_file(output / name) as temporary:
                    pq.write_table(table, temporary, compression="zstd", use_dictionary=False)
            else:
                advance([len(sequence) for _, sequence in chunk])
            bar.update(position - bar.n)
            first, count = first + len(chunk), k + 1
            _check(workers)
    with whole_file(output / "_end.json") as temporary:
        temporary.write_text(json.dumps({"shards": count, "records": first}) + "\n", encoding="utf-8")
    return count


def _chunks(
    raw: BinaryIO, path: Path, *, shard_size: int, nucleotides: int
) -> Iterator[list[tuple[str, str]]]:
    """Cut the records of a file into chunks: the same ones at every start."""
    packed = path.suffix == ".gz"
    stream = gzip.open(raw, "rt", encoding="utf-8-sig") if packed else io.TextIOWrapper(raw, "utf-8-sig")
    chunk: list[tuple[str, str]] = []
    total = 0
    try:
        with stream:
            for record in read_fasta(stream):
                chunk.append(record)
                total += len(record[1])
                if len(chunk) == shard_size or total >= nucleotides:
                    yield chunk
                    chunk, total = [], 0
            if chunk:
                yield chunk
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged or no FASTA text ({error}): fetch or write it again"


def _table(
    task: Task,
    model: Encoder,
    chunk: list[tuple[str, str]],
    first: int,
    options: dict[str, Any],
    told: set[str],
    advance: Callable[[list[int]], None],
) -> pa.Table:
    """Compute one chunk; a record that cannot be computed has the reason in the column ``error``."""
    import pyarrow as pa

    texts, lengths = [""] * len(chunk), [len(sequence) for _, sequence in chunk]
    errors: list[str | None] = [None] * len(chunk)
    good = []
    for i, (name, sequence) in enumerate(chunk):
        try:
            texts[i] = inference.ready_sequence(name, sequence)
        except ValueError as error:
            errors[i] = str(error)
        else:
            good.append(i)
            lengths[i] = len(texts[i])
            _notice_once(name, texts[i], told, gaps=task == "fold")
    compute = {"embed": inference.embeddings, "fold": inference.structures, "predict": inference.predictions}
    found: list[Any] = [None] * len(chunk)
    for batch, results in compute[task](model, [texts[i] for i in good], **options):
        advance([lengths[good[place]] for place in batch])
        if results is None:
            i = good[batch[0]]
            errors[i] = inference.too_large(chunk[i][0], texts[i], model)
            continue
        for place, one in zip(batch, results, strict=True):
            if task == "embed":
                one = one.reshape(-1)
            elif task == "fold":  # without the probabilities, L × L
                brackets = to_dot_bracket(one.pairs, len(one), drop=True)  # 30 levels hold all but oddities
                one = (one.sequence, brackets, one.confidence, len(one.pairs))
            found[good[place]] = one
    columns = {
        "index": pa.array(range(first, first + len(chunk)), pa.int64()),
        "name": pa.array([name for name, _ in chunk], pa.string()),
        "length": pa.array(lengths, pa.int64()),
        **_results(task, model, found, options),
        "error": pa.array(errors, pa.string()),
    }
    refused = sum(error is not None for error in errors)
    return pa.table(columns).replace_schema_metadata({"refused": str(refused)})


def _results(task: Task, model: Encoder, found: list[Any], options: dict[str, Any]) -> dict[str, pa.Array]:
    """Columns of the results, null where there is none; of the same types in every shard."""
    import pyarrow as pa

    good = [one for one in found if one is not None]
    if task == "fold":
        types = {"sequence": pa.string(), "dot_bracket": pa.string(), "confidence": pa.float64()}
        types["pairs"] = pa.int64()
        return {
            name: pa.array([one and one[i] for one in found], type)
            for i, (name, type) in enumerate(types.items())
        }
    places = iter(range(len(good)))
    rows = pa.array([None if one is None else next(places) for one in found], pa.int64())
    if task == "embed":
        values = pa.array(np.concatenate(good) if good else np.zeros(0, np.float32), pa.float32())
        if options["pool"] is None:
            ends = np.cumsum([0, *map(len, good)])
            return {"embedding": pa.LargeListArray.from_arrays(ends, values).take(rows)}
        return {"embedding": pa.FixedSizeListArray.from_arrays(values, model.config.dim).take(rows)}
    columns = inference.as_columns(model, np.array(good, dtype=np.float64))
    return {
        name: pa.array(column, pa.string() if name == "label" else pa.float64()).take(rows)
        for name, column in columns.items()
    }


def _notice_once(name: str, sequence: str, told: set[str], *, gaps: bool) -> None:
    """Warn of the first record of a kind, and not of a million."""
    if len(sequence) > inference.TRAINED_LENGTH and "long" not in told:
        told.add("long")
        warnings.warn(
            f"{name!r} has {len(sequence)} nucleotides, and others may have as many; the models were trained on at "
            f"most {inference.TRAINED_LENGTH}. All are computed whole, but expect less reliable results",
            stacklevel=5,
        )
    if gaps and "-" in sequence and "gap" not in told:
        told.add("gap")
        warnings.warn(
            f"{name!r} has a gap, and others may too: each is kept as a position that never pairs; remove gaps to "
            "fold the RNA itself",
            stacklevel=5,
        )


def _claim(output: Path, job: dict[str, Any]) -> None:
    """Write what the folder is for, or compare."""
    file = output / "_job.json"
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        differ = [key for key in dict.fromkeys([*before, *job]) if before.get(key) != job.get(key)]
        if differ:
            listed = "; ".join(f"{key}: {before.get(key)} then, {job.get(key)} now" for key in differ)
            raise ValueError(
                f"{output} holds another job ({listed}): choose another folder, or call as before"
            )
        return
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: the output of many sequences is a folder")
    if output.exists() and any(not one.name.startswith((".", "_")) for one in output.iterdir()):
        raise ValueError(
            f"{output} holds files, but no job that could go on: choose another folder, or empty it"
        )
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(job, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _identity(model: Encoder) -> str:
    """Name of a model, and a hash of all that its results depend on."""
    facts = (model.threshold, model.calibration, model.scaler, model.labels, model.pad_to, model.window)
    found = hashlib.sha256(repr((facts, type(model.head).__name__)).encode())
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{model.name} {found.hexdigest()[:16]}"


def _shards(output: Path) -> set[str]:
    return {one.name for one in output.glob("part-*.parquet")}


def _end(output: Path) -> int | None:
    """Read how many shards the job has; None before a process has come to the end of the input."""
    file = output / "_end.json"
    return json.loads(file.read_text(encoding="utf-8"))["shards"] if file.exists() else None


def _report(output: Path, end: int) -> Report:
    """Add up what the shards say of themselves."""
    import pyarrow.parquet as pq

    records = refused = 0
    shards = sorted(_shards(output))
    for name in shards:
        about = pq.read_metadata(output / name)
        records += about.num_rows
        refused += int(about.metadata[b"refused"])
    return Report(records, refused, len(shards), end - len(shards))


def _ready(task: Task, model: Encoder | str | os.PathLike, *, world: int, local: int) -> Encoder:
    """Return the model for a task; of several processes each has its GPU."""
    if isinstance(model, str | os.PathLike) and world > 1 and torch.cuda.is_available():
        model = load(model, device=f"cuda:{local % torch.cuda.device_count()}")
    ready = {"fold": inference.folding_model, "predict": inference.predicting_model}
    return ready.get(task, inference.ready_model)(model)


def _place() -> tuple[int, int, int]:
    """Rank, number of processes and local rank, as torchrun or srun tell them."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    for rank, world, local in names:
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world]), int(os.environ.get(local, 0))
    return 0, 1, 0


def started_alone() -> bool:
    """Tell whether neither torchrun nor srun started other processes beside this one."""
    return _place()[1] == 1


def _start(arguments: dict[str, Any], processes: int, threads: int) -> list[subprocess.Popen]:
    """Start all processes but the first, which is this one."""
    command = [sys.executable, "-c", "from rinalmo_kit import jobs; jobs._worker()", json.dumps(arguments)]
    return [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
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


def _worker() -> None:
    """Be one of several processes; end with the first one, whose end of the pipe then closes."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    warnings.showwarning = lambda message, *_: print(f"rinalmo-kit: note: {message}", file=sys.stderr)
    try:
        run(**json.loads(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)


def _check(workers: list[subprocess.Popen]) -> None:
    for rank, worker in enumerate(workers, 1):
        if worker.poll():
            raise ChildProcessError(
                f"process {rank + 1} of {len(workers) + 1} ended with code {worker.returncode}, what it said is "
                "above; finished shards stay, and the same call goes on with them"
            )
