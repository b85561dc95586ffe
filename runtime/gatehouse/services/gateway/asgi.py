"""A request to the gateway, and the services that the data path uses."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.errors import CoreOverloaded, GatehouseError, TooManyRequests
from gatehouse.core.token import Pepper
from gatehouse.core.token_scanner import has_token
from gatehouse.core.verification import Code, VerificationResult
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.load_balancer import LoadBalancer
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.cores.response_cache import ResponseCache
from gatehouse.features.usage.service import UsageCounter
from gatehouse.features.verification.service import VerificationService
from gatehouse.platform.executions import Holder, Places
from gatehouse.platform.http import asgi
from gatehouse.platform.http.pipeline import Pipeline
from gatehouse.platform.http.request import Refused, Request
from gatehouse.services.gateway.websocket import Relay, WebSockets

#: Maximum number of characters of a path that are logged, and that are searched for a token: more
#: than a token has that begins in the first part and is encoded.
_PATH_CHARS_LOGGED, _PATH_CHARS_SEARCHED = 200, 2048

#: A path that is still percent-encoded after it was decoded this number of times is not logged.
_ENCODINGS_MAX = 2


class KeyRequests(asgi.Uses):
    """Limits the number of requests to Cores that a worker, and in it a key family, has in
    progress, and thereby limits memory use.
    """

    def __init__(self, requests_max: int, connections_max: int) -> None:
        """requests_max: of a key family. A quarter of the connections is left to other requests."""
        super().__init__()
        self._requests_max, self._places = requests_max, Places(connections_max * 3 // 4)

    @contextmanager
    def hold(self, subject: str, holder: Holder) -> Iterator[None]:
        """Counts a request until the context exits. Raises TooManyRequests and Unavailable."""
        try:
            if self.add(subject) > self._requests_max:
                raise TooManyRequests(
                    f"The API key and its rotations have {self._requests_max} requests in progress."
                )
            with self._places.hold(subject, holder, "requests in progress"):
                yield
        finally:
            self.remove(subject)


@dataclass(frozen=True, kw_only=True)
class Dependencies(Pipeline):
    """The pipeline of the gateway, and the services that verifications and requests to Cores use.

    public_host: host of the gateway, with an optional port, as clients know it. Empty if it is not
        configured.
    cores_domain: domain below which each Core has a host name, with an optional port. Empty if
        Cores have no host names.
    key_requests: requests to Cores that are in progress, by key family.
    response_cache: None disables caching.
    websockets: WebSockets that are open.
    features_off: names of disabled features.
    """

    verification: VerificationService
    cores: CoreRegistry
    credentials: Credentials
    load_balancer: LoadBalancer
    pepper: Pepper
    public_host: str
    cores_domain: str
    usage: UsageCounter
    response_cache: ResponseCache | None
    key_requests: KeyRequests
    websockets: WebSockets
    features_off: frozenset[str]

    @cached_property
    def host_suffix(self) -> bytes:
        """End of the host names of Cores. Empty if Cores have no host names."""
        domain = self.cores_domain.partition(":")[0]
        return f".{domain}".encode() if domain else b""

    def request(
        self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
    ) -> "RequestContext":
        return RequestContext(self, scope, receive, send)

    def error_response(self, request: Request, refused: Refused) -> asgi.Response:
        """An error of a Core can have the form of the OpenAI API."""
        response = super().error_response(request, refused)
        if not isinstance(request, RequestContext) or request.settings.error_format != "openai":
            return response
        own = {b"content-length", b"content-type"}
        headers = [field for field in response.headers if field[0] not in own]
        body = openai_error(refused.error, refused.code)
        return asgi.Response(
            response.status,
            asgi.response_headers(body, asgi.JSON, headers),
            b"" if request.is_head else body,
        )


def openai_error(error: GatehouseError, code: str) -> bytes:
    """The error as in the OpenAI API, whose clients show only the message of such errors."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    fields = {"message": error.public, "type": kind, "param": None}
    return asgi.encode({"error": {**fields, "code": (code or error.code).lower()}})


