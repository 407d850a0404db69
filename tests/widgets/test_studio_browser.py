"""The folding studio in a real browser: in a JupyterLab with its file browser open, and as a page of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import numpy as np
import pytest

from rinalmo_kit.widgets.studio_input import EXAMPLES
from tests.helpers.lab import environment, errors, jupyterlab, needs_browser, open_notebook, page, run_all
from tests.helpers.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.xdist_group("lab"), needs_browser()]

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
HAIRPIN = "GGGGAAAACCCC"
TRNA = EXAMPLES["tRNA-Phe (yeast)"]
OVERFLOWING = """
root => [...root.querySelectorAll("*")].filter(one => one.checkVisibility()
  && !one.closest(".rk-strip, .rk-panel svg")
  && one.getBoundingClientRect().right > root.getBoundingClientRect().right + 1).map(one => one.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """JupyterLab with a studio, and a long text below it."""
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    cells = [
        nbformat.v4.new_code_cell("import rinalmo_kit as rk\nrk.widgets.FoldingStudio()"),
        nbformat.v4.new_markdown_cell("below\n\n" * 60),
    ]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), folder / "studio.ipynb"
    )
    with jupyterlab(folder, home=home) as address, page(address) as tab:
        open_notebook(tab, "studio.ipynb")
        tab.problems = []
        tab.on("console", lambda one: tab.problems.append(one.text) if one.type == "error" else None)
        tab.on("pageerror", lambda one: tab.problems.append(str(one)))
        assert errors(run_all(tab, "studio.ipynb")) == []
        yield tab


@pytest.fixture
def studio(lab: Page, tmp_path: Path) -> Iterator[Locator]:
    """The studio at 1400 × 900; a picture of the page is left in `tmp_path`."""
    lab.set_viewport_size({"width": 1400, "height": 900})
    found = lab.locator(".rk-studio")
    found.evaluate("root => root.closest('.jp-Cell').scrollIntoView()")
    for label, value in (("View", "drawing"), ("Colours", "nucleotide"), ("Compare with", "none")):
        one = found.get_by_label(label, exact=True)
        if one.is_visible():
            one.select_option(value)
    yield found
    lab.screenshot(path=tmp_path / "studio.png")
    assert lab.problems == [] and lab.elsewhere == []


def brackets(studio: Locator) -> str:
    return "".join(studio.locator(".rk-brackets").all_inner_texts())


def fold(studio: Locator, text: str) -> None:
    studio.locator("textarea").fill(text)
    studio.get_by_role("button", name="Fold", exact=True).click()
    letters = "".join(line for line in text.split("\n") if line[:1] != ">")
    eventually(lambda: "".join(studio.locator(".rk-letters").all_inner_texts()) == letters)
    eventually(lambda: "rk-busy" not in (studio.get_attribute("class") or ""))


def choose(studio: Locator, label: str, value: str) -> None:
    studio.get_by_label(label, exact=True).select_option(value)


def key(studio: Locator) -> str:
    return " ".join(studio.locator(".rk-key").inner_text().split())


def set_theme(lab: Page, name: str) -> None:
    lab.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
    eventually(lambda: lab.evaluate("document.body.dataset.jpThemeName") == name)


def test_an_example_is_folded_by_a_click(studio):
    assert studio.locator(".rk-examples button").count() == 3
    studio.get_by_role("button", name="tRNA-Phe (yeast)").click()
    eventually(lambda: len(brackets(studio)) == 76)
    assert "high" in studio.locator(".rk-scores").inner_text()


def test_sequence_and_brackets_stand_in_lines_of_60_with_positions(studio):
    fold(studio, EXAMPLES["5S rRNA (E. coli)"])
    assert studio.locator(".rk-number").all_inner_texts() == ["1", "60", "61", "120"]
    lines = studio.locator(".rk-letters, .rk-brackets")
    boxes = [lines.nth(k).bounding_box() for k in range(4)]
    assert len({(round(box["x"]), round(box["width"])) for box in boxes}) == 1, "one under the other"


def test_the_drawing_has_numbers_with_ticks_ends_and_dots(studio):
    fold(studio, TRNA)
    assert studio.locator(".rk-labels .rk-end").all_text_contents() == ["5′", "3′"]
    numbers = studio.locator(".rk-labels .rk-tick").all_text_contents()
    assert len(numbers) >= 5 and studio.locator(".rk-labels line").count() == len(numbers)
    assert studio.locator("circle[data-style='dot']").count() == 1, "one G·U"
    bases = [one.bounding_box() for one in studio.locator("circle[data-base]").all()]
    for label in studio.locator(".rk-labels text").all():
        box = label.bounding_box()
        middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        centres = np.array([[b["x"] + b["width"] / 2, b["y"] + b["height"] / 2] for b in bases])
        assert np.hypot(*(centres - middle).T).min() > bases[0]["width"] / 2


