"""Sequences in the hands of other libraries: each works or is rejected by name, in every function that takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import rinalmo_kit as rk
from rinalmo_kit.datasets.user_tables import as_table
from rinalmo_kit.evaluation import exact_duplicates, kmer_counts, masked_probabilities, mutation_effects
from rinalmo_kit.evaluation.baselines import ngram_perplexity, simple
from rinalmo_kit.inference.folding import fold_each
from rinalmo_kit.rna.sequences import is_single, read_one, read_sequences, stream_sequences
from tests.helpers.examples import tiny

with contextlib.suppress(ImportError):  # before other tests put stand-ins in its place
    import Bio.SeqRecord  # noqa: F401

A, B = "GGGGAAAACCCC", "GAUUACA"
NAMED = [("a", A), ("b", B)]
ROWS = [("row 1", A), ("row 2", B)]
NUMBERED = [("sequence 1", A), ("sequence 2", B)]
TABLE = pd.DataFrame({"id": ["a", "b"], "sequence": [A, B], "family": ["tRNA", "GUN"]})  # families of letters
ARROW = pa.table({"id": ["a", "b"], "sequence": [A, B]})


# --- a stand-in with the protocol of polars, where it is not installed


class Series:
    """Like polars': no index, no dtype of NumPy."""

    def __init__(self, values: list[Any]) -> None:
        self._values, self.dtype, self.shape = values, "String", (len(values),)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_list(self) -> list[Any]:
        return self._values

    def to_pandas(self) -> None:
        raise ModuleNotFoundError("pa.Array requires 'pyarrow' module to be installed")


