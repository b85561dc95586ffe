"""Clients for Gatehouse: verify API keys at the gateway, manage keys and secrets at the console,
and open secrets at the sharing service. Each exists for synchronous programs and for asyncio.
"""

from gatehouse_client._async.console import AsyncConsoleClient
from gatehouse_client._async.gateway import AsyncGatewayClient
from gatehouse_client._async.sharing import AsyncSharingClient
from gatehouse_client._sync.console import ConsoleClient
from gatehouse_client._sync.gateway import GatewayClient
from gatehouse_client._sync.sharing import SharingClient
from gatehouse_client.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    Problem,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from gatehouse_client.gateway import Taken, Verification
from gatehouse_client.transport import Retries

__all__ = [
    "ApiError",
    "AsyncConsoleClient",
    "AsyncGatewayClient",
    "AsyncSharingClient",
    "BadRequest",
    "Conflict",
    "ConsoleClient",
    "Forbidden",
    "GatewayClient",
    "NotFound",
    "PreconditionFailed",
    "Problem",
    "Retries",
    "SharingClient",
    "Taken",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Verification",
]
