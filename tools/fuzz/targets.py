"""The fuzzed parsers, by target. Each target takes arbitrary bytes and raises an exception if a
parser breaks a property.

The documented exceptions of a parser are results. All other exceptions are defects.
"""

import base64
import hashlib
import ipaddress
import posixpath
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from gatehouse.core.errors import GatehouseError
from gatehouse.core.http import forwarding, header_names, http_signatures
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.tokens import imported_tokens, token
from gatehouse.core.tokens import token_scanner as scanner
from gatehouse.core.verification import SignedRequest
from gatehouse.features.cores.schemas import decode_lease
from gatehouse.features.keys.schemas import CreateKey, ListKeys
from gatehouse.features.transfer import file_formats
from gatehouse.features.verification import schemas as verification
from gatehouse.platform.web import validation
from gatehouse.platform.web.fields import Cursors, expected_version
from gatehouse.platform.web.validation import check_json
from gatehouse.services.console import idempotency

Target = Callable[[bytes], None]

_PEPPER = token.Pepper({1: bytes(range(32))}, 1)
_KEY_ID = "3fGh82kLmQ0a"
#: Of RFC 9421, appendix B.1.4.
_PUBLIC_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
_NOW = 1_800_000_000.0
_ADDRESSES = ClientAddresses(
    (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))
)


def fuzz_token(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    candidates = [text]
    if text.isascii():
        candidates.append(text + token.checksum(text))
    for candidate in candidates:
        parsed = token.parse(candidate, "gtk")
        if parsed is not None:
            rest = candidate[len("gtk_test_") + token.ID_CHARS :]
            assert candidate == f"gtk_{parsed.environment.value}_{parsed.id}{rest}"
            assert token.key_id(parsed.id) == parsed.id
            token.is_marked(parsed.id, _PEPPER)
            assert [match.text for match in scanner.find(f" {candidate} ".encode())] == [candidate]
        redacted = scanner.redacted(candidate)
        assert list(scanner.find(redacted.encode())) == []
    for match in scanner.find(data):
        assert data[match.position : match.position + len(match.text)] == match.text.encode()
        assert match.line == data.count(b"\n", 0, match.position) + 1
    if imported_tokens.is_token(text):
        assert text not in imported_tokens.material(text)


def fuzz_header(data: bytes) -> None:
    """Header fields: names, destinations, cookies, client addresses, conditions, idempotency keys
    and media types.
    """
    lines = [line.partition(b":") for line in data.split(b"\n")]
    fields = [
        (name.strip().lower(), value.strip()) for name, _, value in lines if name.strip().isascii()
    ]
    names = header_names.forwarded_names()
    for name, _ in fields:
        assert not names[name] or name.decode() not in header_names.OWNED[0].names
    values = [value.decode("latin-1") for _, value in fields]
    for value in values[:3]:
        with suppress(GatehouseError):
            path = forwarding.core_destination(value, ("gateway.test",), "/cores/docs", "/app")
            assert path == "/app" or path.startswith(("/app/", "/app?", "/app#"))
        cookies = forwarding.cookies_for_core(value, by_host=True)
        assert not cookies.startswith(forwarding.CONSOLE_COOKIE)
    ipaddress.ip_address(_ADDRESSES.client("10.0.0.1", values))
    with suppress(GatehouseError):
        idempotency.idempotency_key(values[:1])
    for value in values[:3]:
        with suppress(GatehouseError):
            check_json(value)
        with suppress(GatehouseError):
            expected_version(value)
        with suppress(GatehouseError):
            Cursors(_PEPPER, "keys").read(value, str)


def fuzz_signature(data: bytes) -> None:
    """HTTP message signatures and digests. The first line is Signature-Input, the second Signature,
    the third Content-Digest.
    """
    parts = data.decode("latin-1").split("\n", 3)
    signature_input, signature, digest, path = (*parts, "", "", "", "")[:4]
    fields = (
        ("signature-input", signature_input),
        ("signature", signature),
        ("content-digest", digest),
    )
    body = b"body"
    request = SignedRequest("POST", "https", "gateway.test:443", "/" + path, "", fields, body)
    try:
        http_signatures.check(request, key_id=_KEY_ID, public_key=_PUBLIC_KEY, now=_NOW)
    except http_signatures.Rejected:
        pass
    else:
        raise AssertionError("a signature without the key is valid")
    if http_signatures.digest_matches(digest, dict(http_signatures.digests_of(body))):
        sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert sha256 in digest or "sha-512" in digest
    with suppress(ValueError):
        public_key = http_signatures.read_public_key(signature)
        assert http_signatures.read_public_key(public_key) == public_key


def fuzz_path(data: bytes) -> None:
    parsed = None
    with suppress(GatehouseError):
        parsed = forwarding.core_path(forwarding.CORES.encode() + data)
    if parsed is not None:
        path = unquote_to_bytes(parsed.path).decode("utf-8")
        kept = posixpath.normpath("/core/" + path.replace(";", "/"))
        assert kept == "/core" or kept.startswith("/core/"), "the path leaves its Core"
        assert not any(character in path for character in "\r\n\0\\")
        assert parsed.path.isascii()
    assert isinstance(forwarding.query_flaw(data), str)
    with suppress(GatehouseError):
        validation.decode_query(data, ListKeys)
    with suppress(GatehouseError):
        verification.decode_parameters(data, "192.0.2.7")


def fuzz_json(data: bytes) -> None:
    with suppress(GatehouseError):
        validation.decode_body(data, object)
    for kind in (CreateKey, verification.SelfRevocationRequest):
        with suppress(GatehouseError):
            validation.decode_body(data, kind)
    with suppress(GatehouseError):
        verification.decode(data, lambda: "192.0.2.7")
    with suppress(GatehouseError):
        decode_lease(data)
    text = data.decode("utf-8", "replace")
    for file_format in file_formats.FileFormat:
        with suppress(file_formats.MalformedFile):
            file_formats.entries(text, file_format, columns=("name",))
    with suppress(file_formats.MalformedFile):
        remaining, count = file_formats.without(text, lambda name: not name)
        assert count or remaining == text
    with suppress(file_formats.UnreadableExport):
        file_formats.read_export(data, _PEPPER)


TARGETS: dict[str, Target] = {
    "token": fuzz_token,
    "header": fuzz_header,
    "signature": fuzz_signature,
    "path": fuzz_path,
    "json": fuzz_json,
}
