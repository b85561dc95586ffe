"""The synchronous form of the Python clients, which are written once, for asyncio:
clients/python/gatehouse_client/_sync, from _async.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

_ASYNC = Path(__file__).resolve().parents[2] / "clients/python/gatehouse_client/_async"
#: A token of the asynchronous form, as a regular expression, and that of the synchronous form.
_TOKENS = {
    r"\n+import asyncio\n": "\n",
    r"\basyncio\.sleep\b": "self._retries.sleep",
    r"\basync (?=def|with|for)": "",
    r"\bawait ": "",
    r"\b_async\b": "_sync",
    r"\baclose\b": "close",
    r"\baiter_(?=bytes|stream)": "iter_",
    r"\bhandle_async_request\b": "handle_request",
    r"\b__a(?=enter__|exit__)": "__",
    r"\bAsync(?=[A-Z])": "",
}


def modules() -> dict[str, Callable[[], str]]:
    """The function that derives the text of each module, by the name of its file."""
    return {path.name: partial(_derived, path) for path in sorted(_ASYNC.glob("[!_]*.py"))}


def _derived(path: Path) -> str:
    text = path.read_text()
    for token, replacement in _TOKENS.items():
        text = re.sub(token, replacement, text)
    comment = "# Derived from _async by `make docs`. Do not edit.\n"
    command = (sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-")
    formatted = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return comment + formatted.stdout
