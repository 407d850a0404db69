"""A warning shows the line that called the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rinalmo_kit as rk
from rinalmo_kit._utils.warn import warn_user

LONG = "ACGU" * 300


def unpaired(sequence: str) -> str:
    """A user's own predictor, which the package calls, and which calls the package."""
    assert len(rk.embed([sequence])) == 1
    return "." * len(sequence)


CALLS: dict[str, Callable[[], Any]] = {
    "fold": lambda: rk.fold(LONG, energy=None),
    "embed, through a decorator of torch": lambda: rk.embed([LONG]),
    "a list in a generator": lambda: [*map(len, rk.embed([LONG]))],
    "a function of the user": lambda: rk.evaluation.compare([unpaired], [rk.Structure(LONG, [])], draws=0),
    "a name that moved": lambda: rk.estimate,
    "many groups": lambda: rk.plot.embedding_map([[0, 0]] * 100, [str(k) for k in range(100)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_line_of_the_user_is_shown(name: str):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name]()
    ours = [one for one in caught if not isinstance(one.message, ImportWarning)]
    assert ours and {one.filename for one in ours} == {__file__}
    lines, first = inspect.getsourcelines(CALLS[name])
    assert all(first <= one.lineno < first + len(lines) for one in ours)


def test_a_warning_of_one_line_is_shown_once_by_default(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import rinalmo_kit as rk\nrk.embed(['ACGU'])  # imports, after which Python forgets what it has shown\n"
        f"for _ in range(3):\n    rk.embed([{LONG!r}])\nrk.embed([{LONG!r}])\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert [line.split(":")[1] for line in run.stderr.splitlines() if f"{script}:" in line] == ["4", "5"]


def test_a_warning_keeps_its_kind_and_can_be_an_error():
    class Own(UserWarning):
        pass

    with pytest.warns(Own, match="x"):
        warn_user(Own("x"))
    with warnings.catch_warnings(), pytest.raises(DeprecationWarning, match="y"):
        warnings.simplefilter("error")
        warn_user("y", DeprecationWarning)
