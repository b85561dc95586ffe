"""The sharing service as a Lambda function: same responses as in a container, and its settings."""

import asyncio
import base64
import importlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gatehouse.features.secrets.models import FILES_BYTES_MAX, TEXT_BYTES_MAX
from gatehouse.features.secrets.schemas import FILE_NAME_CHARS_MAX, FILES_MAX
from gatehouse.platform.settings import PREFIX, SharingSettings, load_sharing
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing.app import DAEMON_VARIABLE
from gatehouse.services.sharing.lambda_adapter import TRACE_VARIABLE, lambda_handler
from mangum.types import LambdaContext

from sandbox.local.collector import decode
from tests.repository.test_contract import CONTRACT
from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.services.sharing.api_gateway_events import HOST, encoded, event

CONTEXT: Any = LambdaContext
ORIGIN = f"https://{HOST}"
ENVIRON = {"GATEHOUSE_ENVIRONMENT": "staging", "GATEHOUSE_SHARING_URL": f"https://{HOST}"}
# Differ per response or server.
VARYING_HEADERS = {"x-request-id", "content-length", "date", "server"}


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module as Lambda imports it, with the environment variables of the stack."""
    for name in [name for name in os.environ if name.startswith("GATEHOUSE_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("gatehouse.services.sharing.lambda_handler", None)
    yield importlib.import_module("gatehouse.services.sharing.lambda_handler")
    sys.modules.pop("gatehouse.services.sharing.lambda_handler", None)


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("HEAD", "/"), ("GET", "/s/x")])
async def test_function_returns_response_of_container(
    function: Any, method: str, path: str
) -> None:
    container = httpx.ASGITransport(sharing_app.build(load_sharing(ENVIRON)))
    async with httpx.AsyncClient(transport=container, base_url=f"https://{HOST}") as client:
        expected = await client.request(method, path)

    response = await _call(function, event(method, path))

    assert (response["statusCode"], response["body"]) == (expected.status_code, expected.text)
    assert {k: v for k, v in response["headers"].items() if k not in VARYING_HEADERS} == {
        k: v for k, v in expected.headers.items() if k not in VARYING_HEADERS
    }
    assert response["headers"]["strict-transport-security"].startswith("max-age=")


async def test_metrics_path_returns_404(function: Any) -> None:
    response = await _call(function, event(path="/metrics"))
    assert (response["statusCode"], "<h1>" in response["body"]) == (404, True)


async def test_log_does_not_contain_request_path(
    function: Any, capfdbinary: Any, caplog: Any
) -> None:
    caplog.set_level("INFO")  # of libraries, as in Lambda
    await _call(function, event(path="/s/q8Zt4secret"))
    output = capfdbinary.readouterr().out + caplog.text.encode()
    assert b"q8Zt4secret" not in output


def test_settings_match_the_contract() -> None:
    rows = [*CONTRACT["variable"], *CONTRACT["optional"]]
    variables = {row["name"] for row in rows if "sharing" in row.get("functions", ())}
    assert variables == {PREFIX + name.upper() for name in SharingSettings.model_fields}


async def _call(function: Any, request: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = await asyncio.to_thread(function.handler, request, CONTEXT)
    return response


async def test_spans_of_the_function_belong_to_the_trace_of_lambda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lambda decides on the sampling, and its trace context replaces that of the client."""
    trace, client = (
        "5759e988bd862e3fe1be46a994272793",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(20)
        monkeypatch.setenv(DAEMON_VARIABLE, f"127.0.0.1:{daemon.getsockname()[1]}")
        handler = lambda_handler(sharing_app.build(load_sharing(ENVIRON)))
        for sampled, path in (("0", "/"), ("1", "/v1/unknown")):
            monkeypatch.setenv(
                TRACE_VARIABLE,
                f"Root=1-{trace[:8]}-{trace[8:]};Parent=53995c3f42cd8ad8;Sampled={sampled}",
            )
            response = await asyncio.to_thread(
                handler, event(path=path, headers={"traceparent": [client]}), CONTEXT
            )
        header, _, payload = daemon.recv(65_535).partition(b"\nT1S")
    assert json.loads(header) == {"format": "json", "version": 1}
    (span,) = decode(base64.b64decode(payload))
    assert (span.service, span.name, span.trace_id) == ("gatehouse-sharing", "GET (none)", trace)
    assert span.parent_id == "53995c3f42cd8ad8"
    assert json.loads(base64.b64decode(response["body"]))["trace_id"] == trace


async def test_largest_secret_fits_in_a_request_and_a_response_of_lambda(sharing: Sharing) -> None:
    handler = lambda_handler(sharing.app())
    _, token, link = await request(sharing)
    text = "\x1f" * TEXT_BYTES_MAX  # seven characters per byte in the response
    sizes = [FILES_BYTES_MAX - FILES_MAX + 1, *[1] * (FILES_MAX - 1)]
    names = [f"{chr(0x1F40E) * (FILE_NAME_CHARS_MAX - 1)}{number}" for number in range(FILES_MAX)]
    parts: list[Any] = [("link", (None, token.url(ORIGIN))), ("text", (None, text))]
    parts += [("file", (name, bytes(size), "a/b")) for name, size in zip(names, sizes, strict=True)]
    form = httpx.Request("POST", f"{ORIGIN}/v1/requests/submit", files=parts)
    opening = {"link": link.url(ORIGIN)}
    for path, content_type, body in (
        ("/v1/requests/submit", form.headers["content-type"], form.read()),
        ("/v1/links/open", "application/json", json.dumps(opening).encode()),
    ):
        sent = event("POST", path, headers={"Content-Type": [content_type]}, **encoded(body))
        reply = await asyncio.to_thread(handler, sent, CONTEXT)
        assert reply["statusCode"] == 200, reply["body"][:500]
        assert max(len(json.dumps(sent)), len(json.dumps(reply))) <= 6_000_000
    items = json.loads(reply["body"])["items"]
    assert [(item["name"], item["size"]) for item in items] == [
        ("", TEXT_BYTES_MAX),
        *zip(names, sizes, strict=True),
    ]
