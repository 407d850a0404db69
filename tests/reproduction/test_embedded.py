"""The way from tables to the embedded weights runs, and what is in the package is what the documents say."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import rinalmo_kit as rk
from reproduction.embedded_weights import STEPS, TASKS, reproduce
from rinalmo_kit.cli import main
from rinalmo_kit.evaluation.embedding_maps import embedding_scores
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.pretrained import EMBEDDED, OFFICIAL, WEIGHTS, models


def test_models_lists_every_model_with_its_measured_score(capsys):
    table = models().set_index("name")
    assert list(table.index) == [*EMBEDDED, *OFFICIAL]
    scores = rk.datasets.read_numbers("measured/scores")
    [f1] = scores.query("model == 'nano-ss' and recipe == 'ss-bprna' and group == 'all' and metric == 'f1'")[
        "value"
    ]
    assert table.loc["nano-ss", "score"] == f1 and table.loc["nano-ss", "test_set"] == "ss-bprna"
    assert table.loc["giga", "parameters"] == 650_901_793
    assert main(["models"]) == 0 and "giga-splice-donor" in capsys.readouterr().out


def test_weights_stay_small():
    sizes = {path.name: path.stat().st_size for path in WEIGHTS.iterdir()}
    assert sum(sizes.values()) <= 48e6 and max(sizes.values()) <= 16e6, sizes
    assert set(EMBEDDED.values()) == {name for name in sizes if name.endswith(".safetensors")}


def test_every_embedded_model_does_its_task():
    texts = [s.sequence for s in rk.datasets.load_structures("examples")[:3]]
    for name in EMBEDDED:
        model = rk.load(name, device="cpu")
        assert model.name == name and model.config == getattr(Config, name.partition("-")[0])()
        if model.head is None:
            assert np.isfinite(rk.embed(texts, model=model, pool="cls")).all()
        elif name.endswith("-ss"):
            assert all(0 <= s.confidence <= 1 for s in rk.fold(texts, model=model))
        else:
            long = [text * 2 for text in texts]  # splice models read 80 nt
            assert len(rk.predict(long, model=model)) == 3


def test_a_random_sequence_does_not_look_as_sure_as_known_rnas():
    rng = np.random.default_rng(0)
    known = [s.sequence for s in rk.datasets.load_structures("examples")]
    random = ["".join(rng.choice(list("ACGU"), len(s))) for s in known]
    sure = [np.mean([s.confidence for s in rk.fold(texts)]) for texts in (known, random)]
    assert sure[1] < sure[0] - 0.1, sure


def test_embedding_scores_of_families_that_are_apart_and_of_noise():
    rng = np.random.default_rng(0)
    labels = np.repeat(list("abc"), 30)
    noise = rng.normal(size=(90, 16))
    apart = noise + 6 * rng.normal(size=(3, 16))[np.repeat(range(3), 30)]
    assert embedding_scores(apart, labels)["knn_accuracy"] == 1
    assert embedding_scores(apart, labels)["silhouette"] > 0.5
    assert embedding_scores(noise, labels)["knn_accuracy"] < 0.6
    copies = np.repeat(
        noise[:45], 2, axis=0
    )  # a sequence is not its own neighbour: the copy is of another family
    assert embedding_scores(copies, np.tile(list("ab"), 45), neighbours=1)["knn_accuracy"] == 0


def test_unknown_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such step: paint; there are corpus, study"):
        reproduce(tmp_path, only=["paint"])


@pytest.mark.slow
def test_the_whole_path_runs_in_small(data, tmp_path, capsys):
    pytest.importorskip("RNA", reason="ViennaRNA is not installed")
    for tool in ("seqkit", "mmseqs"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    assert main(["reproduce", "embedded", "-o", str(tmp_path), "--smoke"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{step}: done in" in shown for step in STEPS)
    names = {path.name for path in (tmp_path / "weights").iterdir()}
    made = {"pico", "pico-ss", *(f"pico-{task}" for task in TASKS)}  # nano and nano-ss need a GPU: --gpu
    assert names >= {f"{name}.safetensors" for name in made}
    assert {name for name in EMBEDDED if not name.startswith("nano")} <= made
    model = rk.load(tmp_path / "weights" / "pico-ss.safetensors")
    assert model.calibration and 0 < model.threshold < 1
    assert {path.name for path in (tmp_path / "measured").iterdir()} == {
        "scaling_study.csv", "pretraining.csv", "ablation.csv", "scores.csv", "confidence.csv", "calibration.csv",
        "embeddings.csv",
    }  # fmt: skip
    (tmp_path / "weights" / "pico-ss.safetensors").unlink()
    assert (
        main(["reproduce", "embedded", "-o", str(tmp_path), "--smoke", "--only", "structure", "weights"]) == 0
    )
    again = rk.load(tmp_path / "weights" / "pico-ss.safetensors")  # nothing was trained anew
    assert all(
        (a == b).all() for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )
