"""Checks a request to a Core before it is forwarded."""

import re
import time

from gatehouse.core.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    GatehouseError,
    MethodNotAllowed,
    NotFound,
    TargetTooLong,
    UpgradeRequired,
)
from gatehouse.core.features import PROXY, WEBSOCKET
from gatehouse.core.http.forwarding import PROXY_METHODS, CorePath, core_path
from gatehouse.core.verification import SignedRequest, VerificationRequest
from gatehouse.platform import proxy_headers
from gatehouse.platform.web import responses
from gatehouse.services.gateway.completions import PATH, Allowed
from gatehouse.services.gateway.core_request import forward
from gatehouse.services.gateway.cors import preflight_headers
from gatehouse.services.gateway.credentials import authenticate, presented_token
from gatehouse.services.gateway.decide import Forward
from gatehouse.services.gateway.request import GatewayRequest

SCOPE = "cores:read"
TARGET_BYTES_MAX = 16_384

#: Host and optional port (RFC 9110, section 7.2), of which Envoy accepts other forms.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WEBSOCKET_KEY_CHARS, _WEBSOCKET_VERSION = 24, "13"


async def check(request: GatewayRequest) -> responses.Response | Forward:
    """Raises Refused and GatehouseError if the request is denied."""
    request.template, dependencies = PATH, request.service
    request.check_head()
    dependencies.features.check(PROXY)
    _check_head(request)
    path = core_path(request.raw_path, request.core_of_host)
    if request.has(b"service-worker") and request.raw_path == path.prefix.encode():
        raise Forbidden(f"A service worker of this path applies to all Cores. Use {path.prefix}/.")
    request.core, target = path.name, dependencies.targets.find(path.name)
    request.use(target.settings)
    length, bytes_max = request.header(b"content-length"), target.settings.body_max_bytes
    if bytes_max is not None and length.isdigit() and int(length) > bytes_max:
        raise BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
    is_websocket, signed = _is_websocket(request), _signed_request(request)
    # Browsers send preflight requests without a credential (Fetch Standard, section 4.8).
    if (preflight := preflight_headers(request)) and presented_token(request) is None:
        return request.response(204, headers=preflight)
    verification = VerificationRequest(
        scopes=(SCOPE,),
        core=path.name,
        address=request.client,
        method=request.method,
        signed=signed,
        charge_id=request.charge_id,
    )
    began = time.perf_counter()
    caller = await authenticate(request, verification, path.name)
    try:
        if isinstance(target.instance, GatehouseError):
            request.is_core_unknown = isinstance(target.instance, NotFound)
            raise target.instance.with_traceback(None)
        if _lacks_slash(request, path):
            await dependencies.verification.refund(caller.key, verification, began)
            query = b"?" + request.query_string if request.query_string else b""
            location = path.prefix.encode() + b"/" + query
            return request.response(308, headers=[(b"location", location)])
        if target.settings.credential_header is not None:
            await dependencies.credentials.check(target.instance.record)
        result = await forward(request, path, caller, target, target.instance, is_websocket)
        allowed = Allowed(caller.key, verification, path.name, began)
        dependencies.completions.begin(request, allowed, is_relayed=bool(result.via))
    except BaseException:
        await dependencies.verification.refund(caller.key, verification, began)
        raise
    request.count()
    return result


def _lacks_slash(request: GatewayRequest, path: CorePath) -> bool:
    """True if a browser would resolve the relative URLs of the page outside of the Core, which does
    not see the path of the request. Other clients may not follow a redirect.
    """
    is_page = request.method in ("GET", "HEAD") and not request.has(b"upgrade")
    return is_page and request.settings.strip_prefix and path.full == path.prefix


def _check_head(request: GatewayRequest) -> None:
    """Rejects requests that two servers could interpret differently, before any decision on the
    request is made. Raises BadRequest, MethodNotAllowed.
    """
    if request.method in PROXY_METHODS:
        raise MethodNotAllowed
    if len(request.raw_path) + len(request.query_string) > TARGET_BYTES_MAX:
        raise TargetTooLong(f"The request target is longer than {TARGET_BYTES_MAX} bytes.")
    if _HOST.fullmatch(request.header(b"host")) is None:
        raise BadRequest("The request must have exactly one valid Host header.")


def _is_websocket(request: GatewayRequest) -> bool:
    """True for a WebSocket handshake (RFC 6455, section 4.2.1). Envoy ignores other upgrades.
    Raises BadRequest, UpgradeRequired, Unavailable.
    """
    if request.header(b"upgrade").lower() != "websocket":
        return False
    request.service.features.check(WEBSOCKET)
    if request.method != "GET":
        raise BadRequest("A WebSocket handshake is a GET request.")
    if len(request.header(b"sec-websocket-key").strip()) != _WEBSOCKET_KEY_CHARS:
        raise BadRequest("Sec-WebSocket-Key is not 16 bytes in base64.")
    if request.header(b"sec-websocket-version").strip() != _WEBSOCKET_VERSION:
        raise UpgradeRequired(f"Use version {_WEBSOCKET_VERSION} of the WebSocket protocol.")
    return True


def _signed_request(request: GatewayRequest) -> SignedRequest | None:
    if not request.has(b"signature-input"):
        return None
    fields = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.fields
        if name not in proxy_headers.REQUEST_HEADERS
    ]
    return SignedRequest(
        method=request.method,
        scheme=request.scheme,
        authority=request.header(b"host"),
        path=request.raw_path.decode("ascii"),
        query=request.query_string.decode("ascii"),
        fields=tuple(fields),
        body=request.body,
    )
