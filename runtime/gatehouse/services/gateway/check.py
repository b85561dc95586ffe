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
from gatehouse.core.http.http_signatures import digests_of, is_signed
from gatehouse.core.verification import SignedRequest, VerificationRequest
from gatehouse.features.cores.service import credential_headers, live_instances
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform import proxy_headers
from gatehouse.platform.web import asgi
from gatehouse.platform.web.local_server import BODY
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.completions import Allowed
from gatehouse.services.gateway.core_request import (
    core_headers,
    forwarded_token,
    is_relayed,
    removed_headers,
    sentence,
)
from gatehouse.services.gateway.cors import preflight_response
from gatehouse.services.gateway.credentials import authenticate, presented_token

SCOPE = "cores:read"
TARGET_BYTES_MAX = 16_384

#: Host and optional port (RFC 9110, section 7.2), of which Envoy accepts other forms.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WEBSOCKET_KEY_CHARS, _WEBSOCKET_VERSION = 24, "13"


async def check(context: RequestContext) -> asgi.Response:
    """Raises Refused and GatehouseError if the request is denied."""
    context.is_check = True
    context.service.features.check(PROXY)
    path = _checked_path(context)
    settings = context.settings
    is_websocket = _is_websocket(context)
    token = presented_token(context)
    if token is None and (preflight := preflight_response(context)) is not None:
        return preflight
    signed = None
    if token is not None and is_signed(context.values(b"signature-input")):
        signed = _signed_request(context)
    request = VerificationRequest(
        scopes=(SCOPE,),
        core=path.name,
        address=context.client,
        method=context.method,
        signed=signed,
    )
    began = time.perf_counter()
    key, limits = await authenticate(context, token, request, path.name)
    dependencies = context.service
    try:
        core = live_instances(
            dependencies.cores.instances(path.name),
            dependencies.verification.environment,
            dependencies.pepper,
            now=dependencies.cores.now(),
        )[-1]
        if settings.credential_header is not None:
            credential = await dependencies.credentials.find(path.name, settings)
            credential_headers(dependencies.pepper, core, credential)
        other = await forwarded_token(context)
        relayed = is_relayed(context, settings, is_websocket)
        headers = core_headers(context, path, key, core, is_websocket, relayed)
        removed = removed_headers(context, path.name, headers, token, other)
        headers.append((b"x-envoy-auth-headers-to-remove", removed))
        allowed = Allowed(key, request, path.name, began)
        dependencies.completions.begin(context, allowed, is_relayed=relayed)
    except BaseException:
        await dependencies.verification.refund(key, request.cost, began)
        raise
    context.is_allowed = True
    own = [*limit_headers(limits), *context.response_headers]
    return asgi.Response(200, [*headers, *own, (b"content-length", b"0")], b"")


def _checked_path(context: RequestContext) -> CorePath:
    """Rejects requests that two servers could interpret differently, before any decision on the
    request is made. Raises BadRequest, MethodNotAllowed.
    """
    if context.method in PROXY_METHODS:
        raise MethodNotAllowed
    if len(context.raw_path) + len(context.scope["query_string"]) > TARGET_BYTES_MAX:
        raise TargetTooLong(f"The request target is longer than {TARGET_BYTES_MAX} bytes.")
    if _HOST.fullmatch(context.header(b"host")) is None:
        raise BadRequest("The request must have exactly one valid Host header.")
    try:
        path = core_path(context.raw_path, context.core_of_host)
    except ValueError as exc:
        raise BadRequest(sentence(exc)) from None
    if context.has(b"service-worker") and context.raw_path == path.prefix.encode():
        raise Forbidden(f"A service worker of this path applies to all Cores. Use {path.prefix}/.")
    context.core = path.name
    context.use(context.service.cores.settings(path.name))
    length, bytes_max = context.header(proxy_headers.LENGTH), context.settings.body_max_bytes
    if bytes_max is not None and length.isdigit() and int(length) > bytes_max:
        raise BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
    return path


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


def _signed_request(context: RequestContext) -> SignedRequest:
    body: bytes = context.scope[BODY]
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
        has_body=bool(body),
        digests=digests_of(body),
    )
