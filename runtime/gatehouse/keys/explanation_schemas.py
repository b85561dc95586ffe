"""Request and response shapes of the explanation of a decision."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.http.fields import (
    COST_MAX,
    SCOPES_MAX,
    CoreName,
    Instant,
    Scope,
)
from gatehouse.keys.schemas import Method
from gatehouse.verification.decision import Check


class ExplainKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A verification request to explain."""

    example: ClassVar = {"scopes": ["cores:read"], "core": "docs", "address": "192.0.2.7", "method": "GET"}

    scopes: Annotated[list[Scope], Meta(max_length=SCOPES_MAX, description="Scopes that the request requires.")] = []
    core: Annotated[CoreName | None, Meta(description="Core that the request is for.")] = None
    address: Annotated[str, Meta(max_length=64, description="IP address of the client. Empty: not checked.")] = ""
    method: Annotated[Method | None, Meta(description="HTTP method of the request.")] = None
    cost: Annotated[int, Meta(ge=0, le=COST_MAX, description="Units that the request would use.")] = 1


class CheckView(msgspec.Struct, frozen=True):
    name: str
    outcome: Literal["pass", "fail", "unknown"]
    code: Annotated[str, Meta(description="Code of the verification result if this is the first check that fails.")]
    has: Annotated[str, Meta(description="What the key has.")]
    asked: Annotated[str, Meta(description="What the request requires.")]


class Explanation(msgspec.Struct, frozen=True):
    """Every check in the order of the decision, including those after the first failure."""

    example: ClassVar = {
        "code": "FORBIDDEN",
        "checks": [{"name": "core", "outcome": "fail", "code": "FORBIDDEN", "has": "docs", "asked": "billing"}],
        "decided_at": "2030-06-01T09:00:00Z",
    }

    code: Annotated[str, Meta(description="Code that the gateway would return.")]
    checks: list[CheckView]
    decided_at: Instant


def check_view(check: Check) -> CheckView:
    return CheckView(name=check.name, outcome=check.outcome.value, code=check.code.value, has=check.has, asked=check.asked)
