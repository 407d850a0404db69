import pytest

from rinalmo_kit.rna.elements import ELEMENTS, loop_elements
from rinalmo_kit.rna.pairs import pairs_from_dot_bracket

pytest.importorskip("forgi", reason="needs forgi: pip install 'rinalmo-kit[drawing]'")


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
    with pytest.raises(ValueError, match="bracket"):
        loop_elements("((..)")
