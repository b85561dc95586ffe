"""Writes bench/peers/README.md: `python -m bench.peers`. With the argument `checkov`, runs Checkov first."""

from __future__ import annotations

import sys

from bench.peers import checkov, gatehouse, mistakes
from bench.peers.page import PAGE, page

if __name__ == "__main__":
    if sys.argv[1:] == ["checkov"]:
        checkov.measure(mistakes.read())
    PAGE.write_text(page(gatehouse.caught(mistakes.read())), encoding="utf-8")
