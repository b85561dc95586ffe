"""Headers of errors."""

import pytest
from gatehouse.core import errors
from gatehouse.core.errors import GatehouseError, RequestInProgress, Unauthorized, UpgradeRequired
from gatehouse.platform.web.asgi import problem_headers

ERRORS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, GatehouseError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_error_has_the_headers_of_its_status(kind: type[GatehouseError]) -> None:
    headers = dict(problem_headers(kind("x", retry_after_s=7)))
    heals = kind.status in (429, 503) or kind is RequestInProgress
    assert headers.get(b"retry-after") == (b"7" if heals else None)
    assert (b"www-authenticate" in headers) is issubclass(kind, Unauthorized)
    assert (b"sec-websocket-version" in headers) is issubclass(kind, UpgradeRequired)
