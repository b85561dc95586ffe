"""Translation of API Gateway events to ASGI requests, and of responses to API Gateway."""

import json
from typing import Any

import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.platform.observability import Observer
from gatehouse.platform.web.application import Application, Routes
from gatehouse.platform.web.request import Request, Service
from gatehouse.platform.web.responses import Response
from gatehouse.services.sharing.lambda_adapter import Handler, UnsupportedEvent, lambda_handler
from mangum.types import LambdaContext

from tests.runtime.services.sharing.api_gateway_events import CALLER, event

CONTEXT: Any = LambdaContext


async def _echo(request: Request) -> Response:
    content = {"peer": request.peer, "path": request.raw_path.decode()}
    return request.response(200, json.dumps(content).encode())


def _handler() -> Handler:
    observer = Observer("sharing", "error", "test")
    routes = Routes(
        Service(observer=observer, addresses=ClientAddresses(()), clock=Clock(), docs_url="")
    )
    routes.add("/{path:path}", _echo)
    return lambda_handler(Application(observer, routes=routes))


HANDLER = _handler()


def echo(request: dict[str, Any]) -> dict[str, Any]:
    response = HANDLER(request, CONTEXT)
    assert (response["statusCode"], response["isBase64Encoded"]) == (200, False)
    content: dict[str, Any] = json.loads(response["body"])
    return content


def test_peer_is_source_ip_of_api_gateway() -> None:
    assert echo(event(headers={"X-Forwarded-For": ["203.0.113.7", CALLER]}))["peer"] == CALLER


def test_path_is_the_path_of_the_event() -> None:
    assert echo(event(path="/s/a%20b/ä"))["path"] == "/s/a%20b/%C3%A4"


@pytest.mark.parametrize(
    "invalid_event",
    [
        {"Records": [{"body": "secret"}]},
        {**event(), "version": "2.0"},
        event(requestContext={"elb": {"targetGroupArn": "arn"}, "identity": {"sourceIp": CALLER}}),
        event(requestContext={"identity": {}}),
    ],
)
def test_event_of_other_source_is_rejected(invalid_event: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedEvent) as error:
        HANDLER(invalid_event, CONTEXT)
    assert "secret" not in str(error.value)
