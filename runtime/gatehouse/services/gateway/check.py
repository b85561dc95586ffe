"""Checks a request to a Core before Envoy forwards it (ext_authz).

The response allows or denies the request. If it allows the request, its headers say where Envoy
sends the request, and which headers the Core and the client receive. The Core receives neither the
token nor client values for headers that only the gateway may set. The path is forwarded as
received, so that only the Core decodes the path.

Envoy joins the values of a repeated header with a comma. Source:
www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/ext_authz_filter
"""

import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    MethodNotAllowed,
    TargetTooLong,
    UpgradeRequired,
)
from gatehouse.core.features import PROXY, WEBSOCKET
from gatehouse.core.forwarding import (
    PROXY_METHODS,
    CorePath,
    cookies_for_core,
    core_destination,
    core_path,
    without_console_cookies,
)
from gatehouse.core.header_names import forwarded_names
from gatehouse.core.http_signatures import digests_of, is_signed
from gatehouse.core.keys import KeyRecord
from gatehouse.core.verification import SignedRequest, VerificationRequest
from gatehouse.features.cores.service import credential_headers, live_instances
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import WEBSOCKET as WEBSOCKET_CLASS
from gatehouse.platform.envoy.bootstrap import class_of
from gatehouse.platform.web import asgi
from gatehouse.platform.web.asgi import Header
from gatehouse.platform.web.local_server import BODY
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.clusters import cluster_name
from gatehouse.services.gateway.completions import Allowed
from gatehouse.services.gateway.credentials import (
    authenticate,
    forwarded_token,
    key_headers,
    names_with_keys,
    preflight_response,
    presented_token,
)

SCOPE = "cores:read"
TARGET_BYTES_MAX = 16_384

#: Methods with the header Destination (RFC 4918, section 10.3).
_METHODS_WITH_DESTINATION = ("COPY", "MOVE")

#: Host and optional port (RFC 9110, section 7.2), of which Envoy accepts other forms.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

#: Headers of a check that belong to a connection, or that Envoy sets and removes.
_OF_CONNECTIONS = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te"),
        *(b"expect", *proxy_headers.REQUEST_HEADERS),
    }
)
#: Headers of a check with a value of the client, which can contain the key.
_OF_CLIENTS = (b"cookie", b"destination")
_OF_WEBSOCKETS = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"}
)
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
        is_relayed = _is_relayed(context, settings, is_websocket)
        headers = _headers(context, path, key, core, is_websocket, is_relayed)
        removed = _removed(context, path.name, headers, token, other)
        headers.append((b"x-envoy-auth-headers-to-remove", removed))
        allowed = Allowed(key, request, path.name, began)
        dependencies.completions.begin(context, allowed, is_relayed=is_relayed)
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


