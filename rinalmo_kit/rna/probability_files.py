"""Files of pairing probabilities that other programs write: tables, dot plots, posteriors, arrays of NumPy."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.files import user_path
from .alphabet import clean
from .decoding import as_probabilities
from .structure_text import at, lines

__all__ = ["read_probabilities"]


class _Entries(NamedTuple):
    """Triples (line, i, j, p) of a file, positions from 1, and what it says of the RNA."""

    triples: list[tuple[int, int, int, float]]
    sequence: str | None = None
    length: int | None = None


def read_probabilities(path: str | os.PathLike, *, sequence: str | None = None) -> NDArray[np.float64]:
    r"""Read the pairing probabilities of one RNA from a file of another program.

    What the file is, its content says:

    * a table of rows ``i j p``, positions from 1, as LinearPartition and others write it (``#`` and ``>`` begin
      comments); RNAstructure's ``ProbabilityPlot --text`` with −log10 of the probabilities;
    * ViennaRNA's dot plot ``…_dp.ps``: lines ``i j √p ubox``; the ``lbox`` lines of the MFE structure are left out;
    * posteriors of CONTRAfold and EternaFold: ``i base j:p j:p …``;
    * ``.npy``, or ``.npz`` with one matrix or one called ``probabilities`` or ``bpp``: symmetric, or its upper
      triangle; a matrix of ViennaRNA's ``bpp()``, which has a row and a column 0 of zeros, loses these.

    Text may be packed.

    Parameters
    ----------
    path : path
    sequence : str, optional
        The RNA: checks the size, and the letters where the file has them. A table does not say how long its RNA is
        and needs it.

    Returns
    -------
    ndarray of float64, shape (L, L)
        Symmetric; for ``Structure(…, probabilities=…)`` and :func:`rinalmo_kit.structure.decode`.

    Raises
    ------
    ValueError
        Names the file and the line: of a number that is not a probability, a position outside the RNA, two
        different numbers for one pair, another sequence, several RNAs, or two strands.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bpp.txt")
    >>> _ = path.write_text("1 9 0.9\n2 8 0.75\n")
    >>> p = read_probabilities(path, sequence="GGGAAACCC")
    >>> p.shape, p[0, 8].item(), p[8, 0].item()
    ((9, 9), 0.9, 0.9)
    """
    path = user_path(path)
    wanted = None if sequence is None else clean(sequence)
    with path.open("rb") as stream:
        head = stream.read(6)
    with at(path):
        if head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
            return _of_array(path, wanted)
        return _matrix(_entries(path), wanted)


def _of_array(path: Path, sequence: str | None) -> NDArray[np.float64]:
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                names = found.files
                known = [name for name in ("probabilities", "bpp") if name in names] or names
                if len(known) != 1 and known[0] not in ("probabilities", "bpp"):
                    raise ValueError(
                        f"expected one matrix, or one called 'probabilities', found {', '.join(names)}"
                    )
                found = found[known[0]]
    except (zipfile.BadZipFile, EOFError, IndexError, KeyError) as error:
        raise ValueError(f"not arrays of NumPy, or damaged ({error})") from None
    p = np.array(found, dtype=np.float64) if found.dtype.kind in "fiu" else found
    if p.ndim == 2 and p.shape[0] == p.shape[1] and p.dtype.kind == "f":
        if sequence is not None and len(p) == len(sequence) + 1 and not p[0].any() and not p[:, 0].any():
            p = p[1:, 1:]
        if not np.tril(p, -1).any():
            p = p + np.triu(p, 1).T
    p = as_probabilities(p).astype(np.float64)
    if sequence is not None and len(p) != len(sequence):
        raise ValueError(f"its matrix is for {len(p)} nucleotides, the sequence has {len(sequence)}")
    return p


def _matrix(entries: _Entries, sequence: str | None) -> NDArray[np.float64]:
    found = None if entries.sequence is None else clean(entries.sequence, name="its sequence")
    if sequence is not None and found is not None and sequence != found:
        raise ValueError(f"its sequence, {found[:30]}… of {len(found)} nucleotides, is not the one given")
    known = sequence or found
    length = len(known) if known else entries.length
    if length is None:
        raise ValueError("the file does not say how long the RNA is: give sequence=")
    if entries.length is not None and entries.length != length:
        raise ValueError(f"it is of {entries.length} nucleotides, the sequence has {length}")
    p = np.full((length, length), np.nan)
    for line, i, j, value in entries.triples:
        if not (1 <= i <= length and 1 <= j <= length) or i == j:
            raise ValueError(f"line {line}: {i} and {j} cannot pair in {length} nucleotides")
        if not -1e-6 <= value <= 1 + 1e-5:
            raise ValueError(f"line {line}: {value:g} is not a probability")
        if p[i - 1, j - 1] == p[i - 1, j - 1] and abs(p[i - 1, j - 1] - value) > 1e-6:
            raise ValueError(f"line {line}: {i} and {j} stand there twice, with different numbers")
        p[i - 1, j - 1] = p[j - 1, i - 1] = min(max(value, 0.0), 1.0)
    return np.nan_to_num(p)


def _entries(path: Path) -> _Entries:
    text = list(lines(path))
    if not text:
        raise ValueError("expected pairing probabilities, found nothing")
    if any(line.endswith("ubox") for _, line in text) or text[0][1].startswith("%!PS"):
        return _dot_plot(text)
    if any(re.match(r"\d+\s+[A-Za-z](\s+\d+:|$)", line) for _, line in text):
        return _posteriors(text)
    return _table(text)


def _dot_plot(text: list[tuple[int, str]]) -> _Entries:
    whole = "\n".join(line for _, line in text)
    found = re.search(r"/sequence\s*\{\s*\(([^)]*)\)", whole)
    sequence = None if found is None else re.sub(r"[\\\s]", "", found[1])
    if sequence is not None and "&" in sequence:
        raise ValueError(f"the dot plot has two strands, joined by '&' at position {sequence.index('&') + 1}")
    triples = []
    for number, line in text:
        fields = line.split()
        if fields[-1] == "ubox" and len(fields) >= 4 and not line.startswith(("%", "/")):
            i, j, root = _numbers(number, fields[-4:-1])
            triples.append((number, i, j, root * root))
    return _Entries(triples, sequence)


def _posteriors(text: list[tuple[int, str]]) -> _Entries:
    triples: list[tuple[int, int, int, float]] = []
    letters: list[str] = []
    for number, line in text:
        if line.startswith(("#", ">")):
            continue
        fields = line.split()
        if len(fields) < 2 or fields[0] != str(len(letters) + 1):
            raise ValueError(
                f"line {number}: expected nucleotide {len(letters) + 1} as 'i base j:p …', found {line[:40]!r}"
            )
        letters.append(fields[1])
        triples += [(number, *_numbers(number, [fields[0], *one.split(":", 1)])) for one in fields[2:]]
    return _Entries(triples, "".join(letters))


def _table(text: list[tuple[int, str]]) -> _Entries:
    triples: list[tuple[int, int, int, float]] = []
    length, logarithms = None, False
    names = [number for number, line in text if line.startswith(">")]
    if len(names) > 1:
        raise ValueError(f"line {names[1]}: expected one RNA, found another: give each a file of its own")
    for number, line in text:
        fields = line.replace(",", " ").split()
        if line.startswith((">", "#", ";")):
            continue
        if not triples and len(fields) == 1 and fields[0].isdecimal():  # of RNAstructure
            length = int(fields[0])
        elif not triples and fields[0].isalpha():
            logarithms = "-log10" in line
        else:
            i, j, value = _numbers(number, fields)
            triples.append((number, i, j, 10.0**-value if logarithms else value))
    return _Entries(triples, None, length)


def _numbers(number: int, fields: list[str]) -> tuple[int, int, float]:
    """Return two positions and a number, or say that the line holds something else."""
    try:
        i, j, value = fields
        return int(i), int(j), float(value)
    except ValueError:
        raise ValueError(f"line {number}: expected 'i j p', found {' '.join(fields)[:40]!r}") from None
