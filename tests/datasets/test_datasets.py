"""Tidy tables, catalogue, stand-ins, and the commands rinalmo-kit data list, get and verify."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import re
import threading
from dataclasses import replace

import pandas as pd
import pytest

from reproduction import prepare_standin_tables
from rinalmo_kit import cli, datasets
from rinalmo_kit.datasets import data_note, download, load_structures, load_table, parsers, schemas, sidecar
from rinalmo_kit.datasets.catalogue import CATALOGUE, count_rows
from rinalmo_kit.datasets.loading import is_subset
from rinalmo_kit.rna import families as rna_families
from rinalmo_kit.rna import pairs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no ready tables."""
    monkeypatch.setenv("RINALMO_KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RINALMO_KIT_DATA", raising=False)
    return tmp_path / "cache" / "data"


ROWS = {
    "bprna": {"id": "r", "sequence": "GGAAACC", "dot_bracket": "((...))", "family": "RFAM", "split": "TR0"},
    "mrl": {"id": "r", "sequence": "ACGT", "target": 6.5, "split": "train"},
    "te_el": {"id": "r", "sequence": "acgu", "dataset": "PC3", "log_te": 1.0, "log_el": 2, "fold": 9},
    "rfam88": {"id": "r", "sequence": "ACGU", "label": "RF00001", "split": "val"},
}


# --- rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(ROWS))
def test_a_right_row_is_taken(name):
    checked = schemas.check_table(pd.DataFrame([ROWS[name] | {"other": 1}]), name, source="x")
    assert list(checked) == list(schemas.SCHEMAS[name])
    assert set(checked["sequence"][0]) <= set("ACGU")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bprna", {"sequence": "GGAXACC"}, r"row 2, 'r': column sequence: 'sequence', position 4: 'X'"),
        ("bprna", {"sequence": ""}, "column sequence: expected a text"),
        (
            "bprna",
            {"dot_bracket": "((...)"},
            r"column dot_bracket: 'dot_bracket', position 1: '\(' is never closed",
        ),
        ("bprna", {"dot_bracket": "(]...))"}, r"position 2: '\]' closes nothing"),
        ("bprna", {"dot_bracket": "(([.))."}, r"position 3: '\[' is never closed"),
        ("bprna", {"dot_bracket": ")).((.."}, r"position 1: '\)' closes nothing"),
        ("bprna", {"dot_bracket": "((.?.))"}, r"position 4: '\?' is not a dot-bracket symbol"),
        ("bprna", {"dot_bracket": "((....))"}, "7 nucleotides, the dot-bracket 8 symbols"),
        ("bprna", {"split": "TR1"}, "column split: expected one of TR0, VL0, TS0, found 'TR1'"),
        ("bprna", {"id": None}, "column id: expected a text"),
        ("mrl", {"target": float("nan")}, "column target: expected a finite number, found nan"),
        ("mrl", {"target": "much"}, "column target: expected a number, found 'much'"),
        ("te_el", {"log_el": float("inf")}, "column log_el: expected a finite number"),
        ("te_el", {"fold": 10}, "column fold: expected one of 0, 1"),
        ("te_el", {"dataset": "pc3"}, "column dataset: expected one of Muscle"),
        ("rfam88", {"label": ""}, "column label: expected a text"),
    ],
)
def test_a_wrong_row_is_named(name, change, message):
    table = pd.DataFrame([ROWS[name], ROWS[name] | change])
    with pytest.raises(ValueError, match=rf"x\.parquet, row 2, .*{message}|x\.parquet, {message}"):
        schemas.check_table(table, name, source="x.parquet")
    table["where"] = ["x.csv, line 7", "x.csv, line 8"]
    with pytest.raises(ValueError, match=r"^x\.csv, line 8, "):
        schemas.check_table(table, name, source="x.parquet")


def test_a_table_of_another_form():
    with pytest.raises(ValueError, match="x: no column target; there are id, sequence"):
        schemas.check_table(
            pd.DataFrame({"id": ["a"], "sequence": ["A"], "split": ["train"]}), "mrl", source="x"
        )
    with pytest.raises(ValueError, match="x: the table has no rows"):
        schemas.check_table(pd.DataFrame([ROWS["mrl"]]).iloc[:0], "mrl", source="x")


