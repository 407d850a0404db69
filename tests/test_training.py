"""The training engine: its loss, its batches, and that a killed run ends where an uninterrupted one does."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import rinalmo_kit as rk
from rinalmo_kit.recipes import RECIPES
from rinalmo_kit.training import BatchPlan, finetune, structure_loss

QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}
SHORT = replace(
    RECIPES["nano-ss"],
    max_lengths=(None,) * 4,
    steps=None,
    batch_size=4,
    warmup_steps=5,
    lr=2e-3,
    language_head_steps=0,
)


def hairpins(n, *, seed):
    """Random hairpins: a stem of 4 to 7 pairs around a loop of 4 to 8, in random surroundings."""
    rng = np.random.default_rng(seed)
    structures = []
    for i in range(n):
        stem = "".join(rng.choice(list("ACGU"), rng.integers(4, 8)))
        loop, left, right = (
            "".join(rng.choice(list("ACGU"), rng.integers(*r))) for r in ((4, 9), (0, 9), (0, 9))
        )
        other = stem[::-1].translate(str.maketrans("ACGU", "UGCA"))
        k, start = len(stem), len(left)
        end = start + 2 * k + len(loop) - 1
        sequence = left + stem + loop + other + right
        structures.append(rk.Structure(sequence, [(start + j, end - j) for j in range(k)], f"hairpin {i}"))
    return structures


def tiny():
    torch.manual_seed(0)
    return rk.RiNALMo(rk.Config(32, 2, heads=4, attention_dropout=0.0, residual_dropout=0.0))


def test_loss_is_cross_entropy_over_the_upper_triangle():
    logits = torch.randn(9, 9, dtype=torch.float64)
    logits = logits.triu(1) + logits.triu(1).T
    pairs = np.array([[0, 8], [1, 7]])
    target = torch.zeros(9, 9)
    target[pairs[:, 0], pairs[:, 1]] = 1
    upper = torch.ones(9, 9).triu(1).bool()
    expected = F.binary_cross_entropy_with_logits(logits.float()[upper], target[upper], reduction="sum") / 9
    assert torch.isclose(structure_loss(logits, pairs), expected)
    assert structure_loss(logits, np.zeros((0, 2), dtype=np.int64)).isfinite()


def test_plan_is_fixed_by_the_seed_and_leaves_long_ones_out():
    lengths = [10, 60, 20, 80, 30]
    plan = BatchPlan(lengths, max_lengths=(50, None), batch_size=2, seed=3)
    first, second = plan.batches[:2], plan.batches[2:]
    assert sorted(i for b in first for i in b) == [0, 2, 4]
    assert sorted(i for b in second for i in b) == [0, 1, 2, 3, 4]
    assert plan.batches == BatchPlan(lengths, max_lengths=(50, None), batch_size=2, seed=3).batches
    assert (
        BatchPlan(lengths, max_lengths=(50, None), batch_size=2, seed=3, steps=3).batches == plan.batches[:3]
    )
    plan.start = 3
    assert list(plan) == plan.batches[3:] and len(plan) == 5


def test_finetune_learns_hairpins_and_its_file_folds(tmp_path):
    model = finetune(
        SHORT,
        model=tiny(),
        train=hairpins(240, seed=1),
        validation=hairpins(40, seed=2),
        output=tmp_path / "run",
        **QUIET,
    )
    assert not model.training and model.threshold in rk.metrics.THRESHOLDS
    path = rk.save(model, tmp_path / "hairpins.safetensors")
    unseen = hairpins(40, seed=3)
    score = rk.evaluate(path, unseen)["f1"].mean()
    trivial = rk.evaluate("most-pairs", unseen)["f1"].mean()
    assert score > trivial + 0.05, (score, trivial)
    assert (tmp_path / "run" / "last.ckpt").exists()


RUN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_training import QUIET, SHORT, hairpins, tiny
import rinalmo_kit as rk
from rinalmo_kit import training
kill_at = int(sys.argv[2])
step = training.StructureTraining.training_step
def dying(self, batch, i):
    if self.global_step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, i)
training.StructureTraining.training_step = dying
model = training.finetune(SHORT, model=tiny(), train=hairpins(48, seed=1), validation=hairpins(8, seed=2),
                          output=sys.argv[1], checkpoint_every=5, validate_every=20, **QUIET)
rk.save(model, sys.argv[1] + "/model.safetensors")
"""


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    from pathlib import Path

    script = tmp_path / "run.py"
    script.write_text(RUN.format(tests=str(Path(__file__).parent)))

    def run(folder, kill_at):
        command = [sys.executable, str(script), str(tmp_path / folder), str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = run("whole", -1)
    assert whole.returncode == 0, whole.stderr
    for kill_at in (3, 18):  # before the first checkpoint, and after one
        assert run("killed", kill_at).returncode == -signal.SIGKILL
    assert (done := run("killed", -1)).returncode == 0, done.stderr
    one, other = (rk.load(tmp_path / folder / "model.safetensors") for folder in ("whole", "killed"))
    assert one.threshold == other.threshold
    weights = other.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in one.state_dict().items())


