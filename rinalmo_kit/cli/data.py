"""``rinalmo-kit data``: list, get and verify the datasets of the paper."""

from __future__ import annotations

import argparse

from .._utils.files import user_path


def _data_list(options: argparse.Namespace) -> int:
    from ..datasets.download import describe, overview

    if options.name:
        print(describe(options.name))
        return 0
    table = overview()
    line = "{:<15} {:<43} {:>8} {:>8}  {:<9} {}"
    print(line.format("name", "task", "rows", "paper", "data", "licence"))
    for row in table.fillna({"rows": 0, "paper_rows": 0}).itertuples():
        counts = [f"{count:,}" if count else "–" for count in (row.rows, row.paper_rows)]
        print(line.format(row.name, row.task, *counts, row.data, row.licence))
    for row in table[table["table"] != ""].itertuples():
        print(f"\n{row.name}: {row.table}" + (f"\n  {row.note}" if row.note else ""))
    return 0


def _data_get(options: argparse.Namespace) -> int:
    from ..datasets.download import get, verify

    print(get(options.name, source=user_path(options.source) if options.source else None))
    report = verify(options.name)
    print(report)
    return 0 if report.ok else 1


def _data_verify(options: argparse.Namespace) -> int:
    from ..datasets.download import verify
    from ..datasets.loading import TABLES

    wrong = 0
    for name in [options.name] if options.name else TABLES:
        try:
            report = verify(name)
        except FileNotFoundError:
            if options.name:
                raise
            print(f"{name}: not here")
            continue
        print(report)
        wrong += not report.ok
    return 1 if wrong else 0
