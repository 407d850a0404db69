"""Parquet shards of a bulk job: chunks of records in, whole tables out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._utils import files
from .._utils.files import atomic_write
from .._utils.run_folders import read_facts, write_facts
from .._utils.warn import warn_user
from ..model.rinalmo import Encoder
from ..rna.alphabet import CleanSequence
from ..rna.pairs import to_dot_bracket
from . import batching, embedding, folding, prediction
from .windows import as_windows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Operation",
    "Report",
    "check_folder",
    "end_of",
    "is_finished",
    "name_of",
    "number_of",
    "remove_left_over",
    "report",
    "table_of",
    "whole_shards",
    "write_end",
    "write_shard",
]

Operation = Literal["embed", "fold", "predict"]


SHARD = re.compile(r"part-(\d{6,})\.parquet")
REJECTED = "refused"  # in the metadata of a shard; the name is that of tables that were written earlier


class Report(NamedTuple):
    """Counts of what is in the folder of a job.

    Attributes
    ----------
    records, rejected : int
        Rows of the shards that are there, and how many of them have an ``error`` for a result.
    shards : int
        Shards that are there.
    missing : int
        Shards that are not: other processes are at them, or have not been started.
    """

    records: int
    rejected: int
    shards: int
    missing: int


class End(NamedTuple):
    """Numbers of all shards and records, known when a process has reached the end of the input."""

    shards: int
    records: int


class Shard(NamedTuple):
    """Counts in the metadata of a shard."""

    records: int
    rejected: int


def name_of(k: int) -> str:
    """Return the file name of a shard, which sorts as its number.

    Examples
    --------
    >>> name_of(12)
    'part-000012.parquet'
    """
    return f"part-{k:06d}.parquet"


def number_of(name: str) -> int:
    """Return the number of a shard with this file name, or with a temporary one.

    Examples
    --------
    >>> number_of("part-000012.parquet")
    12
    """
    return int(SHARD.findall(name)[-1])


# --- what the folder is for ------------------------------------------------------------------------------


def check_folder(output: Path, source: Path) -> None:
    """Check, before the work and without a change, that a job can use this folder.

    Raises
    ------
    ValueError
        If it is a file or a link to nowhere, has the input inside, or holds other files.
    """
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: the output of many sequences is a folder")
    if output.is_symlink() and not output.exists():
        raise ValueError(
            f"{output} is a link to {output.readlink()}, which is not there: make it, or remove the link"
        )
    if source.resolve().is_relative_to(output.resolve()):
        raise ValueError(f"{output} holds the input {source}: the tables need a folder of their own")
    if not output.exists() or (output / "_job.json").exists():
        return
    others = any(not one.name.startswith((".", "_")) for one in output.iterdir())
    if others and not (output / "_job.json").exists():  # another process may have begun
        raise ValueError(f"{output} holds files, but no job to resume: choose another folder, or empty it")


def end_of(output: Path) -> End | None:
    """Read the end of a job; None before a process has come to it, or if the file is damaged."""
    try:
        found = read_facts(output / "_end.json", remedy="")
    except (FileNotFoundError, ValueError):
        return None
    numbers = [found[name] for name in End._fields if type(found.get(name)) is int]
    return End(*numbers) if len(numbers) == len(End._fields) else None


def write_end(output: Path, end: End) -> None:
    """Write the end of a job."""
    write_facts(output / "_end.json", end._asdict())


# --- shards ----------------------------------------------------------------------------------------------


def whole_shards(output: Path) -> tuple[dict[str, Shard], dict[str, str]]:
    """Return the shards that are whole, by name, and what is wrong with those that are not."""
    import pyarrow.parquet as pq

    whole, damaged = {}, {}
    for path in sorted(output.glob("part-*.parquet")):
        if not SHARD.fullmatch(path.name):
            continue
        try:
            with path.open("rb") as stream:  # pyarrow takes no path that is not UTF-8
                about = pq.read_metadata(stream)
            whole[path.name] = Shard(about.num_rows, int(about.metadata[REJECTED.encode()]))
        except Exception as error:  # whatever a file may hold
            empty = path.is_file() and not path.stat().st_size
            damaged[path.name] = "it is empty" if empty else f"{error}".strip() or type(error).__name__
    return whole, damaged


def write_shard(table: pa.Table, path: Path) -> None:
    """Write a shard, whole or not at all."""
    import pyarrow.parquet as pq

    try:
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            pq.write_table(table, stream, compression="zstd", use_dictionary=False)
    except OSError as error:
        raise OSError(f"{path} could not be written ({error}); finished shards stay") from error


def remove_left_over(output: Path, rank: int, world: int, *, alone: bool) -> None:
    """Remove what a killed process left, under other names, of the shards of one process.

    And of the descriptions of the job, if no other process may be writing them.
    """
    for one in output.glob(".part-*.tmp"):
        if SHARD.search(one.name) and number_of(one.name) % world == rank:
            one.unlink(missing_ok=True)
    for name in ("_job.json", "_end.json") if alone else ():
        files.remove_left_over(output / name)


def is_finished(output: Path, whole: dict[str, Shard]) -> bool:
    """Tell whether all shards are there and whole, as far as they say themselves."""
    end = end_of(output)
    return (
        end is not None
        and len(whole) == end.shards
        and all(name_of(k) in whole for k in range(end.shards))
        and sum(shard.records for shard in whole.values()) == end.records
    )


def report(output: Path, shards: int) -> Report:
    """Add up what the shards say of themselves, of so many that there are in all."""
    expected = {name_of(k) for k in range(shards)}
    others = sorted(one.name for one in output.glob("part-*") if one.name not in expected)
    if others:
        raise ValueError(
            f"{output} holds tables that are not of this job ({', '.join(others[:5])}), and whoever reads the folder "
            "reads them too: move them away"
        )
    whole, _ = whole_shards(output)
    records = sum(shard.records for shard in whole.values())
    rejected = sum(shard.rejected for shard in whole.values())
    return Report(records, rejected, len(whole), shards - len(whole))


# --- the table of a shard --------------------------------------------------------------------------------


def table_of(
    task: Operation,
    model: Encoder,
    chunk: list[tuple[str, str]],
    first: int,
    options: dict[str, Any],
    told: set[str],
    advance: Callable[[list[int]], None],
) -> pa.Table:
    """Compute one chunk; a record that cannot be computed has the reason in the column ``error``."""
    import pyarrow as pa

    texts, lengths = [CleanSequence("")] * len(chunk), [len(sequence) for _, sequence in chunk]
    errors: list[str | None] = [None] * len(chunk)
    good = []
    for i, (name, sequence) in enumerate(chunk):
        try:
            if task == "predict":
                texts[i] = prediction.ready_to_predict(model, name, sequence)
            else:
                texts[i] = batching.ready_sequence(name, sequence)
        except ValueError as error:
            errors[i] = str(error)
        else:
            good.append(i)
            lengths[i] = len(texts[i])
            if lengths[i] <= (options.get("window") or lengths[i]):
                _notice_once(name, texts[i], told, gaps=task == "fold")
    found: list[Any] = [None] * len(chunk)
    for place, one in _results_of(task, model, [(chunk[i][0], texts[i]) for i in good], options):
        i = good[place]
        advance([lengths[i]])
        if isinstance(one, MemoryError):
            errors[i] = str(one)
        elif isinstance(one, ValueError):  # the model's fault
            raise one
        elif task == "embed":
            found[i] = one.reshape(-1)
        elif task == "fold":  # without the probabilities, L × L
            brackets = to_dot_bracket(one.pairs, len(one), drop=True)  # 30 levels hold all but oddities
            found[i] = (one.sequence, brackets, one.confidence, len(one.pairs))
        else:
            found[i] = one
    columns = {
        "index": pa.array(range(first, first + len(chunk)), pa.int64()),
        "name": pa.array([name for name, _ in chunk], pa.string()),
        "length": pa.array(lengths, pa.int64()),
        **_columns(task, model, found, texts, options),
        **_windows(texts, options),
        "error": pa.array(errors, pa.string()),
    }
    rejected = sum(error is not None for error in errors)
    return pa.table(columns).replace_schema_metadata({REJECTED: str(rejected)})


def _results_of(
    task: Operation, model: Encoder, records: list[tuple[str, CleanSequence]], options: dict[str, Any]
) -> Iterator[tuple[int, Any]]:
    """Yield numbers of records and their results, or a MemoryError that names one that does not fit by itself."""
    if task == "fold":
        yield from folding.structures(model, records, **options)
        return
    compute: Callable[..., Iterator[tuple[list[int], Any]]]
    compute = embedding.embeddings if task == "embed" else prediction.predictions
    for batch, results in compute(model, [text for _, text in records], **options):
        if isinstance(results, Exception):
            name, text = records[batch[0]]
            yield batch[0], MemoryError(batching.too_large(name, text, model, error=results))
        else:
            yield from zip(batch, results, strict=True)


def _columns(
    task: Operation, model: Encoder, found: list[Any], texts: list[CleanSequence], options: dict[str, Any]
) -> dict[str, pa.Array]:
    """Return the columns of the results, null where there is none; of the same types in every shard."""
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
        numbers = np.dtype(options.get("dtype", "float32"))
        values = pa.array(
            np.concatenate(good) if good else np.zeros(0, numbers), pa.from_numpy_dtype(numbers)
        )
        if options["pool"] is None:
            ends = np.cumsum([0, *map(len, good)])
            return {"embedding": pa.LargeListArray.from_arrays(ends, values).take(rows)}
        width = embedding.width_of(model, **options)
        return {"embedding": pa.FixedSizeListArray.from_arrays(values, width).take(rows)}
    predicted = [text for text, one in zip(texts, found, strict=True) if one is not None]
    columns = prediction.columns_of(model, good, predicted)
    kinds = {"text": pa.string(), "number": pa.float64(), "numbers": pa.list_(pa.float64())}
    return {
        name: pa.array(column, kinds[prediction.column_kind(model, name)]).take(rows)
        for name, column in columns.items()
    }


def _windows(texts: list[CleanSequence], options: dict[str, Any]) -> dict[str, pa.Array]:
    """Return the column that says in how many windows each record was computed, if windows are used."""
    import pyarrow as pa

    windows = as_windows(options.get("window"), options.get("overlap"))
    if windows is None:
        return {}
    return {
        "windows": pa.array([len(windows.of(len(text))) or 1 if text else None for text in texts], pa.int64())
    }


def _notice_once(name: str, sequence: str, told: set[str], *, gaps: bool) -> None:
    """Warn about the first long record and the first with a gap, once each."""
    if len(sequence) > batching.TRAINED_LENGTH and "long" not in told:
        told.add("long")
        warn_user(
            f"{name!r} has {len(sequence)} nucleotides, and others may have as many; the models were trained on at "
            f"most {batching.TRAINED_LENGTH}. All are computed whole, but expect less reliable results"
        )
    if gaps and "-" in sequence and "gap" not in told:
        told.add("gap")
        warn_user(
            f"{name!r} has a gap, and others may too: each is kept as a position that never pairs; remove gaps to "
            "fold the RNA itself"
        )
