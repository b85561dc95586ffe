"""Retries, errors and lists of the Python client."""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from gatehouse.core import errors as runtime
from gatehouse.features.cores.schemas import CorePage, CoreView
from gatehouse.features.customers.schemas import (
    ChangedCustomer,
    ChangedPlan,
    CustomerView,
    PlanView,
    PurgedCustomer,
)
from gatehouse.features.keys.schemas import KeyView as Example
from gatehouse.platform.web.examples import example
from gatehouse_client import (
    ApiError,
    AsyncConsoleClient,
    BadRequest,
    Conflict,
    ConsoleClient,
    NotFound,
    Problem,
    Retries,
    TooManyRequests,
    Unavailable,
    transport,
)
from gatehouse_client.models import ChangedKey, CreatedKey, KeyView
from hypothesis import given
from hypothesis import strategies as st

ONCE = Retries(attempts=1)
TOKEN, KEY = "gtk_admin_canary", "/v1/keys/3fGh82kLmQ0a"
CREATED = {"token": "gtk_test_x", "key": example(Example)}
Step = httpx.Response | Exception


@dataclass
class Server:
    steps: list[Step]
    requests: list[httpx.Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps[min(len(self.requests), len(self.steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return step

    async def respond_later(self, request: httpx.Request) -> httpx.Response:
        return self.respond(request)

    @property
    def retries(self) -> Retries:
        return Retries(sleep=self.waits.append, jitter=lambda: 1.0)

    def console(self, retries: Retries | None = None) -> ConsoleClient:
        transport = httpx.MockTransport(self.respond)
        return ConsoleClient(
            "https://console.test/", TOKEN, retries=retries or self.retries, transport=transport
        )


def create(console: ConsoleClient, idempotency_key: str | None = None) -> CreatedKey:
    request = {"name": "a"}
    return console.call(CreatedKey, "POST", "/v1/keys", request, idempotency_key=idempotency_key)


def problem(status: int, code: str, detail: str = "a detail", **headers: str) -> httpx.Response:
    document = {
        "type": "t",
        "title": "t",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "req_1",
    }
    errors_ = [{"location": "body.name", "message": "is missing", "fix": "add it"}]
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={**document, "errors": errors_}, headers=fields)


UNAVAILABLE = problem(503, "unavailable")


def test_read_is_retried_with_backoff() -> None:
    server = Server(
        [
            UNAVAILABLE,
            httpx.ReadTimeout("x"),
            problem(502, "core_unreachable"),
            httpx.Response(200, json=example(Example)),
        ]
    )
    assert server.console().get(KeyView, KEY).name == example(Example)["name"]
    assert server.waits == [0.25, 0.5, 1.0]


def test_retried_creation_keeps_its_idempotency_key() -> None:
    server = Server([httpx.ReadError("broken"), UNAVAILABLE, httpx.Response(201, json=CREATED)])
    with server.console() as console:
        assert create(console).token == "gtk_test_x"
        create(console)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert (keys[0] == keys[1] == keys[2], len(set(keys)), keys[0][0] + keys[0][-1]) == (
        True,
        2,
        '""',
    )


def test_given_idempotency_key_is_sent_as_structured_string() -> None:
    server = Server([httpx.Response(201, json=CREATED)])
    create(server.console(), "order-4711")
    assert server.requests[0].headers["idempotency-key"] == '"order-4711"'


@pytest.mark.parametrize("key", ["ä", "a\nb"])
def test_invalid_idempotency_key_is_rejected_before_sending(key: str) -> None:
    server = Server([httpx.Response(201, json=CREATED)])
    with pytest.raises(BadRequest, match="must be printable ASCII characters"):
        create(server.console(), key)
    assert not server.requests


def test_request_in_progress_is_awaited() -> None:
    server = Server(
        [problem(409, "request_in_progress", retry_after="1"), httpx.Response(201, json=CREATED)]
    )
    assert create(server.console()).token == "gtk_test_x"
    assert server.waits == [1.0]


@pytest.mark.parametrize(
    "step",
    [
        problem(409, "conflict"),
        problem(400, "bad_request"),
        problem(404, "not_found"),
        problem(500, "internal"),
    ],
)
def test_client_error_is_not_retried(step: httpx.Response) -> None:
    server = Server([step])
    with pytest.raises(ApiError):
        create(server.console())
    assert (len(server.requests), server.waits) == (1, [])


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("headers", "content"),
    [({"Content-Encoding": "gzip"}, gzip.compress(b"{}")), ({}, b" " * 1001)],
    ids=["compressed", "large"],
)
def test_large_response_is_not_received(
    monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], content: bytes
) -> None:
    monkeypatch.setattr(transport, "RESPONSE_BYTES_MAX", 1000)

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))

    console = ConsoleClient(
        "https://console.test", TOKEN, retries=ONCE, transport=httpx.MockTransport(respond)
    )
    with pytest.raises(Unavailable, match=r"too large|compressed"):
        console.get(KeyView, KEY)
    if status == 500 or headers:
        with pytest.raises(Unavailable, match=r"too large|compressed"):
            list(console.stream("/v1/audit-export"))


