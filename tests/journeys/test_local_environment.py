"""Key verification, logs and IAM of the services that `make up` starts."""

from __future__ import annotations

import boto3
import httpx
import pytest

from tests.journeys.conftest import ROOT, Running

FILE = "Berichte 2026/Übersicht für März.txt"
FILE_ENCODED = "/files/Berichte%202026/%C3%9Cbersicht%20f%C3%BCr%20M%C3%A4rz.txt"


@pytest.mark.requirement("CG-05")
def test_file_name_with_spaces_and_umlauts(running: Running) -> None:
    _, token = running.key()
    response = running.open(token, FILE_ENCODED)
    assert response.status_code == 200
    assert response.content == (ROOT / "examples" / "core-files" / FILE).read_bytes()


@pytest.mark.requirement("CG-02", "CG-12")
def test_logs_and_metrics_have_no_tokens(running: Running) -> None:
    _, token = running.key()
    running.open(token)
    httpx.post(running.gateway + "/v1/keys/verify", json={"token": token}, timeout=30)
    secret = token.rpartition("_")[2][12:]
    texts = [path.read_text(errors="replace") for path in (running.home / "logs").glob("*.log")]
    texts += [
        httpx.get(url + "/metrics", timeout=30).text for url in (running.gateway, running.console)
    ]
    assert len(texts) > 3
    for text in texts:
        assert secret not in text
        assert running.admin_token not in text


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
