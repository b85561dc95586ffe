"""A typed client for programs: `ConsoleClient` manages keys, `GatewayClient` verifies them. The command line uses it too."""

from __future__ import annotations

from gatehouse.client.console import ConsoleClient
from gatehouse.client.gateway import GatewayClient
from gatehouse.client.http import ONCE, Retries

__all__ = ["ONCE", "ConsoleClient", "GatewayClient", "Retries"]
