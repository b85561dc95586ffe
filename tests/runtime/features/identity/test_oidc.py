"""Users with an ID token from the configured issuer."""

import asyncio
import dataclasses
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.roles import Role
from gatehouse.features.identity.issuer import CACHE_S, REFETCH_S, STALE_S, _Cache
from gatehouse.features.identity.oidc import SKEW_S, OidcIdentityProvider
from gatehouse.services.console.lockout import FAILURES_MAX
from joserfc.jwk import RSAKey

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.features.identity.local_issuer import (
    EC,
    NOW,
    RSA,
    WEAK,
    IssuerSetup,
    base64url,
    running_issuer,
)


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerSetup]:
    async with running_issuer() as setup:
        yield setup


def reading(issuer: IssuerSetup, claim: str) -> OidcIdentityProvider:
    provider = issuer.identity_provider
    return dataclasses.replace(provider, issuer=dataclasses.replace(provider.issuer, claim=claim))


async def test_valid_id_token_has_the_roles_of_its_claim(issuer: IssuerSetup) -> None:
    longest = "alice".ljust(255, "0")  # OpenID Connect Core 1.0, section 2
    person = await issuer.identify(groups=["on-call", "books", "golf"], sub=longest)
    assert person is not None
    assert (person.subject, person.roles) == (longest, frozenset({Role.OPERATOR, Role.AUDITOR}))
    assert await issuer.identify(EC, "ES256", aud=["other", "gatehouse"], groups="platform")
    assert issuer.provider.requests == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["books"]}}),
        ("https://gatehouse.example.com/roles", {"https://gatehouse.example.com/roles": ["books"]}),
        ("example.com.roles", {"example.com": {"roles": ["books"]}, "example": "other"}),
    ],
    ids=["nested", "name with dots", "nested in a name with dots"],
)
async def test_claim_with_the_roles_can_be_nested_or_have_dots(
    issuer: IssuerSetup, claim: str, claims: dict[str, Any]
) -> None:
    person = await reading(issuer, claim).identify(issuer.provider.token(**claims))
    assert person is not None
    assert person.roles == frozenset({Role.AUDITOR})


async def test_address_that_is_not_verified_grants_no_role(issuer: IssuerSetup) -> None:
    provider, roles = reading(issuer, "email"), list[set[Role]]()
    for verified in (None, True, "true", False, "false"):
        token = issuer.provider.token(email="books", email_verified=verified)
        person = await provider.identify(token)
        assert person is not None
        roles.append({*person.roles})
    assert roles == [set(), {Role.AUDITOR}, {Role.AUDITOR}, set(), set()]
    assert await issuer.identify(email_verified=False) == await issuer.identify()


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
        {"sub": "x" * 256},
    ],
    ids=str,
)
async def test_token_with_invalid_claim_is_denied(
    issuer: IssuerSetup, claims: dict[str, Any]
) -> None:
    assert await issuer.identify(**claims) is None


async def test_requests_wait_for_one_fetch_of_an_issuer_that_does_not_respond() -> None:
    clock, fetches, ends = ManualClock(NOW), list[float](), asyncio.Event()

    async def load() -> None:
        fetches.append(clock.now())
        await ends.wait()
        raise TimeoutError

    cache = _Cache("keys", load, clock)
    requests = [asyncio.create_task(cache.get()) for _ in range(8)]
    await asyncio.sleep(0)
    clock.advance(2 * REFETCH_S)
    ends.set()
    results = await asyncio.gather(*requests, cache.get(), return_exceptions=True)
    assert ([type(result) for result in results], len(fetches)) == ([Unavailable] * 9, 1)


async def test_cached_keys_do_not_wait_for_an_issuer_that_does_not_respond() -> None:
    clock, ends = ManualClock(NOW), asyncio.Event()
    ends.set()
    cache = _Cache("keys", ends.wait, clock)
    assert await cache.get()
    clock.advance(CACHE_S)
    ends.clear()
    async with asyncio.timeout(60):
        assert await cache.get()
    ends.set()


async def test_clock_skew_is_tolerated(issuer: IssuerSetup) -> None:
    assert await issuer.identify(exp=NOW - SKEW_S + 2, nbf=NOW + SKEW_S - 2) is not None


