"""What the tests of jobs share: sequences, a small model, and what is looked at in a folder."""

import random

import pytest
import torch

from rinalmo_kit.inference import shards as folder_of_jobs
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo


def sequences(number, shortest=8, longest=40):
    draw = random.Random(0)
    return [
        (f"r{i}", "".join(draw.choices("ACGU", k=draw.randint(shortest, longest)))) for i in range(number)
    ]


def write(path, records):
    path.write_text("".join(f">{name} text\n{sequence}\n" for name, sequence in records))
    return path


@pytest.fixture
def records():
    return sequences(50)


@pytest.fixture
def fasta(tmp_path, records):
    return write(tmp_path / "in.fasta", records)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return RiNALMo(Config(dim=32, blocks=1, heads=2)).eval()


def shards(folder):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("part-*"))}


def check_rows(table, records):
    assert table["index"].tolist() == list(range(len(records)))
    assert table["name"].tolist() == [name for name, _ in records]


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen as the second shard is computed."""

    def let(happen):
        table_of, calls = folder_of_jobs.table_of, []

        def compute(*given):
            calls.append(given)
            if len(calls) == 2:
                happen()
            return table_of(*given)

        monkeypatch.setattr(folder_of_jobs, "table_of", compute)

    return let
