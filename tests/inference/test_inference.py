"""fold, embed and check: what a user gives and gets."""

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference import folding
from rinalmo_kit.inference.batching import batches_by_length
from rinalmo_kit.inference.folding import fold_each, pair_probabilities, refold
from rinalmo_kit.rna import decoding

TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"


def test_fold_gives_a_consistent_structure():
    s = rk.fold(TRNA)
    assert isinstance(s, rk.Structure) and s.sequence == TRNA
    p = s.probabilities
    assert p.shape == (76, 76) and p.dtype == np.float32
    assert np.array_equal(p, p.T) and p.min() >= 0 and p.max() <= 1 and not p.diagonal().any()
    paper = rk.fold(TRNA, decoding="greedy")
    threshold = rk.load("nano-ss").threshold
    assert np.array_equal(paper.pairs, decoding.decode(paper.probabilities, TRNA, threshold=threshold))


def test_a_real_trna_folds_into_its_cloverleaf():
    known = rk.datasets.load_structures("examples")[0]
    assert rk.metrics.structure_scores(known, rk.fold(known.sequence)).f1 > 0.8


def test_case_t_and_white_space_do_not_matter():
    expected = rk.fold(TRNA)
    for text in (
        TRNA.lower(),
        TRNA.replace("U", "T"),
        f"  {TRNA[:30]}\r\n{TRNA[30:]} \n",
        f">x y\n{TRNA[:9]}\n{TRNA[9:]}",
    ):
        assert rk.fold(text) == expected


def test_shapes_of_input_and_output(tmp_path):
    a, b = "GGGGAAAACCCC", "GCGCUUUUGCGC"
    fasta = tmp_path / "x.fasta"
    fasta.write_text(f">a\n{a}\n>b\n{b}\n")
    one = rk.fold(a)
    for source in ([a, b], {"a": a, "b": b}, fasta, str(fasta), fasta.read_text()):
        structures = rk.fold(source)
        assert [s.sequence for s in structures] == [a, b] and structures[0] == one
    assert [s.name for s in rk.fold(fasta)] == ["a", "b"]
    assert rk.fold([a])[0] == one and rk.fold([]) == []
    assert rk.fold(f">a\n{a}").name == "a"


def test_errors_name_the_record_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(folding, "encode_sequences", None)  # calling it would fail differently
    with pytest.raises(ValueError, match="'b', position 3: 'X' is not a nucleotide"):
        rk.fold({"a": "ACGU", "b": "ACXU"})
    with pytest.raises(ValueError, match="'b' is empty"):
        rk.fold({"a": "ACGU", "b": " \n"})
    with pytest.raises(ValueError, match="'sequence 2', position 1: '1'"):
        rk.embed(["ACGU", "1"])


def test_one_and_two_nucleotides():
    assert [s.dot_bracket for s in rk.fold(["A", "GC"])] == [".", ".."]
    assert rk.embed(["A"])[0].shape == (1, 320)


def test_notices():
    with pytest.warns(UserWarning, match="'sequence', position 5: a gap is kept"):
        rk.fold("GGGG-AAAACCCC")
    with pytest.warns(UserWarning, match="has 1023 nucleotides; the models were trained on at most 1022"):
        rk.embed("ACG" * 341, pool="cls")


def test_fold_needs_a_structure_head():
    with pytest.raises(ValueError, match="nano cannot fold: it has no task head"):
        rk.fold("ACGU", model="nano")


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        rk.embed("ACGU", model=rk.load("nano").train())


def test_refold_does_not_run_the_model(monkeypatch):
    s = rk.fold(TRNA)
    monkeypatch.setattr(folding, "encode_sequences", None)
    assert len(refold(s, threshold=0.999999).pairs) <= len(s.pairs)
    assert refold(s, model=rk.load("nano-ss")) == s
    with pytest.raises(ValueError, match="no probabilities"):
        refold(rk.Structure("ACGU", []), threshold=0.5)


def test_embed_rows_are_nucleotides_and_pools_agree():
    texts = [TRNA, "ACGU", TRNA[:40], "ACGU"]
    rows = rk.embed(texts)
    assert [r.shape for r in rows] == [(len(t), 320) for t in texts]
    assert np.allclose(rk.embed(texts, pool="mean"), [r.mean(axis=0) for r in rows], atol=1e-5)
    assert np.array_equal(rows[1], rows[3])
    model = rk.load("nano-ss", device="cpu")
    with torch.inference_mode():
        full = model(rk.tokenize([TRNA])).representation[0].numpy()
    assert np.allclose(rows[0], full[1:-1], atol=1e-4)
    assert np.allclose(rk.embed(texts, pool="cls")[0], full[0], atol=1e-4)


def test_an_embedding_does_not_depend_on_its_batch():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGU"), n)) for n in rng.integers(20, 300, 30)]
    together = rk.embed(texts)
    for text, rows in list(zip(texts, together, strict=True))[::7]:
        assert np.abs(rk.embed([text])[0] - rows).max() < 1e-4


