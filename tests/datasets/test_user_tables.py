"""What users have for tables: text that stays text, every form, missing values, files that are no tables."""

import bz2
import datetime
import decimal
import gzip
import json
import lzma
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit.datasets.user_tables import as_table, ending_of, read_table
from rinalmo_kit.evaluation import evaluate
from rinalmo_kit.recipes.user_data import validate_user_table
from rinalmo_kit.training.finetuning import finetune
from tests.helpers.examples import QUIET, classes, hairpins, tiny

WORDS = ["00001", "007", "1.10", "1e5", "NA", "None", "nan", "NaN", "null", "N/A", "TRUE", "False", " x "]
WORDS += [
    "-0",
    "1_000",
    "+5",
    "0x1F",
    "1E400",
    "inf",
    "<NA>",
    "Bänder",
    'with "quotes"',
    "a,b",
    "a;b",
    "2024-01-02",
]
SEQUENCES = ["ACGU" + "ACGU"[i % 4] * (i + 1) for i in range(len(WORDS))]
ONCE = {"changes": {"epochs": 1}, **QUIET}


def words(**columns):
    return pd.DataFrame({"id": WORDS, "sequence": SEQUENCES, "label": WORDS[::-1], **columns})


PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def write(table, path):
    """Write a table as the name of the file says."""
    ending = ending_of(path)
    if ending == ".parquet":
        table.to_parquet(path)
        return path
    text = table.to_csv(index=False, sep="," if ending == ".csv" else "\t")
    packer = next(p for end, p in reversed(PACKERS.items()) if path.name.lower().endswith(end))
    path.write_bytes(packer(text.encode()))
    return path


# --- text stays text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["t.csv", "T.CSV", "t.tsv", "t.Tsv", "t.txt", "t.parquet", "T.PARQUET", "t.csv.gz", "T.TSV.gz"]
)
def test_ids_and_labels_keep_their_letters(name, tmp_path):
    path = write(words(), tmp_path / name)
    found = validate_user_table(path, task="classification")
    assert found["id"].tolist() == WORDS and found["target"].tolist() == WORDS[::-1]
    assert read_table(str(path))["id"].tolist() == WORDS


def test_a_model_predicts_the_labels_as_they_were_written(tmp_path):
    rows = classes(24, seed=1).replace({"label": {"rich": "007", "poor": "None"}})
    rows["id"] = [f"{i:05}" for i in range(24)]
    path = write(rows, tmp_path / "t.csv")
    model = finetune(str(path), task="classification", model=tiny(), output=tmp_path / "run", **ONCE)
    assert model.labels == ("007", "None")
    saved = tmp_path / "run" / "model.safetensors"
    predicted = rk.predict(rows["sequence"].tolist(), model=saved)
    assert set(predicted["label"]) <= {"007", "None"} and {"P(007)", "P(None)"} < set(predicted)
    result = evaluate(saved, path, task="classification", draws=0)
    assert set(result.samples["target"]) <= {"007", "None"} and set(result.samples["name"]) < set(rows["id"])


@pytest.mark.parametrize("name", ["id_zero.csv", "zero_label.csv", "none_label.csv", "UPPER.CSV"])
def test_tables_of_a_hard_round(name, shared):
    path = shared / "cases" / "inputs" / name
    if not path.exists():
        pytest.skip("needs the cases")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    found = validate_user_table(path, task="classification")
    assert found["target"].tolist() == [line[-1] for line in lines[1:]]
    if "id" in lines[0]:
        assert found["id"].tolist() == [line[0] for line in lines[1:]]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, 1, 2], ["0", "1", "2"]),
        (np.array([7, 8, 7], dtype=np.uint8), ["7", "8", "7"]),
        (pd.array([0, 1, 1], dtype="Int64"), ["0", "1", "1"]),
        ([True, False, True], ["True", "False", "True"]),
        (pd.array([True, False, True], dtype="boolean"), ["True", "False", "True"]),
        (pd.Categorical(["b", "a", "b"]), ["b", "a", "b"]),
        (pd.Categorical([3, 1, 3]), ["3", "1", "3"]),
        (pd.array(["007", "NA", "None"], dtype="string"), ["007", "NA", "None"]),
        (pd.array(["007", "NA", "None"], dtype="string[pyarrow]"), ["007", "NA", "None"]),
        (np.array(["x", "y", "x"]), ["x", "y", "x"]),
        ([b"x", b"y", b"x"], ["x", "y", "x"]),
        (pd.to_datetime(["2024-01-02"] * 3), ["2024-01-02 00:00:00"] * 3),
        ([1.5, 2.0, 2.0], ["1.5", "2.0", "2.0"]),
    ],
    ids=str,
)
def test_classes_of_every_dtype_have_a_text(values, texts):
    table = pd.DataFrame({"id": range(3), "sequence": ["ACGU", "GGCC", "AACC"], "label": values})
    found = validate_user_table(table, task="classification")
    assert found["target"].tolist() == texts and found["id"].tolist() == ["0", "1", "2"]


