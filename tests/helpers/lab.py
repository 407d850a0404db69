"""Drives a real JupyterLab in headless Chromium: a server, a page, and a notebook run in it.

Nothing here leaves the loopback interface: every other request of the page is cut and noted.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rinalmo_kit

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests"
SETTINGS = {  # no question about news, which would lie over the page
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
    }
}
# Clicking "Run All" too early asks for a kernel or runs nothing, so: wait for the kernel, then the command.
OPEN = """
async ([path, seconds]) => {
  const app = window.jupyterapp;
  const deadline = Date.now() + 1000 * seconds;
  const late = what => new Error(`no ${what} within ${seconds} s; `
    + `dialog: ${document.querySelector(".jp-Dialog")?.innerText ?? "none"}`);
  const within = (promise, what) => Promise.race([promise, new Promise((_, reject) =>
    setTimeout(() => reject(late(what)), deadline - Date.now()))]);
  await within(app.restored, "JupyterLab");
  const panel = await within(app.commands.execute("docmanager:open", {path, factory: "Notebook"}), "notebook");
  await within(panel.context.ready, "notebook");
  await within(panel.sessionContext.ready, "session");
  while (panel.sessionContext.session?.kernel?.connectionStatus !== "connected") {
    if (Date.now() > deadline) throw late("connection to a kernel");
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  await within(panel.sessionContext.session.kernel.info, "answer of the kernel");
}
"""
SHUT_DOWN = """
async path => {
  const sessions = window.jupyterapp.serviceManager.sessions;
  const shutDown = sessions.findByPath(path).then(found => found && sessions.shutdown(found.id));
  await Promise.race([shutDown, new Promise(resolve => setTimeout(resolve, 30000))]);
}
"""
RUN_ALL = """
async ([path, seconds]) => {
  const app = window.jupyterapp;
  const panel = await app.commands.execute("docmanager:open", {path, factory: "Notebook"});
  app.shell.activateById(panel.id);
  await Promise.race([app.commands.execute("notebook:run-all-cells"), new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`no end of the last cell within ${seconds} s`)), 1000 * seconds))]);
  return panel.content.widgets.map(cell => cell.model.toJSON()).filter(cell => cell.cell_type === "code");
}
"""


def chromium() -> str | None:
    """Path of the browser, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def needs_browser() -> pytest.MarkDecorator:
    """Mark of a test that is skipped, and says why, where it has no browser to run in."""
    missing = [name for name in ("playwright", "jupyterlab") if importlib.util.find_spec(name) is None]
    missing += [] if chromium() else ["chromium (apt-get install chromium)"]
    return pytest.mark.skipif(bool(missing), reason=f"browser test: {', '.join(missing)} not installed")


def workplace(folder: Path) -> Path:
    """Copy the notebooks to `folder`, with ``data`` beside them as in the repository; gives their folder."""
    copies = folder / "notebooks"
    copies.mkdir(parents=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, copies)
    if (ROOT / "data").is_dir():
        (folder / "data").symlink_to(ROOT / "data", target_is_directory=True)
    return copies


@contextmanager
def jupyterlab(folder: Path, *, home: Path) -> Iterator[str]:
    """Run JupyterLab on `folder`, its own files under `home`; gives its address."""
    directories = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    for name, settings in SETTINGS.items():
        path = directories["JUPYTERLAB_SETTINGS_DIR"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    options += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    options += [f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    log = home / "jupyterlab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment() | {name: str(path) for name, path in directories.items()},
        )
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"{address}/api/status?token={TOKEN}"):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield address
    except BaseException:
        print(f"log of JupyterLab:\n{log.read_text()[-6000:]}")
        raise
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def environment() -> dict[str, str]:
    """Environment in which another process imports the same ``rinalmo_kit`` as this one."""
    package = Path(rinalmo_kit.__file__).parents[1]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}


@contextmanager
def page(address: str) -> Iterator[Page]:
    """Open JupyterLab in a new browser; ``page.elsewhere`` lists the requests to anywhere else."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            tab = browser.new_page(viewport={"width": 1280, "height": 1400})
            tab.set_default_timeout(60_000)
            tab.elsewhere = []

            def cut(route: Any) -> None:
                tab.elsewhere.append(route.request.url)
                route.abort()

            tab.route(lambda url: url.startswith("http") and not url.startswith(address), cut)
            tab.goto(f"{address}/lab?token={TOKEN}")
            tab.wait_for_function("() => window.jupyterapp")
            yield tab
        finally:
            browser.close()


def open_notebook(tab: Page, path: str, *, seconds: float = 100, tries: int = 3) -> None:
    """Open the notebook at `path` and wait for its kernel; one that does not answer is replaced by a new one.

    Now and then, on a busy machine, a kernel of Jupyter never answers; a user would restart it, too.
    """
    from playwright.sync_api import Error

    for left in reversed(range(tries)):
        try:
            tab.evaluate(OPEN, [path, seconds])
            return
        except Error as problem:
            if not left:
                raise
            print(f"{path}: {problem}; tried again")
            tab.evaluate(SHUT_DOWN, path)
            tab.reload()
            tab.wait_for_function("() => window.jupyterapp")


def run_all(tab: Page, path: str, *, seconds: float = 300) -> list[dict[str, Any]]:
    """Open the notebook at `path`, run all its cells; the code cells as JupyterLab then has them."""
    open_notebook(tab, path)
    return tab.evaluate(RUN_ALL, [path, seconds])


def errors(cells: list[dict[str, Any]]) -> list[str]:
    """Error outputs of cells, and cells with code that did not run."""
    found = []
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"]).strip()
        if source and cell["execution_count"] is None:
            found.append(f"code cell {number} did not run: {source[:60]!r}")
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"code cell {number}: {output['ename']}: {output['evalue']}")
    return found


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
