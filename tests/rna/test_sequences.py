"""What a user may have in hand, and what it means; what is a path and what a sequence."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import types
from collections import OrderedDict, UserString, deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference.estimate import estimate
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import clean
from rinalmo_kit.rna.sequences import is_path, is_single, read_pasted, read_sequences
from rinalmo_kit.structure import Structure

# --- look-alikes of objects of other packages, with their module and class names


def foreign(module: str, name: str, **members: object) -> type:
    kind = type(name, (), {"__module__": module, **members})
    sys.modules.setdefault(module, types.ModuleType(module))
    return kind


LETTERS = {
    "__init__": lambda self, text: setattr(self, "text", text),
    "__str__": lambda self: self.text,
    "__len__": lambda self: len(self.text),
    "__iter__": lambda self: iter(self.text),
    "__getitem__": lambda self, k: self.text[k],
}
Seq = foreign("Bio.Seq", "Seq", **LETTERS)
MutableSeq = foreign("Bio.Seq", "MutableSeq", **LETTERS)
RNA = foreign("skbio.sequence._rna", "RNA")
RNA = type(
    "RNA",
    (foreign("skbio.sequence._sequence", "Sequence", **LETTERS),),
    {"__module__": "skbio.sequence._rna"},
)


def record(text: str, name: str | None = "<unknown id>") -> object:
    def start(self, seq, id):
        self.seq, self.id, self.name, self.description = seq, id, "other", "of many words"

    kind = foreign(
        "Bio.SeqRecord",
        "SeqRecord",
        __init__=start,
        __len__=lambda self: len(self.seq),
        __iter__=lambda self: iter(self.seq),
    )
    return kind(Seq(text), name)


A, B = "GGGGAAAACCCC", "GAUUACA"
NUMBERED = [("sequence 1", A), ("sequence 2", B)]
NAMED = [("a", A), ("b", B)]
TABLE = pd.DataFrame({"id": ["a", "b"], "sequence": [A, B], "family": ["x", "y"]})

MEANT = {
    "list": ([A, B], NUMBERED),
    "tuple": ((A, B), NUMBERED),
    "deque": (deque([A, B]), NUMBERED),
    "generator": ((one for one in (A, B)), NUMBERED),
    "map": (map(str, (A, B)), NUMBERED),
    "dict": ({"a": A, "b": B}, NAMED),
    "ordered dict": (OrderedDict(NAMED), NAMED),
    "items": ({"a": A, "b": B}.items(), NAMED),
    "values": ({"a": A, "b": B}.values(), NUMBERED),
    "keys": ({A: 1, B: 2}.keys(), NUMBERED),
    "pairs": (NAMED, NAMED),
    "zip": (zip("ab", (A, B), strict=True), NAMED),
    "pairs with Seq": ([("a", Seq(A)), ("b", MutableSeq(B))], NAMED),
    "dict of Seq": ({"a": Seq(A), "b": MutableSeq(B)}, NAMED),
    "dict of records": ({"a": record(A, "other"), "b": record(B)}, NAMED),
    "Seq": (Seq(A), [("sequence", A)]),
    "MutableSeq": (MutableSeq(A), [("sequence", A)]),
    "UserString": (UserString(A), [("sequence", A)]),
    "skbio": (RNA(A), [("sequence", A)]),
    "SeqRecord": (record(A, "a"), [("a", A)]),
    "SeqRecord without id": (record(A), [("sequence", A)]),
    "list of Seq": ([Seq(A), MutableSeq(B)], NUMBERED),
    "list of SeqRecord": ([record(A, "a"), record(B)], [("a", A), ("sequence 2", B)]),
    "generator of SeqRecord": ((one for one in (record(A, "a"), record(B, "b"))), NAMED),
    "Structure": (Structure(A, [], name="a"), [("a", A)]),
    "Structures": ([Structure(A, [], name="a"), Structure(B, [], name="b")], NAMED),
    "DataFrame": (TABLE, NAMED),
    "DataFrame with name": (TABLE.rename(columns={"id": "name"}), NAMED),
    "DataFrame without names": (TABLE[["sequence"]], [("row 1", A), ("row 2", B)]),
    "DataFrame with a column RNA": (TABLE.assign(RNA=1), NAMED),
    "DataFrame with a missing name": (TABLE.assign(id=["", None]), [("row 1", A), ("row 2", B)]),
    "numbers as names": (TABLE.assign(id=[7, 8]), [("7", A), ("8", B)]),
    "columns": ({"id": ["a", "b"], "sequence": [A, B]}, NAMED),
    "rows": (TABLE.to_dict("records"), NAMED),
    "row": ({"id": "a", "sequence": A}, [("a", A)]),
    "Series": (pd.Series([A, B]), NUMBERED),
    "named Series": (pd.Series([A, B], index=["a", "b"]), NAMED),
    "string Series": (pd.Series([A, B], dtype="string"), NUMBERED),
    "categories": (pd.Series([A, B], dtype="category"), NUMBERED),
    "column": (TABLE["sequence"], NUMBERED),
    "Index": (pd.Index([A, B]), NUMBERED),
    "array": (np.array([A, B]), NUMBERED),
    "array of objects": (np.array([A, B], dtype=object), NUMBERED),
    "text file": (io.StringIO(f">a\n{A}\n>b x\n{B}\n"), NAMED),
    "binary file": (io.BytesIO(f"\ufeff>a\r\n{A}\r\n>b\r\n{B}\r\n".encode()), NAMED),
    "nothing": ([], []),
    "empty text": ("", [("sequence", "")]),
    "one letter": ("A", [("sequence", "A")]),
    "one letter in a list": (["A"], [("sequence 1", "A")]),
    "single letters with names": ({"a": "A", "b": "C"}, [("a", "A"), ("b", "C")]),
    "blank name": ({"": A, " ": B}, NUMBERED),
    "pasted": (f" \n>a\n{A}\n>b\n{B}", NAMED),
    "old Mac": (f">a\r{A}\r>b\r{B}\r", NAMED),
    "Windows": (f">a\r\n{A}\r\n>b\r\n{B}", NAMED),
}


@pytest.mark.parametrize("kind", MEANT)
def test_what_a_user_meant(kind: str) -> None:
    given, expected = MEANT[kind]
    found = read_sequences(given)
    assert found == expected
    assert all(isinstance(text, str) for one in found for text in one)


REJECTED = {
    "bytes": (A.encode(), TypeError, "expected text, not bytes: decode it"),
    "bytearray": (bytearray(A.encode()), TypeError, "expected text, not bytearray: decode it"),
    "memoryview": (memoryview(A.encode()), TypeError, "expected text, not memoryview: decode it"),
    "set": ({A, B}, TypeError, "a set of sequences has no order"),
    "frozenset": (frozenset((A, B)), TypeError, "a frozenset of sequences has no order"),
    "letters": (list(A), ValueError, r"a list of 12 single letters \(GGGGAAAA…\): did you mean"),
    "tuple of letters": (tuple("ACGU"), ValueError, r"a tuple of 4 single letters \(ACGU\)"),
    "array of letters": (np.array(list(A)), ValueError, "a ndarray of 12 single letters"),
    "Series of letters": (pd.Series(list(A)), ValueError, "a Series of 12 single letters"),
    "a pair": (("tag", A), ValueError, "may be a name and its sequence"),
    "None": (None, TypeError, "expected sequences, FASTA or a path, not NoneType"),
    "int": (7, TypeError, "not int"),
    "float": (7.5, TypeError, "not float"),
    "function": (len, TypeError, "not builtin_function_or_method"),
    "class": (Structure, TypeError, "not type"),
    "numbers": ([1, 2], TypeError, "'sequence 1': a sequence must be a str, not int"),
    "nested": ([[A, B]], TypeError, "'sequence 1': a sequence must be a str, not list"),
    "triples": ([("a", A, 1)], TypeError, "'sequence 1': a sequence must be a str, not tuple"),
    "bytes inside": ([A, B.encode()], TypeError, "'sequence 2': .*not bytes; decode it"),
    "None inside": ([A, None], TypeError, "'sequence 2': .*not NoneType; the value is missing"),
    "nan inside": ([A, float("nan")], TypeError, "'sequence 2': .*not float; the value is missing"),
    "NA inside": ([A, pd.NA], TypeError, "'sequence 2': .*not NAType; the value is missing"),
    "NA in a Series": (
        pd.Series([A, pd.NA], index=["a", "b"]),
        TypeError,
        "'b': .*; the value is missing",
    ),
    "None in a dict": ({"a": None}, TypeError, "'a': .*not NoneType; the value is missing"),
    "None in a pair": ([("a", None)], TypeError, "'a': .*not NoneType; the value is missing"),
    "None in a table": (TABLE.assign(sequence=[A, None]), TypeError, "'row 2, b': .*; the value is missing"),
    "NaT in a table": (
        TABLE.assign(sequence=[A, pd.NaT]),
        TypeError,
        "'row 2, b': .*NaTType; the value is missing",
    ),
    "SeqRecord without sequence": (types.SimpleNamespace(seq=None, id="a"), TypeError, "'a': .*not NoneType"),
    "another table": (
        TABLE.rename(columns={"sequence": "RNA"}),
        ValueError,
        "no column 'sequence'; it has id, RNA",
    ),
    "table of two": (
        pd.DataFrame(np.zeros((2, 2))),
        ValueError,
        "the DataFrame has no column 'sequence'; it has 0, 1",
    ),
    "array of numbers": (np.zeros(3), TypeError, r"not a ndarray of float64 and shape \(3,\)"),
    "array of tokens": (np.array([[5, 6]]), TypeError, r"not a ndarray of int64 and shape \(1, 2\)"),
    "array of two dimensions": (np.array([[A, B]]), TypeError, r"shape \(1, 2\)"),
    "array of bytes": (np.array([A.encode()]), TypeError, r"not a ndarray of \|S12"),
    "Series of numbers": (pd.Series([1.5]), TypeError, "not a Series of float64"),
    "tensor": (torch.zeros(2, 3), TypeError, r"not a Tensor of torch.float32 and shape \(2, 3\)"),
    "tokens": (torch.tensor([5, 6]), TypeError, "not a Tensor of torch.int64"),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_what_is_rejected_by_its_type(kind: str) -> None:
    given, error, message = REJECTED[kind]
    for read in (read_sequences, rk.fold, rk.embed):
        with pytest.raises(error, match=message):
            read(given)


def test_fold_gives_one_structure_for_one_sequence() -> None:
    for one in (A, f">a\n{A}\n", Seq(A), MutableSeq(A), record(A, "a"), Structure(A, [], name="a")):
        assert rk.fold(one).sequence == A
    for several in (
        [A],
        (A,),
        {"a": A},
        [Seq(A)],
        [record(A)],
        TABLE.iloc[:1],
        pd.Series([A]),
        f">a\n{A}\n>b\n{A}\n",
    ):
        assert isinstance(rk.fold(several), list)
    assert rk.fold(record(A, "a")).name == "a"
    assert not is_single([A])


def test_single_letters_can_be_computed_on() -> None:
    assert rk.embed({"a": "A", "b": "C"}, pool="mean").shape == (2, 320)
    assert tokenize(["A", "C"]).shape == (2, 3)


def test_open_files_of_all_sorts(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(f">a\n{A}\n>b\n{B}\n")
    with path.open() as text, path.open("rb") as binary, path.open("rb", buffering=0) as raw:
        for stream in (text, binary, raw):
            assert read_sequences(stream) == NAMED
    for mode, content in (("w+", path.read_text()), ("w+b", path.read_bytes())):
        with tempfile.NamedTemporaryFile(mode) as stream:
            stream.write(content)
            stream.seek(0)
            assert read_sequences(stream) == NAMED


# --- path or sequence


@pytest.mark.parametrize(
    ("text", "position", "letter"),
    [
        ("ACGU." * 100, 5, "."),
        ("ACGU." * 2000, 5, "."),
        ("ACGU.", 5, "."),
        (".ACGU", 1, "."),
        ("..((..))..", 1, "."),
        ("ACGU\0", 5, "\0"),
        ("ACGU*" * 100, 5, "*"),
        ("ACGU~" * 100, 5, "~"),
        ("ACGU/x.fa\n", 5, "/"),
        ("AC\\GU\n" * 300, 3, "\\"),
        ("A/" * 3000, 2, "/"),
        ("1.5", 1, "1"),
        ("ACGU,ACGU", 5, ","),
        ("ACGU:" * 60, 5, ":"),
    ],
)
def test_a_sequence_with_a_foreign_letter_is_no_path(text: str, position: int, letter: str) -> None:
    assert not is_path(text)
    with pytest.raises(ValueError, match=re.escape(f"position {position}: {letter!r}")):
        rk.fold(text)


@pytest.mark.parametrize(
    "text",
    [
        "x.fa",
        "X.FASTA",
        "trna.fa.gz",
        "trna.FA.BZ2",
        "x.fna.xz",
        "x.seq.zst",
        "x.gz",
        "my sequences.fas",
        "x.dbn",
        "x.st",
        "data/x",
        "./x",
        "~/x",
        "~nobody-of-this-name/x",
        "C:\\x",
        "/" + "a" * 300,
        "a/" * 1000,
        "ACGU.fa",
    ],
)
def test_a_path_to_nothing_is_named(text: str) -> None:
    assert is_path(text)
    with pytest.raises(FileNotFoundError, match=r"^no such file: ") as caught:
        read_sequences(text)
    assert len(str(caught.value)) < 500


def test_a_file_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("two queries", "x.unusual", "noending", "ACGU"):
        Path(name).write_text(f">a\n{A}\n")
        assert read_sequences(Path(name)) == [("a", A)]
    assert (
        read_sequences("two queries")
        == read_sequences("x.unusual")
        == read_sequences("noending")
        == [("a", A)]
    )
    with pytest.raises(ValueError, match="'ACGU' is a sequence and also a file: pass pathlib"):
        read_sequences("ACGU")
    assert read_sequences(["ACGU"]) == [("sequence 1", "ACGU")]
    assert read_pasted("ACGU") == [("sequence", "ACGU")]
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read_sequences(Path(name))


@pytest.mark.parametrize("text", ["/etc/passwd", "~/x.fa", "x.fa", __file__, "..\\x"])
def test_what_is_pasted_is_never_a_path(text: str) -> None:
    assert read_pasted(text) == [("sequence", text)]
    with pytest.raises(ValueError, match="position"):
        clean(text)


def test_comments_in_fasta(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(
        f"# made by a program\n; old style\n\n>a\n;inside\n{A[:5]}\n#x\n{A[5:]}\n#last\n>b\n{B}\n"
    )
    assert read_sequences(path) == NAMED


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends_of_every_source(tmp_path: Path, end: str) -> None:
    text = end.join((">a x", A[:4], A[4:], "", ">b", B, ""))
    path = tmp_path / "x.fa"
    path.write_bytes(text.encode())
    with path.open(newline="") as stream, path.open("rb") as binary:
        for source in (text, path, stream, binary, io.StringIO(text), io.BytesIO(text.encode())):
            assert read_sequences(source) == NAMED


def test_lengths_are_estimated_from_the_same_things() -> None:
    known = estimate([12, 7], model="nano-ss").peak
    several = (
        [A, B],
        (one for one in (A, B)),
        [Seq(A), Seq(B)],
        TABLE,
        pd.Series([12, 7]),
        np.array([12, 7]),
        NAMED,
    )
    for given in several:
        assert estimate(given, model="nano-ss").peak == known


def test_paths_like_os_pathlike() -> None:
    class Odd(os.PathLike):
        def __fspath__(self) -> str:
            return "nothing here"

    with pytest.raises(FileNotFoundError, match="no such file: nothing here"):
        read_sequences(Odd())
