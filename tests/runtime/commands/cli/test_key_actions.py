"""`gatehouse keys` against a running console: actions and signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.features.keys.fields import KeySettings

from tests.runtime.commands.cli.conftest import Command
from tests.runtime.commands.cli.conftest import key_id as token_id

#: Options that are not named after their field: an option for a list is in the singular.
OPTIONS = {
    name: f"--{name.removesuffix('es' if name == 'addresses' else 's')}"
    for name, value in KeySettings.example.items()
    if isinstance(value, list)
}


@pytest.mark.requirement("CG-01")
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


def test_last_admin_requires_signatures_only_with_the_option(operator: Command) -> None:
    key_id = operator.create_key("--scope", "admin")
    assert operator.run("keys", "set-signing", key_id).code == 1
    assert operator.run("keys", "set-signing", key_id, "--allow-last-admin").code == 0
    assert operator.run("keys", "delete", key_id, "--allow-last-admin").code == 0


def test_public_key_is_read_from_a_file(operator: Command, tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pem").write_bytes(pem)
    key_id = operator.create_key()
    done = operator.run("keys", "set-signing", key_id, "--public-key", "key.pem")
    assert (
        done.code,
        done.out.startswith(f"Signatures of {key_id} (key) are verified with the public key. "),
    ) == (0, True)
    assert operator.show_key(key_id)["signing"] == "ed25519"
    absent = operator.run("keys", "set-signing", key_id, "--public-key", "absent.pem")
    assert (absent.code, absent.err) == (
        2,
        "gatehouse: --public-key absent.pem cannot be read (FileNotFoundError): use a PEM file\n",
    )
