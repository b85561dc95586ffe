"""What every client does: one table of cases. `tests/clients/drivers` has a driver for the clients
of each language, which reads a call from each line and writes its outcome.

A call has an operation (verify, take, guard, burst, console, sign), the URL of a service, the
options of the client and the arguments of the operation. An outcome has `raised`, and every text
that a program could record: of results, errors, clients and logs.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.clients.gateways import ERROR, STATES, UNAVAILABLE, State, decision, http, problem

CLIENTS = ("python", "python-async", "typescript", "go")
#: TypeScript has types only for the compiler.
_UNCHECKED = {"typescript": "does not check the fields of a response"}
CANARY = "gtk_live_0canary0canary0canary0canary"
ADMIN = "gtk_admin_0canary0canary0canary0canary"
#: In a header or in a URL, or with the end of a line, a credential could get into other requests.
MALFORMED = ("{}\n{}", "{}\r\nx: y", "{}\0", "{}ü", "{} x", '"{}"')
SLOW = frozenset({"silent", "head byte by byte", "body byte by byte"})


@dataclass(frozen=True)
class Case:
    """calls: made one after the other. state: of `ALL`, or a URL. expected: members of the outcome.
    sent: members of the JSON of the first request, or its fields, with their names in lowercase.
    requests: their number. not_yet: why a client does not satisfy the case; the test fails when it
    does.
    """

    name: str
    state: str
    operation: str
    arguments: dict[str, Any]
    expected: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)
    requests: int | None = None
    method: str = ""
    token: str = ADMIN
    not_yet: dict[str, str] = field(default_factory=dict)


def _limit(code: str) -> bytes:
    fields = ('RateLimit: "requests";r=0;t=9', 'RateLimit-Policy: "requests";q=5;w=9')
    return decision(code, *fields, "Retry-After: 9", "Unrelated: 1", customer_id="shop")


_KEY_STRINGS = (
    *("name", "public_key", "notes", "contact", "environment", "state", "customer_name"),
    *("family_id", "created_by", "scheme", "start"),
)
_KEY_LISTS = ("cores", "methods", "addresses", "tags", "scopes", "limits", "inherits")
_KEY_NULLS = (
    *("customer_id", "plan", "credits", "successor_id", "rotated_at", "last_used_at"),
    *("expires_at", "revoked_at", "revoked_by", "revoke_reason", "deleted_at", "deleted_by"),
    "purged_at",
)
NOW = "2026-01-01T00:00:00Z"


def _key(key_id: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(_KEY_STRINGS, "text"),
        **{name: [] for name in (*_KEY_LISTS, "shared_limits")},
        **dict.fromkeys(_KEY_NULLS),
        **{"id": key_id, "metadata": {}, "version": 3, "generation": 1, "created_at": NOW},
        "later_field": {"of": "a later version"},
    }


def _customer(customer_id: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("name", "state", "contact", "notes", "created_by"), "text"),
        **{name: [] for name in ("shared_limits", "inherits", "tags")},
        **dict.fromkeys(("plan", "limits", "credits", "deleted_at")),
        **{"id": customer_id, "metadata": {}, "keys": 1, "version": 3, "created_at": NOW},
    }


def _json(document: Any, status: str = "200 OK", *headers: str) -> bytes:
    return http(status, json.dumps(document).encode(), *headers)


def _page(name: str, *items: Any, cursor: str | None = None) -> bytes:
    return _json({name: items, "next_cursor": cursor, "total": None})


_CHANGED = _json({"key": _key("a"), "effective": NOW})
_CUSTOMER = _json({"customer": _customer("a"), "effective": NOW})
_CREATED = _json({"token": CANARY, "key": _key("a")}, "201 Created")
_BUSY = http("503 Wait", b"", "Retry-After: 0")
ALL = {
    **STATES,
    "slow": State(decision("VALID"), "VALID", delay_s=0.02),
    "allowed": State(
        decision(
            "VALID", 'RateLimit: "requests";r=4;t=9', "Unrelated: 1", customer_id="shop", scopes=[]
        ),
        "VALID",
    ),
    "rate limited": State(_limit("RATE_LIMITED"), "RATE_LIMITED"),
    "no credits": State(decision("USAGE_EXCEEDED"), "USAGE_EXCEEDED"),
    "scope": State(decision("INSUFFICIENT_PERMISSIONS"), "INSUFFICIENT_PERMISSIONS"),
    "signature": State(
        decision("SIGNATURE_INVALID", reason="signature_missing"), "SIGNATURE_INVALID"
    ),
    "malformed token": State(problem("400 Bad Request", "body.token"), ERROR),
    "malformed method": State(problem("400 Bad Request", "body.method"), ERROR),
    "malformed address": State(problem("400 Bad Request", "body.address"), ERROR),
    "taken": State(
        _json({"allowed": True, "limits": [], "request_id": "r"}, "200 OK", "RateLimit: a"), ""
    ),
    "key": State(_json(_key("a")), ""),
    "changed": State(_CHANGED, ""),
    "created": State(_CREATED, ""),
    "created late": State(_BUSY, "", later=(_CREATED,)),
    "changed late": State(_BUSY, "", later=(_CHANGED,)),
    "in progress": State(
        _json({"code": "request_in_progress"}, "409 Conflict"), "", later=(_CREATED,)
    ),
    "rotated": State(
        _json(
            {"token": CANARY, "key": _key("b"), "previous": _key("a"), "effective": NOW},
            "201 Created",
        ),
        "",
    ),
    "revoked": State(_json({"key": None, "effective": NOW}), ""),
    "two pages": State(
        _page("keys", _key("a"), _key("b"), cursor="next+page"),
        "",
        later=(_page("keys", _key("c")),),
    ),
    "second page fails": State(
        _page("keys", _key("a"), cursor="next"), "", later=(problem("400 Bad Request"),)
    ),
    "customer": State(_json(_customer("a")), ""),
    "customers": State(_page("customers", _customer("a")), ""),
    "changed customer": State(_CUSTOMER, ""),
    "purged customer": State(_json({"id": "a", "purged_keys": 1, "keys_left": 0}), ""),
    "412": State(problem("412 Precondition Failed"), ERROR),
    "409": State(problem("409 Conflict"), ERROR),
    "much later": State(http("503 Wait", b"", "Retry-After: 3600"), ERROR),
    "always busy": State(_BUSY, ERROR),
    "incomplete": State(_json({"key": {"id": "a"}}, "201 Created"), ERROR),
}


def _decisions() -> Iterator[Case]:
    """A decision, or the fail mode and nothing else, for each state of the gateway."""
    for name in (*STATES, "refused"):
        state = STATES.get(name, State(b"", UNAVAILABLE))
        undecided = state.code == UNAVAILABLE
        for fail_open in (False, True):
            options = {"fail_open": fail_open, "timeout_ms": 300 if name in SLOW else 30_000}
            mode = "open" if fail_open else "closed"
            headers = {} if fail_open else {"retry-after": state.retry_after}
            raised = {"raised": True}
            case = Case("", name, "", {}, {}, options, requests=None if name == "refused" else 1)
            if name in ("not TLS", "certificate"):
                case = replace(case, requests=0)
            allowed = fail_open if undecided else state.code == "VALID"
            decided = {"raised": False, "valid": allowed, "code": state.code}
            decided |= {"undecided": undecided}
            verified = decided | ({"headers": headers} if undecided else {})
            verify = replace(case, operation="verify", arguments={"token": CANARY})
            yield replace(
                verify,
                name=f"verify: {name}, fail {mode}",
                expected=raised if state.code == ERROR else verified,
            )
            if state.code in (UNAVAILABLE, ERROR):
                taken = {"raised": False, "allowed": fail_open, "undecided": True}
                yield replace(
                    case,
                    name=f"take: {name}, fail {mode}",
                    operation="take",
                    arguments=_TAKES,
                    expected=raised if state.code == ERROR else taken | {"headers": headers},
                )
                status = 200 if undecided and fail_open else 503
                document = {"status": 503, "code": UNAVAILABLE}
                limits = {"retry-after": state.retry_after}
                yield replace(
                    case,
                    name=f"guard: {name}, fail {mode}",
                    operation="guard",
                    arguments=_request(),
                    expected={"status": 200, "document": None}
                    if status == 200
                    else {"status": 503, "document": document, "headers": limits},
                )


_TAKES: dict[str, Any] = {
    "takes": [{"limit": "sign-in", "subject": CANARY, "cost": 2}],
    "dry_run": True,
}


def _request(*headers: tuple[str, str], **others: Any) -> dict[str, Any]:
    fields = headers or (("X-API-Key", CANARY),)
    request = {"method": "GET", "headers": fields, "scopes": [], "address": "192.0.2.7"}
    return request | others


#: The request, and the status and the code of the response.
_GUARDS = {
    "a bearer token": ("allowed", _request(("Authorization", f"bearer {CANARY}")), 200, None),
    "one key in both fields": (
        "allowed",
        _request(("Authorization", f"Bearer  {CANARY} "), ("X-API-Key", CANARY)),
        *(200, None),
    ),
    "another scheme beside the key": (
        "allowed",
        _request(("Authorization", "Basic eDp5"), ("X-API-Key", CANARY)),
        *(200, None),
    ),
    "two keys": (
        "allowed",
        _request(("Authorization", f"Bearer {CANARY}"), ("X-API-Key", f"{CANARY}x")),
        *(400, "bad_request"),
    ),
    "two fields": (
        "allowed",
        _request(("X-API-Key", CANARY), ("X-API-Key", f"{CANARY}x")),
        *(400, "bad_request"),
    ),
    "a list of keys": ("allowed", _request(("X-API-Key", f"{CANARY}, x")), *(400, "bad_request")),
    "an empty key": ("allowed", _request(("X-API-Key", " ")), 401, "unauthorized"),
    "no key": ("allowed", _request(("X-Other", CANARY)), 401, "unauthorized"),
    "another scheme": (
        "allowed",
        _request(("Authorization", f"Basic {CANARY}")),
        *(401, "unauthorized"),
    ),
    "a scheme without a space": (
        "allowed",
        _request(("Authorization", f"Bearer{CANARY}")),
        *(401, "unauthorized"),
    ),
    "an unknown key": ("unknown key", _request(), 401, "NOT_FOUND"),
    "a key without a signature": ("signature", _request(), 401, "SIGNATURE_INVALID"),
    "a key without credits": ("no credits", _request(), 402, "USAGE_EXCEEDED"),
    "a key without the scope": ("scope", _request(scopes=["a"]), 403, "INSUFFICIENT_PERMISSIONS"),
    "a code of a later version": ("later code", _request(), 403, "NEW_CODE"),
    "a limited key": ("rate limited", _request(), 429, "RATE_LIMITED"),
    "a malformed key": ("malformed token", _request(), 400, "bad_request"),
    "a malformed method": ("malformed method", _request(), 400, "bad_request"),
    "a malformed address": ("malformed address", _request(), 503, UNAVAILABLE),
}
_CHALLENGES = {
    "an unknown key": 'Bearer realm="gatehouse", error="invalid_token"',
    "a key without a signature": 'Bearer realm="gatehouse", error="invalid_token"',
}


def _guards() -> Iterator[Case]:
    for name, (state, request, status, code) in _GUARDS.items():
        expected: dict[str, Any] = {"status": status, "document": None}
        if code is not None:
            kind = f"urn:gatehouse:problem:{code.lower()}"
            expected["document"] = {"status": status, "code": code, "type": kind}
            headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
            if code in ("unauthorized", "NOT_FOUND", "SIGNATURE_INVALID"):
                plain = 'Bearer realm="gatehouse"'
                headers["www-authenticate"] = _CHALLENGES.get(name, plain)
            expected["headers"] = headers
        before = code in ("unauthorized", "bad_request") and not state.startswith("malformed")
        requests = 0 if before else 1
        yield Case(f"guard: {name}", state, "guard", request, expected, requests=requests)
    limits = {
        "ratelimit": '"requests";r=0;t=9',
        "ratelimit-policy": '"requests";q=5;w=9',
        "retry-after": "9",
        "unrelated": None,
    }
    yield Case(
        "guard: a denied request has the limits of the key",
        *("rate limited", "guard", _request()),
        {"status": 429, "headers": limits},
    )
    yield Case(
        "guard: an allowed request has the limits of the key",
        *("allowed", "guard", _request()),
        {"status": 200, "headers": {"ratelimit": '"requests";r=4;t=9', "unrelated": None}},
    )
    sent = {"token": CANARY, "scopes": ["a", "b"], "method": "PATCH", "cost": 1}
    yield Case(
        "guard: the gateway gets the request of the client",
        *("allowed", "guard", _request(method="PATCH", scopes=["a", "b"], address="2001:db8::1")),
        {"status": 200},
        sent=sent | {"address": "2001:db8::1"},
    )
    yield Case(
        "guard: an address without its zone",
        *("allowed", "guard", _request(address="fe80::1%eth0")),
        {"status": 200},
        sent={"address": "fe80::1"},
    )


def _calls() -> Iterator[Case]:
    verify: dict[str, Any] = {"token": CANARY, "scopes": ["a"], "cost": 3}
    verify |= {"address": "192.0.2.7", "method": "GET"}
    sent = verify | {"content-type": "application/json", "authorization": f"Bearer {ADMIN}"}
    yield Case(
        "verify: the request",
        *("allowed", "verify", verify),
        {"valid": True, "customer": "shop", "status": 200, "headers": {"unrelated": None}},
        {"token": f"{ADMIN}\n"},
        sent,
    )
    yield Case("take: the request", "taken", "take", _TAKES, {"allowed": True}, sent=_TAKES)
    yield Case(
        "take: limits",
        *("taken", "take", _TAKES),
        {"allowed": True, "undecided": False, "headers": {"ratelimit": "a"}},
    )
    for around in ("{}\n", " {}\r\n", "\ufeff{}", "\t{}"):
        yield Case(
            f"verify: white space around the token is removed: {around!r}",
            *("unknown key", "verify", {"token": around.format(CANARY)}),
            {"valid": False},
            sent={"token": CANARY},
        )
    for form in MALFORMED:
        text = form.format(CANARY, CANARY)
        for state in STATES:
            if state.startswith("repeated"):
                yield Case(
                    f"verify: {state}, {form!r}",
                    *(state, "verify", {"token": text}),
                    {"raised": STATES[state].code == ERROR},
                )
                takes = [{"limit": "sign-in", "subject": text, "cost": 1}]
                yield Case(
                    f"take: {state}, {form!r}",
                    *(state, "take", {"takes": takes, "dry_run": False}),
                    {"raised": STATES[state].code == ERROR},
                )
        yield Case(
            f"client: a credential that no header can contain: {form!r}",
            *("taken", "take", _TAKES, {"raised": True}),
            {"token": text, "fail_open": True},
            requests=0,
        )
    urls = (
        *(CANARY, f"http://user:{CANARY}@a", f"http://{CANARY}@a", f"http://a#{CANARY}"),
        *(f"http://a?{CANARY}", f"http://a:{CANARY}", f"ftp://{CANARY}", "gateway:8080", ""),
    )
    for url in urls:
        yield Case(
            f"client: no URL of a service: {url!r}",
            *(url, "verify", {"token": "a"}, {"raised": True, "status": 0}),
            {"fail_open": True},
        )
    yield Case(
        "client: white space and slashes around the URL",
        *(" {}/ \n", "verify", {"token": CANARY}, {"valid": True}),
    )


def _bursts() -> Iterator[Case]:
    limits = {"response_timeout_ms": 20_000, "timeout_ms": 300_000}
    yield Case(
        "burst: each of 10,000 requests gets its turn",
        *("slow", "burst", {"count": 10_000}, {"codes": {"VALID": 10_000}}),
        limits,
    )
    yield Case(
        "burst: a bound of requests in progress",
        *("slow", "burst", {"count": 200}, {"codes": {"VALID": 200}, "in_progress_max": 8}),
        limits | {"in_progress_max": 8},
    )
    # One after the other, the requests to a silent gateway would end after minutes.
    for slow in ({"timeout_ms": 500}, {"response_timeout_ms": 500}):
        (name,) = slow
        yield Case(
            f"burst: the wait for a turn is part of {name}",
            *("silent", "burst", {"count": 300}, {"codes": {UNAVAILABLE: 300}}),
            {"timeout_ms": 300_000, "response_timeout_ms": 60_000, "in_progress_max": 1} | slow,
        )


def _console() -> Iterator[Case]:
    for name, state, arguments, expected, sent, requests in _MANAGEMENT:
        method = name.partition(":")[0]
        yield Case(
            f"console: {name}",
            *(state, "console", arguments, expected),
            sent=sent,
            requests=requests,
            method=method,
            not_yet=_UNCHECKED if name == "create_key: incomplete" else {},
        )
    for url in (f"http://user:{CANARY}@a", ""):
        yield Case(
            f"console: no URL of a service: {url!r}",
            *(url, "console", {"key_id": "a"}, {"raised": True}),
            method="key",
        )
    for form in ("", *MALFORMED):
        yield Case(
            f"console: a credential that no header can contain: {form!r}",
            *("key", "console", {"key_id": "a"}, {"raised": True}),
            method="key",
            token=form.format(ADMIN, ADMIN),
            requests=0,
        )


_SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE_KEY = _SIGNER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_KEY = base64.b64encode(_SIGNER.public_key().public_bytes_raw()).decode()
SIGNING_TOKEN = CANARY.ljust(len("gtk_live_") + 61, "0")
_SIGNED = {
    "a query": ("GET", "https://gateway.example.com/cores/docs/a%20b?x=1&y=%2F", "", True),
    "a body": ("POST", "https://gateway.example.com/cores/docs/a", "pay 10 to alice", True),
    "a default port": ("PUT", "https://GATEWAY.example.com:443/a", "ü", True),
    "another port": ("DELETE", "http://gateway.example.com:8080/", "", True),
    "an IPv6 address": ("GET", "http://[::1]:80/a", "", True),
    "a relative URL": ("GET", "/a", "", False),
    "another scheme": ("GET", "ftp://a/b", "", False),
}


def _signatures() -> Iterator[Case]:
    keys = {"token": SIGNING_TOKEN, "private_key": PRIVATE_KEY}
    cases: dict[str, Any] = {name: ({}, *request) for name, request in _SIGNED.items()}
    request = ("GET", "https://gateway.example.com/a", "")
    for end in ("\n", " \r\n"):
        padded = {name: f" {text}{end}" for name, text in keys.items()}
        cases[f"white space around the keys: {end!r}"] = (padded, *request, True)
    cases["a malformed token"] = ({"token": CANARY}, *request, False)
    cases["a malformed private key"] = ({"private_key": CANARY}, *request, False)
    for name, (others, method, url, body, valid) in cases.items():
        yield Case(
            f"sign: {name}",
            *("valid", "sign"),
            {"method": method, "url": url, "body": body, **keys, **others},
            {"raised": not valid},
            requests=0,
        )


_ONCE = {"raised": False}
_REASON = {"key_id": "a", "reason": "left"}
_CUSTOMER_REASON = {"customer_id": "a/b", "reason": "left"}
_A: dict[str, Any] = {"key_id": "a"}
_MANAGEMENT: tuple[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any], int], ...] = (
    (
        "create_key",
        "created",
        {"name": "web shop", "customer_id": "shop", "idempotency_key": "once"},
        _ONCE,
        {
            **{"name": "web shop", "customer_id": "shop", "authorization": f"Bearer {ADMIN}"},
            **{":line": "POST /v1/keys HTTP/1.1", "idempotency-key": '"once"'},
        },
        1,
    ),
    ("create_key: busy", "created late", {"name": "a"}, _ONCE, {"name": "a"}, 2),
    ("create_key: the first is in progress", "in progress", {"name": "a"}, _ONCE, {}, 2),
    (
        "create_key: always busy",
        "always busy",
        {"name": "a"},
        {"raised": True, "status": 503},
        {},
        4,
    ),
    ("create_key: much later", "much later", {"name": "a"}, {"raised": True, "status": 503}, {}, 1),
    ("create_key: conflict", "409", {"name": "a"}, {"raised": True, "status": 409}, {}, 1),
    ("create_key: incomplete", "incomplete", {"name": "a"}, {"raised": True}, {}, 1),
    ("create_key: HTML", "HTML", {"name": "a"}, {"raised": True}, {}, 1),
    (
        "create_key: a malformed idempotency key",
        "created",
        {"name": "a", "idempotency_key": "a\nb"},
        {"raised": True, "status": 0},
        *({}, 0),
    ),
    ("key", "key", _A, _ONCE, {":line": "GET /v1/keys/a HTTP/1.1"}, 1),
    ("key: redirect", "302", _A, {"raised": True, "status": 302}, {}, 1),
    ("key: a token in the path", "key", {"key_id": CANARY}, {"raised": True, "status": 0}, {}, 0),
    ("key: repeated in a problem", "repeated in a problem", _A, {"raised": True}, {}, 1),
    ("key: repeated in a redirect", "repeated in a redirect", _A, {"raised": True}, {}, 1),
    ("key: repeated in HTML", "repeated in HTML", _A, {"raised": True}, {}, 1),
    (
        "keys",
        "two pages",
        {"customer": "a&b"},
        {"ids": ["a", "b", "c"]},
        {":line": "GET /v1/keys?customer=a%26b HTTP/1.1", ":last": "cursor=next%2Bpage"},
        2,
    ),
    ("keys: an error ends the list", "second page fails", {}, {"raised": True}, {}, 2),
    (
        "update_key",
        "changed",
        {"key_id": "a", "version": 7, "name": "b", "plan": None, "tags": []},
        _ONCE,
        {":line": "PATCH /v1/keys/a HTTP/1.1", "if-match": '"7"', "plan": None, "tags": []},
        1,
    ),
    (
        "update_key: another version",
        *(
            "412",
            {"key_id": "a", "version": 7, "name": "b"},
            {"raised": True, "status": 412},
            {},
            1,
        ),
    ),
    (
        "update_key: not repeated",
        "changed late",
        {"key_id": "a", "version": 7, "name": "b"},
        {"raised": True, "status": 503},
        *({}, 1),
    ),
    (
        "rotate_key",
        *("rotated", {"key_id": "a", "grace_s": 60}, _ONCE),
        {":line": "POST /v1/keys/a/rotate HTTP/1.1", "grace_s": 60},
        1,
    ),
    (
        "revoke_key",
        *("revoked", _REASON, _ONCE),
        {":line": "POST /v1/keys/a/revoke HTTP/1.1", "reason": "left"},
        1,
    ),
    ("disable_key", *("changed", _REASON, _ONCE, {":line": "POST /v1/keys/a/disable HTTP/1.1"}, 1)),
    ("enable_key", "changed", _REASON, _ONCE, {":line": "POST /v1/keys/a/enable HTTP/1.1"}, 1),
    (
        "delete_key",
        *("changed", _REASON, _ONCE),
        {":line": "DELETE /v1/keys/a HTTP/1.1", "reason": "left"},
        1,
    ),
    ("delete_key: busy", "changed late", _REASON, _ONCE, {}, 2),
    (
        "create_customer",
        *("customer", {"id": "a/b"}, _ONCE, {":line": "POST /v1/customers HTTP/1.1", "id": "a/b"}),
        1,
    ),
    (
        "customer",
        *("customer", {"customer_id": "a/b ü"}, _ONCE),
        {":line": "GET /v1/customers/a%2Fb%20%C3%BC HTTP/1.1"},
        1,
    ),
    ("customers", "customers", {}, {"ids": ["a"]}, {}, 1),
    (
        "update_customer",
        *("changed customer", {"customer_id": "a", "version": 7, "name": "b"}, _ONCE),
        {":line": "PATCH /v1/customers/a HTTP/1.1", "if-match": '"7"', "name": "b"},
        1,
    ),
    *(
        (
            f"{action}_customer",
            *("changed customer", _CUSTOMER_REASON, _ONCE),
            {":line": f"POST /v1/customers/a%2Fb/{action} HTTP/1.1", "reason": "left"},
            1,
        )
        for action in ("disable", "enable", "restore")
    ),
    (
        "delete_customer",
        *("changed customer", _CUSTOMER_REASON, _ONCE),
        {":line": "DELETE /v1/customers/a%2Fb HTTP/1.1", "reason": "left"},
        1,
    ),
    (
        "purge_customer",
        *("purged customer", _CUSTOMER_REASON, _ONCE),
        {":line": "POST /v1/customers/a%2Fb/purge HTTP/1.1", "confirm": "a/b"},
        1,
    ),
)

CASES = (*_decisions(), *_guards(), *_calls(), *_bursts(), *_console(), *_signatures())
