"""The widgets without a browser; tests/test_lab.py drives them in a real JupyterLab."""

from __future__ import annotations

import ast
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.inference import decoding, folding
from rinalmo_kit.model.config import Config
from rinalmo_kit.rna import formats
from rinalmo_kit.rna.rules import Decoding
from rinalmo_kit.widgets import EmbeddingExplorer, FoldingStudio, TrainingMonitor
from rinalmo_kit.widgets.folding_studio import FORMATS, SCRIPTS
from rinalmo_kit.widgets.payload import candidates

TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"
HOSTILE = "x<script>window.hacked=1</script><img/src=x/onerror=alert(1)>"


# Folding studio -----------------------------------------------------------------------------------------


def test_a_sequence_is_folded_at_once():
    studio = FoldingStudio(TRNA)
    assert studio.structure == rk.fold(TRNA)
    assert studio.view["dot_bracket"] == studio.structure.dot_bracket and not studio.busy
    assert studio.view["confidence"] == round(studio.structure.confidence, 3)
    assert len(studio.view["x"]) == len(studio.view["base_confidence"]) == len(TRNA)


def test_an_empty_studio_waits():
    studio = FoldingStudio()
    assert studio.structure is None and studio.view == {}
    studio.fold()
    assert studio.message["wrong"] and "there is no sequence yet" in studio.message["text"]


def test_settings_decode_without_running_the_model(monkeypatch):
    studio = FoldingStudio(TRNA)
    loose = rk.fold(TRNA, threshold=0.01, canonical_only=False, min_loop=1)
    pairs, seen = len(studio.structure.pairs), []
    studio.observe(lambda change: seen.append(change["new"].dot_bracket), "structure")
    monkeypatch.setattr(folding, "encode_sequences", None)
    studio.threshold = 0.99
    assert len(studio.structure.pairs) < pairs and seen == [studio.structure.dot_bracket]
    studio.threshold = 0.01
    assert len(studio.structure.pairs) >= pairs
    studio.canonical_only, studio.min_loop = False, 1
    assert studio.structure == loose


def test_forced_and_forbidden_pairs():
    studio = FoldingStudio("GGGGAAAACCCC")
    assert studio.structure.dot_bracket == "((((....))))"
    studio.force(1, 10)
    studio.forbid(0, 11)
    assert (1, 10) in map(tuple, studio.structure.pairs) and (0, 11) not in map(tuple, studio.structure.pairs)
    with pytest.raises(ValueError, match="2 is in the forced pair 2-11"):
        studio.force(1, 9)
    assert studio.forced == [[1, 10]]
    studio.force(0, 11)  # no longer forbidden
    assert studio.forbidden == [] and (0, 11) in map(tuple, studio.structure.pairs)
    studio.clear()
    assert studio.structure.dot_bracket == "((((....))))"
    studio._on_message(None, {"do": "force", "pair": [0, 99]}, [])
    assert "1-100 lies outside the sequence of 12" in studio.message["text"]


def test_the_code_gives_the_same_structure():
    studio = FoldingStudio(TRNA)
    studio.threshold = 0.3
    studio.force(1, 64)
    studio.forbid(*map(int, studio.structure.pairs[-1]))
    names = {}
    *first, last = ast.parse(studio.code()).body
    exec(compile(ast.Module(first, []), "code", "exec"), names)
    again = eval(compile(ast.Expression(last.value), "code", "eval"), names)
    assert again.dot_bracket == studio.structure.dot_bracket


def test_comparison_with_a_reference_is_live():
    reference = "(((((((..((((........)))).(((((.......))))).....(((((.......))))))))))))...."
    studio = FoldingStudio(TRNA, reference=reference)
    shown = studio.view["compared"]["reference"]
    known = rk.Structure.from_dot_bracket(TRNA, reference)
    assert shown["f1"] == round(rk.metrics.structure_scores(known, studio.structure).f1, 3)
    studio.threshold = 0.99
    assert studio.view["compared"]["reference"]["f1"] < shown["f1"]
    studio.reference = "((..))"
    assert "6 positions" in studio.message["text"] and "reference" not in studio.view["compared"]
    studio.reference = ""
    assert studio.message == {}


def test_viennarna_stands_beside_it():
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    studio = FoldingStudio(TRNA)
    assert studio.view["compared"]["ViennaRNA"]["pairs"] == rk.evaluation.viennarna(TRNA).pairs.tolist()


