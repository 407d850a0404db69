"""Readers of sequences: strings, lists, mappings, tables and other libraries' objects, as (name, sequence) records."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .._utils.files import user_path
from .._utils.text_files import without_packing
from .fasta import read_fasta

__all__ = [
    "Sequences",
    "is_path",
    "is_single",
    "read_fasta",
    "read_one",
    "read_pasted",
    "read_sequences",
    "read_texts",
    "stream_sequences",
]

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
        * a table with the column ``sequence``, and ``name`` or ``id`` for names: a DataFrame of pandas or polars, a
          Table of pyarrow, a Dataset of Hugging Face (streamed, too), ``{"sequence": [...]}``, or its rows;
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
        and the name of a file; for a table without sequences, or with two columns of them; for a row of a table
        without a name, which may be ``{name: sequence}``.
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
    if isinstance(source, Mapping):
        return _of_mapping(source)
    if isinstance(source, io.IOBase) or (hasattr(source, "read") and hasattr(source, "readline")):
        return list(read_fasta(source))
    source = _as_table(source)
    if hasattr(source, "columns"):
        return list(_rows(source))
    return _several(source)


def read_texts(source: Sequences) -> list[str]:
    """Return the sequences of any input of a user, as :func:`read_sequences`, without their names.

    Examples
    --------
    >>> read_texts("ACGU"), read_texts(["AC", "GU"])
    (['ACGU'], ['AC', 'GU'])
    """
    return [text for _, text in read_sequences(source)]


def read_one(source: Sequences) -> tuple[str, str]:
    """Return name and sequence of an input that holds one sequence, as :func:`read_sequences`.

    Examples
    --------
    >>> read_one("ACGU"), read_one({"a": "ACGU"})
    (('sequence', 'ACGU'), ('a', 'ACGU'))
    """
    records = read_sequences(source)
    if len(records) != 1:
        raise ValueError(f"expected one sequence, found {len(records)}")
    return records[0]


def stream_sequences(source: Sequences) -> Iterator[tuple[str, str]]:
    """Yield (name, sequence) records as :func:`read_sequences` returns them; iterators and files are read as they come.

    Examples
    --------
    >>> next(stream_sequences((f"{'A' * k}C" for k in range(1, 10**9))))
    ('sequence 1', 'AC')
    """
    if isinstance(source, os.PathLike) or (isinstance(source, str) and is_path(source)):
        yield from read_fasta(_existing(source))
        return
    if not isinstance(source, Iterator) or hasattr(source, "read"):
        yield from read_sequences(source)
        return
    first = list(islice(source, 1))
    if first and _is_letter(first[0]):
        first += islice(source, SOME - 1)
        _check_letters(first, source)
    for number, one in enumerate(chain(first, source), 1):
        yield _record(one, f"sequence {number}")


SOME = 8
"""Single letters from an iterator that are taken for one sequence."""


def _of_mapping(source: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return the records of ``{name: sequence}``, or of columns by their names."""
    column = source.get("sequence")
    if (
        isinstance(column, Iterable)
        and not isinstance(column, str)
        and not _is_text(column)
        and not _is_record(column)
    ):
        return list(_rows(source))
    if "sequence" in source and len(source) > 1:
        raise _row_or_names(source)
    for name, one in source.items():
        if hasattr(one, "to_pandas") and hasattr(one, "features"):
            raise TypeError(
                f"a {type(source).__name__} of several splits: give one of them, as data[{name!r}]"
            )
    return [_named(name, one, f"sequence {i}") for i, (name, one) in enumerate(source.items(), 1)]


def _row_or_names(source: Any) -> ValueError:
    return ValueError(
        f"a {type(source).__name__} with the keys {', '.join(map(str, source.keys()))} may be a row of a table or "
        "{name: sequence}: pass [row], or give another name than 'sequence'"
    )


