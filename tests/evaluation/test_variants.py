"""Effects of variants against a few lines with the model itself; what is rejected; the map and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.cli.main import main
from rinalmo_kit.evaluation import variants as module
from rinalmo_kit.rna.alphabet import MASK
from tests.helpers.examples import tiny

WILD = "GGCUACGUAGCC"
MODEL = rk.load("nano", device="cpu")


@torch.inference_mode()
def log_probabilities(tokens: torch.Tensor) -> torch.Tensor:
    return MODEL(tokens).logits[0].log_softmax(-1)


def by_hand(changes: list[tuple[int, str]], fill: str) -> float:
    """Meier et al. 2021, one variant at a time, over the whole vocabulary."""
    wild, mutant = list(WILD), list(WILD)
    for place, letter in changes:
        mutant[place] = letter
    tokens = rk.tokenize(["".join(mutant if fill == "mut" else wild)])
    if fill == "mask":
        for place, _ in changes:
            tokens[0, place + 1] = MASK
    scores = log_probabilities(tokens)
    code = dict(zip("ACGU", rk.tokenize(["ACGU"])[0, 1:-1].tolist(), strict=True))
    return sum(float(scores[k + 1, code[c]] - scores[k + 1, code[WILD[k]]]) for k, c in changes)


@pytest.mark.parametrize("fill", ["mask", "wt", "mut"])
def test_scores_are_those_of_the_literature(fill: str) -> None:
    found = rk.explain.variant_scores(WILD, ["G1A", "C3U:G7C", "A9U"], fill=fill, model=MODEL)
    expected = [by_hand([(0, "A")], fill), by_hand([(2, "U"), (6, "C")], fill), by_hand([(8, "U")], fill)]
    np.testing.assert_allclose(found["score"], expected, atol=1e-4)
    assert list(found) == ["variant", "position", "wild_type", "mutant", "score"]
    assert found.iloc[1, :4].tolist() == ["C3U:G7C", 3, "CG", "UC"]


@pytest.mark.parametrize("fill", ["mask", "wt", "mut"])
def test_all_single_substitutions(fill: str) -> None:
    found = rk.explain.variant_scores(WILD, fill=fill, model=MODEL)
    assert len(found) == 3 * len(WILD)
    for row in found.iloc[::7].itertuples():
        expected = by_hand([(row.position - 1, row.mutant)], fill)
        assert row.score == pytest.approx(expected, abs=1e-4)
    if fill == "mask":
        logs = np.log(rk.explain.masked_probabilities(WILD, model=MODEL))
        first = logs[0] - logs[0, 2]
        np.testing.assert_allclose(found["score"][:3], first[[0, 1, 3]], atol=1e-4)


@pytest.mark.parametrize(("fill", "passes"), [("mask", 12), ("wt", 1), ("mut", 36)])
def test_passes_of_the_model(fill: str, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a position, one for all, one a variant; whatever shares an input shares the pass."""
    copies = []
    real = module.letter_logits

    def spy(model, sequence, changes, places):
        copies.append(len(changes))
        return real(model, sequence, changes, places)

    monkeypatch.setattr(module, "letter_logits", spy)
    rk.explain.variant_scores(WILD, fill=fill, model=tiny().eval())
    assert copies == [passes]


def test_every_way_to_write_a_variant() -> None:
    same = ["G7A", "g7a", "n.7G>A", "r.7g>a", "7G>A", (7, "G", "A"), ("7", "g", "a"), [7, "G", "A"]]
    found = rk.explain.variant_scores(WILD.replace("U", "T"), same, fill="wt", model=MODEL)
    assert set(found["variant"]) == {"G7A"}
    assert found["score"].nunique() == 1
    several = ["T4C:G7A", "G7A,U4C", "U4C;G7A"]
    found = rk.explain.variant_scores(WILD, several, fill="wt", model=MODEL)
    assert set(found["variant"]) == {"U4C:G7A"}
    assert rk.explain.variant_scores(WILD, (3, "CUA", "UUG"), model=MODEL)["variant"][0] == "C3U:U4U:A5G"
    assert rk.explain.variant_scores(WILD, "G1A", model=MODEL)["variant"].tolist() == ["G1A"]
    vcf = pd.DataFrame({"#CHROM": ["x"], "POS": [7], "ID": ["."], "REF": ["G"], "ALT": ["T"]})
    assert rk.explain.variant_scores(WILD, vcf, model=MODEL)["variant"].tolist() == ["G7U"]
    table = pd.DataFrame({"variant": ["G1A", "G2A"], "measured": [0.1, 0.2]})
    assert rk.explain.variant_scores({"a": WILD}, table, model=MODEL)["variant"].tolist() == ["G1A", "G2A"]
    assert rk.explain.variant_scores(WILD, [], model=MODEL).empty


