"""From `up` to a key that opens a Core: what the README shows, step by step."""

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

UMLAUTS = "Berichte 2026/Übersicht für März.txt"
UMLAUTS_ENCODED = "/files/Berichte%202026/%C3%9Cbersicht%20f%C3%BCr%20M%C3%A4rz.txt"


@pytest.mark.requirement("CG-01", "CG-04")
def test_a_new_key_lists_the_files_of_a_core(running: Running) -> None:
    _, token = running.key()
    answer = running.open(token)
    assert answer.status_code == 200
    assert UMLAUTS in {entry["path"] for entry in answer.json()["entries"]}


@pytest.mark.requirement("CG-05")
def test_a_name_with_spaces_and_umlauts_is_decoded_once_and_opens(running: Running) -> None:
    _, token = running.key()
    answer = running.open(token, UMLAUTS_ENCODED)
    assert answer.status_code == 200
    assert answer.content == (ROOT / "examples" / "core-files" / UMLAUTS).read_bytes()


@pytest.mark.requirement("TR-07")
def test_a_wrong_key_is_refused_with_a_challenge(running: Running) -> None:
    answer = running.open("gtk_test_wrong")
    assert answer.status_code == 401
    assert answer.headers.get_list("WWW-Authenticate") == [
        'Bearer realm="gatehouse", error="invalid_token"',
        'ApiKey realm="gatehouse"',
    ]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "NOT_FOUND"


@pytest.mark.requirement("CG-06", "TR-09")
def test_beyond_its_limit_a_key_gets_429_and_when_to_come_back(running: Running) -> None:
    _, token = running.key(limits=[{"name": "requests", "quota": 3, "window_s": 3600}])
    answers = [running.open(token) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=3;w=3600'
    assert answers[3].headers["RateLimit"].startswith('"requests";r=0;t=')
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 1200
    assert answers[3].json()["code"] == "RATE_LIMITED"


@pytest.mark.requirement("CG-07")
def test_an_expired_key_opens_nothing(running: Running) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    _, token = running.key(expires_at=expires_at.isoformat())
    answer = running.open(token)
    while datetime.now(UTC) < expires_at:  # the gateway's clock decides, so ask until the second has come
        answer = running.open(token)
    answer = running.open(token)
    assert (answer.status_code, answer.json()["code"]) == (401, "EXPIRED")


@pytest.mark.requirement("TR-06", "TR-11")
def test_a_revoked_key_is_refused_on_the_next_request_and_the_trail_tells_its_life(running: Running) -> None:
    key_id, token = running.key()
    assert running.open(token).status_code == 200
    revoked = running.manage("POST", f"/v1/keys/{key_id}/revoke", {"reason": "the journey is over"})
    assert (revoked.status_code, revoked.json()["effective"]) == (200, "everywhere")
    assert running.open(token).status_code == 401
    trail = running.manage("GET", f"/v1/audit-events?target_id={key_id}").json()["events"]
    assert [event["action"] for event in trail] == ["key.revoke", "key.create"]
    assert token not in json.dumps(trail)


@pytest.mark.requirement("TR-05")
def test_a_key_of_the_other_environment_opens_nothing_here(running: Running) -> None:
    _, token = running.key(environment="live")
    answer = running.open(token)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_verify_and_the_proxy_agree(running: Running) -> None:
    key_id, token = running.key()
    verified = httpx.post(running.gateway + "/v1/keys/verify", json={"token": token, "core": "docs"}, timeout=30).json()
    assert (verified["valid"], verified["code"], verified["key_id"]) == (True, "VALID", key_id)
    running.manage("POST", f"/v1/keys/{key_id}/revoke", {})
    verified = httpx.post(running.gateway + "/v1/keys/verify", json={"token": token, "core": "docs"}, timeout=30).json()
    assert (verified["valid"], verified["code"], verified["key_id"]) == (False, "NOT_FOUND", None)
    assert running.open(token).json()["code"] == "NOT_FOUND"


@pytest.mark.requirement("CG-02", "CG-12")
def test_tokens_appear_in_no_log_and_no_metric(running: Running) -> None:
    _, token = running.key()
    running.open(token)
    httpx.post(running.gateway + "/v1/keys/verify", json={"token": token}, timeout=30)
    secret = token.rpartition("_")[2][12:]
    told = [path.read_text(errors="replace") for path in (running.home / "logs").glob("*.log")]
    told += [httpx.get(url + "/metrics", timeout=30).text for url in (running.gateway, running.console)]
    assert len(told) > 3
    for text in told:
        assert secret not in text
        assert running.admin_token not in text


def test_the_operators_command_line_walks_the_same_way(running: Running) -> None:
    def gatehouse(*arguments: str) -> Any:
        environ = {**os.environ, "GATEHOUSE_CONSOLE_URL": running.console, "GATEHOUSE_ADMIN_TOKEN": running.admin_token}
        command = [str(Path(sys.executable).parent / "gatehouse"), *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    made = gatehouse("keys", "create", "--name", "from the command line")
    assert running.open(made["token"]).status_code == 200
    assert made["key"]["id"] in {key["id"] for key in gatehouse("keys", "list")}
    gatehouse("keys", "revoke", made["key"]["id"])
    assert running.open(made["token"]).status_code == 401


@pytest.mark.requirement("CG-18", "ECS-01")
def test_the_gateway_runs_with_the_credentials_of_its_task_role_and_nothing_else(running: Running) -> None:
    """IAM is enforced in the emulator while the runtime runs: without credentials even an innocent call is refused."""
    stranger = boto3.client(
        "dynamodb",
        endpoint_url=running.emulator,
        region_name="eu-west-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wrong",
    )
    with pytest.raises(stranger.exceptions.ClientError):
        stranger.list_tables()
    for door in (running.gateway, running.console):
        assert httpx.get(door + "/readyz", timeout=30).status_code == 200
