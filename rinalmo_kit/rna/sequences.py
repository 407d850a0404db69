"""Readers of sequences: FASTA, strings, lists, mappings and other libraries' objects, as (name, sequence) records."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from .._utils.files import user_path
from .._utils.text_files import TextFileError, bad_byte, check_to_end, decoration, open_text, without_packing

__all__ = ["Sequences", "is_path", "is_single", "read_fasta", "read_pasted", "read_sequences"]

Sequences = str | os.PathLike | Iterable[Any] | Mapping[str, Any]
"""What :func:`read_sequences`, and so ``fold`` and ``embed``, accept."""


ENDINGS = frozenset(
    ".fa .fas .fasta .fna .ffn .frn .faa .mfa .afa .fsa .seq .txt .fq .fastq .sto .stk .aln .gb .gbk .embl "
    ".dbn .db .dot .st .ct .bpseq .csv .tsv .parquet .json .jsonl .xlsx .zip .tar .tgz "
    ".gz .bz2 .xz .zst .dat .rna .dna .text .sam .bam .pdb .cif .xls .npy .npz .pkl .h5 .html .md".split()
)
"""Endings by which a string is known for a path that may not exist; none occurs in a sequence."""


_NUCLEOTIDES = frozenset("ACGTUIRYKMSWBDHVN-acgtuirykmswbdhvn \t")


_BEFORE_TEXT = "\ufeff \t\r\n"


_LONGEST_PATH = 4096


OTHER_FORMATS = {
    "# STOCKHOLM": "a Stockholm alignment: convert it to FASTA (esl-reformat fasta FILE)",
    "CLUSTAL": "a Clustal alignment: convert it to FASTA",
    "LOCUS ": "a GenBank record: export it as FASTA",
    "ID   ": "an EMBL record: export it as FASTA",
    "@": "FASTQ or SAM: convert it to FASTA (seqkit fq2fa FILE)",
    "<!DOCTYPE": "a web page: the download went wrong",
    "<html": "a web page: the download went wrong",
    "<?xml": "XML",
    "version https://git-lfs": "a pointer of Git LFS: run git lfs pull",
}
"""First words of files of other formats, and what to say of them."""


def other_format(line: str) -> str | None:
    """Return the name of the known other format that begins with this line; None if there is none.

    Examples
    --------
    >>> other_format("# STOCKHOLM 1.0")
    'a Stockholm alignment: convert it to FASTA (esl-reformat fasta FILE)'
    """
    return next((what for start, what in OTHER_FORMATS.items() if line.startswith(start)), None)


def is_path(text: str) -> bool:
    r"""Return whether a string is a path and not sequences.

    These rules are gone through in order:

    1. What begins with ``>``, white space before it aside, is FASTA text, and what has a line end
       or is longer than any path (4,096 characters) is text.
    2. What consists of nucleotide letters and blanks alone is a sequence (where a file is called so,
       :func:`read_sequences` asks which of the two is meant).
    3. What names an existing file (``~`` is the home folder) is a path.
    4. What holds a ``/`` or ``\`` or ends as files of sequences or structures do (:data:`ENDINGS`: ``.fa``,
       ``.fasta.gz``, ``.dbn`` …, in upper or lower case) is a path, to a file that is missing.
    5. All else is a sequence, maybe with letters that no sequence has: those are reported with their places.

    Examples
    --------
    >>> is_path("trna.fa"), is_path("data/trna"), is_path("ACGU"), is_path("ACGU." * 100)
    (True, True, False, False)
    """
    if text.lstrip(_BEFORE_TEXT).startswith(">") or len(text) > _LONGEST_PATH:
        return False
    if any(c in text for c in "\n\r\0") or _NUCLEOTIDES.issuperset(text):
        return False
    if "/" in text or "\\" in text or _exists(text, of_file=True):
        return True
    name = text.strip().lower()
    return not ENDINGS.isdisjoint(Path(one).suffix for one in (name, without_packing(name)))


def _exists(path: str | os.PathLike, *, of_file: bool = False) -> bool:
    """Ask whether there is such a path; what no path can be is none."""
    try:
        return user_path(path).is_file() if of_file else user_path(path).exists()
    except (OSError, ValueError, RuntimeError):  # too long, NUL, ~nobody
        return False


def is_single(source: Any) -> bool:
    """Return whether an input is one sequence, which gives one result, and not a collection, which gives a list.

    Examples
    --------
    >>> is_single("ACGU"), is_single(["ACGU"]), is_single("trna.fa")
    (True, False, False)
    """
    if isinstance(source, str):
        return not is_path(source)
    return _is_record(source)


def read_pasted(text: str) -> list[tuple[str, str]]:
    r"""Return the records of text that a person pasted: FASTA, or one sequence; never a path.

    Examples
    --------
    >>> read_pasted(">a\rACG\r>b\rGG"), read_pasted("data/trna.fa")
    ([('a', 'ACG'), ('b', 'GG')], [('sequence', 'data/trna.fa')])
    """
    start = text.lstrip(_BEFORE_TEXT)
    return list(read_fasta(io.StringIO(start))) if start.startswith(">") else [("sequence", text)]


def read_sequences(source: Sequences) -> list[tuple[str, str]]:
    r"""Convert any input of a user into (name, sequence) records; the letters are not validated yet.

    Parameters
    ----------
    source : str, os.PathLike, iterable, mapping, table, open file or record
        * a string: a sequence, FASTA text or a path, see :func:`is_path`; a ``pathlib.Path`` is always a path;
        * ``{name: sequence}``;
        * sequences, or (name, sequence) tuples, in any ordered collection, array or pandas Series, whose
          index gives the names unless it is the default one;
        * a DataFrame with the column ``sequence``, and ``name`` or ``id`` for names;
        * ``Seq``, ``MutableSeq`` and ``SeqRecord`` of Biopython, sequences of scikit-bio, a
          :class:`~rinalmo_kit.Structure`, or anything with the attributes ``seq`` and ``id`` or ``sequence``
          and ``name``, alone or several;
        * an open FASTA file, text or binary.

    Returns
    -------
    list of (str, str)
        Unnamed sequences are called ``sequence 1``, ``sequence 2``, …; of a table ``row 1``, ….

    Raises
    ------
    TypeError
        Names the type of what is not a sequence (None, a number, bytes …), and its record; or a set, which
        has no order.
    ValueError
        For a list of single letters, which may be one sequence or many; for a string that is a sequence
        and the name of a file; for a table without sequences.
    FileNotFoundError
        For a path where there is nothing.

    Examples
    --------
    >>> read_sequences({"a": "ACG"}), read_sequences(["AC", "GU"])
    ([('a', 'ACG')], [('sequence 1', 'AC'), ('sequence 2', 'GU')])
    >>> read_sequences(">tRNA first try\nGCG\nUUU\n"), read_sequences([("b", "GG")])
    ([('tRNA', 'GCGUUU')], [('b', 'GG')])
    """
    if isinstance(source, os.PathLike) or (isinstance(source, str) and is_path(source)):
        return list(read_fasta(_existing(source)))
    if isinstance(source, str):
        if _NUCLEOTIDES.issuperset(source) and _exists(source, of_file=True):
            raise ValueError(
                f"{source!r} is a sequence and also a file: pass pathlib.Path({source!r}) or [{source!r}]"
            )
        return read_pasted(source)
    if _is_record(source):
        return [_record(source, "sequence")]
    if isinstance(source, Mapping) and isinstance(source.get("sequence"), Iterable):  # columns of a table
        return list(_rows(source))
    if isinstance(source, Mapping):
        return [_named(name, one, f"sequence {i}") for i, (name, one) in enumerate(source.items(), 1)]
    if isinstance(source, io.IOBase) or (hasattr(source, "read") and hasattr(source, "readline")):
        return list(read_fasta(source))
    if hasattr(source, "to_pandas"):  # polars, pyarrow
        source = source.to_pandas()
    if hasattr(source, "columns"):
        return list(_rows(source))
    return _several(source)


def _existing(path: str | os.PathLike) -> str | os.PathLike:
    if not _exists(path):
        shown = os.fspath(path)
        shown = shown if len(shown) < 200 else f"{shown[:100]} … ({len(shown)} characters)"
        why = (
            ""
            if isinstance(path, os.PathLike)
            else " (taken for a path; a sequence has no '/', '\\' or ending)"
        )
        raise FileNotFoundError(f"no such file: {shown}{why}")
    return path


def _is_a(one: Any, names: Iterable[str]) -> bool:
    return not {kind.__name__ for kind in type(one).__mro__}.isdisjoint(names)


def _is_record(source: Any) -> bool:
    """Return whether an object is one sequence, with or without a name."""
    if isinstance(source, type) or hasattr(source, "columns") or hasattr(source, "iloc"):
        return False
    if isinstance(source, Mapping):  # a row of a table, not {name: sequence}
        return isinstance(source.get("sequence"), str) and ("name" in source or "id" in source)
    return _is_text(source) or hasattr(source, "seq") or hasattr(source, "sequence")


def _is_text(one: Any) -> bool:
    """Return whether an object stands for a text: a Seq of Biopython, a sequence of scikit-bio, a UserString."""
    if _is_a(one, ("Seq", "MutableSeq", "_SeqAbstractBaseClass", "UserString")):
        return True
    return type(one).__module__.split(".")[0] == "skbio" and _is_a(one, ("Sequence",))


def _record(one: Any, default: str) -> tuple[str, str]:
    """Convert one entry of a collection into its name and sequence."""
    if isinstance(one, str):
        return default, one
    if isinstance(one, tuple) and len(one) == 2:
        return _named(one[0], one[1], default)
    if isinstance(one, Mapping) and _is_record(one):
        return _named(one.get("name", one.get("id")), one["sequence"], default)
    if _is_text(one):
        return default, _as_text(one, default)
    for sequence, name in (("seq", "id"), ("sequence", "name")):
        if hasattr(one, sequence) and not isinstance(one, type) and not hasattr(one, "iloc"):
            return _named(getattr(one, name, None), getattr(one, sequence), default)
    raise _no_sequence(one, default)


def _named(name: Any, sequence: Any, default: str) -> tuple[str, str]:
    """Return name and sequence as text; a name that is missing or blank is the default."""
    missing = name is None or _is_a(name, ("NAType", "NaTType")) or (isinstance(name, float) and name != name)
    missing = missing or str(name) == "<unknown id>"  # of Biopython
    name = default if missing or not str(name).strip() else str(name)
    return name, sequence if isinstance(sequence, str) else _as_text(sequence, name)


def _as_text(one: Any, name: str) -> str:
    inner = (getattr(one, attribute, None) for attribute in ("seq", "sequence"))  # of a record
    one = next((text for text in inner if isinstance(text, str) or _is_text(text)), one)
    if not isinstance(one, str) and not _is_text(one):
        raise _no_sequence(one, name)
    try:
        return str(one)
    except Exception as error:  # Biopython's UndefinedSequenceError
        raise ValueError(f"{name!r}: its sequence cannot be read ({error})") from error


def _no_sequence(one: Any, name: str) -> TypeError:
    hint = ""
    if isinstance(one, bytes | bytearray):
        hint = "; decode it: value.decode()"
    elif one is None or _is_a(one, ("NAType", "NaTType")) or (isinstance(one, float) and one != one):
        hint = "; the value is missing"
    return TypeError(f"{name!r}: a sequence must be a str, not {type(one).__name__}{hint}")


def _rows(table: Any) -> Iterator[tuple[str, str]]:
    """Yield the records of a table with a column of sequences."""
    if "sequence" not in table:
        found = ", ".join(map(str, table.columns))
        raise ValueError(f"the {type(table).__name__} has no column 'sequence'; it has {found}")
    names = next((table[column] for column in ("name", "id") if column in table), None)
    names = [None] * len(table["sequence"]) if names is None else names
    for number, (name, sequence) in enumerate(zip(names, table["sequence"], strict=True), 1):
        title, _ = _named(name, "", f"row {number}")
        where = title if title == f"row {number}" else f"row {number}, {title}"
        yield title, sequence if isinstance(sequence, str) else _as_text(sequence, where)


def _several(source: Any) -> list[tuple[str, str]]:
    """Return the records of a collection, or say why it is none."""
    kind = type(source).__name__
    if isinstance(source, set | frozenset):
        raise TypeError(f"a {kind} of sequences has no order: pass a list, such as sorted(sequences)")
    if isinstance(source, bytes | bytearray | memoryview):
        raise TypeError(f"expected text, not {kind}: decode it, as in data.decode()")
    shape = getattr(source, "shape", None)
    numbers = getattr(getattr(source, "dtype", None), "kind", "O") not in "OUT" or _is_a(source, ("Tensor",))
    if shape is not None and (len(shape) != 1 or (numbers and shape[0])):
        raise TypeError(f"expected sequences, not a {kind} of {source.dtype} and shape {tuple(shape)}")
    if not isinstance(source, Iterable):
        raise TypeError(f"expected sequences, FASTA or a path, not {kind}")
    entries: list[Any] = list(source)
    letters = [one for one in entries if isinstance(one, str) and len(one.strip()) == 1]
    if len(entries) > 1 and len(letters) == len(entries) and not isinstance(source, Iterator):
        shown = "".join(letters[:8]) + ("…" if len(letters) > 8 else "")
        raise ValueError(
            f"a {kind} of {len(entries)} single letters ({shown}): did you mean one sequence, ''.join(letters)? "
            "For sequences of one nucleotide each, give names: {'a': 'A', 'b': 'C'}"
        )
    if (
        isinstance(source, tuple)
        and len(entries) == 2
        and isinstance(entries[0], str)
        and len(entries[0]) < 4
    ):
        raise ValueError(
            f"{entries!r:.80} may be a name and its sequence, or two sequences: pass [(name, sequence)], or a list"
        )
    index = getattr(source, "index", None)
    if index is not None and not callable(index) and not _is_default(index):
        entries = [
            one if isinstance(one, tuple) else (name, one) for name, one in zip(index, entries, strict=True)
        ]
    return [_record(one, f"sequence {i}") for i, one in enumerate(entries, 1)]


def _is_default(index: Any) -> bool:
    return _is_a(index, ("RangeIndex",)) and index.start == 0 and index.step == 1


def read_fasta(source: Any) -> Iterator[tuple[str, str]]:
    r"""Read FASTA one record at a time.

    Parameters
    ----------
    source : path, or open text or binary file
        Packed or not; Unix, Windows and old Mac line ends are the same. Lines that begin with ``#`` or ``;``
        are comments.

    Yields
    ------
    (str, str)
        Name (the header up to the first white space; ``record 3`` if the header is empty) and the
        sequence as it stands, lines joined. In a name U+FFFD stands for a byte that is not UTF-8, with one
        warning a file.

    Raises
    ------
    ValueError
        If text comes before the first header (with the line number), a sequence holds a byte that is not
        UTF-8 (with line and byte), or a packed file is damaged; what was whole before is yielded first.

    Examples
    --------
    >>> list(read_fasta(io.StringIO(">a\r\nACG\r\nU\r\n>b\r\nGG\r\n")))
    [('a', 'ACGU'), ('b', 'GG')]
    """
    if isinstance(source, str | os.PathLike):
        with open_text(source) as stream:
            yield from _checked(stream, stream, str(user_path(source)))
        return
    if isinstance(source, io.RawIOBase | io.BufferedIOBase) or (
        not isinstance(source, io.TextIOBase)
        and hasattr(source, "read")
        and isinstance(source.read(0), bytes)
    ):
        source = open_text(cast("BinaryIO", source))
    yield from _checked(_lines(source), source, getattr(source, "name", None) or "FASTA text")


def _checked(lines: Iterable[str], stream: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield records; if one is wrong because the file is damaged, say so."""
    try:
        yield from _fasta(lines, where)
    except ValueError:
        check_to_end(stream)
        raise


