"""Published test vectors (docs/sharing-vectors.json)."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.encryption import Context, DecryptionFailed
from gatehouse.features.secrets.link_token import LinkToken, parse

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "docs/sharing-vectors.json").read_text("utf-8")
)
Case = dict[str, Any]


def data(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.mark.parametrize("case", VECTORS["links"])
def test_link(case: Case) -> None:
    expected = (
        LinkToken(case["secret_id"] + case["link_id"], case["link_secret"])
        if case["outcome"] == "success"
        else None
    )
    assert parse(case["text"]) == expected


@pytest.mark.parametrize("case", VECTORS["link_keys"])
def test_link_keys(case: Case) -> None:
    salt = data(case["salt"])
    key = encryption.passphrase_key(case["passphrase"], salt) if salt else b""
    keys = encryption.link_keys(case["link_secret"], case["path"], key)
    expected = (data(case["verifier"]), data(case["private_key"]), data(case["public_key"]))
    assert (keys.verifier, keys.private_key, keys.public_key) == expected


@pytest.mark.parametrize("case", VECTORS["content_keys"])
def test_content_key(case: Case) -> None:
    arguments = (
        data(case["wrapped"]),
        data(case["private_key"]),
        data(case["data_key"]),
        Context(**case["context"]),
    )
    if case["outcome"] == "success":
        assert encryption.unwrap(*arguments) == data(case["content_key"])
    else:
        with pytest.raises(DecryptionFailed):
            encryption.unwrap(*arguments)


@pytest.mark.parametrize("case", VECTORS["items"])
def test_item(case: Case) -> None:
    arguments = (data(case["ciphertext"]), data(case["content_key"]), f"item {case['number']}")
    if case["outcome"] == "success":
        assert encryption.unseal(*arguments) == data(case["plaintext"])
    else:
        with pytest.raises(DecryptionFailed):
            encryption.unseal(*arguments)
