"""Typed Python clients for the console, the gateway and the sharing service."""

from gatehouse.client.http import ONCE, Retries
from gatehouse.client.services import ConsoleClient, GatewayClient, SharingClient

__all__ = ["ONCE", "ConsoleClient", "GatewayClient", "Retries", "SharingClient"]
