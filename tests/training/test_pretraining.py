"""Pretraining: its data, its loss, that it learns, and that killed and shared runs end as a plain one does."""

import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import rinalmo_kit as rk
from rinalmo_kit.datasets.corpus import build_corpus_from_table
from rinalmo_kit.datasets.corpus.store import ListCorpus, as_corpus
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.rna.alphabet import CLS, EOS, MASK, PAD
from rinalmo_kit.training.masking import (
    REPLACEMENTS,
    MaskedDataset,
    batches_of,
    collate,
    corrupt,
    token_batches,
)
from rinalmo_kit.training.pretraining import pretrain
from tests.helpers.pretraining_run import QUIET, SHORT, repeats, tiny

pytestmark = pytest.mark.xdist_group("pretraining")  # what is made once serves all

SCRIPT = Path(__file__).parents[1] / "helpers" / "pretraining_run.py"


def log_of(folder):
    tables = [pd.read_csv(path) for path in sorted(Path(folder).glob("log/*/metrics.csv"))]
    return pd.concat(tables)


def random_corpus(n, *, longest=300, seed=0):
    rng = np.random.default_rng(seed)
    records = [(f"rna {i}", "".join(rng.choice(list("ACGU"), rng.integers(16, longest)))) for i in range(n)]
    return ListCorpus(records, families=[f"family {i // 2}" for i in range(n)], holdout=0.1)


def test_corrupt_chooses_15_percent_80_10_10():
    tokens = rk.tokenize(["ACGU" * 200] * 40, pad_to=900)
    corrupted, chosen = corrupt(tokens, generator=torch.Generator().manual_seed(1))
    number = chosen.sum().item()
    assert number / (tokens > MASK).sum().item() == pytest.approx(0.15, abs=0.01)
    assert not chosen[tokens <= MASK].any() and torch.equal(corrupted[~chosen], tokens[~chosen])
    assert (corrupted[chosen] == MASK).sum().item() / number == pytest.approx(0.8, abs=0.02)
    replaced = chosen & (corrupted != MASK) & (corrupted != tokens)
    share = 0.1 * 4 / 5  # one draw in five gives the same
    assert replaced.sum().item() / number == pytest.approx(share, abs=0.02)
    assert set(corrupted[replaced].tolist()) == set(REPLACEMENTS.tolist())


def test_items_depend_on_seed_epoch_and_number_alone():
    corpus = ListCorpus([("long", "ACGU" * 50), ("short", "GGAUC")], holdout=0)
    items = [
        MaskedDataset(corpus, seed=seed, max_tokens=60)[epoch, 0, place]
        for seed, epoch, place in ((1, 0, 0), (1, 0, 7), (1, 1, 0), (2, 0, 0))
    ]
    same, *others = [[torch.equal(a, b) for a, b in zip(items[0][:3], item[:3])] for item in items[1:]]  # noqa: B905
    assert all(same) and not any(all(other) for other in others)
    tokens, corrupted, chosen, _ = items[0]
    assert len(tokens) == 60 and not torch.isin(tokens, torch.tensor([CLS, EOS])).all()
    batch = collate([items[0], MaskedDataset(corpus, seed=1, max_tokens=60)[0, 1, 1]])
    assert batch.tokens.shape == (2, 60) and (batch.tokens[1, 7:] == PAD).all()
    assert not batch.chosen[1, 7:].any() and torch.equal(batch.corrupted[0], corrupted)
    assert torch.equal(batch.chosen[0], chosen)


def test_batches_hold_every_sequence_once_within_the_budget_at_similar_lengths():
    corpus = random_corpus(4000)
    rows = corpus.epoch(0, 3)
    assert len(rows) == len(corpus.train) == 1800  # one of each of the 2000 clusters that are not held out
    lengths = corpus.lengths[rows] + 2
    batches = list(token_batches(rows, lengths, tokens_per_batch=2000, epoch=5, seed=0))
    assert sorted(row for batch in batches for _, row, _ in batch) == sorted(rows)
    assert all([place for _, _, place in batch] == list(range(len(batch))) for batch in batches)
    assert {epoch for batch in batches for epoch, _, _ in batch} == {5}
    sizes = [corpus.lengths[[row for _, row, _ in batch]] + 2 for batch in batches]
    assert max(size.sum() for size in sizes) <= 2000
    assert len(batches) < 1.1 * lengths.sum() / 2000
    padding = 1 - lengths.sum() / sum(size.max() * len(size) for size in sizes)
    assert padding < 0.08
    order = np.array([size.mean() for size in sizes])
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3  # short and long ones in turn
    again = list(token_batches(rows, lengths, tokens_per_batch=2000, epoch=5, seed=0))
    other = list(token_batches(rows, lengths, tokens_per_batch=2000, epoch=5, seed=1))
    assert batches == again != other


