"""What a Core receives of a request that the gateway allows, and where Envoy sends the request.

The Core receives neither the token nor client values for headers that only the gateway may set. The
path is forwarded as received, so that only the Core decodes the path.
"""

import base64
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.errors import BadRequest
from gatehouse.core.http.forwarding import (
    CorePath,
    cookies_for_core,
    core_destination,
    without_console_cookies,
)
from gatehouse.core.http.header_names import forwarded_names
from gatehouse.core.keys import KeyRecord
from gatehouse.core.tokens.token_scanner import find
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import WEBSOCKET as WEBSOCKET_CLASS
from gatehouse.platform.envoy.bootstrap import class_of
from gatehouse.platform.web.asgi import Header
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.clusters import cluster_name
from gatehouse.services.gateway.credentials import key_headers

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
_OF_WEBSOCKETS = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"}
)


def core_headers(
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


def is_relayed(context: RequestContext, settings: CoreSettings, is_websocket: bool) -> bool:
    """True if the request must end when the key no longer permits it (see `CoreSettings`)."""
    if settings.end_on_revocation == "streams":
        return is_websocket or "text/event-stream" in context.header(b"accept").lower()
    return settings.end_on_revocation == "all"


def _cookies(value: str, path: CorePath) -> str:
    value = without_console_cookies(value)
    return cookies_for_core(value) if path.prefix else value


def removed_headers(
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
    removed |= _names_with_keys(context, token, other)
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


def _names_with_keys(context: RequestContext, *tokens: str | None) -> set[bytes]:
    """The names of the headers that contain the key of the request, and of an `Authorization` that
    contains any API key. tokens: those that were presented.
    """
    keys = [token for token in tokens if token]
    names = set[bytes]()
    for key in keys:  # a character of another encoding is in no header
        encoded = key.encode("latin-1", "backslashreplace")
        names |= {name for name, value in context.fields if encoded in value}
    if context.settings.forward_authorization:
        value = context.header(b"authorization")
        if any(
            next(find(text.encode(), kinds=()), None) or any(key in text for key in keys)
            for text in (value, _decoded(value.partition(" ")[2]))
        ):
            names.add(b"authorization")
    return names


async def forwarded_token(context: RequestContext) -> str | None:
    """The token in an `Authorization` that the Core would receive, if it is that of a key, also of
    an imported one, whose token has no fixed format. Raises Unavailable.
    """
    if not context.settings.forward_authorization:
        return None
    value = context.header(b"authorization")
    credentials = value.partition(" ")[2].strip()
    user, _, password = _decoded(credentials).partition(":")
    for text in filter(None, (value, credentials, user, password)):
        if await context.service.verification.finder.proven(text) is not None:
            return text
    return None


def _decoded(credentials: str) -> str:
    """The text of Basic authentication as a lenient server decodes it. Empty if it is malformed."""
    letters = re.sub("[^A-Za-z0-9+/]", "", credentials.translate({ord("-"): "+", ord("_"): "/"}))
    try:
        return base64.b64decode(letters + "==").decode("latin-1")
    except ValueError:
        return ""


def sentence(error: ValueError) -> str:
    """The message of an error with a capital letter."""
    text = str(error)
    return text[0].upper() + text[1:]
