"""Runs a Lambda handler for the events of the Lambda runtime API, like the runtime interface client
of the image.

`awslambdaric`, the client of the image, has an HTTP client for Linux only. Run as a module, with
AWS_LAMBDA_RUNTIME_API: `python -m sandbox.local.lambda_runtime_client <module.function>`. Exits
with the runtime API. An error of the handler is printed in one line, without a traceback, which
could show secret values.
"""

import importlib
import json
import logging
import os
import sys
from contextlib import suppress
from http.client import HTTPConnection

from sandbox.local.lambda_runtime_api import INVOCATION


def main(address: str, handler: str) -> None:
    """Handle events until the runtime API ends."""
    # As in Lambda: warnings and errors are logged.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    module, _, function = handler.rpartition(".")
    handle = getattr(importlib.import_module(module), function)
    connection = HTTPConnection(address)
    with suppress(ConnectionError):
        while True:
            connection.request("GET", f"{INVOCATION}next")
            invocation = connection.getresponse()
            event = json.load(invocation)
            try:
                action, result = "response", json.dumps(handle(event, None))
            except Exception as problem:
                sys.stderr.write(f"{handler}: {problem!r}\n")
                action, result = "error", json.dumps({"errorType": type(problem).__name__})
            request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
            connection.request("POST", f"{INVOCATION}{request_id}/{action}", result)
            connection.getresponse().read()


if __name__ == "__main__":
    main(os.environ["AWS_LAMBDA_RUNTIME_API"], sys.argv[1])