def test_embed_nothing():
    assert rk.embed([]) == []
    assert rk.embed([], pool="cls").shape == (0, 320)
    with pytest.raises(ValueError, match="pool='median'"):
        rk.embed("ACGU", pool="median")


def test_batches_hold_every_index_once_within_the_budget():
    lengths = np.random.default_rng(1).integers(1, 900, 200).tolist()
    batches = list(batches_by_length(lengths, budget=1000))
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    assert all(sum(lengths[i] + 2 for i in batch) <= 1000 for batch in batches)


def test_fold_each_is_lazy():
    def records():
        yield "a", "GGGGAAAACCCC"
        raise RuntimeError("the second record was not needed")

    assert next(fold_each(records())).name == "a"


def test_probabilities_of_a_long_sequence_are_finite():
    rng = np.random.default_rng(2)
    p = pair_probabilities("".join(rng.choice(list("ACGU"), 600)))
    assert np.isfinite(p).all() and p.shape == (600, 600)


def test_every_backend_folds_alike():
    model = rk.load("nano-ss", device="cpu")
    found = []
    for model.attention in ("loop", "padded"):
        found.append(rk.fold(TRNA, model=model).probabilities)
    assert np.abs(found[0] - found[1]).max() < 1e-4


def test_check_recomputes_the_reference(monkeypatch, tmp_path):
    report = rk.check()
    assert report.ok and "as expected" in report.facts["reference, loop"]
    assert report.facts["rinalmo-kit"] == rk.__version__ and rk.__version__ in report.details
    assert repr(report).startswith("ready: folds on the ") and "\n" not in repr(report)
    from rinalmo_kit import checks

    broken = checks.REFERENCE.read_text().replace("(", ".", 1)
    (tmp_path / "r.json").write_text(broken)
    monkeypatch.setattr(checks, "REFERENCE", tmp_path / "r.json")
    assert not rk.check().ok and "WRONG" in repr(rk.check())


def test_predict_names_the_family_by_default():
    known = rk.datasets.load_structures("examples")
    names = {"tRNA": "RF00005", "5S-rRNA": "RF00001", "FMN-riboswitch": "RF00050"}
    ask = {s.name: s.sequence for s in known if s.name.split("/")[0] in names}
    table = rk.predict(ask)
    wanted = [names[name.split("/")[0]] for name in table["name"]]
    assert (table["label"] == wanted).mean() > 0.9 and len(table) > 15


def test_a_model_runs_without_inference_mode_after_it_embedded():
    """Buffers that are used again were made in inference mode, where no_grad cannot write to them."""
    model = rk.load("nano", device="cpu")
    [rows] = rk.embed("ACGUACGU", model=model)
    with torch.no_grad():
        representation = model(rk.tokenize("ACGUACGU")).representation
    np.testing.assert_allclose(representation[0, 1:-1], rows, atol=1e-5)


def test_an_rna_that_memory_does_not_suffice_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(folding, "encode_sequences", full)
    with pytest.raises(MemoryError, match="'long' has 4 nucleotides, too many for the memory of cpu"):
        list(fold_each([("long", "ACGU")]))


def test_a_list_is_folded_in_batches_and_gives_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rnas = {f"r{i}": "".join(rng.choice(list("ACGU"), n)) for i, n in enumerate(rng.integers(1, 150, 40))}
    alone = [rk.fold(sequence) for sequence in rnas.values()]
    real, batches = folding.encode_sequences, []

    def counted(model: object, texts: list[str]) -> list[torch.Tensor]:
        batches.append(len(texts))
        return real(model, texts)

    monkeypatch.setattr(folding, "encode_sequences", counted)
    for together in (rk.fold(rnas), list(fold_each(rnas.items()))):
        assert [s.name for s in together] == list(rnas)
        assert together == alone
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
        assert len(batches) < len(rnas) / 3
        batches.clear()


def test_what_was_folded_before_an_error_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def records():
        yield from {"a": "ACGU", "b": "GGGGAAAACCCC", "c": "GGAAAACC", "d": "AC"}.items()
        raise RuntimeError("the file ends here")

    found = []
    with pytest.raises(RuntimeError, match="the file ends here"):
        for structure in fold_each(records()):
            found.append(structure.name)
    assert found == list("abcd")
    real = folding.structure_or_error

    def stopped(model: object, record: tuple[str, str], *rest: object) -> object:
        if record[0] == "b":
            raise KeyboardInterrupt
        return real(model, record, *rest)

    monkeypatch.setattr(folding, "structure_or_error", stopped)
    found = []
    with pytest.raises(KeyboardInterrupt):
        for structure in fold_each(records()):
            found.append(structure.name)
    assert found == ["a"]


def test_a_chunk_ends_before_it_holds_too_many_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "CHUNK_VALUES", 100)
    records = [("", "A" * length) for length in (9, 4, 9, 9, 30, 30, 2)]
    chunks = folding._growing_chunks(records, tokens=1000)
    assert [[len(sequence) for _, sequence in chunk] for chunk in chunks] == [[9], [4, 9], [9, 30], [30], [2]]