def test_several_records_and_numbers_of_databases():
    studio = FoldingStudio(f">a first\n 1 {TRNA[:30].lower()} 60\n61 {TRNA[30:]}\n>b\nGGGGAAAACCCC\n")
    assert studio.names == ["a", "b"] and studio.structure.sequence == TRNA
    studio.force(0, 12)
    studio.record = 1
    assert studio.structure.name == "b" and studio.forced == [], "constraints are those of a record"
    studio.text = TRNA
    studio.fold()
    assert studio.names == ["sequence"] and studio.structure.sequence == TRNA


@pytest.mark.parametrize(
    ("text", "message"),
    [("ACGXU", "position 4: 'X'"), (">a\n>b\n", "there is no sequence yet"), ("./x.fa", "position 1: '.'")],
)
def test_bad_input_is_said_and_finished_work_stays(text, message):
    studio = FoldingStudio(TRNA)
    studio.text = text
    studio.fold()
    assert message in studio.message["text"] and studio.message["wrong"] and not studio.busy
    assert studio.structure.sequence == TRNA


def test_a_fold_can_be_cancelled(monkeypatch):
    studio = FoldingStudio("GGGGAAAACCCC")
    studio.text = "ACGU" * 400
    studio.start()
    assert studio.busy
    start = time.monotonic()
    studio.cancel()
    studio._thread.join(60)
    assert not studio.busy and studio.message == {"text": "Cancelled."}
    assert studio.structure.sequence == "GGGGAAAACCCC"
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("kind", FORMATS)
def test_files_to_export(kind, tmp_path):
    studio = FoldingStudio({"my/RNA": TRNA})
    data = studio.export(kind)
    path = tmp_path / f"file.{kind}"
    path.write_bytes(data)
    if kind not in ("svg", "pdf", "png"):
        [again] = rk.read_structures(path)
        assert again.sequence == TRNA and again.dot_bracket == studio.structure.dot_bracket
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}.get(kind, b"")
    assert data.startswith(start)
    sent = []
    studio.send = lambda content, buffers=None: sent.append((content, buffers))
    studio._on_message(None, {"do": "export", "kind": kind}, [])
    [(content, [buffer])] = sent
    assert content["file"] == f"my_RNA.{kind}" and content["type"] == FORMATS[kind] and len(buffer) > 50


def test_every_text_format_of_structures_is_offered():
    text = [form.name for form in formats.FORMATS.values() if form.render is not None]
    assert FoldingStudio().formats == [*dict.fromkeys(text), "svg", "pdf", "png"]


def test_unknown_files_are_rejected():
    studio = FoldingStudio(TRNA)
    studio._on_message(None, {"do": "export", "kind": "exe"}, [])
    assert studio.message["wrong"] and "'exe'" in studio.message["text"]
    with pytest.raises(ValueError, match="nothing is folded"):
        FoldingStudio().export("svg")


def test_without_a_kernel_there_is_a_picture_and_nothing_live():
    studio = FoldingStudio(f">{HOSTILE}\n{TRNA}")
    data, _ = studio._repr_mimebundle_()
    assert "<svg" in data["text/html"] and studio.structure.dot_bracket in data["text/html"]
    assert "<script" not in data["text/html"] and "<img" not in data["text/html"]
    assert studio.structure.dot_bracket in data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_fold_with_more_pseudoknots_than_brackets_is_drawn(plain):
    length = 40
    p = np.zeros((2 * length + 8, 2 * length + 8))
    for k in range(length):  # every pair crosses every other one
        p[k, k + length + 8] = p[k + length + 8, k] = 0.9
    knotted = rk.Structure(
        "G" * length + "A" * 8 + "C" * length, [(k, k + length + 8) for k in range(length)], "x", p
    )
    with pytest.raises(ValueError, match="needs more than 30 bracket levels"):
        knotted.dot_bracket  # noqa: B018
    studio = FoldingStudio(model=plain)
    studio.structures, studio.names = [knotted], ["x"]
    studio._decode()
    assert len(studio.structure.pairs) == length and len(studio.view["x"]) == 2 * length + 8
    assert studio.view["dot_bracket"].count(".") == 8 + 2 * (length - 30)
    assert "<svg" in studio._repr_mimebundle_()[0]["text/html"]
    studio._on_message(None, {"do": "export", "kind": "dbn"}, [])
    assert studio.message["wrong"] and "bracket levels" in studio.message["text"]
    assert studio.export("ct").count(b"\n") > 2 * length


def test_candidates_are_the_probable_pairs():
    s = rk.fold(TRNA)
    i, j, p = np.frombuffer(candidates(s), dtype="<i4").reshape(-1, 3).T
    assert (i < j).all() and (np.diff(p) <= 0).all() and p.min() >= 200
    assert np.allclose(s.probabilities[i, j], p / 10_000, atol=1e-4)
    assert {*map(tuple, s.pairs)} <= {*zip(i, j, strict=True)}


