"""Security headers for all pages and for the management API."""

from __future__ import annotations

#: Pages may load styles and images only from their own origin.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: Valid for two years. Sent only if the public URL uses https, because RFC 6797, section 7.2, forbids the header over http.
_STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"


def security_headers(*, https: bool) -> dict[str, str]:
    """Headers for every response. `https`: the public URL of the service uses https."""
    return {**_HEADERS, **({"Strict-Transport-Security": _STRICT_TRANSPORT} if https else {})}
