"""What a Core receives of a request that the gateway allows, and where Envoy sends the request.

The Core receives neither the token nor client values for headers that only the gateway may set. The
path is forwarded as received, so that only the Core decodes the path.
"""

import base64
import re
from functools import lru_cache
from urllib.parse import quote

from gatehouse.core.cores import CoreSettings
from gatehouse.core.http.forwarding import CorePath, cookies_for_core, core_destination
from gatehouse.core.keys import KeyRecord
from gatehouse.core.tokens.token_scanner import find
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import RELAY_CLUSTER, UPLOAD_CLUSTER
from gatehouse.platform.envoy.bootstrap import WEBSOCKET as WEBSOCKET_CLASS
from gatehouse.platform.web.responses import Header
from gatehouse.services.gateway import uploads
from gatehouse.services.gateway.credentials import Authenticated
from gatehouse.services.gateway.decide import Forward
from gatehouse.services.gateway.request import GatewayRequest
from gatehouse.services.gateway.targets import Instance, Target

#: Characters of a name that a header contains unchanged.
_UNENCODED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

#: Methods with the header Destination (RFC 4918, section 10.3).
_METHODS_WITH_DESTINATION = ("COPY", "MOVE")

#: Headers of a check that belong to a connection, or that Envoy sets and removes.
_OF_CONNECTIONS = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te"),
        *(b"expect", *proxy_headers.REQUEST_HEADERS),
    }
)
#: Headers of a check with a value of the client, which can contain the key.
_OF_CLIENTS = (b"cookie", b"destination")
_WEBSOCKET = WEBSOCKET_CLASS.encode()
_OF_WEBSOCKETS = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"}
)


async def forward(
    request: GatewayRequest,
    path: CorePath,
    caller: Authenticated,
    target: Target,
    instance: Instance,
    is_websocket: bool,
) -> Forward:
    """Where the request is sent, and the headers that the gateway sets for every instance. Raises
    BadRequest and Unavailable.
    """
    settings, client, proto = target.settings, request.client, request.scheme
    kept_prefix = "" if settings.strip_prefix else path.prefix
    core_prefix = instance.base + kept_prefix
    host = public_host(request, path)
    node = f"[{client}]" if ":" in client else client or "unknown"
    forwarded = f'for="{node}";proto={proto}'
    if host:
        forwarded += f';host="{host}"'
    headers: list[Header] = [
        *[header for header in key_headers(caller.key) if header[1]],
        (b"gatehouse-request-id", request.request_id.encode()),
        (b"traceparent", request.trace.traceparent.encode()),
        (b"x-forwarded-proto", proto.encode()),
        (b"forwarded", forwarded.encode("latin-1")),
    ]
    if client:
        headers.append((b"x-forwarded-for", client.encode()))
    if host:
        headers.append((b"x-forwarded-host", host.encode("latin-1")))
    if settings.strip_prefix and path.prefix:
        headers.append((b"x-forwarded-prefix", path.prefix.encode()))
    if settings.error_format != "problem":
        headers.append((proxy_headers.FORMAT, settings.error_format.encode()))
    removed = _removed_names(request, target, caller.token)
    if settings.forward_authorization:
        removed |= await _names_with_other_keys(request, caller.token)
    cookie = request.header(b"cookie")
    changed = cookies_for_core(cookie, by_host=path.by_host) if cookie else ""
    if not changed:
        removed.add(b"cookie")
    elif changed != cookie:  # otherwise, Envoy keeps its bytes
        headers.append((b"cookie", changed.encode("latin-1")))
    if request.method in _METHODS_WITH_DESTINATION and (to := request.header(b"destination")):
        hosts = request.header(b"host"), host
        destination = core_destination(to, hosts, path.prefix, core_prefix)
        core_host = hosts[0] if settings.forward_host else instance.authority
        text = f"{instance.scheme}://{core_host}{destination}"
        headers.append((b"destination", text.encode("latin-1")))
    removed.difference_update([name for name, _ in headers if name not in _OF_CLIENTS])
    request.log_removed(removed)
    if is_watched(request, settings, is_websocket):
        via = RELAY_CLUSTER
    else:
        via = UPLOAD_CLUSTER if uploads.is_needed(request.method, request.first_values) else ""
    is_root = "/" if path.path == "/" else ""
    urls = (path.prefix, core_prefix, host, instance.authority, is_root)
    return Forward(
        request_id=request.request_id,
        cluster=target.cluster,
        path=(instance.base + (path.path if settings.strip_prefix else path.full)).encode(),
        route=_WEBSOCKET if is_websocket else target.route,
        request_headers=headers,
        removed=removed,
        response_headers=[*caller.limit_headers, *request.response_headers],
        urls=" ".join(text or "-" for text in urls).encode("latin-1"),
        via=via,
    )


