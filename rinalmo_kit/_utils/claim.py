"""A folder belongs to one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .files import whole_file
from .run_folders import read_facts

__all__ = ["claim"]


def claim(output: Path, facts: dict[str, Any]) -> None:
    """Note in ``output/run.json`` what is run there; refuse a folder that holds another run.

    Raises
    ------
    ValueError
        Lists what differs, or says that the note is damaged.
    """
    path = output / "run.json"
    facts = json.loads(json.dumps(facts, default=str))
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return
    old = read_facts(
        path, remedy="delete this file to resume the run, if it is this one, or choose another folder"
    )
    old, facts = _flat(old), _flat(facts)
    differs = [key for key in sorted(old.keys() | facts.keys()) if old.get(key) != facts.get(key)]
    if differs:
        lines = "\n".join(
            "  data: other training rows there than asked for"
            if key == "data"
            else f"  {key}: {old.get(key)!r} there, {facts.get(key)!r} asked for"
            for key in differs
        )
        raise ValueError(
            f"{output} holds another run; choose another folder, or delete it to start anew\n{lines}"
        )


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with those of a recipe among the others."""
    inner = facts.get("recipe")
    return {**inner, **facts, "recipe": inner.get("name")} if isinstance(inner, dict) else facts