def test_update_is_retried_only_if_never_sent() -> None:
    changed = httpx.Response(200, json={"key": example(Example), "effective": "everywhere"})
    lost = Server([httpx.ReadTimeout("x"), changed])
    with pytest.raises(Unavailable):
        lost.console().call(ChangedKey, "PATCH", KEY, {}, version=3)
    never_sent = Server([httpx.ConnectError("refused"), changed])
    never_sent.console().call(ChangedKey, "PATCH", KEY, {}, version=3)
    assert (len(lost.requests), len(never_sent.requests)) == (1, 2)


def test_retry_after_is_honoured_up_to_the_bound() -> None:
    server = Server(
        [problem(429, "rate_limited", retry_after="7"), httpx.Response(200, json=example(Example))]
    )
    server.console().get(KeyView, KEY)
    assert server.waits == [7.0]
    hourly = Server([problem(429, "rate_limited", "wait an hour", retry_after="3600")])
    with pytest.raises(TooManyRequests, match="wait an hour"):
        hourly.console().get(KeyView, KEY)
    assert hourly.waits == []


def test_last_error_is_raised_after_all_attempts() -> None:
    server = Server([UNAVAILABLE])
    with pytest.raises(Unavailable):
        server.console().get(KeyView, KEY)
    assert len(server.requests) == 4
    with pytest.raises(Unavailable):
        server.console(ONCE).get(KeyView, KEY)
    assert len(server.requests) == 5


def subclasses(kind: type[runtime.GatehouseError]) -> list[type[runtime.GatehouseError]]:
    return [item for sub in kind.__subclasses__() for item in (sub, *subclasses(sub))]


@pytest.mark.parametrize(
    "kind",
    sorted(set(subclasses(runtime.GatehouseError)) - {runtime.SettingsError}, key=str),
    ids=lambda item: item.code,
)
def test_problem_document_raises_the_error_of_its_status(
    kind: type[runtime.GatehouseError],
) -> None:
    server = Server([problem(kind.status, kind.code, "an explanation")])
    with pytest.raises(ApiError) as raised:
        server.console(ONCE).get(KeyView, KEY)
    error = raised.value
    other = "the console does not have this operation: check its URL"
    expected = other if kind.status == 405 else "an explanation"
    assert (error.message, error.code, error.status) == (expected, kind.code, kind.status)
    assert (error.request_id, error.errors) == (
        "req_1",
        (Problem("body.name", "is missing", "add it"),),
    )
    # A usage error of the command line is one of the same requests.
    assert isinstance(error, BadRequest) == issubclass(kind, runtime.BadRequest)
    assert isinstance(error, Unavailable) == (kind.status >= 500)


UNEXPECTED = [
    (httpx.Response(200, text="<html>"), Unavailable, "returned an unexpected response"),
    (
        httpx.Response(404, text="nginx"),
        NotFound,
        "the console returned 404 without a problem document",
    ),
    (
        httpx.Response(302, headers={"location": "https://evil.test"}),
        Unavailable,
        "the console returned 302",
    ),
    (
        httpx.ConnectError("refused"),
        Unavailable,
        "cannot reach the console at https://console.test: the connection failed",
    ),
    (
        httpx.ReadTimeout(""),
        Unavailable,
        "the console at https://console.test did not respond in time",
    ),
    (problem(418, "conflict"), ApiError, "a detail"),
    (problem(409, "of_a_later_version"), Conflict, "a detail"),
]


@pytest.mark.parametrize(("reply", "kind", "text"), UNEXPECTED)
def test_unexpected_response_is_explained(reply: Step, kind: type[ApiError], text: str) -> None:
    server = Server([reply])
    with pytest.raises(kind, match=text) as raised:
        server.console(ONCE).get(KeyView, KEY)
    assert TOKEN not in repr(raised.value) + str(raised.value)


