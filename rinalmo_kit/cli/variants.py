"""The command that scores variants of RNAs, from a table as VCF has it."""

from __future__ import annotations

import argparse
import io
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.files import user_path
from .._utils.text_files import read_text, without_packing

if TYPE_CHECKING:
    import pandas as pd

    from ..model.rinalmo import RiNALMo
    from .records import Source

ONLY = ""
"""Name under which variants stand that are of the only record, whatever it is called."""


def read_variants(path: Path) -> dict[str, list[Any]]:
    r"""Return the variants of a table by the names of their records.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "x.vcf")
    >>> _ = path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nrna1\t3\t.\tG\tA,C\n")
    >>> read_variants(path)
    {'rna1': [('3', 'G', 'A'), ('3', 'G', 'C')]}
    """
    from ..datasets.user_tables import read_table
    from ..evaluation.variants import rows_of_table

    table: Any
    if without_packing(path.name).lower().endswith(".vcf"):
        table = _read_vcf(path)
    else:
        table = read_table(path)
    try:
        variants = rows_of_table(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    columns = {str(column).lower().lstrip("#"): column for column in table.columns}
    column = next((columns[name] for name in ("chrom", "name") if name in columns), None)
    names = [ONLY] * len(variants) if column is None else [str(name) for name in table[column]]
    found: dict[str, list[Any]] = {}
    for name, one in zip(names, variants, strict=True):
        several = [(*one[:2], alt) for alt in one[2].split(",")] if isinstance(one, tuple) else [one]
        found.setdefault(name, []).extend(several)
    return found


def _read_vcf(path: Path) -> pd.DataFrame:
    import pandas as pd

    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("##")]
    if not lines or not lines[0].startswith("#CHROM\t"):
        raise ValueError(f"{path}: expected a line '#CHROM\tPOS\tID\tREF\tALT' before the variants")
    return pd.read_csv(io.StringIO("\n".join(lines)), sep="\t", dtype=str, keep_default_na=False)


def _variants(options: argparse.Namespace) -> int:
    from ..inference.masked import language_model
    from .outputs import TABLES, Output, Writer, tables
    from .records import Source

    output = Output.of(options.output, None, TABLES)
    output.check([options.input, *([options.variants] if options.variants else [])])
    wanted = read_variants(user_path(options.variants)) if options.variants else None
    with output.lock():
        source = Source(options.input, quiet=options.quiet)
        if wanted is not None and ONLY in wanted:
            records = list(source)
            if len(records) > 1:
                raise ValueError(
                    f"{options.input} holds {len(records)} records: {options.variants} needs the column CHROM or name"
                )
            source.records, wanted = chain(records), {records[0][0]: wanted[ONLY]}
        model = language_model(options.model)
        with Writer(output, tables) as writer, source.bar() as bar:
            for name, text in source:
                given = None if wanted is None else wanted.pop(name, [])
                table = _of_record(name, text, given, options.fill, model, source)
                if table is not None:
                    writer.write(table, 1)
                bar.update()
            writer.whole = source.fault is None
    for name, left in (wanted or {}).items():
        source.skip(ValueError(f"{len(left)} variants of {name!r}: {options.input} has no such record"))
    return source.report(writer.finished, "records scored")


def _of_record(
    name: str, text: str, given: list[Any] | None, fill: Any, model: RiNALMo, source: Source
) -> pd.DataFrame | None:
    """Return the scores of the variants of a record, None if there are none; those that are invalid are skipped."""
    from ..evaluation.variants import variant_scores
    from ..inference.batching import ready_sequence

    try:
        sequence = ready_sequence(name, text)
        chosen = None if given is None else _valid(name, sequence, given, source)
        if chosen == []:
            return None
        found = variant_scores({name: sequence}, chosen, fill=fill, model=model)
    except (ValueError, MemoryError) as error:
        source.skip(error)
        return None
    found.insert(0, "name", name)
    return found


def _valid(name: str, sequence: str, given: list[Any], source: Source) -> list[Any]:
    """Return the variants that can be scored, and name the others."""
    from ..evaluation.variants import parse_variant

    found = []
    for one in given:
        try:
            parse_variant(sequence, one)
        except ValueError as error:
            source.skip(ValueError(f"{name!r}: {error}"))
        else:
            found.append(one)
    return found
