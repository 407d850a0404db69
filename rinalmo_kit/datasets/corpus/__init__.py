"""The corpus of pretraining: build, store, read."""

from .build import build_corpus, build_corpus_from_table
from .store import Corpus, CorpusDataset, ListCorpus, as_corpus, crop

__all__ = [
    "Corpus",
    "CorpusDataset",
    "ListCorpus",
    "as_corpus",
    "build_corpus",
    "build_corpus_from_table",
    "crop",
]


def __dir__() -> list[str]:
    return sorted(__all__)
