"""The database's URL, read strictly, and tokens in place of passwords."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs

import pytest
from gatehouse.db.connection import login
from gatehouse.errors import SettingsError

URL = "postgresql://gatehouse_app@db.example.com:5433/gatehouse"


def test_the_parts_of_a_url_are_decoded() -> None:
    found = login("postgresql://us%40er:p%2Fw@[::1]/na%20me", "url")
    assert (found.user, found.host, found.port, found.database, found.password) == ("us@er", "::1", 5432, "na me", "p/w")


def test_a_login_never_shows_its_password() -> None:
    assert "hidden" not in repr(login(URL, "password", "hidden"))


def test_a_password_of_its_own_is_taken_instead_of_the_one_in_the_url() -> None:
    assert login("postgresql://a:in-url@h/d", "password", "injected").password == "injected"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a@h/d", "must begin with postgresql://"),
        ("postgresql://h/d", "must name a user, a host and a database"),
        ("postgresql://a@h", "must name a user, a host and a database"),
        ("postgresql://a@h:x/d", "has a port that is no number"),
        ("postgresql://a@h/d?sslmode=maybe", "has an sslmode that is not known; use one of disable, prefer"),
        ("postgresql://a@h/d?sslmode=require&x=1", "has parameters that are not known: x"),
    ],
)
def test_a_url_that_is_wrong_is_refused_without_being_repeated(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refusal:
        login(url, "url")
    assert url not in refusal.value.public


def test_full_verification_checks_the_name_of_the_server() -> None:
    context = login(f"{URL}?sslmode=verify-full", "url").arguments()["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_authorities_that_cannot_be_read_are_named() -> None:
    with pytest.raises(SettingsError, match="the certificates in /nowhere cannot be read"):
        login(f"{URL}?sslmode=verify-full&sslrootcert=/nowhere", "url").arguments()


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=prefer"])
def test_an_iam_token_is_never_sent_in_clear(mode: str) -> None:
    with pytest.raises(SettingsError, match="an IAM token is only ever sent encrypted"):
        login(URL + mode, "iam")


@pytest.mark.requirement("ECS-01")
async def test_an_iam_login_signs_a_token_for_this_server_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)  # a task has AWS_REGION alone
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    password = login(f"{URL}?sslmode=verify-full", "iam").password
    assert callable(password)
    address, _, query = (await password()).partition("?")
    assert address == "db.example.com:5433/"
    signed = parse_qs(query)
    assert (signed["Action"], signed["DBUser"], signed["X-Amz-Expires"]) == (["connect"], ["gatehouse_app"], ["900"])
