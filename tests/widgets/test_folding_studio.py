"""The folding studio as a bench biologist uses it, without a browser."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import rinalmo_kit as rk
from rinalmo_kit.inference import energies
from rinalmo_kit.plot.style import ELEMENTS, KNOT, NUCLEOTIDES
from rinalmo_kit.widgets import FoldingStudio, cancelling, folding_studio
from rinalmo_kit.widgets.cancelling import Cancelled, cancellable, run_elsewhere
from rinalmo_kit.widgets.studio_input import EXAMPLES, checked_pair, expected_time, pasted
from rinalmo_kit.widgets.studio_view import PALETTE, drawing_payload, view_payload

TRNA = EXAMPLES["tRNA-Phe (yeast)"]
CLOVERLEAF = "(((((((..((((........)))).(((((.......))))).....(((((.......))))))))))))...."
SHIFT = EXAMPLES["frameshifting element (SARS-CoV-2)"]
HAIRPIN = "GGGGAAAACCCC"


def fold(studio: FoldingStudio, text: str) -> None:
    studio.text = text
    studio.fold()


# A reference belongs to its sequence ----------------------------------------------------------------------


def test_another_sequence_keeps_neither_the_reference_nor_an_error():
    studio = FoldingStudio(TRNA, reference=CLOVERLEAF)
    assert studio.view["compare"] == "reference" and studio.reference == CLOVERLEAF
    fold(studio, HAIRPIN)
    assert studio.reference == "" and not studio.message.get("wrong")
    assert "reference" not in studio.view["compared"] and studio.view["compare"] == "none"
    studio.reference = "(((....))"
    assert "9 positions, 'sequence' has 12" in studio.message["text"] and studio.message["wrong"]
    fold(studio, TRNA)
    assert studio.reference == CLOVERLEAF and not studio.message.get("wrong"), "and it comes back"
    assert studio.view["compare"] == "reference"
    studio.reference = ""
    fold(studio, HAIRPIN)
    fold(studio, TRNA)
    assert studio.reference == "" and "reference" not in studio.view["compared"]


def test_records_have_references_of_their_own():
    studio = FoldingStudio({"a": HAIRPIN, "b": TRNA})
    studio.reference = "((((....))))"
    studio.record = 1
    assert studio.reference == "" and studio.message == {"text": ""}
    studio.reference = CLOVERLEAF
    studio.record = 0
    assert studio.reference == "((((....))))" and studio.view["compared"]["reference"]["f1"] == 1


def test_a_reference_may_be_given_before_its_rna_is_folded():
    studio = FoldingStudio(HAIRPIN)
    studio.text = TRNA
    studio.reference = CLOVERLEAF  # not that of what is shown
    assert studio.message["wrong"]
    studio.fold()
    assert studio.reference == CLOVERLEAF and "reference" in studio.view["compared"]
    assert not studio.message.get("wrong")


def test_a_reference_that_does_not_fit_the_first_rna_is_said():
    studio = FoldingStudio(HAIRPIN, reference="((..))")
    assert "6 positions" in studio.message["text"] and studio.message["wrong"]
    assert studio.structure.dot_bracket == "((((....))))"


# Empty records --------------------------------------------------------------------------------------------


def test_empty_records_are_skipped_by_name():
    studio = FoldingStudio()
    fold(studio, f">a\n>b\n{HAIRPIN}\n>c\n  \n>d\nACGU\n")
    assert studio.names == ["b", "d"] and studio.structure.sequence == HAIRPIN
    assert studio.message == {"text": "Skipped, no sequence: 'a', 'c'."}
    fold(studio, "".join(f">r{k}\n" for k in range(30)) + ">x\nACGU")
    assert studio.message["text"].endswith("'r9' and 20 more.")


def test_examples_are_three_rnas():
    assert len(EXAMPLES) == 3 and all(not {*sequence} - {*"ACGU"} for sequence in EXAMPLES.values())
    assert [len(sequence) for sequence in EXAMPLES.values()] == [76, 120, 85]
    assert FoldingStudio().examples == EXAMPLES


# The drawing follows the figures --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folded():
    return {name: rk.fold(sequence) for name, sequence in EXAMPLES.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_label_lies_on_a_base(folded, name):
    s = folded[name]
    drawing = drawing_payload(s)
    bases = np.array([drawing["x"], drawing["y"]]).T
    texts = [label[0] for label in drawing["labels"]]
    assert texts[:2] == ["5′", "3′"] and len(texts) >= 2 + len(s) // 10 - 3
    left, top, width, height = drawing["box"]
    for text, x, y, size, *tick in drawing["labels"]:
        half = np.array([0.3 * len(text), 0.4]) * size
        outside = np.maximum(abs(bases - (x, y)) - half, 0)
        assert np.hypot(*outside.T).min() > 0.42, f"{text} lies on a base"
        assert left < x - half[0] and x + half[0] < left + width and top < y < top + height
        if text[-1] == "′":
            assert not tick
        else:
            base = bases[int(text) - 1]
            assert np.hypot(*(base - tick[:2])) == pytest.approx(0.42, abs=0.02), "a tick begins at its base"


def test_pairs_are_drawn_as_in_the_figures(folded):
    s = folded["frameshifting element (SARS-CoV-2)"]
    view, drawing = view_payload(s, {}), drawing_payload(s)
    kinds = {(i, j): (kind, style) for i, j, kind, style in view["marks"]}
    bends = {(i, j) for i, j, *_ in drawing["bends"]}
    assert bends and bends == {pair for pair, (kind, _) in kinds.items() if kind == "crossing"}
    dots = {pair for pair, (_, style) in kinds.items() if style == "dot"}
    wobbles = {(i, j) for i, j in kinds if {s.sequence[i], s.sequence[j]} == {"G", "U"}}
    assert dots == wobbles - bends and dots
    assert PALETTE["crossing"] == KNOT and PALETTE["nucleotides"] == NUCLEOTIDES
    assert [words for *_, words in view["keys"]] == ["crosses other pairs (pseudoknot)", "G·U"]


def test_the_key_says_what_the_colours_mean(folded):
    s = folded["tRNA-Phe (yeast)"]
    pairs = [*s.pairs.tolist()[3:], [45, 70]]  # three less, one more
    other = rk.Structure(TRNA, [pair for pair in pairs if 70 not in pair or pair == [45, 70]])
    view = view_payload(s, {"ViennaRNA": other}, compare="ViennaRNA", color_by="elements")
    said = {kind: words for _, kind, words in view["keys"]}
    assert said["both"] == "in both" and said["predicted"] == "in this fold only"
    assert len({PALETTE[kind] for kind in ("both", "predicted", "reference", "crossing")}) == 4
    swatches = dict(view["swatches"])
    assert swatches["stem"] == ELEMENTS["stem"].lower() and "nucleotide" not in swatches
    assert {*view["fills"]} == {*swatches.values()}
    plain = view_payload(s, {"ViennaRNA": other}, color_by="none")
    assert plain["fills"] is None and plain["swatches"] == [] and plain["compare"] == "none"
    shown = view_payload(s, {"reference": other}, compare="reference")
    assert any(words == "in known structure only" for *_, words in shown["keys"]) or len(s.pairs) > len(
        other.pairs
    )
    assert not any(kind in ("crossing", "pair") for _, kind, _ in shown["keys"]), "one colour, one meaning"


def test_a_base_knows_its_element(folded):
    s = folded["tRNA-Phe (yeast)"]
    names = view_payload(s, {})["elements"]
    table = s.elements
    for row in table.itertuples():
        assert names[row.start - 1] == f"{row.kind} {row.element}"
    assert len(names) == 76


def test_without_probabilities_there_are_no_colours_of_them():
    bare = rk.Structure.from_dot_bracket(HAIRPIN, "((((....))))")
    assert view_payload(bare, {}, color_by="probability")["color_by"] == "none"


def test_a_low_confidence_is_called_a_guess():
    studio = FoldingStudio("ACGU" * 60)
    trust, confidence = studio.view["trust"], studio.view["confidence"]
    assert studio.view["guess"] == (confidence < 0.4) == ("This fold is a guess" in trust)
    low = rk.Structure(HAIRPIN, [(0, 11)], "x", np.zeros((12, 12)), confidence=0.31)
    assert view_payload(low, {})["trust"] == "Expected F1 0.31: low. This fold is a guess."


# Pairs to force -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((0, 3), "G1 and G4 cannot pair: 2 nucleotides lie between them, and a hairpin loop has 3 or more"),
        ((6, 8), "1 nucleotide lies between"),
        ((4, 11), "A5 and C12 cannot pair: only A-U, G-C and G-U"),
        ((0, 10), "11 is in the forced pair 2-11; clear that first"),
        ((0, 99), "1-100 lies outside the sequence of 12"),
    ],
)
def test_a_pair_that_cannot_be_is_answered_and_not_drawn(pair, words):
    studio = FoldingStudio(HAIRPIN)
    studio.force(1, 10)
    shown = studio.structure
    studio._handle_custom_msg({"do": "force", "pair": list(pair)}, [])
    assert words in studio.message["text"] and studio.message["wrong"]
    assert studio.forced == [[1, 10]] and studio.structure is shown


def test_other_rules_allow_other_pairs():
    studio = FoldingStudio("GGGGAAAACCCC")
    studio.min_loop = 3
    studio.force(0, 8)
    studio.canonical_only = False
    studio.force(4, 7)
    assert {(0, 8), (4, 7)} <= {*map(tuple, studio.structure.pairs.tolist())}
    studio.canonical_only = True
    assert "A5 and A8 cannot pair" in studio.message["text"] and studio.message["wrong"]
    studio.clear()
    assert not studio.message.get("wrong")


def test_a_crossing_pair_is_answered_where_pseudoknots_are_off():
    studio = FoldingStudio("GGGGAAAACCCCAAAAGGGG")
    studio.pseudoknots = "none"
    studio.force(0, 9)
    with pytest.raises(ValueError, match="1-10 and 9-19 cross, and pseudoknots are switched off"):
        studio.force(8, 18)
    assert studio.forced == [[0, 9]]
    assert checked_pair(8, 18, "GGGGAAAACCCCAAAAGGGG", [[0, 9]]) == [8, 18]


# Long RNAs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_one():
    rng = np.random.default_rng(0)
    return "".join(rng.choice([*"ACGU"], 520))


def test_long_rnas_are_arcs_first(long_one, monkeypatch):
    monkeypatch.setattr(folding_studio, "drawing_payload", lambda *_: pytest.fail("nobody asked for it"))
    studio = FoldingStudio(long_one)
    assert studio.panel == "arcs" and studio.view["x"] == [] and len(studio.view["fills"]) == 520
    monkeypatch.undo()
    studio.panel = "drawing"
    assert len(studio.view["x"]) == 520
    fold(studio, HAIRPIN)
    assert studio.panel == "drawing" and len(studio.view["x"]) == 12


def test_the_time_is_said_before_a_long_fold_starts():
    studio = FoldingStudio()
    studio.text = "ACGU" * 400
    assert studio.expected["words"] and studio.expected["seconds"] > 0
    studio.text = TRNA
    assert studio.expected["words"] == ""
    studio.text = ">a\nACGX"
    assert not studio.expected.get("words")
    seconds = [expected_time([n], studio.model)[0] for n in (500, 1000, 2000)]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_progress_goes_from_record_to_record(monkeypatch):
    studio, seen = FoldingStudio(), []
    studio.observe(lambda change: seen.append(change["new"]), "progress")
    said = []
    studio.observe(lambda change: said.append(change["new"].get("text", "")), "message")
    fold(studio, "".join(f">r{k}\n{HAIRPIN}\n" for k in range(4)))
    assert seen[-4:] == [0.25, 0.5, 0.75, 1.0] and not studio.busy
    assert "Folded 1 of 4" in said and "Folded 3 of 4" in said and said[-1] == ""


@pytest.fixture
def slow_program(monkeypatch):
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    monkeypatch.setattr(cancelling, "SHORT", 50)
    energies._ensemble.cache_clear()


def test_energies_of_long_rnas_come_from_another_process(slow_program):
    here = energies.energy_probabilities(TRNA, "viennarna")
    energies._ensemble.cache_clear()
    with cancellable(threading.Event()):
        there = energies.energy_probabilities(TRNA, "viennarna")
    np.testing.assert_array_equal(here, there)
    energies._ensemble.cache_clear()


def test_a_fold_is_cancelled_while_the_energy_model_computes(slow_program, monkeypatch):
    """ViennaRNA would not let the notebook answer meanwhile, and nothing would end it."""
    studio, started, run = FoldingStudio(HAIRPIN), threading.Event(), cancelling.run_elsewhere

    def told(*arguments):
        started.set()
        return run(*arguments)

    monkeypatch.setattr(cancelling, "run_elsewhere", told)
    rng = np.random.default_rng(1)
    studio.text = "".join(rng.choice([*"ACGU"], 1100))  # some ten seconds of ViennaRNA
    studio.start()
    assert started.wait(120)
    start = time.monotonic()
    studio.cancel()
    studio._thread.join(60)
    assert time.monotonic() - start < 5 and not studio.busy
    assert studio.message == {"text": "Cancelled."} and studio.structure.sequence == HAIRPIN


def test_a_program_that_fails_elsewhere_is_reported():
    with pytest.raises(RuntimeError, match="no_such_program"):
        run_elsewhere("no_such_program", "mfe", {"letters": "ACGU"}, threading.Event())
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        run_elsewhere("json", "mfe", {"letters": "ACGU"}, stop)


# What is shown is exported --------------------------------------------------------------------------------


def test_a_picture_is_exported_as_it_is_shown():
    studio = FoldingStudio(TRNA, reference=CLOVERLEAF)
    compared = studio.export("svg").decode()
    assert "both" in compared and "known structure" in compared
    studio.compare = "none"
    assert "both" not in studio.export("svg").decode()
    studio.color_by = "probability"
    assert "probability" in studio.export("svg").decode()
    studio.panel = "map"
    assert "pairing probability" in studio.export("svg").decode()
    studio.panel, studio.color_by = "arcs", "elements"
    text = studio.export("svg").decode()
    assert "multiloop" in text and 'id="base-1"' in text


def test_of_a_part_only_that_part_is_exported():
    studio = FoldingStudio(TRNA)
    view = studio.view
    x, y = view["x"][36], view["y"][36]  # the anticodon
    text = studio.export("svg", [x - 4, y - 4, 8, 8]).decode()
    assert 'id="base-37"' in text
    assert text != studio.export("svg").decode()
    with pytest.raises(ValueError, match="its width and height are above 0"):
        studio.export("svg", [0, 0, -1, 5])


def test_what_was_set_goes_with_what_is_asked_for():
    """Messages may overtake settings of the page."""
    studio, sent = FoldingStudio(HAIRPIN), []
    studio.send = lambda content, buffers=None: sent.append(buffers)
    studio._handle_custom_msg(
        {"do": "export", "kind": "svg", "state": {"panel": "map", "color_by": "elements"}}, []
    )
    assert studio.panel == "map" and b"pairing probability" in sent[0][0]
    studio._handle_custom_msg({"do": "fold", "state": {"text": TRNA}}, [])
    studio._thread.join(60)
    assert studio.structure.sequence == TRNA
    studio._handle_custom_msg({"do": "clear", "state": {"names": ["x"]}}, [])
    assert studio.names == ["sequence"] and studio.message["wrong"]


def test_pasted_text_is_read_with_what_people_paste():
    assert pasted("\ufeff>a b\r\n1 acgu 4\r\n") == [("a", "acgu")]
    assert pasted("./x.fa") == [("sequence", "./x.fa")]
