"""The table of behaviour, with the clients of all languages."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from gatehouse.core.http.http_signatures import check
from gatehouse.core.verification import SignedRequest

from tests import requires
from tests.clients.behaviour import ADMIN, ALL, CANARY, CASES, CLIENTS, PUBLIC_KEY, SLOW, Case
from tests.clients.drivers.programs import COMMANDS
from tests.clients.gateways import Gateway, serving
from tools import nodejs

Run = Callable[[dict[str, Any]], dict[str, Any]]

_MARKS = {"typescript": (requires.WEB_UI,), "go": (requires.program("go"),)}


@pytest.fixture(
    scope="module",
    params=[pytest.param(client, marks=_MARKS.get(client, ())) for client in CLIENTS],
)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(client: str) -> Iterator[Run]:
    command, pipe = COMMANDS[client](), subprocess.PIPE
    environment = nodejs.environment()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        stdin, stdout = driver.stdin, driver.stdout

        def run(call: dict[str, Any]) -> dict[str, Any]:
            stdin.write(json.dumps(call) + "\n")
            stdin.flush()
            outcome: dict[str, Any] = json.loads(stdout.readline())
            return outcome

        yield run
        stdin.close()


#: On a busy machine, an answer can take longer than the default.
PATIENT = {"response_timeout_ms": 60_000}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("tls"), ALL)
    with serving(gateway) as urls:
        gateway.urls = urls
        yield gateway


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_client_behaves_as_the_table(
    request: pytest.FixtureRequest, client: str, run: Run, gateway: Gateway, case: Case
) -> None:
    if reason := case.not_yet.get(client):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    received = gateway.received.get(case.state, [])
    received.clear()
    gateway.most = gateway.connections = 0
    url = gateway.urls.get(case.state, case.state.replace("{}", gateway.urls["valid"]))
    is_patient = case.requests and case.state not in SLOW
    options = PATIENT | case.options if is_patient else case.options
    outcome = run(
        {
            **{"operation": case.operation, "url": url, "options": options},
            **{"arguments": case.arguments, "method": case.method, "token": case.token},
        }
    )
    texts = json.dumps(outcome)
    assert "missing" not in outcome
    assert not [text for text in (CANARY, ADMIN) if text in texts]
    expected = dict(case.expected)
    if bound := expected.pop("in_progress_max", None):
        assert 1 <= gateway.most <= bound
        # A connection that was idle for long is replaced.
        assert 1 <= gateway.connections <= 2 * bound
    assert included(expected, outcome) == expected
    if case.requests is not None:
        ended_early = case.state in SLOW and not received
        assert ended_early or len(received) == case.requests
    if case.operation == "sign" and not outcome["raised"]:
        check_signature(case.arguments, outcome["headers"])
    if case.sent:
        sent = parsed(received[0])
        sent[":last"] = case.sent.get(":last") if _ends(received[-1], case.sent) else None
        assert {name: sent.get(name) for name in case.sent} == case.sent


def check_signature(arguments: dict[str, Any], headers: dict[str, str]) -> None:
    """Raises Rejected, as the gateway does."""
    url = urlsplit(arguments["url"])
    signed = SignedRequest(
        method=arguments["method"],
        scheme=url.scheme,
        authority=url.netloc,
        path=url.path,
        query=url.query,
        fields=tuple(headers.items()),
        body=arguments["body"].encode(),
    )
    key_id = arguments["token"].strip().rpartition("_")[2][:12]
    check(signed, key_id=key_id, public_key=PUBLIC_KEY, now=time.time())


def included(expected: Any, outcome: Any) -> Any:
    """The members of the outcome that are expected, at every level."""
    if isinstance(expected, dict) and isinstance(outcome, dict):
        return {name: included(value, outcome.get(name)) for name, value in expected.items()}
    return outcome


def _ends(request: bytes, sent: dict[str, Any]) -> bool:
    return str(sent.get(":last")).encode() in request.partition(b"\r\n")[0]


def parsed(request: bytes) -> dict[str, Any]:
    """The fields of a request and the members of its JSON."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(item.split(": ", 1) for item in fields)
    members = json.loads(body) if body else {}
    return {":line": line, **{name.lower(): value for name, value in headers.items()}, **members}
