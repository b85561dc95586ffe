"""Writes bench/peers/README.md: `python -m bench.peers`. With the argument `checkov`, runs Checkov first."""

import argparse

from bench.peers import checkov, comparison, mistakes

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", nargs="?", choices=("checkov",), help="tool to install and run first")
    if parser.parse_args().tool:
        checkov.measure(mistakes.read())
    comparison.PAGE.write_text(comparison.page(comparison.caught(mistakes.read())), encoding="utf-8")
