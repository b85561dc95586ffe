"""Credentials for Redis: validation of the URL, and the ElastiCache IAM token."""

from __future__ import annotations

from typing import Literal

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.redis.connection import redis_login


@pytest.mark.parametrize(
    ("url", "auth"),
    [
        ("http://h-canary", "url"),
        ("redis://h-canary:x", "url"),
        ("redis://h-canary/a", "url"),
        ("redis://h-canary?ssl=1", "url"),
        ("redis://u@h-canary", "iam"),
        ("rediss://h-canary", "iam"),
    ],
)
def test_invalid_redis_url_is_rejected_without_quoting_it(
    url: str, auth: Literal["iam", "url"]
) -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_REDIS_URL") as error:
        redis_login(url, auth, "cluster")
    assert "canary" not in str(error.value)


@pytest.mark.requirement("ECS-01")
async def test_iam_token_is_presigned_connect_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    password = redis_login(
        "rediss://gateway@cache.example:6379/0", "iam", "Gatehouse-Dev-Cache"
    ).password
    assert callable(password)
    token = await password()
    assert token.startswith(
        "gatehouse-dev-cache/?Action=connect&User=gateway&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    )
    assert "eu-west-1%2Felasticache%2Faws4_request" in token
    assert "X-Amz-Expires=900" in token
    assert "X-Amz-Signature=" in token
