"""Database login: URL, TLS and IAM tokens."""

import ssl
from urllib.parse import parse_qs

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.db.pool import login

URL = "postgresql://gatehouse_app@db.example.com:5433/gatehouse"


def test_url_parts_are_decoded() -> None:
    access = login("postgresql://us%40er:p%2Fw@[::1]/na%20me", "url")
    assert (access.user, access.host, access.port, access.database, access.password) == (
        "us@er",
        "::1",
        5432,
        "na me",
        "p/w",
    )


def test_repr_does_not_contain_the_password() -> None:
    assert "hidden" not in repr(login(URL, "password", "hidden"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a@h/d", "must begin with postgresql://"),
        ("postgresql://h/d", "must contain a user, a host and a database"),
        ("postgresql://a@h", "must contain a user, a host and a database"),
        ("postgresql://a@h:x/d", "has a port that is not a number"),
        ("postgresql://a:b[c@h/d", "password that is not percent-encoded"),
        ("postgresql://a:b\N{ACCOUNT OF}c@h/d", "password that is not percent-encoded"),
        ("postgresql://a@h/d?sslmode=maybe", "has an unknown sslmode; use one of disable, prefer"),
        ("postgresql://a@h/d?sslmode=require&x=1", "has unknown parameters: x"),
    ],
)
def test_invalid_url_is_rejected_without_repeating_it(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        login(url, "url")
    assert url not in error.value.public


def test_verify_full_checks_the_host_name() -> None:
    context = login(f"{URL}?sslmode=verify-full", "url").arguments()["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=prefer"])
def test_iam_token_requires_tls(mode: str) -> None:
    with pytest.raises(SettingsError, match="an IAM token is only sent over TLS"):
        login(URL + mode, "iam")


async def test_iam_password_is_a_token_for_host_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)  # an ECS task has AWS_REGION only
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    password = login(f"{URL}?sslmode=verify-full", "iam").password
    assert callable(password)
    address, _, query = (await password()).partition("?")
    assert address == "db.example.com:5433/"
    signed = parse_qs(query)
    assert (signed["Action"], signed["DBUser"], signed["X-Amz-Expires"]) == (
        ["connect"],
        ["gatehouse_app"],
        ["900"],
    )
