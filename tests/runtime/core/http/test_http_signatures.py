"""HTTP message signatures."""

import base64
import hmac
from itertools import combinations
from typing import Any

import http_sf
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.core.http import http_signatures as signature
from gatehouse.core.http.http_signatures import SignatureError, VerifiedSignature
from gatehouse.core.verification import SignedRequest
from hypothesis import given
from hypothesis import strategies as st

BODY = b'{"hello": "world"}'
NOW = 1_700_000_000.0
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = base64.b64encode(PRIVATE_KEY.public_key().public_bytes_raw()).decode()
KEY_ID = "3fGh82kLmQ0a"
COVERED = ("@method", "@target-uri", "content-digest")
PARAMETERS: dict[str, Any] = {
    "created": int(NOW),
    "keyid": KEY_ID,
    "nonce": "n" * 16,
    "tag": "gatehouse",
}

#: Request of RFC 9421, appendix B.2.
RFC_REQUEST = SignedRequest(
    method="POST",
    scheme="https",
    authority="example.com",
    path="/foo",
    query="param=Value&Pet=dog",
    fields=(
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        (
            "content-digest",
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
        ),
        ("content-length", "18"),
    ),
    body=BODY,
)


#: A request without fields and body. The tests change it.
BARE = SignedRequest("GET", "https", "www.example.com", "/", "", ())


def changed(request: SignedRequest, **changes: Any) -> SignedRequest:
    return msgspec.structs.replace(request, **changes)


def der(text: str) -> bytes:
    return base64.b64decode(text)[-32:]


def test_rfc_9421_b_2_6_ed25519() -> None:
    private = der("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")
    public = der("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
    components = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    base = signature.signature_base(
        RFC_REQUEST, components, {"created": 1618884473, "keyid": "test-key-ed25519"}
    )
    assert base is not None
    expected = base64.b64decode(
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    )
    assert signature.matches(base, expected, public)
    assert Ed25519PrivateKey.from_private_bytes(private).sign(base) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("@method", "POST"),
        ("@target-uri", "https://www.example.com/path?param=value"),
        ("@authority", "www.example.com"),
        ("@scheme", "https"),
        ("@request-target", "/path?param=value"),
        ("@path", "/path"),
        ("@query", "?param=value"),
    ],
)
def test_rfc_9421_2_2_derived_components(name: str, value: str) -> None:
    """Sections 2.2.1 to 2.2.7; the default port and the case of the host are ignored (2.2.3)."""
    for authority in ("www.example.com", "WWW.Example.com:443"):
        target = {"authority": authority, "path": "/path", "query": "param=value"}
        request = changed(BARE, method="POST", **target)
        base = signature.signature_base(request, (name,), {})
        assert base == f'"{name}": {value}\n"@signature-params": ("{name}")'.encode()


def test_rfc_9421_2_2_7_an_absent_query_is_a_question_mark() -> None:
    assert (signature.signature_base(BARE, ("@query",), {}) or b"").startswith(b'"@query": ?\n')


def test_rfc_9421_2_1_fields_are_trimmed_and_joined() -> None:
    fields = (
        ("x-ows-header", "  Leading and trailing whitespace.   "),
        ("cache-control", "max-age=60 "),
        ("cache-control", "   must-revalidate"),
        ("x-empty-header", ""),
    )
    components = ("x-ows-header", "cache-control", "x-empty-header")
    base = signature.signature_base(changed(BARE, fields=fields), components, {})
    assert (base or b"").splitlines()[:3] == [
        b'"x-ows-header": Leading and trailing whitespace.',
        b'"cache-control": max-age=60, must-revalidate',
        b'"x-empty-header": ',
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (BODY, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        (BODY + b"\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
        (
            BODY + b"\n",
            "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:",
        ),
    ],
)
def test_rfc_9530_digests(body: bytes, field: str) -> None:
    assert signature.digest_matches(field, dict(signature.digests_of(body)))
    assert not signature.digest_matches(field, dict(signature.digests_of(body + b" ")))


@pytest.mark.parametrize(
    ("field", "matches"),
    [
        ("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, md5=:aGk=:", True),
        ("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, sha-512=:aGk=:", False),
        ("md5=:aGk=:", False),
        ("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:" + " " * 4096, False),
        ("sha-256=:aGk=:, sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", False),
    ],
)
def test_content_digest_must_match_body(field: str, matches: bool) -> None:
    assert signature.digest_matches(field, dict(signature.digests_of(BODY))) is matches


def signed(
    covered: tuple[str, ...] = COVERED, request: SignedRequest | None = None, **params: Any
) -> SignedRequest:
    """A correctly signed request with the given changes. Parameters that are None are omitted."""
    request = request or changed(
        BARE,
        method="POST",
        path="/cores/docs/a",
        query="b=c",
        fields=(("content-digest", http_sf.ser(dict(signature.digests_of(BODY)))), ("x-more", "1")),
        body=BODY,
    )
    present = {name: value for name, value in {**PARAMETERS, **params}.items() if value is not None}
    base = signature.signature_base(request, covered, present)
    value = PRIVATE_KEY.sign(base or b"")
    expected = f"sig1={signature.input_text(covered, present)}"
    fields = (
        *request.fields,
        ("signature-input", expected),
        ("signature", http_sf.ser({"sig1": value})),
    )
    return changed(request, fields=fields)


def check(request: SignedRequest, now: float = NOW) -> VerifiedSignature | SignatureError:
    try:
        return signature.check(request, key_id=KEY_ID, public_key=PUBLIC_KEY, now=now)
    except signature.Rejected as exc:
        return exc.reason


def with_field(request: SignedRequest, name: str, value: str) -> SignedRequest:
    others = (field for field in request.fields if field[0] != name)
    return changed(request, fields=(*others, (name, value)))


def test_signature_is_accepted_until_it_expires() -> None:
    for now in (NOW - 30, NOW, NOW + 300):
        assert check(signed(), now=now) == VerifiedSignature("n" * 16)


@pytest.mark.parametrize(
    "covered",
    [("@method", "@authority", "@path", "@query", "content-digest"), (*COVERED, "x-more")],
)
def test_target_may_be_covered_in_parts(covered: tuple[str, ...]) -> None:
    assert isinstance(check(signed(covered, alg="ed25519")), VerifiedSignature)


@pytest.mark.parametrize(
    "covered", [*combinations(COVERED, 2), ("@method", "@authority", "@path", "content-digest")]
)
def test_uncovered_component_is_rejected(covered: tuple[str, ...]) -> None:
    assert check(signed(covered)) is SignatureError.UNCOVERED


def test_absent_body_and_query_need_no_cover() -> None:
    bare = BARE
    assert check(bare) is SignatureError.MISSING
    assert isinstance(
        check(signed(("@method", "@authority", "@path"), request=bare)), VerifiedSignature
    )


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"created": None}, SignatureError.PARAMETERS),
        ({"created": 1.5}, SignatureError.PARAMETERS),
        ({"created": int(NOW) - 301}, SignatureError.AGE),
        ({"created": int(NOW) + 31}, SignatureError.AGE),
        ({"expires": int(NOW)}, SignatureError.AGE),
        ({"expires": "soon"}, SignatureError.AGE),
        ({"nonce": None}, SignatureError.PARAMETERS),
        ({"nonce": "n" * 15}, SignatureError.PARAMETERS),
        ({"nonce": "n" * 129}, SignatureError.PARAMETERS),
        ({"keyid": None}, SignatureError.KEYID),
        ({"keyid": "9fGh82kLmQ0a"}, SignatureError.KEYID),
        ({"alg": "hmac-sha256"}, SignatureError.ALGORITHM),
        ({"tag": None}, SignatureError.MISSING),
        ({"tag": "somebody-else", "nonce": '"gatehouse"' + "n" * 9}, SignatureError.MISSING),
    ],
)
def test_invalid_parameter_has_its_reason(params: dict[str, Any], error: SignatureError) -> None:
    assert check(signed(**params)) is error


