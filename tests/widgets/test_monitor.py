"""The training monitor without a browser: what it shows, and that nothing is left of it."""

from __future__ import annotations

import io
import threading
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.widgets import TrainingMonitor, training_monitor


def watching() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "training monitors"]


def wait_for_the_end(seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while watching():
        assert time.monotonic() < deadline, "the thread is still there"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    """Monitors of other tests are left alone at once."""
    monkeypatch.setattr(training_monitor, "UNSEEN", 0.0)
    wait_for_the_end()
    monkeypatch.setattr(training_monitor, "UNSEEN", 600.0)


def test_three_hundred_monitors_share_a_thread_that_ends(tmp_path):
    before = threading.active_count()
    monitors = [TrainingMonitor(tmp_path / str(k), poll_seconds=0.05) for k in range(300)]
    assert len(watching()) == 1 and threading.active_count() == before + 1
    for monitor in monitors:
        monitor.close()
    wait_for_the_end()
    assert threading.active_count() == before


def test_what_no_page_shows_any_more_is_left_alone(tmp_path):
    monitor = TrainingMonitor(tmp_path, poll_seconds=0.05)
    monitor.set_state({"_view_count": 1})
    assert monitor.is_wanted() and len(watching()) == 1
    monitor.set_state({"_view_count": 0})  # its cell was run again
    wait_for_the_end()
    monitor.set_state({"_view_count": 1})
    assert len(watching()) == 1, "it is shown again"
    monitor.close()


def test_what_was_never_shown_is_left_alone_after_a_while(tmp_path, monkeypatch):
    TrainingMonitor(tmp_path, poll_seconds=0.05)
    assert len(watching()) == 1
    monkeypatch.setattr(training_monitor, "UNSEEN", 0.2)
    wait_for_the_end()


def test_a_run_is_followed_shown_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(training_monitor, "UNSEEN", 0.0)
    monitor, go_on = TrainingMonitor(tmp_path, poll_seconds=0.05), threading.Event()
    wait_for_the_end()
    monitor.run(lambda output: go_on.wait(20))
    assert monitor.is_wanted() and len(watching()) == 1
    go_on.set()
    monitor.result()
    wait_for_the_end()


def test_nothing_of_lightning_is_printed_under_the_monitor(tmp_path):
    texts = [r.sequence for r in rk.datasets.load_structures("examples")]
    monitor, printed = TrainingMonitor(tmp_path, poll_seconds=0.1), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        monitor.run(
            rk.pretrain, texts, model=Config(32, 1, heads=2), steps=4, tokens_per_batch=256, accelerator="cpu"
        )
        monitor.result()
    assert printed.getvalue() == ""
    monitor.refresh()
    labels = {curve["name"]: curve["label"] for curve in monitor.curves}
    assert labels["train_loss"] == "training loss (nats a nucleotide)" and labels["lr"] == "learning rate"
    assert labels["val_perplexity"] == "validation perplexity"
    [curve] = [one for one in monitor.curves if one["name"] == "val_perplexity"]
    assert 1 < curve["level"] < 5 and curve["level_label"] == "letter frequencies alone"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), None, "1"])
def test_the_time_between_two_looks_is_a_number_above_0(tmp_path, seconds):
    with pytest.raises(ValueError, match=r"poll_seconds=.*expected a number above 0"):
        TrainingMonitor(tmp_path, poll_seconds=seconds)
