"""Batches of a CPU that are computed several at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import rinalmo_kit as rk
from rinalmo_kit.inference.batching import run_with_oom_retry
from rinalmo_kit.inference.threads import LONGEST, computed_ahead

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rnas() -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ACGU"), length)) for length in (1, 30, 61, 150, 200, 90, 420, 77, 510)]


@torch.inference_mode()
def where(pieces: list[int], **options: object) -> dict[int, str]:
    """Return the name of the thread that computes each piece."""
    found = computed_ahead(lambda _: threading.current_thread().name, pieces, lambda x: x, CPU, **options)
    return {piece: result() for piece, result in found}


def test_pieces_of_a_cpu_are_computed_by_other_threads_but_for_long_ones(two_threads: None):
    here = threading.current_thread().name
    found = where([10, 20, LONGEST, LONGEST + 1, 30])
    assert {piece for piece, thread in found.items() if thread == here} == {LONGEST + 1}


def test_one_piece_or_one_thread_needs_no_others(two_threads: None):
    here = {threading.current_thread().name}
    assert set(where([10]).values()) == set(where([10, LONGEST + 1]).values()) == here
    torch.set_num_threads(1)
    assert set(where([10, 20]).values()) == here


def test_nothing_is_computed_ahead_with_gradients(two_threads: None):
    found = list(computed_ahead(lambda _: torch.is_grad_enabled(), [1, 2], lambda x: x, CPU))
    assert [result() for _, result in found] == [True, True]


def test_each_piece_has_one_thread_and_the_caller_keeps_its_own(two_threads: None):
    with torch.inference_mode():
        found = computed_ahead(
            lambda _: (torch.get_num_threads(), torch.is_inference_mode_enabled()), range(5), lambda x: x, CPU
        )
        assert [result() for _, result in found] == [(1, True)] * 5
    assert torch.get_num_threads() == 2
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [2]


def test_an_error_belongs_to_its_piece_and_no_thread_stays(two_threads: None):
    def compute(piece: int) -> int:
        return 6 // piece

    before = threading.active_count()
    with torch.inference_mode():
        found = computed_ahead(compute, [1, 2, 0, 3], lambda x: x, CPU)
        assert next(found)[1]() == 6
        assert next(found)[1]() == 3
        with pytest.raises(ZeroDivisionError):
            next(found)[1]()
        found.close()
    assert threading.active_count() == before


def test_a_batch_for_which_memory_does_not_suffice_is_halved(two_threads: None):
    def compute(batch: list[int]) -> list[int]:
        if len(batch) > 2:
            raise MemoryError
        return [10 * i for i in batch]

    with torch.inference_mode():
        found = list(run_with_oom_retry([[0, 1, 2, 3], [4], [5, 6]], [9] * 7, compute, CPU))
    assert found == [([0, 1], [0, 10]), ([2, 3], [20, 30]), ([4], [40]), ([5, 6], [50, 60])]


def test_two_threads_fold_embed_and_predict_as_one_does(two_threads: None, rnas: list[str]):
    def everything() -> tuple[list, np.ndarray, np.ndarray]:
        folds = rk.fold(rnas, energy=None)
        vectors = rk.embed(rnas * 9, pool="mean")
        return folds, vectors, rk.predict(rnas, model="pico-ncrna-0")["probability"].to_numpy()

    folds, vectors, probabilities = everything()
    torch.set_num_threads(1)
    folds_1, vectors_1, probabilities_1 = everything()
    assert [s.sequence for s in folds] == rnas
    for one, other in zip(folds, folds_1, strict=True):
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert one.dot_bracket == other.dot_bracket
    assert np.allclose(vectors, vectors_1, atol=1e-4)
    assert np.allclose(probabilities, probabilities_1, atol=1e-5)