def test_corruption_is_15_percent_80_10_10():
    from rinalmo_kit.tokens import MASK
    from rinalmo_kit.training import REPLACEMENTS, corrupt

    tokens = rk.tokenize(["ACGU" * 200] * 40, pad_to=900)
    corrupted, chosen = corrupt(tokens, generator=torch.Generator().manual_seed(1))
    number = chosen.sum().item()
    assert number / (tokens > MASK).sum().item() == pytest.approx(0.15, abs=0.01)
    assert not chosen[tokens <= MASK].any() and torch.equal(corrupted[~chosen], tokens[~chosen])
    assert (corrupted[chosen] == MASK).sum().item() / number == pytest.approx(0.8, abs=0.02)
    replaced = chosen & (corrupted != MASK) & (corrupted != tokens)
    assert replaced.sum().item() / number == pytest.approx(
        0.1 * 4 / 5, abs=0.02
    )  # one draw in five gives the same
    assert set(corrupted[replaced].tolist()) == set(REPLACEMENTS)


def test_language_head_learns_what_the_encoder_sees(tmp_path):
    import pandas as pd

    from rinalmo_kit.training import fit_language_head

    repeats = [rk.Structure(("ACGGU" * 12)[i % 5 :], []) for i in range(200)]
    model = tiny()
    encoder = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("lm_mask_head")}
    fit_language_head(model, repeats, repeats[:20], steps=350, output=tmp_path, **QUIET)
    log = pd.read_csv(next(tmp_path.rglob("metrics.csv"))).iloc[-1]
    assert log["val_perplexity"] < 0.9 * log["val_perplexity_unigram"]
    assert all(torch.equal(model.state_dict()[key], value) for key, value in encoder.items())


def test_nan_loss_names_the_batch(tmp_path):
    model = tiny()
    model.embedding.weight.data[7] = torch.nan
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 0 on .*hairpin"):
        finetune(
            SHORT,
            model=model,
            train=hairpins(4, seed=1),
            validation=hairpins(2, seed=2),
            output=tmp_path,
            **QUIET,
        )


def test_recipe_of_the_embedded_model_runs_on_real_rows(data, tmp_path):
    train = [s for s in rk.datasets.load_structures("bprna", "TR0") if len(s) < 60][:8]
    recipe = replace(RECIPES["nano-ss"], max_lengths=(None,), steps=2, language_head_steps=2)
    model = finetune(recipe, train=train, validation=train[:2], output=tmp_path, **QUIET)
    assert model.config.dim == rk.Config.nano().dim and model.head is not None


def test_tables_have_the_counts_their_readme_states(data):
    assert {split: len(rk.datasets.load_structures("bprna", split)) for split in ("TR0", "VL0", "TS0")} == {
        "TR0": 8568,
        "VL0": 1076,
        "TS0": 653,
    }
    with pytest.raises(ValueError, match="'bprna' has no split 'TS1'"):
        rk.datasets.load_structures("bprna", "TS1")


def test_without_tables_the_error_says_what_to_set(monkeypatch):
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set the environment variable RINALMO_KIT_DATA"):
        rk.datasets.load_structures("bprna")


def test_baselines():
    pytest.importorskip("RNA")
    from rinalmo_kit.baselines import most_pairs, viennarna

    rng = np.random.default_rng(0)
    for length in (1, 5, 30, 60):
        sequence = "".join(rng.choice(list("ACGU"), length))
        best, mfe = most_pairs(sequence), viennarna(sequence)
        assert len(best.pairs) >= len(mfe.pairs)
        assert set(best.dot_bracket) <= set("().")
        assert all(sequence[i] + sequence[j] in rk.structure.CANONICAL and j - i >= 4 for i, j in best.pairs)
    assert viennarna("GGGGGAAAACCCCC").dot_bracket == "(((((....)))))"
