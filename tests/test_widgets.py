"""The folding form without a browser; tests/test_lab.py drives it in a real JupyterLab."""

import pytest

import rinalmo_kit as rk
from rinalmo_kit import inference

TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"


def test_fold_shows_the_structure():
    form = rk.widgets.FoldForm(TRNA)
    assert form.structure is None
    form.button.click()
    assert form.structure == rk.fold(TRNA)
    assert form.structure.dot_bracket in form.view.value and "<svg" in form.view.value
    assert not form.button.disabled


def test_a_second_sequence_without_a_name_replaces_the_first():
    form = rk.widgets.FoldForm(TRNA)
    form.fold()
    form.text.value = "GGGGGGAAAACCCCCC"
    form.fold()
    assert form.structure.sequence == "GGGGGGAAAACCCCCC" and TRNA not in form.view.value


def test_the_slider_decodes_without_running_the_model(monkeypatch):
    form = rk.widgets.FoldForm(TRNA)
    form.fold()
    pairs = len(form.structure.pairs)
    monkeypatch.setattr(inference, "pair_logits", None)
    form.threshold.value = 0.99
    assert len(form.structure.pairs) < pairs
    assert form.structure.dot_bracket in form.view.value
    form.threshold.value = 0.01
    assert len(form.structure.pairs) >= pairs


def test_the_view_says_how_far_the_fold_can_be_trusted():
    form = rk.widgets.FoldForm(TRNA)
    form.fold()
    first = form.structure.confidence
    assert 0 < first < 1 and f"Expected F1 {first:.2f}" in form.view.value
    form.threshold.value = 0.99
    assert form.structure.confidence < first, "few pairs: most of the structure is missing"
    assert f"Expected F1 {form.structure.confidence:.2f}" in form.view.value


def test_several_records_get_a_menu():
    form = rk.widgets.FoldForm(f">a\n{TRNA}\n>b\nGGGGAAAACCCC\n")
    form.fold()
    assert form.record.layout.display is None and form.structure.name == "a"
    form.record.value = 1
    assert form.structure.sequence == "GGGGAAAACCCC"
    form.text.value = TRNA
    form.fold()
    assert form.record.layout.display == "none" and form.structure.sequence == TRNA


@pytest.mark.parametrize(
    ("text", "message"),
    [("ACGXU", "position 4: &#x27;X&#x27;"), ("", "is empty"), (">a\n>b\nACGU", "&#x27;a&#x27; is empty")],
)
def test_bad_input_is_said_and_the_old_picture_goes(text, message):
    form = rk.widgets.FoldForm(TRNA)
    form.fold()
    form.text.value = text
    form.fold()
    assert message in form.message.value
    assert form.structure is None and form.view.value == "" and not form.button.disabled


def test_nothing_from_a_header_is_live():
    form = rk.widgets.FoldForm(">x<script>window.hacked=1</script><img/src=x/onerror=alert(1)>\nGGGGAAAACCCC")
    form.fold()
    shown = form.view.value + form.message.value
    assert "<script" not in shown and "<img" not in shown and "&lt;script&gt;" in shown
    form.text.value = ">x\nAC<b>GU"
    form.fold()
    assert "<b>" not in form.message.value


def test_form_needs_a_structure_model():
    with pytest.raises(ValueError, match="pico cannot fold"):
        rk.widgets.FoldForm(model="pico")
