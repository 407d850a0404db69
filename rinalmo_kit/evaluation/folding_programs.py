"""Other folding programs: ViennaRNA, LinearPartition, and those found on PATH."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Literal, NamedTuple

import numpy as np

from .._utils.extras import optional, usable
from .._utils.files import user_path
from ..rna.pairs import pairs_from_dot_bracket
from ..structure import Structure, read_structures

__all__ = ["PROGRAMS", "Program", "families_by_cmscan", "fold_by", "on_path", "viennarna"]

TIMEOUT = 600
"""Seconds that a program may take for one sequence."""


MOST_PRINTED = 10_000_000
"""Bytes that are read of what a program printed, from its end."""


class Program(NamedTuple):
    """How a folding program is called.

    Attributes
    ----------
    command : tuple of str
        ``{fasta}`` stands for the file of the sequence, ``{homologs}`` for that of the sequence and its homologs,
        ``{out}`` for a CT file to be written, ``{folder}`` for a folder.
    url : str
        Where it comes from.
    stdin : bool
        The bare sequence is given on standard input.
    variable : str
        Environment variable that it needs.
    """

    command: tuple[str, ...]
    url: str
    stdin: bool = False
    variable: str = ""


CENTROID = "https://github.com/satoken/centroid-rna-package"


PROGRAMS: Mapping[str, Program] = {
    "contrafold": Program(("contrafold", "predict", "{fasta}"), "http://contra.stanford.edu/contrafold"),
    "eternafold": Program(("eternafold", "predict", "{fasta}"), "https://github.com/eternagame/EternaFold"),
    "rnastructure": Program(
        ("Fold", "-mfe", "{fasta}", "{out}"),
        "https://rna.urmc.rochester.edu/RNAstructure.html",
        variable="DATAPATH",
    ),
    "mxfold2": Program(("mxfold2", "predict", "{fasta}"), "https://github.com/mxfold/mxfold2"),
    "linearpartition": Program(
        ("linearpartition", "-M"),
        "https://github.com/LinearFold/LinearPartition (Python: pip install linearpartition-unofficial)",
        stdin=True,
    ),
    "centroid-homfold": Program(("centroid_homfold", "-H", "{homologs}", "{fasta}"), CENTROID),
    "centroid-alifold": Program(("centroid_alifold", "{alignment}"), CENTROID),
    "locarna": Program(
        ("mlocarna", "{homologs}", "--tgtdir", "{folder}"), "https://github.com/s-will/LocARNA"
    ),
}
"""Name → program. The last three need homologs (paper, Fig. 5)."""


HOMOLOGS = ("centroid-homfold", "centroid-alifold", "locarna")


def on_path() -> list[str]:
    """Return the names of the programs that can be called here."""
    return [name for name, one in PROGRAMS.items() if shutil.which(one.command[0])]


def fold_by(
    program: str, sequence: str, *, homologs: Sequence[str] = (), name: str = "sequence"
) -> Structure:
    """Fold a sequence by another program.

    Parameters
    ----------
    program : str
        A key of :data:`PROGRAMS`.
    sequence : str
        A, C, G, U.
    homologs : sequence of str
        For the programs that use them; ``"centroid-alifold"`` aligns them with mlocarna first.
    name : str

    Raises
    ------
    ValueError
        For an unknown program, missing homologs, or output without a structure of the sequence's length.
    FileNotFoundError
        If the program is not on PATH, or what it needs is not set; says where it comes from.
    RuntimeError
        If it fails or takes longer than ten minutes, with the end of what it printed.

    Examples
    --------
    >>> fold_by("abacus", "ACGU")
    Traceback (most recent call last):
    ...
    ValueError: unknown program 'abacus'; known: contrafold, eternafold, rnastructure, ...
    """
    if program not in PROGRAMS:
        raise ValueError(f"unknown program {program!r}; known: {', '.join(PROGRAMS)}")
    one = PROGRAMS[program]
    if program in HOMOLOGS and not homologs:
        raise ValueError(f"{program} needs homologs of {name!r}: give homologs=[…]")
    _check(program, one)
    with tempfile.TemporaryDirectory() as folder:
        files = {key: str(Path(folder, key)) for key in ("fasta", "homologs", "out.ct", "folder")}
        files["out"] = files.pop("out.ct")
        Path(files["fasta"]).write_text(f">target\n{sequence}\n", encoding="ascii")
        others = "".join(f">homolog{i}\n{s}\n" for i, s in enumerate(homologs))
        Path(files["homologs"]).write_text(
            others if program == "centroid-homfold" else f">target\n{sequence}\n{others}", encoding="ascii"
        )
        if "{alignment}" in one.command:
            _check("locarna", PROGRAMS["locarna"])
            _run("locarna", [word.format(**files) for word in PROGRAMS["locarna"].command], None)
            files["alignment"] = str(Path(files["folder"], "results", "result.aln"))
        printed = _run(program, [w.format(**files) for w in one.command], sequence if one.stdin else None)
        with _understood(program, name, printed):
            if "{out}" in one.command:
                [found, *_] = read_structures(files["out"])
                if len(found) != len(sequence):
                    raise ValueError(f"it has {len(found)} nucleotides, expected {len(sequence)}")
                return Structure(sequence, found.pairs, name)
            if program in HOMOLOGS[1:]:
                results = Path(files["folder"], "results", "result.aln")
                return _onto_target(printed, results.read_text(encoding="utf-8"), sequence, name)
            brackets = _structure_in(printed, len(sequence), program)
            return Structure(sequence, pairs_from_dot_bracket(brackets), name)


@contextmanager
def _understood(program: str, name: str, printed: str) -> Iterator[None]:
    """Name the program, and the RNA, where what it gives cannot be read as a structure."""
    try:
        yield
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(
            f"{program} gave no structure of {name!r}: {error}; it printed {printed[-200:].strip()!r}"
        ) from error


def _check(program: str, one: Program) -> None:
    if shutil.which(one.command[0]) is None:
        raise FileNotFoundError(f"{program}: no {one.command[0]} on PATH; it comes from {one.url}")
    if one.variable and not os.environ.get(one.variable):
        raise FileNotFoundError(
            f"{program} needs the environment variable {one.variable}: the folder of its tables"
        )


def _run(program: str, command: list[str], given: str | None) -> str:
    """Run a program in a session of its own, so that what it starts ends with it; return what it printed."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        try:
            run = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=printed, stderr=complaints, start_new_session=True
            )
        except OSError as error:
            place = shutil.which(command[0])
            raise RuntimeError(
                f"{program} ({place}) could not be started: {error.strerror or error}"
            ) from error
        try:
            run.communicate((given or "").encode("ascii"), timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{program} took longer than {TIMEOUT} s") from None
        finally:
            _end(run)
        if run.returncode:
            said = _end_of(complaints, 500) or _end_of(printed, 500)
            raise RuntimeError(f"{program} failed ({run.returncode}): {said}")
        return _end_of(printed, MOST_PRINTED)


def _end(run: subprocess.Popen) -> None:
    """End a program that is still running, and what it has left running."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
    run.wait()


def _end_of(file: IO[bytes], most: int) -> str:
    """Read the last bytes of a file, whatever they are."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - most))
    return file.read().decode("utf-8", "replace").strip()


def _structure_in(printed: str, length: int, program: str) -> str:
    """Find the last dot-bracket of a length."""
    found = [word for word in re.findall(r"[.()\[\]{}<>]+", printed) if len(word) == length]
    if not found:
        raise ValueError(f"{program} printed no structure of {length} nucleotides")
    return found[-1]


def _onto_target(printed: str, alignment: str, sequence: str, name: str) -> Structure:
    """Return the consensus structure of an alignment, on the columns of the target."""
    rows = [line.split() for line in alignment.splitlines()]
    row = "".join(words[1] for words in rows if len(words) > 1 and words[0] == "target")
    if row.replace("-", "").replace("T", "U") != sequence:
        raise ValueError(f"the alignment does not hold {name!r}: {row[:60]!r} …")
    lines = [
        line.strip().removeprefix("alifold").removeprefix("target structure") for line in printed.splitlines()
    ]
    firsts = [line.split()[0] for line in lines if line.split()]
    blocks = [word for word in firsts if set(word) <= set(".()[]{}<>")]
    consensus = next((b for b in reversed(blocks) if len(b) == len(row)), "".join(blocks))
    if len(consensus) != len(row):
        raise ValueError(
            f"no consensus structure of {len(row)} columns was printed: {printed[-200:].strip()!r}"
        )
    column = [k for k, letter in enumerate(row) if letter != "-"]
    place = {k: i for i, k in enumerate(column)}
    pairs = [(place[i], place[j]) for i, j in pairs_from_dot_bracket(consensus) if i in place and j in place]
    return Structure(sequence, np.array(pairs, dtype=np.int64).reshape(-1, 2), name)


def families_by_cmscan(sequence: str, models: str | os.PathLike) -> list[tuple[str, str, float]]:
    """Search Rfam's covariance models with Infernal's cmscan, as the paper does to find homologs (Fig. 5).

    Parameters
    ----------
    sequence : str
    models : path
        ``Rfam.cm``, pressed by cmpress.

    Returns
    -------
    list of (accession, name, E-value)
        Best first.

    Raises
    ------
    FileNotFoundError
        If cmscan is not on PATH.
    RuntimeError
        If it fails.
    """
    _check("cmscan", Program(("cmscan",), "http://eddylab.org/infernal (Debian: infernal)"))
    with tempfile.TemporaryDirectory() as folder:
        fasta, table = Path(folder, "target.fa"), Path(folder, "hits")
        fasta.write_text(f">target\n{sequence}\n", encoding="ascii")
        _run(
            "cmscan", ["cmscan", "--noali", "--tblout", str(table), str(user_path(models)), str(fasta)], None
        )
        with _understood("cmscan", "target", ""):
            lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
            rows = [line.split() for line in lines if line and line[0] != "#"]
            return sorted(((row[1], row[0], float(row[15])) for row in rows), key=lambda hit: hit[2])


PACKAGES = {
    "viennarna": ("RNA", ("fold_compound",)),
    "linearpartition": ("linearpartition", ("partition",)),
}
"""Baselines that are Python packages: the module, and what is used of it."""


def viennarna(
    sequence: str, *, name: str = "sequence", kind: Literal["mfe", "centroid", "mea"] = "mfe"
) -> Structure:
    """Fold by ViennaRNA, if it is installed.

    Parameters
    ----------
    sequence : str
    name : str
    kind : {"mfe", "centroid", "mea"}
        Structure of minimum free energy; centroid of the ensemble; structure of maximum expected accuracy.

    Raises
    ------
    ImportError
        If it is not installed, or cannot be used; says how to install it, or what is wrong with it.
    RuntimeError
        If it fails on this sequence.
    """
    RNA = viennarna_module()
    with _answering("ViennaRNA", RNA, name):
        ensemble = RNA.fold_compound(sequence)
        structure, energy = ensemble.mfe()
        if kind != "mfe":
            ensemble.exp_params_rescale(energy)  # else long sequences overflow
            ensemble.pf()
            structure = ensemble.centroid()[0] if kind == "centroid" else ensemble.MEA()[0]
        return Structure.from_dot_bracket(sequence, structure, name=name)


def viennarna_module() -> ModuleType:
    """Import ViennaRNA, or say how to install it, or what is wrong with it."""
    absent = "ViennaRNA is not installed: pip install 'rinalmo-kit[baselines]'"
    return optional("RNA", absent, needs=PACKAGES["viennarna"][1])


@contextmanager
def _answering(program: str, package: ModuleType, name: str) -> Iterator[None]:
    """Name the package, and the RNA, where it raises anything or what it gives is not a structure of that RNA."""
    try:
        yield
    except Exception as error:
        place = getattr(package, "__file__", None) or package.__name__
        raise RuntimeError(
            f"{program} ({place}) failed on {name!r}: {type(error).__name__}: {error}"
        ) from error


def linearpartition(sequence: str, *, name: str = "sequence") -> Structure:
    """Fold by LinearPartition, by its Python package if that is installed, else by the program on PATH.

    Its structure of maximum expected accuracy, with the parameters of ViennaRNA.

    Raises
    ------
    FileNotFoundError
        If there is neither; says where to get them.
    RuntimeError
        If it fails on this sequence.
    """
    if not usable("linearpartition", needs=PACKAGES["linearpartition"][1]):
        return fold_by("linearpartition", sequence, name=name)
    import linearpartition as package

    with _answering("LinearPartition", package, name):
        return Structure.from_dot_bracket(sequence, package.partition(sequence)["structure"], name=name)
