"""The pretraining corpus: built by the real seqkit and mmseqs, killed, refused, read by workers, cropped."""

import gzip
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from rinalmo_kit import cli
from rinalmo_kit.datasets.corpus import stages
from rinalmo_kit.datasets.corpus.build import WORK, build_corpus, build_corpus_from_table, rejected_records
from rinalmo_kit.datasets.corpus.store import FILE, Corpus, CorpusDataset, ListCorpus, as_corpus, crop
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import CLS, EOS

pytest.importorskip("lmdb")

MISSING = [
    f"{name} (apt-get install {package})"
    for name, package in {"mmseqs": "mmseqs2", "seqkit": "seqkit"}.items()
    if shutil.which(name) is None
]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")

COMPLEMENT = str.maketrans("ACGU", "UGCA")

RESULTS = {"counts.json", "filtered.fasta", "unique.fasta", "clusters.tsv"}


def relatives(families=40, members=6, seed=1):
    """Families of 100 to 300 nt that share nothing, each member 8 % away from the first: {name: sequence}."""
    rng = random.Random(seed)
    found = {}
    for f in range(families):
        root = rng.choices("ACGU", k=rng.randint(100, 300))
        for m in range(members):
            letters = [
                rng.choice("ACGU".replace(letter, "")) if m and rng.random() < 0.08 else letter
                for letter in root
            ]
            found[f"f{f}/m{m}"] = "".join(letters)
    return found


def as_fasta(records):
    return "".join(f">{name} of a family\n{sequence}\n" for name, sequence in records.items())


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text(as_fasta(relatives()))
    return path


def dump(corpus):
    """All there is in a corpus but date and command."""
    records = [corpus.sequence(i) for i in range(len(corpus.lengths))]
    return (
        records,
        corpus.sizes.tolist(),
        corpus.holdout.tolist(),
        corpus.lengths.tolist(),
        corpus.meta["counts"],
    )


def table_corpus(path, sizes, lengths=(20, 60)):
    rng = random.Random(0)
    rows = [
        (f"s{c}.{m}", "".join(rng.choices("ACGU", k=rng.randint(*lengths))), f"c{c}")
        for c, size in enumerate(sizes)
        for m in range(size)
    ]
    table = pd.DataFrame(rows, columns=["id", "sequence", "family"])
    return build_corpus_from_table(table, path, progress=False)


# building


