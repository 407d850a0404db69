"""Structures: an RNA with its pairs, which draws itself; read from files and written to them.

Pairs are an (n, 2) int64 array of 0-based positions, i < j, sorted; files and error messages count
from 1, as biologists do. The formats of files are in :mod:`rinalmo_kit.rna.formats`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._utils.extras import importing
from ._utils.files import atomic_write, user_path
from ._utils.text_files import check_to_end, open_text, pack
from ._utils.warn import warn_user
from .rna.alphabet import CleanSequence
from .rna.decoding import decode, greedy_pairs
from .rna.elements import element_table
from .rna.folded import FoldedRNA
from .rna.formats import FORMATS, READ_ONLY, _format, format_structure
from .rna.pairs import pairs_from_dot_bracket, to_dot_bracket
from .rna.probability_files import read_probabilities
from .rna.recognition import looks_like
from .rna.structure_tables import render_table
from .rna.structure_text import at, split_name

if TYPE_CHECKING:
    import pandas as pd
    from forgi.graph.bulge_graph import BulgeGraph
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "Structure",
    "decode",
    "greedy_pairs",
    "pairs_from_dot_bracket",
    "read_probabilities",
    "read_structures",
    "to_dot_bracket",
    "write_structures",
]


@dataclass(frozen=True, eq=False, repr=False)
class Structure(FoldedRNA):
    """An RNA with its base pairs, which draws itself and writes itself to files.

    Parameters
    ----------
    sequence : str
        Nucleotides; stored in upper case with U.
    pairs : array_like of int, shape (n, 2)
        0-based positions, in any order; stored with i < j and sorted.
    name : str
        Name of the record.
    probabilities : array_like of float, shape (L, L), optional
        Symmetric pairing probabilities the pairs were decoded from.
    confidence : float, optional
        F1 to expect of the pairs, from a model that was calibrated (:mod:`rinalmo_kit.inference.confidence`).
    method : str
        How the pairs were made, in words.
    energy : str, optional
        The energy model whose probabilities are part of `probabilities`.

    Raises
    ------
    ValueError
        If a position lies outside the sequence, a nucleotide is in two pairs, or a probability is none.

    Examples
    --------
    >>> s = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> print(s)
    >hairpin
    GGGAAAACCC
    (((....)))
    >>> s.pairs[0]
    array([0, 9])
    """

    @classmethod
    def of(cls, folded: FoldedRNA) -> Structure:
        """Return the same RNA and pairs, which were checked already, as a Structure."""
        made = object.__new__(cls)
        vars(made).update(vars(folded))
        return made

    @classmethod
    def from_checked(
        cls,
        sequence: CleanSequence,
        pairs: NDArray[np.int64],
        name: str,
        probabilities: NDArray[np.floating] | None = None,
        confidence: float | None = None,
        *,
        method: str = "",
        energy: str | None = None,
    ) -> Structure:
        """Return a structure made of parts that are known to be right; the constructor would check each of them."""
        made = object.__new__(cls)
        vars(made).update(sequence=sequence, pairs=pairs, name=name, probabilities=probabilities)
        vars(made).update(confidence=confidence, method=method, energy=energy)
        return made

    @property
    def elements(self) -> pd.DataFrame:
        """Stems, hairpins, bulges, interior loops, multiloops and ends, a row each.

        See :func:`rinalmo_kit.rna.elements.element_table`.

        Examples
        --------
        >>> s = Structure.from_dot_bracket("GGGAAAACCCU", "(((....))).")
        >>> s.elements[["element", "kind", "start", "end"]]
          element     kind  start  end
        0      s0     stem      1   10
        1      h0  hairpin      4    7
        2      t0   3′ end     11   11
        """
        return element_table(self.pairs, len(self))

    def to_forgi(self) -> BulgeGraph:
        """Return the structure as forgi's graph of stems and loops, for what forgi can do and we do not.

        Examples
        --------
        >>> s = Structure.from_dot_bracket("GGGAAAACCCU", "(((....))).")
        >>> s.to_forgi().to_element_string()  # doctest: +SKIP
        'ssshhhhssst'
        """
        absent = "to_forgi needs forgi: pip install 'rinalmo-kit[drawing]'"
        with importing("forgi.graph.bulge_graph", absent), contextlib.redirect_stderr(io.StringIO()):
            from forgi.graph.bulge_graph import BulgeGraph  # NumPy prints that its extension is old

        return BulgeGraph.from_dotbracket(self.dot_bracket, seq=self.sequence)

    def _repr_html_(self) -> str:
        from .plot.html import structure_html

        return structure_html(self)

    def plot(self, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the structure; see :func:`rinalmo_kit.plot.structure`."""
        from .plot.secondary_structure import structure

        return structure(self, ax=ax, **options)

    def write(self, path: str | os.PathLike) -> Path:
        """Write to a file; the ending chooses the format (see :func:`rinalmo_kit.structure.write_structures`)."""
        return write_structures([self], path)


