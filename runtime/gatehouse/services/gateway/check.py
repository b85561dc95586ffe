"""Checks a request to a Core before Envoy forwards it (ext_authz).

The response allows or denies the request. If it allows the request, its headers say where Envoy
sends the request, and which headers the Core and the client receive.

Envoy joins the values of a repeated header with a comma. Source:
www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/ext_authz_filter
"""

import re
import time

from gatehouse.core.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    MethodNotAllowed,
    TargetTooLong,
    UpgradeRequired,
)
from gatehouse.core.features import PROXY, WEBSOCKET
from gatehouse.core.http.forwarding import PROXY_METHODS, CorePath, core_path
from gatehouse.core.verification import SignedRequest, VerificationRequest
from gatehouse.features.cores.service import live_instances
from gatehouse.platform import proxy_headers
from gatehouse.platform.web import asgi
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.completions import Allowed
from gatehouse.services.gateway.core_request import core_headers
from gatehouse.services.gateway.cors import preflight_headers
from gatehouse.services.gateway.credentials import authenticate, presented_token
from gatehouse.services.gateway.local_server import BODY

SCOPE = "cores:read"
TARGET_BYTES_MAX = 16_384

#: Host and optional port (RFC 9110, section 7.2), of which Envoy accepts other forms.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WEBSOCKET_KEY_CHARS, _WEBSOCKET_VERSION = 24, "13"


async def check(context: RequestContext) -> asgi.Response:
    """Raises Refused and GatehouseError if the request is denied."""
    dependencies = context.service
    dependencies.features.check(PROXY)
    _check_head(context)
    path = core_path(context.raw_path, context.core_of_host)
    if context.has(b"service-worker") and context.raw_path == path.prefix.encode():
        raise Forbidden(f"A service worker of this path applies to all Cores. Use {path.prefix}/.")
    context.core = path.name
    context.use(dependencies.cores.settings(path.name))
    length, bytes_max = context.header(proxy_headers.LENGTH), context.settings.body_max_bytes
    if bytes_max is not None and length.isdigit() and int(length) > bytes_max:
        raise BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
    is_websocket, signed = _is_websocket(context), _signed_request(context)
    # Browsers send preflight requests without a credential (Fetch Standard, section 4.8).
    if (preflight := preflight_headers(context)) and presented_token(context) is None:
        return context.response(204, headers=preflight)
    request = VerificationRequest(
        scopes=(SCOPE,),
        core=path.name,
        address=context.client,
        method=context.method,
        signed=signed,
    )
    began = time.perf_counter()
    caller = await authenticate(context, request, path.name)
    try:
        core = live_instances(
            dependencies.cores.instances(path.name),
            dependencies.verification.environment,
            dependencies.pepper,
            now=dependencies.cores.now(),
        )[-1]
        if _lacks_slash(context, path):
            await dependencies.verification.refund(caller.key, request.cost, began)
            query = context.scope["query_string"]
            location = path.prefix.encode() + b"/" + (b"?" + query if query else b"")
            return context.response(308, headers=[(b"location", location)])
        await dependencies.credentials.check(core)
        headers = await core_headers(context, path, caller, core, is_websocket)
        allowed = Allowed(caller.key, request, path.name, began)
        relayed = proxy_headers.RELAY in dict(headers)
        dependencies.completions.begin(context, allowed, is_relayed=relayed)
    except BaseException:
        await dependencies.verification.refund(caller.key, request.cost, began)
        raise
    context.is_allowed = True
    own = [*caller.limit_headers, *context.response_headers, (b"content-length", b"0")]
    return asgi.Response(200, [*headers, *own], b"")


def _lacks_slash(context: RequestContext, path: CorePath) -> bool:
    """True if a browser would resolve the relative URLs of the page outside of the Core, which does
    not see the path of the request. Other clients may not follow a redirect.
    """
    is_page = context.method in ("GET", "HEAD") and not context.has(b"upgrade")
    return is_page and context.settings.strip_prefix and path.full == path.prefix


def _check_head(context: RequestContext) -> None:
    """Rejects requests that two servers could interpret differently, before any decision on the
    request is made. Raises BadRequest, MethodNotAllowed.
    """
    if context.method in PROXY_METHODS:
        raise MethodNotAllowed
    if len(context.raw_path) + len(context.scope["query_string"]) > TARGET_BYTES_MAX:
        raise TargetTooLong(f"The request target is longer than {TARGET_BYTES_MAX} bytes.")
    if _HOST.fullmatch(context.header(b"host")) is None:
        raise BadRequest("The request must have exactly one valid Host header.")


def _is_websocket(context: RequestContext) -> bool:
    """True for a WebSocket handshake (RFC 6455, section 4.2.1). Envoy ignores other upgrades.
    Raises BadRequest, UpgradeRequired.
    """
    if context.header(b"upgrade").lower() != "websocket":
        return False
    if WEBSOCKET in context.service.features.off or context.method != "GET":
        raise BadRequest("A WebSocket handshake is a GET request.")
    if len(context.header(b"sec-websocket-key").strip()) != _WEBSOCKET_KEY_CHARS:
        raise BadRequest("Sec-WebSocket-Key is not 16 bytes in base64.")
    if context.header(b"sec-websocket-version").strip() != _WEBSOCKET_VERSION:
        raise UpgradeRequired(f"Use version {_WEBSOCKET_VERSION} of the WebSocket protocol.")
    return True


def _signed_request(context: RequestContext) -> SignedRequest | None:
    if not context.has(b"signature-input"):
        return None
    length = context.header(proxy_headers.LENGTH)
    own = {*proxy_headers.REQUEST_HEADERS, b"content-length"}
    fields = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in context.fields
        if name not in own
    ]
    if length.isdigit():
        fields.append(("content-length", length))
    return SignedRequest(
        method=context.method,
        scheme=context.scheme,
        authority=context.header(b"host"),
        path=context.raw_path.decode("ascii"),
        query=context.scope["query_string"].decode("ascii"),
        fields=tuple(fields),
        body=context.scope[BODY],
    )
