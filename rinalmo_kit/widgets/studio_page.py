"""The folding studio as a page of its own: a notebook with nothing else in it, served by Voilà."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._utils.extras import optional
from .._utils.files import user_path
from ..model.pretrained import EMBEDDED, OFFICIAL
from . import keeper

__all__ = ["serve"]

TEMPLATE = "rinalmo-kit"
"""Template of the page, in the folder :data:`TEMPLATES`: Voilà's own asks a web site for icons."""


TEMPLATES = Path(__file__).parent / "static" / "page"


TITLE = "RiNALMo folding studio"


EXPLANATION = (
    "Paste an RNA, or FASTA, and press Fold: its secondary structure, drawn and with probabilities, to compare, "
    "constrain and export. Everything is computed on this machine."
)


class _Ended(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def serve(model: str, *, ip: str = "127.0.0.1", port: int = 8866, browser: bool = True) -> int:
    """Serve the studio until it is ended by a signal; nothing that was started is left, whatever the signal.

    Voilà makes a token of its own, which it prints.

    Parameters
    ----------
    model : str
        Name, or path of a checkpoint file.
    ip : str
    port : int
    browser : bool
        Open the page.

    Returns
    -------
    int
        Exit code: 0 after Ctrl-C, 128 and the signal's number after another one, else that of the server.

    Raises
    ------
    ImportError
        Without Voilà, or if it cannot be used.
    FileNotFoundError
        If the model is neither a known name nor a file.
    """
    optional("voila", "the page needs voila: pip install 'rinalmo-kit[notebooks]'")
    if model not in EMBEDDED and model not in OFFICIAL:
        path = user_path(model).resolve()  # the notebook runs in another folder
        if not path.exists():
            raise FileNotFoundError(f"no such model: {model} is neither a known name nor a file")
        model = str(path)
    folder = tempfile.mkdtemp(prefix="rinalmo-kit-studio-")
    held = None
    try:
        with _signals():
            page = Path(folder, "studio.ipynb")
            page.write_text(json.dumps(notebook(model)), encoding="utf-8")
            words = [f"--Voila.ip={ip}", f"--port={port}", "--Voila.auto_token=True"]
            words += [f"--template={TEMPLATE}"] + ([] if browser else ["--no-browser"])
            print(f"The studio is starting at {ip}:{port}; Ctrl-C ends it.", flush=True)
            command = [
                sys.executable,
                "-P",
                keeper.__file__,
                folder,
                sys.executable,
                "-m",
                "voila",
                str(page),
            ]
            paths = os.pathsep.join(filter(None, [str(TEMPLATES), os.environ.get("JUPYTER_PATH")]))
            held = subprocess.Popen(
                [*command, *words],
                stdin=subprocess.PIPE,
                start_new_session=True,
                env=os.environ | {"JUPYTER_PATH": paths},
            )
            return held.wait()
    except KeyboardInterrupt:
        return 0
    except _Ended as ended:
        return 128 + ended.number
    finally:
        if held is not None:
            if held.stdin is not None:
                held.stdin.close()
            with suppress(KeyboardInterrupt):  # an impatient one: the keeper ends it all without us
                held.wait()
        shutil.rmtree(folder, ignore_errors=True)


def notebook(model: str) -> dict[str, Any]:
    """Return a notebook with a studio.

    Examples
    --------
    >>> notebook("nano-ss")["cells"][0]["source"].splitlines()[-1]
    "FoldingStudio(model='nano-ss')"
    """
    source = f"from rinalmo_kit.widgets import FoldingStudio\n\nFoldingStudio(model={model!r})"
    cell: dict[str, Any] = {"cell_type": "code", "id": "studio", "metadata": {}, "source": source}
    cell |= {"execution_count": None, "outputs": []}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    metadata = kernel | {"title": TITLE, "explanation": EXPLANATION}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@contextmanager
def _signals() -> Iterator[None]:
    """Raise :class:`_Ended` for the signals that would end this process silently."""

    def end(number: int, _: object) -> None:
        raise _Ended(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = [(number, signal.signal(number, end)) for number in numbers]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
