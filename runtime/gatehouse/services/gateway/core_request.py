"""What a Core receives of a request that the gateway allows, and where Envoy sends the request.

The Core receives neither the token nor client values for headers that only the gateway may set. The
path is forwarded as received, so that only the Core decodes the path.
"""

import base64
import re
from urllib.parse import quote, urlsplit

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.http.forwarding import CorePath, cookies_for_core, core_destination
from gatehouse.core.http.header_names import forwarded_names
from gatehouse.core.keys import KeyRecord
from gatehouse.core.tokens.token_scanner import find
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import WEBSOCKET as WEBSOCKET_CLASS
from gatehouse.platform.envoy.bootstrap import class_of
from gatehouse.platform.web.asgi import Header
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.clusters import cluster_name
from gatehouse.services.gateway.credentials import Authenticated

#: Characters of an owner or a name that a header contains unchanged.
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
#: Headers of a check that do not replace the value of the client: the key can be in the first two,
#: and Envoy adds the last one to the response.
_NOT_REPLACED = (b"cookie", b"destination", proxy_headers.URLS)
_OF_WEBSOCKETS = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"}
)


async def core_headers(
    context: RequestContext,
    path: CorePath,
    caller: Authenticated,
    core: CoreRecord,
    is_websocket: bool,
) -> list[Header]:
    """What Envoy reads, and the headers that the gateway sets for every instance. Raises BadRequest
    and Unavailable.
    """
    settings, client, proto = context.settings, context.client, context.scheme
    base, (scheme, authority) = base_path(core), _origin(core)
    kept_prefix = "" if settings.strip_prefix else path.prefix
    host = public_host(context, path)
    node = f"[{client}]" if ":" in client else client or "unknown"
    forwarded = f'for="{node}";proto={proto}'
    target = path.path if settings.strip_prefix else path.full
    core_prefix, is_root = base + kept_prefix, "/" if path.path == "/" else ""
    headers: list[tuple[bytes, str]] = [
        (proxy_headers.CLUSTER, cluster_name(path.name)),
        (proxy_headers.PATH, base + target),  # Envoy adds the query
        (
            proxy_headers.URLS,
            " ".join(text or "-" for text in (path.prefix, core_prefix, host, authority, is_root)),
        ),
        *key_headers(caller.key),
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
    if is_relayed(context, settings, is_websocket):
        headers.append((proxy_headers.RELAY, "1"))
    if settings.error_format != "problem":
        headers.append((proxy_headers.FORMAT, settings.error_format))
    removed = await _names_with_keys(context, caller.token)
    removed |= _removed_names(context)
    route = class_of(settings.response_timeout_s, context.method)
    headers.append((proxy_headers.CLASS, WEBSOCKET_CLASS if is_websocket else route))
    if cookie := context.header(b"cookie"):
        if (changed := cookies_for_core(cookie, by_host=path.by_host)) != cookie:
            headers.append((b"cookie", changed))  # otherwise, Envoy keeps its bytes
        if not changed:
            removed.add(b"cookie")
    if context.method in _METHODS_WITH_DESTINATION and (to := context.header(b"destination")):
        hosts = context.header(b"host"), host
        target = core_destination(to, hosts, path.prefix, core_prefix)
        core_host = hosts[0] if settings.forward_host else authority
        headers.append((b"destination", f"{scheme}://{core_host}{target}"))
    removed -= {name for name, value in headers if value and name not in _NOT_REPLACED}
    context.log_removed(removed)
    encoded = [(name, value.encode("latin-1")) for name, value in headers if value]
    return [*encoded, (b"x-envoy-auth-headers-to-remove", b",".join(removed))]


def key_headers(key: KeyRecord) -> list[tuple[bytes, str]]:
    """What a service learns about the key of a request. In an owner and a name, `%` and characters
    other than visible ASCII and spaces are percent-encoded as UTF-8. They can be empty: a proxy
    then also replaces the value of a client.
    """
    return [
        (b"gatehouse-key-id", key.id),
        (b"gatehouse-key-owner", quote(key.owner, safe=_UNENCODED)),
        (b"gatehouse-key-name", quote(key.name, safe=_UNENCODED)),
    ]


def is_relayed(context: RequestContext, settings: CoreSettings, is_websocket: bool) -> bool:
    """True if the request must end when the key no longer permits it (see `CoreSettings`)."""
    if settings.end_on_revocation == "streams":
        return is_websocket or "text/event-stream" in context.header(b"accept").lower()
    return settings.end_on_revocation == "all"


def _removed_names(context: RequestContext) -> set[bytes]:
    """The names of headers of the client that the Core does not receive. Envoy removes them after
    it has set those of the check.
    """
    names, kept = forwarded_names(context.settings), _OF_CONNECTIONS
    if context.has(b"upgrade"):
        kept = kept | _OF_WEBSOCKETS
    removed = {name for name, _ in context.fields if not names[name] and name not in kept}
    if not context.trace.parent_id:
        # Not forwarded without a valid `traceparent` (W3C Trace Context, section 3.3).
        removed.add(b"tracestate")
    return removed


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


async def _names_with_keys(context: RequestContext, token: str) -> set[bytes]:
    """The names of the headers that contain the key of the request, and of an `Authorization` that
    contains any API key. token: the one that was verified. Raises Unavailable.
    """
    tokens = [token]
    if context.settings.forward_authorization:
        value = context.header(b"authorization")
        credentials = value.partition(" ")[2].strip()
        decoded = _decoded(credentials)
        user, _, password = decoded.partition(":")
        # The token of an imported key has no fixed format.
        for text in filter(None, (value, credentials, user, password)):
            if await context.service.verification.finder.proven(text) is not None:
                tokens.append(text)
                break
    # A character of another encoding is in no header.
    keys = [key.encode("latin-1", "backslashreplace") for key in tokens]
    names = {name for name, content in context.fields if any(key in content for key in keys)}
    if context.settings.forward_authorization and any(
        next(find(text.encode(), kinds=()), None) or any(key in text for key in tokens)
        for text in (value, decoded)
    ):
        names.add(b"authorization")
    return names


def _decoded(credentials: str) -> str:
    """The text of Basic authentication as a lenient server decodes it. Empty if it is malformed."""
    letters = re.sub("[^A-Za-z0-9+/]", "", credentials.translate({ord("-"): "+", ord("_"): "/"}))
    try:
        return base64.b64decode(letters + "==").decode("latin-1")
    except ValueError:
        return ""
