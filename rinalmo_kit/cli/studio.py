"""``rinalmo-kit studio``: the folding studio as a page."""

from __future__ import annotations

import argparse


def _studio(options: argparse.Namespace) -> int:
    from ..widgets.studio_page import serve

    return serve(options.model, ip=options.ip, port=options.port, browser=not options.no_browser)
