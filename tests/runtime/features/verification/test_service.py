"""The work of a denial."""

from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.http import http_signatures
from gatehouse.core.keys import KeyEnvironment, KeyRecord, KeyState, RateLimit
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds
from gatehouse.core.tokens.token import Pepper, build, checksum
from gatehouse.core.verification import Charge, Code, CreditState, VerificationRequest
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.verification.cache import KeyCache, Prefilter
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.features.verification.service import VerificationService

from tests.runtime.key_records import RECORD

SECRET = bytes(reversed(range(32)))
PEPPER = Pepper({1: bytes(32)}, 1)
TEST = KeyEnvironment.TEST
LIMIT = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)
REQUEST = VerificationRequest(scopes=("cores:read",))
_UNUSED: Any = None


def service_with() -> tuple[VerificationService, str, KeyRecord]:
    token = build("gtk", TEST, bytes(12), bytes(32), pepper=PEPPER, generation=1)
    assert token is not None
    record = msgspec.structs.replace(
        RECORD, id=token.id, digest=PEPPER.digest(token.text, 1) or b""
    )
    cache = KeyCache(10)
    cache.begin_load([token.id])
    cache.end_load(token.id, record)
    keys = KeyLoader(_UNUSED, cache, lambda: 0)

    async def imported_ids() -> ImportedKeyIds:
        return ImportedKeyIds(PEPPER)

    service = VerificationService(
        keys=keys,
        finder=KeyFinder(PEPPER, "gtk", keys.find, imported_ids, cache.find),
        limits=RateLimits(),
        credits=_UNUSED,
        nonces=None,
        on_old_pepper=lambda *_: None,
        clock=Clock(),
        environment=TEST,
        default_limits=(LIMIT,),
        max_staleness_ms=5000,
    )
    return service, token.text, record


class CountingPepper(Pepper):
    def __init__(self, generations: int = 1) -> None:
        super().__init__({number + 1: bytes([number] * 32) for number in range(generations)}, 1)
        self.count = 0

    def hmac(self, text: str, generation: int | None = None) -> bytes:
        self.count += 1
        return super().hmac(text, generation)


@pytest.mark.parametrize("is_issued", [True, False])
async def test_denial_computes_two_hmacs(*, is_issued: bool) -> None:
    service, _, record = service_with()
    wrong = build("gtk", TEST, bytes(12), SECRET, pepper=PEPPER, generation=1).text
    if not is_issued:
        head = wrong[:-6].replace(record.id, "0123456789ab")
        wrong = head + checksum(head)
    pepper = CountingPepper()
    plausible = Prefilter(pepper).plausible
    service = replace(service, finder=replace(service.finder, pepper=pepper, plausible=plausible))
    assert (await service.verify(wrong, REQUEST)).code is Code.NOT_FOUND
    assert pepper.count == 2


async def test_imported_token_costs_two_hmacs_per_generation_and_one_lookup() -> None:
    service, pepper, token = service_with()[0], CountingPepper(50), "imported-token"
    imported = ImportedKeyIds(pepper)
    for generation in pepper.generations:
        imported.add("sha256", generation)
    text, ids = imported.candidates(token)
    digest, pepper.count = pepper.digest(text, 1), 0
    for key_id in ids:
        service.keys.cache.end_load(key_id, None)
    plausible, imported_ids = Prefilter(pepper).plausible, AsyncMock(return_value=imported)
    finder = replace(service.finder, pepper=pepper, imported_ids=imported_ids, plausible=plausible)
    assert not (await replace(service, finder=finder).verify(token, REQUEST)).valid
    assert pepper.count <= 2 * len(ids) + 1
    record = msgspec.structs.replace(RECORD, id=ids[-1], digest=digest, scheme="sha256")
    service.keys.cache.end_load(record.id, record)
    finder = replace(finder, find=AsyncMock(side_effect=Unavailable))
    assert (await replace(service, finder=finder).verify(token, REQUEST)).valid


@pytest.mark.parametrize("column", ["has_credits", "public_key"])
async def test_request_that_waits_ends_with_its_key(
    monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    service, token, record = service_with()
    cache, store = service.keys.cache, AsyncMock()
    cache.change(msgspec.structs.replace(record, **{column: True}, version=2))

    async def wait(*_: object, **__: object) -> dict[str, CreditState]:
        cache.change(msgspec.structs.replace(record, state=KeyState.REVOKED, version=3))
        return {record.subject: CreditState(9, exceeded=False, refills_at=None)}

    store.spend = store.is_new = wait
    monkeypatch.setattr(http_signatures, "check", Mock())
    service = replace(service, credits=store, nonces=store)
    request = msgspec.structs.replace(REQUEST, signed=store)
    assert (await service.verify(token, request)).code is Code.REVOKED
    assert store.refund.await_count == (column == "has_credits")


@pytest.mark.parametrize(
    ("cost", "used", "code", "kept_s"),
    [
        (1, 0, Code.VALID, http_signatures.NONCE_S),
        (0, 0, Code.VALID, 0),
        (1, LIMIT.burst, Code.RATE_LIMITED, None),
        (0, LIMIT.burst, Code.RATE_LIMITED, None),
    ],
)
async def test_nonce_is_stored_for_a_charged_request_within_limits(
    monkeypatch: pytest.MonkeyPatch, cost: int, used: int, code: Code, kept_s: int | None
) -> None:
    """Redis stores at most as many nonces of a key as its limits allow requests."""
    service, token, record = service_with()
    signed = msgspec.structs.replace(record, public_key="key", version=2)
    service.keys.cache.change(signed)
    monkeypatch.setattr(http_signatures, "check", Mock(return_value=Mock(nonce="nonce")))
    nonces: Any = Mock(is_new=AsyncMock(return_value=True))
    await service.limits.take(Charge(record.subject, (LIMIT,), used))
    request = msgspec.structs.replace(REQUEST, signed=nonces, cost=cost)
    assert (await replace(service, nonces=nonces).verify(token, request)).code is code
    stored = [call.kwargs["keep_s"] for call in nonces.is_new.await_args_list]
    assert stored == ([] if kept_s is None else [kept_s])
