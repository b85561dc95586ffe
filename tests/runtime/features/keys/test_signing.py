"""Signing keys in the management API: creation, storage, removal and pepper rotation."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.core import http_signatures as signature
from gatehouse.core.keys import KeyId
from gatehouse.core.sealing import SIGNING_SECRET, unseal
from gatehouse.core.token import Pepper

OLD, NEW = {1: b"p" * 32}, {1: b"p" * 32, 2: b"q" * 32}
PUBLIC = Ed25519PrivateKey.generate().public_key()


async def set_hmac(console: Any, key_id: str, **more: Any) -> Any:
    return await console.client.put(
        f"/v1/keys/{key_id}/signing", json={"algorithm": "hmac-sha256", **more}
    )


async def signing_of(console: Any, key_id: str) -> Any:
    result = await console.composition.key_service().get(KeyId(key_id))
    return result.signing


@pytest.mark.requirement("TR-10")
async def test_signing_secret_is_returned_once_and_stored_sealed(console: Any) -> None:
    created = (await console.create())["key"]
    assert created["signing"] is None
    reply = await set_hmac(console, created["id"])
    assert reply.status_code == 200, reply.text
    secret = signature.secret_bytes(reply.json()["secret"])
    assert reply.json()["key"]["signing"] == "hmac-sha256"
    stored = await signing_of(console, created["id"])
    assert len(secret) == 32
    assert unseal(stored.key, SIGNING_SECRET, Pepper(OLD, 1), 1, context=created["id"]) == secret
    assert secret not in stored.key
    shown = await console.client.get(f"/v1/keys/{created['id']}")
    audit = await console.client.get("/v1/audit-events")
    for text in (shown.text, audit.text, str(console.log.entries)):
        assert reply.json()["secret"] not in text
        assert reply.json()["secret"].removeprefix("sigkey_") not in text


@pytest.mark.parametrize("form", ["raw", "pem"])
async def test_ed25519_public_key_is_read_as_base64_or_pem(console: Any, form: str) -> None:
    created = (await console.create())["key"]
    raw = PUBLIC.public_bytes_raw()
    pem = PUBLIC.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    text = base64.b64encode(raw).decode() if form == "raw" else pem
    properties = {"algorithm": "ed25519", "public_key": text}
    reply = (await console.client.put(f"/v1/keys/{created['id']}/signing", json=properties)).json()
    assert (reply["secret"], reply["key"]["signing"]) == (None, "ed25519")
    assert (await signing_of(console, created["id"])).key == raw


@pytest.mark.parametrize(
    ("options", "location"),
    [
        ({"algorithm": "ed25519"}, "body.public_key"),
        ({"algorithm": "ed25519", "public_key": "aGk="}, "body.public_key"),
        (
            {"algorithm": "hmac-sha256", "public_key": base64.b64encode(bytes([9] * 32)).decode()},
            "body.public_key",
        ),
        ({"algorithm": "none"}, "body.algorithm"),
    ],
)
async def test_invalid_signing_key_is_rejected(console: Any, options: Any, location: str) -> None:
    created = (await console.create())["key"]
    reply = await console.client.put(f"/v1/keys/{created['id']}/signing", json=options)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)


async def test_successor_has_its_own_copy_of_the_signing_secret(console: Any) -> None:
    key_id = (await console.create())["key"]["id"]
    await set_hmac(console, key_id)
    successor = (await console.client.post(f"/v1/keys/{key_id}/rotate", json={})).json()["key"][
        "id"
    ]
    first = await signing_of(console, key_id)
    assert await signing_of(console, successor) == first
    secret = signature.secret_bytes((await set_hmac(console, successor)).json()["secret"])
    assert await signing_of(console, key_id) == first
    assert (
        unseal(
            (await signing_of(console, successor)).key,
            SIGNING_SECRET,
            Pepper(OLD, 1),
            1,
            context=key_id,
        )
        == secret
    )


async def test_key_that_requires_signatures_cannot_use_console(console: Any) -> None:
    """The console does not verify signatures, so the token alone would be sufficient."""
    await console.create(scopes=["admin"])
    created = await console.create(scopes=["admin"])
    assert (
        await console.client.get("/v1/keys", headers=console.as_(created["token"]))
    ).status_code == 200
    assert (await set_hmac(console, created["key"]["id"])).status_code == 200
    assert (
        await console.client.get("/v1/keys", headers=console.as_(created["token"]))
    ).status_code == 401
    signing = f"/v1/keys/{created['key']['id']}/signing"
    assert (await console.client.delete(signing)).json()["key"]["signing"] is None
    assert (await console.client.delete(signing)).status_code == 409


async def test_purge_deletes_the_signing_key(console: Any) -> None:
    key_id = (await console.create())["key"]["id"]
    await set_hmac(console, key_id)
    await console.client.post(f"/v1/keys/{key_id}/revoke", json={})
    done = await console.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    assert done.status_code == 200, done.text
    assert await signing_of(console, key_id) is None


@pytest.mark.requirement("CG-02")
async def test_signing_secrets_are_resealed_with_the_new_pepper(console: Any) -> None:
    key_id = (await console.create())["key"]["id"]
    secret = signature.secret_bytes((await set_hmac(console, key_id)).json()["secret"])
    pepper = Pepper(NEW, 2)
    keys = dataclasses.replace(console.composition.key_service(), pepper=pepper)
    used = {use.generation: use.signing for use in await keys.store.generations()}
    assert used[1] >= 1
    assert await keys.reseal() == used[1]
    assert await keys.reseal() == 0
    stored = await signing_of(console, key_id)
    assert (
        stored.pepper_generation,
        unseal(stored.key, SIGNING_SECRET, pepper, 2, context=key_id),
    ) == (2, secret)
    assert {use.generation: use.signing for use in await keys.store.generations()}[2] == used[1]
    last = (await console.client.get("/v1/audit-events?action=pepper.reseal")).json()["events"][0]
    assert last["details"] == {"secrets": used[1], "generation": 2}


async def test_pepper_status_counts_sealed_secrets(console: Any) -> None:
    before = (await console.client.get("/v1/pepper")).json()["generations"][0]["signing"]
    await set_hmac(console, (await console.create())["key"]["id"])
    result = (await console.client.get("/v1/pepper")).json()["generations"][0]
    assert (result["generation"], result["signing"], result["removable"]) == (1, before + 1, False)
    assert (result["available"], result["keys"] >= 1) == (True, True)