def test_a_run_takes_one_sequence_of_each_cluster_an_epoch_and_none_that_is_held_out():
    corpus = random_corpus(200)
    loader = batches_of(corpus, tokens_per_batch=3000, max_tokens=100, epochs=3, seed=1)
    epochs = {}
    for batch in loader:
        assert batch.tokens.shape[1] <= 100
        for epoch, row, _ in batch.items:
            epochs.setdefault(epoch, []).append(row)
    clusters = [sorted(row // 2 for row in rows) for rows in epochs.values()]
    assert clusters == [list(corpus.train)] * 3
    assert epochs[0] != epochs[1] and set(epochs[0]) != set(epochs[1])
    held_out = batches_of(corpus, tokens_per_batch=3000, max_tokens=100, held_out=True)
    first, second = ([torch.cat([b.corrupted.flatten() for b in held_out])] for _ in range(2))
    assert torch.equal(first[0], second[0])  # the same masks every time
    assert sorted(r // 2 for b in held_out for _, r, _ in b.items) == list(corpus.holdout)


def test_workers_load_the_same():
    corpus = random_corpus(60)
    options = {"tokens_per_batch": 1000, "max_tokens": 100, "steps": 7}
    alone, helped = (list(batches_of(corpus, workers=n, **options)) for n in (0, 2))
    assert [a.items for a in alone] == [b.items for b in helped]
    assert all(torch.equal(a.corrupted, b.corrupted) for a, b in zip(alone, helped, strict=True))


def test_corpus_of_what_a_user_has(tmp_path):
    table = pd.DataFrame({"id": list("abc"), "sequence": ["ACGT", "gg", "CCA"], "family": ["x", None, "x"]})
    corpus = as_corpus(table)
    assert len(corpus) == 2 and corpus.sequence(0) == ("a", "ACGU") and corpus.sequence(2) == ("b", "GG")
    table.to_parquet(tmp_path / "t.parquet")
    assert as_corpus(tmp_path / "t.parquet").records == corpus.records
    assert len(as_corpus(table.assign(family=["x", "", ""]))) == 3  # an empty family is none
    (tmp_path / "t.fasta").write_text(">a\nACGU\n>b\nGGX\n")
    with pytest.raises(ValueError, match="'b', position 3: 'X'"):
        as_corpus(tmp_path / "t.fasta")
    with pytest.raises(ValueError, match="no column 'sequence'; it has id"):
        as_corpus(table[["id"]])
    with pytest.raises(ValueError, match="'e' is empty"):
        as_corpus({"a": "ACG", "e": ""})


def test_learns_repeats_logs_and_keeps_to_the_schedule(tmp_path):
    options = {**SHORT, **QUIET, "steps": 150, "tokens_per_batch": 800, "validate_every": 150}
    corpus = ListCorpus([(f"rna {i}", s) for i, s in enumerate(repeats(400))], holdout=0.05)
    model = pretrain(corpus, output=tmp_path, model=tiny(0.0), **options)
    log = log_of(tmp_path)
    last = log.dropna(subset="val_perplexity").iloc[-1]
    assert last["val_perplexity"] < 0.6 * last["val_perplexity_unigram"]
    rates = log["lr"].dropna().to_numpy()
    assert rates[0] == pytest.approx(1e-7 + (3e-3 - 1e-7) / 15)  # a tenth of the run is warm-up
    assert rates.argmax() in (14, 15) and rates.max() == pytest.approx(3e-3)
    assert (np.diff(rates[15:]) < 0).all() and rates[-1] == pytest.approx(1e-5, rel=0.2)
    speed = log.dropna(subset="mfu").iloc[-1]
    assert speed["tokens_seen"] == model.about["pretraining"]["tokens_seen"] > 100 * 700
    assert speed["tokens_per_second"] > 0 and 0 < speed["mfu"] < 1
    # the perplexity, computed anew from the saved model
    saved = rk.load(tmp_path / "model.safetensors", config=tiny(0.0))
    nll, counts = [], torch.zeros(22)
    for batch in batches_of(corpus, tokens_per_batch=300, max_tokens=1024, held_out=True):
        with torch.no_grad():
            logits = saved(batch.corrupted).logits[batch.chosen]
        nll.append(F.cross_entropy(logits, batch.tokens[batch.chosen], reduction="none"))
        counts += batch.tokens[batch.chosen].bincount(minlength=22)
    assert last["val_perplexity"] == pytest.approx(math.exp(torch.cat(nll).mean()), rel=1e-4)
    entropy = torch.distributions.Categorical(probs=counts / counts.sum()).entropy()
    assert last["val_perplexity_unigram"] == pytest.approx(math.exp(entropy), rel=1e-4)


def test_a_finished_run_gives_its_model_again_and_another_is_refused(tmp_path):
    options = {**SHORT, **QUIET, "steps": 3}
    model = pretrain(repeats(30), output=tmp_path / "run", model=tiny(0.1), **options)
    again = pretrain(repeats(30), output=tmp_path / "run", model=tiny(0.1), **options)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not again.training and len(list((tmp_path / "run" / "log").iterdir())) == 1  # it did not train
    with pytest.raises(ValueError, match=r"holds another run.*\n.*steps: 3 there, 4 asked for"):
        pretrain(repeats(30), output=tmp_path / "run", model=tiny(0.1), **{**options, "steps": 4})
    with pytest.raises(ValueError, match=r"data: other training rows"):
        pretrain(repeats(31), output=tmp_path / "run", model=tiny(0.1), **options)
    with pytest.raises(ValueError, match="say how long to train"):
        pretrain(repeats(30), output=tmp_path / "other")


def test_goes_on_from_a_model_without_its_task_head(tmp_path):
    model = pretrain(
        repeats(12), output=tmp_path, model="nano-ss", **{**SHORT, **QUIET, "steps": 1, "lr": 1e-9}
    )
    start = rk.load("nano-ss", device="cpu")
    assert model.head is None and model.threshold is None
    assert torch.allclose(model.embedding.weight, start.embedding.weight, atol=1e-7)
    assert rk.load(tmp_path / "model.safetensors").about["pretraining"]["start"] == "nano-ss"


def test_frozen_encoder_stays_and_its_language_head_learns(tmp_path):
    torch.manual_seed(0)
    model = RiNALMo(tiny(0.1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    options = {**SHORT, **QUIET, "steps": 60, "validate_every": 1000}
    pretrain(repeats(100), output=tmp_path, model=model, freeze_encoder=True, **options)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if not k.startswith("lm_mask_head"))
    loss = log_of(tmp_path)["train_loss"].dropna().to_numpy()
    assert loss[-5:].mean() < 0.8 * loss[:5].mean()
    assert all(p.requires_grad for p in model.parameters())


def test_checkpointing_of_gradients_changes_nothing(tmp_path):
    options = {**SHORT, **QUIET, "steps": 4}
    one, other = (
        pretrain(
            repeats(30), output=tmp_path / str(flag), model=tiny(0.1), gradient_checkpointing=flag, **options
        )
        for flag in (False, True)
    )
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_nan_loss_names_the_batch(tmp_path):
    model = RiNALMo(tiny(0.1))
    model.embedding.weight.data[6] = torch.nan
    corpus = {f"rna {i}": s for i, s in enumerate(repeats(20))}
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 0 on .*'rna \d+'"):
        pretrain(corpus, output=tmp_path, model=model, **SHORT, **QUIET)
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_with_the_same_weights(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "killed"], capture_output=True, text=True, check=False
    )
    kill = -signal.SIGKILL
    assert done.stdout.splitlines() == [
        f"before the first checkpoint: {kill} None",
        f"after a checkpoint: {kill} 4",
        f"in the validation: {kill} 16",
        f"while a checkpoint is written: {kill} 16",
        "on a full disk: 3 16",
        f"before the model is saved: {kill} 24",
        "nowhere: 0 24",
        "nowhere: 0 24",
    ], done.stdout + done.stderr
    assert "could not be written; the one before is as it was. Is the disk full?" in done.stderr
    assert not list((tmp_path / "killed").glob("*.tmp")) and not list((tmp_path / "killed").glob(".*.tmp"))
    states = [
        rk.load(tmp_path / f / "model.safetensors", config=tiny(0.1)).state_dict()
        for f in ("whole", "killed")
    ]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    [run] = in_processes(folder, 1, "auto")
    return {**run, "losses": log_of(folder)["train_loss"].dropna().to_numpy()}


def in_processes(folder, number, strategy):
    command = [sys.executable, str(SCRIPT), str(folder), str(number), strategy]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return [torch.load(folder / f"rank{i}.pt", weights_only=True) for i in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_share_a_run_and_end_with_the_weights_of_one(tmp_path, alone, strategy):
    ranks = in_processes(tmp_path, 2, strategy)
    assert len(alone["seen"]) == 24
    for mine, yours, all_of_it in zip(ranks[0]["seen"], ranks[1]["seen"], alone["seen"], strict=True):
        assert sorted(mine + yours) == sorted(all_of_it)
    for key, value in alone["state"].items():
        assert torch.equal(ranks[0]["state"][key], ranks[1]["state"][key])
        assert torch.allclose(ranks[0]["state"][key], value, atol=1e-5), key
    losses = log_of(tmp_path)["train_loss"].dropna().to_numpy()  # of both processes together
    assert losses == pytest.approx(alone["losses"], rel=1e-3)
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / "last.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_with_compiled_blocks_end_with_the_weights_of_one(tmp_path, alone, strategy):
    ranks = in_processes(tmp_path, 2, f"{strategy}-compiled")
    for key, value in alone["state"].items():
        assert torch.equal(ranks[0]["state"][key], ranks[1]["state"][key])
        assert torch.allclose(ranks[0]["state"][key], value, atol=1e-3), key  # Adam makes steps of rounding
    losses = log_of(tmp_path)["train_loss"].dropna().to_numpy()
    assert losses == pytest.approx(alone["losses"], rel=1e-3)


@pytest.mark.slow
def test_nano_beats_letter_frequencies_on_real_rows(data, tmp_path):
    table = pd.read_parquet(data / "pretrain_ncrna" / "pretrain_ncrna.parquet")
    table = table[table["sequence"].str.len().between(60, 90)][["id", "sequence"]].iloc[:3000]
    options = {**QUIET, "steps": 100, "tokens_per_batch": 1200, "lr": 2e-3, "validate_every": 1000}
    pretrain(table, output=tmp_path, model=Config(80, 3, heads=20), **options)
    last = log_of(tmp_path).dropna(subset="val_perplexity").iloc[-1]
    assert last["val_perplexity"] < last["val_perplexity_unigram"]


def test_command_line(tmp_path, capsys):
    from rinalmo_kit.cli import main

    fasta = tmp_path / "rnas.fasta"
    fasta.write_text("".join(f">r{i}\n{sequence}\n" for i, sequence in enumerate(repeats(12))))
    quiet = [f"--trainer={key}={value}" for key, value in QUIET.items()]
    command = ["pretrain", str(fasta), "-o", str(tmp_path / "run"), "-m", "nano", "--steps", "1", *quiet]
    assert main(command) == 0
    path = Path(capsys.readouterr().out.split()[-1])
    assert rk.load(path).about["pretraining"]["start"] == "nano"
    assert main([*command[:-4], "--steps", "2"]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_trains_from_a_corpus_on_disk_with_workers(tmp_path):
    pytest.importorskip("lmdb")
    table = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(40)],
            "sequence": sorted(set(repeats(40)) | {"ACGU" * (4 + i) for i in range(40)})[:40],
        }
    )
    corpus = build_corpus_from_table(table, tmp_path / "corpus", holdout=0.1, progress=False)
    options = {**SHORT, **QUIET, "steps": 4, "model": tiny(0.1)}
    one = pretrain(tmp_path / "corpus", output=tmp_path / "one", workers=2, **options)
    other = pretrain(corpus, output=tmp_path / "other", **options)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert log_of(tmp_path / "one")["val_perplexity"].notna().any()
