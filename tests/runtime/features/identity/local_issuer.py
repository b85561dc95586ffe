"""A local OpenID Connect issuer."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from gatehouse.core.roles import Role
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.models import Identity
from gatehouse.features.identity.oidc import OidcIdentityProvider
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from tests.runtime.clocks import ManualClock

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"})
with pytest.warns(SecurityWarning, match="2048"):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak", "use": "sig"})
ROLES = {"platform": Role.OWNER, "on-call": Role.OPERATOR, "books": Role.AUDITOR}


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class LocalIssuer:
    """The server. `requests` contains the path of each request, and `exchanges` the header fields
    and form of each exchange.

    metadata: members of the discovery document to replace. token_response: status and body of the
        token endpoint.
    """

    port: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    unavailable: bool = False
    silent: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    token_response: tuple[int, Any] = (200, {})
    exchanges: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.requests.append(path)
        if self.silent:
            await reader.read()  # until the client closes the connection
            writer.close()
            return
        discovery = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize?tenant=a",
            "token_endpoint": f"{self.url}/token",
            "end_session_endpoint": f"{self.url}/end",
            "authorization_response_iss_parameter_supported": True,
        }
        documents = {
            "/.well-known/openid-configuration": (200, {**discovery, **self.metadata}),
            "/keys": (200, {"keys": self.keys}),
            "/token": self.token_response,
        }
        if path == "/token":
            length = next(
                int(line.partition(":")[2])
                for line in head.lower().splitlines()
                if line.startswith("content-length:")
            )
            self.exchanges.append(
                (head, dict(parse_qsl((await reader.readexactly(length)).decode())))
            )
        status, document = documents[path]
        body = json.dumps(document).encode()
        status = 503 if self.unavailable else status
        writer.write(
            (
                f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            ).encode()
            + body
        )
        await writer.drain()
        writer.close()

    def token(
        self,
        key: Any = RSA,
        alg: str = "RS256",
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        payload = {
            "iss": self.url,
            "aud": "gatehouse",
            "sub": "alice",
            "exp": NOW + 300,
            "groups": ["platform"],
            **claims,
        }
        present = {name: value for name, value in payload.items() if value is not None}
        named = {"alg": alg, "kid": key.kid, **(header or {})}
        return jwt.encode(named, present, key, algorithms=["RS256", "ES256", "HS256", "RS512"])


@dataclass
class IssuerSetup:
    provider: LocalIssuer
    clock: ManualClock
    identity_provider: OidcIdentityProvider

    async def identify(self, *key: Any, **claims: Any) -> Identity | None:
        return await self.identity_provider.identify(self.provider.token(*key, **claims))


@asynccontextmanager
async def running_issuer() -> AsyncIterator[IssuerSetup]:
    local, clock = LocalIssuer(), ManualClock(float(NOW))
    local.keys = [
        RSA.as_dict(private=False),
        EC.as_dict(private=False),
        WEAK.as_dict(private=False),
    ]
    server = await asyncio.start_server(local.serve, "127.0.0.1", 0)
    local.port = server.sockets[0].getsockname()[1]
    yield IssuerSetup(
        local, clock, OidcIdentityProvider(Issuer(local.url, "gatehouse", "groups", ROLES), clock)
    )
    server.close()
