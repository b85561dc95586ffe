"""Runs a Lambda handler for a list of events as Lambda would: own process, folder on the path, own environment.

Run as a module: `python -m sandbox.local.lambda_host <folder> <module.function> <events as JSON>`. It stops at the first
error, which it prints in one line without a traceback: a traceback could show a value that the handler held.
"""

import importlib
import json
import logging
import sys


def main(folder: str, handler: str, events: str) -> int:
    """0 when every event was handled; 1 when one was not."""
    # As Lambda does: what a function logs goes out, and of the libraries only warnings.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.path.insert(0, folder)
    module, _, function = handler.rpartition(".")
    handle = getattr(importlib.import_module(module), function)
    for event in json.loads(events):
        try:
            handle(event, None)
        except Exception as problem:
            sys.stderr.write(f"{handler}: {event.get('Step', 'event')} of {event.get('SecretId', '?')}: {problem!r}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
