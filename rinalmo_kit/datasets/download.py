"""Download of a dataset's source files, the table made from them, and the check of the available table."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.choices import did_you_mean
from .._utils.download import fetch
from .._utils.files import atomic_write, sha256_of, user_path
from .catalogue import CATALOGUE, Dataset, SourceFile, count_rows
from .loading import cache_dir, data_note, find_table, is_built, load_table
from .parsers import PARSERS
from .sidecar import read_sidecar, sidecar_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VerificationReport", "describe", "get", "overview", "verify"]

# --- getting ---------------------------------------------------------------------------------------------


def get(name: str, *, source: Path | None = None) -> Path:
    """Download the source files of a dataset, or take them from a folder, and make its table in the cache.

    What was downloaded is kept and not fetched again; a broken download resumes where it stopped. The
    table appears whole, with a note beside it of the files it was made from.

    Parameters
    ----------
    name : str
        A dataset of the paper.
    source : Path, optional
        Folder, archive or file with the source files; nothing is downloaded then.

    Returns
    -------
    Path
        The table, ``<name>.parquet`` in :func:`rinalmo_kit.datasets.cache_dir`.

    Raises
    ------
    ValueError
        If there is no such dataset or no parser for it, a file must be downloaded by hand, a checksum
        differs, or a row of a source file is wrong (file, line, what was expected).
    ConnectionError
        If a download fails; says how to do without.
    """
    entry = _entry(name)
    if name not in PARSERS:
        addresses = "".join(f"\n  {file.url}  {file.note}" for file in entry.also)
        raise ValueError(f"{name}: there is nothing to make a table from here. {entry.note}{addresses}")
    source = source and user_path(source)
    if source is None:
        source = cache_dir() / "originals" / name
        if by_hand := [file.name for file in entry.files if not (file.url or (source / file.name).exists())]:
            places = "".join(f"\n  {file.url}  {file.note}" for file in entry.also)
            raise ValueError(
                f"{name}: {', '.join(by_hand)} cannot be fetched by a program. Download by hand, then "
                f"rinalmo-kit data get {name} --from FOLDER{places}"
            )
        for file in entry.files:
            if file.url:
                otherwise = f"Or download {file.url} by hand and say where it is: --from FOLDER"
                fetch(file.url, source / file.name, sha256=file.sha256, otherwise=otherwise)
    sums = {}
    for file in entry.files:
        path = source / file.name if source.is_dir() else source
        if path.name == file.name and path.is_file():
            sums[file.name] = _checked(path, file)
    table = PARSERS[name](source)
    target = cache_dir() / f"{name}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    note = {"sha256": sums, "rows": len(table), "date": datetime.date.today().isoformat()}
    with atomic_write(target) as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_write(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(note, indent=1), encoding="utf-8")
    return target


def _entry(name: str) -> Dataset:
    if name not in CATALOGUE:
        raise ValueError(
            f"unknown dataset {name!r}{did_you_mean(name, CATALOGUE)}; known: {', '.join(CATALOGUE)}"
        )
    return CATALOGUE[name]


def _checked(path: Path, file: SourceFile) -> str:
    """Return the SHA-256 of a file, which must be the known one where one is known."""
    found = sha256_of(path)
    if file.sha256 not in (None, found):
        raise ValueError(
            f"{path}: its SHA-256 is {found}, expected {file.sha256} ({file.sha256_source}); remove it and get it again"
        )
    return found


# --- checking --------------------------------------------------------------------------------------------


@dataclass
class VerificationReport:
    """What :func:`verify` found: lines to show, and whether nothing is wrong."""

    name: str
    ok: bool = True
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n  ".join([f"{self.name}: {'ok' if self.ok else 'WRONG'}", *self.lines])


def verify(name: str) -> VerificationReport:
    """Check the table of a dataset and the source files it was made from, and compare its rows with the paper.

    Every difference of the counts is a line of the report. The result is not ok if a row cannot be right,
    a checksum differs, or counts differ from the paper's without being those of the table's sidecar.

    Raises
    ------
    FileNotFoundError
        If there is no table.
    """
    entry, report, path = _entry(name), VerificationReport(name), find_table(name)
    report.lines.append(f"table: {path}")
    if is_built(path):
        _verify_source_files(entry, path, report)
    try:
        table = load_table(name)
    except (ValueError, OSError) as error:
        report.ok = False
        report.lines.append(f"row: {error}")
        return report
    report.lines.append(f"rows: {len(table):,}, all of the form {', '.join(table)}")
    found = count_rows(table, entry)
    for key in dict.fromkeys([*entry.counts, *found]):
        here, stated = found.get(key, 0), entry.counts.get(key)
        of = "not counted in the paper" if stated is None else f"paper {stated:,}"
        same = "" if stated in (None, here) else f", {here - stated:+,}"
        report.lines.append(f"{key}: {here:,}, {of}{same}")
    equal = all(found.get(key) == n for key, n in entry.counts.items())
    sidecar = None if is_built(path) else read_sidecar(path)
    documented = sidecar is not None and all(found.get(key) == n for key, n in sidecar.rows.items())
    if not (equal or documented):
        report.ok = False
        described = sidecar_path(path)
        hint = f"those of {described.name}" if sidecar else f"described in {described.name}, which is missing"
        report.lines.append(f"these counts are neither the paper's nor {hint}")
    if sentence := data_note(name):
        report.lines.append(f"not the paper's data: {sentence}")
    return report


def _verify_source_files(entry: Dataset, table: Path, report: VerificationReport) -> None:
    """Compare the source files in the cache with the known checksums and with those noted when the table was made."""
    path = table.with_suffix(".json")
    noted = json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.exists() else {}
    for file in entry.files:
        original = cache_dir() / "originals" / entry.name / file.name
        known = file.sha256 or noted.get(file.name)
        if not original.exists():
            report.lines.append(f"{file.name}: not kept here")
            continue
        try:
            found = _checked(original, file)
        except ValueError as error:
            found, report.ok = "", False
            report.lines.append(str(error))
        if found and known not in (None, found):
            report.ok = False
            report.lines.append(f"{file.name}: changed since the table was made from it")
        elif found:
            kind = "the known one" if file.sha256 else "no checksum is published"
            report.lines.append(f"{file.name}: SHA-256 {found}, {kind}")


# --- showing ---------------------------------------------------------------------------------------------


def overview(names: Sequence[str] = tuple(CATALOGUE)) -> pd.DataFrame:
    """List the datasets: what they are, how many rows are here and in the paper, where, and what they are instead.

    Returns
    -------
    pandas.DataFrame
        Columns name, task, rows, paper_rows (missing where unknown), data, licence, table, note. `data` is
        ``paper``, ``stand-in``, ``extra``, ``damaged`` or ``not here``.
    """
    import pandas as pd

    lines = []
    for name in names:
        entry = _entry(name)
        line = {
            "name": name,
            "task": entry.task,
            "rows": None,
            "paper_rows": sum(entry.counts.values()) or None,
        }
        line |= {"data": "not here", "licence": entry.licence, "table": "", "note": ""}
        try:
            if entry.table:
                line["table"] = str(find_table(name))
                line["rows"] = len(load_table(name))
                line["note"] = data_note(name) or ""
                line["data"] = "extra" if not entry.paper else "stand-in" if line["note"] else "paper"
        except FileNotFoundError:
            pass
        except ValueError as error:
            line |= {"data": "damaged", "note": str(error)}
        lines.append(line)
    return pd.DataFrame(lines).astype({"rows": "Int64", "paper_rows": "Int64"})


def describe(name: str) -> str:
    """Return everything that the catalogue says about a dataset."""
    entry = _entry(name)
    lines = [f"{name}: {entry.title}", f"task: {entry.task}", f"licence: {entry.licence}"]
    lines += [f"cite: https://doi.org/{doi}" for doi in entry.citations]
    for file in entry.files:
        sha = f"SHA-256 {file.sha256} ({file.sha256_source})" if file.sha256 else "no checksum is published"
        lines.append(f"file: {file.name}  {file.url or 'to be downloaded by hand'}  {sha}")
    lines += [f"see: {file.url}  {file.note}" for file in entry.also]
    if entry.counts:
        lines += [f"rows in the paper: {key} {n:,}" for key, n in entry.counts.items()]
        lines.append(f"counts: {entry.counts_source}")
    if entry.note:
        lines.append(f"note: {entry.note}")
    return "\n  ".join(lines)
