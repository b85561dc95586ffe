"""Runs a Lambda handler for a list of events like Lambda: in a separate process, with a separate
path and environment.

Run as a module: `python -m sandbox.local.functions.lambda_handler_process <folder>
<module.function> <events as JSON>`. Stops at the first error and prints the error in one line,
without a traceback, which could show secret values.
"""

import importlib
import json
import logging
import sys
from collections.abc import Callable
from typing import Any


def load(handler: str) -> Callable[[dict[str, Any], None], Any]:
    """Import a handler such as "module.function"."""
    # As in Lambda: warnings and errors are logged.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    module, _, function = handler.rpartition(".")
    handle: Callable[[dict[str, Any], None], Any] = getattr(
        importlib.import_module(module), function
    )
    return handle


def main(folder: str, handler: str, events: str) -> int:
    """Return 0 if every event was handled; otherwise 1."""
    sys.path.insert(0, folder)
    handle = load(handler)
    for event in json.loads(events):
        try:
            handle(event, None)
        except Exception as problem:
            sys.stderr.write(
                f"{handler}: {event.get('Step', 'event')} of {event.get('SecretId', '?')}: "
                f"{problem!r}\n"
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
