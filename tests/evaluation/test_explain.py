"""What a model sees: masked letters, mutations, attention beside pairs."""

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.evaluation.interpretation import (
    attention_of_pairs,
    average_product_corrected,
    masked_probabilities,
    mutation_effects,
)
from rinalmo_kit.rna.alphabet import MASK
from tests.helpers.examples import tiny

HAIRPIN = rk.Structure.from_dot_bracket("GGGGCAAAAGCCCC", "(((((....)))))")


def test_masked_probabilities_are_those_of_one_mask_at_a_time():
    model = rk.load("nano", device="cpu")
    found = masked_probabilities(HAIRPIN.sequence, model=model)
    assert found.shape == (14, 4) and np.allclose(found.sum(1), 1, atol=1e-5)
    letters = rk.tokenize(["ACGU"])[0, 1:-1]
    for place in (0, 6, 13):
        tokens = rk.tokenize([HAIRPIN.sequence])
        tokens[0, place + 1] = MASK
        with torch.inference_mode():
            logits = model(tokens).logits[0, place + 1, letters]
        assert np.allclose(found[place], logits.softmax(-1), atol=1e-5)


def test_masked_probabilities_of_a_long_sequence_come_in_batches():
    text = "ACGU" * 60
    one = masked_probabilities(text, model=tiny().eval())
    assert one.shape == (240, 4) and np.isfinite(one).all()


def test_masked_probabilities_name_a_bad_letter():
    with pytest.raises(ValueError, match="position 3"):
        masked_probabilities("ACXU")


def test_mutation_effects_are_differences_to_the_sequence():
    effects = mutation_effects("gat", lambda sequences: [s.count("G") - 2 * s.count("U") for s in sequences])
    assert effects.tolist() == [[-1, -1, 0, -3], [0, 0, 1, -2], [2, 2, 3, 0]]
    with pytest.raises(ValueError, match="position 2 is 'N'"):
        mutation_effects("ANG", len)
    with pytest.raises(ValueError, match="score gave"):
        mutation_effects("AG", lambda sequences: [1.0])


def test_correction_leaves_nothing_of_what_rows_and_columns_have_in_common():
    row = torch.rand(5) + 0.1
    assert average_product_corrected(torch.outer(row, row)).abs().max() < 1e-6
    pair = torch.outer(row, row)
    pair[1, 4] += 1
    corrected = average_product_corrected(pair)
    assert corrected.argmax() in (1 * 5 + 4, 4 * 5 + 1) and torch.allclose(corrected, corrected.T)


def test_attention_on_the_partners_is_found():
    model = tiny().eval()
    maps, scores = attention_of_pairs(HAIRPIN, model=model)
    assert maps.shape == (2, 4, 14, 14) and scores.shape == (2, 4)
    assert np.all((scores > 0) & (scores <= 1))
    with torch.inference_mode():
        whole = model(rk.tokenize([HAIRPIN.sequence]), attentions=True).attentions[0]
    assert np.allclose(maps, whole[..., 1:-1, 1:-1], atol=1e-6)


def test_attention_needs_pairs():
    with pytest.raises(ValueError, match="'bare' has no pairs"):
        attention_of_pairs(rk.Structure("ACGUACGU", [], "bare"))
