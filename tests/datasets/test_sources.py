"""Parsers of the original files, on small files in the original formats."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rinalmo_kit.datasets import resampling
from rinalmo_kit.datasets.parsers import archives, rdata, structures
from rinalmo_kit.datasets.parsers import ncrna as parsers_ncrna
from rinalmo_kit.datasets.parsers import utr as parsers_utr
from rinalmo_kit.datasets.parsers.splice import splice, splice_folds
from rinalmo_kit.rna import formats
from rinalmo_kit.structure import Structure

HAIRPIN = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="x")

# Written by R 4.2 with Biostrings 2.66: save(x_train, x_val, x_test), the first of two pools, the second a
# part of the first, so that the sets do not begin where their pools do.
RDA = base64.b64decode("""
H4sIAAAAAAAAA+1V30/bMBB2HKdJW6AwpIlp2uOepk378cJrEWOaBNXUwtQ9RV5itRkhiRID5d/mDyA71+7qHul+aA8T0iyder77
bJ+/+9wMD8fvOuMOIcQljFLieuAS7+z06OU+gQhMHMJIG379WShLnmTEcZ+gVFek4kJk8vSmEDDdtlLtw0F/JMskm6A1rMjztGEv
f1aEaVJJcHfBVOox2B3YHtgLh7LAGGM9SgMY4KtpQPVwmKNiDloawAKm4OjEp6/SJDsPZR5GPJqKOMy/fhORxFUwoset2VLFnxn/
H1hQo2t4UcqrCmq16d8aTXkp4iG/Dj8pvhHXBY/O+QT3zB9/hvvn5fKwlVWtkmcTUTX0zpuU+WUBzuZcUCqhjWJgJXkpLeDOErwK
vE5iObWAPpiSK26iN+ifvB+Zi7iLiwyPXsN489PpW70TrRELbn/wBR3SMzo/EZLHXHKbFGdwdnyMyw8ulshdLR+Vb9e4TR8UcSL+
ONTUzlEdXFFzX7YBtmPE8Kj+xUEbP57jSMg1x3QOkryaY6o1CvBm4RW3Hu897vCrd+slmC1qBLI8U7dvxRbCvk9Sk5Z/k6SuVcBG
3aBQ07lNO9c1wtzTuS071zJa9HSutyjDxeL6O+n9UXMfmIpa8EER8Bf70GVE10hIxdUH4jmSj4oHWj4r0qH/tWJrhdx9B13MeBed
CAAA
""")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, str | bytes], packing: str = "gz") -> Path:
    with tarfile.open(path, f"w:{packing}") as archive:
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def text(ending: str, structure: Structure = HAIRPIN) -> str:
    return formats.format_structure(structure, ending)


# --- structures --------------------------------------------------------------------------------------

ST = '#Name: bpRNA_RFAM_1\n#Length: 10\n#PageNumber: 1\nGGGAAAACCC\n(((....)))\nSSSHHHHSSS\nNNNNNNNNNN\nS1 1..3 "GGG"\n'


def bprna_files() -> dict[str, str]:
    return {
        "bpRNA_dataset/TR0/bpRNA_RFAM_1.st": ST,
        "bpRNA_dataset/TR0/bpRNA_CRW_2.st": ST.replace("GGGAAAACCC", "gggaaaaccN"),
        "bpRNA_dataset/VL0/bpRNA_RFAM_1.st": ST,
        "bpRNA_dataset/TS0/bpRNA_tmRNA_9.st": ST.replace("(((....)))", "([..)]...."),
        "bpRNA_dataset/README.txt": "not asked for",
        "__MACOSX/bpRNA_dataset/TR0/._bpRNA_RFAM_1.st": b"\x00\x05",
    }


@pytest.mark.parametrize("form", ["zip", "folder", "zip in a folder"])
def test_bprna(tmp_path, form):
    if form == "folder":
        source = write(tmp_path / "in", bprna_files())
    else:
        source = zipped(tmp_path / "bpRNA_dataset.zip", bprna_files())
        source = tmp_path if form == "zip in a folder" else source
    table = structures.bprna(source)
    assert table.groupby("split").size().to_dict() == {"TR0": 2, "TS0": 1, "VL0": 1}
    rows = table.set_index(["split", "id"])
    assert rows.loc[("TR0", "bpRNA_CRW_2"), ["sequence", "family"]].tolist() == ["GGGAAAACCN", "CRW"]
    assert rows.loc[("TS0", "bpRNA_tmRNA_9"), "dot_bracket"].count("[") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TR0/bpRNA_RFAM_3.st": ST.replace("GGGA", "GG!A")}, r"TR0/bpRNA_RFAM_3.st, line 4, .*position 3: '!'"),
        ({"TR0/bpRNA_RFAM_3.st": ST.replace("(((", "((.")}, r"bpRNA_RFAM_3.st, line 5, .*position 10: '\)' closes"),
        ({"TR0/bpRNA_RFAM_3.st": ST.replace("(((", "((")}, "expected a structure of 10 symbols"),
        ({"bpRNA_dataset/TR0/bpRNA_RFAM_1.dbn": text("dbn")}, "are the same structure"),
        ({"TR0/odd.st": ST}, "'odd': column family: expected a text, found ''"),
    ],
)  # fmt: skip
def test_a_bad_structure_is_named_with_its_place_in_the_archive(tmp_path, change, message):
    path = zipped(tmp_path / "bpRNA_dataset.zip", bprna_files() | change)
    with pytest.raises(ValueError, match=message) as caught:
        structures.bprna(path)
    assert str(caught.value).startswith(f"{path}: ") and "/tmp/tmp" not in str(caught.value)


def test_rivas(tmp_path):
    bpseq = text("bpseq")
    files = {f"Rivas/{name}/a.bpseq": bpseq for name in ("TrainSetA", "TestSetA", "TrainSetB")}
    files["Rivas/TestSetB/sub/b.bpseq"] = bpseq.replace("4 A 0", "4 x 0").replace("5 A 0", "5 X 0")
    files["Rivas/TestSetB.lst"] = "TestSetB/sub/b.bpseq"
    table = structures.rivas(tarred(tmp_path / "Rivas.tar.gz", files)).set_index("split")
    assert table.loc["TestSetB", ["sequence", "family"]].tolist() == ["GGGNNAACCC", ""]
    assert set(table["dot_bracket"]) == {"(((....)))"}


def test_archive_reads_every_family_once(tmp_path):
    files = {}
    for family in ("5s", "RNaseP"):
        other = "RNaseP" if family == "5s" else "5s"
        files[f"ct/fam-fold/{family}/test/{family}_x.ct"] = text("ct")
        files[f"ct/fam-fold/{family}/train/{other}_x.ct"] = text("ct")
        files[f"ct/fam-fold/{family}/valid/{other}_long.ct"] = text("ct")
    files["ct/5-fold/0/test/srp_y.ct"] = "not asked for"
    table = structures.archiveII(tarred(tmp_path / "ct-splits.tar.gz", files))
    assert table[["id", "family"]].to_numpy().tolist() == [["5s_x", "5s"], ["RNaseP_x", "RNaseP"]]
    files["ct/fam-fold/5s/test/5s_x.ct"] = text("ct").replace("\t10\t1\n", "\t9\t1\n")
    path = tarred(tmp_path / "ct-splits.tar.gz", files)
    with pytest.raises(ValueError, match=r"fam-fold/5s/test/5s_x.ct, line 2, .*nucleotide 1 has partner 9"):
        structures.archiveII(path)


# --- archives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../TR0/bpRNA_a_1.st", "/TR0/bpRNA_a_1.st", "a/../../TR0/bpRNA_a_1.st", "C:\\TR0\\b.st"]
)
def test_a_path_out_of_the_archive_is_rejected(tmp_path, name):
    files = bprna_files() | {name: ST}
    for path in (zipped(tmp_path / "a.zip", files), tarred(tmp_path / "a.tar.gz", files)):
        with pytest.raises(ValueError, match="unsafe path"):
            structures.bprna(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar.gz", "a.zip"]


def test_links_in_an_archive_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(ST)
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("TR0/bpRNA_RFAM_1.st")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(ValueError, match="no file in it matches"):
        structures.bprna(path)


def test_archives_in_archives_and_damaged_ones(tmp_path):
    inner = tarred(tmp_path / "inner.tgz", {"TR0/bpRNA_RFAM_1.st": ST}).read_bytes()
    inner_zip = zipped(tmp_path / "inner.zip", {"VL0/bpRNA_RFAM_1.st": ST}).read_bytes()
    outer = tarred(tmp_path / "data.tar.gz", {"deep/inner.tgz": inner, "deep/inner.zip": inner_zip})
    with archives.unpacked(outer, r"\.st$") as (folder, files):
        names = [path.relative_to(folder).as_posix() for path in files]
    assert names == ["deep/inner/TR0/bpRNA_RFAM_1.st", "deep/inner/VL0/bpRNA_RFAM_1.st"]
    assert not folder.exists()
    for name in ("a.zip", "a.tar.gz"):
        (tmp_path / name).write_bytes(outer.read_bytes()[:200])
        with pytest.raises(ValueError, match=f"{name}: not an archive, or damaged"):
            structures.bprna(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        structures.bprna(tmp_path / "absent.zip")


def packed_bprna(path: Path) -> Path:
    ending = path.suffix.removeprefix(".").replace("tgz", "gz")
    return zipped(path, bprna_files()) if ending == "zip" else tarred(path, bprna_files(), ending)


ENDINGS = ["zip", "tar.gz", "tgz", "tar.bz2", "tar.xz"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("named", [None, "zip", "tar.gz", "TGZ", "tar"])
def test_archives_are_known_by_their_first_bytes(tmp_path, ending, named):
    path = packed_bprna(tmp_path / f"a.{ending}")
    path = path.rename(tmp_path / f"b.{named or ending}")
    assert len(structures.bprna(path)) == 4


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("nested", [False, True])
def test_a_damaged_archive_never_gives_another_table(tmp_path, ending, nested):
    """Cut anywhere, or with one bit changed: the same table where the bit means nothing, else an error."""
    rng = np.random.default_rng(5)
    whole = packed_bprna(tmp_path / f"a.{ending}").read_bytes()
    expected = structures.bprna(tmp_path / f"a.{ending}")
    outer, errors = tmp_path / ("outer.zip" if nested else f"a.{ending}"), 0
    for trial in range(40):
        content = bytearray(whole)
        place = int(rng.integers(len(content)))
        if trial % 2:
            content[place] ^= 1 << int(rng.integers(8))
        else:
            del content[place:]
        if nested:
            zipped(outer, {f"a.{ending}": bytes(content)})
        else:
            outer.write_bytes(content)
        try:
            found = structures.bprna(outer)
        except ValueError as error:
            errors += 1
            assert f"a.{ending}" in str(error) or str(outer) in str(error)
        else:
            pd.testing.assert_frame_equal(found, expected)
    assert errors >= 20


def test_an_archive_with_a_password(tmp_path):
    path = zipped(tmp_path / "a.zip", {"TR0/bpRNA_RFAM_1.st": ST})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip.*password"):
        structures.bprna(path)


# --- splice sites ------------------------------------------------------------------------------------


FOLD, LABELS = "GS_1/db_3/Test_donor_400.csv", "test/Fly/SA_labels_donor_400_Final_3.fasta"


def window(number: int, length: int = 600) -> str:
    rng = np.random.default_rng(number)
    return "".join(rng.choice(list("ACGT"), length))


def species_files(form: str) -> dict[str, str]:
    files = {}
    for species in ("Danio", "Fly", "Thaliana", "Worm"):
        for site in ("donor", "acceptor"):
            stem = f"test/{species}/SA_{{}}_{site}_400_Final_3"
            good, bad = window(1, 400), window(2, 400)
            if form == "labels":
                files[stem.format("sequences") + ".fasta"] = f"{good}\n{bad}\n"
                files[stem.format("labels") + ".fasta"] = "1\n0\n"
            else:
                files[stem.format("sequences") + ".positive.txt"] = f"{good}\n"
                files[stem.format("sequences") + ".negative.txt"] = f"{bad}\n"
    return files


def test_splice_sites_with_ready_folds(tmp_path):
    files = species_files("labels")
    for fold in range(1, 11):
        for site in ("donor", "acceptor"):
            files[f"GS_1/db_{fold}/Test_{site}_400.csv"] = (
                f"g;{window(fold, 400)};1\ng;{window(-fold % 99, 400)};0\n"
            )
            files[f"GS_1/db_{fold}/Train_{site}_400.csv"] = "not asked for"
    table = splice(write(tmp_path, files))
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    assert train.groupby(["site", "fold"]).size().to_dict() == {
        (s, f): 2 for s in ("donor", "acceptor") for f in range(10)
    }
    assert test.groupby(["species", "site"])["label"].sum().tolist() == [1] * 8
    assert set(test["fold"]) == {-1} and set(train["species"]) == {"GS_1"}
    assert set(table["sequence"].str.len()) == {400} and table["id"].is_unique


def test_splice_sites_raw(tmp_path):
    files = species_files("names")
    same = window(500)
    for site in ("donor", "acceptor"):
        rows = [same, *map(window, range(20)), window(3), window(30)[:300] + "N" + window(30)[301:]]
        files[f"Negative/GS/GS_1/NEG_600_{site}.csv"] = "ID;pos;seq\n" + "".join(
            f"id;0;{row}\n" for row in rows
        )
        rows = [same, *map(window, range(100, 120))]
        files[f"Positive/GS/POS_{site}_600.csv"] = "".join(f"id;{row};True\n" for row in rows)
    nested = tarred(tmp_path / "spliceator.tgz", files).read_bytes()
    table = splice(tarred(tmp_path / "data.tar.gz", {"data/spliceator.tgz": nested}))
    train = table[table["split"] == "train"]
    assert train.groupby(["site", "label"]).size().to_dict() == {
        (s, y): 21 - y for s in ("donor", "acceptor") for y in (0, 1)
    }
    assert same[100:500].replace("T", "U") in set(train["sequence"])
    assert set(train["fold"]) == set(range(10))
    expected = splice_folds(train.reset_index(drop=True))
    assert expected.tolist() == train["fold"].tolist(), "the folds do not depend on the test rows"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (FOLD, f"g;{window(1, 400)};2\n", r"db_3/Test_donor_400.csv, line 1: expected the label 0 or 1, found '2'"),
        (FOLD, f"g;{window(1, 400)};1\ng;1\n", "line 2: expected 'group;sequence;label'"),
        (FOLD, f"g;{window(1, 399)};1\n", "line 1: expected a sequence of 400 or 600 nucleotides, found 399"),
        (FOLD, f"g;{window(1, 399)}?;1\n", r"line 1, .*position 400: '\?'"),
        (LABELS, "1\n", "2 sequences, but 1 labels"),
        (LABELS, "1\nx\n", r"SA_labels_donor_400_Final_3\.fasta, line 2: expected the label"),
        ("other.csv", "", "expected training files of GS_1"),
    ],
)  # fmt: skip
def test_a_bad_splice_file_is_named(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        splice(write(tmp_path, species_files("labels") | {name: content}))


# --- ncRNA families ----------------------------------------------------------------------------------


def test_biostrings_sets_of_r(tmp_path):
    path = write(tmp_path, {"x.RDa": RDA}) / "x.RDa"
    assert rdata.read_dna_sets(path) == {
        "x_train": [("RF00001", "TTTTACG"), ("RF00001", "ACGTACGTAC"), ("RF00002", "GGGGTTTT")],
        "x_val": [("RF00002", "GGGNCC"), ("RF00001", "TTTTACG"), ("RF00002", "ACGGT")],
        "x_test": [("RF00001", "CCCCCCCA"), ("RF00002", "GATTACA")],
    }
    plain = gzip.decompress(RDA)
    for content, message in {
        plain[:900]: "ends too early",
        RDA[:300]: "damaged",
        b"hello world": "not a file of R's save",
        plain.replace(b"\x00\x00\x00\x16", b"\x00\x00\x00\x03", 1): "type 3, which is not data",  # a function
    }.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            rdata.read_dna_sets(path)


def families(rng: np.random.Generator) -> dict[str, str]:
    """FASTA of five families: one of a length of its own, one long, one small, one not in every set."""
    lengths = {
        "A": (50, 70),
        "B": (50, 70),
        "own": (120, 121),
        "long": (201, 240),
        "small": (50, 70),
        "lost": (50, 70),
    }
    files = {}
    for split, count in {"train": 40, "val": 20, "test": 15}.items():
        lines = []
        for name, span in lengths.items():
            if name == "lost" and split == "val":
                continue
            for _ in range(15 if name == "small" else count):
                lines.append(f">{name}\n{''.join(rng.choice(list('ACGT'), rng.integers(*span)))}\n")
        files[f"x_{split}.fasta"] = "".join(lines) + ">A\nACGTN\n"
    return files


def test_rfam_is_filtered_as_in_the_paper(tmp_path):
    table = parsers_ncrna.rfam88(write(tmp_path, families(np.random.default_rng(0))), smallest=40)
    assert table.groupby(["label", "split"]).size().to_dict() == {
        (label, split): n for label in "AB" for split, n in {"train": 40, "val": 20, "test": 15}.items()
    }
    assert not table["sequence"].str.contains("N").any() and table["id"].is_unique
    with pytest.raises(ValueError, match="expected the sets x_train, x_val and x_test"):
        parsers_ncrna.rfam88(write(tmp_path / "some", {"x_train.fasta": ">A\nACGT\n"}))


def test_rfam_reads_the_file_of_r(tmp_path):
    path = write(tmp_path, {"train_test_val_sets_177_families.RDa": RDA})
    with pytest.raises(ValueError, match="n_splits=10"):  # read, but too few for the length filter
        parsers_ncrna.rfam88(path)


def test_resampling_and_its_order():
    rng = np.random.default_rng(0)
    labels = ["big"] * 30 + ["mid"] * 20 + ["low"] * 10
    table = pd.DataFrame(
        {"id": [f"r{i}" for i in range(180)], "sequence": "ACGU", "label": rng.permutation(labels * 3)}
    )
    table["split"] = np.repeat(["train", "val", "test"], 60)
    table.loc[table.index[:60], "label"] = labels
    balanced = resampling.resample(table)
    train = balanced[balanced["split"] == "train"]
    assert train["label"].value_counts().to_dict() == {"big": 30, "mid": 30, "low": 30}
    assert list(dict.fromkeys(train["label"])) == ["big", "mid", "low"]
    assert train["id"].nunique() < 60
    assert (balanced[balanced["split"] == "val"]["label"].value_counts() <= 30).all()
    assert sorted(balanced[balanced["split"] == "test"]["id"]) == sorted(
        table[table["split"] == "test"]["id"]
    )
    pd.testing.assert_frame_equal(balanced, resampling.resample(table))
    with pytest.raises(ValueError, match="no training rows"):
        resampling.resample(table[table["split"] == "test"])


def test_boundary_noise_keeps_dinucleotides():
    sequence = "AACCGGUUAACCGGUUA"
    noisy = resampling.boundary_noise(sequence, 200, np.random.default_rng(1))
    assert sequence in noisy
    left, _, right = noisy.partition(sequence)
    for side in (left, right):
        assert len(side) in (2 * int(0.25 * 17 * 2) - 1 - k for k in range(-1, 8))
    pieces = {"AA", "CC", "GG", "UU"}
    long = resampling.boundary_noise("AACCGGUU" * 50, 200, np.random.default_rng(1))
    assert len(long) == 1200
    assert {long[i : i + 2] for i in range(0, 400, 2)} == pieces
    with pytest.raises(ValueError, match="-1"):
        resampling.boundary_noise("AC", -1, np.random.default_rng(1))


def test_noise_of_a_row_is_always_the_same():
    table = pd.DataFrame({"id": ["a", "b", "a"], "sequence": ["ACGUACGUAG"] * 3})
    noisy = resampling.with_boundary_noise(table, 200)
    pd.testing.assert_frame_equal(noisy, resampling.with_boundary_noise(table, 200))
    assert noisy["sequence"].nunique() == 3, "another row, or copy of it, has flanks of its own"
    alone = resampling.with_boundary_noise(table.iloc[[1]], 200)
    assert alone["sequence"].iloc[0] == noisy["sequence"][1]


# --- 5' UTRs -----------------------------------------------------------------------------------------


def mrl_file() -> str:
    """Twelve random and six human rows of 25 and 26 nt, with every kind of row that is to go."""
    rng, lines = np.random.default_rng(0), [",utr,0,total_reads,set,rl"]

    def add(utr: str, kind: str, reads: object, load: object) -> None:
        lines.append(f"{len(lines) - 1},{utr},0.1,{reads},{kind},{load}")

    def utr(length: int) -> str:
        return "".join(rng.choice(list("ACGT"), length))

    for i in range(12):
        add(utr(25 + i % 2), "random", 10 + i, i / 10)
    for i in range(6):
        add(utr(25 + i % 2), "human", 100 - i, 5 + i / 10)
    add(utr(25), "random", 999, "")
    add(utr(25), "snv", 999, 1)
    add(utr(25), "human", 9.9, 1)
    twice = utr(25)
    add(twice, "random", 999, 1)
    add(twice, "human", 999, 1)
    return "\n".join(lines) + "\n"


def test_mean_ribosome_load(tmp_path):
    name = "GSM4084997_varying_length_25to100.csv.gz"
    packed = gzip.compress(mrl_file().encode())
    for source in (
        write(tmp_path / "a", {name: packed}),
        tarred(tmp_path / "GSE114002_RAW.tar.gz", {name: packed}),
    ):
        table = parsers_utr.mrl(source, per_length=2)
        assert table["split"].value_counts().to_dict() == {"train": 8, "random7600": 4, "human7600": 4}
        chosen = table[table["split"] == "random7600"]
        assert sorted(chosen["target"]) == [0.8, 0.9, 1.0, 1.1], "those of most reads of each length"
        assert sorted(table[table["split"] == "human7600"]["target"]) == [5.0, 5.1, 5.2, 5.3]
        assert table["sequence"].is_unique and not table["sequence"].str.contains("T").any()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0.1,13,", ",0.1,many,", r"csv, line 5: column total_reads: expected a number, found 'many'"),
        ("total_reads", "reads", "no column total_reads; there are"),
        ("\n3,A", "\n3,?", r"csv, line 5, 'mrl_3': column sequence: .*position 1: '\?'"),
    ],
)
def test_a_bad_row_of_mrl(tmp_path, old, new, message):
    content = mrl_file()
    content = content.replace("\n3,", "\n3,A", 1) if old.startswith("\n") else content
    assert old in content
    with pytest.raises(ValueError, match=message):
        parsers_utr.mrl(
            write(tmp_path, {"GSM4084997_varying_length_25to100.csv": content.replace(old, new, 1)})
        )


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, -4])
@pytest.mark.parametrize("way", ["cut", "changed"])
def test_damaged_packed_tables_of_mrl(tmp_path, keep, way):
    name = "GSM4084997_varying_length_25to100.csv.gz"
    content = bytearray(gzip.compress(mrl_file().encode()))
    place = int(keep * len(content)) if keep > 0 else int(keep)
    if way == "cut":
        del content[place:]
    else:
        content[place] ^= 4
    with pytest.raises(ValueError, match=name):
        parsers_utr.mrl(write(tmp_path, {name: bytes(content)}))


TE_ROWS = "utr,te_log,rnaseq_log\n" + "ACG,1,1\n" * 12


def te_files() -> dict[str, str]:
    rows = "".join(f"<pad><pad>{'ACGT' * (5 + i)},{i / 7},{-i}\n" for i in range(20))
    return {f"{kind}_sequence.csv": "utr,te_log,rnaseq_log\n" + rows for kind in ("Muscle", "pc3", "HEK")}


def test_translation_efficiency_and_expression(tmp_path):
    from sklearn.model_selection import KFold

    table = parsers_utr.te_el(
        zipped(tmp_path / "capsule.zip", {f"data/{n}": c for n, c in te_files().items()})
    )
    assert table["dataset"].value_counts().to_dict() == {"HEK": 20, "Muscle": 20, "PC3": 20}
    rows = table[table["dataset"] == "PC3"].reset_index(drop=True)
    assert rows["sequence"][0] == "ACGU" * 5 and rows["log_el"][3] == -3 and rows["log_te"][7] == 1
    for fold, (_, test) in enumerate(KFold(10, shuffle=True, random_state=42).split(np.zeros(20))):
        assert rows.index[rows["fold"] == fold].tolist() == test.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"HEK_sequence.csv": "utr,te_log\nA,1\n"}, "HEK_sequence.csv: no column rnaseq_log"),
        ({"HEK_sequence.csv": ""}, "HEK_sequence.csv: not a CSV file"),
        ({"HEK_sequence.csv": TE_ROWS + "AZG,1,1\n"}, r"HEK_sequence\.csv, line 14, 'HEK_12': .*'Z'"),
        ({"HEK_sequence.csv": TE_ROWS + "ACG,,1\n"}, "line 14, 'HEK_12': column log_te: expected a finite number"),
    ],
)  # fmt: skip
def test_a_bad_te_file(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        parsers_utr.te_el(write(tmp_path, te_files() | change))
    assert str(caught.value).startswith(str(tmp_path))


def test_a_missing_te_file(tmp_path):
    files = te_files()
    del files["pc3_sequence.csv"]
    with pytest.raises(ValueError, match="expected Muscle_sequence"):
        parsers_utr.te_el(write(tmp_path, files))
