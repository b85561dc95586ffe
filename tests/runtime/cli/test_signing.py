"""Signing key commands against a running console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.crypto.http_signatures import secret_bytes

from tests.runtime.cli.conftest import Command


def made(operator: Command) -> str:
    return operator.run("keys", "create", "--name", "signer").out.strip().split("_")[2][:12]


def signing(operator: Command, key_id: str) -> object:
    return json.loads(operator.run("keys", "show", key_id, "--json").out)["signing"]


@pytest.mark.requirement("TR-10")
def test_standard_output_holds_only_the_signing_secret(operator: Command) -> None:
    key_id = made(operator)
    done = operator.run("keys", "set-signing", key_id)
    assert (done.code, len(secret_bytes(done.out.strip()))) == (0, 32)
    assert done.err == f"Signing secret of {key_id} (signer). Store it now; it is not shown again:\n"
    assert signing(operator, key_id) == {"algorithm": "hmac-sha256", "required": True}


def test_signature_requirement_and_key_are_removed(operator: Command) -> None:
    key_id = made(operator)
    operator.run("keys", "set-signing", key_id)
    early = operator.run("keys", "remove-signing", key_id)
    assert (early.code, early.err) == (
        1,
        "gatehouse: The key requires signatures; send require_signature false with PATCH first\n",
    )
    assert operator.run("keys", "update", key_id, "--no-require-signature").code == 0
    done = operator.run("keys", "remove-signing", key_id)
    assert (done.code, done.out.startswith(f"Removed the signing key of {key_id} (signer), state active. ")) == (0, True)
    assert signing(operator, key_id) is None


def test_public_key_is_read_from_a_file(operator: Command, tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    key_id = made(operator)
    done = operator.run("keys", "set-signing", key_id, "--public-key", "key.pem", "--optional")
    assert (done.code, done.out.startswith(f"Signatures of {key_id} (signer) are verified with the public key. ")) == (0, True)
    assert signing(operator, key_id) == {"algorithm": "ed25519", "required": False}
    absent = operator.run("keys", "set-signing", key_id, "--public-key", "absent.pem")
    assert (absent.code, absent.err) == (
        2,
        "gatehouse: --public-key absent.pem cannot be read (FileNotFoundError): use a PEM file\n",
    )


def test_pepper_status_counts_signing_secrets(operator: Command) -> None:
    operator.run("keys", "set-signing", made(operator))
    shown = json.loads(operator.run("pepper", "status", "--json").out)
    assert shown["generations"][0]["signing"] >= 1
    assert "signing" in operator.run("pepper", "status").out
