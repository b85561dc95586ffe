"""Request and response shapes of verification and self-revocation, and the rate-limit headers for
every decision.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from gatehouse.core.clock import rfc3339, rounded
from gatehouse.core.http.addresses import is_address
from gatehouse.core.http.http_signatures import SignatureError
from gatehouse.core.texts import TextClass, matching
from gatehouse.core.tokens.imported_tokens import TOKEN_CHARS_MAX
from gatehouse.core.verification import (
    Code,
    CreditState,
    RateLimitState,
    SignedRequest,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.keys.fields import COST_MAX, SCOPES_MAX, Effective, LimitName, Reason, Scope
from gatehouse.features.keys.fields import Method as KeyMethod
from gatehouse.platform.web.fields import CoreName, Environment, Input, Instant, View, distinct
from gatehouse.platform.web.validation import checked, decode_body, decode_query, invalid, unchanged

URL_CHARS_MAX = 8192
HEADERS_MAX = 100
HEADERS_CHARS_MAX = 16_384
EXAMPLE_TOKEN = "gtk_test_3fGh82kLmQ0a..."  # noqa: S105 - not a valid token

#: Absolute form (RFC 9112, section 3.2.2) in visible ASCII, without user name and fragment. Groups:
#: scheme, authority, path, query.
_URL = re.compile(r'(https?)://([A-Za-z0-9.:_\[\]-]{1,255})(/[!-"$->@-~]*)?(?:\?([!-"$-~]*))?')


Token = Annotated[str, unchanged(max_length=TOKEN_CHARS_MAX, description="The token of the key.")]
Method = Annotated[
    str,
    matching(
        r"[A-Z]{1,16}",
        "1 to 16 uppercase letters, such as GET",
        max_length=16,
        description="HTTP method in uppercase.",
    ),
]
HeaderText = Annotated[str, unchanged(max_length=HEADERS_CHARS_MAX)]
Scopes = Annotated[
    tuple[Scope, ...], Meta(max_length=SCOPES_MAX, description="Scopes that the key must have.")
]
PublicCode = Annotated[
    str, Meta(extra_json_schema={"enum": [code.value for code in Code if code is not Code.REVOKED]})
]
SignatureReason = Annotated[
    str,
    Meta(
        description="With `SIGNATURE_INVALID`: the reason why the signature is invalid.",
        extra_json_schema={"enum": [error.value for error in SignatureError]},
    ),
]
RequestIdView = Annotated[str, Meta(description="ID of this request in the gateway's log.")]


#: Maximum number of limits in a request.
TAKES_MAX = 10
Subject = Annotated[
    str,
    unchanged(
        TextClass.NAME,
        description="What is limited, such as a user, an address or a tenant. Stored as an HMAC.",
        min_length=1,
        max_length=256,
    ),
]
TakeCost = Annotated[
    int, Meta(ge=0, le=COST_MAX, description="Units that are used. 0: nothing is counted.")
]
DryRun = Annotated[bool, Meta(description="Nothing is counted.")]


class SignedRequestInput(Input):
    """The signed HTTP request from the client (RFC 9421). Required if the key requires
    signatures.
    """

    example: ClassVar = {
        "method": "GET",
        "url": "https://api.example.com/v1/orders",
        "headers": [["signature-input", "gatehouse=..."], ["signature", "gatehouse=:...:"]],
        "body_sha256": None,
    }

    method: Method
    url: Annotated[
        str,
        unchanged(
            max_length=URL_CHARS_MAX,
            description="Absolute URL as the client sent it, percent-encoded.",
            extra_json_schema={"pattern": f"^{_URL.pattern}$"},
        ),
    ]
    headers: Annotated[
        tuple[tuple[HeaderText, HeaderText], ...],
        Meta(
            max_length=HEADERS_MAX,
            description="`[name, value]` pairs as received: `Signature-Input`, `Signature` and "
            f"every covered header, in total at most {HEADERS_CHARS_MAX} characters.",
        ),
    ]
    body_sha256: Annotated[
        Annotated[
            str,
            matching(
                "[A-Za-z0-9+/]{43}=",
                "a SHA-256 digest in base64, such as 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
                max_length=44,
            ),
        ]
        | None,
        Meta(
            description="SHA-256 digest of the received body in base64. Null if the request has "
            "no body."
        ),
    ] = None


class VerifyRequest(Input):
    """A token, and the request for which it is verified."""

    example: ClassVar = {
        "token": EXAMPLE_TOKEN,
        "scopes": ["cores:read"],
        "core": "docs",
        "address": "192.0.2.7",
        "method": "GET",
    }

    token: Token
    scopes: Scopes = ()
    core: Annotated[
        CoreName | None, Meta(description="Core that the key must be allowed to access.")
    ] = None
    cost: Annotated[
        int,
        Meta(
            ge=0,
            le=COST_MAX,
            description="Number of credits that the request consumes if it is allowed. The `cost` "
            "of each rate limit is multiplied by this number. 0: limits and credits are checked, "
            "but the request counts against no limit and consumes no credits.",
        ),
    ] = 1
    address: Annotated[
        Annotated[str, unchanged(max_length=64)] | None,
        Meta(
            description="IPv4 or IPv6 address of the client. Default: the IP address of the caller."
        ),
    ] = None
    method: Method | None = None
    request: SignedRequestInput | None = None


class VerifyQuery(Input):
    """Parameters of /v1/keys/authorize."""

    scope: Annotated[
        Scopes,
        Meta(
            description="Scope that the key must have. Can be repeated.", examples=[["cores:read"]]
        ),
    ] = ()
    core: Annotated[
        CoreName | None,
        Meta(description="Core that the key must be allowed to access.", examples=["docs"]),
    ] = None
    method: Annotated[
        Method | None,
        Meta(
            description="HTTP method in uppercase. Default: that of the request; for GET and HEAD, "
            "that in `X-Forwarded-Method` or `X-Original-Method`, if present.",
            examples=["GET"],
        ),
    ] = None


class LimitReply(View):
    """State of a rate limit after the decision."""

    example: ClassVar = {"name": "requests", "limit": 600, "reset_s": 0.1}
    name: str
    limit: Annotated[int, Meta(description="Units per window.")]
    window_s: int
    remaining: int
    reset_s: Annotated[float, Meta(description="Seconds until the limit is fully available again.")]
    exceeded: bool
    degraded: Annotated[
        bool,
        Meta(
            description="True if this gateway worker counts on its own because Redis is "
            "unavailable."
        ),
    ]


class CreditsReply(View):
    """Credits of the key, or those that the keys of a customer share. Null if requests consume no
    such credits, or if the request was denied before credits were checked."""

    remaining: int
    exceeded: bool
    refills_at: Instant | None


class VerifyReply(View):
    """A decision. Fields that describe the key are null unless the token proves possession of a
    known key.
    """

    example: ClassVar = {
        "valid": True,
        "code": "VALID",
        "key_id": "3fGh82kLmQ0a",
        "name": "invoices, nightly export",
        "customer_id": "acme",
        "environment": "test",
        "scopes": ["cores:read"],
        "staleness_ms": 12,
        "decided_at": "2030-06-01T09:00:00.123Z",
    }

    valid: bool
    code: PublicCode
    reason: SignatureReason | None
    key_id: str | None
    name: str | None
    customer_id: str | None
    environment: Environment | None
    scopes: tuple[str, ...] | None
    expires_at: Instant | None
    limits: tuple[LimitReply, ...]
    credits: CreditsReply | None
    shared_credits: CreditsReply | None
    staleness_ms: Annotated[
        int,
        Meta(
            description="Maximum age, in milliseconds, of the key state on which the decision is "
            "based."
        ),
    ]
    decided_at: Instant
    request_id: RequestIdView


class TakeLimit(Input, kw_only=True):
    """Units of a limit that a subject uses."""

    example: ClassVar = {"subject": "user-4711"}

    subject: Subject
    cost: TakeCost = 1
    dry_run: DryRun = False


class Take(Input, kw_only=True):
    """Units of one of several limits that a subject uses."""

    example: ClassVar = {"limit": "sign-in", "subject": "user-4711"}

    limit: LimitName
    subject: Subject
    cost: TakeCost = 1


def _distinct_takes(takes: list[dict[str, Any]]) -> str:
    return distinct([(take["limit"], take["subject"]) for take in takes])


class TakeLimits(Input, kw_only=True):
    """Units of several limits. If one of them is exceeded, nothing is counted."""

    example: ClassVar = {"takes": [Take.example]}

    takes: Annotated[
        list[Take],
        checked(_distinct_takes, min_length=1, max_length=TAKES_MAX, description="The limits."),
    ]
    dry_run: DryRun = False


class TakeReply(View):
    """The decision, with a state for each limit."""

    example: ClassVar = {"allowed": True}

    allowed: bool
    limits: tuple[LimitReply, ...]
    request_id: RequestIdView


def take_reply(states: Sequence[RateLimitState], request_id: str) -> TakeReply:
    allowed = not any(state.exceeded for state in states)
    return TakeReply(allowed, tuple(map(_limit_reply, states)), request_id)


class SelfRevocationRequest(Input):
    """The token of the key to revoke, and an optional reason."""

    example: ClassVar = {"token": EXAMPLE_TOKEN, "reason": "pasted into a chat"}

    token: Token
    reason: Reason = ""


class SelfRevocationResponse(View):
    """The revoked key."""

    key_id: str
    effective: Effective
    request_id: RequestIdView


#: `unknown`: the required information is not available.
Outcome = Literal["pass", "fail", "unknown"]


class ExplainKey(Input, kw_only=True):
    """A verification request to explain."""

    example: ClassVar = {
        "scopes": ["cores:read"],
        "core": "docs",
        "address": "192.0.2.7",
        "method": "GET",
        "headers": ["Accept", "X-Remote-User"],
    }

    scopes: Annotated[
        list[Scope], Meta(max_length=SCOPES_MAX, description="Scopes that the request requires.")
    ] = []
    core: Annotated[CoreName | None, Meta(description="Core to which the request is sent.")] = None
    address: Annotated[
        str, unchanged(max_length=64, description="IP address of the client. Empty: not checked.")
    ] = ""
    method: Annotated[KeyMethod | None, Meta(description="HTTP method of the request.")] = None
    cost: Annotated[int, Meta(ge=0, le=COST_MAX, description="Units that the request uses.")] = 1
    headers: Annotated[
        list[
            Annotated[
                str,
                matching(
                    "[A-Za-z0-9_-]{1,64}",
                    "1 to 64 letters, digits, _ and -, such as X-Remote-User",
                    examples=["X-Remote-User"],
                ),
            ]
        ],
        Meta(max_length=100, description="Names of the headers of the request."),
    ] = []


class Check(View):
    name: Annotated[str, Meta(description="A check, named as in recorded requests.")]
    outcome: Outcome
    code: Annotated[
        str,
        Meta(description="Result code of the verification if this is the first check that fails."),
    ]
    actual: Annotated[str, Meta(description="Value that the key has or allows.")]
    required: Annotated[str, Meta(description="Value that the request requires.")] = ""


class Explanation(View):
    """Every check in the order of the decision, including those after the first failure."""

    example: ClassVar = {
        "code": "FORBIDDEN",
        "checks": [
            {
                "name": "core",
                "outcome": "fail",
                "code": "FORBIDDEN",
                "actual": "docs",
                "required": "billing",
            }
        ],
        "removed_headers": ["X-Remote-User"],
    }

    code: Annotated[str, Meta(description="Result code that the gateway would return.")]
    checks: list[Check]
    removed_headers: Annotated[
        list[str],
        Meta(
            description="Headers of the request that the Core does not receive, because they are "
            "for a single connection, contain the API key, belong to the gateway or are in "
            "`remove_headers` of the Core. The log level `debug` shows the headers of each request."
        ),
    ]
    decided_at: Instant


def decode(
    body: bytes, client: Callable[[], str], charge_id: str = ""
) -> tuple[str, VerificationRequest]:
    """The token and its verification request. `client`: returns the address of the caller. Raises
    BadRequest with the invalid field.
    """
    request = decode_body(body, VerifyRequest)
    if request.address is not None and not is_address(request.address):
        fix = "send the address of the client, such as 192.0.2.7, or omit the field"
        raise invalid("body.address", "is not an IP address", fix)
    return request.token, VerificationRequest(
        scopes=request.scopes,
        core=request.core,
        cost=request.cost,
        address=client() if request.address is None else request.address,
        method=request.method,
        signed=None if request.request is None else _signed_request(request.request),
        charge_id=charge_id,
    )


def decode_parameters(
    query: bytes, client: str, method: str | None = None, charge_id: str = ""
) -> VerificationRequest:
    """The verification request in the parameters of /v1/keys/authorize. `method`: the method if
    they have none. Raises BadRequest.
    """
    if not query:
        return VerificationRequest(address=client, method=method, charge_id=charge_id)
    parameters = decode_query(query, VerifyQuery)
    return VerificationRequest(
        scopes=parameters.scope,
        core=parameters.core,
        address=client,
        method=parameters.method or method,
        charge_id=charge_id,
    )


def _signed_request(request: SignedRequestInput) -> SignedRequest:
    match = _URL.fullmatch(request.url)
    if match is None:
        fix = (
            "send the URL as the client sent it, percent-encoded: https://api.example.com/v1/x?y=z"
        )
        raise invalid("body.request.url", "is not an absolute http(s) URL", fix)
    if sum(len(name) + len(value) for name, value in request.headers) > HEADERS_CHARS_MAX:
        fix = "send Signature-Input, Signature and the headers that the signature covers"
        raise invalid("body.request.headers", f"have more than {HEADERS_CHARS_MAX} characters", fix)
    scheme, authority, path, query = match.groups()
    digests: tuple[tuple[str, bytes], ...] = ()
    if request.body_sha256 is not None:
        digests = (("sha-256", base64.b64decode(request.body_sha256)),)
    return SignedRequest(
        method=request.method,
        scheme=scheme,
        authority=authority,
        path=path or "/",
        query=query or "",
        fields=tuple((name.lower(), value) for name, value in request.headers),
        digests=digests,
    )


def reply(result: VerificationResult, request_id: str) -> VerifyReply:
    """The response for a result of `decision.for_public`."""
    record = result.record
    return VerifyReply(
        valid=result.valid,
        code=result.code,
        reason=result.reason or None,
        key_id=None if record is None else record.id,
        name=None if record is None else record.name,
        customer_id=None if record is None else record.customer_id,
        environment=None if record is None else record.environment.value,
        scopes=None if record is None else record.scopes,
        expires_at=None if record is None else _milliseconds(record.expires_at),
        limits=tuple([_limit_reply(state) for state in result.limits]),
        credits=_credits_reply(result.credits),
        shared_credits=_credits_reply(result.shared_credits),
        staleness_ms=result.staleness_ms,
        decided_at=rfc3339(result.decided_at, "milliseconds"),
        request_id=request_id,
    )


def _credits_reply(credits: CreditState | None) -> CreditsReply | None:
    if credits is None:
        return None
    return CreditsReply(credits.remaining, credits.exceeded, _milliseconds(credits.refills_at))


def _limit_reply(state: RateLimitState) -> LimitReply:
    limit = state.limit
    return LimitReply(
        limit.name,
        limit.quota,
        limit.window_s,
        state.remaining,
        rounded(state.reset_s),
        state.exceeded,
        state.degraded,
    )


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds, "milliseconds")
