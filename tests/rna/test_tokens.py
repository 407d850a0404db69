"""Vocabulary, cleaning, token ids and FASTA."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rinalmo_kit as rk
from rinalmo_kit._utils.text_files import open_text
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import CLS, EOS, MASK, PAD, UNK, VOCABULARY, clean
from rinalmo_kit.rna.sequences import is_path, read_fasta, read_sequences

LETTERS = "ACGUTIRYKMSWBDHVN-"


@pytest.fixture(scope="module")
def cases(golden: Path) -> dict:
    return json.loads((golden / "tokenizer.json").read_text())


def test_vocabulary_has_the_ids_of_the_released_weights() -> None:
    assert VOCABULARY[:5] == ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>")
    assert (CLS, PAD, EOS, UNK, MASK) == (0, 1, 2, 3, 4)
    assert "".join(VOCABULARY[5:]) == "ACGTIRYKMSWBDHVN-"
    assert tokenize([LETTERS]).tolist() == [[0, 5, 6, 7, 8, 8, *range(9, 22), 2]]


def test_golden_cases(cases: dict) -> None:
    """Equal to the official tokenizer, or, where that one writes <unk>, an error with place and letter."""
    accepted = rejected = 0
    for case in cases["cases"] + cases["padded"]:
        pad_to = case.get("pad_to_len")
        text, ids = case["seq"], case["ids"]
        letters = "".join(text.split())
        if all(i != UNK for i, c in zip(ids[1:], text, strict=False) if not c.isspace()):
            expected = [i for i, c in zip(ids, f"<{text}>", strict=False) if not c.isspace()]
            width = pad_to or len(letters) + 2
            expected += [PAD] * (width - len(expected))
            assert tokenize([text], pad_to=pad_to).tolist() == [expected], case
            accepted += 1
        else:
            position = next(i for i, c in enumerate(letters, 1) if c.upper() not in LETTERS)
            wanted = f"'sequence 1', position {position}: {letters[position - 1]!r} is not a nucleotide code"
            with pytest.raises(ValueError, match=re.escape(wanted)):
                tokenize([text], pad_to=pad_to)
            rejected += 1
    assert accepted > 10
    assert rejected > 5


@pytest.mark.parametrize("text", ["ac gu", "AC\r\nGT\r\n", "\tA\vC\fG U\n", "\ufeffACGU", "A C G U"])
def test_white_space_case_and_t(text: str) -> None:
    assert clean(text) == "ACGU"
    assert tokenize([text]).tolist() == [[0, 5, 6, 7, 8, 2]]


def test_gaps_and_ambiguity_codes_are_kept() -> None:
    assert clean("a--cN") == "A--CN"


@pytest.mark.parametrize(
    ("text", "position", "letter"),
    [
        ("ACXU", 3, "X"),
        ("AC\r\nG.", 4, "."),  # white space is not counted
        ("<mask>", 1, "<"),
        ("ACG*", 4, "*"),
        ("A1", 2, "1"),
        ("\u0410", 1, "\u0410"),  # Cyrillic A
        ("C\u0131", 2, "\u0131"),  # dotless i, whose upper case is I
        ("G\u017f", 2, "\u017f"),  # long s, whose upper case is S
        ("G\u212a", 2, "\u212a"),  # Kelvin sign, whose lower case is k
        ("A\u2010C", 2, "\u2010"),  # a hyphen that is not the gap
        ("A\u200bC", 2, "\u200b"),
        ("A\u00a0C", 2, "\u00a0"),
        ("A\0", 2, "\0"),
        ("ß", 1, "ß"),
    ],
)
def test_a_foreign_character_is_named_with_its_place(text: str, position: int, letter: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'tRNA-7', position {position}: {letter!r} is not")):
        clean(text, name="tRNA-7")
    with pytest.raises(ValueError, match=re.escape(f"'x', position {position}: {letter!r} is not")):
        tokenize({"x": text})


@pytest.mark.parametrize("mark", ["&", "+"])
def test_two_strands_are_rejected_as_such(mark: str) -> None:
    message = (
        f"'x', position 5: {mark!r} is not a nucleotide code; two strands are not supported: expected one RNA"
    )
    for reject in (tokenize, rk.fold, rk.embed):
        with pytest.raises(ValueError, match=re.escape(message)):
            reject({"x": f"GGGG{mark}CCCC"})


@pytest.mark.parametrize("value", [None, 5, b"ACGU", ["A"], float("nan")])
def test_a_sequence_must_be_text(value: object) -> None:
    with pytest.raises(
        TypeError, match=r"'sequence 2': a sequence must be a str, not " + type(value).__name__
    ):
        tokenize(["ACG", value])


def test_empty_sequences() -> None:
    assert tokenize([""]).tolist() == [[CLS, EOS]]
    assert tokenize(["", "AC"]).tolist() == [[CLS, EOS, PAD, PAD], [CLS, 5, 6, EOS]]
    assert tokenize([]).shape == (0, 0)


def test_padding_never_cuts() -> None:
    assert tokenize(["AC"], pad_to=6).tolist() == [[0, 5, 6, 2, 1, 1]]
    with pytest.raises(
        ValueError, match=r"'b' needs 6 tokens, more than pad_to=5; nothing is cut: raise pad_to"
    ):
        tokenize({"a": "ACG", "b": "ACGU"}, pad_to=5)


def test_without_special_tokens() -> None:
    tokens = tokenize(["ACGU", "G"], special_tokens=False)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [[5, 6, 7, 8], [7, 1, 1, 1]]
    with pytest.raises(ValueError, match="needs 4 tokens, more than pad_to=3"):
        tokenize(["ACGU"], pad_to=3, special_tokens=False)


@given(st.lists(st.text(LETTERS + LETTERS.lower(), max_size=30), min_size=1, max_size=5))
def test_tokens_spell_the_sequence(sequences: list[str]) -> None:
    tokens = tokenize(sequences)
    assert tokens.shape == (len(sequences), max(map(len, sequences)) + 2)
    for row, sequence in zip(tokens.tolist(), sequences, strict=True):
        end = len(sequence) + 1
        assert row[0] == CLS
        assert row[end] == EOS
        assert set(row[end + 1 :]) <= {PAD}
        assert "".join(VOCABULARY[i] for i in row[1:end]).replace("T", "U") == clean(sequence)


def test_read_sequences_takes_what_is_at_hand(tmp_path: Path) -> None:
    file = tmp_path / "two.fasta"
    file.write_text(">a first\nAC\nGU\n\n>b\nGG\n")
    records = [("a", "ACGU"), ("b", "GG")]
    assert read_sequences(file) == read_sequences(str(file)) == records
    assert read_sequences(file.read_text()) == records
    assert read_sequences("\ufeff\n " + file.read_text()) == records  # pasted, with what stood before it
    assert read_sequences("ACGU") == [("sequence", "ACGU")]
    assert read_sequences("AC\nGU") == [("sequence", "AC\nGU")]
    assert read_sequences({1: "AC", "b": "G"}) == [("1", "AC"), ("b", "G")]
    assert read_sequences(s for s in ("A", "C")) == [("sequence 1", "A"), ("sequence 2", "C")]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_fasta_files_of_any_system(tmp_path: Path, newline: str, packed: bool, mark: str) -> None:
    text = mark + newline.join([">a desc", "ACG", "", "u u", ">", "GG", ">c"])
    path = tmp_path / ("x.fa.gz" if packed else "x.fa")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert list(read_fasta(path)) == [("a", "ACGu u"), ("record 2", "GG"), ("c", "")]
    assert tokenize(path).tolist() == [[0, 5, 6, 7, 8, 8, 2], [0, 7, 7, 2, 1, 1, 1], [0, 2, 1, 1, 1, 1, 1]]


def test_fasta_without_header(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text("\n\nACGU\n>a\nAC\n")
    wanted = f"{path}, line 3: expected a FASTA header ('>name'), found 'ACGU'"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        read_sequences(path)
    with pytest.raises(ValueError, match=re.escape("FASTA text, line 1: expected a FASTA header")):
        list(read_fasta(io.StringIO("ACGU\n")))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.fa"):
        tokenize(tmp_path / "none.fa")
    with pytest.raises(FileNotFoundError, match=r"no such file: none\.fa"):
        tokenize("none.fa")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ACGU", False),
        ("x.fa", True),
        ("/data/x", True),
        (r"C:\x", True),
        ("A" * 5000 + ".", False),
        ("A\n.", False),
    ],
)
def test_is_path(text: str, expected: bool) -> None:
    assert is_path(text) is expected


def test_open_text_drops_the_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfACGU\r\n")
    with open_text(path) as stream:
        assert stream.read() == "ACGU\n"