class DataFrame:
    """Like polars': iterating gives columns, ``in`` asks for names."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self._data, self.columns = data, list(data)
        self.shape = (len(next(iter(data.values()))), len(data))

    def __iter__(self) -> Iterator[Series]:
        return (Series(values) for values in self._data.values())

    def __contains__(self, name: object) -> bool:
        return name in self._data

    def __getitem__(self, name: str) -> Series:
        return Series(self._data[name])

    def get_column(self, name: str) -> Series:
        return self[name]

    def to_pandas(self) -> None:
        raise ModuleNotFoundError("pyarrow is required")


class LazyFrame:
    columns = ("id", "sequence")

    def collect(self) -> None:
        raise AssertionError("nobody asked for this")


for kind in (Series, DataFrame, LazyFrame):
    kind.__module__ = "polars.dataframe.frame"

POLARS = DataFrame({"id": ["a", "b"], "sequence": [A, B]})


def of_biopython() -> dict[str, tuple[Any, Any]]:
    seq, record = pytest.importorskip("Bio.Seq"), pytest.importorskip("Bio.SeqRecord")
    records = [record.SeqRecord(seq.Seq(one), id=name) for name, one in NAMED]
    return {
        "Seq": (seq.Seq(A), [("sequence", A)]),
        "SeqRecord": (records[0], NAMED[:1]),
        "SeqRecords": (records, NAMED),
        "parse": (iter(records), NAMED),
        "to_dict": ({one.id: one for one in records}, NAMED),
        "Seqs": ([seq.Seq(A), seq.Seq(B)], NUMBERED),
    }


def of_datasets() -> dict[str, tuple[Any, Any]]:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"id": ["a", "b"], "sequence": [A, B], "label": [1, 2]})
    bare = made.remove_columns(["id"])
    return {
        "Dataset": (made, NAMED),
        "column": (made["sequence"], NUMBERED),
        "row": (made[0], NAMED[:1]),
        "rows": (list(made), NAMED),
        "streamed": (iter(made.to_iterable_dataset()), NAMED),
        "rows without names": (list(bare), NUMBERED),
        "without names": (bare, ROWS),
        "slice": (made[:2], NAMED),
    }


MEANT: dict[str, tuple[Any, Any]] = {
    "polars DataFrame": (POLARS, NAMED),
    "polars without names": (DataFrame({"sequence": [A, B]}), ROWS),
    "polars Series": (Series([A, B]), NUMBERED),
    "pyarrow Table": (ARROW, NAMED),
    "pyarrow RecordBatch": (ARROW.to_batches()[0], NAMED),
    "pyarrow RecordBatchReader": (ARROW.to_reader(), NAMED),
    "pyarrow ChunkedArray": (ARROW["sequence"], NUMBERED),
    "pyarrow Array": (pa.array([A, B]), NUMBERED),
    "pyarrow large strings": (pa.array([A, B], pa.large_string()), NUMBERED),
    "pyarrow dictionary": (pa.array([A, B]).dictionary_encode(), NUMBERED),
    "pyarrow scalars": (list(pa.array([A, B])), NUMBERED),
    "pyarrow scalar": (pa.scalar(A), [("sequence", A)]),
    "pandas row": (TABLE.iloc[0], NAMED[:1]),
    "pandas iterrows": (TABLE.iterrows(), NAMED),
    "pandas itertuples": (TABLE.itertuples(), NAMED),
    "pandas itertuples of two": (TABLE[["sequence", "id"]].itertuples(index=False), NAMED),
    "pandas column alone": (TABLE[["sequence"]].itertuples(), NUMBERED),
    "pandas string[pyarrow]": (TABLE["sequence"].astype("string"), NUMBERED),
    "pandas from records": (TABLE.to_dict("records"), NAMED),
    "numpy unicode": (np.array([A, B]), NUMBERED),
    "numpy StringDType": (np.array([A, B], dtype=np.dtypes.StringDType()), NUMBERED),
    "numpy str_": ([np.str_(A), np.str_(B)], NUMBERED),
    "numpy list of arrays": (np.array([A, B], dtype=object), NUMBERED),
}


@pytest.mark.parametrize("kind", MEANT)
def test_what_is_read(kind: str) -> None:
    given, expected = MEANT[kind]
    assert read_sequences(given) == expected


@pytest.mark.parametrize("library", [of_biopython, of_datasets])
def test_what_is_read_of_installed_libraries(library: Callable[[], dict[str, tuple[Any, Any]]]) -> None:
    for kind, (given, expected) in library().items():
        assert read_sequences(given) == expected, kind


REJECTED: dict[str, tuple[Any, type[Exception], str]] = {
    "polars LazyFrame": (LazyFrame(), TypeError, r"a LazyFrame has no rows yet: pass LazyFrame\.collect\(\)"),
    "polars other table": (DataFrame({"RNA": [A]}), ValueError, "no column 'sequence'; it has RNA"),
    "polars null": (Series([A, None]), TypeError, "'sequence 2': .*the value is missing"),
    "pyarrow other table": (pa.table({"RNA": [A]}), ValueError, "no column 'sequence'; it has RNA"),
    "pyarrow null": (pa.array([A, None]), TypeError, "'sequence 2': .*the value is missing"),
    "pyarrow null scalar": (
        [pa.scalar(None, pa.string())],
        TypeError,
        "'sequence 1': .*the value is missing",
    ),
    "pyarrow numbers": (pa.array([1, 2]), TypeError, "not a .* of int64"),
    "pyarrow binary": (pa.array([A.encode()]), TypeError, "'sequence 1': .*not bytes; decode it"),
    "row without name": (
        TABLE[["sequence", "family"]].iloc[0],
        ValueError,
        "a Series with the keys sequence, family",
    ),
    "dict without name": (
        {"sequence": A, "family": "GUN"},
        ValueError,
        r"may be a row of a table .*pass \[row\]",
    ),
    "two columns": (
        pd.concat([TABLE, TABLE[["sequence"]]], axis=1),
        ValueError,
        "the DataFrame has 2 columns 'sequence': expected one",
    ),
    "numpy 0-d": (np.array(A), TypeError, r"not a ndarray of <U12 and shape \(\)"),
    "numpy column": (np.array([[A], [B]]), TypeError, r"shape \(2, 1\)"),
    "numpy structured": (
        np.array([("a", A)], dtype=[("id", "U5"), ("sequence", "U20")]),
        TypeError,
        "not a ndarray",
    ),
    "numpy bytes": (np.array([A.encode()]), TypeError, r"not a ndarray of \|S12"),
    "letters of a generator": ((letter for letter in A), ValueError, "a generator of .* single letters"),
    "letters of an iterator": (
        iter(A),
        ValueError,
        "a str_ascii_iterator of .* single letters|single letters",
    ),
    "paths in a list": ([Path("a.fa")], TypeError, "'sequence 1': a sequence must be a str, not .*Path"),
    "columns of a table": (TABLE.items(), TypeError, "'id': a sequence must be a str, not Series"),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_what_is_rejected(kind: str) -> None:
    given, error, words = REJECTED[kind]
    with pytest.raises(error, match=words):
        read_sequences(given)
    if not isinstance(given, Iterator):
        with pytest.raises(error, match=words):
            list(fold_each(given))


def test_splits_of_a_dataset_are_rejected() -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.DatasetDict(train=datasets.Dataset.from_dict({"sequence": [A]}))
    with pytest.raises(
        TypeError, match=r"a DatasetDict of several splits: give one of them, as data\['train'\]"
    ):
        read_sequences(made)


# --- every function that takes sequences

TAKERS: dict[str, Callable[[Any], int]] = {
    "tokenize": lambda given: len(rk.tokenize(given)),
    "embed": lambda given: len(rk.embed(given, model=tiny().eval())),
    "fold": lambda given: len(rk.fold(given, energy=None)),
    "fold_each": lambda given: len(list(fold_each(given, energy=None))),
    "predict": lambda given: len(rk.predict(given)),
    "kmer_counts": lambda given: len(kmer_counts(given)),
    "exact_duplicates": lambda given: len(exact_duplicates([A, B], given)),
    "stream_sequences": lambda given: len(list(stream_sequences(given))),
    "simple": lambda given: len(simple("multiclass", ["GGGG", "CCC"] * 5, ["a", "b"] * 5, given)),
}


@pytest.mark.parametrize("function", TAKERS)
def test_every_function_takes_them(function: str, tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(f">a\n{A}\n>b\n{B}\n")
    take = TAKERS[function]
    for given in (
        TABLE,
        POLARS,
        ARROW,
        pd.Series([A, B]),
        np.array([A, B]),
        iter([A, B]),
        tmp_path / "x.fa",
        {"a": A, "b": B},
    ):
        assert take(given) == 2, type(given)
    letters = [] if function == "tokenize" else [list(A)]  # of which single letters are sequences
    for given in (TABLE.rename(columns={"sequence": "RNA"}), {A, B}, A.encode(), *letters):
        with pytest.raises((TypeError, ValueError)):
            take(given)


def test_one_sequence_is_one_sequence() -> None:
    """A string where several are expected is not taken for its letters."""
    assert kmer_counts(A).shape[0] == 1
    assert exact_duplicates({A}, A).tolist() == [0]
    assert ngram_perplexity(A * 5, A) == ngram_perplexity([A * 5], [A])
    assert [s.sequence for s in fold_each(A, energy=None)] == [A]
    seq = pytest.importorskip("Bio.Seq").Seq(A)
    effects = [mutation_effects(one, lambda s: [len(set(text)) for text in s]) for one in (seq, A)]
    assert np.array_equal(*effects)
    model = tiny().eval()
    assert np.allclose(masked_probabilities(seq, model=model), masked_probabilities(A, model=model))
    assert is_single(TABLE.iloc[0])
    assert is_single(pa.scalar(A))
    with pytest.raises(ValueError, match="expected one sequence, found 2"):
        read_one([A, B])


def test_records_are_streamed() -> None:
    """A generator without end, of which one record is asked for."""

    def endless() -> Iterator[Any]:
        yield {"sequence": A, "label": 1}
        while True:
            yield pd.Series({"id": "b", "sequence": B})

    found = stream_sequences(endless())
    assert [next(found), next(found)] == [("sequence 1", A), ("b", B)]
    assert next(fold_each(endless(), energy=None)).sequence == A


def test_tables_with_answers_of_other_libraries() -> None:
    wanted = {"sequence": [A, B], "label": [1, 2]}
    datasets = pytest.importorskip("datasets")
    for given in (
        DataFrame(wanted),
        pa.table(wanted),
        pa.table(wanted).to_reader(),
        datasets.Dataset.from_dict(wanted),
        (row for row in pd.DataFrame(wanted).to_dict("records")),
    ):
        assert as_table(given)[["sequence", "label"]].to_dict("list") == wanted
    with pytest.raises(TypeError, match=r"a LazyFrame has no rows yet: pass LazyFrame\.collect\(\)"):
        as_table(LazyFrame())
    with pytest.raises(TypeError, match="a Series is not a table"):
        as_table(pd.Series([A]))
    structures = DataFrame({"sequence": [A], "dot_bracket": ["((((....))))"]})
    assert rk.evaluate("trivial", structures, draws=0)["f1"] == 1


@pytest.mark.parametrize("header", ["id,sequence,label", "name\tSequence", "sequence;id"])
def test_the_path_of_a_table_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\n1,{A},0\n")
    for read in (read_sequences, lambda path: list(stream_sequences(path))):
        with pytest.raises(
            ValueError, match=r"x\.csv is a table: pass it as a DataFrame, such as pandas\.read_csv"
        ):
            read(path)
    structure = rk.Structure("GAAAC", [(0, 4)], "sequence")
    assert rk.read_structures(structure.write(tmp_path / "x.ct")) == [structure]
