"""The names of ``rinalmo_kit``: a short front row; names that were there before keep working, with a warning."""

import warnings

import pytest

import rinalmo_kit as rk

# what __all__ held in version 0.1.0, and names that users took from its namespaces
BEFORE = (
    "VOCABULARY Config ModelOutput RiNALMo Structure adapt baselines check confidence corpus datasets embed estimate "
    "evaluate evaluation explain finetune fold formats hub jobs leaks load maps metrics models plan plot predict "
    "pretrain programs read_structures recipes refold save splits structure tokenize tokens widgets write_structures"
).split()
INSIDE = {
    "baselines": "BASELINES installed kmer_counts simple trivial most_pairs viennarna ngram_perplexity",
    "confidence": "calibrate promised_f1",
    "corpus": "build_corpus Corpus ListCorpus",
    "formats": "read_structures write_structures format_structure FORMATS",
    "hub": "load save EMBEDDED OFFICIAL",
    "jobs": "run Report",
    "leaks": "LeakWarning find exact_duplicates",
    "maps": "tsne_map Map embedding_scores",
    "programs": "fold_by PROGRAMS on_path",
    "splits": "splits_of Splits Example read_table",
    "tokens": "tokenize VOCABULARY read_sequences read_fasta clean",
}
FRONT = set(rk.__all__)


def test_the_front_row_is_short():
    assert len(FRONT) <= 22 and FRONT <= {*BEFORE}


@pytest.mark.parametrize("name", BEFORE)
def test_a_name_of_before_resolves(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert getattr(rk, name) is not None
    told = [
        str(w.message)
        for w in caught
        if issubclass(w.category, DeprecationWarning) and "rinalmo_kit." in str(w.message)
    ]
    if name in FRONT or name == "structure":  # the module of the class is still there
        assert not told
    else:
        assert f"rinalmo_kit.{name} is now rinalmo_kit." in told[0]


@pytest.mark.parametrize("namespace", INSIDE)
def test_what_was_in_a_namespace_is_still_found_in_it(namespace):
    with pytest.warns(DeprecationWarning):
        place = getattr(rk, namespace)
    for name in INSIDE[namespace].split():
        assert hasattr(place, name), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        place.nonsense  # noqa: B018


def test_explain_is_a_namespace_of_the_front():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("masked_probabilities", "mutation_effects", "attention_of_pairs", "variant_scores"):
            assert hasattr(rk.explain, name), name


def test_a_name_that_never_was_is_none():
    with pytest.raises(AttributeError, match="no attribute 'foldd'"):
        rk.foldd  # noqa: B018
    assert "fold" in dir(rk)


@pytest.mark.parametrize("name", ["inference", "model", "training", "cli"])
def test_sub_packages_are_attributes(name):
    assert getattr(rk, name).__name__ == f"rinalmo_kit.{name}"
