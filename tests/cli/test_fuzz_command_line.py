"""Command lines of sensible and senseless words, over mutated files: an exit code and a message, never a traceback.

``FUZZ_INPUTS=20000`` raises the number of command lines.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest

import rinalmo_kit as rk
from rinalmo_kit import cli

INPUTS = int(os.environ.get("FUZZ_INPUTS", "240"))
SECONDS = 20.0  # for one command over a small file, on a busy machine

FASTA = b">a\nGGGGAAAACCCC\n>b x\nACGU\n\n>c\nGGGAAACCC\nUU\n>a\nGCGCUUCGGCGC\n"
TABLE = b"id,sequence,label\n001,GGGGAAAACCCC,a\n002,ACGUACGU,b\n003,GGGAAACCC,a\n"
BRACKETS = b">a\nGGGGAAAACCCC\n((((....))))\n>b\nGGGAAACCC\n(((...)))\n"
ENDINGS = (
    ".dbn .DBN .ct .bpseq .st .json .jsonl .csv .tsv .parquet .fa .txt .x .gz .dbn.gz .ct.bz2 .csv.xz .parquet.gz"
).split()
NUMBERS = [*"0 1 2 -1 0.5 1.5 nan inf -inf 1e400 1e-3 4 x None 10 1_0 ٣ 0x10".split(), ""]
OPTIONS = {
    "fold": ["-f", "-t", "--min-loop", "--non-canonical", "-q", "--shard-size", "-m"],
    "predict": ["-f", "-q", "--shard-size", "-m"],
    "embed": ["--pool", "--layer", "--window", "--dtype", "-q", "--shard-size", "-m"],
    "variants": ["--fill", "-q", "-m"],
    "score": ["--canonical-only", "--samples"],
    "estimate": ["--task", "--pool", "--device", "-m"],
    "evaluate": ["--task", "--target", "--fold", "--limit", "--samples"],
    "plan": [
        "--tokens",
        "--size",
        "--n",
        "--steps",
        "--epochs",
        "--tokens-per-batch",
        "--max-tokens",
        "--mfu",
    ],
    "data": [],
    "recipes": [],
}
WORDS = {
    "-f": "dbn ct bpseq json parquet csv tsv st xyz".split(),
    "-m": "nano nano-ss pico-ncrna-0 pico-mrl nothing ./absent.pt".split(),
    "--pool": "mean cls none max median".split(),
    "--fill": "mask wt mut all".split(),
    "--dtype": "float16 float32 int8".split(),
    "--task": "embed fold predict structure classification regression x".split(),
    "--target": "label dot_bracket absent".split(),
    "--device": "cpu cuda x cpu:9".split(),
    "--size": "pico nano huge".split(),
}
ALONE = ("--non-canonical", "--canonical-only", "-q")


def mutated(random_: random.Random, content: bytes) -> bytes:
    """Change bytes, cut, repeat, pack: what a file may have gone through."""
    content = bytearray(content)
    for _ in range(random_.choice((0, 0, 1, 2, 8))):
        place = random_.randrange(len(content) + 1)
        content[place : place + random_.choice((0, 1, 3))] = random_.choice(
            (b">", b"\n", b"\r", b"\x00", b"\xff", b"N", b"X", b"-", b"(", b",", b"\xef\xbb\xbf", b"&", b" ")
        )
    content = bytes(content) * random_.choice((1, 1, 1, 2))
    content = random_.choice((bytes, bytes, gzip.compress, bz2.compress, lzma.compress))(content)
    return content[: random_.randrange(len(content) + 1)] if random_.random() < 0.1 else content


def words_of(random_: random.Random, folder: Path) -> tuple[list[str], Path, bytes, Path | None]:
    """Make a command line, its input file, and the output that it names."""
    command = random_.choice([*OPTIONS, "fold", "fold", "fold", "predict"])
    content = mutated(random_, random_.choice((FASTA, FASTA, FASTA, TABLE, BRACKETS)))
    source = folder / f"in{random_.choice(('.fa', '.fasta.gz', '.csv', '.dbn', ''))}"
    source.write_bytes(content)
    words = [command, *{"data": ["list"], "recipes": [], "plan": []}.get(command, [])]
    if command == "score":
        (folder / "known.dbn").write_bytes(BRACKETS)
        words += ["--reference", str(folder / "known.dbn"), "--predicted"]
    if command == "evaluate":
        words += [random_.choice(("most-pairs", "trivial", "nano-ss", "nothing"))]
    if command not in ("plan", "recipes", "data") or random_.random() < 0.3:
        words += [str(source) if random_.random() < 0.95 else str(folder / "absent.fa")]
    for option in random_.sample(
        OPTIONS[command], k=min(len(OPTIONS[command]), random_.choice((0, 0, 1, 2)))
    ):
        words += [option] if option in ALONE else [option, random_.choice(WORDS.get(option, NUMBERS))]
    output = None
    if command in ("fold", "predict", "embed", "evaluate") and (command == "embed" or random_.random() < 0.8):
        name = random_.choice(("out", "out", "a b", "β", ".hidden")) + random_.choice(("", *ENDINGS))
        output = source if random_.random() < 0.03 else folder / name
        words += ["-o", f"{output}{random_.choice(('', '', '', os.sep))}"]
    if "--samples" in words:
        words[words.index("--samples") + 1] = str(folder / "samples.csv")
    random_.random() < 0.03 and words.append(random_.choice(("--absent", "extra", "-")))
    return words, source, content, output


def check_written(output: Path) -> None:
    """Whatever was written under exit code 0 is read again by our own readers."""
    files = [output] if output.is_file() else [one for one in output.rglob("*") if one.is_file()]
    for file in files:
        name = file.name.lower()
        if file.name.startswith(("_", ".")) and file.is_file() and output.is_dir():
            continue
        if name.endswith(".parquet"):
            assert pd.read_parquet(file) is not None
        elif not any(ending in name for ending in (".csv", ".tsv")):
            assert rk.read_structures(file)


@pytest.mark.parametrize("part", range(4))
def test_any_command_line_ends_with_a_code_and_a_message(part, tmp_path, capsys, monkeypatch):
    random_ = random.Random(part)
    monkeypatch.chdir(tmp_path)
    for number in range(INPUTS // 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        words, source, content, output = words_of(random_, folder)
        start = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = cli.main(words)
        said = capsys.readouterr()
        assert code in (0, 1, 2), words
        assert "Traceback" not in said.err, (words, said.err)
        assert code == 0 or said.err.strip(), words
        assert time.monotonic() - start < SECONDS, words
        assert source.read_bytes() == content, words
        assert not list(folder.rglob(".*.tmp")), words
        if code == 0 and output is not None and words[0] in ("fold", "predict", "embed"):
            check_written(output)