def _as_table(source: Any) -> Any:
    """Return the table, or column, of another library as one that has rows and columns here."""
    if (
        type(source).__module__.split(".")[0] == "polars"
    ):  # has all that is needed, and to_pandas needs pyarrow
        if hasattr(source, "collect"):
            raise TypeError(
                f"a {type(source).__name__} has no rows yet: pass {type(source).__name__}.collect()"
            )
        return source
    if hasattr(source, "read_pandas"):  # a RecordBatchReader of pyarrow
        return source.read_pandas()
    return source.to_pandas() if hasattr(source, "to_pandas") else source


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
    if isinstance(source, Mapping) or _is_row(source):  # a row of a table, not {name: sequence}
        return isinstance(source.get("sequence"), str) and ("name" in source or "id" in source)
    if isinstance(source, type) or hasattr(source, "columns") or hasattr(source, "iloc"):
        return False
    if hasattr(source, "as_py"):  # a scalar of pyarrow
        return isinstance(source.as_py(), str)
    return _is_text(source) or hasattr(source, "seq") or hasattr(source, "sequence")


def _is_row(one: Any) -> bool:
    """Return whether an object is a row of a table: a mapping, or a Series of pandas, with ``sequence`` in it."""
    if isinstance(one, Mapping):
        return "sequence" in one
    labels = getattr(one, "index", None)
    return (
        hasattr(one, "iloc") and not hasattr(one, "columns") and labels is not None and "sequence" in labels
    )


def _is_text(one: Any) -> bool:
    """Return whether an object stands for a text: a Seq of Biopython, a sequence of scikit-bio, a UserString."""
    if _is_a(one, ("Seq", "MutableSeq", "_SeqAbstractBaseClass", "UserString")):
        return True
    return type(one).__module__.split(".")[0] == "skbio" and _is_a(one, ("Sequence",))


def _record(one: Any, default: str) -> tuple[str, str]:
    """Convert one entry of a collection into its name and sequence."""
    if isinstance(one, str):
        return default, one
    if hasattr(one, "as_py"):  # a scalar of pyarrow
        return _named(None, one.as_py(), default)
    if _is_row(one):
        return _named(one.get("name", one.get("id")), one["sequence"], default)
    if _is_text(one):
        return default, _as_text(one, default)
    for sequence, names in (("seq", ("id",)), ("sequence", ("name", "id"))):
        if hasattr(one, sequence) and not isinstance(one, type) and not hasattr(one, "iloc"):
            name = next((found for key in names if (found := getattr(one, key, None)) is not None), None)
            return _named(name, getattr(one, sequence), default)
    if isinstance(one, tuple) and len(one) == 2:
        return _record(one[1], str(one[0])) if _is_row(one[1]) else _named(one[0], one[1], default)
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
    columns = list(table.columns if hasattr(table, "columns") else table)
    if twice := [column for column in ("sequence", "name", "id") if columns.count(column) > 1]:
        raise ValueError(
            f"the {type(table).__name__} has {columns.count(twice[0])} columns {twice[0]!r}: expected one"
        )
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
    if _is_row(source):
        raise _row_or_names(source)
    entries: list[Any] = list(source)
    _check_letters(entries, source)
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


def _check_letters(entries: list[Any], source: Any) -> None:
    """Raise ValueError if all of several entries are single letters; of an iterator, of :data:`SOME` at least."""
    least = SOME if isinstance(source, Iterator) else 2
    if len(entries) >= least and all(map(_is_letter, entries)):
        shown = "".join(entries[:8]) + ("…" if len(entries) > 8 else "")
        raise ValueError(
            f"a {type(source).__name__} of {len(entries)} single letters ({shown}): did you mean one sequence, "
            "''.join(letters)? For sequences of one nucleotide each, give names: {'a': 'A', 'b': 'C'}"
        )


def _is_letter(one: Any) -> bool:
    return isinstance(one, str) and len(one.strip()) == 1


def _is_default(index: Any) -> bool:
    return _is_a(index, ("RangeIndex",)) and index.start == 0 and index.step == 1