def _headers(
    context: RequestContext,
    path: CorePath,
    key: KeyRecord,
    core: CoreRecord,
    is_websocket: bool,
    is_relayed: bool,
) -> list[Header]:
    """What Envoy reads, and the headers that the gateway sets for every instance."""
    settings, client, proto = context.settings, context.client, context.scheme
    base, (scheme, authority) = base_path(core), _origin(core)
    kept_prefix = "" if settings.strip_prefix else path.prefix
    host = public_host(context, path)
    core_host = context.header(b"host") if settings.forward_host else authority
    node = f"[{client}]" if ":" in client else client or "unknown"
    forwarded = f'for="{node}";proto={proto}'
    target = path.path if settings.strip_prefix else path.full
    core_prefix, is_root = base + kept_prefix, "/" if path.path == "/" else ""
    headers: list[tuple[bytes, str]] = [
        (proxy_headers.CLUSTER, cluster_name(path.name)),
        (proxy_headers.PATH, base + target),  # Envoy adds the query
        (proxy_headers.CLASS, _class(context, is_websocket)),
        (
            proxy_headers.URLS,
            " ".join(text or "-" for text in (path.prefix, core_prefix, host, authority, is_root)),
        ),
        *key_headers(key),
        (b"gatehouse-request-id", context.request_id),
        (b"traceparent", context.trace.traceparent),
        (b"x-forwarded-for", client),
        (b"x-forwarded-proto", proto),
    ]
    if host:
        headers.append((b"x-forwarded-host", host))
        forwarded += f';host="{host}"'
    headers.append((b"forwarded", forwarded))
    if settings.strip_prefix and path.prefix:
        headers.append((b"x-forwarded-prefix", path.prefix))
    if is_relayed:
        headers.append((proxy_headers.RELAY, "1"))
    if settings.error_format != "problem":
        headers.append((proxy_headers.FORMAT, settings.error_format))
    cookie = context.header(b"cookie")
    if (changed := _cookies(cookie, path)) != cookie:  # otherwise, Envoy keeps its bytes
        headers.append((b"cookie", changed))
    if context.method in _METHODS_WITH_DESTINATION and (to := context.header(b"destination")):
        hosts = context.header(b"host"), host
        try:
            target = core_destination(to, hosts, path.prefix, core_prefix)
        except ValueError as exc:
            raise BadRequest(sentence(exc)) from None
        headers.append((b"destination", f"{scheme}://{core_host}{target}"))
    return [(name, value.encode("latin-1")) for name, value in headers if value]


def _class(context: RequestContext, is_websocket: bool) -> str:
    if is_websocket:
        return WEBSOCKET_CLASS
    return class_of(context.settings.response_timeout_s, context.method)


def _is_relayed(context: RequestContext, settings: CoreSettings, is_websocket: bool) -> bool:
    """True if the request must end when the key no longer permits it (see `CoreSettings`)."""
    if settings.end_on_revocation == "streams":
        return is_websocket or "text/event-stream" in context.header(b"accept").lower()
    return settings.end_on_revocation == "all"


def _cookies(value: str, path: CorePath) -> str:
    value = without_console_cookies(value)
    return cookies_for_core(value) if path.prefix else value


def _removed(
    context: RequestContext,
    core: str,
    headers: Sequence[Header],
    token: str | None,
    other: str | None,
) -> bytes:
    """The names of headers of the client that the Core does not receive. Envoy removes them after
    it has set those of the check.
    """
    names, kept = forwarded_names(context.settings), _OF_CONNECTIONS
    if context.has(b"upgrade"):
        kept = kept | _OF_WEBSOCKETS
    removed = {name for name, _ in context.fields if not names[name] and name not in kept}
    removed |= names_with_keys(context, token, other)
    if not context.trace.parent_id:
        # Not forwarded without a valid `traceparent` (W3C Trace Context, section 3.3).
        removed.add(b"tracestate")
    if not without_console_cookies(context.header(b"cookie")):
        removed.add(b"cookie")
    removed.difference_update(name for name, _ in headers if name not in _OF_CLIENTS)
    log = context.service.observer.log
    if log.writes("debug"):
        logged = [context.logged(name) for name in removed]
        own = {"request_id": context.request_id, "core": core}
        log.debug("headers removed", **own, headers=logged)
    return b",".join(removed)


def base_path(core: CoreRecord) -> str:
    """The path of the URL of an instance, without a slash at the end."""
    return urlsplit(core.url).path


def _origin(core: CoreRecord) -> tuple[str, str]:
    parts = urlsplit(core.url)
    return parts.scheme, parts.netloc


def public_host(context: RequestContext, path: CorePath) -> str:
    """Host at which clients reach the Core, with an optional port. Empty if it is not known.

    The Host of the client is used only for a Core that receives it: a Core can use the value in
    links, also in responses that other clients receive.
    """
    if context.settings.forward_host:
        return context.header(b"host")
    service = context.service
    return f"{path.name}.{service.cores_domain}" if path.by_host else service.public_host


def sentence(error: ValueError) -> str:
    """The message of an error with a capital letter."""
    text = str(error)
    return text[0].upper() + text[1:]
