"""Typed Python clients: `ConsoleClient` manages, `GatewayClient` verifies keys, `SharingClient` opens secrets."""

from gatehouse.client.http import ONCE, Retries
from gatehouse.client.services import ConsoleClient, GatewayClient, SharingClient

__all__ = ["ONCE", "ConsoleClient", "GatewayClient", "Retries", "SharingClient"]
