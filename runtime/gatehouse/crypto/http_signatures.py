"""Signatures of requests by RFC 9421, with digests of their bodies by RFC 9530: what must be signed, and whether it was; pure.

What a signature must cover, and why:
- `@method` and the target, as `@target-uri` or as `@authority`, `@path` and (with a query) `@query`: a signed request cannot be
  sent elsewhere. `content-digest` when there is a body: nor with another body.
- `created`, at most AGE_S_MAX old, and a `nonce` that is taken once: nor again.
- `keyid`, the id of the key whose token is presented: an id has one token, so the header that carries it need not be covered,
  and a proxy may still change its form. `tag="gatehouse"` tells our signature from one that is meant for somebody behind us.
The algorithm is the one that was set with the key; a message that names another is refused, never believed.

Components with parameters (`;sf`, `;bs`, `;req` ...) and derived ones that are not named here are refused, not guessed at."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import http_sf
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gatehouse.keys.models import SignatureAlgorithm
from gatehouse.verification.models import SignedRequest

TAG = "gatehouse"


#: Seconds: how old `created` may be, and how far ahead the client's clock may run.
AGE_S_MAX = 300


AHEAD_S_MAX = 30


NONCE_CHARS_MIN, NONCE_CHARS_MAX = 16, 128


#: Signature fields are short; more than this is an attempt at making us work.
FIELD_CHARS_MAX = 4096


COMPONENTS_MAX = 32


_SECRET_MARK = "sigkey_"  # noqa: S105 - what a secret begins with


_DIGESTS = ("sha-256", "sha-512")


_OURS = '"gatehouse"'


class SignatureError(StrEnum):
    """Why a signature does not count. The values are the `reason` of an answer."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    AMBIGUOUS = "signature_ambiguous"
    PARAMETERS = "signature_parameters"
    KEYID = "signature_keyid"
    ALGORITHM = "signature_algorithm"
    AGE = "signature_age"
    UNCOVERED = "signature_uncovered"
    COMPONENT = "signature_component"
    DIGEST = "signature_digest"
    WRONG = "signature_wrong"
    REPLAYED = "signature_replayed"


#: What is wrong, and what to send instead.
TEXTS: dict[SignatureError, tuple[str, str]] = {
    SignatureError.MISSING: ('carries no signature with tag="gatehouse"', "sign the request as docs/guides/signatures.md shows"),
    SignatureError.MALFORMED: (
        "is not what RFC 9421 says",
        "send Signature-Input and Signature as dictionaries, one label in both",
    ),
    SignatureError.AMBIGUOUS: ('holds several signatures with tag="gatehouse"', "send one"),
    SignatureError.PARAMETERS: ("lacks a parameter", "send created (Unix seconds), keyid and a nonce of 16 to 128 characters"),
    SignatureError.KEYID: ("is made with another key than the token's", "send keyid with the id of the key whose token is sent"),
    SignatureError.ALGORITHM: (
        "names another algorithm than the key has",
        "leave alg out, or send the one that was set with the key",
    ),
    SignatureError.AGE: (
        "is too old, or from the future",
        f"sign every request anew; created may be {AGE_S_MAX} s old, check the clock",
    ),
    SignatureError.UNCOVERED: (
        "does not cover all that it must",
        'cover "@method", "@target-uri" (or "@authority", "@path" and, with a query, "@query"), with a body "content-digest"',
    ),
    SignatureError.COMPONENT: (
        "covers a component that the request lacks or that is not known here",
        "cover what was sent, no parameters",
    ),
    SignatureError.DIGEST: (
        "covers a Content-Digest that is not the body's",
        "send Content-Digest: sha-256=:...: of the body as sent",
    ),
    SignatureError.WRONG: ("does not match the request", "check the secret, and that nothing changes the request on its way"),
    SignatureError.REPLAYED: ("was used before", "sign every request with a nonce of its own"),
}