@needs_tools
def test_build(tmp_path):
    family = relatives()
    one, two = dict(list(family.items())[:100]), dict(list(family.items())[100:])
    reverse = family["f3/m0"][::-1].translate(COMPLEMENT)
    extra = {
        "again": family["f0/m0"].lower().replace("u", "t"),
        "reverse": reverse,
        "short": "ACGUACGUACGUACG",
        "shortest": "ACGUACGUACGUACGU",
        "long": "ACGU" * 76,
        "protein": "MKVLAA",
        "codes": "RYKMSWBDHVN-I" * 8,
    }
    (tmp_path / "a.fa").write_text(as_fasta(one).replace("\n", "\r\n"))
    with gzip.open(tmp_path / "b.fa.gz", "wt") as stream:
        stream.write("\n" + as_fasta(two | extra))
    out = tmp_path / "out"
    corpus = build_corpus([tmp_path / "a.fa", tmp_path / "b.fa.gz"], out, max_length=300, progress=False)

    assert corpus.meta["counts"] == {
        "records": 247, "refused": 1, "too_short": 1, "too_long": 1, "kept": 244, "duplicates": 1
    }  # fmt: skip
    expected = {**family, **{name: extra[name] for name in ("reverse", "shortest", "codes")}}
    clusters = [dict(corpus.sequence(i) for i in corpus.members(c)) for c in range(len(corpus))]
    assert {name: s for cluster in clusters for name, s in cluster.items()} == expected
    together = [{name.partition("/")[0] for name in cluster} - {"reverse"} for cluster in clusters]
    assert len(together) == 42 and all(len(names) <= 1 for names in together)  # mmseqs looks at both strands
    lengths = [len(corpus.sequence(i)[1]) for i in range(244 - 1)]
    assert corpus.lengths.tolist() == lengths and corpus.sizes.sum() == len(lengths) == corpus.offsets[-1]

    header, refused = (out / "rejected.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "line", "name", "reason"]
    file, line, name, reason = refused.split("\t")
    assert (file, name) == (str(tmp_path / "b.fa.gz"), "protein") and "position 4: 'L'" in reason
    assert gzip.open(file, "rt").read().splitlines()[int(line) - 1].startswith(">protein")
    assert sorted(path.name for path in out.iterdir()) == [FILE, "rejected.tsv"]


@needs_tools
def test_holdout_is_of_clusters_and_by_seed(fasta, tmp_path):
    def build(name, **options):
        return build_corpus(fasta, tmp_path / name, progress=False, **options)

    some, same, other = (
        build("a", holdout=0.2, seed=3),
        build("b", holdout=0.2, seed=3),
        build("c", holdout=0.2),
    )
    assert len(some.holdout) == 8 and sorted([*some.train, *some.holdout]) == list(range(40))
    assert dump(some) == dump(same) and some.holdout.tolist() != other.holdout.tolist()
    held = {some.sequence(i)[0].partition("/")[0] for c in some.holdout for i in some.members(c)}
    trained = {some.sequence(i)[0].partition("/")[0] for c in some.train for i in some.members(c)}
    assert len(held) == 8 and not held & trained
    assert len(build("d", holdout=0).holdout) == 0
    assert len(build("e", holdout=0.001).holdout) == 1


@needs_tools
def test_without_clustering(fasta, tmp_path, monkeypatch):
    corpus = build_corpus(fasta, tmp_path / "single", min_identity=None, progress=False)
    assert corpus.sizes.tolist() == [1] * 240
    families = {name: name.partition("/")[0] for name in relatives() if not name.startswith("f7/")}
    corpus = build_corpus(fasta, tmp_path / "named", min_identity=None, families=families, progress=False)
    assert sorted(corpus.sizes.tolist()) == [1] * 6 + [6] * 39
    with pytest.raises(ValueError, match="min_identity=None"):
        build_corpus(fasta, tmp_path / "x", families=families)


@needs_tools
def test_first_record_of_ambiguity_codes_is_no_protein(tmp_path):
    family = relatives(3)
    path = tmp_path / "in.fa"
    path.write_text(as_fasta({f"n{i}": "RYSWKM" * (10 + i) for i in range(20)} | family))
    corpus = build_corpus(path, tmp_path / "out", progress=False)
    found = defaultdict(set)
    for c in range(len(corpus)):
        for i in corpus.members(c):
            found[corpus.sequence(i)[0].partition("/")[0]].add(c)
    assert all(len(found[f"f{f}"]) == 1 for f in range(3))


@pytest.mark.parametrize("name", ["seqkit", "mmseqs"])
def test_missing_program(name, fasta, tmp_path, monkeypatch):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n: None if n == name else real(n) or "/bin/true")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout="1"))
    with pytest.raises(FileNotFoundError, match=f"{name}, which is not on PATH: apt-get install {name}"):
        build_corpus(fasta, tmp_path / "out", progress=False)


def test_missing_lmdb(fasta, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ImportError, match=r"pip install 'rinalmo-kit\[training\]'"):
        build_corpus(fasta, tmp_path / "out", progress=False)