def test_studio_needs_a_structure_model():
    with pytest.raises(ValueError, match="nano cannot fold"):
        FoldingStudio(model="nano")


# Ways to fold -------------------------------------------------------------------------------------------

KNOT = "GGCGCAACUCCGCCAAGGAGUAGCGCAUGGAGGAGUUGCGGAA"


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """nano-ss in a file that says: maximum expected accuracy, with ViennaRNA."""
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    model = rk.load("nano-ss", device="cpu")
    rules = Decoding("mea", energy="viennarna", gamma=2.0, gamma_alone=3.0)
    model.info = replace(model.info, decoding=rules)
    return rk.load(rk.save(model, tmp_path_factory.mktemp("mixture") / "m.safetensors"), device="cpu")


@pytest.fixture
def plain():
    """nano-ss without rules of its own, as the official models are."""
    model = rk.load("nano-ss", device="cpu")
    model.info = replace(model.info, decoding=None)
    return model


def same(a, b):
    return a == b and a.method == b.method and np.allclose(a.probabilities, b.probabilities, atol=1e-6)


def test_methods_are_the_folds_that_they_name_and_run_no_model(mixture, monkeypatch):
    wanted = {
        "alone": rk.fold(TRNA, model=mixture, energy=None),
        "paper": rk.fold(TRNA, model=mixture, decoding="greedy"),
        "default": rk.fold(TRNA, model=mixture),
    }
    assert len({one.method for one in wanted.values()}) == 3
    studio = FoldingStudio(TRNA, model=mixture)
    assert studio.methods == ["default", "alone", "paper"] and same(studio.structure, wanted["default"])
    monkeypatch.setattr(folding, "encode_sequences", None)
    for method, fold in wanted.items():
        studio.method = method
        assert same(studio.structure, fold) and studio.view["method"] == fold.method
        assert studio.cells == candidates(fold)
    assert same(studio.structures[0], wanted["default"])


def test_other_rules_mix_again(mixture):
    studio = FoldingStudio(TRNA, model=mixture)
    studio.canonical_only, studio.min_loop = False, 2
    fold = rk.fold(TRNA, model=mixture, canonical_only=False, min_loop=2)
    assert same(studio.structure, fold) and studio.cells == candidates(fold)
    assert not np.allclose(fold.probabilities, studio.structures[0].probabilities, atol=1e-3)
    studio.canonical_only, studio.min_loop = True, 4
    assert same(studio.structure, studio.structures[0])


def test_gamma_and_pseudoknots(mixture):
    studio = FoldingStudio(TRNA, model=mixture)
    assert studio.view["gamma"] == 2.0 and studio.pseudoknots == "strong"
    pairs = studio.structure.pairs
    studio.gamma = 0.05
    assert len(studio.structure.pairs) < len(pairs) and "γ = 0.05" in studio.view["method"]
    studio.gamma = None
    np.testing.assert_array_equal(studio.structure.pairs, pairs)
    studio.method = "alone"
    assert studio.view["gamma"] == 3.0
    studio.pseudoknots = "none"
    assert same(studio.structure, rk.fold(TRNA, model=mixture, energy=None, pseudoknots="none"))
    studio.method = "paper"
    assert studio.view["gamma"] is None


def test_a_threshold_chooses_the_decoding_of_the_paper(mixture):
    studio = FoldingStudio(TRNA, model=mixture)
    studio.threshold = 0.9
    assert studio.method == "paper" and studio.structure == rk.fold(TRNA, model=mixture, threshold=0.9)


def test_without_rules_in_the_file_all_is_as_in_the_paper(plain):
    studio = FoldingStudio(TRNA, model=plain)
    assert studio.methods == ["paper"] and studio.view["gamma"] is None
    for method in ("default", "alone", "paper"):
        studio.method, studio.threshold = method, 0.3
        assert same(studio.structure, rk.fold(TRNA, model=plain, threshold=0.3))
        assert studio.method == method


def test_forced_pairs_that_cross_are_answered_where_pseudoknots_are_off(mixture):
    studio = FoldingStudio("GGGGAAAACCCCAAAAGGGG", model=mixture)
    studio.force(0, 9)
    studio.force(8, 18)
    assert {(0, 9), (8, 18)} <= {*map(tuple, studio.structure.pairs.tolist())}
    shown = studio.structure
    studio.pseudoknots = "none"
    assert "1-10 and 9-19 cross, and pseudoknots are switched off" in studio.message["text"]
    assert studio.structure is shown and run_code(studio) == shown
    studio.clear()
    assert studio.message == {}