def key_headers(key: KeyRecord) -> list[Header]:
    """What a service learns about the key of a request. In a name, `%` and characters other than
    visible ASCII and spaces are percent-encoded as UTF-8. The customer and the name can be empty: a
    proxy then also replaces the value of a client.
    """
    return [
        (b"gatehouse-key-id", key.id.encode()),
        (b"gatehouse-customer-id", (key.customer_id or "").encode()),
        (b"gatehouse-key-name", _encoded(key.name)),
    ]


@lru_cache(maxsize=4096)
def _encoded(text: str) -> bytes:
    return quote(text, safe=_UNENCODED).encode()


def is_watched(request: GatewayRequest, settings: CoreSettings, is_websocket: bool) -> bool:
    """True if the request must end when the key no longer permits it (see `CoreSettings`)."""
    if settings.end_on_revocation == "streams":
        return is_websocket or "text/event-stream" in request.header(b"accept").lower()
    return settings.end_on_revocation == "all"


def _removed_names(request: GatewayRequest, target: Target, token: str) -> set[bytes]:
    """The names of headers of the client that the Core does not receive, and of those with the
    token. Envoy removes them after it has set those of the check.
    """
    names, kept = target.forwarded, _OF_CONNECTIONS
    if request.has(b"upgrade"):
        kept = kept | _OF_WEBSOCKETS
    key = _bytes_of(token)
    removed = {
        name
        for name, value in request.fields
        if (not names[name] and name not in kept) or key in value
    }
    if not request.trace.parent_id:
        # Not forwarded without a valid `traceparent` (W3C Trace Context, section 3.3).
        removed.add(b"tracestate")
    return removed


def public_host(request: GatewayRequest, path: CorePath) -> str:
    """Host at which clients reach the Core, with an optional port. Empty if it is not known.

    The Host of the client is used only for a Core that receives it: a Core can use the value in
    links, also in responses that other clients receive.
    """
    if request.settings.forward_host:
        return request.header(b"host")
    service = request.service
    return f"{path.name}.{service.cores_domain}" if path.by_host else service.public_host


async def _names_with_other_keys(request: GatewayRequest, token: str) -> set[bytes]:
    """The names of the headers that contain a key that Authorization also contains, and of an
    `Authorization` that contains any API key. token: the one that was verified. Raises Unavailable.
    """
    value = request.header(b"authorization")
    credentials = value.partition(" ")[2].strip()
    decoded = _decoded(credentials)
    user, _, password = decoded.partition(":")
    names, keys = set[bytes](), [token]
    # The token of an imported key has no fixed format.
    for text in filter(None, (value, credentials, user, password)):
        if await request.service.verification.finder.proven(text) is not None:
            keys.append(text)
            names = {name for name, content in request.fields if _bytes_of(text) in content}
            break
    if any(
        next(find(text.encode(), kinds=()), None) or any(key in text for key in keys)
        for text in (value, decoded)
    ):
        names.add(b"authorization")
    return names


def _bytes_of(token: str) -> bytes:
    """The token in a header. A character of another encoding is in no header."""
    return token.encode("latin-1", "backslashreplace")


def _decoded(credentials: str) -> str:
    """The text of Basic authentication as a lenient server decodes it. Empty if it is malformed."""
    letters = re.sub("[^A-Za-z0-9+/]", "", credentials.translate({ord("-"): "+", ord("_"): "/"}))
    try:
        return base64.b64decode(letters + "==").decode("latin-1")
    except ValueError:
        return ""
