"""Typed Python clients: `ConsoleClient` for the management API and `GatewayClient` for the verification of keys."""

from gatehouse.client.console import ConsoleClient
from gatehouse.client.gateway import GatewayClient
from gatehouse.client.http import ONCE, Retries

__all__ = ["ONCE", "ConsoleClient", "GatewayClient", "Retries"]