@needs_tools
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b">a\nMKE\n>b\nACGUACGUACGUACGUE\n", r"2 have a letter.*in.fasta, line 1: 'a', position 3: 'E'"),
        (b">a\nACG\n>b\nACGUACGUACGUACGU\n>c\nX\n", None),
        (b"ACGU\n>a\nACGU\n", r"in.fasta.*line 1: expected a FASTA header"),
        (b"\n\n", "holds no FASTA record"),
        (b">a\nACG\n", "1 are shorter than 16"),
        (b">a\nACGU\n>b\nAC\xff\xfeGU\n", r"broken after line 4: .*line 4, byte 3: 0xFF is not UTF-8"),
    ],
)
def test_bad_input(content, message, tmp_path):
    path = tmp_path / "in.fasta"
    path.write_bytes(content)
    if message is None:
        corpus = build_corpus(path, tmp_path / "out", progress=False)
        assert (
            corpus.sequence(0) == ("b", "ACGUACGUACGUACGU") and len(corpus) == 1 and len(corpus.holdout) == 0
        )
        assert (tmp_path / "out/rejected.tsv").read_text().splitlines()[1].split("\t")[1:3] == ["5", "c"]
        return
    with pytest.raises(ValueError, match=message):
        build_corpus(path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / FILE).exists()
    assert {p.name for p in (tmp_path / "out" / WORK).iterdir()} == {"job.json"}


