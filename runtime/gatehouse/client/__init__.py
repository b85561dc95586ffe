"""Typed Python clients: `ConsoleClient` for the management API and `GatewayClient` for the verification of keys."""

from gatehouse.client.http import ONCE, Retries
from gatehouse.client.services import ConsoleClient, GatewayClient

__all__ = ["ONCE", "ConsoleClient", "GatewayClient", "Retries"]