def test_a_studio_says_that_the_energy_model_is_missing(mixture, monkeypatch):
    monkeypatch.setitem(sys.modules, "RNA", None)
    decoding._told_missing.cache_clear()
    studio = FoldingStudio("GGGGAAAACCCC", model=mixture)
    decoding._told_missing.cache_clear()
    assert "ViennaRNA is not installed" in studio.message["text"] and not studio.message.get("wrong")
    assert studio.view["method"].startswith("m.safetensors: maximum") and studio.view["gamma"] == 3.0


@pytest.mark.parametrize("method", ["default", "alone", "paper"])
@pytest.mark.parametrize(
    "rules",
    [{}, {"gamma": 0.7}, {"pseudoknots": "none"}, {"pseudoknots": "all", "gamma": 6.0, "min_loop": 2},
     {"canonical_only": False, "min_loop": 1}, {"threshold": 0.2}],
)  # fmt: skip
def test_the_code_gives_what_is_shown_for_every_setting(mixture, method, rules):
    studio = FoldingStudio(KNOT, model=mixture)
    for name, value in {**rules, "method": method}.items():
        setattr(studio, name, value)
    again = run_code(studio)
    assert same(again, studio.structure) and again.confidence == studio.structure.confidence
    studio.force(0, 20)
    studio.forbid(*map(int, studio.structure.pairs[-1]))
    assert same(run_code(studio), studio.structure)


def test_the_code_names_what_differs_from_the_model_alone(mixture):
    studio = FoldingStudio("GGGGAAAACCCC", model=mixture)
    call = studio.code().partition(f"model={mixture.source!r}")[2]
    assert call == ")"
    studio.method = "alone"
    assert studio.code().endswith(", energy=None)")
    studio.gamma, studio.pseudoknots = 2.5, "none"
    assert studio.code().endswith(", energy=None, gamma=2.5, pseudoknots='none')")
    studio.method = "paper"
    assert studio.code().endswith(f", threshold={studio.tuned!r})")


# Embedding explorer -------------------------------------------------------------------------------------


@pytest.fixture
def explorer():
    rnas = rk.datasets.load_structures("examples")
    table = pd.DataFrame({"name": [r.name for r in rnas], "sequence": [r.sequence for r in rnas]}).assign(
        family=lambda t: t["name"].str.split("/").str[0], length=lambda t: t["sequence"].str.len()
    )
    return EmbeddingExplorer(table)


def floats(raw):
    return np.frombuffer(raw, dtype="<f4")


def test_the_map_and_its_groups(explorer):
    assert len(floats(explorer.x)) == len(explorer.names) == 37 and explorer.can_place
    assert explorer.columns == ["family", "length"] and explorer.color == "family"
    labels = np.array(explorer.groups["labels"])[floats(explorer.codes).astype(int)]
    assert labels.tolist() == explorer.table["family"].tolist()
    explorer.color = "length"
    assert floats(explorer.codes).tolist() == explorer.table["length"].tolist()
    assert explorer.groups["low"] == explorer.table["length"].min()


def test_selection_is_a_table_and_is_observed(explorer):
    seen = []
    explorer.observe(lambda change: seen.append(len(change["new"])), "selection")
    explorer.select([3, 5])
    assert explorer.selection["name"].tolist() == [explorer.names[3], explorer.names[5]] and seen == [2]


def test_new_sequences_are_placed_near_their_like(explorer):
    x, old = floats(explorer.x).copy(), explorer.table["name"].iloc[0]
    new = explorer.place({"same again": explorer.table["sequence"].iloc[0], HOSTILE: "ACGU" * 20})
    assert (floats(explorer.x)[:37] == x).all(), "the map stays as it is"
    assert explorer.placed == [37, 38] and explorer.selection["name"].tolist() == ["same again", HOSTILE]
    places = explorer.table[["x", "y"]].to_numpy()
    assert explorer.table["name"].iloc[np.linalg.norm(places[:37] - places[37], axis=1).argmin()] == old
    assert len(new) == 2 and "(placed)" in explorer.groups["labels"]
    explorer._on_message(None, {"do": "place", "text": "ACGX"}, [])
    assert explorer.message["wrong"] and "position 4" in explorer.message["text"]


def test_what_is_under_the_pointer_is_folded(explorer):
    explorer.hovered = 0
    assert explorer.detail["name"] == explorer.names[0]
    folded = rk.fold(explorer.table["sequence"].iloc[0])
    assert explorer.detail["fold"]["dot_bracket"] == folded.dot_bracket
    explorer.hovered = -1
    assert explorer.detail == {}