def read_structures(path: str | os.PathLike) -> list[Structure]:
    r"""Read all structures of a file, or of all files of known endings in a folder and its subfolders.

    * ``.dbn .db .dot .fa .fasta .fna``: records of ``>name`` or ``#Name: name`` (may be absent), a
      sequence line and one or more dot-bracket lines of any bracket levels, each of which is a structure
      with the record's name. Energies are left out, as are lines about the ensemble (``RNAfold -p``) and what
      LinearPartition, CONTRAfold and EternaFold print beside the structures.
    * ``.st`` (bpRNA): the same; the annotation after it is ignored.
    * ``.ct``: ``length name``, then ``i base i-1 i+1 partner i`` a nucleotide; any number of structures.
    * ``.bpseq``: ``i base partner`` a nucleotide, 0 or −1 for no partner.
    * ``.csv .tsv .parquet``: columns ``sequence``, ``dot_bracket`` and ``name`` or ``id``.
    * ``.json .jsonl``: an object a structure, with ``sequence``, ``dot_bracket`` or ``pairs``, and ``name``.
    * ``.sto .stk .stockholm .seed``: each sequence of an alignment, without its gaps, with the pairs of ``SS_cons``
      that it can form (:mod:`rinalmo_kit.rna.stockholm`); read only.

    Lines that start with ``#`` or ``;`` are comments. Text may be packed (gzip, bzip2, xz or zstd, whatever
    the file is called), have line ends of any system, a byte-order mark, blank lines, lower case and T.
    A record without a name is called as its file. In a folder, a file that cannot be read is left out, with
    a warning.

    Raises
    ------
    ValueError
        Names the file, the line or row, the record and what was expected there, and what a file looks like whose
        ending says something else; of a folder, if none of its files can be read.

    Examples
    --------
    >>> import tempfile
    >>> hairpin = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> path = write_structures([hairpin], Path(tempfile.mkdtemp()) / "hairpin.ct")
    >>> read_structures(path)
    [<Structure 'hairpin': 10 nt, 3 pairs>]
    """
    path = user_path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    try:
        form = _format(path, writing=False)
        with at(path):
            structures = list(map(Structure.of, form.parse(path)))
            if not structures:
                raise ValueError("expected a structure, found none")
    except ValueError as error:
        ending = split_name(path)[1]
        if ending != ".parquet" and path.is_file():
            _check_whole(path)
            if what := looks_like(path, ending=ending):
                raise ValueError(f"{error}; it looks like {what}") from error
        raise
    return structures


def _check_whole(path: Path) -> None:
    """Raise the error that says so if a packed file is damaged."""
    with open_text(path) as stream:
        check_to_end(stream)


def _read_folder(path: Path) -> list[Structure]:
    shown = (p for p in path.rglob("*") if "/." not in f"/{p.relative_to(path).as_posix()}")
    files = sorted(p for p in shown if split_name(p)[1] in FORMATS | READ_ONLY and p.is_file())
    if not files:
        raise ValueError(f"{path}: no file with one of the endings {', '.join(FORMATS | READ_ONLY)}")
    structures: list[Structure] = []
    wrong: list[Exception] = []
    for file in files:
        try:
            structures += read_structures(file)
        except (ValueError, OSError) as error:
            wrong.append(error)
    if len(wrong) == len(files):
        raise ValueError(f"{path}: none of {len(files)} files can be read; the first: {wrong[0]}") from wrong[
            0
        ]
    for problem in wrong:
        warn_user(f"left out: {problem}")
    return structures


def write_structures(structures: Structure | Iterable[Structure], path: str | os.PathLike) -> Path:
    """Write structures to a file and return its path; the ending chooses the format, as for reading.

    The file appears whole or not at all: it is written beside its place and then moved there. White
    space in a name becomes single spaces. Text is packed where the path ends in ``.gz``, ``.bz2``, ``.xz`` or,
    with the package zstandard, ``.zst``.

    Raises
    ------
    ValueError
        For an unknown ending, no structure, one without nucleotides, or several in ``.st`` or ``.bpseq``.
    """
    path = user_path(path)
    structures = [structures] if isinstance(structures, Structure) else list(structures)
    form, ending = _format(path), split_name(path)[1]
    if not structures or not all(map(len, structures)):
        raise ValueError(f"{path}: no structures to write, or one without nucleotides")
    if len(structures) > 1 and not form.several:
        raise ValueError(f"{path}: {ending} holds one structure, not {len(structures)}; use .dbn or .ct")
    if form.render is None:
        content = render_table(structures, ending)
    else:
        content = "".join(format_structure(s, ending) for s in structures).encode()
    content = pack(content, path.suffix)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path
