"""Reads the state of Envoy from its administration interface."""

from pathlib import Path

import httpx

TIMEOUT_S = 3.0


class Admin:
    def __init__(self, socket: Path) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://envoy", timeout=TIMEOUT_S, trust_env=False
        )

    async def get(self, path: str) -> bytes:
        """The response to a path. Empty if Envoy does not respond: it is starting or has ended."""
        try:
            return (await self._client.get(path)).content
        except httpx.HTTPError:
            return b""

    async def metrics(self) -> bytes:
        """The metrics of Envoy in the Prometheus text format."""
        return await self.get("/stats/prometheus")

    async def close(self) -> None:
        await self._client.aclose()
