"""Clients for Gatehouse: verify API keys at the gateway, manage keys and secrets at the console,
and open secrets at the sharing service. Each exists for synchronous programs and for asyncio.
"""

from gatehouse_client.console import AsyncConsoleClient, ConsoleClient
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
from gatehouse_client.gateway import AsyncGatewayClient, GatewayClient, Verification
from gatehouse_client.sharing import AsyncSharingClient, SharingClient
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
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Verification",
]
