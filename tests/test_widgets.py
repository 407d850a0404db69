"""The widgets without a browser; tests/test_lab.py drives them in a real JupyterLab."""

from __future__ import annotations

import ast
import time

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit import inference
from rinalmo_kit.studio import FORMATS, candidates
from rinalmo_kit.widgets import EmbeddingExplorer, FoldingStudio, TrainingMonitor

TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"
HOSTILE = "x<script>window.hacked=1</script><img/src=x/onerror=alert(1)>"


# Folding studio -----------------------------------------------------------------------------------------


def test_a_sequence_is_folded_at_once():
    studio = FoldingStudio(TRNA)
    assert studio.structure == rk.fold(TRNA)
    assert studio.view["dot_bracket"] == studio.structure.dot_bracket and not studio.busy
    assert studio.view["confidence"] == round(studio.structure.confidence, 3)
    assert len(studio.view["x"]) == len(studio.view["sure"]) == len(TRNA)


def test_an_empty_studio_waits():
    studio = FoldingStudio()
    assert studio.structure is None and studio.view == {}
    studio.fold()
    assert studio.message["wrong"] and "there is no sequence yet" in studio.message["text"]


def test_settings_decode_without_running_the_model(monkeypatch):
    studio = FoldingStudio(TRNA)
    pairs, seen = len(studio.structure.pairs), []
    studio.observe(lambda change: seen.append(change["new"].dot_bracket), "structure")
    monkeypatch.setattr(inference, "pair_logits", None)
    studio.threshold = 0.99
    assert len(studio.structure.pairs) < pairs and seen == [studio.structure.dot_bracket]
    studio.threshold = 0.01
    assert len(studio.structure.pairs) >= pairs
    studio.canonical_only, studio.min_loop = False, 1
    assert studio.structure == rk.refold(
        studio.structures[0], model=studio.model, threshold=0.01, canonical_only=False, min_loop=1
    )


def test_forced_and_forbidden_pairs():
    studio = FoldingStudio("GGGGAAAACCCC")
    assert studio.structure.dot_bracket == "((((....))))"
    studio.force(1, 10)
    studio.forbid(0, 11)
    assert (1, 10) in map(tuple, studio.structure.pairs) and (0, 11) not in map(tuple, studio.structure.pairs)
    studio.force(1, 9)  # takes the place of 1–10
    assert studio.forced == [[1, 9]]
    studio.force(0, 11)  # no longer forbidden
    assert studio.forbidden == [] and (0, 11) in map(tuple, studio.structure.pairs)
    studio.clear()
    assert studio.structure.dot_bracket == "((((....))))"
    studio._asked(None, {"do": "force", "pair": [0, 99]}, [])
    assert "1-100 lies outside the sequence of 12" in studio.message["text"]


def test_the_code_gives_the_same_structure():
    studio = FoldingStudio(TRNA)
    studio.threshold = 0.3
    studio.force(1, 60)
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
    assert studio.view["compared"]["ViennaRNA"]["pairs"] == rk.baselines.viennarna(TRNA).pairs.tolist()


def test_several_records_and_numbers_of_databases():
    studio = FoldingStudio(f">a first\n 1 {TRNA[:30].lower()} 60\n61 {TRNA[30:]}\n>b\nGGGGAAAACCCC\n")
    assert studio.names == ["a", "b"] and studio.structure.sequence == TRNA
    studio.force(0, 20)
    studio.record = 1
    assert studio.structure.name == "b" and studio.forced == [], "constraints are those of a record"
    studio.text = TRNA
    studio.fold()
    assert studio.names == ["sequence"] and studio.structure.sequence == TRNA


