"""The embedding explorer and the training monitor as a person meets them: in JupyterLab, in a browser."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.helpers.lab import errors, jupyterlab, needs_browser, page, run_all, workplace
from tests.helpers.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.xdist_group("lab"), needs_browser()]

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELLS = """
import json, time
from pathlib import Path
import numpy as np
import pandas as pd
import rinalmo_kit as rk
rnas = rk.datasets.read_numbers("published/rfam_rnas").groupby("family").head(4)
table = rnas.rename(columns={"id": "name", "name": "kind"}).assign(length=rnas["sequence"].str.len().astype(float))
table.loc[table.index[3], "length"], table.loc[table.index[5], "length"] = np.inf, np.nan
made = rk.evaluation.tsne_map(rk.embed(table["sequence"].tolist(), pool="mean"))
explorer = rk.widgets.EmbeddingExplorer(table, coordinates=made, color="kind", model="nano", pool="mean")
explorer
---
run = Path("run")
log = run / "log" / "version_0" / "metrics.csv"
log.parent.mkdir(parents=True, exist_ok=True)
lines = [
    f"{k},{1.4 - 0.002 * k},{1e-3 * min(k, 50) / 50},{3.9 - 0.004 * k if k % 20 == 0 else ''},4.0"
    for k in range(120)
]
log.write_text("\\n".join(["step,train_loss,lr,val_perplexity,val_perplexity_unigram", *lines]))
(run / "progress.json").write_text(json.dumps({"step": 120, "steps": 1200, "running": True}))
monitor = rk.widgets.TrainingMonitor(run, poll_seconds=0.2)
monitor
"""
PIXELS = """
canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, found = {};
  for (let i = 0; i < data.length; i += 4) if (data[i + 3]) {
    const color = [0, 1, 2].map(k => data[i + k].toString(16).padStart(2, "0")).join("");
    found[color] = (found[color] ?? 0) + 1;
  }
  return found;
}
"""
PLACED, FOUND = "e4007c", "ffd400"
THREADS = "import threading; [t.name for t in threading.enumerate() if t.name == 'training monitors']"
ASK = """
async source => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code: source});
  let answer = null;
  future.onIOPub = message => { answer = message.content.data?.["text/plain"] ?? answer; };
  await future.done;
  return answer;
}
"""
OVERFLOW = "element => element.scrollWidth - element.clientWidth"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    copies = workplace(folder)
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, copies / "map.ipynb")
    with jupyterlab(folder, home=home) as address, page(address) as tab:
        tab.set_viewport_size({"width": 1400, "height": 900})
        assert errors(run_all(tab, "notebooks/map.ipynb")) == []
        yield tab
        assert tab.elsewhere == []


@pytest.fixture
def explorer(lab: Page, tmp_path: Path) -> Iterator[Locator]:
    """The explorer with everything shown and nothing selected; a picture of it is left in `tmp_path`."""
    found = lab.locator(".rk-explorer").first
    found.scroll_into_view_if_needed()
    yield found
    picture(found, tmp_path / "explorer.png")
    found.get_by_role("button", name="Show all").click()
    found.get_by_role("button", name="Clear selection").click()


def picture(widget: Locator, path: Path) -> None:
    widget.screenshot(path=(os.environ.get("PICTURES") and Path(os.environ["PICTURES"], path.name)) or path)


def pixels(explorer: Locator, color: str) -> int:
    return explorer.locator("canvas").evaluate(PIXELS).get(color, 0)


def points(explorer: Locator) -> int:
    """Pixels of the map that anything is drawn on."""
    return sum(explorer.locator("canvas").evaluate(PIXELS).values())


def test_families_are_named_on_the_map_in_colours_of_their_own(explorer):
    assert explorer.locator(".rk-legend button").count() == 88
    marks = explorer.locator(".rk-legend button path").evaluate_all(
        "all => all.map(one => [one.getAttribute('d'), one.getAttribute('fill')].join())"
    )
    assert len(set(marks)) == 88
    named = points(explorer)
    toggle = explorer.get_by_role("button", name="Names")
    toggle.click()
    assert toggle.get_attribute("aria-pressed") == "false"
    assert points(explorer) < named - 5000, "names take room"
    toggle.click()
    eventually(lambda: abs(points(explorer) - named) < 50)


def test_show_all_shows_all_after_any_way_of_hiding(explorer, lab):
    legend, canvas, everything = (
        explorer.locator(".rk-legend button"),
        explorer.locator("canvas"),
        points(explorer),
    )
    pressed = explorer.locator('.rk-legend button[aria-pressed="true"]')
    ways = [
        lambda: legend.nth(0).click(),
        lambda: legend.nth(3).dblclick(),
        lambda: explorer.get_by_label("Search by name").fill("AB109769"),
        lambda: [canvas.focus(), *(lab.keyboard.press("+") for _ in range(6))],
        lambda: [canvas.focus(), *(lab.keyboard.press("ArrowLeft") for _ in range(30))],
    ]
    for hide in ways:
        hide()
        eventually(lambda: points(explorer) < everything - 50 or pixels(explorer, FOUND) > 0)
        explorer.get_by_role("button", name="Show all").click()
        eventually(lambda: abs(points(explorer) - everything) < 50)
        assert pressed.count() == 88 and pixels(explorer, FOUND) == 0
    legend.nth(3).dblclick()
    assert pressed.count() == 1
    legend.nth(3).dblclick()
    assert pressed.count() == 88, "a second double click brings the others back"


def test_found_differs_from_selected(explorer):
    explorer.get_by_label("Search by name").fill("AB")
    eventually(lambda: pixels(explorer, FOUND) > 50)
    assert explorer.locator('[data-kind="found"]').is_visible()
    assert explorer.locator('[data-kind="selected"]').is_hidden()
    explorer.get_by_label("Search by name").press("Enter")
    eventually(lambda: explorer.locator('[data-kind="selected"]').is_visible())
    explorer.get_by_label("Search by name").fill("")
    eventually(lambda: pixels(explorer, FOUND) == 0)
    assert explorer.locator('[data-kind="selected"]').is_visible()


def test_numbers_have_a_colour_bar(explorer, tmp_path):
    explorer.get_by_label("Colour by").select_option("length")
    bar = explorer.locator(".rk-bar")
    bar.wait_for()
    ticks = explorer.locator(".rk-ticks span").all_inner_texts()
    assert len(ticks) == 3 and float(ticks[0]) < float(ticks[1]) < float(ticks[2])
    assert "grey: 2 without a number" in explorer.locator(".rk-legend").inner_text()
    assert explorer.get_by_role("button", name="Names").is_hidden()
    picture(explorer, tmp_path / "numbers.png")
    explorer.get_by_label("Colour by").select_option("kind")
    eventually(lambda: explorer.locator(".rk-legend button").count() == 88)


def test_the_wheel_scrolls_the_notebook_until_the_map_has_the_focus(explorer, lab):
    box, canvas = explorer.locator("canvas").bounding_box(), explorer.locator("canvas")
    canvas.evaluate("canvas => canvas.blur()")
    before = points(explorer)
    lab.mouse.move(box["x"] + 200, box["y"] + 200)
    lab.mouse.wheel(0, -120)
    time.sleep(0.5)
    explorer.scroll_into_view_if_needed()
    lab.mouse.move(5, 5)
    eventually(lambda: abs(points(explorer) - before) < 200)
    box = canvas.bounding_box()
    canvas.focus()
    lab.mouse.move(box["x"] + 200, box["y"] + 200)
    for _ in range(5):
        lab.mouse.wheel(0, -120)
    eventually(lambda: points(explorer) < before - 1000)


def test_placed_rnas_are_found_at_once(explorer, tmp_path):
    assert explorer.get_by_role("button", name="Zoom to placed").is_hidden()
    trna = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"
    explorer.get_by_label("New sequences").fill(f">yeast tRNA-Phe\n{trna}\n")
    explorer.get_by_role("button", name="Place", exact=True).click()
    eventually(lambda: "1 placed and selected" in explorer.inner_text())
    ring = eventually(lambda: pixels(explorer, PLACED))
    assert ring > 100, "a ring and a name"
    assert explorer.locator('[data-kind="placed"]').is_visible()
    picture(explorer, tmp_path / "placed.png")
    explorer.get_by_role("button", name="Show all").click()
    eventually(lambda: pixels(explorer, PLACED) > 100)
    explorer.locator("canvas").focus()
    for _ in range(30):
        explorer.locator("canvas").press("ArrowLeft")
    eventually(lambda: pixels(explorer, PLACED) == 0)
    explorer.get_by_role("button", name="Zoom to placed").click()
    eventually(lambda: pixels(explorer, PLACED) > 100)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
@pytest.mark.parametrize("width", [1400, 800])
def test_nothing_is_cut_off_in_a_narrow_cell(lab, width, theme, tmp_path):
    lab.set_viewport_size({"width": width, "height": 900})
    lab.evaluate(
        f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
    )
    time.sleep(1)
    try:
        for kind in ("explorer", "monitor"):
            widget = lab.locator(f".rk-{kind}").first
            widget.scroll_into_view_if_needed()
            assert widget.evaluate(OVERFLOW) <= 0
            box, cell = (one.bounding_box() for one in (widget, lab.locator(".jp-OutputArea-output").first))
            assert box["width"] > 0.9 * cell["width"] - 20 and box["x"] + box["width"] <= width
            for part in widget.locator("button, input, select, textarea, canvas, svg").all():
                if part.is_visible():
                    inner = part.bounding_box()
                    assert (
                        inner["x"] >= box["x"] and inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
                    )
            picture(widget, tmp_path / f"{kind}-{width}-{theme}.png")
        lab.screenshot(path=Path(os.environ.get("PICTURES", tmp_path)) / f"page-{width}-{theme}.png")
    finally:
        lab.evaluate(
            "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
        )
        lab.set_viewport_size({"width": 1400, "height": 900})


def test_the_monitor_names_its_axes_and_lets_go_of_its_folder(lab):
    monitor = lab.locator(".rk-monitor").first
    monitor.scroll_into_view_if_needed()
    text = monitor.inner_text()
    for words in (
        "training loss (nats a nucleotide)",
        "learning rate",
        "validation perplexity",
        "step 120 of 1,200",
    ):
        assert words in text
    assert monitor.locator("svg").first.locator("text", has_text="training step").count() == 1
    assert lab.evaluate(ASK, THREADS) == "['training monitors']"
    lab.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    lab.locator(".rk-monitor").wait_for(state="detached")
    eventually(lambda: lab.evaluate(ASK, THREADS) == "[]", seconds=30)