@pytest.mark.parametrize("symbols", ["", "..", "(.[.).]", "((A..))a", "(A)a{<}>", "(,:_-~)"])
def test_balanced_strings_are_taken_as_the_parser_takes_them(symbols):
    if symbols:
        assert schemas._dot_bracket(symbols) == symbols
        pairs.pairs_from_dot_bracket(symbols)


# --- real tables -------------------------------------------------------------------------------------


def test_every_ready_table_loads_and_is_what_the_catalogue_says(data):
    for name in datasets.TABLES:
        table = load_table(name)
        assert list(table) == list(schemas.SCHEMAS[name]) and len(table) > 100
        assert data_note(name), "all ready tables are stand-ins, parts or extras"
    assert data_note("bprna") == (
        "10,297 rows; the paper has 13,419 (TR0 8,568 of 10,814, VL0 1,076 of 1,300, TS0 653 of 1,305)"
    )
    assert data_note("archiveII") == "1,936 rows; the paper has 3,865"
    assert data_note("splice") == "31,995 rows; the paper has 204,151"
    assert data_note("newfam") == "an extra set, not one of the paper's"


@pytest.fixture(scope="session")
def described(shared, tmp_path_factory):
    """The tables of the experiments, tidied and each with its sidecar."""
    if not (shared / "data").is_dir():
        pytest.skip(f"needs the tables of the experiments: {shared / 'data'} is absent; set RINALMO_KIT_DATA")
    folder = tmp_path_factory.mktemp("described")
    prepare_standin_tables.write_tables(shared / "data", folder)
    return folder


def test_a_table_with_a_sidecar_carries_its_note(data, described, monkeypatch):
    names = list(prepare_standin_tables.NOTES)
    before = {name: load_table(name) for name in names}
    monkeypatch.setenv("RINALMO_KIT_DATA", str(described))
    for name in names:
        pd.testing.assert_frame_equal(load_table(name), before[name])
        assert data_note(name).startswith(prepare_standin_tables.NOTES[name])
        rows = sidecar.read_sidecar(described / datasets.TABLES[name]).rows
        assert rows == count_rows(before[name], CATALOGUE[name])
        assert download.verify(name).ok
    assert "TR0 8,568 of 10,814, VL0 1,076 of 1,300, TS0 653 of 1,305 rows" in data_note("bprna")
    assert "1,936 of 3,865 rows" in data_note("archiveII")
    assert [name for name in names if is_subset(name)] == list(prepare_standin_tables.SUBSETS)
    assert download.overview(["rivas"])["note"].tolist() == [data_note("rivas")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", 'expected {"note": "a sentence"'),
        ('{"title": "x"}', 'expected {"note": "a sentence"'),
        ('{"note": 1}', 'expected {"note": "a sentence"'),
        ('{"rows": {"TR0": "many"}}', "rows, 'TR0': expected a whole number, found 'many'"),
    ],
)
def test_a_damaged_sidecar_is_named(tmp_path, monkeypatch, content, message):
    path = tmp_path / datasets.TABLES["bprna"]
    path.parent.mkdir()
    pd.DataFrame([ROWS["bprna"]]).to_parquet(path)
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    sidecar.sidecar_path(path).write_text(content)
    with pytest.raises(ValueError, match=f"{re.escape(path.name)}.json.*{re.escape(message)}"):
        data_note("bprna")


def test_stand_in_tables_are_not_written_over_their_source(data, tmp_path):
    with pytest.raises(ValueError, match="choose a folder other than that of the source"):
        prepare_standin_tables.write_tables(data, data)
    with pytest.raises(FileNotFoundError, match=r"no table of 'bprna': .* is missing"):
        prepare_standin_tables.write_tables(tmp_path, tmp_path / "new")


def test_tidy_forms_of_the_ready_tables(data):
    splice = load_table("splice")
    assert set(splice["sequence"].str.len()) == {400}
    assert set(splice.loc[splice["split"] == "train", "species"]) == {"human"}
    assert set(splice.loc[splice["split"] == "test", "species"]) == {"human", "arabidopsis"}
    train = splice[splice["split"] == "train"]
    assert set(splice.loc[splice["split"] == "test", "fold"]) == {-1}
    shares = train.groupby(["site", "fold"])["label"].agg(["mean", "size"])
    assert len(shares) == 20 and shares["mean"].between(0.49, 0.51).all()
    assert shares["size"].between(1279, 1280).all()
    assert set(load_table("archiveII")["family"]) == set(rna_families.FAMILIES)
    assert load_table("mrl")["split"].value_counts().to_dict() == {
        "train": 24957,
        "replicate": 20000,
        "random7600": 3800,
        "human7600": 3800,
    }
    table = load_table("te_el")
    table["id"] = "changed"
    assert load_table("te_el")["id"].nunique() == len(table), "a copy was given away"


