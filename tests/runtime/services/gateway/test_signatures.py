"""Request signatures (RFC 9421)."""

import asyncio
import base64
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.core.http.http_signatures import AGE_S_MAX
from gatehouse.features.verification.nonces import KEY_PREFIX
from gatehouse_client.signing import SignedAuth, sign
from valkey import Valkey

from sandbox.local.servers import administrator
from tests import requires


def pem(key: Any) -> str:
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE_KEY, OTHER = pem(KEY), pem(Ed25519PrivateKey.from_private_bytes(bytes(32)))
ORIGIN = "http://gateway.test"
FILE = "/cores/docs/status/200?x=1"
SCRIPT = Path(__file__).parents[4] / "docs" / "guides" / "sign.sh"


async def signing_key(gateway: Any, **columns: Any) -> Any:
    public_key = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    return await gateway.create_key(public_key=public_key, **columns)


def signed_by(method: str, key: Any, body: bytes = b"") -> dict[str, str]:
    return sign(method, ORIGIN + FILE, body, token=key.token, private_key=PRIVATE_KEY)


def lines(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


async def send(
    gateway: Any, key: Any, headers: dict[str, str], method: str = "GET", **parts: Any
) -> Any:
    return await gateway.request(method, FILE, key.bearer, *lines(headers), **parts)


def reason(reply: Any) -> str:
    return str(reply.json["detail"]).rpartition(": ")[2]


async def test_only_signed_request_reaches_core(gateway: Any, docs: Any, core: Any) -> None:
    key = await signing_key(gateway)
    assert (await send(gateway, key, signed_by("GET", key))).status == 200
    denied = await send(gateway, key, {})
    assert denied.status == 401
    assert denied.json["code"] == "SIGNATURE_INVALID"
    assert reason(denied) == "signature_missing"
    assert "docs/guides/signatures.md" in denied.json["errors"][0]["fix"]
    assert 'tag="gatehouse"' in (denied.header("accept-signature") or "")
    assert len(core.requests) == 1


async def test_signature_is_accepted_once(gateway: Any, docs: Any, redis_url: str) -> None:
    key, now = await signing_key(gateway), time.time() - 200
    signed = sign("GET", ORIGIN + FILE, token=key.token, private_key=PRIVATE_KEY, now=now)
    replies = [await send(gateway, key, signed) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 401]
    assert reason(replies[1]) == "signature_replayed"
    with Valkey.from_url(administrator(redis_url)) as client:
        [nonce] = client.scan_iter(f"{KEY_PREFIX}{key.id}:*")
        assert client.ttl(nonce) > AGE_S_MAX


async def test_forged_signature_consumes_no_nonce(gateway: Any, docs: Any) -> None:
    key = await signing_key(gateway)
    nonce = secrets.token_hex(16)
    forged = sign("GET", ORIGIN + FILE, token=key.token, private_key=OTHER, nonce=nonce)
    assert reason(await send(gateway, key, forged)) == "signature_wrong"
    signed = sign("GET", ORIGIN + FILE, token=key.token, private_key=PRIVATE_KEY, nonce=nonce)
    assert (await send(gateway, key, signed)).status == 200


async def test_signed_body_is_verified_before_forwarding(
    gateway: Any, docs: Any, core: Any
) -> None:
    key = await signing_key(gateway)
    body = b"pay 10 to alice"
    signed = signed_by("POST", key, body)
    changed = await send(gateway, key, signed, "POST", body=b"pay 99 to mallo")
    assert reason(changed) == "signature_digest"
    assert core.requests == []
    assert (await send(gateway, key, signed, "POST", body=body)).status == 200
    assert core.last[2] == body


async def test_too_large_signed_body_is_413(gateway: Any, docs: Any, core: Any) -> None:
    key = await signing_key(gateway)
    body = bytes(65_537)
    signed = signed_by("POST", key, body)
    reply = await send(gateway, key, signed, "POST", body=body)
    assert reply.outcome == (413, "body_too_large")
    assert core.requests == []


async def test_signature_for_core_is_ignored(gateway: Any, docs: Any, core: Any) -> None:
    key = await gateway.create_key()
    signature = {"signature-input": 'core=("@method");tag="core"', "signature": "core=:aGk=:"}
    assert (await send(gateway, key, signature)).status == 200
    assert core.last[1]["signature"] == "core=:aGk=:"


async def test_without_redis_signature_is_unavailable(
    another: Any, gateway: Any, docs: Any
) -> None:
    other = another(redis_url="redis://127.0.0.1:1")
    key, plain = await signing_key(gateway), await gateway.create_key()
    assert (await send(other, key, signed_by("GET", key))).status == 503
    assert (await send(other, plain, {})).status == 200


URL = "https://api.test/v1/x?y=z"


def described(method: str, headers: dict[str, str], body: bytes | None = None) -> Any:
    digest = None if body is None else base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {
        "method": method,
        "url": URL,
        "headers": [list(pair) for pair in headers.items()],
        "body_sha256": digest,
    }


async def test_verify_checks_described_request(gateway: Any) -> None:
    key = await signing_key(gateway)
    signed = sign("POST", URL, b"hello", token=key.token, private_key=PRIVATE_KEY)
    request = described("POST", signed, b"hello")
    first, second = [(await gateway.verify(key.token, request=request)).json for _ in range(2)]
    assert (first["code"], first["reason"]) == ("VALID", None)
    assert (second["reason"], second["valid"]) == ("signature_replayed", False)
    assert second["key_id"] == key.id


async def test_verify_requires_described_request(gateway: Any) -> None:
    key = await signing_key(gateway)
    assert (await gateway.verify(key.token)).json["reason"] == "signature_missing"
    header = await gateway.get("/v1/keys/verify", key.bearer)
    assert header.status == 401
    assert header.header("accept-signature")


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"method": "get"}, "body.request.method"),
        ({"url": "/v1/x"}, "body.request.url"),
        ({"url": "https://user@api.test/"}, "body.request.url"),
        ({"url": "https://api.test/#top"}, "body.request.url"),
        ({"url": "https://api.test/ä"}, "body.request.url"),
        ({"headers": [["x", "y" * 17_000]]}, "body.request.headers[0][1]"),
        ({"headers": [["x", "y" * 16_000], ["z", "y" * 1000]]}, "body.request.headers"),
        ({"body_sha256": "aGk="}, "body.request.body_sha256"),
        ({"body_sha256": "?"}, "body.request.body_sha256"),
    ],
)
async def test_invalid_request_description_is_rejected(
    gateway: Any, change: Any, location: str
) -> None:
    key = await signing_key(gateway)
    reply = await gateway.verify(key.token, request={**described("GET", {}), **change})
    assert (reply.status, reply.json["errors"][0]["location"]) == (400, location)