def test_all_pages_are_read() -> None:
    pages = [
        httpx.Response(
            200,
            json={
                **example(CorePage),
                "cores": [{**example(CoreView), "name": name}],
                "next_cursor": cursor,
            },
        )
        for name, cursor in (("a", "c2"), ("b", None))
    ]
    server = Server([*pages])
    assert [core.name for core in server.console().items(CoreView, "/v1/cores")] == ["a", "b"]
    assert [str(request.url.query, "ascii") for request in server.requests] == ["", "cursor=c2"]


@given(st.integers(1, 10), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_wait_is_between_retry_after_and_the_bound(
    attempt: int, jitter: float, retry_after: float | None
) -> None:
    retries = Retries(attempts=6, jitter=lambda: jitter)
    wait_s = retries.wait(attempt, retry_after)
    if attempt >= 6 or (retry_after or 0) > retries.wait_s_max:
        assert wait_s is None
    else:
        assert wait_s is not None
        assert (retry_after or 0) <= wait_s <= retries.wait_s_max


async def test_asynchronous_client_sends_the_same_requests() -> None:
    page = {"keys": [example(Example)], "next_cursor": None}
    server = Server(
        [
            problem(503, "unavailable"),
            httpx.Response(201, json=CREATED),
            httpx.Response(200, json=page),
        ]
    )
    retries = Retries(wait_s=0, wait_s_max=0)
    handler = httpx.MockTransport(server.respond_later)
    async with AsyncConsoleClient(
        "https://console.test", TOKEN, retries=retries, transport=handler
    ) as console:
        created = await console.create_key(name="a", idempotency_key="order-4711")
        keys = [key async for key in console.keys(customer="b")]
    assert created.token == "gtk_test_x"
    assert "gtk_test_x" not in repr(created)
    assert [key.id for key in keys] == [example(Example)["id"]]
    assert [(request.method, request.url.raw_path.decode()) for request in server.requests] == [
        ("POST", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/keys?customer=b"),
    ]
    assert server.requests[1].headers["idempotency-key"] == '"order-4711"'


CUSTOMER = "/v1/customers/a%2Fb%401"


@pytest.mark.parametrize(
    ("method", "arguments", "response", "expected"),
    [
        ("create_customer", {"id": "a"}, CustomerView, ("POST", "/v1/customers")),
        ("customer", {}, CustomerView, ("GET", CUSTOMER)),
        ("update_customer", {"version": 7, "plan": None}, ChangedCustomer, ("PATCH", CUSTOMER)),
        ("disable_customer", {}, ChangedCustomer, ("POST", f"{CUSTOMER}/disable")),
        ("enable_customer", {}, ChangedCustomer, ("POST", f"{CUSTOMER}/enable")),
        ("delete_customer", {}, ChangedCustomer, ("DELETE", CUSTOMER)),
        ("restore_customer", {}, ChangedCustomer, ("POST", f"{CUSTOMER}/restore")),
        ("purge_customer", {}, PurgedCustomer, ("POST", f"{CUSTOMER}/purge")),
        ("create_plan", {"name": "a"}, PlanView, ("POST", "/v1/plans")),
        ("plan", {"name": "a"}, PlanView, ("GET", "/v1/plans/a")),
        ("update_plan", {"name": "a", "version": 7}, ChangedPlan, ("PATCH", "/v1/plans/a")),
        ("delete_plan", {"name": "a"}, None, ("DELETE", "/v1/plans/a")),
    ],
)
def test_methods_of_customers_and_plans(
    method: str, arguments: dict[str, Any], response: Any, expected: tuple[str, str]
) -> None:
    reply = httpx.Response(200, json=example(response)) if response else httpx.Response(204)
    server = Server([reply])
    takes_id = method.endswith("customer") and method != "create_customer"
    with server.console() as console:
        getattr(console, method)(**arguments, **({"customer_id": "a/b@1"} if takes_id else {}))
    (request,) = server.requests
    assert (request.method, request.url.raw_path.decode()) == expected
    assert request.headers.get("if-match") == ('"7"' if "version" in arguments else None)
    body = json.loads(request.content or "{}")
    assert {name: body[name] for name in arguments if name in body} == {
        name: value for name, value in arguments.items() if name in body
    }


def test_customers_and_plans_are_listed() -> None:
    customers = {"customers": [example(CustomerView)], "next_cursor": None}
    plans = {"plans": [example(PlanView)]}
    server = Server([httpx.Response(200, json=page) for page in (customers, plans)])
    with server.console() as console:
        assert [each.id for each in console.customers(plan="starter")] == ["acme"]
        assert [each.name for each in console.plans()] == ["starter"]
    assert server.requests[0].url.query == b"plan=starter"