def test_structures_by_split_and_family(data):
    assert len(load_structures("archiveII", family="telomerase")) == 19
    some = load_structures("bprna", "TS0", family="SPR")
    assert some and all("SPR" in s.name for s in some)
    with pytest.raises(ValueError, match="'archiveII' has no split 'TS0'; it has none"):
        load_structures("archiveII", "TS0")
    with pytest.raises(ValueError, match="'archiveII' has no family 'grp2'; it has '16s', '23s'"):
        load_structures("archiveII", family="grp2")
    with pytest.raises(ValueError, match="unknown dataset of structures 'mrl'; known: examples, bprna"):
        load_structures("mrl")


def test_what_is_not_there(cache, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"unknown dataset 'bpRNA' .did you mean 'bprna'..; known: bprna"):
        load_table("bpRNA")
    with pytest.raises(FileNotFoundError, match=r"RINALMO_KIT_DATA.*or run rinalmo-kit data get mrl"):
        load_table("mrl")
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_table("mrl")
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"mrl.parquet is missing; rinalmo-kit data get mrl"):
        load_table("mrl")


def test_ready_tables_go_before_made_ones(cache, monkeypatch, tmp_path):
    cache.mkdir(parents=True)
    pd.DataFrame([ROWS["mrl"]]).to_parquet(cache / "mrl.parquet")
    assert load_table("mrl")["id"].tolist() == ["r"]
    assert "random7600 0 of 7,600" in data_note("mrl")
    ready = pd.DataFrame(
        {"id": ["q"], "sequence": ["A"], "mrl": [1.0], "source": ["random7600"], "split": "test"}
    )
    (tmp_path / "ready" / "mrl").mkdir(parents=True)
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path / "ready"))
    assert load_table("mrl")["id"].tolist() == ["r"], "the made one, where there is no ready one"
    ready.to_parquet(tmp_path / "ready/mrl/mrl.parquet")
    assert load_table("mrl")[["id", "split"]].to_numpy().tolist() == [["q", "random7600"]]


def test_a_whole_table_is_the_papers(cache, monkeypatch):
    cache.mkdir(parents=True)
    pd.DataFrame([ROWS["bprna"]]).to_parquet(cache / "bprna.parquet")
    monkeypatch.setitem(CATALOGUE, "bprna", replace(CATALOGUE["bprna"], counts={"TR0": 1}))
    assert data_note("bprna") is None


# --- catalogue ---------------------------------------------------------------------------------------


def test_the_catalogue_is_whole():
    assert [name for name, entry in CATALOGUE.items() if entry.paper] == [
        "bprna", "rivas", "archiveII", "splice", "rfam88", "mrl", "te_el", "pretraining",
    ]  # fmt: skip
    for name, entry in CATALOGUE.items():
        assert entry.title and entry.task and entry.licence, name
        assert (name in schemas.SCHEMAS) == bool(entry.table)
        assert all(re.fullmatch(r"10\.\d{4,5}/\S+", doi) for doi in entry.citations)
        assert all(f.url.startswith("https://") for f in (*entry.files, *entry.also) if f.url)
        assert all(f.sha256 is None or re.fullmatch("[0-9a-f]{64}", f.sha256) for f in entry.files)
        if entry.paper and entry.table:
            assert entry.files and entry.citations and entry.counts and entry.counts_source
            assert name in parsers.PARSERS