def _lines(stream: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a stream; a bare carriage return ends one, too."""
    for line in stream:
        if "\r" in line:
            yield from line.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
        else:
            yield line


def _fasta(lines: Iterable[str], where: str) -> Iterator[tuple[str, str]]:
    parts: list[str] = []
    name, count, told = None, 0, False
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            line = line.replace("\ufeff>", ">")  # files that were joined
            wrong = bad_byte(line)
            if wrong and line.lstrip().startswith((">", "#", ";")):
                line = decoration(line)
                if not told and line.lstrip().startswith(">"):
                    told = True
                    warnings.warn(
                        f"{where}, line {number}, {wrong}: U+FFFD stands for it, and for others, in names",
                        stacklevel=2,
                    )
            elif wrong:
                record = f", in the sequence of {name!r}" if name is not None else ""
                raise TextFileError(f"{where}, line {number}, {wrong}{record}: save the file as UTF-8")
        line = line.strip()
        if not line:
            continue
        if line[0] == ">":
            if name is not None:
                yield name, "".join(parts)
            count += 1
            words = line[1:].split(None, 1)
            name, parts = (words[0] if words else f"record {count}"), []
        elif line[0] in "#;":
            if not count and (what := other_format(line)):
                raise ValueError(f"{where} is {what}")
        elif name is None:
            if what := other_format(line):
                raise ValueError(f"{where} is {what}")
            raise ValueError(
                f"{where}, line {number}: expected a FASTA header ('>name'), found {line[:40]!r}"
            )
        else:
            parts.append(line)
    if name is not None:
        yield name, "".join(parts)