class VerifiedSignature(msgspec.Struct, frozen=True):
    """A signature that matches. Its nonce must be new, and remembered for `keep_s` seconds."""

    nonce: str
    keep_s: int


def is_ours(signature_input: Sequence[str]) -> bool:
    """Whether a request may carry a signature for us; cheap, so that all others can be streamed on."""
    return any(_OURS in value for value in signature_input)


def check(
    request: SignedRequest, *, key_id: str, algorithm: SignatureAlgorithm, key: bytes, now: float
) -> VerifiedSignature | SignatureError:
    """Everything but the nonce's novelty. `key`: the HMAC secret, or the 32 bytes of the Ed25519 public key."""
    found = _signature(request)
    if isinstance(found, SignatureError):
        return found
    components, params, signature = found
    created, expires, nonce = params.get("created"), params.get("expires"), params.get("nonce")
    if type(created) is not int or not isinstance(nonce, str) or not NONCE_CHARS_MIN <= len(nonce) <= NONCE_CHARS_MAX:
        return SignatureError.PARAMETERS
    if params.get("keyid") != key_id:
        return SignatureError.KEYID
    if "alg" in params and params["alg"] != algorithm.value:
        return SignatureError.ALGORITHM
    if "expires" in params and (type(expires) is not int or expires <= now):
        return SignatureError.AGE
    if not now - AGE_S_MAX <= created <= now + AHEAD_S_MAX:
        return SignatureError.AGE
    if not _covers(components, request):
        return SignatureError.UNCOVERED
    base = signature_base(request, components, params)
    if base is None:
        return SignatureError.COMPONENT
    if "content-digest" in components and not digest_matches(_field(request, "content-digest") or "", dict(request.digests)):
        return SignatureError.DIGEST
    if not matches(base, signature, algorithm, key):
        return SignatureError.WRONG
    return VerifiedSignature(nonce=nonce, keep_s=max(1, created + AGE_S_MAX - int(now) + 1))


def signature_base(request: SignedRequest, components: Sequence[str], params: dict[str, Any]) -> bytes | None:
    """RFC 9421, section 2.5. None when the request lacks a component, or has it in a form that cannot be signed."""
    lines = []
    for name in components:
        value = _derived(request, name) if name.startswith("@") else _field(request, name)
        if value is None or not value.isascii() or any(character < " " and character != "\t" for character in value):
            return None
        lines.append(f'"{name}": {value}')
    lines.append(f'"@signature-params": {input_text(components, params)}')
    return "\n".join(lines).encode("ascii")


def input_text(components: Sequence[str], params: dict[str, Any]) -> str:
    """The inner list of Signature-Input, which is also the last line of the base."""
    inner: Any = ([(name, {}) for name in components], params)
    return http_sf.ser({"s": inner}).removeprefix("s=")


def sign(base: bytes, algorithm: SignatureAlgorithm, key: bytes) -> bytes:
    """`key`: the HMAC secret, or the 32 bytes of the Ed25519 private key. Raises ValueError for one of another length."""
    if algorithm is SignatureAlgorithm.HMAC_SHA256:
        return hmac.digest(key, base, hashlib.sha256)
    return Ed25519PrivateKey.from_private_bytes(key).sign(base)


def matches(base: bytes, signature: bytes, algorithm: SignatureAlgorithm, key: bytes) -> bool:
    """In constant time for HMAC."""
    if algorithm is SignatureAlgorithm.HMAC_SHA256:
        return hmac.compare_digest(hmac.digest(key, base, hashlib.sha256), signature)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, base)
    except (InvalidSignature, ValueError):
        return False
    return True


def digests_of(body: bytes) -> tuple[tuple[str, bytes], ...]:
    """The digests of a body as RFC 9530 names them."""
    return (("sha-256", hashlib.sha256(body).digest()), ("sha-512", hashlib.sha512(body).digest()))


def digest_text(body: bytes) -> str:
    """The value of Content-Digest for a body."""
    return http_sf.ser({"sha-256": hashlib.sha256(body).digest()})