def test_the_key_follows_the_colours(studio):
    fold(studio, EXAMPLES["frameshifting element (SARS-CoV-2)"])
    assert key(studio) == "A C G U crosses other pairs (pseudoknot) G·U"
    purple = studio.locator("path[data-kind='crossing']").first
    assert purple.get_attribute("stroke").upper() == "#AA3377"
    choose(studio, "Colours", "probability")
    eventually(lambda: "probability that a base is as shown 0 1" in key(studio))
    choose(studio, "Colours", "elements")
    eventually(lambda: "stem pseudoknot hairpin" in key(studio))
    choose(studio, "Compare with", "ViennaRNA")
    eventually(lambda: "in both" in key(studio) and "in this fold only" in key(studio))
    assert "crosses" not in key(studio) and studio.locator("path[data-kind='crossing']").count() == 0
    assert studio.locator("path[data-kind='predicted']").first.get_attribute("stroke").upper() == "#D55E00"


def test_a_base_tells_its_element(studio):
    fold(studio, TRNA)
    studio.locator("circle[data-base='0']").hover()
    eventually(
        lambda: re.fullmatch(r"G1 – C72, p 0\.\d\d, stem s0", studio.locator(".rk-status").inner_text())
    )
    studio.locator("circle[data-base='33']").hover()
    eventually(lambda: "unpaired" in studio.locator(".rk-status").inner_text())
    assert "hairpin h" in studio.locator(".rk-status").inner_text()


def test_input_drawing_and_files_are_seen_together(lab, studio):
    fold(studio, TRNA)
    lab.mouse.move(700, 5)
    for part in ("textarea", ".rk-drawing", ".rk-arcs", ".rk-map", ".rk-key", ".rk-files", ".rk-scores"):
        box = studio.locator(part).first.bounding_box()
        assert box["y"] >= 60 and box["y"] + box["height"] <= 875 and box["x"] + box["width"] <= 1360, part


@pytest.mark.parametrize("width", [1400, 1000, 800])
def test_nothing_is_cut_off_beside_the_file_browser(lab, studio, width):
    fold(studio, EXAMPLES["5S rRNA (E. coli)"])
    lab.set_viewport_size({"width": width, "height": 900})
    assert lab.locator(".jp-FileBrowser").is_visible()
    eventually(lambda: studio.bounding_box()["width"] < width - 250)
    time.sleep(0.3)  # what is drawn in pixels
    assert studio.evaluate(OVERFLOWING) == []
    panel = lab.locator(".jp-WindowedPanel-outer, .jp-Notebook").first.bounding_box()
    box = studio.bounding_box()
    assert box["x"] + box["width"] <= panel["x"] + panel["width"]
    strip = studio.locator(".rk-strip").evaluate("one => one.scrollWidth - one.clientWidth")
    assert strip <= (0 if width > 900 else 60)
    for label in studio.locator(".rk-arcs text.rk-tick").all():
        inside, frame = label.bounding_box(), studio.locator(".rk-arcs").bounding_box()
        assert inside["y"] + inside["height"] <= frame["y"] + frame["height"]
    columns = studio.locator(".rk-views").evaluate(
        "one => getComputedStyle(one).gridTemplateColumns.split(' ').length"
    )
    assert columns == (1 if box["width"] <= 620 else 2), "by its own width, not the window's"


def test_arcs_map_and_frames_follow_the_theme(lab, studio):
    fold(studio, TRNA)
    pixel = """canvas => {
      const [r, g, b] = canvas.getContext("2d").getImageData(canvas.width / 2 | 0, canvas.height / 4 | 0, 1, 1).data;
      return (r + g + b) / 3;
    }"""
    stroke = "one => getComputedStyle(one).stroke.match(/\\d+/g).slice(0, 3).reduce((sum, v) => sum + Number(v), 0) / 3"
    border = "one => getComputedStyle(one).borderTopWidth + getComputedStyle(one).borderTopStyle"
    try:
        for theme, dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
            set_theme(lab, theme)
            eventually(lambda dark=dark: (studio.locator("canvas").evaluate(pixel) < 100) == dark)
            assert (studio.locator(".rk-arcs path").first.evaluate(stroke) > 150) == dark
            for part in (".rk-drawing", ".rk-arcs", ".rk-map"):
                assert studio.locator(part).evaluate(border) == "1pxsolid"
    finally:
        set_theme(lab, "JupyterLab Light")


