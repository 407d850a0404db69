"""Numbers in README, guides and model card are those of data/measured, which the evaluation and benchmarks wrote."""

import csv
import re
from pathlib import Path

import pytest

from reproduction.structure_tables import markdown, short
from rinalmo_kit.evaluation import gpu_table, structure_table
from rinalmo_kit.model.pretrained import EMBEDDED

ROOT = Path(__file__).parents[2]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(document, heading):
    """Rows of the Markdown table whose header line starts with `heading`: first cell → the other cells."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading}"))
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip().strip("*` ") for cell in line.strip("|").split("|"))
        found[first] = others
    return found


@pytest.mark.parametrize("document", ["docs/accuracy.md", "rinalmo_kit/weights/MODEL_CARD.md"])
def test_scores_are_the_measured_and_published_ones(document):
    """The whole table: precision, recall and F1, ±1 and strict, and where each row is from, with the notes below it."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert "\n".join(markdown(structure_table())) in text, "run python -m reproduction.structure_tables"
    shown = table(document, "TS0")
    assert {"nano-ss", "nano-ss, alone", "viennarna", "viennarna-mea", "linearpartition"} <= set(shown)
    assert {"most-pairs", "RiNALMo", "UFold", "RNA-FM", "sincFold, stored", "BPfold, six models"} <= set(
        shown
    )


def test_scores_of_the_readme_are_some_of_them():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = short(structure_table())
    assert "\n".join(lines) in text, "run python -m reproduction.structure_tables"
    shown = {line.split(" | ")[0].strip("| ") for line in lines[2:]}
    assert {"nano-ss", "viennarna", "linearpartition", "RiNALMo", "UFold", "sincFold, stored"} <= shown


def test_scores_in_sentences_are_the_measured_ones():
    """F1 of `nano-ss` beside ViennaRNA's, in the paragraph that says why one should believe a fold."""
    pairs = {}
    for recipe, group in [("ss-bprna", "all"), ("ss-newfam", "all"), ("ss-pseudobase", "all")]:
        found = measured(recipe, group, "f1")
        pairs[recipe] = f"{found['nano-ss']} and {found['viennarna']}"
    new, mean = (measured("ss-rfam-new", group, "f1") for group in ("all", "family mean"))
    guide = " ".join((ROOT / "docs/accuracy.md").read_text(encoding="utf-8").split())
    assert f"TS0 {pairs['ss-bprna']}" in guide
    assert f"(NF-15) {pairs['ss-newfam']}" in guide
    assert f"(PseudoBase++) {pairs['ss-pseudobase']}" in guide
    rows, means = (f"{one['nano-ss']} and {one['viennarna']}" for one in (new, mean))
    assert f"({rows} over rows, {means} as the mean of families)" in guide
    ours, theirs = pairs["ss-bprna"].split(" and ")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"an F1 of {ours} where ViennaRNA has {theirs}" in readme


def measured(recipe, group, metric):
    """Model → score, rounded as in the documents."""
    return {
        r["model"]: f"{float(r['value']):.2f}"
        for r in rows(ROOT / "data/measured/scores.csv")
        if (r["recipe"], r["group"], r["metric"], r["fold"]) == (recipe, group, metric, "all")
    }


def test_scores_of_the_other_tasks_are_the_measured_ones():
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "task")
    assert {f"pico-{name.split(',')[0]}" for name in shown} >= set(EMBEDDED) - {"nano", "nano-ss"}
    for name, (metric, *cells) in shown.items():
        recipe, _, group = name.partition(", ")
        found = measured(recipe, group or "all", {"R²": "r2"}.get(metric, metric.lower()))
        assert cells[:3] == [found[f"pico-{recipe}"], found["simple"], found["trivial"]], name


def test_scores_of_translation_and_expression_are_the_measured_ones():
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "Spearman")
    assert len(shown) == 6
    for name, cells in shown.items():
        found = measured(name, "all", "spearman")
        assert cells[:2] == [found[f"pico-{name}"], found["simple"]], name


