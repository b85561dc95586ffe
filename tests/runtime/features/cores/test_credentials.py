"""Secrets with the credentials of Cores, and their URLs."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from gatehouse.core.cores import CoreSettings
from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.features.cores.credentials import RETRY_S, Credential, Credentials, parse_credential

from tests.cases import cases
from tests.runtime.core_records import instance
from tests.runtime.waiting import until

_CASES = cases(__file__)

SECRET = "k3yOfTheApplication"
URL = "https://api.example.com"


def value_for(url: str, core_url: str, declared: str = "authorization", **secret: str) -> str:
    credential = parse_credential(json.dumps({"url": url, "value": SECRET, **secret}))
    settings = CoreSettings(credential_header=declared)
    return credential.value_for(
        msgspec.structs.replace(instance("a"), url=core_url, settings=settings)
    )


@pytest.mark.parametrize(
    ("url", "core_url"),
    [
        (URL, URL),
        (URL, f"{URL}/v1"),
        ("HTTPS://API.example.com:443/", URL),
        (f"{URL}/v1/", f"{URL}/v1/chat"),
        (f"{URL}:8443", f"{URL}:8443"),
    ],
)
def test_credential_is_sent_below_its_url(url: str, core_url: str) -> None:
    assert value_for(url, core_url) == SECRET


@pytest.mark.parametrize(
    ("url", "core_url"),
    [
        (URL, "http://api.example.com"),
        (URL, "https://api.example.com.attacker.test"),
        (URL, f"{URL}:8443"),
        (f"{URL}:8443", URL),
        (URL, "https://other.example.com"),
        (f"{URL}/v1", URL),
        (f"{URL}/v1", f"{URL}/v10"),
    ],
)
def test_credential_is_not_sent_elsewhere(url: str, core_url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        value_for(url, core_url)
    assert SECRET not in f"{caught.value}{caught.value.detail}"


def test_credential_is_sent_in_its_header() -> None:
    assert value_for(URL, URL, "API-Key", header="api-key") == SECRET
    for declared, header in (("Origin", "Authorization"), ("Authorization", "Api-Key")):
        with pytest.raises(Unavailable, match="not available") as caught:
            value_for(URL, URL, declared, header=header)
        assert SECRET not in f"{caught.value}{caught.value.detail}"


@pytest.mark.parametrize(
    "text",
    [*_CASES["invalid_secret_is_rejected_without_its_text"], "\ud800"],
    ids=lambda text: text.encode("utf-8", "backslashreplace").decode(),
)
def test_invalid_secret_is_rejected_without_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"value|URL") as caught:
        parse_credential(text)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_missing_secrets_are_not_read_again_without_a_request() -> None:
    reads = list[str]()

    class Secrets:
        async def read(self, name: str) -> str:
            reads.append(name)
            raise NotFound

    secrets: Any = Secrets()
    now = [100.0]
    credentials = Credentials(secrets, "p/", lambda: now[0], lambda *_: None)
    settings = CoreSettings(credential_header="a")
    for waited_s, number in ((0, 1), (RETRY_S - 1, 1), (1, 2)):
        now[0] += waited_s
        with pytest.raises(Unavailable):
            await credentials.find("docs", settings)
        assert reads == ["p/docs"] * number
    await credentials.refresh(lambda _: settings)
    assert reads == ["p/docs"] * 2


async def test_credential_that_is_read_during_a_refresh_is_kept() -> None:
    reads, refreshed = list[str](), asyncio.Event()

    class Secrets:
        async def read(self, name: str) -> str:
            reads.append(name)
            await refreshed.wait()
            return json.dumps({"url": URL, "value": SECRET})

    secrets: Any = Secrets()
    credentials = Credentials(secrets, "p/", lambda: 0, lambda *_: None)
    settings = CoreSettings(credential_header="a")
    first = asyncio.create_task(credentials.find("docs", settings))
    await until(lambda: reads)
    await credentials.refresh(lambda _: settings)
    refreshed.set()
    assert await first is await credentials.find("docs", settings)
    assert reads == ["p/docs"]


def test_text_of_objects_contains_no_credential() -> None:
    credential = Credential(URL, SECRET)
    assert SECRET not in f"{credential!r} {credential} {[credential]}"
