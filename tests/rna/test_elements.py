import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest

import rinalmo_kit as rk
from rinalmo_kit.rna.elements import ELEMENTS, element_kinds, element_table, find_elements, loop_elements
from rinalmo_kit.rna.pairs import pairs_from_dot_bracket, to_dot_bracket


@pytest.mark.parametrize(
    ("brackets", "elements"),
    [
        ("....", "ffff"),
        ("((((....))))", "sssshhhhssss"),
        (".((..((...))..)).", "fssiisshhhssiisst"),
        ("(((..((...)).(((...)))..)))", "sssmmsshhhssmssshhhsssmmsss"),
        ("((((.((...))))))", "ssssisshhhssssss"),
    ],
)
def test_elements_of_known_structures(brackets, elements):
    assert "".join(loop_elements(brackets)) == elements


@pytest.mark.parametrize(
    "brackets", ["((((..[[[[..))))..]]]]", "(((...)))...(((...)))", "()", "(((((...)).)))"]
)
def test_stems_are_the_paired_nucleotides(brackets):
    found = loop_elements(brackets)
    paired = sorted(pairs_from_dot_bracket(brackets).ravel().tolist())
    assert [i for i, letter in enumerate(found) if letter == "s"] == paired
    assert set(found) <= set(ELEMENTS)


def test_brackets_without_partner_are_an_error():
    with pytest.raises(ValueError, match="never closed"):
        loop_elements("((..)")


def test_elements_are_those_of_forgi():
    with contextlib.redirect_stderr(io.StringIO()):  # NumPy warns that forgi's extension is old
        graph = pytest.importorskip(
            "forgi.graph.bulge_graph",
            reason="needs forgi: pip install 'rinalmo-kit[drawing]'",
            exc_type=Exception,
        ).BulgeGraph
    rng = np.random.default_rng(0)
    known = [s.dot_bracket for s in rk.datasets.load_structures("examples")]
    for length in rng.integers(4, 30, 60).tolist():  # pairs at random, most of them pseudoknots
        ends = rng.permutation(length)[: 2 * int(rng.integers(1, length // 2))].reshape(-1, 2)
        known.append(to_dot_bracket(np.sort(ends, axis=1), length))
    for brackets in known:
        theirs = graph.from_dotbracket(brackets)
        assert "".join(loop_elements(brackets)) == theirs.to_element_string()
        same = rk.Structure.from_dot_bracket("A" * len(brackets), brackets).to_forgi()
        assert same.defines == theirs.defines and same.seq == "A" * len(brackets)
        ours = find_elements(pairs_from_dot_bracket(brackets), len(brackets))
        for letter in "shi":
            mine = {tuple(np.ravel(one.strands)) for one in ours if one.name[0] == letter}
            defines = {tuple(where) for name, where in theirs.defines.items() if name[0] == letter and where}
            assert mine == defines


def test_the_first_import_of_forgi_prints_nothing():
    pytest.importorskip("forgi", reason="needs forgi: pip install 'rinalmo-kit[drawing]'", exc_type=Exception)
    code = "import rinalmo_kit as rk; s = rk.Structure.from_dot_bracket('GGGAAAACCC', '(((....)))')"
    code += "; print(s.to_forgi().to_element_string())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "ssshhhhsss\n" and run.stderr == ""


def test_without_forgi_the_graph_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "forgi.graph.bulge_graph", None)
    with pytest.raises(ImportError, match=r"pip install 'rinalmo-kit\[drawing\]'"):
        rk.Structure.from_dot_bracket("GGGAAAACCC", "(((....)))").to_forgi()


def test_table_of_elements():
    s = rk.Structure.from_dot_bracket(
        "A" * 62, "..(((..[[[[.)))...(((..(((...))).((...))..)))..]]]]..((...)).."
    )
    table = s.elements.set_index("element")
    assert table.loc["m3", ["kind", "strands", "stems"]].tolist() == [
        "multiloop",
        "22-23 33 41-42",
        "s2 s3 s4",
    ]
    assert table.loc["s0", ["kind", "strands", "crosses"]].tolist() == ["pseudoknot", "3-5 13-15", "s1"]
    assert table.loc["s1", ["kind", "crosses", "start", "end"]].tolist() == ["stem", "s0", 8, 51]
    kinds = table["kind"].value_counts().to_dict()
    assert kinds == {"stem": 5, "pseudoknot": 1, "hairpin": 3, "multiloop": 1, "pseudoknot loop": 4, "external": 1,
                     "5′ end": 1, "3′ end": 1}  # fmt: skip
    assert table["nucleotides"].sum() == len(s)


@pytest.mark.parametrize(
    ("brackets", "name", "kind", "strands"),
    [
        ("((.((...))))", "i0", "bulge", "3"),
        ("((.((...)).))", "i0", "interior loop", "3 11"),
        ("((...))..((...))", "m0", "external", "8-9"),
        ("((((...))((...))))", "m0", "multiloop", ""),
        ("....", "f0", "5′ end", "1-4"),
    ],
)
def test_kinds_of_elements(brackets: str, name: str, kind: str, strands: str):
    pairs = pairs_from_dot_bracket(brackets)
    row = element_table(pairs, len(brackets)).set_index("element").loc[name]
    assert (row["kind"], row["strands"]) == (kind, strands)
    assert len(element_kinds(pairs, len(brackets))) == len(brackets)


def test_every_nucleotide_is_in_one_element():
    for s in rk.datasets.load_structures("examples"):
        places = [
            k for one in find_elements(s.pairs, len(s)) for a, b in one.strands for k in range(a, b + 1)
        ]
        assert sorted(places) == [*range(1, len(s) + 1)]
    assert element_table([], 0).empty
