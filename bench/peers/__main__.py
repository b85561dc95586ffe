"""`python -m bench.peers` writes docs/peers-policies.md; `python -m bench.peers checkov` runs Checkov anew before it."""

from __future__ import annotations

import sys

from bench.peers import checkov, gatehouse, mistakes
from bench.peers.page import PAGE, page

if __name__ == "__main__":
    if sys.argv[1:] == ["checkov"]:
        checkov.measure(mistakes.read())
    PAGE.write_text(page(gatehouse.caught(mistakes.read())), encoding="utf-8")
