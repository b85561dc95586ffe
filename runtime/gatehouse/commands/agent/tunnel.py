"""Opens an ngrok tunnel to the agent with the official SDK (option `--ngrok`)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from gatehouse.core.errors import SettingsError, Unavailable

#: Environment variable with the authtoken. The authtoken cannot be an option, because other users
#: can read command lines.
AUTHTOKEN_VARIABLE = "NGROK_AUTHTOKEN"
_SERVER = "connect.ngrok-agent.com:443"


@dataclass(frozen=True)
class NgrokTunnel:
    """domain: domain of the tunnel, or an empty string for a domain that ngrok chooses."""

    authtoken: str = field(repr=False)
    domain: str = ""

    @asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[Callable[[], str]]:
        """Forwards the public URL of the tunnel to `address`, until the context exits. Yields a
        function that returns the URL.

        The SDK reconnects after an interruption. Raises Unavailable, and SettingsError if the SDK
        is not installed.
        """
        try:
            sdk = import_module("ngrok")
        except ImportError:
            raise SettingsError(
                "--ngrok requires the package ngrok. Install it with: pip install ngrok"
            ) from None
        listener = await self._forward(sdk, address)
        try:
            yield lambda: str(listener.url())
        finally:
            await listener.close()

    async def _forward(self, sdk: Any, address: str) -> Any:
        domain = {"domain": self.domain} if self.domain else {}
        try:
            return await sdk.forward(address, authtoken=self.authtoken, **domain)
        except (ValueError, RuntimeError, OSError) as exc:
            # Some ngrok messages contain the authtoken.
            reason = ": ".join(str(part) for part in exc.args).replace(self.authtoken, "***")
            raise Unavailable(
                f"ngrok did not open a tunnel ({' '.join(reason.split())}). Check that "
                f"{AUTHTOKEN_VARIABLE} is valid, that the"
                f" account permits the domain, and that this machine can connect to {_SERVER}"
            ) from None
