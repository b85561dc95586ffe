"""Verifies HTTP messages signed with Ed25519 (RFC 9421) and body digests (RFC 9530), and defines
the components to sign. Pure.

A signature must cover the following components:
- `@method` and the target, as `@target-uri` or as `@authority`, `@path` and (with a query)
  `@query`, so that a signed request cannot be sent elsewhere; `content-digest` if there is a body,
  so that the body cannot be replaced.
- `created` (at most AGE_S_MAX seconds ago) and a `nonce` that is used once, so that a request
  cannot be replayed.
- `keyid`, the ID of the key whose token is presented. Each ID has exactly one token, so the
  signature need not cover the header with the token, and a proxy may rewrite that header.
  `tag="gatehouse"` distinguishes the signature from signatures for services behind the gateway.
A signature that names another algorithm than Ed25519 is rejected.

Components with parameters (`;sf`, `;bs`, `;req` ...) and unknown derived components are rejected.
"""

import base64
import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import http_sf
import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gatehouse.core.verification import SignedRequest

TAG = "gatehouse"
ALGORITHM = "ed25519"

#: Maximum age of `created`, and tolerance for clients whose clock is ahead.
AGE_S_MAX = 300
AHEAD_S_MAX = 30

#: Seconds for which a nonce is stored. The clocks of gateways differ by up to a minute.
NONCE_S = AGE_S_MAX + AHEAD_S_MAX + 60

NONCE_CHARS_MIN, NONCE_CHARS_MAX = 16, 128

#: Limits on the parsing work per request.
FIELD_CHARS_MAX = 4096
COMPONENTS_MAX = 32

_DIGESTS = ("sha-256", "sha-512")

_TAG_VALUE = '"gatehouse"'


class SignatureError(StrEnum):
    """Reason why a signature is invalid. The value is the `reason` in a verification result."""

    message: str
    fix: str

    def __new__(cls, reason: str, message: str = "", fix: str = "") -> "SignatureError":
        error = str.__new__(cls, reason)
        error._value_, error.message, error.fix = reason, message, fix
        return error

    MISSING = (
        "signature_missing",
        'has no signature with tag="gatehouse"',
        "sign the request as described in docs/guides/signatures.md",
    )
    MALFORMED = (
        "signature_malformed",
        "is not well-formed (RFC 9421)",
        "send Signature-Input and Signature as dictionaries with the same label",
    )
    AMBIGUOUS = "signature_ambiguous", 'has several signatures with tag="gatehouse"', "send one"
    PARAMETERS = (
        "signature_parameters",
        "lacks a parameter",
        "send created (Unix seconds), keyid and a nonce of 16 to 128 characters",
    )
    KEYID = (
        "signature_keyid",
        "names a different key than the token",
        "send keyid with the ID of the key whose token is sent",
    )
    ALGORITHM = (
        "signature_algorithm",
        "names a different algorithm than ed25519",
        'omit alg, or send alg="ed25519"',
    )
    AGE = (
        "signature_age",
        "is too old or in the future",
        f"sign each request when it is sent; created may be {AGE_S_MAX} s old; check the clock",
    )
    UNCOVERED = (
        "signature_uncovered",
        "does not cover all required components",
        (
            'cover "@method", "@target-uri" (or "@authority", "@path" and, with a query, '
            '"@query"), with a body "content-digest"'
        ),
    )
    COMPONENT = (
        "signature_component",
        "covers a component that the request lacks or that is not supported",
        "cover only headers that are sent, without parameters",
    )
    DIGEST = (
        "signature_digest",
        "covers a Content-Digest that does not match the body",
        "send Content-Digest: sha-256=:...: of the body as it is sent",
    )
    WRONG = (
        "signature_wrong",
        "does not match the request",
        "check the private key, and that no proxy changes the request",
    )
    REPLAYED = "signature_replayed", "was used before", "sign each request with a new nonce"


class Rejected(Exception):
    """The signature is invalid."""

    def __init__(self, reason: SignatureError) -> None:
        super().__init__(reason.value)
        self.reason = reason


class VerifiedSignature(msgspec.Struct, frozen=True):
    """A valid signature. The caller checks that the nonce is new, and stores it for NONCE_S."""

    nonce: str


def check(request: SignedRequest, *, key_id: str, public_key: str, now: float) -> VerifiedSignature:
    """Verifies a signature, but not that the nonce is new. Raises Rejected. public_key: base64 of
    its 32 bytes.
    """
    components, params, signature = _signature(request)
    created, expires, nonce = params.get("created"), params.get("expires"), params.get("nonce")
    if (
        type(created) is not int
        or not isinstance(nonce, str)
        or not NONCE_CHARS_MIN <= len(nonce) <= NONCE_CHARS_MAX
    ):
        raise Rejected(SignatureError.PARAMETERS)
    if params.get("keyid") != key_id:
        raise Rejected(SignatureError.KEYID)
    if params.get("alg", ALGORITHM) != ALGORITHM:
        raise Rejected(SignatureError.ALGORITHM)
    if "expires" in params and (type(expires) is not int or expires <= now):
        raise Rejected(SignatureError.AGE)
    if not now - AGE_S_MAX <= created <= now + AHEAD_S_MAX:
        raise Rejected(SignatureError.AGE)
    if not _covers(components, request):
        raise Rejected(SignatureError.UNCOVERED)
    base = signature_base(request, components, params)
    if base is None:
        raise Rejected(SignatureError.COMPONENT)
    if "content-digest" in components and not digest_matches(
        _field(request, "content-digest") or "", dict(request.digests or digests_of(request.body))
    ):
        raise Rejected(SignatureError.DIGEST)
    if not matches(base, signature, base64.b64decode(public_key)):
        raise Rejected(SignatureError.WRONG)
    return VerifiedSignature(nonce)