MISSING = {
    "None": pd.Series(["a", "b", None]),
    "NaN": pd.Series(["a", "b", float("nan")], dtype=object),
    "pd.NA": pd.Series(["a", "b", pd.NA], dtype=object),
    "NaT": pd.Series(pd.to_datetime(["2024-01-02", "2024-01-03", None])),
    "string": pd.Series(["a", "b", None], dtype="string"),
    "Int64": pd.Series([0, 1, None], dtype="Int64"),
    "integers that pandas made floats": pd.Series([0, 1, None]),
    "boolean": pd.Series([True, False, None], dtype="boolean"),
    "category": pd.Series(["a", "b", None], dtype="category"),
    "arrow": pd.Series(["a", "b", None], dtype="string[pyarrow]"),
    "empty": pd.Series(["a", "b", ""]),
    "blank": pd.Series(["a", "b", "  "]),
}


@pytest.mark.parametrize("column", ["id", "label", "split", "sequence"])
@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_name_their_row(kind, column):
    table = pd.DataFrame({"id": list("pqr"), "sequence": ["ACGU", "GGCC", "AACC"], "label": list("aba"),
                          "split": ["train", "test", "train"]})  # fmt: skip
    usual = dict(zip("ab", table[column][:2], strict=True)) if column in ("split", "sequence") else {}
    values = MISSING[kind]
    if column in ("split", "sequence"):
        values = [*usual.values(), values.iloc[2]]
    with pytest.raises(ValueError, match=r"^row 3, ") as found:
        validate_user_table(table.assign(**{column: values}), task="classification")
    assert column == "id" or "'r'" in str(found.value)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_missing_values_in_files_name_file_and_row(ending, tmp_path):
    table = words()
    table.loc[4, "label"] = None
    path = write(table, tmp_path / f"t.{ending}")
    with pytest.raises(ValueError, match=rf"t\.{ending}: row 5, 'NA': expected the name of a class"):
        validate_user_table(path, task="classification")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -np.inf, None, pd.NA, pd.NaT, "abc", "", "nan", "inf", "1_000", "1,5", "\u0661",
     1 + 2j, np.complex128(1), True, np.bool_(True), [1.0], {"a": 1}, datetime.date(2024, 1, 2),
     pd.Timestamp("2024-01-02"),
     decimal.Decimal("NaN"), 10**400],
    ids=repr,
)  # fmt: skip
def test_what_is_no_number_names_its_row(value):
    table = pd.DataFrame(
        {"id": ["p", "q"], "sequence": ["ACGU", "GGCC"], "y": pd.Series([1, value], dtype=object)}
    )
    with pytest.raises(ValueError, match=r"^row 2, 'q': expected a number, found"):
        validate_user_table(table, task="regression")


@pytest.mark.parametrize(
    "value", [2, 2.0, "2", " 2.0 ", "2e0", np.float32(2), np.int8(2), decimal.Decimal(2)], ids=repr
)
def test_numbers_of_every_kind(value):
    table = pd.DataFrame({"sequence": ["ACGU"], "y": pd.Series([value], dtype=object)})
    assert validate_user_table(table, task="regression")["target"].tolist() == [2.0]


