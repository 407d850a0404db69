"""Names of records as names of files."""

from __future__ import annotations

import os
import time
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinalmo_kit._utils.filenames import file_name
from rinalmo_kit._utils.files import atomic_write

RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
FORBIDDEN = set('/\\:*?"<>|') | {chr(i) for i in range(32)} | {"\x7f"}


def is_legal(name: str) -> bool:
    """Tell whether Windows, macOS and Linux take a name."""
    return (
        0 < len(name.encode("utf-8")) <= 255
        and not set(name) & FORBIDDEN
        and not name.startswith((".", "-", " ", "~"))
        and not name.endswith((".", " "))
        and name.split(".")[0].rstrip().lower() not in RESERVED
    )


def seen_by_a_file_system(name: str) -> str:
    return unicodedata.normalize("NFD", name).casefold()


@given(st.lists(st.text(max_size=100), max_size=5), st.sampled_from([".ct", ".bpseq", ".parquet", ""]))
def test_every_name_gets_a_legal_file_of_its_own(names, ending):
    taken: dict[str, int] = {}
    found = [file_name(name, taken, ending) for name in names]
    assert all(map(is_legal, found))
    assert len({*map(seen_by_a_file_system, found)}) == len(names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["tX_Xyl.fast._TRW-1_1-12", "a.gz", "c.tar.gz.bpseq"],
            ["tX_Xyl.fast._TRW-1_1-12", "a.gz", "c.tar.gz.bpseq"],
        ),
        (["a", "A", "a"], ["a", "A-2", "a-3"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["é", "e\u0301", "É"], ["é", "é-2", "É-3"]),
        (["straße", "STRASSE"], ["straße", "STRASSE-2"]),
        (
            ["con", "AUX.dbn", "Com1", "lpt¹.x", "console"],
            ["_con", "_AUX.dbn", "_Com1", "_lpt¹.x", "console"],
        ),
        (["", ".", "..", "...", "-", "\x00", "\ud800"], None),
        (["../../etc/passwd", "..\\..\\x", "/etc/x", "C:\\x", "~root"], None),
        (["-rf", "--help", ".hidden", "a.", "a ", "a. "], None),
        (["क्षेत्र", "ไทย", "한국어", "עברית", "a\u202eb"], ["क्षेत्र", "ไทย", "한국어", "עברית", "a_b"]),
        (["x" * 300, "x" * 301, "魚" * 200, "🧬" * 200, "é" * 300, "a." * 200], None),
    ],
)
def test_names(names, expected, tmp_path):
    taken: dict[str, int] = {}
    found = [file_name(name, taken) for name in names]
    assert expected is None or found == expected
    for name in found:
        assert is_legal(name)
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("x")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(found)


@pytest.mark.parametrize("names", [["same"] * 16_000, [f"same-{i}" for i in range(8_000)] + ["same"] * 8_000])
def test_duplicates_take_linear_time(names):
    taken: dict[str, int] = {}
    start = time.process_time()
    assert len({file_name(name, taken) for name in names}) == len(names)
    assert time.process_time() - start < 5  # 81 s where each name was compared with all


@pytest.mark.parametrize("name", ["x" * 255, "魚" * 85, "🧬" * 63 + "abc", "x" * 100 + "é" * 77])
def test_the_longest_names_have_room_for_a_temporary_one(name, tmp_path):
    assert len(name.encode()) == 255 or name.startswith("x")
    with atomic_write(tmp_path / name) as temporary:
        assert len(os.fsencode(temporary.name)) <= 255
        temporary.write_text(str(uuid.uuid4()))
    assert [one.name for one in tmp_path.iterdir()] == [name]
