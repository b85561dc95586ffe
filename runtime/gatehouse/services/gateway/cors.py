"""Headers with which browsers let pages of other origins send requests and read the responses."""

from collections.abc import Collection

from gatehouse.platform.web import responses
from gatehouse.platform.web.request import Request

#: Headers that a page can read in a response to a request with credentials, for which `*` is the
#: name of a header (Fetch Standard, section 3.3.5), in addition to those that it can always read.
_EXPOSED_HEADERS = b", ".join(
    (
        *(b"RateLimit", b"RateLimit-Policy", b"Retry-After", b"WWW-Authenticate", b"X-Request-ID"),
        *(b"ETag", b"Location", b"Link", b"Allow", b"Content-Disposition", b"Content-Encoding"),
        *(b"Content-Range", b"Accept-Ranges", b"Age", b"Date", b"Vary"),
    )
)


def cors_headers(allowed: Collection[str], origin: str) -> list[responses.Header]:
    """For a response to a page. allowed: origins that a Core declares; "*" for any."""
    headers, exposed = [(b"vary", b"Origin")], _EXPOSED_HEADERS
    if origin in allowed:
        headers.append((b"access-control-allow-credentials", b"true"))
    elif origin and "*" in allowed:
        origin, exposed = "*", b"*"
    else:
        return headers
    headers.append((b"access-control-allow-origin", origin.encode("ascii")))
    headers.append((b"access-control-expose-headers", exposed))
    return headers


def preflight_headers(context: Request) -> list[responses.Header]:
    """Headers of the response to a preflight request of a page whose origin the Core declares.
    Empty for other requests.
    """
    methods = context.values(b"access-control-request-method")
    if context.method != "OPTIONS" or not methods or len(context.response_headers) < 2:
        return []
    names = ", ".join(context.values(b"access-control-request-headers"))
    return [
        (b"access-control-allow-methods", methods[0].encode("latin-1")),
        (b"access-control-allow-headers", names.encode("latin-1")),
        (b"access-control-max-age", b"7200"),
    ]