# --- files -------------------------------------------------------------------------------------------


def parquet():
    import io

    buffer = io.BytesIO()
    words().to_parquet(buffer)
    return buffer.getvalue()


CSV = b"id,sequence,label\na,ACGU,x\nb,GGCC,y\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n  \n", "is empty"),
        ("t.csv", b"id,sequence,label\n", "a header and no rows"),
        ("t.csv", CSV + b"c,AACC\n", "line 4 has 2 cells, the header 3"),
        ("t.csv", CSV + b"c,AACC,x,y\n", "line 4 has 4 cells, the header 3"),
        ("t.csv", CSV + b'c,AACC,"x\n', "line 4"),
        ("t.csv", CSV.replace(b",", b";"), "looks like semicolons"),
        ("t.csv", CSV.replace(b",", b"\t"), "looks like tabs"),
        ("t.tsv", CSV, "looks like commas"),
        ("t.csv", b"sep=;\n" + CSV, "looks like semicolons"),
        ("t.csv", CSV.replace(b"id", b"label"), "the column 'label' is there twice"),
        ("t.csv", CSV.replace(b"x\n", b"B\xe4nder\n"), "line 2, byte 9: 0xe4 is not UTF-8"),
        ("t.csv", CSV.decode().encode("utf-16"), "UTF-16"),
        ("t.csv", b"PK\3\4" + b"\0" * 50, "Excel"),
        ("t.csv", b"\xd0\xcf\x11\xe0" + b"\0" * 50, "Excel"),
        ("t.csv", parquet(), "looks like Parquet"),
        ("t.csv", CSV + b"\0" * 20, "NUL"),
        ("t.csv", b"a,ACGUACGU,x\nb,GGCC,y\n", "the header, missing"),
        ("t.csv", b"name,seq,label\na,ACGU,x\n", "it has name, seq, label"),
        ("t.csv.gz", gzip.compress(CSV * 500, mtime=0)[:-30], "t.csv.gz"),
        ("t.parquet", b"", "it is empty"),
        ("t.parquet", CSV, "is not a Parquet table"),
        ("t.parquet", parquet()[:-20], "is not a Parquet table"),
        ("t.parquet", parquet()[200:], "is not a Parquet table"),
        ("t.parquet.gz", gzip.compress(parquet(), mtime=0), "unpack it first"),
        ("t.xlsx", b"PK\3\4" + b"\0" * 50, "expected .csv, .tsv or .parquet; it looks like an Excel"),
        ("t.json", b'[{"sequence": "ACGU"}]', "it looks like JSON"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, OSError)) as found:
        validate_user_table(tmp_path / name, task="classification")
    assert str(tmp_path / name) in str(found.value) and message in str(found.value)
    with pytest.raises((ValueError, OSError), match="t\\."):
        finetune(tmp_path / name, task="classification", model=tiny(), output=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf" + CSV, CSV.replace(b"\n", b"\r\n"), CSV.replace(b"\n", b"\r"), CSV + b"\n\n", CSV.rstrip(b"\n"),
     CSV.replace(b"\n", b"\n\n"), b",".join([b'"id"', b'"sequence"', b'"label"']) + CSV[17:]],
)  # fmt: skip
def test_what_other_programs_write_is_a_table(content, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    assert read_table(tmp_path / "t.csv").to_dict("list") == {
        "id": ["a", "b"], "sequence": ["ACGU", "GGCC"], "label": ["x", "y"]
    }  # fmt: skip


def test_a_folder_and_an_absent_file(tmp_path, monkeypatch):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"t\.csv is a folder"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.csv"):
        evaluate("trivial", str(tmp_path / "none.csv"), task="structure")
    monkeypatch.setenv("HOME", str(tmp_path))
    write(words(), tmp_path / "mine.csv")
    assert len(read_table("~/mine.csv")) == len(WORDS)


def test_long_sequences_and_a_column_of_row_numbers(tmp_path):
    (tmp_path / "t.csv").write_text(f",sequence,label\n0,{'ACGU' * 50_000},a\n1,GG,b\n")
    assert validate_user_table(tmp_path / "t.csv", task="classification")["sequence"].str.len().tolist() == [
        200_000,
        2,
    ]


# --- forms -------------------------------------------------------------------------------------------

COLUMNS = {"sequence": ["ACGU", "GGCC", "AACC"], "label": [0, 1, 0]}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(COLUMNS),
        COLUMNS,
        {name: tuple(values) for name, values in COLUMNS.items()},
        {name: np.array(values) for name, values in COLUMNS.items()},
        {name: pd.Series(values, index=[5, 3, 9]) for name, values in COLUMNS.items()},
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        SimpleNamespace(to_pandas=lambda: pd.DataFrame(COLUMNS)),
        pd.DataFrame(COLUMNS, index=[9, 9, 9]),
    ],
    ids=["DataFrame", "lists", "tuples", "arrays", "Series", "rows", "tuple", "iterator", "Dataset", "index"],
)
def test_every_form_of_a_table(data):
    found = validate_user_table(data, task="classification")
    assert found["target"].tolist() == ["0", "1", "0"] and found["id"].tolist() == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "a int is not a table"),
        (None, "a NoneType is not a table"),
        (b"ACGU", "a bytes is not a table"),
        ({"ACGU"}, "a set is not a table"),
        (pd.Series(["ACGU"]), "a Series is not a table"),
        (["ACGU", "GGCC"], "item 1 of the list is a str"),
        ([ROWS[0], ("ACGU", 1)], "item 2 of the list is a tuple"),
        ([*hairpins(1, seed=0), ROWS[0]], "item 1 of the list is a Structure"),
        ({"tRNA": "ACGU"}, "column 'tRNA' is a str"),
        ({"sequence": {"a": "ACGU"}}, "column 'sequence' is a dict"),
        ({"sequence": {"ACGU"}}, "column 'sequence' is a set"),
        ({"sequence": ["ACGU"], "label": 1}, "column 'label' is a int"),
        ({"train": SimpleNamespace(to_pandas=list, features={})}, r"give one of them, as data\['train'\]"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_form_of_a_table_is_named_by_its_type(data, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        as_table(data)
    with pytest.raises(TypeError, match=message):
        finetune(data, task="classification", model=tiny(), output=tmp_path / "run", **QUIET)
    with pytest.raises(TypeError, match=message):
        evaluate("trivial", data, task="classification")


def test_columns_of_different_lengths_or_twice():
    with pytest.raises(ValueError, match="different numbers of rows: sequence 2, label 1"):
        as_table({"sequence": ["ACGU", "GG"], "label": ["a"]})
    with pytest.raises(ValueError, match="column 'label' is there twice"):
        as_table(pd.DataFrame([["ACGU", 1, 2]], columns=["sequence", "label", "label"]))
    for empty in ([], {}, pd.DataFrame()):
        with pytest.raises(ValueError, match="no rows"):
            validate_user_table(empty, task="classification")
    with pytest.raises(ValueError, match="row 2"):
        validate_user_table([{"sequence": "ACGU", "label": 1}, {"sequence": "GGCC"}], task="classification")


# --- rows that nothing can be learned from -----------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("A", "."), "one nucleotide has no structure"),
        (("", ""), "expected a sequence"),
        (("   ", "..."), "expected a sequence"),
        (("---", "..."), "found no nucleotide"),
        (("ACGU", "(.)"), "'bad'"),
        (("ACGU", "(..."), "'bad'"),
        (("ACGU", ""), "'bad'"),
        (("ACGU", None), "expected a dot-bracket structure"),
        (("ACGU", 5), "expected a dot-bracket structure"),
        (("AC!U", "...."), "'bad', position 3: '!'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_unusable_structures_are_rejected_by_name(row, message, split, tmp_path):
    rows = [{"id": s.name, "sequence": s.sequence, "dot_bracket": s.dot_bracket} for s in hairpins(4, seed=0)]
    rows.insert(2, {"id": "bad", "sequence": row[0], "dot_bracket": row[1]})
    for i, one in enumerate(rows):
        one["split"] = ("train", "validation", split, "train", "test")[i]
    with pytest.raises(ValueError, match="'bad'") as found:
        finetune(rows, task="structure", model=tiny(), output=tmp_path / "run", **ONCE)
    assert message in str(found.value) and not (tmp_path / "run").exists()


# --- classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rare", [["new"], ["new", "new"], ["one", "two", "three"]])
def test_rare_classes_go_to_training(rare):
    base = classes(40, seed=2)
    for place in range(0, 40, 3):  # wherever the rare ones stand
        labels = base["label"].tolist()
        labels[place : place + len(rare)] = rare[: len(labels) - place]
        found = validate_user_table(base.assign(label=labels), task="classification")
        trained = set(found.loc[found["split"] == "train", "target"])
        assert trained == set(labels) and {"validation", "test"} < set(found["split"])


def test_splits_of_tables_without_rare_classes_are_as_before():
    import zlib

    found = validate_user_table(classes(100, seed=1), task="classification")
    order = sorted(set(found["sequence"]), key=lambda sequence: zlib.crc32(sequence.encode()))
    for split, part in (("validation", order[:10]), ("test", order[10:20]), ("train", order[20:])):
        assert set(found.loc[found["split"] == split, "sequence"]) == set(part)


def test_a_table_with_a_rare_class_trains(tmp_path):
    table = classes(24, seed=3)
    table.loc[5, "label"] = "only one"
    model = finetune(table, task="classification", model=tiny(), output=tmp_path, mode="frozen", **ONCE)
    assert set(model.labels) == {"rich", "poor", "only one"}


@pytest.mark.parametrize("label", ["rich", "poor"])
def test_a_test_table_of_one_class(label, tmp_path):
    table = classes(24, seed=3)
    model = finetune(table, task="classification", model=tiny(), output=tmp_path, mode="frozen", **ONCE)
    part = table[table["label"] == label].assign(split="test")
    with pytest.warns(UserWarning, match=f"rows are of the class '{label}': only the accuracy"):
        found = evaluate(model, part, task="classification", draws=20)
    right = (found.samples["target"] == found.samples["prediction"]).mean()
    assert found["accuracy"] == right and 0 <= found["f1"] <= 1
    with pytest.raises(ValueError, match="expected two at least"):
        finetune(part, task="classification", model=tiny(), output=tmp_path / "other", **ONCE)


# --- files of scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["id,sequence,label\n1,ACGU,a\n", "a\n", '{"a": 1}', "model,recipe\nx,y\n", "\n\n", 'a,b\n1,2,3\n"'],
)
def test_scores_are_not_added_to_another_file(content, tmp_path, monkeypatch):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    monkeypatch.setattr(
        "rinalmo_kit.evaluation.scoring.predictors_of", lambda model: pytest.fail("work before the check")
    )
    with pytest.raises(ValueError, match=r"mine\.csv is not a CSV of scores"):
        evaluate("trivial", hairpins(3, seed=0), output=path)
    assert path.read_text() == content


@pytest.mark.parametrize("where", ["folder", "file/x.csv", "/dev/null/x.csv"])
def test_scores_that_cannot_be_written_are_noticed_first(where, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(
        "rinalmo_kit.evaluation.scoring.predictors_of", lambda model: pytest.fail("work before the check")
    )
    with pytest.raises(OSError, match=where.split("/")[-1]):
        evaluate("trivial", hairpins(3, seed=0), output=tmp_path / where)


def test_lines_of_scores_keep_their_text(tmp_path):
    path = tmp_path / "scores.csv"
    evaluate("trivial", hairpins(4, seed=0), output=path, draws=0)
    old = path.read_text().replace("trivial", "007").replace("own data", "NA")
    path.write_text(old)
    evaluate("trivial", hairpins(4, seed=0), output=path, draws=0)
    assert path.read_text().startswith(old)
    lines = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert len(lines) == 2 * len(old.splitlines()) - 2 and set(lines["model"]) == {"007", "trivial"}
    assert json.loads(lines["value"].iloc[-1]) >= 0
