"""Programs that fold a sequence with the help of its homologs (paper, Fig. 5), and the search for its family.

CentroidHomfold, CentroidAlifold and LocARNA fold; Infernal's cmscan searches Rfam's covariance models. They are used
where they are on ``PATH``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rinalmo_kit._utils.files import user_path
from rinalmo_kit.evaluation.folding_programs import (
    Program,
    check_program,
    printed_structure,
    run_program,
    unreadable_output,
)
from rinalmo_kit.rna.pairs import pairs_from_dot_bracket
from rinalmo_kit.structure import Structure

__all__ = ["HOMOLOG_PROGRAMS", "families_by_cmscan", "fold_with_homologs"]

CENTROID = "https://github.com/satoken/centroid-rna-package"


HOMOLOG_PROGRAMS: Mapping[str, Program] = {
    "centroid-homfold": Program(("centroid_homfold", "-H", "{homologs}", "{fasta}"), CENTROID),
    "centroid-alifold": Program(("centroid_alifold", "{alignment}"), CENTROID),
    "locarna": Program(("mlocarna", "{all}", "--tgtdir", "{folder}"), "https://github.com/s-will/LocARNA"),
}
"""Name → program. In a command, ``{fasta}`` stands for the file of the sequence, ``{homologs}`` for that of its
homologs, ``{all}`` for both together, ``{folder}`` for the output of mlocarna, ``{alignment}`` for its alignment."""


CMSCAN = Program(("cmscan",), "http://eddylab.org/infernal (Debian: infernal)")


def fold_with_homologs(
    program: str, sequence: str, homologs: Sequence[str], *, name: str = "sequence"
) -> Structure:
    """Fold a sequence by a program that also reads its homologs.

    Parameters
    ----------
    program : str
        A key of :data:`HOMOLOG_PROGRAMS`; ``"centroid-alifold"`` aligns the sequences with mlocarna first.
    sequence : str
        A, C, G, U.
    homologs : sequence of str
        At least one.
    name : str

    Raises
    ------
    ValueError
        For an unknown program, missing homologs, or output without a structure of the sequence's length.
    FileNotFoundError
        If the program is not on PATH; says where it comes from.
    RuntimeError
        If it fails or takes longer than ten minutes, with the end of what it printed.

    Examples
    --------
    >>> fold_with_homologs("abacus", "ACGU", ["ACGA"])
    Traceback (most recent call last):
    ...
    ValueError: unknown program 'abacus'; known: centroid-homfold, centroid-alifold, locarna
    """
    if program not in HOMOLOG_PROGRAMS:
        raise ValueError(f"unknown program {program!r}; known: {', '.join(HOMOLOG_PROGRAMS)}")
    if not homologs:
        raise ValueError(f"{program} needs homologs of {name!r}: give homologs=[…]")
    one = HOMOLOG_PROGRAMS[program]
    check_program(program, one)
    with tempfile.TemporaryDirectory() as folder:
        files = {key: str(Path(folder, key)) for key in ("fasta", "homologs", "all", "folder")}
        alignment = Path(files["folder"], "results", "result.aln")
        files["alignment"] = str(alignment)
        target = f">target\n{sequence}\n"
        others = "".join(f">homolog{i}\n{s}\n" for i, s in enumerate(homologs))
        for key, text in {"fasta": target, "homologs": others, "all": target + others}.items():
            Path(files[key]).write_text(text, encoding="ascii")
        if program == "centroid-alifold":
            align = HOMOLOG_PROGRAMS["locarna"]
            check_program("locarna", align)
            run_program("locarna", [word.format(**files) for word in align.command])
        printed = run_program(program, [word.format(**files) for word in one.command])
        with unreadable_output(program, name, printed):
            if program == "centroid-homfold":
                return printed_structure(program, printed, sequence, name)
            return consensus_on_target(printed, alignment.read_text(encoding="utf-8"), sequence, name)


def consensus_on_target(printed: str, alignment: str, sequence: str, name: str) -> Structure:
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
    check_program("cmscan", CMSCAN)
    with tempfile.TemporaryDirectory() as folder:
        fasta, table = Path(folder, "target.fa"), Path(folder, "hits")
        fasta.write_text(f">target\n{sequence}\n", encoding="ascii")
        command = ["cmscan", "--noali", "--tblout", str(table), str(user_path(models)), str(fasta)]
        run_program("cmscan", command)
        with unreadable_output("cmscan", "target", ""):
            lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
            rows = [line.split() for line in lines if line and line[0] != "#"]
            return sorted(((row[1], row[0], float(row[15])) for row in rows), key=lambda hit: hit[2])
