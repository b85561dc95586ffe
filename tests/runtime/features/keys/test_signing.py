"""Public keys of API keys in the management API."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.runtime.features.keys.test_service import patch

PUBLIC = Ed25519PrivateKey.generate().public_key()
TEXT = base64.b64encode(PUBLIC.public_bytes_raw()).decode()


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_bytes(serialization.Encoding.PEM, form).decode())


@pytest.mark.parametrize("text", [TEXT, pem(PUBLIC)], ids=["base64", "pem"])
async def test_public_key_is_read_as_base64_or_pem(console: Any, text: str) -> None:
    created = (await console.create(public_key=text))["key"]
    assert created["public_key"] == TEXT
    changed = await patch(console, created["id"], public_key="")
    assert changed.json()["key"]["public_key"] == ""


@pytest.mark.parametrize(
    "text", ["aGk=", "none", pem(ec.generate_private_key(ec.SECP256R1()).public_key())]
)
async def test_invalid_public_key_is_rejected(console: Any, text: str) -> None:
    reply = await console.post("/v1/keys", json={"name": "a", "public_key": text})
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "body.public_key")


async def test_successor_has_its_own_copy_of_the_public_key(console: Any) -> None:
    key_id = await console.create_id(public_key=TEXT)
    successor = (await console.post(f"/v1/keys/{key_id}/rotate", json={})).json()["key"]
    assert successor["public_key"] == TEXT
    await patch(console, successor["id"], public_key="")
    assert (await console.get(f"/v1/keys/{key_id}")).json()["public_key"] == TEXT