def digest_matches(field: str, digests: dict[str, bytes]) -> bool:
    """True when the field names at least one digest that we know, and no known one differs. Others are passed over."""
    try:
        members: Any = http_sf.parse(field.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_twice)
    except (http_sf.StructuredFieldError, ValueError):
        return False
    known = {name: member[0] for name, member in members.items() if name in _DIGESTS and name in digests}
    return bool(known) and all(
        isinstance(value, bytes) and hmac.compare_digest(value, digests[name]) for name, value in known.items()
    )


def secret_text(secret: bytes) -> str:
    """An HMAC secret as its holder keeps it."""
    return _SECRET_MARK + base64.b64encode(secret).decode()


def secret_bytes(text: str) -> bytes:
    """The secret behind `secret_text`. Raises ValueError."""
    if not text.startswith(_SECRET_MARK):
        raise ValueError(f"a signing secret begins with {_SECRET_MARK}")
    return base64.b64decode(text.removeprefix(_SECRET_MARK), validate=True)


def _signature(request: SignedRequest) -> tuple[list[str], dict[str, Any], bytes] | SignatureError:
    """The one signature that is tagged as ours: components, parameters in their order, bytes."""
    told, signed = _field(request, "signature-input"), _field(request, "signature")
    if told is None or not is_ours((told,)):
        return SignatureError.MISSING
    if signed is None or len(told) + len(signed) > FIELD_CHARS_MAX:
        return SignatureError.MALFORMED
    try:
        inputs: Any = http_sf.parse(told.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_twice)
        signatures: Any = http_sf.parse(signed.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_twice)
    except (http_sf.StructuredFieldError, ValueError):
        return SignatureError.MALFORMED
    ours = [label for label, (value, params) in inputs.items() if isinstance(value, list) and params.get("tag") == TAG]
    if len(ours) != 1:
        return SignatureError.AMBIGUOUS if ours else SignatureError.MISSING
    items, params = inputs[ours[0]]
    signature = signatures.get(ours[0], (None, {}))[0]
    names = [name for name, _ in items]
    if not isinstance(signature, bytes) or len(names) > COMPONENTS_MAX or len({str(name) for name in names}) != len(names):
        return SignatureError.MALFORMED
    if any(not isinstance(name, str) or name != name.lower() or more for name, more in items):
        return SignatureError.COMPONENT
    return names, params, signature


def _covers(components: list[str], request: SignedRequest) -> bool:
    there = set(components)
    parts = {"@authority", "@path", "@query"} if request.query else {"@authority", "@path"}
    target = "@target-uri" in there or parts <= there
    return "@method" in there and target and (not request.has_body or "content-digest" in there)


def _derived(request: SignedRequest, name: str) -> str | None:
    """RFC 9421, section 2.2. The path as it was sent: what is signed is what is routed."""
    authority = _authority(request)
    target = request.path + (f"?{request.query}" if request.query else "")
    return {
        "@method": request.method,
        "@target-uri": f"{request.scheme}://{authority}{target}",
        "@authority": authority,
        "@scheme": request.scheme,
        "@request-target": target,
        "@path": request.path,
        "@query": f"?{request.query}",
    }.get(name)


def _authority(request: SignedRequest) -> str:
    """Lower case and without the default port of the scheme (RFC 9421, section 2.2.3)."""
    default = {"https": ":443", "http": ":80"}.get(request.scheme, "")
    authority = request.authority.lower()
    return authority.removesuffix(default) if default else authority


def _field(request: SignedRequest, name: str) -> str | None:
    """All lines of a field, trimmed and joined (RFC 9421, section 2.1); None when there is none."""
    values = [value.strip(" \t") for field, value in request.fields if field == name]
    return ", ".join(values) if values else None


def _refuse_twice(name: str, context: str) -> None:
    raise ValueError(f"a {context} is given twice")
