"""Signing keys of API keys at the console: shown once, sealed at rest, required, removed, and moved as the pepper rotates."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.crypto import http_signatures as signature
from gatehouse.crypto.sealing import SIGNING_SECRET, unseal
from gatehouse.crypto.token import Pepper
from gatehouse.keys.models import KeyId
from gatehouse.keys.routes import key_service
from gatehouse.keys.signing import Resealer

OLD, NEW = {1: b"p" * 32}, {1: b"p" * 32, 2: b"q" * 32}
PUBLIC = Ed25519PrivateKey.generate().public_key()


async def set_hmac(door: Any, key_id: str, **more: Any) -> Any:
    return await door.client.put(f"/v1/keys/{key_id}/signing", json={"algorithm": "hmac-sha256", **more})


async def signing_of(door: Any, key_id: str) -> Any:
    found = await door.parts.keys.get(KeyId(key_id))
    return found.signing


@pytest.mark.requirement("TR-10")
async def test_a_signing_secret_is_shown_once_and_stored_sealed(door: Any) -> None:
    made = (await door.create())["key"]
    assert made["signing"] is None
    reply = await set_hmac(door, made["id"])
    assert reply.status_code == 200, reply.text
    secret = signature.secret_bytes(reply.json()["secret"])
    assert reply.json()["key"]["signing"] == {"algorithm": "hmac-sha256", "required": True}
    stored = await signing_of(door, made["id"])
    assert len(secret) == 32
    assert unseal(stored.key, SIGNING_SECRET, Pepper(OLD, 1), 1, context=made["id"]) == secret
    assert secret not in stored.key
    shown = await door.client.get(f"/v1/keys/{made['id']}")
    audit = await door.client.get("/v1/audit-events")
    for text in (shown.text, audit.text, str(door.lines.kept)):
        assert reply.json()["secret"] not in text
        assert reply.json()["secret"].removeprefix("sigkey_") not in text


@pytest.mark.parametrize("form", ["raw", "pem"])
async def test_an_ed25519_public_key_is_taken_as_base64_or_pem(door: Any, form: str) -> None:
    made = (await door.create())["key"]
    raw = PUBLIC.public_bytes_raw()
    pem = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    text = base64.b64encode(raw).decode() if form == "raw" else pem
    wish = {"algorithm": "ed25519", "public_key": text, "required": False}
    reply = (await door.client.put(f"/v1/keys/{made['id']}/signing", json=wish)).json()
    assert (reply["secret"], reply["key"]["signing"]) == (None, {"algorithm": "ed25519", "required": False})
    assert (await signing_of(door, made["id"])).key == raw


@pytest.mark.parametrize(
    ("options", "location"),
    [
        ({"algorithm": "ed25519"}, "body.public_key"),
        ({"algorithm": "ed25519", "public_key": "aGk="}, "body.public_key"),
        ({"algorithm": "hmac-sha256", "public_key": base64.b64encode(bytes([9] * 32)).decode()}, "body.public_key"),
        ({"algorithm": "none"}, "body.algorithm"),
    ],
)
async def test_invalid_signing_key_is_rejected(door: Any, options: Any, location: str) -> None:
    made = (await door.create())["key"]
    reply = await door.client.put(f"/v1/keys/{made['id']}/signing", json=options)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)


async def test_requiring_signatures_needs_a_signing_key_and_removing_it_needs_them_not_required(door: Any) -> None:
    key_id = (await door.create())["key"]["id"]
    match = {"If-Match": "*"}

    async def patch(required: bool) -> Any:
        return await door.client.patch(f"/v1/keys/{key_id}", json={"require_signature": required}, headers=match)

    refused = await patch(True)
    assert [error["location"] for error in refused.json()["errors"]] == ["body.require_signature"]
    await set_hmac(door, key_id)
    kept = await door.client.delete(f"/v1/keys/{key_id}/signing")
    assert (kept.status_code, "require_signature" in kept.json()["detail"]) == (409, True)
    assert (await patch(False)).json()["key"]["signing"]["required"] is False
    gone = await door.client.delete(f"/v1/keys/{key_id}/signing")
    assert gone.json()["key"]["signing"] is None
    assert (await door.client.delete(f"/v1/keys/{key_id}/signing")).status_code == 409


async def test_a_rotated_keys_successor_has_the_secret_and_takes_another_without_touching_the_old_one(door: Any) -> None:
    key_id = (await door.create())["key"]["id"]
    await set_hmac(door, key_id)
    successor = (await door.client.post(f"/v1/keys/{key_id}/rotate", json={})).json()["key"]["id"]
    first = await signing_of(door, key_id)
    assert await signing_of(door, successor) == first
    secret = signature.secret_bytes((await set_hmac(door, successor)).json()["secret"])
    assert await signing_of(door, key_id) == first
    assert unseal((await signing_of(door, successor)).key, SIGNING_SECRET, Pepper(OLD, 1), 1, context=key_id) == secret


async def test_a_key_that_requires_signatures_opens_no_console(door: Any) -> None:
    """The console takes no signatures, so it would believe the token alone."""
    await door.create(roles=["admin"])
    made = await door.create(roles=["admin"])
    assert (await door.client.get("/v1/keys", headers=door.as_(made["token"]))).status_code == 200
    assert (await set_hmac(door, made["key"]["id"])).status_code == 200
    assert (await door.client.get("/v1/keys", headers=door.as_(made["token"]))).status_code == 401


async def test_explain_says_that_a_signature_will_be_asked_for(door: Any) -> None:
    key_id = (await door.create())["key"]["id"]
    await set_hmac(door, key_id)
    found = (await door.client.post(f"/v1/keys/{key_id}/explain", json={})).json()
    assert [one for one in found["checks"] if one["name"] == "signature"] == [
        {"name": "signature", "outcome": "unknown", "code": "SIGNATURE_INVALID", "has": "hmac-sha256, required", "asked": ""}
    ]


async def test_a_purge_takes_the_signing_key_along(door: Any) -> None:
    key_id = (await door.create())["key"]["id"]
    await set_hmac(door, key_id)
    await door.client.post(f"/v1/keys/{key_id}/revoke", json={})
    done = await door.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    assert done.status_code == 200, done.text
    assert await signing_of(door, key_id) is None


@pytest.mark.requirement("CG-02")
async def test_signing_secrets_move_with_the_pepper_and_open_under_the_new_one(door: Any) -> None:
    key_id = (await door.create())["key"]["id"]
    secret = signature.secret_bytes((await set_hmac(door, key_id)).json()["secret"])
    pepper = Pepper(NEW, 2)
    keys = dataclasses.replace(key_service(door.parts), pepper=pepper)
    resealer = Resealer(keys)
    used = {use.generation: use.signing for use in await door.parts.keys.generations()}
    assert used[1] >= 1
    assert await resealer.run_once() == used[1]
    assert await resealer.run_once() == 0
    stored = await signing_of(door, key_id)
    assert (stored.pepper_generation, unseal(stored.key, SIGNING_SECRET, pepper, 2, context=key_id)) == (2, secret)
    assert {use.generation: use.signing for use in await door.parts.keys.generations()}[2] == used[1]
    last = (await door.client.get("/v1/audit-events?action=pepper.reseal")).json()["events"][0]
    assert last["details"] == {"secrets": used[1], "generation": 2}


async def test_the_pepper_status_counts_what_is_sealed_and_keeps_its_generation(door: Any) -> None:
    before = (await door.client.get("/v1/pepper")).json()["generations"][0]["signing"]
    await set_hmac(door, (await door.create())["key"]["id"])
    found = (await door.client.get("/v1/pepper")).json()["generations"][0]
    assert (found["generation"], found["signing"], found["removable"]) == (1, before + 1, False)
