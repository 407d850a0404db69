"""The quickstart as a person meets it: in JupyterLab, in a browser, with the fold form live."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import ROOT, errors, jupyterlab, needs_browser, page, run_all, workplace

from rinalmo_kit.structure import CANONICAL, pairs_from_dot_bracket

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.xdist_group("lab")  # one server for all
browser_test = needs_browser()

# tRNA-Ala of E. coli without its CCA end, and its cloverleaf
TRNA = "GGGGCUAUAGCUCAGCUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCA"
KNOWN = "(((((((..((((........)))).(((((.......))))).....(((((.......))))))))))))."
HAIRPIN = "GGGCGUAGCUCUUCGGAGCUACGCCC"
HOSTILE = "x<img/src=x/onerror=window.live=1><script>window.live=1</script><svg/onload=window.live=1>"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[dict[str, Any]]]]:
    """The quickstart with all its cells run: its page and its code cells."""
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    workplace(folder)
    with jupyterlab(folder, home=home) as address, page(address) as tab:
        yield tab, run_all(tab, "notebooks/00_quickstart.ipynb")


@pytest.fixture
def form(quickstart: tuple[Page, Any], tmp_path: Path) -> Iterator[Locator]:
    """What the cell with the fold form shows; a picture of the page is left in `tmp_path`."""
    tab, _ = quickstart
    found = tab.locator(".jp-Notebook .jp-OutputArea").filter(
        has=tab.locator(".jupyter-button", has_text="Fold")
    )
    found.first.scroll_into_view_if_needed(timeout=10_000)
    yield found.first
    tab.screenshot(path=tmp_path / "lab.png")


def dot_bracket(form: Locator, length: int) -> str | None:
    """Dot-bracket of that length that the form shows, if it does."""
    found = re.search(rf"(?<!\S)[.()\[\]{{}}<>]{{{length}}}(?!\S)", form.inner_text())
    return found and found.group()


def pairs_of(text: str) -> set[tuple[int, int]]:
    return {*map(tuple, pairs_from_dot_bracket(text).tolist())}


def eventually(value: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return the value as soon as it is a true one."""
    deadline = time.monotonic() + seconds
    while not (result := value()):
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(0.2)
    return result


def fold(form: Locator, text: str) -> None:
    form.locator("textarea").fill(text)
    form.locator(".jupyter-button", has_text="Fold").click()


@browser_test
def test_quickstart_runs_without_error_or_network(quickstart):
    tab, cells = quickstart
    assert cells and errors(cells) == []
    assert tab.elsewhere == []


@browser_test
def test_form_folds_what_is_typed_and_follows_the_slider(form):
    fold(form, TRNA)
    folded = eventually(lambda: dot_bracket(form, len(TRNA)))
    pairs, known = pairs_of(folded), pairs_of(KNOWN)
    assert all(TRNA[i] + TRNA[j] in CANONICAL for i, j in pairs)
    assert len(pairs & known) >= max(5, len(pairs) / 2)

    handle = form.locator(".noUi-handle").first
    handle.focus()
    handle.press("End")
    strict = eventually(lambda: (shown := dot_bracket(form, len(TRNA))) != folded and shown)
    assert pairs_of(strict) < pairs


@browser_test
@pytest.mark.parametrize("sequence", [HAIRPIN, "ACGUXACGU"], ids=["folds", "is refused"])
def test_text_of_a_user_stays_text(quickstart, form, sequence):
    tab, _ = quickstart
    fold(form, "ACGU")  # so that what is waited for is not there yet
    eventually(lambda: dot_bracket(form, 4))
    fold(form, f">{HOSTILE}\n{sequence}\n")
    eventually(lambda: dot_bracket(form, len(sequence)) or "'X'" in form.inner_text())
    time.sleep(0.5)  # an event handler would have run by now
    assert tab.evaluate("window.live") is None
    assert form.locator("img[src='x'], script, svg[onload]").count() == 0


def test_make_lab_prints_an_address_that_answers(tmp_path):
    """With no browser to open, the address of the quickstart is printed, and the server runs on."""
    make = ["make", "-C", str(ROOT)]
    if subprocess.run(
        [*make, "--question", ".venv/.installed-dev"], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the environment that 'make test' sets up")
    log = tmp_path / "output"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*make, "lab", "EXTRAS=dev", "PORT=18888", "LAB_ARGS=--no-browser"],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        pattern = r"http://localhost:\d+/lab/tree/notebooks/00_quickstart.ipynb\?token=\w+"
        address = eventually(lambda: re.search(pattern, log.read_text())).group()
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200 and b"JupyterLab" in answer.read()
        assert server.poll() is None
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
