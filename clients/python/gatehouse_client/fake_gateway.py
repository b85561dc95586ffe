"""The decisions of the fake gateway for tests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from gatehouse_client.errors import Reply
from gatehouse_client.gateway import TAKE, VERIFY
from gatehouse_client.models import Take

_NULLS = dict.fromkeys(
    ("reason", "key_id", "name", "customer_id", "environment", "scopes", "expires_at")
)


@dataclass(slots=True)
class FakeKey:
    """credits: the remaining ones, which requests consume. Default: requests consume none. cores,
    methods: those for which the key can be used. Default: all. code: of every decision, such as
    RATE_LIMITED. Default: it depends on the request.
    """

    scopes: Sequence[str] = ()
    customer_id: str | None = None
    credits: int | None = None
    cores: Sequence[str] = ()
    methods: Sequence[str] = ()
    code: str | None = None


@dataclass(slots=True)
class Decisions:
    """keys: by their tokens. limits: the units of each that a subject can take."""

    keys: Mapping[str, FakeKey]
    limits: Mapping[str, int]
    requests: list[dict[str, Any]] = field(default_factory=list)
    is_down: bool = False
    used: Counter[tuple[str, str]] = field(default_factory=Counter)

    def respond(self, path: str, body: dict[str, Any]) -> Reply:
        if self.is_down:
            raise httpx.ConnectError("the fake gateway is down")
        if path == TAKE:
            return self._take(body["takes"], body["dry_run"])
        if path != VERIFY:
            return _reply(404, {"code": "not_found", "detail": "The fake gateway only decides."})
        self.requests.append(body)
        return self._verify(body)

    def _verify(self, body: dict[str, Any]) -> Reply:
        key, cost = self.keys.get(body["token"]), body["cost"]
        code = "NOT_FOUND" if key is None else _code(key, body)
        document: dict[str, Any] = {**_NULLS, "valid": code == "VALID", "code": code, "limits": []}
        document |= {"credits": None, "shared_credits": None, "staleness_ms": 0}
        document |= {"decided_at": datetime.now(UTC), "request_id": "req_fake"}
        if key is not None:
            document |= {"key_id": "fake", "name": "fake", "environment": "test"}
            document |= {"customer_id": key.customer_id, "scopes": list(key.scopes)}
            if key.credits is not None and code in ("VALID", "USAGE_EXCEEDED"):
                key.credits -= cost if code == "VALID" else 0
                exceeded = code == "USAGE_EXCEEDED"
                document["credits"] = {
                    "remaining": key.credits,
                    "exceeded": exceeded,
                    "refills_at": None,
                }
        return _reply(200, document, limited=code == "RATE_LIMITED")

    def _take(self, takes: list[Take], dry_run: bool) -> Reply:
        states: list[dict[str, Any]] = []
        for take in takes:
            name, cost = take["limit"], take.get("cost", 1)
            if name not in self.limits:
                detail = f"No limit has the name {name}."
                return _reply(404, {"code": "not_found", "detail": detail})
            remaining = self.limits[name] - self.used[name, take["subject"]]
            state: dict[str, Any] = {
                "name": name,
                "limit": self.limits[name],
                "window_s": 60,
                "reset_s": 60.0,
            }
            exceeded = cost > remaining
            states.append(
                {**state, "remaining": remaining, "exceeded": exceeded, "degraded": False}
            )
        allowed = not any(state["exceeded"] for state in states)
        if allowed and not dry_run:
            for take, state in zip(takes, states, strict=True):
                cost = take.get("cost", 1)
                self.used[take["limit"], take["subject"]] += cost
                state["remaining"] -= cost
        document = {"allowed": allowed, "limits": states, "request_id": "req_fake"}
        return _reply(200, document, limited=not allowed)


def _code(key: FakeKey, body: dict[str, Any]) -> str:
    """In the order of the gateway."""
    if key.code is not None:
        return key.code
    for name, permitted in (("core", key.cores), ("method", key.methods)):
        if permitted and body.get(name, permitted[0]) not in permitted:
            return "FORBIDDEN"
    if not set(key.scopes).issuperset(body["scopes"]):
        return "INSUFFICIENT_PERMISSIONS"
    exceeded = key.credits is not None and body["cost"] > key.credits
    return "USAGE_EXCEEDED" if exceeded else "VALID"


def _reply(status: int, document: dict[str, Any], *, limited: bool = False) -> Reply:
    headers = httpx.Headers({"Retry-After": "1"} if limited else {})
    return Reply(status, headers, msgspec.json.encode(document))