class RequestContext(Request):
    """A request to the gateway.

    settings: of the Core that is requested. relay: of an open WebSocket. is_displaced: the request
    ends, because another key has its place.
    """

    service: Dependencies
    settings: CoreSettings = DEFAULT_SETTINGS
    relay: Relay | None = None
    is_displaced = False

    def displace(self) -> bool:
        """Ends a request that waits for its Core or its client, see `Places`."""
        if self.relay is not None:
            return self.relay.displace()
        exchange = self.exchange
        if exchange is None or not exchange.is_cancelled_on_disconnect:
            return exchange is not None and exchange.reject_unfinished(CoreOverloaded())
        self.is_displaced, exchange.is_cancelled_on_disconnect = True, False
        exchange.cancel()
        return True

    def verified(self, result: VerificationResult, core: str | None = None) -> None:
        """Records the result for the log line (with the ID of a revoked key), the metrics and the
        usage statistics.
        """
        code, key_id, service = result.code, "", self.service
        if result.record is not None:
            key_id = result.record.id
            if code is not Code.NOT_FOUND:
                self.key_id = key_id
            if code is Code.VALID:
                self.count_for(result.record.subject)
        self.code = code
        service.observer.metrics.decision(code)
        service.usage.count(key_id, core or "", code)

    @cached_property
    def scheme(self) -> str:
        """Scheme that the client used, as reported by trusted proxies."""
        is_trusted = self.service.addresses.trusts(self.peer)
        proto = self.values(b"x-forwarded-proto") if is_trusted else []
        return "https" if proto[-1:] == ["https"] else str(self.scope["scheme"])

    def waited_for_core(self, started: float) -> None:
        """Records that a Core was responsible for the response and for the time since `started`, a
        value of `time.perf_counter()`.
        """
        self.core_seconds = time.perf_counter() - started

    def use(self, settings: CoreSettings) -> None:
        """Processes the request with the settings of a Core from now on. Responses have the headers
        with which a browser lets pages of the origins read them that the Core declares (Fetch
        Standard, section 3.2.3). Only a listed origin can use credentials of the browser.
        """
        self.settings = settings
        self.response_headers = self._cors_headers() if settings.cors_origins else ()

    def _cors_headers(self) -> list[asgi.Header]:
        allowed = self.settings.cors_origins
        headers, origin = [(b"vary", b"Origin")], ", ".join(self.values(b"origin"))
        if origin in allowed:
            headers.append((b"access-control-allow-credentials", b"true"))
        elif origin and "*" in allowed:
            origin = "*"
        else:
            return headers
        headers.append((b"access-control-allow-origin", origin.encode("ascii")))
        headers.append((b"access-control-expose-headers", b"*"))
        return headers

    @property
    def core_of_host(self) -> str | None:
        """Name of the Core that the header Host specifies, unvalidated. None for another host."""
        suffix = self.service.host_suffix
        host = asgi.host_name(self.scope) if suffix else b""
        return host.removesuffix(suffix).decode() if suffix and host.endswith(suffix) else None

    @property
    def logged_path(self) -> str:
        if self.raw_path == self.template.encode():
            return self.template
        host = b"" if self.core_of_host is None else b"//" + asgi.host_name(self.scope)
        return self.logged(host + self.raw_path)

    def logged(self, raw: bytes) -> str:
        """A path or the name of a header, unless it may contain a token: some clients put it there
        by mistake. All environments have tokens with the same prefix.
        """
        path = text = raw[:_PATH_CHARS_SEARCHED].decode("latin-1")
        for _ in range(_ENCODINGS_MAX):
            text = unquote(text) if "%" in text else text
        is_encoded = "%" in text and unquote(text) != text
        if is_encoded or f"{self.service.verification.finder.prefix}_" in text or has_token(text):
            return "(hidden: may contain an API key)"
        return path[:_PATH_CHARS_LOGGED]
