"""The Core that a gateway serves itself, for requests with the canary key.

Envoy reaches it like any other Core: by a cluster in the file, with TLS and the secret of the Core.
It responds only to a request that the gateway has forwarded correctly, so a release that breaks the
path to Cores fails the smoke test of its deployment. The response contains nothing of the request
but what the gateway has set, and the hash of the body.
"""

import asyncio
import hashlib
import hmac
import math
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from gatehouse.core.cores import ECHO, CoreRecord
from gatehouse.core.keys import KeyEnvironment, KeyId
from gatehouse.core.tokens.token import Pepper
from gatehouse.core.tokens.token_scanner import has_token
from gatehouse.features.cores.service import credential_headers
from gatehouse.platform.envoy import certificate
from gatehouse.platform.web import responses
from gatehouse.platform.web.responses import Header
from gatehouse.services.gateway.clusters import OwnServer
from gatehouse.services.gateway.local_server import LocalConnection, listen

#: Host name in the certificate, which no name server knows.
HOST = f"{ECHO}.internal"
#: The only path, as the Core receives it.
PATH = b"/check"
BODY_BYTES_MAX = 1024
_FILES, _SOCKET = "echo-", "echo.sock"


def record(pepper: Pepper, environment: KeyEnvironment) -> CoreRecord:
    """The only instance of the Core. Each gateway sends requests to its own."""
    return CoreRecord(
        name=ECHO,
        instance_id=ECHO,
        url=f"https://{HOST}",
        environment=environment,
        lease_id=ECHO,
        registered_by=KeyId(""),
        pepper_generation=pepper.current,
        expires_at=math.inf,
        draining=False,
        version=0,
    )


async def serve(stack: AsyncExitStack, folder: Path, pepper: Pepper, core: CoreRecord) -> OwnServer:
    """Serves the Core with TLS on a Unix socket in the folder of Envoy."""
    pem = certificate.write(folder, HOST, prefix=_FILES)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(
        folder / (_FILES + certificate.CERTIFICATE), folder / (_FILES + certificate.KEY)
    )
    ((_, authorization),) = credential_headers(pepper, core, None)

    def connection() -> asyncio.Protocol:
        return _Connection(authorization.encode())

    path = folder / _SOCKET
    server = await listen(path, connection, tls)
    stack.callback(server.close)
    return OwnServer(HOST, str(path), pem)


class _Connection(LocalConnection):
    __slots__ = ("_authorization",)

    def __init__(self, authorization: bytes) -> None:
        super().__init__(BODY_BYTES_MAX)
        self._authorization = authorization

    def received(self, method: str, target: bytes, fields: list[Header], body: bytes) -> None:
        path = target.partition(b"?")[0]
        self.respond(respond(method, path, fields, body, self._authorization))


def respond(
    method: str, path: bytes, headers: Sequence[Header], body: bytes, authorization: bytes
) -> responses.Response:
    """200 for a request with the secret of the Core, its host and its path, and without a token of
    the client; otherwise a status that says what is wrong. authorization: with the secret.
    """
    fields = [(name.lower(), value) for name, value in headers]
    presented = b", ".join(value for name, value in fields if name == b"authorization")
    others = {name: value for name, value in fields if name != b"authorization"}
    if not hmac.compare_digest(presented, authorization):
        return _response(401, code="wrong_secret")
    if others.get(b"host") != HOST.encode():
        return _response(421, code="wrong_host")
    if path != PATH:
        return _response(404, code="wrong_path")
    if method != "POST":
        return _response(405, code="wrong_method")
    if len(body) > BODY_BYTES_MAX:
        return _response(413, code="body_too_large")
    if any(has_token(value.decode("latin-1")) for value in others.values()):
        return _response(400, code="has_token")
    return _response(
        200,
        sha256=hashlib.sha256(body).hexdigest(),
        host=others.get(b"x-forwarded-host", b"").decode("latin-1"),
        scheme=others.get(b"x-forwarded-proto", b"").decode("latin-1"),
    )


def _response(status: int, **members: str) -> responses.Response:
    body = responses.encode(members)
    return responses.Response(status, responses.response_headers(body, responses.JSON, ()), body)