def test_scores_on_families_that_were_not_trained_on_are_the_measured_ones():
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "new families")
    assert {"ss-newfam", "ss-pseudobase", "ss-rfam-new", "ss-rfam-new, family mean"} <= set(shown)
    models = ("nano-ss", "nano-ss, alone", "viennarna", "viennarna-mea", "linearpartition")
    for name, cells in shown.items():
        recipe, _, group = name.partition(", ")
        found = measured(recipe, group or "all", "f1")
        assert cells[:5] == [found[model] for model in models], name


def test_scores_without_a_family_are_the_measured_ones():
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "without a family")
    assert {"ss-rivas", "ss-archiveII-5s"} <= set(shown)
    for recipe, cells in shown.items():
        found = measured(recipe, "all", "f1")
        ours = [value for model, value in found.items() if model.startswith("pico")]
        assert [cells[0]] == ours and cells[1] == found["viennarna"], recipe


def test_perplexities_and_embeddings_are_the_measured_ones():
    card = (ROOT / "rinalmo_kit/weights/MODEL_CARD.md").read_text(encoding="utf-8")
    guide = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    for row in rows(ROOT / "data/measured/perplexity.csv"):
        if row["model"] in ("nano", "unigram"):
            assert f"{float(row['perplexity']):.2f}" in card and f"{float(row['perplexity']):.2f}" in guide
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "vectors")
    for row in rows(ROOT / "data/measured/embeddings.csv"):
        numbers = [f"{float(row[key]):.2f}" for key in ("knn_accuracy", "probe_accuracy")]
        assert shown[row["vectors"]][:2] == numbers, row["vectors"]


def test_calibration_errors_are_the_measured_ones():
    shown = table("rinalmo_kit/weights/MODEL_CARD.md", "calibration")
    found = {row["set"]: row for row in rows(ROOT / "data/measured/calibration.csv")}
    assert set(found) == set(shown)
    for name, cells in shown.items():
        keys = ("structures", "nucleotides", "crossing_without_target")
        assert cells[:3] == [f"{float(found[name][key]):.3f}" if found[name][key] else "–" for key in keys], (
            name
        )


def test_speed_ratios_are_the_measured_ones():
    measured = rows(ROOT / "data/measured/benchmarks.csv")
    values = [float(row["ratio"]) for row in measured]
    ratios = {f"{value:.{0 if value >= 100 else 1 if value >= 2 else 2}f}" for value in values}
    shown = table("docs/speed.md", "benchmark")
    assert shown
    for name, cells in shown.items():
        assert re.fullmatch(r"([\d.]+)×", cells[-1]) and cells[-1][:-1] in ratios, (name, cells)


def test_gpu_speeds_are_the_measured_ones():
    measured = gpu_table().drop(columns="card").set_index(["work", "size", "way"])
    shown = table("docs/gpu.md", "on an NVIDIA H200")
    assert len(shown) == len(measured)
    for (work, size, way), cells in measured.drop(columns="goal").iterrows():
        name = f"{work}, {size}" + ("" if way == "ours" else f", {way}")
        assert shown[name] == cells.tolist(), name
    runs = [row for row in rows(ROOT / "data/measured/gpu.csv") if row["work"] == "training of the paper"]
    shown = table("docs/gpu.md", "run of the paper")
    assert {row["size"] for row in runs} == set(shown)
    for row in runs:
        cells = [float(cell.replace(",", "")) for cell in shown[row["size"]]]
        wanted = [float(row[key]) for key in ("seconds", "peak_gb", "value")]
        assert cells == pytest.approx(wanted, rel=0.05), row["size"]


def test_measured_files_say_where_they_come_from():
    paths = {*(ROOT / "data/measured").glob("*.csv")}
    paths.remove(
        ROOT / "data/measured/model_scores.csv"
    )  # rows of scores.csv: tests/reproduction/test_model_scores.py
    for path in paths:
        for row in rows(path):
            assert row["command"] and row["commit"] and row["date"], path
