"""Restart of services after a rotation."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from sandbox.emulator import sessions
from tests.runtime.functions.function_loader import load

restart = load("restart")
ROTATED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BEFORE, AFTER = ROTATED - timedelta(seconds=1), ROTATED + timedelta(seconds=1)
EVENT = {
    "cluster": "main",
    "services": [
        {"service": "console", "secrets": ["pepper", "session-key"]},
        {"service": "gateway", "secrets": ["pepper"]},
    ],
}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Stubber]]:
    created = sessions.session("x", "x", region="eu-west-1")
    real: dict[str, Any] = {
        "ecs": created.client("ecs"),
        "secretsmanager": created.client("secretsmanager"),
    }
    monkeypatch.setattr(restart.boto3, "client", real.__getitem__)
    stubs = {name: Stubber(client) for name, client in real.items()}
    for stub in stubs.values():
        stub.activate()
    yield stubs
    for stub in stubs.values():
        stub.assert_no_pending_responses()


def describe(stub: Stubber, **deployments: list[dict[str, Any]]) -> None:
    services = [
        {"serviceName": name, "status": "ACTIVE", "deployments": rows}
        for name, rows in deployments.items()
    ]
    missing = [
        {"arn": name, "reason": "MISSING"}
        for name in ("console", "gateway")
        if name not in deployments
    ]
    parameters = {"cluster": "main", "services": ["console", "gateway"]}
    stub.add_response("describe_services", {"services": services, "failures": missing}, parameters)


def deployment(
    started: datetime, state: str = "COMPLETED", status: str = "PRIMARY"
) -> dict[str, Any]:
    return {"status": status, "createdAt": started, "rolloutState": state}


def rotated(stub: Stubber, **secrets: datetime | None) -> None:
    for name, time in secrets.items():
        response = {"Name": name} | ({"LastRotatedDate": time} if time else {})
        stub.add_response("describe_secret", response, {"SecretId": name.replace("_", "-")})


@pytest.mark.parametrize(
    ("console", "session_key", "restarted"), [(BEFORE, None, "console"), (AFTER, BEFORE, "gateway")]
)
def test_services_are_restarted_one_after_the_other(
    clients: dict[str, Stubber], console: datetime, session_key: datetime | None, restarted: str
) -> None:
    describe(clients["ecs"], console=[deployment(console)], gateway=[deployment(BEFORE)])
    rotated(clients["secretsmanager"], pepper=ROTATED, session_key=session_key)
    if restarted == "gateway":
        rotated(clients["secretsmanager"], pepper=ROTATED)
    clients["ecs"].add_response(
        "update_service", {}, {"cluster": "main", "service": restarted, "forceNewDeployment": True}
    )
    assert restart.handler(EVENT, None) == {"restarted": restarted}


@pytest.mark.parametrize(
    "console",
    [
        [deployment(BEFORE, "IN_PROGRESS")],
        [deployment(AFTER, "IN_PROGRESS"), deployment(BEFORE, "COMPLETED", "ACTIVE")],
    ],
)
def test_nothing_is_restarted_during_a_deployment(
    clients: dict[str, Stubber], console: list[dict[str, Any]]
) -> None:
    describe(clients["ecs"], console=console, gateway=[deployment(BEFORE)])
    assert restart.handler(EVENT, None) == {"reason": "a deployment is in progress"}


@pytest.mark.parametrize(
    "services", [{"console": [deployment(ROTATED)], "gateway": [deployment(AFTER)]}, {}]
)
def test_current_and_missing_services_are_not_restarted(
    clients: dict[str, Stubber], services: dict[str, Any]
) -> None:
    describe(clients["ecs"], **services)
    rotated(clients["secretsmanager"], pepper=ROTATED, session_key=ROTATED)
    rotated(clients["secretsmanager"], pepper=ROTATED)
    assert restart.handler(EVENT, None) == {"reason": "all services use the current secrets"}


@pytest.mark.parametrize(
    "event",
    [{}, {"cluster": "main"}, {"cluster": "main", "services": []}, {"services": EVENT["services"]}],
)
def test_invalid_event_is_rejected(clients: dict[str, Stubber], event: dict[str, Any]) -> None:
    with pytest.raises(restart.InvalidEvent):
        restart.handler(event, None)
