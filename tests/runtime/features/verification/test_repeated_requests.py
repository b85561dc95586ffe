"""Repeated requests have the same results as requests that are verified from the beginning."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import msgspec
import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord, KeyState, RateLimit
from gatehouse.core.token import ParsedToken, Pepper, build
from gatehouse.core.verification import Charge, Code, RateLimitState, VerificationRequest
from gatehouse.features.verification import repeated_requests
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.rate_limiters import LocalRateLimits
from gatehouse.features.verification.repeated_requests import RepeatedBodies, RepeatedVerification
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.features.verification.schemas import decode
from gatehouse.features.verification.service import VerificationService
from hypothesis import given
from hypothesis import strategies as st

PEPPER = Pepper({1: bytes(32), 2: b"2" * 32}, 2)
TOKEN = build("gtk", KeyEnvironment.TEST, bytes(range(9)), bytes(32))
OTHER = build("gtk", KeyEnvironment.TEST, bytes(range(9)), b"1" * 32)
LIMIT = RateLimit("requests", 1_000_000, 1, 1_000_000)
CLIENTS = ("192.0.2.1", "198.51.100.1")
BODIES = tuple(
    json.dumps(body).encode()
    for body in (
        {"token": TOKEN.text},
        {"token": OTHER.text},
        {"token": TOKEN.text, "scopes": ["a"]},
        {"token": TOKEN.text, "core": "docs", "method": "GET"},
        {"token": TOKEN.text, "address": CLIENTS[0]},
        {"token": TOKEN.text, "limits": [{"name": "requests", "cost": 2}]},
    )
)


class _Clock(Clock):
    def __init__(self) -> None:
        self.seconds = 1_900_000_000.0

    def now(self) -> float:
        return self.seconds


class _Limits:
    """Never waits."""

    def __init__(self) -> None:
        self._local = LocalRateLimits()
        self.charges: list[Charge] = []

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        self.charges.append(charge)
        return self._local.count(charge, time.monotonic() * 1_000_000, degraded=False)

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)


class Worker:
    """A verification service with one key in its cache."""

    def __init__(self) -> None:
        self.clock, self.limits, self.staleness_ms = _Clock(), _Limits(), 0
        self.cache = KeyCache(10)
        self.migrated: list[KeyId] = []
        unused = cast("Any", None)
        self.service = VerificationService(
            keys=KeyLoader(unused, self.cache, lambda: self.staleness_ms),
            limits=self.limits,
            credits=unused,
            finder=unused,
            nonces=None,
            on_old_pepper=lambda key_id, *_: self.migrated.append(key_id),
            clock=self.clock,
            pepper=PEPPER,
            prefix="gtk",
            environment=KeyEnvironment.TEST,
            default_limit=LIMIT,
            max_staleness_ms=5000,
        )
        self.bodies = RepeatedBodies(self.service)
        self.record = record(TOKEN, 2)
        self.cache.begin_load([TOKEN.id])
        self.cache.end_load(TOKEN.id, self.record)

    def change(self, **fields: Any) -> None:
        self.record = msgspec.structs.replace(self.record, version=self.record.version + 1, **fields)
        self.cache.change(self.record)

    def verify(self, body: bytes, client: str = CLIENTS[0]) -> Code | None:
        verified = self.bodies.verify_now(body, client)
        return None if verified is None else verified[1].code

    def first(self, body: bytes, client: str) -> Code | None:
        """The code for the first request with a body."""
        token, request = decode(body, client)
        parsed = self.service.parse(token)
        result = None if parsed is None else self.service.verify_now(parsed, request)
        return None if result is None else result.code


def record(token: ParsedToken, generation: int) -> KeyRecord:
    digest = PEPPER.digest(token.text, generation) or b""
    names = (token.id, digest, generation, KeyEnvironment.TEST, KeyState.ACTIVE, "name", "owner", ("a",), (), (LIMIT,))
    return KeyRecord(*names, expires_at=None, version=1)


CHANGES = st.one_of(
    st.fixed_dictionaries({"state": st.sampled_from([KeyState.ACTIVE, KeyState.DISABLED])}),
    st.fixed_dictionaries({"expires_at": st.sampled_from([None, 1_900_000_001.0, 1_900_000_050.0])}),
    st.fixed_dictionaries({"scopes": st.sampled_from([(), ("a",)])}),
    st.fixed_dictionaries({"cores": st.sampled_from([(), ("docs",), ("other",)])}),
    st.fixed_dictionaries({"methods": st.sampled_from([(), ("POST",)])}),
    st.fixed_dictionaries({"addresses": st.sampled_from([(), ("192.0.2.0/24",)])}),
    st.fixed_dictionaries({"has_credits": st.booleans()}),
    st.fixed_dictionaries({"digest": st.sampled_from([PEPPER.digest(TOKEN.text, 2), PEPPER.digest(OTHER.text, 2)])}),
    st.fixed_dictionaries({"environment": st.sampled_from(KeyEnvironment)}),
)
EVENTS = st.one_of(
    st.tuples(st.just("change"), CHANGES),
    st.tuples(st.just("wait"), st.floats(0, 20)),
    st.tuples(st.just("staleness"), st.sampled_from([0, 5000, 5001])),
    st.tuples(st.just("request"), st.tuples(st.sampled_from(BODIES), st.sampled_from(CLIENTS))),
    st.tuples(st.just("request"), st.tuples(st.just(BODIES[0]), st.just(CLIENTS[0]))),
)


@pytest.mark.requirement("CG-03")
@given(st.lists(EVENTS, max_size=40))
def test_results_equal_those_of_first_requests(events: list[tuple[str, Any]]) -> None:
    worker = Worker()
    heads: dict[tuple[bytes, str], RepeatedVerification] = {}
    for event, value in events:
        if event == "change":
            worker.change(**value)
        elif event == "wait":
            worker.clock.seconds += value
        elif event == "staleness":
            worker.staleness_ms = value
        else:
            expected = worker.first(*value)
            assert worker.verify(*value) is expected
            token, request = decode(*value)
            parsed = worker.service.parse(token)
            assert parsed is not None
            head = heads.setdefault(value, RepeatedVerification(worker.service, parsed, request))
            result = head.verify_now()
            assert (None if result is None else result.code) is expected


@pytest.mark.requirement("CG-03")
def test_repeated_request_is_neither_decoded_nor_hashed_but_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    assert [worker.verify(BODIES[0]) for _ in range(2)] == [Code.VALID] * 2
    monkeypatch.setattr(repeated_requests, "decode", _fails)
    monkeypatch.setattr(Pepper, "matches", _fails)
    assert worker.verify(BODIES[0]) is Code.VALID
    assert len(worker.limits.charges) == 3
    with pytest.raises(AssertionError):
        worker.verify(BODIES[0], CLIENTS[1])
    worker.change(state=KeyState.DISABLED)
    with pytest.raises(AssertionError):
        worker.verify(BODIES[0])


def test_expired_key_is_denied() -> None:
    worker = Worker()
    worker.change(expires_at=worker.clock.seconds + 10)
    assert [worker.verify(BODIES[0]) for _ in range(2)] == [Code.VALID] * 2
    worker.clock.seconds += 9.9
    assert worker.verify(BODIES[0]) is Code.VALID
    worker.clock.seconds += 0.1
    assert worker.verify(BODIES[0]) is Code.EXPIRED


def test_key_state_that_is_too_old_denies_every_request() -> None:
    worker = Worker()
    assert [worker.verify(BODIES[0]) for _ in range(2)] == [Code.VALID] * 2
    worker.staleness_ms = 5001
    assert worker.verify(BODIES[0]) is Code.UNAVAILABLE


def test_request_above_the_limit_is_denied() -> None:
    worker = Worker()
    worker.change(limits=(RateLimit("requests", 3, 3600, 3),))
    assert [worker.verify(BODIES[0]) for _ in range(5)] == [Code.VALID] * 3 + [Code.RATE_LIMITED] * 2


def test_key_with_an_old_pepper_is_migrated_at_every_request() -> None:
    worker = Worker()
    worker.change(digest=PEPPER.digest(TOKEN.text, 1), pepper_generation=1)
    assert [worker.verify(BODIES[0]) for _ in range(3)] == [Code.VALID] * 3
    assert worker.migrated == [TOKEN.id] * 3


def test_no_token_is_kept() -> None:
    worker = Worker()
    assert [worker.verify(BODIES[0]) for _ in range(2)] == [Code.VALID] * 2
    kept = [text for identity in worker.bodies._passed for text in identity]
    assert kept
    assert not [text for text in kept if TOKEN.text in str(text)]
    assert TOKEN.text not in repr(worker.bodies._passed)


@pytest.mark.bound("verification.repeated_requests:BODIES_MAX")
def test_number_of_bodies_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_requests, "BODIES_MAX", 3)
    worker = Worker()
    for number in range(10):
        body = json.dumps({"token": TOKEN.text, "cost": number}).encode()
        assert [worker.verify(body) for _ in range(2)] == [Code.VALID] * 2
    assert len(worker.bodies) == 3


def test_invalid_override_of_a_repeated_request_is_rejected() -> None:
    worker = Worker()
    body = BODIES[5]
    assert [worker.verify(body) for _ in range(2)] == [Code.VALID] * 2
    worker.change(limits=(msgspec.structs.replace(LIMIT, name="other"),))
    with pytest.raises(Exception, match="rate limits"):
        worker.verify(body)


def test_request_without_changes_is_repeated_by_its_head() -> None:
    worker = Worker()
    head = RepeatedVerification(worker.service, TOKEN, VerificationRequest())
    results = [head.verify_now() for _ in range(3)]
    assert [result.code for result in results if result is not None] == [Code.VALID] * 3


def _fails(*_: object) -> Any:
    raise AssertionError
