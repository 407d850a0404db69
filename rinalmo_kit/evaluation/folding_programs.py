"""Other programs that fold one sequence: ViennaRNA, LinearPartition, and those found on PATH."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal, NamedTuple

from .._utils.choices import did_you_mean
from .._utils.extras import usable
from .._utils.given import of_kind
from ..inference.energies import PACKAGES, answering, viennarna_module
from ..rna.pairs import pairs_from_dot_bracket
from ..structure import Structure, read_structures

__all__ = ["PROGRAMS", "Program", "check_program", "fold_by", "on_path", "run_program", "viennarna"]

TIMEOUT = 600
"""Seconds that a program may take for one sequence."""


MOST_PRINTED = 10_000_000
"""Bytes that are read of what a program printed, from its end."""


class Program(NamedTuple):
    """How a folding program is called.

    Attributes
    ----------
    command : tuple of str
        ``{fasta}`` stands for the file of the sequence, ``{out}`` for a CT file to be written.
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
}
"""Name → program."""


def on_path() -> list[str]:
    """Return the names of the programs that can be called here."""
    return [name for name, one in PROGRAMS.items() if shutil.which(one.command[0])]


def fold_by(program: str, sequence: str, *, name: str = "sequence") -> Structure:
    """Fold a sequence by another program.

    Parameters
    ----------
    program : str
        A key of :data:`PROGRAMS`.
    sequence : str
        A, C, G, U.
    name : str

    Raises
    ------
    ValueError
        For an unknown program, or output without a structure of the sequence's length.
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
        raise ValueError(
            f"unknown program {program!r}{did_you_mean(program, PROGRAMS)}; known: {', '.join(PROGRAMS)}"
        )
    one = PROGRAMS[program]
    check_program(program, one)
    with tempfile.TemporaryDirectory() as folder:
        files = {"fasta": str(Path(folder, "fasta")), "out": str(Path(folder, "out.ct"))}
        Path(files["fasta"]).write_text(f">target\n{sequence}\n", encoding="ascii")
        command = [word.format(**files) for word in one.command]
        printed = run_program(program, command, stdin=sequence if one.stdin else "")
        with unreadable_output(program, name, printed):
            if "{out}" not in one.command:
                return printed_structure(program, printed, sequence, name)
            [found, *_] = read_structures(files["out"])
            if len(found) != len(sequence):
                raise ValueError(f"it has {len(found)} nucleotides, expected {len(sequence)}")
            return Structure(sequence, found.pairs, name)


@contextmanager
def unreadable_output(program: str, name: str, printed: str) -> Iterator[None]:
    """Raise ValueError with the program and the RNA if what it gives cannot be read as a structure."""
    try:
        yield
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(
            f"{program} gave no structure of {name!r}: {error}; it printed {printed[-200:].strip()!r}"
        ) from error


def check_program(program: str, one: Program) -> None:
    """Raise FileNotFoundError, with where to get it, if a program or what it needs is missing."""
    if shutil.which(one.command[0]) is None:
        raise FileNotFoundError(f"{program}: no {one.command[0]} on PATH; it comes from {one.url}")
    if one.variable and not os.environ.get(one.variable):
        raise FileNotFoundError(
            f"{program} needs the environment variable {one.variable}: the folder of its tables"
        )


def run_program(program: str, command: list[str], *, stdin: str = "") -> str:
    """Run a program in its own session, so that what it starts ends with it, and return what it printed."""
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
            run.communicate(stdin.encode("ascii"), timeout=TIMEOUT)
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


def printed_structure(program: str, printed: str, sequence: str, name: str) -> Structure:
    """Return the last dot-bracket of the sequence's length that a program printed."""
    length = len(sequence)
    found = [word for word in re.findall(r"[.()\[\]{}<>]+", printed) if len(word) == length]
    if not found:
        raise ValueError(f"{program} printed no structure of {length} nucleotides")
    return Structure(sequence, pairs_from_dot_bracket(found[-1]), name)


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
    of_kind(name, sequence, str, "a sequence")
    if not sequence:
        raise ValueError(f"{name!r} is empty: expected at least one nucleotide")
    with answering("ViennaRNA", RNA, name):
        ensemble = RNA.fold_compound(sequence)
        structure, energy = ensemble.mfe()
        if kind != "mfe":
            ensemble.exp_params_rescale(energy)  # else long sequences overflow
            ensemble.pf()
            structure = ensemble.centroid()[0] if kind == "centroid" else ensemble.MEA()[0]
        return Structure.from_dot_bracket(sequence, structure, name=name)


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

    with answering("LinearPartition", package, name):
        return Structure.from_dot_bracket(sequence, package.partition(sequence)["structure"], name=name)
