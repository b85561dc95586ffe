"""Parameters of the Python clients with which no request can be sent. The table of
tests/clients/behaviour.py has the states of a gateway.
"""

import asyncio
from typing import Any

import pytest
from gatehouse_client import AsyncGatewayClient, BadRequest, GatewayClient

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize("kind", [GatewayClient, AsyncGatewayClient])
def test_request_that_cannot_be_sent_is_an_error(kind: Any) -> None:
    def verify() -> None:
        result = kind(URL, fail_open=True).verify("\udc80")
        if kind is AsyncGatewayClient:
            asyncio.run(result)

    with pytest.raises(BadRequest):
        verify()
    for limits in ({"timeout_s": 0}, {"response_timeout_s": -1}, {"in_progress_max": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            kind(URL, fail_open=True, **limits)