def test_the_wheel_is_the_notebooks_unless_the_drawing_has_the_focus(lab, studio):
    fold(studio, TRNA)
    svg, top = studio.locator(".rk-drawing svg"), lambda: studio.bounding_box()["y"]
    studio.get_by_label("First nucleotide").evaluate("one => one.focus({preventScroll: true})")
    box, view = svg.bounding_box(), svg.get_attribute("viewBox")
    lab.mouse.move(box["x"] + 40, box["y"] + 150)
    before = top()
    lab.mouse.wheel(0, 100)
    eventually(lambda: top() < before)
    assert svg.get_attribute("viewBox") == view
    lab.mouse.wheel(0, -400)
    eventually(lambda: top() >= before)
    box = svg.bounding_box()
    lab.mouse.click(box["x"] + 30, box["y"] + box["height"] - 30)
    before = top()
    lab.mouse.wheel(0, -100)
    eventually(lambda: svg.get_attribute("viewBox") != view)
    assert top() == before
    svg.press("Escape")
    view = svg.get_attribute("viewBox")
    lab.mouse.wheel(0, 100)
    eventually(lambda: top() < before)
    assert svg.get_attribute("viewBox") == view
    studio.get_by_role("button", name="Show all").click()


def test_a_reference_is_kept_for_its_sequence_alone(studio):
    fold(studio, HAIRPIN)
    reference, message = studio.get_by_label("Reference dot-bracket"), studio.locator(".rk-message")
    reference.fill("(((....))")
    reference.press("Enter")
    eventually(lambda: "9 positions" in message.inner_text())
    fold(studio, TRNA)
    assert message.inner_text() == "" and reference.input_value() == ""
    fold(studio, HAIRPIN)
    reference.fill("((((....))))")
    reference.press("Enter")
    eventually(
        lambda: "Agreement with the known structure: F1 1.00" in studio.locator(".rk-scores").inner_text()
    )
    assert studio.get_by_label("Compare with").input_value() == "reference" and "in both" in key(studio)
    fold(studio, TRNA)
    assert (
        "known structure" not in studio.locator(".rk-scores").inner_text() and reference.input_value() == ""
    )
    assert "Agreement with ViennaRNA: F1" in studio.locator(".rk-scores").inner_text()


def test_empty_records_are_skipped_by_name(studio):
    studio.locator("textarea").fill(f">one\n>two\n{HAIRPIN}\n>three\nACGU\n>four\n")
    studio.get_by_role("button", name="Fold", exact=True).click()
    eventually(lambda: "Skipped, no sequence: 'one', 'four'." in studio.locator(".rk-message").inner_text())
    assert studio.get_by_label("Record").locator("option").all_inner_texts() == ["two", "three"]


def test_a_pair_that_cannot_be_is_answered(studio):
    fold(studio, "GGCGAAAACGCC")  # not that of the test before, for whose end it would not wait
    shown = brackets(studio)
    for first, second, words in ((1, 3, "1 nucleotide lies between them"), (5, 12, "only A-U, G-C and G-U")):
        studio.get_by_label("First nucleotide").fill(str(first))
        studio.get_by_label("Second nucleotide").fill(str(second))
        studio.get_by_role("button", name="Force pair").click()
        eventually(lambda words=words: words in studio.locator(".rk-message").inner_text())
        assert words in studio.locator(".rk-row:has([aria-label='First nucleotide']) + div").inner_text()
    assert brackets(studio) == shown and "forced" not in studio.inner_text()


def test_the_hairpin_loop_counts_unpaired_nucleotides(studio):
    fold(studio, "GGGGAAACCCC")
    if not studio.get_by_label("Minimum hairpin loop").is_visible():
        studio.get_by_text("More: how it is decoded").click()
    loop = studio.get_by_label("Minimum hairpin loop")
    assert loop.input_value() == "3" and brackets(studio) == "((((...))))"
    loop.fill("4")
    loop.press("Enter")
    eventually(lambda: "min_loop=5" in studio.locator(".rk-code").inner_text())
    assert "((((...))))" != brackets(studio)
    loop.fill("3")
    loop.press("Enter")
    eventually(lambda: brackets(studio) == "((((...))))")


