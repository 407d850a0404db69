"""The commit and the command that made a number."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["provenance"]


def provenance() -> dict[str, str]:
    """Return the command that runs, the commit of the working folder (with ``+`` if it has changes) and the date.

    Of absolute paths in the command the last part is kept: where things lie on a machine concerns nobody else.
    """

    def git(*arguments: str) -> str:
        if shutil.which("git") is None:
            return ""
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def plain(word: str) -> str:
        return Path(word).name if Path(word).is_absolute() else word

    words = ["=".join(map(plain, word.split("="))) for word in sys.argv]
    program, spec = Path(words[0]).name, sys.modules["__main__"].__spec__
    if program == "__main__.py" and spec is not None:
        program = f"python -m {spec.name.removesuffix('.__main__')}"
    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "command": " ".join([program, *words[1:]]),
        "commit": commit + changed,
        "date": datetime.date.today().isoformat(),
    }
