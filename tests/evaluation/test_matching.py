"""Structures of other programs scored against known ones: names, sequences, scores, the command."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.cli.main import main
from rinalmo_kit.evaluation.matching import UnscoredWarning, holds_structures, match_structures
from rinalmo_kit.metrics import matthews_correlation
from rinalmo_kit.rna.formats import format_structure

SEQUENCE = "GGGGAAAACCCCAAAGGGAAACCC"
KNOWN = rk.Structure.from_dot_bracket(SEQUENCE, "((((....))))...(((...)))", name="rna1 of yeast")
FOUND = rk.Structure.from_dot_bracket(SEQUENCE, ".(((....)))..(((.....)))", name="rna1")
OTHER = rk.Structure.from_dot_bracket("GGGAAACCC", "(((...)))", name="rna2")


def test_scores_are_those_of_counting_by_hand() -> None:
    result = rk.evaluate([FOUND, OTHER], [KNOWN, OTHER], draws=50)
    row = result.samples.iloc[0]
    known, found = {tuple(p) for p in KNOWN.pairs}, {tuple(p) for p in FOUND.pairs}
    both = len(known & found)
    precision, recall = both / len(found), both / len(known)
    assert (row["precision_strict"], row["recall_strict"]) == (precision, recall)
    assert row["f1_strict"] == pytest.approx(2 * both / (len(known) + len(found)))
    assert row["inf_strict"] == pytest.approx(math.sqrt(precision * recall))
    cells = list(itertools.combinations(range(len(SEQUENCE)), 2))
    truth, answer = (np.array([c in pairs for c in cells], dtype=float) for pairs in (known, found))
    assert row["mcc_strict"] == pytest.approx(np.corrcoef(truth, answer)[0, 1])
    near = [any((i + d, j) in known or (i, j + d) in known for d in (-1, 0, 1)) for i, j in found]
    assert row["precision"] == sum(near) / len(near)
    assert result["f1"] == pytest.approx((row["f1"] + 1) / 2)
    line = result.scores[result.scores["metric"] == "mcc"].iloc[0]
    assert line["low"] <= line["value"] <= line["high"] == 1
    assert line["n"] == 2
    assert list(result.samples["name"]) == ["rna1 of yeast", "rna2"]


def test_canonical_pairs_alone() -> None:
    known = rk.Structure("GAAAAAC", [(0, 6), (1, 5)], "a")
    found = rk.Structure("GAAAAAC", [(0, 6)], "a")
    assert rk.evaluate(found, known, draws=0)["recall_strict"] == 0.5
    result = rk.evaluate(found, known, canonical_only=True, draws=0)
    assert result["recall_strict"] == 1
    assert result.scores["data"][0] == "canonical pairs alone"
    with pytest.raises(ValueError, match="canonical_only: expected predicted structures"):
        rk.evaluate("trivial", [known], canonical_only=True)
    for option in ({"fold": 0}, {"limit": 5}, {"task": "structure"}, {"energy": None}):
        if option != {"energy": None}:
            with pytest.raises(
                ValueError, match=rf"{next(iter(option))}: expected a model, and these are predicted"
            ):
                rk.evaluate(found, known, **option)


def named(name: str, sequence: str = "GAAAC", pairs: tuple = ((0, 4),)) -> rk.Structure:
    return rk.Structure(sequence, list(pairs), name)


def test_names_of_programs_match() -> None:
    references = [named("tRNA-1 Homo sapiens"), named("x.2"), named("alone"), named("b")]
    predicted = [named("ENERGY = -1.2 tRNA-1"), named("x.2 [100]"), named("b"), named("c")]
    found = match_structures(predicted, references)
    assert [(p.name, r.name) for p, r in found.pairs] == [
        ("ENERGY = -1.2 tRNA-1", "tRNA-1 Homo sapiens"),
        ("x.2 [100]", "x.2"),
        ("b", "b"),
    ]
    assert (found.unpredicted, found.unknown) == (["alone"], ["c"])
    # a first word that several share tells nothing
    found = match_structures([named("a"), named("b")], [named("a 1"), named("a 2"), named("b")])
    assert found.unpredicted == ["a 1", "a 2"]
    # one on each side
    assert len(match_structures(named("fold"), {"known": named("x")}).pairs) == 1


def test_what_is_left_out_is_named() -> None:
    references = [named("a"), named("b"), named("c", "GAAAU"), named("d", "GAAAAC", ())]
    predicted = [named("a"), named("c"), named("d"), named("e")]
    with pytest.warns(UserWarning) as notices:
        result = rk.evaluate(predicted, references, draws=0)
    told = [(type(one.message), str(one.message)) for one in notices]
    assert (
        UnscoredWarning,
        "2 of 4 references whose sequence is another one are not scored: 'c' (position 5: predicted for C, the "
        "reference has U), 'd' (predicted for 5 nucleotides, the reference has 6)",
    ) in told
    assert (UnscoredWarning, "1 of 4 references without a prediction are not scored: b") in told
    assert (UserWarning, "no reference for 1 predictions: e") in told
    assert len(result.samples) == 1
    assert result.scores["data"][0] == (
        "2 of 4 references whose sequence is another one are left out; "
        "1 of 4 references without a prediction are left out"
    )


def test_several_structures_of_a_name() -> None:
    worse = named("a", pairs=())
    with pytest.warns(
        UserWarning, match="several structures were predicted for a: the first of each is scored"
    ):
        assert rk.evaluate([named("a"), worse, named("b")], [named("a"), named("b")], draws=0)["f1"] == 1
    with pytest.raises(ValueError, match="'a': there are two reference structures of this name"):
        rk.evaluate([named("a")], [named("a"), worse])
    with pytest.raises(ValueError, match="'a': there are two predicted sequences of this name"):
        rk.evaluate([named("a"), named("a", "GAAAU")], [named("a")])


def test_nothing_that_matches() -> None:
    many = [named(f"p{k}") for k in range(12)]
    with pytest.raises(
        ValueError, match=r"no name is on both sides: predicted are p0, .* and 2 more; references a, b"
    ):
        rk.evaluate(many, [named("a"), named("b")])
    with (
        pytest.warns(UnscoredWarning),
        pytest.raises(ValueError, match="no structure can be scored: 'a'"),
    ):
        rk.evaluate(named("a"), named("a", "GAAAU"))
    with pytest.raises(TypeError, match="reference 2: expected a Structure, not str"):
        rk.evaluate([named("a")], [named("a"), "(...)"])
    with pytest.raises(TypeError, match="reference: expected structures or a path of them, not DataFrame"):
        rk.evaluate([named("a")], pd.DataFrame({"sequence": ["A"]}))


def test_what_are_structures_and_what_models(tmp_path: Path) -> None:
    assert not any(
        map(holds_structures, ("trivial", "nano-ss", tmp_path, [], lambda s: s, ["nano-ss"], None))
    )
    rk.write_structures([OTHER], tmp_path / "x.ct")
    assert holds_structures(tmp_path)
    assert holds_structures(tmp_path / "x.ct.gz")
    (tmp_path / "model.safetensors").touch()
    assert not holds_structures(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of CT files as RNAstructure writes them, against dot-bracket; one is missing."""
    folder = tmp_path / "predicted"
    folder.mkdir()
    for one in (FOUND, OTHER):
        text = format_structure(one, "ct").replace("\t" + one.name, f"\tENERGY = -4.2  {one.name}", 1)
        (folder / f"{one.name}.ct").write_text(text)
    known = rk.write_structures([KNOWN, OTHER, named("missing")], tmp_path / "known.dbn.gz")
    words = ["score", "--predicted", str(folder), "--reference", str(known)]
    scores, samples = tmp_path / "scores.csv", tmp_path / "samples.csv"
    assert main([*words, "-o", str(scores), "--samples", str(samples)]) == 1
    out, err = capsys.readouterr()
    assert "1 of 3 references without a prediction are not scored: missing" in err
    assert "data: 1 of 3 references without a prediction are left out" in out
    with pytest.warns(UnscoredWarning):
        result = rk.evaluate(folder, known)
    table = pd.read_csv(samples)
    pd.testing.assert_frame_equal(table, result.samples.assign(group=np.nan), check_dtype=False)
    written = pd.read_csv(scores).set_index("metric")
    assert written.loc["f1", "value"] == pytest.approx(result["f1"], abs=1e-5)
    assert {"precision", "recall", "f1", "inf", "mcc"} <= {*written.index}
    assert written.loc["f1", "model"] == str(folder)
    assert main([*words[:3], "--reference", str(folder), "--canonical-only"]) == 0
    assert "canonical pairs alone" in capsys.readouterr().out


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = rk.write_structures([KNOWN], tmp_path / "known.dbn")
    (tmp_path / "fold.out").write_text(f">a\n{SEQUENCE}\n{FOUND.dot_bracket} (-1.00)\n")
    for given, words in (
        (tmp_path / "fold.out", "unknown ending '.out'.*looks like dot-bracket: name it .dbn"),
        (tmp_path / "none.ct", "no such file or folder"),
        ("nano-ss", "no such file or folder"),
    ):
        assert main(["score", "--predicted", str(given), "--reference", str(known)]) == 2
        assert re.search(words, capsys.readouterr().err)
    assert main(["score", "--predicted", str(known), "--reference", str(known), "-o", "x.txt"]) == 2
    assert "x.txt: unknown ending '.txt'; expected a .csv" in capsys.readouterr().err


def test_matthews_needs_a_length() -> None:
    assert matthews_correlation(KNOWN, KNOWN) == 1
    assert matthews_correlation([], [], length=5) == 0
    with pytest.raises(ValueError, match="length: expected the number of nucleotides"):
        matthews_correlation([(0, 4)], [(0, 4)])