def test_bad_tables_are_rejected():
    table = pd.DataFrame({"sequence": ["ACGU"] * 5})
    with pytest.raises(ValueError, match="no column 'sequence'"):
        EmbeddingExplorer(table.rename(columns={"sequence": "text"}))
    with pytest.raises(ValueError, match="4 vectors for 5 rows"):
        EmbeddingExplorer(table, np.eye(4))
    with pytest.raises(ValueError, match=r"shape \(4, 2\), expected \(5, 2\)"):
        EmbeddingExplorer(table, coordinates=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no column 'family'"):
        EmbeddingExplorer(table, coordinates=np.zeros((5, 2)), color="family")
    fixed = EmbeddingExplorer(table, coordinates=np.zeros((5, 2)))
    with pytest.raises(ValueError, match="without a map"):
        fixed.place(["ACGU"])


def test_the_map_is_a_picture_without_a_kernel(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/html"].startswith('<img alt="map of embeddings" src="data:image/png;base64,')


# Training monitor ---------------------------------------------------------------------------------------

RUN = {"steps": 300, "tokens_per_batch": 256, "validate_every": 100, "accelerator": "cpu", "lr": 1e-3}
RUN |= {"enable_progress_bar": False, "enable_model_summary": False}


def test_monitor_follows_stops_and_goes_on_with_a_run(tmp_path):
    texts = [r.sequence for r in rk.datasets.load_structures("examples")]
    size = Config(32, 1, heads=2)
    monitor = TrainingMonitor(tmp_path / "run", poll_seconds=0.1)
    assert monitor.state == "waiting" and monitor.curves == []
    monitor.stop()
    assert "no run in this folder" in monitor.message
    monitor.run(rk.pretrain, texts, model=size, **RUN)
    deadline = time.monotonic() + 120
    while monitor.step == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(RuntimeError, match="is under way"):
        monitor.run(rk.pretrain, texts, model=size, **RUN)
    monitor.stop()
    with pytest.raises(RuntimeError, match=r"stopped at step \d+ of 300, as asked"):
        monitor.result()
    monitor.refresh()
    stopped = monitor.step
    assert monitor.state == "stopped" and 0 < stopped < 300
    monitor.run(rk.pretrain, texts, model=size, **RUN)
    model = monitor.result()
    monitor.refresh()
    assert monitor.state == "finished" and monitor.step == monitor.steps == 300
    curves = {curve["name"]: curve for curve in monitor.curves}
    assert {"train_loss", "lr", "val_perplexity"} <= set(curves)
    alone = rk.pretrain(texts, output=tmp_path / "alone", model=size, **RUN)
    assert all(
        (a == b).all() for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True)
    )
    assert TrainingMonitor(tmp_path / "run").state == "finished", "attached afterwards"


# What comes from the page ---------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with files that a pasted path might name; their content must never be shown."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("my.fasta", "x.fa", ".secret", "..\\x", "ACGU.txt"):
        (tmp_path / name).write_text(">opensesame\nACGUACGUGGGG\n")
    return tmp_path


PATHS = [
    "/etc/hostname",
    "~/x.fa",
    "my.fasta",
    "./x.fa",
    "..\\x",
    "{home}/.secret",
    "ACGU.txt",
    "file:///{home}/x.fa",
]
PATHS += [
    "my.fasta\n",
    "  my.fasta",
    "\ufeffmy.fasta",
    ">a\nmy.fasta",
    ">my.fasta\n/etc/hostname",
    "C:\\x.fa",
]


@pytest.mark.parametrize("text", PATHS)
def test_a_pasted_path_is_text(text, home, monkeypatch):
    monkeypatch.setattr("rinalmo_kit.rna.fasta.open_text", lambda *_: pytest.fail("a file was opened"))
    text = text.format(home=home)
    studio = FoldingStudio()
    studio.set_state({"text": text})
    studio._handle_custom_msg({"do": "fold"}, [])
    studio._thread.join(60)
    assert studio.message["wrong"] and "is not a nucleotide code" in studio.message["text"]
    assert studio.structures == [] and "opensesame" not in str(studio.get_state())
    studio.set_state({"reference": text})
    assert "opensesame" not in str(studio.get_state())


@pytest.mark.parametrize("text", PATHS)
def test_a_path_pasted_into_the_explorer_is_text(explorer_of_five, text, home, monkeypatch):
    monkeypatch.setattr("rinalmo_kit.rna.fasta.open_text", lambda *_: pytest.fail("a file was opened"))
    explorer_of_five._handle_custom_msg({"do": "place", "text": text.format(home=home)}, [])
    assert (
        "is not a nucleotide code" in explorer_of_five.message["text"] and explorer_of_five.message["wrong"]
    )
    assert len(explorer_of_five.table) == 5
    explorer_of_five.table.loc[0, "sequence"] = text.format(home=home)  # as a table from elsewhere may hold
    explorer_of_five.set_state({"hovered": 0})
    assert "nucleotide code" in explorer_of_five.detail["facts"]["fold"]


FIVE = ["GGGAAACCC", "ACGUACGU", "GGGGCCCC", "AUAUAUAU", "GCGCGCGC"]


@pytest.fixture(scope="module")
def map_of_five():
    return rk.evaluation.tsne_map(rk.embed(FIVE, pool="mean"))


@pytest.fixture
def explorer_of_five(map_of_five):
    table = pd.DataFrame({"sequence": FIVE, "family": [*"abaab"]})
    return EmbeddingExplorer(table, coordinates=map_of_five)


def test_paths_given_in_python_stay_paths(home):
    assert FoldingStudio("my.fasta").structure.name == "opensesame"


BAD_STATES = [
    ("threshold", np.nan), ("threshold", float("inf")), ("threshold", -1), ("threshold", 2.0), ("threshold", "0.5"),
    ("threshold", None), ("threshold", [0.5] * 100_000), ("threshold", {}), ("min_loop", -1), ("min_loop", 2.5),
    ("min_loop", np.nan), ("min_loop", "4"), ("min_loop", []), ("record", 1), ("record", -1), ("record", 10**30),
    ("record", "0"), ("record", 0.5), ("text", 5), ("text", None), ("text", ["ACGU"]), ("reference", 5),
    ("reference", {"a": 1}), ("canonical_only", "yes"), ("canonical_only", 3), ("structure", "x"), ("model", "giga"),
    ("names", ["y"] * 9), ("view", {}), ("message", {"text": "<b>"}), ("busy", True), ("letters", ""), ("_esm", "evil"),
    ("method", "mea"), ("method", None), ("method", ["paper"]), ("gamma", 0), ("gamma", np.nan), ("gamma", "3"),
    ("gamma", -1.0), ("gamma", float("inf")), ("pseudoknots", "some"), ("pseudoknots", 5), ("methods", ["paper"]),
    ("forced", [[0, 99]]), ("cells", b""), ("color_by", "x"), ("color_by", None), ("compare", "giga"), ("compare", 5),
    ("panel", "text"), ("panel", []), ("palette", {}), ("examples", {"x": "<b>"}), ("expected", {"words": "x"}),
    ("nothing", 1), ("__class__", 1), ("fold", 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def steady():
    return FoldingStudio("GGGGAAAACCCC")


@pytest.mark.parametrize(("name", "value"), BAD_STATES)
def test_what_a_page_sets_is_looked_at(steady, name, value):
    before = {key: one for key, one in steady.get_state().items() if key != "message"}
    steady.set_state({name: value})
    assert steady.message["wrong"] and steady.message["text"]
    assert {key: one for key, one in steady.get_state().items() if key != "message"} == before
    steady.set_state({"threshold": 0.4})
    steady.set_state({"threshold": steady.tuned})
    steady.set_state({"method": "default"})
    assert steady.message == {} and steady.structure.dot_bracket == "((((....))))"


MESSAGES = [
    None, [], "fold", 5, {"do": "force"}, {"do": "force", "pair": 5}, {"do": "force", "pair": [0]},
    {"do": "force", "pair": [0, "x"]}, {"do": "force", "pair": [0.5, 3]}, {"do": "force", "pair": [0, 99]},
    {"do": "forbid", "pair": [-1, 3]}, {"do": "force", "pair": [3, 3]}, {"do": "force", "pair": [0, 10**30]},
    {"do": "force", "pair": [[0], [3]]}, {"do": "force", "pair": list(range(10_000))}, {"do": "export", "kind": []},
    {"do": "export"}, {"do": "export", "kind": "../x"}, {"do": "export", "kind": {}},
    {"do": "export", "kind": "svg", "window": "all"}, {"do": "export", "kind": "svg", "window": [0, 0, 0, 5]},
    {"do": "export", "kind": "svg", "window": [0, 0, float("nan"), 5]},
    {"do": "force", "pair": [0, 2]}, {"do": "force", "pair": [4, 11]},
]  # fmt: skip


@pytest.mark.parametrize("content", MESSAGES, ids=str)
def test_odd_messages_of_a_page_are_answered(steady, content):
    steady.message = {}
    steady._handle_custom_msg(content, [])
    assert steady.message["wrong"] and steady.forced == steady.forbidden == []
    steady.set_state({"threshold": 0.4})
    steady.set_state({"threshold": steady.tuned})
    steady.set_state({"method": "default"})
    assert steady.structure.dot_bracket == "((((....))))", "what was wrong stays without consequence"


@pytest.mark.parametrize(
    ("name", "value"),
    [("color", "sequence"), ("color", "x" * 1000), ("color", 5), ("selected", "all"), ("selected", [1.5]),
     ("selected", [[0]]), ("hovered", "0"), ("hovered", None), ("names", []), ("x", b""), ("detail", {}),
     ("groups", {})],
)  # fmt: skip
def test_what_a_page_sets_in_the_explorer_is_looked_at(explorer_of_five, name, value):
    before = {key: one for key, one in explorer_of_five.get_state().items() if key != "message"}
    explorer_of_five.set_state({name: value})
    assert explorer_of_five.message["wrong"]
    assert {key: one for key, one in explorer_of_five.get_state().items() if key != "message"} == before
    explorer_of_five.set_state({"selected": [1, 1, -1, 10**30, 4], "hovered": 10**30})
    assert explorer_of_five.selection.index.tolist() == [1, 4] and explorer_of_five.detail == {}


@pytest.mark.parametrize("content", [None, 7, [], "stop"])
def test_odd_messages_to_the_monitor(tmp_path, content):
    monitor = TrainingMonitor(tmp_path)
    monitor._handle_custom_msg(content, [])
    assert "expected a message" in monitor.message
    monitor.set_state({"state": "finished"})
    assert monitor.state == "waiting" and "not for the page" in monitor.message
    monitor.close()


# What goes wrong is shown -----------------------------------------------------------------------------------

ODD = [
    ZeroDivisionError("x"),
    KeyError("k"),
    AttributeError("a"),
    TypeError(),
    MemoryError(),
    SystemExit(3),
    AssertionError(),
]
ODD += [
    RecursionError("deep"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    StopIteration(),
    OSError(5, "disk"),
]


@pytest.mark.parametrize("error", ODD, ids=repr)
@pytest.mark.parametrize("place", ["fold_each", "structure_payload", "candidates"])
def test_whatever_ends_the_thread_is_shown(monkeypatch, error, place):
    studio = FoldingStudio()
    studio.text = "GGGGAAAACCCC"

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(f"rinalmo_kit.widgets.folding_studio.{place}", fail)
    studio.start()
    studio._thread.join(60)
    assert not studio.busy and studio.message["wrong"]
    assert type(error).__name__ in studio.message["text"] or str(error) in studio.message["text"]
    monkeypatch.undo()
    studio.fold()
    assert studio.structure.dot_bracket == "((((....))))" and not studio.message.get("wrong")


@pytest.mark.parametrize(
    "content",
    ["[]", "5", "null", '{"running": 1}', '{"running": true, "step": null, "steps": 3}', "{", "",
     '{"running": true, "step": "x", "steps": []}', '{"running": true, "step": NaN, "steps": Infinity}'],
)  # fmt: skip
def test_the_monitor_survives_what_it_finds(tmp_path, content):
    from rinalmo_kit.training.control import PROGRESS

    (tmp_path / PROGRESS).write_text(content)
    monitor = TrainingMonitor(tmp_path, poll_seconds=0.01)
    time.sleep(0.1)
    assert monitor.state == "waiting"
    assert "cannot be read" in monitor.message or content in ("", "{") or '"x"' in content or "NaN" in content
    (tmp_path / PROGRESS).write_text('{"running": true, "step": 3, "steps": 9}')
    deadline = time.monotonic() + 20
    while monitor.step != 3:
        assert time.monotonic() < deadline, "it still looks"
        time.sleep(0.02)
    assert monitor.message == ""
    monitor.close()


def test_a_run_that_fails_is_shown_and_numbers_that_are_none_are_not_drawn(tmp_path):
    def train(*, output):
        log = output / "log" / "version_0" / "metrics.csv"
        log.parent.mkdir(parents=True)
        log.write_text("step,train_loss\n1,3.0\n2,inf\n3,\n4,nan\n5,2.0\n")
        raise KeyError("lost")

    monitor = TrainingMonitor(tmp_path)
    monitor.run(train)
    with pytest.raises(KeyError):
        monitor.result()
    monitor.refresh()
    assert monitor.message == "KeyError: 'lost'"
    [curve] = monitor.curves
    assert curve["values"] == [3.0, 2.0] and curve["steps"] == [2, 6]
    monitor.close()


# Optional software ------------------------------------------------------------------------------------------

BROKEN = {
    "shadowed": ("x = 1", "no 'fold_compound'"),
    "syntax": ("def (", "SyntaxError"),
    "odd error": ("raise ZeroDivisionError('gone')", "ZeroDivisionError: gone"),
    "exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "lacks a part": ("import a_part_that_is_missing", "a_part_that_is_missing"),
    "wrong library": ("raise OSError('libfoo.so: cannot open')", "libfoo.so"),
    "nonsense": (
        "class fold_compound:\n    def __init__(self, s): pass\n    def mfe(self): return 'hellohellooo', 0",
        "'h' closes nothing",
    ),
    "too short": (
        "class fold_compound:\n    def __init__(self, s): pass\n    def mfe(self): return '..', 0",
        "2 symbols",
    ),
    "other arguments": ("def fold_compound(): pass", "TypeError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_viennarna_does_not_keep_the_studio_from_folding(kind, tmp_path, monkeypatch):
    code, words = BROKEN[kind]
    (tmp_path / "RNA.py").write_text(code + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "RNA", raising=False)
    studio = FoldingStudio("GGGGAAAACCCC")
    sys.modules.pop("RNA", None)
    assert studio.structure.dot_bracket == "((((....))))" and studio.view["compared"] == {}
    assert words in studio.message["text"] and not studio.message.get("wrong")
    assert "ViennaRNA" in studio.message["text"] and "not installed" not in studio.message["text"]


def test_an_absent_viennarna_is_no_news_where_no_fold_needs_it(monkeypatch, plain):
    monkeypatch.setitem(sys.modules, "RNA", None)
    assert FoldingStudio("GGGGAAAACCCC", model=plain).message == {"text": ""}


# The code that is shown -------------------------------------------------------------------------------------


def run_code(studio, **given):
    names = dict(given)
    *first, last = ast.parse(studio.code()).body
    exec(compile(ast.Module(first, []), "code", "exec"), names)
    return eval(compile(ast.Expression(last.value), "code", "eval"), names)


FOLDERS = ["plain", "with a space", "quo'te", 'dou"ble', "grün/ΔG", "a\\b", "new\nline", "$HOME", "{x}", "%s"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_code_loads_the_model_again(folder, tmp_path, monkeypatch):
    path = tmp_path / folder / "my model.safetensors"
    path.parent.mkdir(parents=True)
    rk.save(rk.load("nano-ss"), path)
    monkeypatch.chdir(path.parent)
    studio = FoldingStudio(TRNA, model=path.name)  # relative: the code holds the full path
    studio.threshold = 0.123456789
    studio.force(1, 64)
    monkeypatch.chdir("/")
    assert run_code(studio) == studio.structure


@pytest.mark.parametrize("threshold", [0, 1, 1 / 3, 1e-9, 0.30000000000000004, "at a pair"])
@pytest.mark.parametrize("rules", [{}, {"canonical_only": False, "min_loop": 1}])
def test_the_code_has_the_threshold_to_the_last_digit(threshold, rules):
    studio = FoldingStudio({"x 'y' \"z\"": "GGGNAAAUCCC"})
    if threshold == "at a pair":  # a little less gives one pair more
        p = studio.structure.probabilities
        threshold = float(p[tuple(studio.structure.pairs[-1])])
    for name, value in {"threshold": threshold, **rules}.items():
        setattr(studio, name, value)
    assert run_code(studio) == studio.structure


def test_the_code_says_when_a_model_is_in_no_file():
    model = rk.load("nano-ss")
    assert "model='nano-ss'" in FoldingStudio(TRNA, model=model).code()
    model.train()  # what is trained is no longer what was loaded
    studio = FoldingStudio(TRNA, model=model.eval())
    assert "# model: the object that the studio was given" in studio.code()
    assert run_code(studio, model=model) == studio.structure


def test_names_with_line_ends_stay_names():
    studio = FoldingStudio({"a\nACGU": "GGGGAAAACCCC", "b\r>c": "GGGGAAAACCCC"})
    assert [s.sequence for s in studio.structures] == ["GGGGAAAACCCC"] * 2


@pytest.mark.parametrize(
    "name", [HOSTILE, "<img/src=x/onerror=alert(1)>", "'\"&<b>", "</pre><script>x</script>", "<svg/onload=x>"]
)
def test_names_are_text_in_every_output(name, explorer_of_five):
    studio = FoldingStudio(f">{name}\n{TRNA}")
    page = studio._repr_mimebundle_()[0]["text/html"] + studio.structure._repr_html_()
    for live in ("<img", "<script", "onerror=alert(1)>", "</pre><s", "<b>", "<svg/"):
        assert live not in page
    explorer_of_five.table.loc[0, "family"] = name
    assert "<script" not in explorer_of_five.static_mimebundle()["text/html"]
    assert explorer_of_five.static_mimebundle()["text/html"].count("<") == 1


def test_no_script_makes_html_of_text():
    from rinalmo_kit.widgets.base import asset

    for script in (*SCRIPTS, "explorer.js", "monitor.js"):
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "DOMParser",
            "srcdoc",
        ):
            assert way not in asset(script)