def test_counts_are_those_of_the_paper(shared):
    if not (shared / "published/dataset_counts.csv").exists():
        pytest.skip("needs published/dataset_counts.csv")
    stated = pd.read_csv(shared / "published/dataset_counts.csv").set_index(["dataset", "subset"])["n"]
    assert sum(CATALOGUE["bprna"].counts.values()) == stated["bpRNA (SPOT-RNA split)", "TR0+VL0+TS0"]
    assert CATALOGUE["rivas"].counts["TestSetB"] == stated["Rivas", "TestSetB (22 Rfam families)"]
    families = stated["ArchiveII"].drop("all")
    assert sorted(CATALOGUE["archiveII"].counts.values()) == sorted(families)
    assert CATALOGUE["splice"].counts["donor train GS_1"] == stated["GS_1 splice", "train donor"]
    assert CATALOGUE["rfam88"].counts == stated["ncRNA Rfam-88"][["train", "val", "test"]].to_dict()
    assert CATALOGUE["te_el"].counts == stated["TE/EL"].to_dict()


# --- commands ----------------------------------------------------------------------------------------


def utrs(rows: int = 60) -> str:
    """Rows of the original MRL file: one in three is human, lengths 25 to 27, every UTR another."""
    lines = [",utr,set,total_reads,rl"]
    for i in range(rows):
        utr = "".join("ACGT"[i // 4**k % 4] for k in range(7)) + "A" * (18 + i % 3)
        lines.append(f"{i},{utr},{'human' if i % 3 == 0 else 'random'},{10 + i},{i / 10}")
    return "\n".join(lines) + "\n"


class Server(http.server.BaseHTTPRequestHandler):
    content = b""
    requests: list[str | None]
    break_after: int | None = None

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.requests.append(wanted)
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start:][: type(self).break_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(cache, monkeypatch):
    """The MRL file on a server of its own."""
    packed = gzip.compress(utrs().encode(), mtime=0)
    handler = type("Handler", (Server,), {"content": packed, "requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    [file] = CATALOGUE["mrl"].files
    url = f"http://127.0.0.1:{server.server_port}/{file.name}"
    entry = replace(CATALOGUE["mrl"], files=(replace(file, url=url),))
    monkeypatch.setitem(CATALOGUE, "mrl", entry)
    monkeypatch.setattr("time.sleep", lambda _: None)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield handler
    server.shutdown()


def test_get_downloads_once_and_makes_the_table(served, cache, capsys):
    assert cli.main(["data", "get", "mrl"]) == 1, "60 rows are not the paper's: said by the exit code"
    out = capsys.readouterr().out
    assert out.startswith(str(cache / "mrl.parquet"))
    assert "random7600: 40, paper 7,600, -7,560" in out and "neither the paper's nor" in out
    table = load_table("mrl")
    assert table["split"].value_counts().to_dict() == {"random7600": 40, "human7600": 20}
    assert download.get("mrl") == cache / "mrl.parquet"
    assert len(served.requests) == 1
    note = json.loads((cache / "mrl.json").read_text())
    assert list(note["sha256"].values()) == [hashlib.sha256(served.content).hexdigest()]
    assert "made from the original files, but rows differ" in data_note("mrl")


def test_a_broken_download_goes_on(served, cache):
    served.content = gzip.compress(utrs(6000).encode(), compresslevel=0, mtime=0)
    served.break_after = 100_000
    download.get("mrl")
    assert len(served.requests) > 1 and served.requests[1].startswith("bytes=")


def test_a_file_that_is_not_the_known_one(served, cache, tmp_path, monkeypatch, capsys):
    entry = CATALOGUE["mrl"]
    known = replace(entry.files[0], sha256="0" * 64, sha256_source="test")
    monkeypatch.setitem(CATALOGUE, "mrl", replace(entry, files=(known,)))
    assert cli.main(["data", "get", "mrl"]) == 2
    assert "hash" in capsys.readouterr().err and not (cache / "mrl.parquet").exists()
    (tmp_path / known.name).write_bytes(served.content)
    assert cli.main(["data", "get", "mrl", "--from", str(tmp_path)]) == 2
    assert "expected 0000" in capsys.readouterr().err


def test_a_server_that_is_not_there(served, monkeypatch, capsys):
    entry = CATALOGUE["mrl"]
    monkeypatch.setitem(
        CATALOGUE, "mrl", replace(entry, files=(replace(entry.files[0], url="http://127.0.0.1:9/x"),))
    )
    assert cli.main(["data", "get", "mrl"]) == 2
    assert "could not be downloaded" in capsys.readouterr().err


def test_get_from_a_folder_and_by_hand(cache, tmp_path, capsys):
    assert cli.main(["data", "get", "te_el"]) == 2
    error = capsys.readouterr().err
    assert "Muscle_sequence.csv, pc3_sequence.csv, HEK_sequence.csv cannot be fetched" in error
    assert "codeocean.com" in error and "--from FOLDER" in error
    assert cli.main(["data", "get", "pretraining"]) == 2
    assert "RNAcentral" in capsys.readouterr().err
    (tmp_path / "GSM4084997_varying_length_25to100.csv.gz").write_bytes(gzip.compress(utrs().encode()))
    for source in (tmp_path, tmp_path / "GSM4084997_varying_length_25to100.csv.gz"):
        download.get("mrl", source=source)
        assert len(load_table("mrl")) == 60


def test_a_bad_row_stops_the_making(cache, tmp_path, capsys):
    path = tmp_path / "GSM4084997_varying_length_25to100.csv.gz"
    path.write_bytes(gzip.compress(utrs().replace("AAAA", "AXAA", 1).encode()))
    assert cli.main(["data", "get", "mrl", "--from", str(path)]) == 2
    error = capsys.readouterr().err
    assert re.search(r"csv\.gz, line \d+, 'mrl_\d+': column sequence: .*position \d+: 'X'", error)
    assert not cache.exists() or not list(cache.glob("mrl*"))


def test_verify_tells_what_is_wrong(cache, monkeypatch, capsys):
    assert cli.main(["data", "verify", "mrl"]) == 2
    assert "data get mrl" in capsys.readouterr().err
    cache.mkdir(parents=True)
    pd.DataFrame([ROWS["bprna"]]).to_parquet(cache / "bprna.parquet")
    monkeypatch.setitem(CATALOGUE, "bprna", replace(CATALOGUE["bprna"], counts={"TR0": 1}))
    assert cli.main(["data", "verify"]) == 0
    out = capsys.readouterr().out
    assert "bprna: ok" in out and "TR0: 1, paper 1\n" in out and "mrl: not here" in out
    pd.DataFrame([ROWS["bprna"] | {"sequence": "GG?AACC"}]).to_parquet(cache / "bprna.parquet")
    assert cli.main(["data", "verify", "bprna"]) == 1
    assert "bprna: WRONG" in (out := capsys.readouterr().out) and "position 3: '?'" in out
    (cache / "bprna.parquet").write_bytes(b"PAR1 cut off")
    assert cli.main(["data", "verify", "bprna"]) == 1
    assert cli.main(["data", "list"]) == 0
    assert re.search(r"bprna .* damaged", capsys.readouterr().out)


def test_verify_sees_an_original_that_has_changed(served, cache, capsys):
    download.get("mrl")
    path = cache / "originals/mrl" / CATALOGUE["mrl"].files[0].name
    path.write_bytes(gzip.compress(b"other"))
    assert not (report := download.verify("mrl")).ok
    assert f"{path.name}: changed since the table was made from it" in str(report)


def test_verify_and_list_of_the_ready_tables(data, described, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setenv("RINALMO_KIT_DATA", str(described))
        assert cli.main(["data", "verify", "rivas"]) == 0
    out = capsys.readouterr().out
    assert "TestSetB: 215, paper 430, -215" in out and "TrainSetA: 3,166, paper 3,166\n" in out
    table = download.overview(["bprna", "pretraining", "newfam"]).set_index("name")
    assert table["data"].to_dict() == {"bprna": "stand-in", "pretraining": "not here", "newfam": "extra"}
    assert table.loc["bprna", ["rows", "paper_rows"]].tolist() == [10297, 13419]
    assert cli.main(["data", "list", "archiveII"]) == 0
    out = capsys.readouterr().out
    assert "0ff7209016ba1775288572794e850d5857937c391d67c9ccacfe9ae77c0188e5" in out and "5s 1,283" in out


def test_verify_rejects_a_cut_ready_table(described, tmp_path, monkeypatch):
    target = tmp_path / datasets.TABLES["rivas"]
    target.parent.mkdir()
    table = pd.read_parquet(described / datasets.TABLES["rivas"])
    table.iloc[:-1].to_parquet(target)
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    report = download.verify("rivas")
    assert not report.ok and "neither the paper's nor described in rivas.parquet.json" in str(report)
    known = sidecar.read_sidecar(described / datasets.TABLES["rivas"])
    sidecar.write_sidecar(target, known)
    report = download.verify("rivas")
    assert not report.ok and "neither the paper's nor those of rivas.parquet.json" in str(report)
    table.to_parquet(target)
    assert download.verify("rivas").ok


# --- families of Rfam, apart from each other -----------------------------------------------------------


@pytest.fixture
def rfam(tmp_path, monkeypatch):
    """A folder with a small table of Rfam's families, their split, and the training rows of nano-ss."""
    hairpin, good = {"sequence": "GGGGAAAACCCC", "dot_bracket": "((((....))))"}, {"frac_canonical": 1.0}
    rows = [{"id": f"a{k}", "family": "RF1", **good, **hairpin} for k in range(25)]
    rows += [{"id": f"b{k}", "family": "RF2", **good, **hairpin} for k in range(25)]
    rows += [{"id": "c", "family": "RF3", **good, **hairpin}, {"id": "d", "family": "RF4", **good, **hairpin}]
    for k, row in enumerate(rows):
        row["sequence"] = f"GGGG{k // 16 % 4 * 'A'}{k % 16:04b}CCCC".replace("0", "A").replace("1", "U")
        row["dot_bracket"] = f"(((({'.' * (len(row['sequence']) - 8)}))))"
    rows += [
        {"id": "twice", "family": "RF2", **good, **{k: rows[0][k] for k in ("sequence", "dot_bracket")}},
        {"id": "doubtful", "family": "RF2", **hairpin, "frac_canonical": 0.79},
        {"id": "three", "family": "RF2", **good, "sequence": "GGGAAAACCC", "dot_bracket": "(((....)))"},
        {"id": "long", "family": "RF2", **good,
         "sequence": f"GGGG{'A' * 493}CCCC", "dot_bracket": f"(((({'.' * 493}))))"},
    ]  # fmt: skip
    rows += [{"id": "bpRNA", "family": "RF5", **good, **hairpin, "sequence": "GGCCAAAAGGCC"}]
    more = [
        {"id": f, "family": f, "source": "rfam14_9_seed", **hairpin, "sequence": "GGGGUUUUCCCC"}
        for f in ("RF1", "RF3")
    ]
    bprna = [ROWS["bprna"] | {"sequence": "GGCCAAAAGGCC", "dot_bracket": hairpin["dot_bracket"]}]
    for name, table in (("rfam", rows), ("ss_more", more), ("bprna", bprna)):
        path = tmp_path / datasets.TABLES[name]
        path.parent.mkdir()
        pd.DataFrame(table).to_parquet(path)
    split = "family,split\nRF1,train\nRF2,test\nRF3,validation\nRF4,\nRF5,test\n"
    (tmp_path / datasets.TABLES["rfam"]).with_name("family_split.csv").write_text(split)
    monkeypatch.setenv("RINALMO_KIT_DATA", str(tmp_path))
    return tmp_path


def test_rows_of_rfam_have_a_split_and_a_structure_worth_scoring(rfam):
    table = load_table("rfam")
    assert table.groupby(["family", "split", "seen"]).size().to_dict() == {
        ("RF1", "train", "yes"): 25, ("RF2", "test", "no"): 20,
        ("RF3", "validation", "yes"): 1, ("RF5", "test", "yes"): 1,
    }  # fmt: skip
    assert not {"twice", "doubtful", "three", "long", "d"} & set(table["id"]) and table["id"].is_unique
    assert load_table("rfam").equals(table)
    assert [s.name for s in load_structures("rfam", "validation")] == ["c"]
    (rfam / datasets.TABLES["ss_more"]).unlink()
    with pytest.raises(FileNotFoundError, match=r"dataset 'ss_more' is not under RINALMO_KIT_DATA"):
        datasets.loading._load_table.cache_clear()
        load_table("rfam")


def test_splits_of_rfam_share_no_family_and_unseen_ones_are_in_no_training_row(data):
    table = load_table("rfam")
    assert (table.groupby("family")["split"].nunique() == 1).all() and table["sequence"].is_unique
    known = pd.concat([load_table("ss_more"), load_table("bprna").query("split != 'TS0'")])
    new = table.query("seen == 'no'")
    assert not set(new["family"]) & set(known["family"]) and not set(new["sequence"]) & set(known["sequence"])
    new = new.query("split == 'test'")
    assert len(new) == 555 and new["family"].nunique() == 93
    assert table.query("split != 'train'").groupby("family").size().max() == 20