@needs_tools
def test_cut_off_gzip(fasta, tmp_path):
    path = tmp_path / "in.fa.gz"
    path.write_bytes(gzip.compress(fasta.read_bytes())[:-2000])
    with pytest.raises(ValueError, match=r"in.fa.gz is broken after line \d+"):
        build_corpus([fasta, path], tmp_path / "out", progress=False)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent"):
        build_corpus([fasta, tmp_path / "absent.fa"], tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    "options",
    [{"min_length": 0}, {"min_length": 20, "max_length": 19}, {"max_length": 70_000}, {"holdout": 2},
     {"min_identity": 70}, {"coverage": -1}],
)  # fmt: skip
def test_options_out_of_range(options, fasta, tmp_path):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*expected"):
        build_corpus(fasta, tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


# again, otherwise, killed, without room


@needs_tools
def test_a_finished_corpus_is_neither_built_again_nor_replaced(fasta, tmp_path, monkeypatch):
    first = build_corpus(fasta, tmp_path / "out", progress=False)
    before = (tmp_path / "out" / FILE).stat()
    monkeypatch.setenv("PATH", "")  # no seqkit, no mmseqs
    copy = tmp_path / "renamed.fasta"
    shutil.copy(fasta, copy)
    assert dump(build_corpus(copy, tmp_path / "out", threads=1, progress=False)) == dump(first)
    with pytest.raises(
        FileExistsError, match=r"min_length: 16 there, 20 asked for\n  seed: 0 there, 1 asked for"
    ):
        build_corpus(fasta, tmp_path / "out", min_length=20, seed=1, progress=False)
    copy.write_text(as_fasta(relatives(seed=2)))
    with pytest.raises(FileExistsError, match="other input files"):
        build_corpus(copy, tmp_path / "out", progress=False)
    after = (tmp_path / "out" / FILE).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def in_child(function):
    """Run a function in a fork of this process; returns how it ended, and what OSError it raised."""
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        with os.fdopen(read) as stream:
            said = stream.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
    try:
        function()
    except OSError as error:
        os.write(write, str(error).encode())
        os._exit(3)
    finally:
        os._exit(0)


HALF = {  # a program that stops half through its work; "$@" as we call it
    "seqkit": 'head -c 9000 "${10}" > "$9"; echo 0 duplicated records removed',
    "mmseqs": 'mkdir "$4"; printf "0\\t0\\n1\\t1\\n" > "$3_cluster.tsv"',
}


def half_a_program(name, folder, last):
    """Put one of HALF in front of PATH."""
    script = folder / name
    folder.mkdir()
    script.write_text(f'#!/bin/bash\n[ "$1" != version ] || exit 0\n{HALF[name]}\n{last}\n')
    script.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def killed(stage, fasta, out):
    """Kill a build with SIGKILL in the middle of a stage."""

    def die_at(name, call):
        real, calls = getattr(stages, name), [0]

        def wrapper(*arguments, **options):
            calls[0] += 1
            if calls[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(stages, name, wrapper)

    def build():
        stages.TRANSACTION = 50
        if stage in HALF:
            half_a_program(stage, out.parent / stage, "kill -9 $PPID")
        else:
            die_at(*{"filter": ("clean", 100), "write": ("key", 120)}.get(stage, (stage, 1)))
        build_corpus(fasta, out, progress=False)

    assert in_child(build) == (-9, "")
    leftovers = [path.name for path in out.rglob("*")]
    if stage in ("filter", "seqkit", "write"):
        assert any(name.endswith(".tmp") for name in leftovers)
    if stage == "mmseqs":
        assert "of_cluster.tsv" in leftovers


FINISHED = {  # where it is killed: the stages that a second run must not do again
    "filter": [],
    "deduplicate": ["filter_fasta"],
    "seqkit": ["filter_fasta"],
    "mmseqs": ["filter_fasta", "deduplicate"],
    "cluster": ["filter_fasta", "deduplicate"],
    "group": ["filter_fasta", "deduplicate"],
    "write": ["filter_fasta", "deduplicate"],
}


@needs_tools
@pytest.mark.parametrize("stage", FINISHED)
def test_killed_and_run_again(stage, fasta, tmp_path, monkeypatch):
    fasta.write_text(as_fasta(relatives() | {"bad": "X"}))
    out = tmp_path / "out"
    killed(stage, fasta, out)
    assert not (out / FILE).exists()
    for name in FINISHED[stage]:
        monkeypatch.setattr(stages, name, None)  # calling it would fail
    if stage in ("group", "write"):
        assert (out / WORK / "clusters.tsv").exists()
        monkeypatch.setattr(stages, "run", None)
    again = build_corpus(fasta, out, progress=False)
    assert sorted(path.name for path in out.iterdir()) == [FILE, "rejected.tsv"]
    monkeypatch.undo()
    assert dump(again) == dump(build_corpus(fasta, tmp_path / "whole", progress=False))


@needs_tools
def test_an_unfinished_build_of_something_else_is_begun_anew(fasta, tmp_path):
    killed("write", fasta, tmp_path / "out")
    with pytest.warns(
        UserWarning, match=r"unfinished.*\(min_length: 16 there, 120 asked for\): starting anew"
    ):
        corpus = build_corpus(fasta, tmp_path / "out", min_length=120, progress=False)
    assert corpus.lengths.min() >= 120 and corpus.meta["counts"]["too_short"] > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [FILE, "rejected.tsv"]


@needs_tools
@pytest.mark.parametrize("stage", ["filter", "mmseqs", "write"])
def test_no_room(stage, fasta, tmp_path):
    """A limit for the size of a file stands in for a full disk; what there is then is no corpus."""
    whole = build_corpus(fasta, tmp_path / "whole", progress=False)
    filtered = sum(len(f">{i} {name}\n{s}\n") for i, (name, s) in enumerate(dump(whole)[0]))
    room = {"filter": filtered // 2, "mmseqs": filtered + 9, "write": whole.path.stat().st_size - 9}[stage]
    out = tmp_path / "out"

    def build():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        build_corpus(fasta, out, progress=False)

    code, said = in_child(build)
    message = {
        "filter": "no room to write in",
        "mmseqs": "mmseqs failed",
        "write": "corpus.lmdb could not be",
    }
    assert code == 3 and message[stage] in said
    left = {path.name for path in out.rglob("*")}
    assert left <= {WORK, "job.json", "rejected.tsv", *(f"{name}.log" for name in HALF), *RESULTS}
    assert dump(build_corpus(fasta, out, progress=False)) == dump(whole)


@needs_tools
@pytest.mark.parametrize(
    ("name", "message"), [("seqkit", "did not write all of 240"), ("mmseqs", "put 2 of 240")]
)
def test_a_program_that_fails_silently(name, message, fasta, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.environ["PATH"])
    half_a_program(name, tmp_path / "bin", "exit 0")
    with pytest.raises(OSError, match=message):
        build_corpus(fasta, tmp_path / "out", progress=False)
    monkeypatch.undo()
    assert len(build_corpus(fasta, tmp_path / "out", progress=False)) == 40


def test_room_to_map_is_enough_for_awkward_lengths(tmp_path):
    rng = random.Random(0)
    records = [("n", "A" * n) for n in [2000, 2040, 2050, 4070, 4090, 8160] * 60]
    rng.shuffle(records)
    stages.write_corpus(
        tmp_path,
        records,
        sizes=np.ones(360, int),
        holdout=np.array([], int),
        meta={},
        letters=0,
        progress=False,
    )
    plain = sum(len(s) + 2 for _, s in records)
    assert (tmp_path / FILE).stat().st_size < 3 * plain  # what write_corpus counts on


# from a table


def test_table(tmp_path):
    rows = [
        ("a", "ACGUACGUACGUACGUA", "x", "train"),
        ("b", "acgtacgtacgtacgtag", "y", "train"),
        ("copy of c", "GGGGACGUACGUACGUA", "x", "train"),
        ("c", "GGGGACGUACGUACGUA", "x", "val"),
        ("d", "GCGCGCACGUACGUACGUA", None, "train"),
        ("e", "GCGCGCACGUACGUACGUAA", None, "train"),
        ("g", "GCGCGCACGUACGUACGUAAA", "", "train"),
        ("h", "GCGCGCACGUACGUACGUAAAA", "", "train"),
        ("f", "UUUUUUUUUUUUUUUUUUUUU", "x", "train"),
        ("bad", "ACGUXACGUACGUACGUA", "x", "train"),
        ("none", None, "x", "train"),
        ("short", "ACGU", "x", "train"),
    ]
    table = pd.DataFrame(rows, columns=["id", "sequence", "family", "split"])
    path = tmp_path / "table.parquet"
    table.to_parquet(path)
    corpus = build_corpus_from_table(path, tmp_path / "out", progress=False)
    clusters = [[corpus.sequence(i)[0] for i in corpus.members(c)] for c in range(len(corpus))]
    assert sorted(clusters) == [["a", "f"], ["b"], ["c"], ["d"], ["e"], ["g"], ["h"]]
    assert [clusters[c] for c in corpus.holdout] == [["c"]]
    assert corpus.meta["counts"] == {
        "records": 12, "refused": 2, "too_short": 1, "too_long": 0, "kept": 9, "duplicates": 1
    }  # fmt: skip
    refused = (tmp_path / "out/rejected.tsv").read_text()
    assert f"{path}\t9\tbad\t'bad', position 5: 'X'" in refused and f"{path}\t10\tnone\t" in refused
    assert dump(build_corpus_from_table(table, tmp_path / "out", progress=False)) == dump(corpus)
    with pytest.raises(FileExistsError, match=r"holdout: 'split' there, 0.5 asked for"):
        build_corpus_from_table(table, tmp_path / "out", holdout=0.5, progress=False)
    with pytest.raises(ValueError, match="no column sequence; it has id"):
        build_corpus_from_table(table[["id"]], tmp_path / "new")
    table.drop(columns=["split", "family"]).to_csv(tmp_path / "t.csv", index=False)
    plain = build_corpus_from_table(tmp_path / "t.csv", tmp_path / "plain", progress=False)
    assert plain.sizes.tolist() == [1] * 8 and len(plain.holdout) == 1


# reading


def test_a_folder_of_the_first_version_has_its_rejected_records_under_another_name(tmp_path):
    table = pd.DataFrame([("a", "ACGU" * 5), ("bad", "ACGUX" * 5)], columns=["id", "sequence"])
    out = tmp_path / "out"
    build_corpus_from_table(table, out, holdout=0.5, progress=False)
    assert rejected_records(out) == out / "rejected.tsv"
    (out / "rejected.tsv").rename(out / "refused.tsv")
    build_corpus_from_table(table, out, holdout=0.5, progress=False)  # finished: nothing is written
    assert rejected_records(out) == out / "refused.tsv" and not (out / "rejected.tsv").exists()
    (out / FILE).unlink()  # unfinished
    build_corpus_from_table(table, out, holdout=0.5, progress=False)
    assert sorted(path.name for path in out.iterdir()) == [FILE, "rejected.tsv"]


def test_what_is_no_corpus(tmp_path):
    corpus = table_corpus(tmp_path / "good", [3] * 200)
    content = corpus.path.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"no corpus: .* is missing"):
        Corpus(tmp_path / "absent")
    (tmp_path / "cut.lmdb").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is truncated"):
        Corpus(tmp_path / "cut.lmdb")
    (tmp_path / "other.lmdb").write_bytes(b"ACGU" * 5000)
    with pytest.raises(ValueError, match="is not a corpus"):
        Corpus(tmp_path / "other.lmdb")
    with pytest.raises(IndexError, match="sequence 600 of a corpus of 600"):
        corpus.sequence(600)


def test_opened_twice_pickled_and_forked(tmp_path):
    corpus = table_corpus(tmp_path, [1, 2, 3])
    again, copy = Corpus(tmp_path), pickle.loads(pickle.dumps(corpus))
    assert dump(again) == dump(copy) == dump(corpus)
    assert len(pickle.dumps(corpus)) < 500
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
    else:
        os._exit(0 if dump(corpus) == dump(again) == dump(Corpus(tmp_path)) else 1)
    assert corpus.sequence(5) == copy.sequence(5)


def test_epochs(tmp_path):
    sizes = [1, 2, 5] * 20
    corpus = table_corpus(tmp_path, sizes)
    assert len(corpus.train) == 59
    cluster = np.repeat(np.arange(60), corpus.sizes)
    epochs = [corpus.epoch(e, seed=4) for e in range(400)]
    for drawn in epochs:
        assert sorted(cluster[drawn]) == corpus.train.tolist()
    assert np.array_equal(epochs[7], Corpus(tmp_path).epoch(7, seed=4))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[0], corpus.epoch(0, seed=5))
    assert not np.array_equal(cluster[epochs[0]], cluster[epochs[1]])  # the order is new too
    times = np.bincount(np.concatenate(epochs), minlength=len(cluster))
    expected = 400 / corpus.sizes[cluster]
    assert np.all(np.abs(times - expected)[times > 0] <= 5 * np.sqrt(expected[times > 0]))
    assert set(np.flatnonzero(times == 0)) == {i for c in corpus.holdout for i in corpus.members(c)}
    held = corpus.epoch(0, seed=4, clusters=corpus.holdout)
    assert cluster[held].tolist() == corpus.holdout.tolist()


def test_crop():
    sequence = "".join(random.Random(0).choices("ACGU", k=28))
    whole = tokenize(sequence)[0]
    windows = [whole[i : i + 20].tolist() for i in range(11)]
    rng = np.random.default_rng(0)
    drawn = Counter(windows.index(crop(sequence, rng, max_tokens=20).tolist()) for _ in range(5500))
    assert all(abs(drawn[i] - 500) < 5 * 22 for i in range(11))  # uniform, so <cls> in 1 of 11, <eos> too
    assert (
        windows[0][0] == CLS and EOS not in windows[0] and windows[10][-1] == EOS and CLS not in windows[10]
    )
    assert not {CLS, EOS} & {token for window in windows[1:10] for token in window}
    assert torch.equal(crop(whole, rng, max_tokens=30), whole)
    assert torch.equal(crop(sequence, rng), whole)
    assert len(crop("A" * 8192, rng)) == 1024
    with pytest.raises(ValueError, match="max_tokens=0"):
        crop(sequence, rng, max_tokens=0)


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_items_do_not_depend_on_the_worker(start, workers, tmp_path):
    corpus = table_corpus(tmp_path, [2] * 30, lengths=(20, 200))
    dataset = CorpusDataset(corpus, seed=3, max_tokens=64)
    wanted = [(epoch, int(i)) for epoch in range(2) for i in corpus.epoch(epoch, 3)]
    alone = [dataset[item] for item in wanted]
    assert all(tokens.dtype == torch.int64 and len(tokens) <= 64 for tokens in alone)
    assert all(
        torch.equal(tokens, tokenize(corpus.sequence(i)[1])[0])
        for (_, i), tokens in zip(wanted, alone, strict=True)
        if corpus.lengths[i] <= 62
    )
    long = int(corpus.lengths.argmax())
    assert not torch.equal(dataset[0, long], dataset[1, long]) and torch.equal(
        dataset[1, long], dataset[1, long]
    )
    loader = DataLoader(
        dataset, batch_size=None, sampler=wanted, num_workers=workers, multiprocessing_context=start
    )
    loaded = list(loader)
    assert len(loaded) == len(alone)
    assert all(torch.equal(a, b) for a, b in zip(alone, loaded, strict=True))


# the command


@needs_tools
def test_command(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["corpus", "build", str(fasta), "-o", str(out), "-q", "--holdout", "0.1"]
    assert cli.main(arguments) == 0
    assert (
        "Corpus(240 sequences in 40 clusters, 4 of them held out)\nrecords 240\n" in capsys.readouterr().out
    )
    assert cli.main([*arguments, "--no-clusters"]) == 2
    assert "min_identity: 0.7 there, None asked for" in capsys.readouterr().err
    fasta.write_text(fasta.read_text() + ">bad\nX\n")
    assert cli.main([*arguments[:4], str(tmp_path / "new"), "-q"]) == 1
    assert f"1 records skipped, see {tmp_path / 'new' / 'rejected.tsv'}" in capsys.readouterr().err


def test_command_with_a_table(tmp_path, capsys):
    table = pd.DataFrame({"id": ["a", "b"], "sequence": ["ACGU" * 5, "GG" * 9], "split": ["train", "val"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert cli.main(["corpus", "build", str(tmp_path / "t.csv"), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert "Corpus(2 sequences in 2 clusters, 1 of them held out)" in capsys.readouterr().out


# the real sequences


@needs_tools
@pytest.mark.slow
def test_real_sequences(data, tmp_path):
    table = pd.read_parquet(data / "pretrain_ncrna/pretrain_ncrna.parquet")
    table = table[table["sequence"].str.len() >= 16]
    rows = zip(table.index, table["sequence"], strict=True)
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in rows))
    corpus = build_corpus(path, tmp_path / "out", progress=False)
    assert corpus.meta["counts"]["kept"] == 130_496 == len(corpus.lengths)
    assert corpus.lengths.sum() == table["sequence"].str.len().sum()
    assert 49_500 < len(corpus) < 51_500 and len(corpus.holdout) == round(len(corpus) / 100)
    rows = np.array([int(corpus.sequence(i)[0]) for i in range(len(corpus.lengths))])
    assert sorted(rows) == table.index.tolist()
    pairs = pd.DataFrame({"cluster": np.repeat(np.arange(len(corpus)), corpus.sizes), "row": rows})
    pairs["family"] = table["family"].loc[rows].to_numpy()
    main = pairs.groupby(["cluster", "family"]).size().groupby("cluster").max().sum() / len(pairs)
    assert main > 0.92, "of the sequences of a cluster, most are of one family"


def test_a_corpus_in_memory_reads_and_draws_like_one_in_a_file(tmp_path):
    rng = np.random.default_rng(5)
    sequences = ["".join(rng.choice(list("ACGU"), 16 + i)) for i in range(12)]
    table = pd.DataFrame(
        {"id": [f"r{i}" for i in range(12)], "sequence": sequences, "family": list("abca" * 3)}
    )
    in_file = build_corpus_from_table(table, tmp_path / "corpus", holdout=0, progress=False)
    records = list(zip(table["id"], sequences, strict=True))
    in_memory = pickle.loads(pickle.dumps(ListCorpus(records, families=list(table["family"]), holdout=0)))
    assert not isinstance(in_memory, Corpus) and as_corpus(in_memory) is in_memory
    for name in ("sizes", "lengths", "holdout", "offsets", "train"):
        assert np.array_equal(getattr(in_file, name), getattr(in_memory, name)), name
    for i in range(12):
        assert in_file.sequence(i) == in_memory.sequence(i)
        assert torch.equal(in_file.tokens(i), in_memory.tokens(i))
        assert torch.equal(in_memory.tokens(i), tokenize([in_memory.sequence(i)[1]])[0])
    assert np.array_equal(in_file.epoch(3, seed=1), in_memory.epoch(3, seed=1))
