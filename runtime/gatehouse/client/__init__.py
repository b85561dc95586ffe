"""A typed client for programs: `ConsoleClient` manages keys, `GateClient` verifies them. The command line uses it too."""

from gatehouse.client.console import ConsoleClient
from gatehouse.client.gate import GateClient
from gatehouse.client.http import ONCE, Retries

__all__ = ["ONCE", "ConsoleClient", "GateClient", "Retries"]
