"""Tables of structures: CSV, TSV and Parquet, and JSON with an object a structure."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._utils.text_files import TextFileError, read_text
from .folded import FoldedRNA
from .structure_text import at, named, split_name, title

__all__ = ["parse_json", "parse_table", "render_json", "render_table"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def parse_table(path: Path) -> Iterator[FoldedRNA]:
    """Read the columns sequence, dot_bracket and name or id; text stays as it is written."""
    table = _read_parquet(path) if split_name(path)[1] == ".parquet" else _read_separated(path)
    if "sequence" not in table or "dot_bracket" not in table:
        raise ValueError(f"expected the columns sequence, dot_bracket and name or id, found {list(table)}")
    if twice := [
        column for column in ("sequence", "dot_bracket", "name", "id") if list(table).count(column) > 1
    ]:
        raise ValueError(f"there are several columns {twice[0]!r}")
    names = table.get("name", table.get("id", [None] * len(table)))
    rows = zip(names, table["sequence"], table["dot_bracket"], strict=True)
    for number, (name, *texts) in enumerate(rows, 1):
        name = named(None if _is_missing(name) else str(name), path, number)
        with at(f"row {number}"):
            if not all(isinstance(text, str) and text for text in texts):
                raise ValueError(f"record {name!r}: expected a sequence and a structure, found {texts}")
            yield FoldedRNA.from_dot_bracket(*texts, name=name)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _read_separated(path: Path) -> Any:
    import pandas as pd

    text = read_text(path)
    before, _, last = text.rpartition("\n")
    text = text if last.strip(" ") else before
    separator = SEPARATORS[split_name(path)[1]]
    return pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)


def _read_parquet(path: Path) -> Any:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise
    except Exception as error:  # pyarrow has many
        raise TextFileError(f"{path}, not a Parquet table that can be read ({error})") from error
    return table if list(table.index.names) == [None] else table.reset_index()


def parse_json(path: Path) -> Iterator[FoldedRNA]:
    """Read objects with sequence, dot_bracket or pairs (from 1), and name: one a line, or a list of them."""
    text = read_text(path)
    for number, (line, content) in enumerate(_objects(text), 1):
        with at(f"line {line}"):
            yield _from_object(content, named(None, path, number))


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """Yield line and value of everything in a text of JSON values, or in its list."""
    place, line, decoder = 0, 1, json.JSONDecoder()
    while True:
        while place < len(text) and text[place].isspace():
            line += text[place] == "\n"
            place += 1
        if place == len(text):
            return
        start = place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno}: not JSON ({error.msg})") from None
        except RecursionError:
            raise ValueError(f"line {line}: too deeply nested") from None
        yield from ((line, one) for one in (value if isinstance(value, list) else [value]))
        line += text.count("\n", start, place)


def _from_object(content: Any, default: str) -> FoldedRNA:
    if not isinstance(content, dict):
        raise ValueError(
            f"expected an object with a sequence and a dot_bracket, found {json.dumps(content)[:40]}"
        )
    name, sequence, brackets = (content.get(key) for key in ("name", "sequence", "dot_bracket"))
    name = title(str(name)) if name is not None and str(name).strip() else default
    pairs, confidence = content.get("pairs"), content.get("confidence")
    if not isinstance(sequence, str) or not sequence:
        raise ValueError(f"record {name!r}: expected a sequence, found {sequence!r}")
    if not (isinstance(brackets, str) or (brackets is None and isinstance(pairs, list))):
        raise ValueError(f"record {name!r}: expected a dot_bracket or pairs, found {brackets!r}")
    if not (confidence is None or (type(confidence) in (int, float) and 0 <= confidence <= 1)):
        raise ValueError(f"record {name!r}: expected a confidence between 0 and 1, found {confidence!r}")
    listed = None if pairs is None else FoldedRNA(sequence, _pairs(pairs, name), name=name)
    written = None if brackets is None else FoldedRNA.from_dot_bracket(sequence, brackets, name=name)
    if listed is not None and written is not None and listed != written:
        raise ValueError(f"record {name!r}: pairs and dot_bracket are different structures")
    one = listed if written is None else written
    method = content.get("method", "")
    if not isinstance(method, str):
        raise ValueError(f"record {name!r}: expected the method in words, found {method!r:.40}")
    return FoldedRNA(
        sequence, [] if one is None else one.pairs, name, confidence=confidence, method=title(method)
    )


def _pairs(pairs: Any, name: str) -> list[tuple[int, int]]:
    if not isinstance(pairs, list):
        raise ValueError(f"record {name!r}: expected a list of pairs, found {pairs!r:.40}")
    for pair in pairs:
        if (
            not isinstance(pair, list)
            or len(pair) < 2
            or not all(type(i) is int and abs(i) < 1 << 40 for i in pair[:2])
        ):
            raise ValueError(f"record {name!r}: expected a pair [i, j, probability], found {pair!r:.40}")
    return [(i - 1, j - 1) for i, j, *_ in pairs]


def render_json(structure: FoldedRNA, name: str) -> str:
    """Return one JSON object on a line; pairs count from 1 and carry their probability, if there is one.

    The confidence is the F1 to expect.
    """
    pairs: list[list[float]] = [[int(i) + 1, int(j) + 1] for i, j in structure.pairs]
    if structure.probabilities is not None:
        for pair, (i, j) in zip(pairs, structure.pairs, strict=True):
            pair.append(round(float(structure.probabilities[i, j]), 4))
    content = {
        "name": name,
        "sequence": structure.sequence,
        "dot_bracket": structure.dot_bracket,
        "confidence": None if structure.confidence is None else float(structure.confidence),
        **({"method": structure.method} if structure.method else {}),
        "pairs": pairs,
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def render_table(structures: Sequence[FoldedRNA], ending: str) -> bytes:
    """Return the bytes of a table with the columns name, sequence and dot_bracket."""
    import pandas as pd

    rows = [(title(s.name), s.sequence, s.dot_bracket) for s in structures]
    table = pd.DataFrame(rows, columns=["name", "sequence", "dot_bracket"])
    if ending == ".parquet":
        return table.to_parquet(index=False)
    return table.to_csv(index=False, sep=SEPARATORS[ending]).encode()
