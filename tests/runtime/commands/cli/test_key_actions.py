"""`gatehouse keys` against a running console: actions and signing keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.core.http_signatures import secret_bytes
from gatehouse.features.keys.fields import KeySettings

from tests.runtime.commands.cli.conftest import Command
from tests.runtime.commands.cli.conftest import key_id as token_id

#: Options that are not named after their field: an option for a list is in the singular.
OPTIONS = {
    name: f"--{name.removesuffix('es' if name == 'addresses' else 's')}"
    for name, value in KeySettings.example.items()
    if isinstance(value, list)
}


@pytest.mark.parametrize("command", ["create", "update"])
def test_every_setting_has_an_option_and_is_shown(operator: Command, command: str) -> None:
    example = KeySettings.example
    options = [
        f"{OPTIONS.get(name, f'--{name}')}={text}"
        for name, value in example.items()
        for text in _texts(value)
    ]
    target = () if command == "create" else (operator.create_key(),)
    done = operator.run("keys", command, *target, *options)
    key_id = target[0] if target else token_id(done.out.strip())
    shown = operator.show_key(key_id)
    assert {name: shown[name] for name in example} == example
    properties = operator.run("keys", "show", key_id).out
    assert [
        text for value in example.values() for text in _texts(value) if text not in properties
    ] == []


def _texts(value: Any) -> list[str]:
    return (
        [value]
        if isinstance(value, str)
        else [f"{name}={text}" for name, text in value.items()]
        if isinstance(value, dict)
        else value
    )


def test_key_with_credits_is_created_and_updated(operator: Command) -> None:
    created = operator.run(
        *("keys", "create", "--name", "whole", "--role", "agent", "--address", "192.0.2.0/24"),
        *("--credits", "5000:5000/month", "--tag", "nightly"),
    )
    key_id = token_id(created.out.strip())
    changed = operator.run(
        "keys", "update", key_id, "--owner", "me", "--empty", "addresses", "--credits", "none"
    )
    assert (changed.code, changed.out.startswith(f"Updated {key_id} (whole), state active. ")) == (
        0,
        True,
    )
    shown = operator.show_key(key_id)
    assert (shown["owner"], shown["addresses"], shown["credits"], shown["roles"]) == (
        "me",
        [],
        None,
        ["agent"],
    )
    assert key_id in operator.run("keys", "list", "--tag", "nightly").out
    assert key_id in operator.run("keys", "list", "--search", "WHOL").out
    assert "0 keys" in operator.run("keys", "list", "--search", "whole%").err
    assert [
        key["id"]
        for key in json.loads(
            operator.run("keys", "list", "--search", created.out.strip(), "--json").out
        )
    ] == [key_id]
    times = [
        key["created_at"]
        for key in json.loads(operator.run("keys", "list", "--sort", "-created_at", "--json").out)
    ]
    assert times == sorted(times, reverse=True)


@pytest.mark.requirement("CG-15")
def test_key_is_rotated_and_its_grace_period_ended(operator: Command) -> None:
    key_id = operator.create_key()
    rotated = operator.run("keys", "rotate", key_id, "--grace", "1h", "--reason", "quarterly")
    new_id = token_id(rotated.out.strip())
    assert (rotated.code, f"{key_id} works until" in rotated.err) == (0, True)
    assert {
        key["id"]
        for key in json.loads(operator.run("keys", "list", "--family", key_id, "--json").out)
    } == {key_id, new_id}
    assert operator.run("keys", "end-grace", key_id).code == 0
    again = operator.run("keys", "rotate", key_id)
    assert (again.code, again.err) == (
        1,
        f"gatehouse: The key has already been rotated; rotate its successor {new_id}.\n",
    )


@pytest.mark.requirement("CG-08")
def test_key_passes_through_every_state(operator: Command) -> None:
    key_id = operator.create_key()
    for command, state in (
        ("disable", "disabled"),
        ("enable", "active"),
        ("delete", "deleted"),
        ("restore", "active"),
    ):
        result = operator.run("keys", command, key_id, "--reason", "a test")
        assert (result.code, f"state {state}. In effect at every gateway." in result.out) == (
            0,
            True,
        ), command
    early = operator.run("keys", "purge", key_id, "--yes")
    assert (early.code, "delete or revoke the key first" in early.err) == (1, True)
    operator.run("keys", "delete", key_id)
    purged = operator.run("keys", "purge", key_id, "--yes")
    assert (purged.code, purged.out.startswith(f"Purged {key_id} at ")) == (0, True)
    assert operator.show_key(key_id)["state"] == "purged"


def test_explain_and_pepper_status(operator: Command) -> None:
    key_id = operator.create_key("--core", "docs")
    operator.run("keys", "set-signing", key_id)
    explanation = operator.run(
        "keys", "explain", key_id, "--core", "payroll", "--scope", "cores:read"
    )
    assert (explanation.code, explanation.out.strip().splitlines()[-1]) == (0, "FORBIDDEN")
    status = json.loads(operator.run("pepper", "status", "--json").out)
    assert (status["current"], status["generations"][0]["removable"]) == (1, False)
    assert status["generations"][0]["signing"] >= 1
    assert "Current generation: 1" in operator.run("pepper", "status").err


@pytest.mark.requirement("TR-10")
def test_standard_output_holds_only_the_signing_secret(operator: Command) -> None:
    key_id = operator.create_key()
    done = operator.run("keys", "set-signing", key_id)
    assert (done.code, len(secret_bytes(done.out.strip()))) == (0, 32)
    assert done.err == f"Signing secret of {key_id} (key). Store it now; it is not shown again:\n"
    assert operator.show_key(key_id)["signing"] == {"algorithm": "hmac-sha256", "required": True}


def test_last_admin_requires_signatures_only_with_the_option(operator: Command) -> None:
    key_id = operator.create_key("--scope", "admin")
    assert operator.run("keys", "set-signing", key_id).code == 1
    assert operator.run("keys", "set-signing", key_id, "--allow-last-admin").code == 0
    assert operator.run("keys", "delete", key_id, "--allow-last-admin").code == 0


def test_signature_requirement_and_key_are_removed(operator: Command) -> None:
    key_id = operator.create_key()
    operator.run("keys", "set-signing", key_id)
    early = operator.run("keys", "remove-signing", key_id)
    assert (early.code, early.err) == (
        1,
        "gatehouse: The key requires signatures; send require_signature false with PATCH first.\n",
    )
    assert operator.run("keys", "update", key_id, "--no-require-signature").code == 0
    done = operator.run("keys", "remove-signing", key_id)
    assert (
        done.code,
        done.out.startswith(f"Removed the signing key of {key_id} (key), state active. "),
    ) == (0, True)
    assert operator.show_key(key_id)["signing"] is None


def test_public_key_is_read_from_a_file(operator: Command, tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pem").write_bytes(pem)
    key_id = operator.create_key()
    done = operator.run("keys", "set-signing", key_id, "--public-key", "key.pem", "--optional")
    assert (
        done.code,
        done.out.startswith(f"Signatures of {key_id} (key) are verified with the public key. "),
    ) == (0, True)
    assert operator.show_key(key_id)["signing"] == {"algorithm": "ed25519", "required": False}
    absent = operator.run("keys", "set-signing", key_id, "--public-key", "absent.pem")
    assert (absent.code, absent.err) == (
        2,
        "gatehouse: --public-key absent.pem cannot be read (FileNotFoundError): use a PEM file\n",
    )
