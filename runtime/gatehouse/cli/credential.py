"""Where a command gets its token from: a variable, standard input, or (discouraged) the command line."""

from __future__ import annotations

import sys

from gatehouse.cli.output import USAGE, stop

_CHARS_MAX = 512


def read(given: str, option: str, variable: str) -> str:
    """The token; `-` reads one line of standard input. Ends the process with a message when there is none."""
    token = sys.stdin.readline().strip() if given == "-" else given.strip()
    if not token:
        stop(f"no token: set {variable}, or use {option} - and give it on standard input", code=USAGE)
    if len(token) > _CHARS_MAX or not token.isascii() or not token.isprintable() or " " in token:
        stop(f"the token in {option} or {variable} is no token: it holds spaces or characters that no token has", code=USAGE)
    return token