async def test_token_cannot_choose_its_algorithm_or_key(issuer: IssuerSetup) -> None:
    valid = issuer.provider.token()
    # HMAC with the public key as secret; the library rejects this combination.
    signed = (
        f"{base64url(json.dumps({'alg': 'HS256', 'kid': 'r1'}).encode())}.{valid.split('.')[1]}"
    )
    mac = hmac.digest(RSA.as_pem(private=False), signed.encode(), "sha256")
    unsigned = (
        f"{base64url(json.dumps({'alg': 'none', 'kid': 'r1'}).encode())}.{valid.split('.')[1]}."
    )
    other_key = RSAKey.generate_key(2048, {"kid": "r1"})
    for token in (
        f"{signed}.{base64url(mac)}",
        unsigned,
        issuer.provider.token(alg="RS512"),
        issuer.provider.token(other_key),
        issuer.provider.token(WEAK),
        issuer.provider.token(header={"typ": "logout+jwt"}),
        valid[:-4] + ("AAAA" if valid[-4:] != "AAAA" else "BBBB"),
        valid.replace(".", "..", 1),
        "a.b.c",
        "." * 2,
        "x" * 20_000 + "..",
        "ü.ü.ü",
    ):
        assert await issuer.identity_provider.identify(token) is None


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b"7",
        b'{"alg":["RS256"]}',
        b'{"alg":"RS256","typ":[]}',
        b"\xff",
        b'{"alg":"\\ud800"}',
        b'{"alg":"RS256","kid":"r1","x":%b}' % (b"[" * 4000 + b"]" * 4000),
        b'{"alg":"RS256","kid":"r1","x":%b}' % (b'{"a":' * 1500 + b"1" + b"}" * 1500),
    ],
    ids=lambda header: str(header[:30]),
)
async def test_malformed_token_header_is_denied(issuer: IssuerSetup, header: bytes) -> None:
    assert await issuer.identity_provider.identify(f"{base64url(header)}.e30.AAAA") is None
    assert issuer.provider.requests == []


async def test_new_issuer_key_is_fetched_at_a_bounded_rate(issuer: IssuerSetup) -> None:
    await issuer.identify()
    fresh, private = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("r2", "r3"))
    issuer.provider.keys = [fresh.as_dict(private=False), private.as_dict(private=True)]
    before = len(issuer.provider.requests)
    for _ in range(20):
        assert await issuer.identify(fresh) is None
    assert len(issuer.provider.requests) == before
    issuer.clock.correct(-SKEW_S / 2)
    issuer.clock.advance(REFETCH_S)
    assert await issuer.identify(fresh) is not None
    assert await issuer.identify() is None
    issuer.clock.advance(REFETCH_S)
    assert await issuer.identify(private) is None


@pytest.mark.parametrize("key", ["text", {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": 1}])
async def test_malformed_issuer_keys_are_unavailable(issuer: IssuerSetup, key: Any) -> None:
    issuer.provider.keys = [key]
    with pytest.raises(Unavailable):
        await issuer.identify()


async def test_issuer_keys_are_cached_for_a_day(issuer: IssuerSetup) -> None:
    assert await issuer.identify() is not None
    await issuer.identity_provider.documents.metadata()
    assert len(issuer.provider.requests) == 2
    issuer.provider.unavailable = True
    issuer.clock.advance(CACHE_S)
    assert await issuer.identify(exp=NOW + 10**6) is not None
    await issuer.identity_provider.documents.metadata()
    issuer.clock.advance(STALE_S)
    with pytest.raises(
        Exception, match="Sign-in with the identity provider is temporarily unavailable"
    ):
        await issuer.identify(exp=NOW + 10**6)


async def test_withdrawn_issuer_keys_are_not_used(issuer: IssuerSetup) -> None:
    assert await issuer.identify() is not None
    issuer.provider.keys = []
    issuer.clock.advance(CACHE_S)
    async with asyncio.timeout(60):
        while await issuer.identify(exp=NOW + 10**6) is not None:  # until they were fetched
            await asyncio.sleep(0)


@pytest.mark.bound("identity.issuer:TIMEOUT_S")
async def test_silent_provider_is_unavailable(issuer: IssuerSetup) -> None:
    issuer.provider.silent = True
    with pytest.raises(Unavailable):
        await issuer.identify()
    assert len(issuer.provider.requests) >= 1


async def test_user_acts_in_their_own_name_within_their_roles(
    console: Console, issuer: IssuerSetup
) -> None:
    async with console.connect(token="", identity_provider=issuer.identity_provider) as client:

        def sent(**claims: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {issuer.provider.token(**claims)}"}

        created = await client.post(
            "/v1/keys", json={"name": "x"}, headers=sent(groups=["on-call"])
        )
        assert (created.status_code, created.json()["key"]["created_by"]) == (201, "person:alice")
        assert (
            await client.post("/v1/keys", json={"name": "x"}, headers=sent(groups=["books"]))
        ).status_code == 403
        assert (await client.get("/v1/keys", headers=sent(groups=["golf"]))).status_code == 403
        # Invalid tokens of others in the same network lock out no user.
        for _ in range(FAILURES_MAX + 1):
            assert (await client.get("/v1/keys", headers=sent(aud="another"))).status_code == 401
        assert (await client.get("/v1/keys", headers=sent(groups=["books"]))).status_code == 200
        assert (await client.get("/v1/keys", headers=console.as_(BOOTSTRAP))).status_code == 200