async def test_httpx_auth_signs_every_request(gateway: Any, docs: Any, core: Any) -> None:
    key = await signing_key(gateway)
    url = f"http://127.0.0.1:{gateway.port}/cores/docs"
    async with httpx.AsyncClient(auth=SignedAuth(key.token, PRIVATE_KEY), timeout=60) as client:
        replies = [
            await client.get(f"{url}/status/200", params={"x": "ä y"}),
            await client.post(f"{url}/a b", content=b"body"),
        ]
    assert [reply.status_code for reply in replies] == [200] * 2
    assert core.last[0].startswith("POST /a%20b ")
    assert core.last[2] == b"body"


async def test_key_that_requires_signatures_cannot_register(gateway: Any) -> None:
    agent = await signing_key(gateway, scopes=["cores:register"])
    reply = await gateway.put_core(agent, "signed", {"url": "http://127.0.0.1:9"})
    assert reply.outcome == (401, "SIGNATURE_INVALID")


def test_signed_headers_are_deterministic() -> None:
    token = "gtk_test_3fGh82kLmQ0a" + "0" * 49
    signed = sign(
        "get",
        "https://gateway.example.com:443/a?b=c",
        token=token,
        private_key=OTHER,
        now=1_700_000_000.9,
        nonce="n" * 16,
    )
    assert signed == {
        "signature-input": (
            'gatehouse=("@method" '
            '"@target-uri");created=1700000000;nonce="nnnnnnnnnnnnnnnn";keyid="3fGh82kLmQ0a";tag="gatehouse"'
        ),
        "signature": (
            "gatehouse=:2uaQjJUDKu0G5419finjvdv8nn75DkgYcDaBFTv6N9we4M+WAZqyhq9L4lDoGNIzOwavQ6wZ3dkt"
            "RJV1r+YUAA==:"
        ),
    }


async def run(*arguments: str, token: str, private_key: Path) -> tuple[int, str]:
    environment = {**os.environ, "GATEHOUSE_KEY": token, "GATEHOUSE_PRIVATE_KEY": str(private_key)}
    child = await asyncio.create_subprocess_exec(
        SCRIPT,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await child.communicate()
    return child.returncode or 0, written.decode()


@requires.program("curl")
@requires.program("openssl")
async def test_signing_script_of_guide_works(
    gateway: Any, docs: Any, core: Any, tmp_path: Path
) -> None:
    own, other = tmp_path / "private.pem", tmp_path / "other.pem"
    own.write_text(PRIVATE_KEY)
    other.write_text(OTHER)
    token = (await signing_key(gateway)).token
    url, body = f"http://127.0.0.1:{gateway.port}/cores/docs", "@a 'body' with \"quotes\""
    signed = await run("GET", f"{url}/status/200?x=%20y", token=token, private_key=own)
    assert signed == (0, "core says 200")
    assert (await run("POST", f"{url}/a", body, token=token, private_key=own))[0] == 0
    assert core.last[2] == body.encode()
    code, denied = await run("GET", f"{url}/a", token=token, private_key=other)
    assert code != 0
    assert "signature_wrong" in denied
