"""Rules for the head of a request, without a connection."""

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.platform.http import request_head

HOST = (b"host", b"gateway.example")


@pytest.mark.parametrize("host", [b"a", b"a.example:8443", b"[2001:db8::1]:80", b"192.0.2.1"])
def test_host_is_a_name_or_an_address(host: bytes) -> None:
    fields = [(b"host", host), (b"cookie", b"a"), (b"cookie", b"b")]
    request_head.check("1.1", b"/", fields, dict(fields))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"/v1/keys?a=b?c", (b"/v1/keys", b"a=b?c")),
        (b"//other.example/a", (b"//other.example/a", b"")),
        (b"http://GATEWAY.example:80/v1?a", (b"/v1", b"a")),
        (b"http://other.example/v1", None),
        (b"http://user@gateway.example/v1", None),
        (b"ftp://gateway.example/v1", None),
        (b"http://gateway.example", None),
    ],
)
def test_absolute_target_has_the_host_of_the_request(
    url: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    if expected is not None:
        assert request_head.target(url, [HOST]) == expected
        return
    with pytest.raises(BadRequest):
        request_head.target(url, [HOST])


def test_path_is_percent_encoded() -> None:
    request_head.check("1.1", b"/%41?b%", [HOST], dict([HOST]))
    with pytest.raises(BadRequest, match="write %25"):
        request_head.check("1.1", b"/%2", [HOST], dict([HOST]))
