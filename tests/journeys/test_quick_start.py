"""The steps of the README: keys, a Core behind the gateway, limits, revocation and the CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.journeys.conftest import ROOT, Running

FILE = "Berichte 2026/Übersicht für März.txt"
FILE_ENCODED = "/files/Berichte%202026/%C3%9Cbersicht%20f%C3%BCr%20M%C3%A4rz.txt"


@pytest.mark.requirement("CG-01", "CG-04")
def test_key_lists_the_files_of_a_core(running: Running) -> None:
    _, token = running.key()
    response = running.open(token)
    assert response.status_code == 200
    assert FILE in {entry["path"] for entry in response.json()["entries"]}


@pytest.mark.requirement("CG-05")
def test_file_name_with_spaces_and_umlauts(running: Running) -> None:
    _, token = running.key()
    response = running.open(token, FILE_ENCODED)
    assert response.status_code == 200
    assert response.content == (ROOT / "examples" / "core-files" / FILE).read_bytes()


@pytest.mark.requirement("TR-07")
def test_unknown_key_gets_401_with_challenges(running: Running) -> None:
    response = running.open("gtk_test_wrong")
    assert response.status_code == 401
    assert response.headers.get_list("WWW-Authenticate") == [
        'Bearer realm="gatehouse", error="invalid_token"',
        'ApiKey realm="gatehouse"',
    ]
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "NOT_FOUND"


@pytest.mark.requirement("CG-06", "TR-09")
def test_exceeded_quota_gets_429_with_retry_after(running: Running) -> None:
    _, token = running.key(limits=[{"name": "requests", "quota": 3, "window_s": 3600}])
    responses = [running.open(token) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert responses[0].headers["RateLimit-Policy"] == '"requests";q=3;w=3600'
    assert responses[3].headers["RateLimit"].startswith('"requests";r=0;t=')
    assert 1 <= int(responses[3].headers["Retry-After"]) <= 1200
    assert responses[3].json()["code"] == "RATE_LIMITED"


@pytest.mark.requirement("CG-07")
def test_expired_key_is_denied(running: Running) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    _, token = running.key(expires_at=expires_at.isoformat())
    response = running.open(token)
    while datetime.now(UTC) < expires_at:  # the gateway compares with its own clock
        response = running.open(token)
    response = running.open(token)
    assert (response.status_code, response.json()["code"]) == (401, "EXPIRED")


@pytest.mark.requirement("TR-06", "TR-11")
def test_revoked_key_is_denied_and_audited(running: Running) -> None:
    key_id, token = running.key()
    assert running.open(token).status_code == 200
    revoked = running.manage("POST", f"/v1/keys/{key_id}/revoke", {"reason": "no longer used"})
    assert (revoked.status_code, revoked.json()["effective"]) == (200, "everywhere")
    assert running.open(token).status_code == 401
    trail = running.manage("GET", f"/v1/audit-events?target_id={key_id}").json()["events"]
    assert [event["action"] for event in trail] == ["key.revoke", "key.create"]
    assert token not in json.dumps(trail)


@pytest.mark.requirement("TR-05")
def test_key_of_another_environment_is_denied(running: Running) -> None:
    _, token = running.key(environment="live")
    response = running.open(token)
    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")


def test_verify_endpoint_and_proxy_agree(running: Running) -> None:
    key_id, token = running.key()
    verified = httpx.post(running.gateway + "/v1/keys/verify", json={"token": token, "core": "docs"}, timeout=30).json()
    assert (verified["valid"], verified["code"], verified["key_id"]) == (True, "VALID", key_id)
    running.manage("POST", f"/v1/keys/{key_id}/revoke", {})
    verified = httpx.post(running.gateway + "/v1/keys/verify", json={"token": token, "core": "docs"}, timeout=30).json()
    assert (verified["valid"], verified["code"], verified["key_id"]) == (False, "NOT_FOUND", None)
    assert running.open(token).json()["code"] == "NOT_FOUND"


@pytest.mark.requirement("CG-02", "CG-12")
def test_logs_and_metrics_have_no_tokens(running: Running) -> None:
    _, token = running.key()
    running.open(token)
    httpx.post(running.gateway + "/v1/keys/verify", json={"token": token}, timeout=30)
    secret = token.rpartition("_")[2][12:]
    texts = [path.read_text(errors="replace") for path in (running.home / "logs").glob("*.log")]
    texts += [httpx.get(url + "/metrics", timeout=30).text for url in (running.gateway, running.console)]
    assert len(texts) > 3
    for text in texts:
        assert secret not in text
        assert running.admin_token not in text


def test_cli_creates_lists_and_revokes_keys(running: Running) -> None:
    def gatehouse(*arguments: str) -> Any:
        environ = {**os.environ, "GATEHOUSE_CONSOLE_URL": running.console, "GATEHOUSE_ADMIN_TOKEN": running.admin_token}
        command = [str(Path(sys.executable).parent / "gatehouse"), *arguments, "--json"]
        result = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    created = gatehouse("keys", "create", "--name", "from the command line")
    assert running.open(created["token"]).status_code == 200
    assert created["key"]["id"] in {key["id"] for key in gatehouse("keys", "list")}
    gatehouse("keys", "revoke", created["key"]["id"])
    assert running.open(created["token"]).status_code == 401


@pytest.mark.requirement("CG-18", "ECS-01")
def test_iam_is_enforced_while_services_are_ready(running: Running) -> None:
    unauthenticated = boto3.client(
        "dynamodb",
        endpoint_url=running.emulator,
        region_name="eu-west-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wrong",
    )
    with pytest.raises(unauthenticated.exceptions.ClientError):
        unauthenticated.list_tables()
    for url in (running.gateway, running.console):
        assert httpx.get(url + "/readyz", timeout=30).status_code == 200