def signature_base(
    request: SignedRequest, components: Sequence[str], params: dict[str, Any]
) -> bytes | None:
    """Signature base (RFC 9421, section 2.5). None if a component is missing or cannot be
    signed.
    """
    lines = []
    for name in components:
        value = _derived(request, name) if name.startswith("@") else _field(request, name)
        if (
            value is None
            or not value.isascii()
            or any(character < " " and character != "\t" for character in value)
        ):
            return None
        lines.append(f'"{name}": {value}')
    lines.append(f'"@signature-params": {input_text(components, params)}')
    return "\n".join(lines).encode("ascii")


def input_text(components: Sequence[str], params: dict[str, Any]) -> str:
    """The inner list of Signature-Input, which is also the last line of the signature base."""
    inner: Any = ([(name, {}) for name in components], params)
    return http_sf.ser({"s": inner}).removeprefix("s=")


def matches(base: bytes, signature: bytes, public_key: bytes) -> bool:
    """True if the signature of a signature base is valid. public_key: 32 bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, base)
    except InvalidSignature:
        return False
    return True


def read_public_key(text: str) -> str:
    """An Ed25519 public key as base64 of its 32 bytes, from this form or from PEM. Raises
    ValueError.
    """
    key: object = None
    text = text.strip()
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.encode())
        else:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        pass
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("must be an Ed25519 public key: base64 of its 32 bytes, or PEM")
    return base64.b64encode(key.public_bytes_raw()).decode()


def digests_of(body: bytes) -> tuple[tuple[str, bytes], ...]:
    """Digests of a body, by the names of the algorithms in RFC 9530."""
    return (("sha-256", hashlib.sha256(body).digest()), ("sha-512", hashlib.sha512(body).digest()))


def digest_matches(field: str, digests: dict[str, bytes]) -> bool:
    """True if the header contains at least one supported digest and all supported digests match.
    Other digests are ignored.
    """
    members = (len(field) <= FIELD_CHARS_MAX and _dictionary(field)) or {}
    known = {
        name: member[0] for name, member in members.items() if name in _DIGESTS and name in digests
    }
    return bool(known) and all(value == digests[name] for name, value in known.items())


def _signature(request: SignedRequest) -> tuple[list[str], dict[str, Any], bytes]:
    """Components, parameters in order, and bytes of the signature with the gateway's tag. Raises
    Rejected.
    """
    signature_input = _field(request, "signature-input")
    signature_field = _field(request, "signature")
    if signature_input is None or _TAG_VALUE not in signature_input:
        raise Rejected(SignatureError.MISSING)
    if signature_field is None or len(signature_input) + len(signature_field) > FIELD_CHARS_MAX:
        raise Rejected(SignatureError.MALFORMED)
    inputs, signatures = _dictionary(signature_input), _dictionary(signature_field)
    if inputs is None or signatures is None:
        raise Rejected(SignatureError.MALFORMED)
    labels = [
        label
        for label, (value, params) in inputs.items()
        if isinstance(value, list) and params.get("tag") == TAG
    ]
    if len(labels) != 1:
        raise Rejected(SignatureError.AMBIGUOUS if labels else SignatureError.MISSING)
    items, params = inputs[labels[0]]
    signature = signatures.get(labels[0], (None, {}))[0]
    names = [name for name, _ in items]
    if (
        not isinstance(signature, bytes)
        or len(names) > COMPONENTS_MAX
        or len({str(name) for name in names}) != len(names)
    ):
        raise Rejected(SignatureError.MALFORMED)
    if any(
        not isinstance(name, str) or name != name.lower() or parameters
        for name, parameters in items
    ):
        raise Rejected(SignatureError.COMPONENT)
    return names, params, signature


def _dictionary(field: str) -> dict[str, Any] | None:
    """The members of a header (RFC 9651, section 3.2), or None if it is malformed or has two
    members with the same name.
    """
    try:
        members: Any = http_sf.parse(
            field.encode("ascii"), tltype="dictionary", on_duplicate_key=_reject_duplicate
        )
    except (http_sf.StructuredFieldError, ValueError):
        return None
    return dict(members)


def _covers(components: list[str], request: SignedRequest) -> bool:
    covered = set(components)
    parts = {"@authority", "@path", "@query"} if request.query else {"@authority", "@path"}
    target = "@target-uri" in covered or parts <= covered
    has_body = bool(request.body or request.digests)
    return "@method" in covered and target and (not has_body or "content-digest" in covered)


def _derived(request: SignedRequest, name: str) -> str | None:
    """Derived component (RFC 9421, section 2.2). The path is used as received, because it is also
    routed as received.
    """
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
    """Authority in lowercase and without the default port of the scheme (RFC 9421, section
    2.2.3).
    """
    default = {"https": ":443", "http": ":80"}.get(request.scheme, "")
    authority = request.authority.lower()
    return authority.removesuffix(default) if default else authority


def _field(request: SignedRequest, name: str) -> str | None:
    """All values of a header, trimmed and joined (RFC 9421, section 2.1), or None if the request
    does not contain the header.
    """
    values = [value.strip(" \t") for field, value in request.fields if field == name]
    return ", ".join(values) if values else None


def _reject_duplicate(name: str, context: str) -> None:
    raise ValueError(f"duplicate {context}")