@pytest.mark.parametrize(
    ("text", "message"),
    [("ACGXU", "position 4: 'X'"), (">a\n>b\nACGU", "'a' is empty"), ("./x.fa", "position 1: '.'")],
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
def test_files_to_take_home(kind, tmp_path):
    studio = FoldingStudio({"my/RNA": TRNA})
    data = studio.export(kind)
    path = tmp_path / f"file.{kind}"
    path.write_bytes(data)
    if kind in ("dbn", "ct", "bpseq"):
        [again] = rk.read_structures(path)
        assert again.sequence == TRNA and again.dot_bracket == studio.structure.dot_bracket
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}.get(kind, b"")
    assert data.startswith(start)
    sent = []
    studio.send = lambda content, buffers=None: sent.append((content, buffers))
    studio._asked(None, {"do": "export", "kind": kind}, [])
    [(content, [buffer])] = sent
    assert content["file"] == f"my_RNA.{kind}" and content["type"] == FORMATS[kind] and len(buffer) > 50


def test_unknown_files_are_refused():
    studio = FoldingStudio(TRNA)
    studio._asked(None, {"do": "export", "kind": "exe"}, [])
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


def test_a_fold_with_more_pseudoknots_than_brackets_is_drawn():
    length = 40
    p = np.zeros((2 * length + 8, 2 * length + 8))
    for k in range(length):  # every pair crosses every other one
        p[k, k + length + 8] = p[k + length + 8, k] = 0.9
    knotted = rk.Structure(
        "G" * length + "A" * 8 + "C" * length, [(k, k + length + 8) for k in range(length)], "x", p
    )
    with pytest.raises(ValueError, match="needs more than 30 bracket levels"):
        knotted.dot_bracket  # noqa: B018
    studio = FoldingStudio()
    studio.structures, studio.names = [knotted], ["x"]
    studio._decode()
    assert len(studio.structure.pairs) == length and len(studio.view["x"]) == 2 * length + 8
    assert studio.view["dot_bracket"].count(".") == 8 + 2 * (length - 30)
    assert "<svg" in studio._repr_mimebundle_()[0]["text/html"]
    studio._asked(None, {"do": "export", "kind": "dbn"}, [])
    assert studio.message["wrong"] and "bracket levels" in studio.message["text"]
    assert studio.export("ct").count(b"\n") > 2 * length


def test_candidates_are_the_probable_pairs():
    s = rk.fold(TRNA)
    i, j, p = np.frombuffer(candidates(s), dtype="<i4").reshape(-1, 3).T
    assert (i < j).all() and (np.diff(p) <= 0).all() and p.min() >= 200
    assert np.allclose(s.probabilities[i, j], p / 10_000, atol=1e-4)
    assert {*map(tuple, s.pairs)} <= {*zip(i, j, strict=True)}


def test_studio_needs_a_structure_model():
    with pytest.raises(ValueError, match="pico cannot fold"):
        FoldingStudio(model="pico")


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
    explorer._asked(None, {"do": "place", "text": "ACGX"}, [])
    assert explorer.message["wrong"] and "position 4" in explorer.message["text"]


def test_what_is_under_the_pointer_is_folded(explorer):
    explorer.hovered = 0
    assert explorer.detail["name"] == explorer.names[0]
    folded = rk.fold(explorer.table["sequence"].iloc[0])
    assert explorer.detail["fold"]["dot_bracket"] == folded.dot_bracket
    explorer.hovered = -1
    assert explorer.detail == {}


def test_bad_tables_are_refused():
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
    size = rk.Config(32, 1, heads=2)
    monitor = TrainingMonitor(tmp_path / "run", every=0.1)
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
    monitor.look()
    stopped = monitor.step
    assert monitor.state == "stopped" and 0 < stopped < 300
    monitor.run(rk.pretrain, texts, model=size, **RUN)
    model = monitor.result()
    monitor.look()
    assert monitor.state == "finished" and monitor.step == monitor.steps == 300
    curves = {curve["name"]: curve for curve in monitor.curves}
    assert {"train_loss", "lr", "val_perplexity"} <= set(curves)
    alone = rk.pretrain(texts, output=tmp_path / "alone", model=size, **RUN)
    assert all(
        (a == b).all() for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True)
    )
    assert TrainingMonitor(tmp_path / "run").state == "finished", "attached afterwards"
