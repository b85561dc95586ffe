"""A service behind a REST API is the service: what it sees of a request, and what a caller gets of its answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from gatehouse.sharing.lambda_adapter import NotARequest, adapted
from mangum.types import LambdaContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.runtime.functions.events import CALLER, encoded, event

pytestmark = pytest.mark.requirement("SS-06")
CONTEXT: Any = LambdaContext


async def _seen(request: Request) -> Response:
    body = (await request.body()).hex()
    seen = {
        "peer": request.client and request.client.host,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "query": request.query_params.multi_items(),
        "cookies": dict(request.cookies),
        "twice": request.headers.get("x-twice"),
        "body": body,
    }
    return JSONResponse(seen)


async def _cookies(request: Request) -> Response:
    response = Response(b"two", media_type="text/plain")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


async def _bytes(request: Request) -> Response:
    return Response(b"\x00\xff", media_type="application/octet-stream")


HANDLER = adapted(
    Starlette(
        routes=[
            Route("/cookies", _cookies),
            Route("/bytes", _bytes),
            Route("/{rest:path}", _seen, methods=["GET", "POST"]),
        ]
    )
)


def seen(sent: dict[str, Any]) -> dict[str, Any]:
    answer = HANDLER(sent, CONTEXT)
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    found: dict[str, Any] = json.loads(answer["body"])
    return found


def test_the_peer_is_the_address_that_api_gateway_saw_whatever_the_caller_claims() -> None:
    assert seen(event(headers={"X-Forwarded-For": ["203.0.113.7", CALLER]}))["peer"] == CALLER
    assert seen(event(headers={"X-Forwarded-For": ["203.0.113.7"], "X-Real-Ip": ["203.0.113.7"]}))["peer"] == CALLER


def test_a_body_that_is_not_text_arrives_whole() -> None:
    assert seen(event("POST", "/s", **encoded(b"\x00\xff\x10")))["body"] == "00ff10"


def test_a_body_of_text_arrives_whole() -> None:
    assert seen(event("POST", "/s", body="schön"))["body"] == "schön".encode().hex()


def test_a_repeated_query_parameter_keeps_all_its_values() -> None:
    sent = event(path="/s", queryStringParameters={"a": "2"}, multiValueQueryStringParameters={"a": ["1", "2"]})
    assert seen(sent)["query"] == [["a", "1"], ["a", "2"]]


def test_cookies_of_several_fields_are_all_there() -> None:
    assert seen(event(headers={"Cookie": ["a=1", "b=2"]}))["cookies"] == {"a": "1", "b": "2"}


def test_a_header_that_came_twice_keeps_both_values() -> None:
    assert seen(event(headers={"X-Twice": ["one", "two"]}))["twice"] == "one, two"


def test_two_cookies_leave_as_two_headers() -> None:
    answer = HANDLER(event(path="/cookies"), CONTEXT)
    assert [cookie.partition(";")[0] for cookie in answer["multiValueHeaders"]["set-cookie"]] == ["first=1", "second=2"]
    assert "set-cookie" not in answer["headers"]


def test_an_answer_that_is_not_text_leaves_as_base64() -> None:
    answer = HANDLER(event(path="/bytes"), CONTEXT)
    assert (base64.b64decode(answer["body"]), answer["isBase64Encoded"]) == (b"\x00\xff", True)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({}, "it lacks resource, path, httpMethod, requestContext.identity"),
        ({"Records": [{"body": "secret"}]}, "it lacks resource, path, httpMethod, requestContext.identity"),
        ({**event(), "version": "2.0"}, "it comes from another kind of gateway"),
        (event(requestContext={"elb": {"targetGroupArn": "arn"}, "identity": {"sourceIp": CALLER}}), "another kind of gateway"),
        (event(requestContext={"identity": {}}), "it lacks requestContext.identity.sourceIp"),
    ],
)
def test_an_event_of_anything_else_is_refused_with_what_it_lacks(broken: dict[str, Any], told: str) -> None:
    with pytest.raises(NotARequest, match=told) as refused:
        HANDLER(broken, CONTEXT)
    assert "secret" not in str(refused.value)
