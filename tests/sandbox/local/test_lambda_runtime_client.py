"""The runtime client of the sandbox handles events like the client of the image."""

import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox import child_processes
from sandbox.local.lambda_runtime_api import Invocations, RuntimeApi
from sandbox.ports import HOST
from tests import requires

HANDLER = """
def handler(event, context):
    if event["body"] == "raise":
        raise ValueError("rejected")
    return {"statusCode": 200, "body": event["body"] + "ü"}
"""


@pytest.fixture(
    params=[
        "sandbox.local.lambda_runtime_client",
        pytest.param("awslambdaric", marks=requires.LINUX),
    ]
)
def invocations(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Invocations]:
    """The invocations of a function that a client runs."""
    (tmp_path / "function.py").write_text(HANDLER)
    invocations = Invocations()
    api = type(
        "Api",
        (RuntimeApi,),
        {"invocations": invocations, "arn": "arn:aws:lambda:eu-west-1:123456789012:function:f"},
    )
    with ThreadingHTTPServer((HOST, 0), api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            **child_processes.plain_environment(),
            "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{server.server_port}",
        }
        command = [sys.executable, "-m", request.param, "function.handler"]
        child = child_processes.start(
            "function", command, env=environment, cwd=tmp_path, log=tmp_path / "function.log"
        )
        try:
            yield invocations
        finally:
            child.stop()
            server.shutdown()


def event(request_id: str, body: str) -> dict[str, object]:
    return {"requestContext": {"requestId": request_id}, "body": body}


def test_error_of_the_handler_fails_one_event(invocations: Invocations) -> None:
    results = [
        invocations.invoke(event(str(number), body))
        for number, body in enumerate(["ä", "raise", "b"])
    ]
    assert results == [{"statusCode": 200, "body": "äü"}, None, {"statusCode": 200, "body": "bü"}]
