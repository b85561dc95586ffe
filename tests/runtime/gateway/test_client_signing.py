"""The Python signing client with a running gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from gatehouse.client.signing import SignedAuth, sign

from tests.runtime.gateway.test_signatures import TEXT, docs, signing_key

__all__ = ["docs"]


@pytest.mark.requirement("TR-10")
async def test_httpx_auth_signs_every_request(gateway: Any, docs: Any) -> None:
    key = await signing_key(gateway)
    place = f"http://127.0.0.1:{gateway.port}/cores/docs"
    async with httpx.AsyncClient(auth=SignedAuth(key.token, TEXT)) as client:
        requested = [client.get(f"{place}/status/200", params={"x": "ä y", "n": str(turn)}) for turn in range(3)]
        replies = [*await asyncio.gather(*requested), await client.post(f"{place}/a b", content=b"body")]
    assert [reply.status_code for reply in replies] == [200] * 4
    assert docs.last[0].startswith("POST /a%20b ")
    assert docs.last[2] == b"body"


async def test_key_with_required_signatures_cannot_register(gateway: Any) -> None:
    agent = await signing_key(gateway, scopes=["cores:register"])
    reply = await gateway.put_core(agent, "signed", {"url": "http://127.0.0.1:9"})
    assert (reply.status, reply.json["code"]) == (401, "SIGNATURE_INVALID")


def test_signed_headers_are_deterministic() -> None:
    """Equal arguments produce equal headers, so that other implementations can be compared."""
    token = "gtk_test_3fGh82kLmQ0a" + "0" * 49
    created = sign(
        "get", "https://gateway.example.com:443/a?b=c", token=token, secret=bytes(32), now=1_700_000_000.9, nonce="n" * 16
    )
    assert created == {
        "signature-input": (
            'gatehouse=("@method" "@target-uri");created=1700000000;nonce="nnnnnnnnnnnnnnnn";keyid="3fGh82kLmQ0a";tag="gatehouse"'
        ),
        "signature": "gatehouse=:3PegDAj8iaB+R+9uVxw8Mju1guDck9bKfrQfTBX5K1E=:",
    }


@pytest.mark.parametrize("change", [{"token": "nonsense"}, {"secret": "whsec_AAAA"}])
def test_malformed_token_or_secret_is_rejected(change: dict[str, str]) -> None:
    arguments = {"token": "gtk_test_" + "0" * 61, "secret": TEXT, **change}
    with pytest.raises(ValueError, match=r"token|secret"):
        sign("GET", "https://gateway.example.com/", **arguments)  # type: ignore[arg-type]