INDEL = "is an insertion or deletion: the score compares letters at one position, so substitutions alone"


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("7del", f"'7del' {INDEL}"),
        ("7_8insA", f"'7_8insA' {INDEL}"),
        ("G7-", f"'G7-' {INDEL}"),
        ((7, "G", "GA"), f"'7 G>GA' {INDEL}"),
        ((7, "GU", "G"), f"'7 GU>G' {INDEL}"),
        ((7, "G", "-"), f"'7 G>-' {INDEL}"),
        ((7, "G", "."), f"'7 G>.' {INDEL}"),
        ("7GU>G", f"'7GU>G' {INDEL}"),
        ("G8A", "'G8A': position 8 of the sequence is U, not G"),
        ("G70A", "'G70A': position 70 lies outside the 12 nucleotides"),
        ("G0A", "'G0A': expected a position from 1 on, found '0'"),
        ("G7N", "'G7N': 'N' is not one of A, C, G and U"),
        ("c.7G>A", "'c.7G>A': positions of 'c.' are not those of the sequence"),
        ("G7A:G7C", "'G7A:G7C': position 7 is changed twice"),
        ("hello", "'hello' is not a variant"),
        ("", "'' is not a variant"),
        (7, "7 is not a variant"),
        ((7, "G", None), "'7 G>None': expected a reference and an alternative in letters"),
    ],
)
def test_variants_that_are_rejected(variant: object, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        rk.explain.variant_scores(WILD, [variant], model=MODEL)
    assert words in str(caught.value)


def test_other_inputs_that_are_rejected() -> None:
    with pytest.raises(ValueError, match="fill='masked': expected 'mask', 'wt' or 'mut'"):
        rk.explain.variant_scores(WILD, fill="masked")
    with pytest.raises(ValueError, match="expected one sequence, found 2"):
        rk.explain.variant_scores([WILD, WILD])
    with pytest.raises(ValueError, match="POS, REF and ALT; ALT is missing among POS, REF"):
        rk.explain.variant_scores(WILD, pd.DataFrame({"POS": [1], "REF": ["G"]}))
    with pytest.raises(TypeError, match="variants: expected strings such as 'G12A', or a table, not dict"):
        rk.explain.variant_scores(WILD, {"G1A": 1})
    assert len(rk.explain.variant_scores("GNC", fill="wt", model=MODEL)) == 6


def test_the_map() -> None:
    table = pd.DataFrame(
        {"position": [1, 1, 2, 1], "mutant": ["A", "C", "U", "AU"], "score": [-1.0, 2.0, 0.5, 9.0]}
    )
    ax = rk.plot.variant_map(table, "GGN")
    shown = np.ma.filled(ax.images[0].get_array().astype(float), np.nan).T
    expected = np.full((3, 4), np.nan)
    expected[0] = [-1, 2, 0, np.nan]
    expected[1, 2:] = [0, 0.5]
    np.testing.assert_array_equal(shown, expected)
    with pytest.raises(ValueError, match="position 2 lies outside the sequence of 1"):
        rk.plot.variant_map(table, "G")
    with pytest.raises(ValueError, match="no single substitution"):
        rk.plot.variant_map(table[3:], "GG")


def run(folder: Path, table: str, text: str, *words: str) -> tuple[int, pd.DataFrame | None]:
    fasta, variants, out = folder / "x.fa", folder / table, folder / "out.csv"
    fasta.write_text(
        f">rna1 of yeast\n{WILD}\n>rna2\nACXU\n>rna3\nGGCC\n" if "CHROM" in text else f">rna1\n{WILD}\n"
    )
    variants.write_text(text)
    code = main(["variants", str(fasta), str(variants), "-o", str(out), "-q", *words])
    return code, pd.read_csv(out) if out.exists() else None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vcf = (
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\n"
        "rna1\t1\trs1\tG\tA,T\t.\nrna1\t3\t.\tCT\tC\t.\nrna3\t1\t.\tG\tC\t.\nother\t1\t.\tG\tC\t.\n"
    )
    code, found = run(tmp_path, "x.vcf", vcf)
    told = capsys.readouterr().err
    assert code == 1
    assert found[["name", "variant"]].to_numpy().tolist() == [
        ["rna1", "G1A"],
        ["rna1", "G1U"],
        ["rna3", "G1C"],
    ]
    expected = rk.explain.variant_scores(WILD, ["G1A"], model=MODEL)["score"][0]
    assert found["score"][0] == pytest.approx(expected, rel=1e-4)
    for words in (
        "'rna1': '3 CT>C' is an insertion or deletion",
        "'rna2', position 3",
        "1 variants of 'other'",
    ):
        assert words in told


def test_the_command_with_one_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(tmp_path, "x.csv", "POS,REF,ALT\n1,G,A\n2,G,C\n", "--fill", "wt")
    assert (code, found["variant"].tolist()) == (0, ["G1A", "G2C"])
    fasta = tmp_path / "x.fa"
    assert main(["variants", str(fasta), "-q", "--fill", "wt"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 37
    fasta.write_text(">a\nGG\n>b\nGG\n")
    assert main(["variants", str(fasta), str(tmp_path / "x.csv"), "-q"]) == 2
    assert "x.fa holds 2 records: " in capsys.readouterr().err
    (tmp_path / "y.csv").write_text("POS,ALT\n1,G\n")
    assert main(["variants", str(fasta), str(tmp_path / "y.csv"), "-q"]) == 2
    assert (
        "y.csv: expected the column variant, or POS, REF and ALT; REF is missing" in capsys.readouterr().err
    )