def test_hmac_with_the_public_key_is_rejected() -> None:
    request = signed()
    base = signature.signature_base(request, COVERED, PARAMETERS) or b""
    forged = hmac.digest(base64.b64decode(PUBLIC_KEY), base, "sha256")
    field = http_sf.ser({"sig1": forged})
    assert check(with_field(request, "signature", field)) is SignatureError.WRONG


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"method": "PUT"}, SignatureError.WRONG),
        ({"scheme": "http"}, SignatureError.WRONG),
        ({"body": b"another body"}, SignatureError.DIGEST),
    ],
)
def test_modified_request_is_rejected(changes: dict[str, Any], error: SignatureError) -> None:
    assert check(changed(signed(), **changes)) is error


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("signature", "sig2=:aGk=:", SignatureError.MALFORMED),
        ("signature", "sig1=aGk", SignatureError.MALFORMED),
        ("signature", "sig1=:aGk=:", SignatureError.WRONG),
        ("signature", "sig1=:aGk=:, sig1=:aGk=:", SignatureError.MALFORMED),
        ("signature", "\x00", SignatureError.MALFORMED),
        ("signature", "a" * 5000, SignatureError.MALFORMED),
        ("signature-input", 'sig1=("@method";tag="gatehouse"', SignatureError.MALFORMED),
        ("signature-input", 'sig1="@method";tag="gatehouse"', SignatureError.MISSING),
        (
            "signature-input",
            'sig1=("@method");tag="gatehouse", sig2=("@method");tag="gatehouse"',
            SignatureError.AMBIGUOUS,
        ),
        ("signature-input", 'sig1=("@method" "@method");tag="gatehouse"', SignatureError.MALFORMED),
        ("signature-input", 'sig1=("@method";req);tag="gatehouse"', SignatureError.COMPONENT),
        ("signature-input", 'sig1=("Date");tag="gatehouse"', SignatureError.COMPONENT),
        ("signature-input", 'sig1=(5);tag="gatehouse"', SignatureError.COMPONENT),
    ],
)
def test_malformed_signature_field_is_rejected(
    name: str, value: str, error: SignatureError
) -> None:
    assert check(with_field(signed(), name, value)) is error


@pytest.mark.parametrize("component", ["@status", "@query-param", "@signature-params", "x-absent"])
def test_missing_component_is_rejected(component: str) -> None:
    assert check(signed((*COVERED, component))) is SignatureError.COMPONENT


def test_other_signatures_are_ignored() -> None:
    request = signed()
    expected = next(value for name, value in request.fields if name == "signature-input")
    both = with_field(request, "signature-input", f'core=("@method");tag="core", {expected}')
    assert isinstance(check(both), VerifiedSignature)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_signature_field_gets_a_reason(expected: str, created: str) -> None:
    request = with_field(
        with_field(signed(), "signature-input", expected + ';tag="gatehouse"'), "signature", created
    )
    assert isinstance(check(request), SignatureError)


@given(
    st.binary(max_size=64),
    st.sampled_from(["path", "query", "authority"]),
    st.text(min_size=1, max_size=20),
)
def test_signature_is_unique_to_its_request(body: bytes, member: str, text: str) -> None:
    base = changed(BARE, body=body)
    request = signed(("@method", "@authority", "@path", "@query"), request=base)
    other = changed(request, **{member: getattr(base, member) + text})
    authority = other.authority.lower().removesuffix(":443")
    same = member == "authority" and authority == base.authority
    assert isinstance(check(other), VerifiedSignature) is same
