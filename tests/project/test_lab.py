"""The quickstart as a person meets it: in JupyterLab, in a browser, with the widgets live."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from rinalmo_kit import read_structures
from rinalmo_kit.rna.pairs import CANONICAL, pairs_from_dot_bracket
from tests.helpers.lab import ROOT, environment, errors, jupyterlab, needs_browser, page, run_all, workplace
from tests.helpers.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.xdist_group("lab")  # one server for all
browser_test = needs_browser()

# tRNA-Ala of E. coli without its CCA end, and its cloverleaf
TRNA = "GGGGCUAUAGCUCAGCUGGGAGAGCGCCUGCUUUGCACGCAGGAGGUCUGCGGUUCGAUCCCGCAUAGCUCCA"
KNOWN = "(((((((..((((........)))).(((((.......))))).....(((((.......))))))))))))."
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
HAIRPIN = "GGGCGUAGCUCUUCGGAGCUACGCCC"
TWO = """
import pandas as pd
import rinalmo_kit as rk
rnas = rk.datasets.load_structures("examples")
table = pd.DataFrame({"name": [r.name for r in rnas], "sequence": [r.sequence for r in rnas]})
table["family"] = table["name"].str.split("/").str[0]
rk.widgets.EmbeddingExplorer(table)
---
rk.widgets.FoldingStudio("GGGGAAAACCCC")
---
rk.widgets.FoldingStudio("GGGGGAAAACCCCC")
"""
HOSTILE = "x<img/src=x/onerror=window.live=1><script>window.live=1</script><svg/onload=window.live=1>"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[dict[str, Any]]]]:
    """The quickstart with all its cells run: its page and its code cells."""
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    copies = workplace(folder)
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in TWO.split("---")]
    two = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(two, copies / "two.ipynb")
    with jupyterlab(folder, home=home) as address, page(address) as tab:
        yield tab, run_all(tab, "notebooks/00_quickstart.ipynb")


@pytest.fixture
def studio(quickstart: tuple[Page, Any], tmp_path: Path) -> Iterator[Locator]:
    """The folding studio of the quickstart; a picture of the page is left in `tmp_path`."""
    tab, _ = quickstart
    found = tab.locator(".rk-studio").first
    found.scroll_into_view_if_needed(timeout=20_000)
    yield found
    tab.screenshot(path=tmp_path / "lab.png")


def dot_bracket(studio: Locator, length: int) -> str | None:
    """Dot-bracket of that length that the studio shows, if it does."""
    found = "".join(studio.locator(".rk-brackets").all_inner_texts())  # in lines of 60
    return found if len(found) == length else None


def pairs_of(text: str) -> set[tuple[int, int]]:
    return {*map(tuple, pairs_from_dot_bracket(text).tolist())}


def fold(studio: Locator, text: str) -> None:
    studio.locator("textarea").fill(text)
    studio.get_by_role("button", name="Fold", exact=True).click()


def open_more(studio: Locator) -> None:
    """Show the options of decoding."""
    if not studio.get_by_label("Method").is_visible():
        studio.get_by_text("More: how it is decoded").click()


def fold_trna(studio: Locator) -> str:
    fold(studio, f">ala\n{TRNA}")
    return eventually(lambda: dot_bracket(studio, len(TRNA)))


@browser_test
def test_quickstart_runs_without_error_or_network(quickstart):
    tab, cells = quickstart
    assert cells and errors(cells) == []
    assert tab.elsewhere == []


@browser_test
def test_studio_folds_what_is_typed_and_follows_the_slider(studio):
    folded = fold_trna(studio)
    pairs, known = pairs_of(folded), pairs_of(KNOWN)
    assert all(TRNA[i] + TRNA[j] in CANONICAL for i, j in pairs)
    assert len(pairs & known) >= max(5, len(pairs) / 2)
    open_more(studio)
    studio.get_by_label("Method").select_option("as in the paper")
    eventually(lambda: "greedy" in studio.locator(".rk-scores").inner_text())
    tuned = dot_bracket(studio, len(TRNA))
    slider = studio.get_by_label("Threshold")
    slider.focus()
    slider.press("End")
    strict = eventually(lambda: (shown := dot_bracket(studio, len(TRNA))) != tuned and shown)
    assert pairs_of(strict) < pairs_of(tuned)
    studio.get_by_role("button", name="tuned").click()
    eventually(lambda: dot_bracket(studio, len(TRNA)) == tuned)
    studio.get_by_label("Method").select_option("default")
    eventually(lambda: dot_bracket(studio, len(TRNA)) == folded and slider.is_hidden())


@browser_test
def test_studio_folds_as_the_model_says_alone_and_with_other_weights_of_pairs(studio):
    folded = fold_trna(studio)
    scores, code, gamma = (
        studio.locator(".rk-scores"),
        studio.locator(".rk-code"),
        studio.get_by_label("γ: weight of pairs"),
    )
    open_more(studio)
    made = eventually(lambda: re.search(r".*γ = .*", scores.inner_text())).group()
    gamma.focus()
    gamma.press("Home")
    eventually(lambda: "γ = 0.5," in scores.inner_text() and "gamma=0.5" in code.inner_text())
    studio.get_by_role("button", name="model's").click()
    eventually(lambda: made in scores.inner_text() and "gamma" not in code.inner_text())
    studio.get_by_label("Allow pseudoknots").uncheck()
    eventually(lambda: "no pseudoknots" in scores.inner_text() and "none" in code.inner_text())
    assert not {*dot_bracket(studio, len(TRNA))} - {*"(.)"}
    studio.get_by_label("Allow pseudoknots").check()
    studio.get_by_label("Method").select_option("model alone")
    eventually(lambda: "energy=None" in code.inner_text() and made not in scores.inner_text())
    studio.get_by_label("Method").select_option("default")
    eventually(lambda: made in scores.inner_text() and dot_bracket(studio, len(TRNA)) == folded)


@browser_test
def test_a_base_and_its_partner_are_marked_in_all_views(studio):
    i, j = min(pairs_of(fold_trna(studio)))
    studio.locator(f"circle[data-base='{i}']").hover()
    named = f"{TRNA[i]}{i + 1} – {TRNA[j]}{j + 1}, p "
    eventually(lambda: named in studio.locator(".rk-status").inner_text())
    assert studio.locator(".rk-strip b").count() == 4, "both bases, in the sequence and in the dot-bracket"
    assert studio.locator(".rk-arcs path[visibility='visible']").count() == 1
    studio.locator(".rk-drawing svg").focus()
    studio.locator(".rk-drawing svg").press("ArrowRight")
    eventually(lambda: studio.locator(".rk-status").inner_text().startswith(f"{TRNA[i + 1]}{i + 2}"))


@browser_test
def test_a_pair_is_forbidden_by_two_clicks_and_forced_by_numbers(studio):
    folded = fold_trna(studio)
    i, j = min(pairs_of(folded))
    for base in (i, j):
        studio.locator(f"circle[data-base='{base}']").click()
    studio.get_by_role("button", name="Forbid pair").click()
    shown = eventually(lambda: (now := dot_bracket(studio, len(TRNA))) != folded and now)
    assert (i, j) not in pairs_of(shown)
    studio.get_by_label("First nucleotide").fill(str(i + 1))
    studio.get_by_label("Second nucleotide").fill(str(j + 1))
    studio.get_by_role("button", name="Force pair").click()
    eventually(lambda: (i, j) in pairs_of(dot_bracket(studio, len(TRNA))))
    assert f"forced {i + 1}–{j + 1}" in studio.inner_text()
    studio.get_by_role("button", name="Clear").click()
    eventually(lambda: dot_bracket(studio, len(TRNA)) == folded)


@browser_test
@pytest.mark.parametrize("kind", ["CT", "SVG"])
def test_a_file_is_taken_home_and_holds_what_was_shown(quickstart, studio, tmp_path, kind):
    tab, _ = quickstart
    folded = fold_trna(studio)
    with tab.expect_download() as download:
        studio.get_by_role("button", name=kind, exact=True).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == f"ala.{kind.lower()}"
    if kind == "CT":
        [again] = read_structures(path)
        assert again.sequence == TRNA and again.dot_bracket == folded
    else:
        assert path.read_text().count("<text") >= len(TRNA)


@browser_test
def test_a_bad_letter_is_marked_while_typing(studio):
    studio.locator("textarea").fill(">x\nACGU\nACXGU")
    eventually(lambda: studio.locator("mark").count() and studio.locator("mark").inner_text() == "X")
    assert "x, position 7" in studio.locator(".rk-check").inner_text()
    assert studio.get_by_role("button", name="Fold", exact=True).is_disabled()
    fold_trna(studio)
    assert studio.locator("mark").count() == 0


@browser_test
def test_text_of_a_user_stays_text(quickstart, studio):
    tab, _ = quickstart
    fold(studio, f">{HOSTILE}\n{HAIRPIN}\n>b\nACGU\n")
    eventually(lambda: dot_bracket(studio, len(HAIRPIN)))
    assert HOSTILE in studio.get_by_label("Record").inner_text()
    time.sleep(0.5)  # an event handler would have run by now
    assert tab.evaluate("window.live") is None
    assert studio.locator("img[src='x'], script, svg[onload]").count() == 0
    studio.get_by_label("Record").select_option("b")
    eventually(lambda: dot_bracket(studio, 4))


@browser_test
def test_two_studios_an_explorer_and_a_restart(quickstart):
    """Widgets of one notebook do not disturb each other, and a restarted kernel makes them anew."""
    tab, _ = quickstart
    assert errors(run_all(tab, "notebooks/two.ipynb")) == []
    here = tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    first, second = here.locator(".rk-studio").nth(0), here.locator(".rk-studio").nth(1)
    eventually(lambda: dot_bracket(first, 12) and dot_bracket(second, 14))
    fold(first, HAIRPIN)
    eventually(lambda: dot_bracket(first, len(HAIRPIN)))
    assert dot_bracket(second, 14)

    explorer = here.locator(".rk-explorer")
    explorer.scroll_into_view_if_needed()
    assert explorer.locator(".rk-legend button").count() == 6
    explorer.get_by_role("button", name="Lasso").click()
    box = explorer.locator("canvas").bounding_box()
    corners = [
        (1, 1),
        (box["width"] - 1, 1),
        (box["width"] - 1, box["height"] - 1),
        (1, box["height"] - 1),
    ]
    for number, (x, y) in enumerate(corners):
        tab.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        if number == 0:
            tab.mouse.down()
    tab.mouse.up()
    eventually(lambda: "37 points, 37 selected" in explorer.inner_text())
    explorer.get_by_label("New sequences").fill(f">{HOSTILE}\n{TRNA}")
    explorer.get_by_role("button", name="Place").click()
    eventually(lambda: "38 points, 1 selected" in explorer.inner_text())
    assert tab.evaluate("window.live") is None and tab.elsewhere == []

    tab.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    assert errors(run_all(tab, "notebooks/two.ipynb")) == []
    eventually(lambda: dot_bracket(here.locator(".rk-studio").nth(0), 12))


@browser_test
def test_studio_of_its_own_wants_its_token_and_folds(quickstart, tmp_path):
    pytest.importorskip("voila", reason="voila is not installed")

    log = tmp_path / "output"
    command = [
        sys.executable,
        "-c",
        "from rinalmo_kit.cli import main; main()",
        "studio",
        "--no-browser",
        "--port",
        "18866",
    ]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment()
        )
    try:
        address = eventually(lambda: re.search(r"http://\S+:18866/\?token=\w+", log.read_text())).group()
        address = re.sub("//[^:]+:", "//127.0.0.1:", address)
        with urllib.request.urlopen(address.split("?")[0], timeout=30) as answer:
            assert "/login" in answer.url, "without the token there is no studio"
        tab = quickstart[0].context.browser.new_page(viewport={"width": 800, "height": 1200})
        tab.goto(address)
        studio = tab.locator(".rk-studio")
        studio.wait_for(timeout=60_000)
        fold_trna(studio)
        tab.screenshot(path=tmp_path / "studio.png")
        tab.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


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