def test_what_is_shown_is_exported(lab, studio, tmp_path):
    fold(studio, TRNA)
    choose(studio, "Colours", "elements")
    choose(studio, "Compare with", "ViennaRNA")

    def exported() -> str:
        with lab.expect_download() as download:
            studio.get_by_role("button", name="SVG", exact=True).click()
        download.value.save_as(tmp_path / "file.svg")
        return (tmp_path / "file.svg").read_text()

    text = exported()
    assert "multiloop" in text and "ViennaRNA" in text and 'id="base-1"' in text
    assert text.count('id="base-') == 76
    svg = studio.locator(".rk-drawing svg")
    svg.click(position={"x": 30, "y": 30})
    for _ in range(4):
        svg.press("+")
    zoomed = exported()
    assert zoomed != text and "clip-path" in zoomed
    studio.get_by_role("button", name="Show all").click()
    choose(studio, "View", "map")
    assert "pairing probability" in exported()


def test_a_long_rna_is_arcs_first_says_its_time_and_can_be_cancelled(lab, studio):
    rng = np.random.default_rng(3)
    fold(studio, "".join(rng.choice([*"ACGU"], 540)))
    views = studio.locator(".rk-views")
    assert views.get_attribute("data-panel") == "arcs"
    assert (
        studio.locator("circle[data-base]").count() == 0
        and studio.locator(".rk-arcs path[data-pair]").count()
    )
    studio.get_by_role("button", name="Show the drawing").click()
    eventually(lambda: studio.locator("circle[data-base]").count() == 540)
    shown = brackets(studio)
    studio.locator("textarea").fill("".join(rng.choice([*"ACGU"], 1600)))
    eventually(
        lambda: re.search(r"1,600 nt; folding takes about \d+", studio.locator(".rk-check").inner_text())
    )
    studio.get_by_role("button", name="Fold", exact=True).click()
    eventually(lambda: "takes about" in studio.locator(".rk-message").inner_text())
    bar = studio.locator(".rk-bar")
    first = eventually(lambda: int(bar.get_attribute("aria-valuenow") or 0))
    eventually(lambda: int(bar.get_attribute("aria-valuenow") or 0) > first)
    studio.get_by_role("button", name="Cancel").click()
    eventually(lambda: studio.locator(".rk-message").inner_text() == "Cancelled.", seconds=20)
    assert brackets(studio) == shown and studio.get_by_role("button", name="Cancel").is_disabled()


# The page of its own --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of ``rinalmo-kit studio``."""
    pytest.importorskip("voila", reason="voila is not installed")
    log = tmp_path_factory.mktemp("page") / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-m", "rinalmo_kit.cli", "studio", "--no-browser", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, *words],
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
        )
    try:
        found = eventually(lambda: re.search(rf"http://\S+:{port}/\?token=\w+", log.read_text()), seconds=120)
        yield re.sub("//[^:]+:", "//127.0.0.1:", found.group())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        assert server.wait(60) == 143


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_its_own(lab, address, scheme, tmp_path):
    tab = lab.context.browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    elsewhere, problems = [], []
    tab.on("request", lambda one: elsewhere.append(one.url))
    tab.on("console", lambda one: problems.append(one.text) if one.type == "error" else None)
    tab.on("pageerror", lambda one: problems.append(str(one)))
    tab.on("response", lambda one: problems.append(one.url) if one.status >= 400 else None)
    try:
        tab.goto(address, wait_until="commit")
        tab.get_by_text("Loading the model").wait_for()
        assert tab.locator("h1").inner_text() == tab.title() == "RiNALMo folding studio"
        assert "Paste an RNA, or FASTA, and press Fold" in tab.locator(".rk-head p").inner_text()
        studio = tab.locator(".rk-studio")
        studio.wait_for(timeout=120_000)
        assert tab.get_by_text("Loading the model").count() == 0
        assert studio.locator(".rk-examples button").count() == 3
        studio.get_by_role("button", name="tRNA-Phe (yeast)").click()
        eventually(lambda: len(brackets(studio)) == 76)
        assert studio.bounding_box()["width"] > 1300, "its width is used"
        assert studio.evaluate(OVERFLOWING) == []
        back = tab.evaluate("getComputedStyle(document.querySelector('.rk-studio')).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", back)[:3])) < 80) == (scheme == "dark")
        box = studio.locator(".rk-drawing").bounding_box()
        tab.mouse.move(box["x"] + 50, box["y"] + 50)
        tab.mouse.wheel(0, 120)
        eventually(lambda: tab.evaluate("window.scrollY") > 0)
        tab.screenshot(path=tmp_path / "page.png")
        here = address.partition("/?")[0]
        assert [url for url in elsewhere if not url.startswith((here, "data:", "blob:"))] == []
        assert problems == []
    finally:
        tab.close()
