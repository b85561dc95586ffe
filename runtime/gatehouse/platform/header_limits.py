"""Limits of the header fields of a request."""

from gatehouse.platform.proxy_headers import INTERNAL

#: Maximum number of header fields of a request, and of bytes of their names and values. Envoy
#: accepts more, so that its own headers and those of a check have room.
FIELDS_MAX, BYTES_MAX = 100, 61_440

#: Names and beginnings of names of headers that Envoy adds, or sets for a check.
NOT_COUNTED = (INTERNAL, b"x-envoy-", b"x-forwarded-proto", b"content-length")
