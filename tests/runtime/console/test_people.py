"""People with a JWT of the configured issuer: let in with the roles of their claim, and with nothing else than a good token."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console
from gatehouse.errors import SettingsError
from gatehouse.identity.models import Role
from gatehouse.identity.oidc import KEYS_S, REFETCH_S, SKEW_S, STALE_S, Issuer, OidcIdentityProvider
from gatehouse.settings import load
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from tests.runtime.clocks import ManualClock
from tests.runtime.console.conftest import Console

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"})
with pytest.warns(SecurityWarning, match="2048"):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak", "use": "sig"})


@dataclass
class Provider:
    """An issuer on this machine. `asked` counts what is fetched."""

    port: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    away: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.asked.append(path)
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": self.keys},
        }
        body = json.dumps(documents[path]).encode()
        status = "503 Away" if self.away else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    def token(self, key: Any = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        said = {"iss": self.url, "aud": "gatehouse", "sub": "alice", "exp": NOW + 300, "groups": ["platform"], **claims}
        kept = {name: value for name, value in said.items() if value is not None}
        named = {"alg": alg, "kid": key.kid, **(header or {})}
        return jwt.encode(named, kept, key, algorithms=["RS256", "ES256", "HS256", "RS512"])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Desk:
    provider: Provider
    clock: ManualClock
    people: OidcIdentityProvider


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    provider, clock = Provider(), ManualClock(float(NOW))
    provider.keys = [RSA.as_dict(private=False), EC.as_dict(private=False), WEAK.as_dict(private=False)]
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    roles = {"platform": Role.OWNER, "on-call": Role.OPERATOR, "books": Role.AUDITOR}
    yield Desk(provider, clock, OidcIdentityProvider(Issuer(provider.url, "gatehouse", "", "groups", roles), clock))
    server.close()


async def test_a_good_token_of_either_algorithm_is_a_person_with_the_roles_of_the_claim(desk: Desk) -> None:
    person = await desk.people.person(desk.provider.token(groups=["on-call", "books", "golf"]))
    assert person is not None
    assert (person.subject, person.roles) == ("alice", frozenset({Role.OPERATOR, Role.AUDITOR}))
    assert await desk.people.person(desk.provider.token(EC, "ES256", aud=["other", "gatehouse"], groups="platform"))
    assert desk.provider.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": None},
        {"exp": NOW - SKEW_S - 1},
        {"exp": "tomorrow"},
        {"nbf": NOW + SKEW_S + 5},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 201},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_nobody(desk: Desk, claims: dict[str, Any]) -> None:
    assert await desk.people.person(desk.provider.token(**claims)) is None


async def test_clocks_may_differ_a_little(desk: Desk) -> None:
    assert await desk.people.person(desk.provider.token(exp=NOW - SKEW_S + 2, nbf=NOW + SKEW_S - 2)) is not None


async def test_no_token_chooses_its_own_algorithm_or_key(desk: Desk) -> None:
    good = desk.provider.token()
    # The public key as if it were a shared secret, which no library would do for us.
    signed = f"{_base64(json.dumps({'alg': 'HS256', 'kid': 'r1'}).encode())}.{good.split('.')[1]}"
    mac = hmac.digest(RSA.as_pem(private=False), signed.encode(), "sha256")
    unsigned = f"{_base64(json.dumps({'alg': 'none', 'kid': 'r1'}).encode())}.{good.split('.')[1]}."
    stranger = RSAKey.generate_key(2048, {"kid": "r1"})
    for token in (
        f"{signed}.{_base64(mac)}",
        unsigned,
        desk.provider.token(alg="RS512"),
        desk.provider.token(stranger),
        desk.provider.token(WEAK),
        desk.provider.token(header={"typ": "logout+jwt"}),
        good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        good.replace(".", "..", 1),
        "a.b.c",
        "." * 2,
        "x" * 20_000 + "..",
        "ü.ü.ü",
    ):
        assert await desk.people.person(token) is None


@pytest.mark.parametrize("nested", ["[" * 4000 + "]" * 4000, '{"a":' * 1500 + "1" + "}" * 1500], ids=["lists", "objects"])
async def test_a_token_whose_header_has_no_bottom_is_nobody(desk: Desk, nested: str) -> None:
    header = _base64(f'{{"alg":"RS256","kid":"r1","x":{nested}}}'.encode())
    assert await desk.people.person(f"{header}.e30.AAAA") is None
    assert desk.provider.asked == []


@pytest.mark.parametrize(
    "header", [b"[]", b"null", b"7", b'{"alg":["RS256"]}', b'{"alg":"RS256","typ":[]}', b"\xff", b'{"alg":"\\ud800"}']
)
async def test_a_token_with_another_header_than_an_object_of_texts_is_nobody(desk: Desk, header: bytes) -> None:
    assert await desk.people.person(f"{_base64(header)}.e30.AAAA") is None


async def test_a_new_key_of_the_issuer_is_fetched_and_strangers_cannot_have_it_asked_for_at_will(desk: Desk) -> None:
    await desk.people.person(desk.provider.token())
    fresh = RSAKey.generate_key(2048, {"kid": "r2", "use": "sig"})
    desk.provider.keys = [fresh.as_dict(private=False)]
    before = len(desk.provider.asked)
    for _ in range(20):
        assert await desk.people.person(desk.provider.token(fresh)) is None
    assert len(desk.provider.asked) == before
    desk.clock.advance(REFETCH_S)
    assert await desk.people.person(desk.provider.token(fresh)) is not None
    assert await desk.people.person(desk.provider.token()) is None


async def test_an_issuer_that_is_away_lets_known_keys_go_on_for_a_day(desk: Desk) -> None:
    assert await desk.people.person(desk.provider.token()) is not None
    desk.provider.away = True
    desk.clock.advance(KEYS_S)
    assert await desk.people.person(desk.provider.token(exp=NOW + 10**6)) is not None
    desk.clock.advance(STALE_S)
    with pytest.raises(Exception, match="People cannot sign in at the moment"):
        await desk.people.person(desk.provider.token(exp=NOW + 10**6))


async def test_a_person_manages_in_their_own_name_within_their_roles(door: Console, desk: Desk) -> None:
    transport = httpx.ASGITransport(console.create(replace(door.parts, identity_provider=desk.people)))
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as client:

        def sent(**claims: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {desk.provider.token(**claims)}"}

        made = await client.post("/v1/keys", json={"name": "x"}, headers=sent(groups=["on-call"]))
        assert (made.status_code, made.json()["key"]["created_by"]) == (201, "person:alice")
        assert (await client.get("/v1/keys", headers=sent(groups=["books"]))).status_code == 200
        assert (await client.post("/v1/keys", json={"name": "x"}, headers=sent(groups=["books"]))).status_code == 403
        assert (await client.get("/v1/keys", headers=sent(groups=["golf"]))).status_code == 403
        assert (await client.get("/v1/keys", headers=sent(aud="another"))).status_code == 401
        assert (await client.get("/v1/keys", headers=door.as_(str(door.parts.bootstrap_token)))).status_code == 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"OIDC_ISSUER": "https://login.example"}, "requires GATEHOUSE_OIDC_AUDIENCE and GATEHOUSE_OIDC_ROLES"),
        ({"OIDC_ISSUER": "http://login.example"}, "GATEHOUSE_OIDC_ISSUER: must be an https:// URL"),
        ({"OIDC_ROLES": "platform=king"}, "GATEHOUSE_OIDC_ROLES: must be comma-separated value=role"),
    ],
)
def test_settings_of_an_issuer_that_do_not_fit_are_named(more: dict[str, str], message: str) -> None:
    base = {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": "postgresql://u@h/d"}
    with pytest.raises(SettingsError, match=message):
        load({**base, **{f"GATEHOUSE_{name}": value for name, value in more.items()}})
