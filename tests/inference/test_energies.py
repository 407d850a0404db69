"""Folds with energy models, maximum expected accuracy, and chemical probing."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.extras import usable
from rinalmo_kit.cli import main
from rinalmo_kit.inference import bulk, decoding, energies
from rinalmo_kit.inference.confidence import expected_f1
from rinalmo_kit.inference.energies import energy_probabilities
from rinalmo_kit.inference.folding import pair_probabilities
from rinalmo_kit.inference.probing import as_reactivity, pseudo_energies, read_reactivity
from rinalmo_kit.model.metadata import read_metadata
from rinalmo_kit.rna.decoding import greedy_pairs
from rinalmo_kit.rna.mea import allowed
from rinalmo_kit.rna.rules import Decoding

TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"


@pytest.fixture
def model():
    """nano-ss with rules of its own."""
    found = rk.load("nano-ss", device="cpu")
    rules = Decoding("mea", energy="viennarna", gamma_alone=4.0, calibration_alone=((0.0, 0.0), (1.0, 0.9)))
    found.info = replace(found.info, decoding=rules)
    return found


@pytest.fixture
def no_viennarna(monkeypatch):
    def absent(energy):
        raise ImportError("ViennaRNA is not installed: pip install 'rinalmo-kit[baselines]'")

    monkeypatch.setattr(energies, "energy_module", absent)
    monkeypatch.setattr(decoding, "energy_module", absent)
    decoding._told_missing.cache_clear()


def test_official_decoding_is_the_default_of_a_model_without_rules(model):
    model.info = replace(model.info, decoding=None)
    s = rk.fold(TRNA, model=model)
    assert s.energy is None and s.method == f"nano-ss: greedy, pairs above {model.threshold:g}"
    np.testing.assert_array_equal(s.pairs, rk.fold(TRNA, model=model, decoding="greedy").pairs)


def test_the_default_fold_is_the_mixture():
    pytest.importorskip("RNA")
    model = rk.load("nano-ss", device="cpu")
    s = rk.fold(TRNA)
    assert s.energy == "viennarna" and s.method.startswith("nano-ss and ViennaRNA: maximum expected accuracy")
    p, v = pair_probabilities(TRNA, model=model), energy_probabilities(TRNA, "viennarna")
    own, _ = greedy_pairs(p, TRNA, threshold=0.0)
    mixed = model.info.decoding.mixer.mix(allowed(p, TRNA), v, expected=expected_f1(p, own))
    np.testing.assert_allclose(s.probabilities, mixed, atol=1e-5)
    assert s.base_confidence.shape == (76,) and 0 < s.confidence < 1
    alone = rk.fold(TRNA, energy=None)
    assert alone.energy is None and alone.method.startswith("nano-ss: maximum")
    np.testing.assert_allclose(alone.probabilities, p, atol=1e-6)


def test_the_mixture_is_what_it_says(model):
    pytest.importorskip("RNA")
    s = rk.fold(TRNA, model=model)
    p, v = pair_probabilities(TRNA, model=model), energy_probabilities(TRNA, "viennarna")
    share = int(s.method.partition("%")[0]) / 100
    assert 0.5 <= share <= 0.8 and s.energy == "viennarna" and "ViennaRNA: maximum" in s.method
    np.testing.assert_allclose(s.probabilities, share * allowed(p, TRNA) + (1 - share) * v, atol=0.006)
    alone = rk.fold(TRNA, model=model, energy=None)
    assert alone.energy is None
    np.testing.assert_allclose(alone.probabilities, p, atol=1e-6)


def test_without_viennarna_it_is_said_once_and_the_model_folds_alone(model, no_viennarna):
    with pytest.warns(UserWarning, match=r"ViennaRNA is not installed.*Folds are the model's alone"):
        s = rk.fold(TRNA, model=model)
    assert s.energy is None and "γ = 4" in s.method and s.confidence is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rk.fold(TRNA, model=model)  # said once
        rk.fold(TRNA, model="nano-ss")  # needs none
    with pytest.raises(ImportError, match="ViennaRNA is not installed"):
        rk.fold(TRNA, model=model, energy="viennarna")


def test_a_failure_of_the_energy_model_costs_the_energies_alone(model, monkeypatch):
    pytest.importorskip("RNA")

    def broken(*_):
        raise OSError("out of order")

    monkeypatch.setattr(energies, "_ensemble", broken)
    with pytest.warns(
        UserWarning, match=r"failed on 'sequence': OSError: out of order: it is folded by the model"
    ):
        assert rk.fold(TRNA, model=model).energy is None
    with pytest.raises(RuntimeError, match="failed on 'sequence'"):
        rk.fold(TRNA, model=model, energy="viennarna")


def test_long_ones_go_to_linearpartition_or_the_model_alone(model, monkeypatch):
    pytest.importorskip("RNA")
    monkeypatch.setattr(decoding, "LONGEST", 50)
    if usable("linearpartition"):
        assert rk.fold(TRNA, model=model).energy == "linearpartition"
    real = energies.energy_module

    def absent(energy):
        if energy == "linearpartition":
            raise ImportError("LinearPartition is not installed")
        return real(energy)

    monkeypatch.setattr(energies, "energy_module", absent)
    with pytest.warns(
        UserWarning, match="'sequence' is too long for ViennaRNA: it is folded by the model alone"
    ):
        assert rk.fold(TRNA, model=model).energy is None


def test_a_threshold_means_greedy(model):
    s = rk.fold(TRNA, model=model, threshold=0.3)
    assert "greedy, pairs above 0.3" in s.method and s.energy is None


def test_refold_keeps_the_probabilities_and_honours_constraints(model):
    pytest.importorskip("RNA")
    s = rk.fold(TRNA, model=model)
    again = rk.refold(s, model=model)
    assert again == s and again.method == s.method and again.energy == s.energy
    i, j = s.pairs[0]
    other = rk.refold(s, model=model, forbid=[(i, j)], unpaired=[int(s.pairs[1][0])])
    assert [i, j] not in other.pairs.tolist() and s.pairs[1][0] not in other.pairs
    assert "no pseudoknots" in rk.refold(s, model=model, pseudoknots="none").method
    with pytest.raises(ValueError, match=r"'sequence': pair 1-72 is both forced and forbidden"):
        rk.refold(s, model=model, force=[(0, 71)], forbid=[(0, 71)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoding": "best"}, "decoding='best': expected one of greedy, mea"),
        ({"energy": "mfold"}, "energy='mfold': expected None or one of viennarna, linearpartition"),
        ({"gamma": -1}, "gamma=-1: expected a number above 0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"pseudoknots": "few"}, "pseudoknots='few'"),
        ({"reactivity": [1.0]}, "'sequence': 1 reactivities for 76 nucleotides"),
        ({"reactivity": ["high"] * 76}, "expected one number a nucleotide"),
        ({"reactivity": [float("inf")] * 76}, "the reactivity of nucleotide 1 is infinite"),
    ],
)
def test_rules_that_cannot_be_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        rk.fold(TRNA, **options)


@pytest.mark.parametrize("energy", [None, "viennarna", "linearpartition"])
def test_reactive_nucleotides_pair_less(model, energy):
    if energy is not None:
        pytest.importorskip({"viennarna": "RNA"}.get(energy, energy))
    plain = rk.fold(TRNA, model=model, energy=energy)
    stem = plain.pairs[:4, 0]
    reactivity = np.full(len(TRNA), np.nan)
    reactivity[stem] = 3.0
    shifted = rk.fold(TRNA, model=model, energy=energy, reactivity=reactivity)
    assert shifted.probabilities[stem].sum() < 0.3 * plain.probabilities[stem].sum()
    assert "reactivities" in shifted.method
    nothing = rk.fold(TRNA, model=model, energy=energy, reactivity=np.full(len(TRNA), np.nan))
    np.testing.assert_allclose(nothing.probabilities, plain.probabilities, atol=1e-4)


def test_reactivities_of_several():
    records = {"a": TRNA, "b": "GGGGAAAACCCC"}
    given = {"b": [0.0] * 12, "a": np.full(76, np.nan)}
    by_name = rk.fold(records, reactivity=given)
    in_order = rk.fold(records, reactivity=[given["a"], given["b"]])
    assert [s.dot_bracket for s in by_name] == [s.dot_bracket for s in in_order]
    with pytest.raises(ValueError, match="'b' has no entry among the reactivities"):
        rk.fold(records, reactivity={"a": given["a"]})
    with pytest.raises(ValueError, match="1 arrays of reactivities for 2 sequences"):
        rk.fold(records, reactivity=[given["a"]])


def test_pseudo_energies_are_those_of_deigan():
    r = np.array([-1.0, 0.0, 0.5, 2.0, np.nan])
    np.testing.assert_allclose(
        pseudo_energies(r), [-0.8, -0.8, 2.6 * np.log(1.5) - 0.8, 2.6 * np.log(3) - 0.8, 0]
    )


def test_a_file_of_reactivities(tmp_path):
    file = tmp_path / "x.shape"
    file.write_text("1 0.5\n2\t-999\n# more\n4, 1.5\n5 nan\n")
    assert read_reactivity(file) == {0: 0.5, 3: 1.5}
    assert as_reactivity(read_reactivity(file), 5).tolist()[3] == 1.5
    with pytest.raises(
        ValueError, match="'x' has 3 nucleotides: position 4 of the reactivities lies outside"
    ):
        as_reactivity(read_reactivity(file), 3, name="x")
    for text, line in (("1 a\n", 1), ("1 0.5\n1 0.6\n", 2), ("0 1\n", 1), ("x\n", 1)):
        file.write_text(text)
        with pytest.raises(ValueError, match=rf"x\.shape, line {line}: expected"):
            read_reactivity(file)


def test_the_shell_has_the_rules(tmp_path):
    fasta, out, shape = tmp_path / "a.fa", tmp_path / "a.json", tmp_path / "a.shape"
    fasta.write_text(f">a\n{TRNA}\n")
    shape.write_text("".join(f"{i} 0.2\n" for i in range(1, 20)))
    options = ["--decoding", "mea", "--energy", "none", "--gamma", "2", "--pseudoknots", "none"]
    assert main(["fold", str(fasta), "-o", str(out), "-q", *options, "--reactivity", str(shape)]) == 0
    [line] = out.read_text().splitlines()
    method = "nano-ss, reactivities: maximum expected accuracy, γ = 2, no pseudoknots"
    assert json.loads(line)["method"] == method == rk.read_structures(out)[0].method
    assert main(["fold", str(fasta), "--gamma", "0"]) == 2
    fasta.write_text(f">a\n{TRNA}\n>b\nACGU\n")
    assert main(["fold", str(fasta), "-q", "--reactivity", str(shape)]) == 2


def test_a_job_knows_its_rules(tmp_path):
    fasta = tmp_path / "a.fa"
    fasta.write_text(f">a\n{TRNA}\n")
    bulk.run("fold", fasta, tmp_path / "out", decoding="mea", energy=None, gamma=2.0)
    with pytest.raises(ValueError, match="gamma"):
        bulk.run("fold", fasta, tmp_path / "out", decoding="mea", energy=None, gamma=3.0)


def test_rules_live_in_the_file_of_a_model(model, tmp_path):
    path = rk.save(model, tmp_path / "m.safetensors")
    assert rk.load(path, device="cpu").info.decoding == model.info.decoding
    own = rk.load("nano-ss", device="cpu").info.decoding
    assert own.method == "mea" and own.energy == "viennarna" and own.mixer is not None


@pytest.mark.parametrize(
    "rules",
    [
        {"method": "best"},
        {"method": []},
        {"energy": "os.system"},
        {"energy": {}},
        {"gamma": 0},
        {"gamma": "3"},
        {"gamma": True},
        {"gamma": 1e300},
        {"weights": [0.5]},
        {"weights": [0.5, 2]},
        {"weights": "ab"},
        {"between": [0.6, 0.3]},
        {"calibration": [[0.5, 0.2], [0.4, 0.3]]},
        {"calibration": [[0.1, 0.2]] * 1001},
        {"calibration": {"a": 1}},
        {"pseudoknots": None},
        {"colour": "red"},
    ],
)
def test_nonsense_in_a_file_is_rejected_by_name(rules):
    with pytest.raises(ValueError, match=r"m\.safetensors: decoding: "):
        read_metadata(json.dumps({"decoding": rules}), "m.safetensors")


@pytest.mark.parametrize(
    "sequence",
    ["G" * 98 + "AAAA" + "C" * 98, "C" * 98 + "AAAA" + "G" * 98, "A" * 200, "GGCC" * 50, "GCAUUCGGAUGC" * 16],
)
def test_ensembles_that_are_not_rescaled_are_those_that_are(sequence: str, monkeypatch: pytest.MonkeyPatch):
    from rinalmo_kit.inference import ensembles

    package = pytest.importorskip("RNA")
    assert len(sequence) <= ensembles.SHORT
    plain = {pair[:2]: pair[2] for pair in ensembles.rows_of(package, "viennarna", sequence)}
    monkeypatch.setattr(ensembles, "SHORT", 0)
    rescaled = {pair[:2]: pair[2] for pair in ensembles.rows_of(package, "viennarna", sequence)}
    for pair in plain.keys() | rescaled.keys():
        assert abs(plain.get(pair, 0) - rescaled.get(pair, 0)) < 2e-4, pair
