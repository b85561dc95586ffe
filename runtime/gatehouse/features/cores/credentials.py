"""Credentials of the gateway for applications, which it adds to the requests to their Cores.

The name of a secret contains the name of its Core, and its value names the URL and the header in
which it may be sent. A registration declares the header too, so that it applies before the secret
is read. It cannot make the gateway send another secret, or send the secret to another place, such
as to a header whose value the application returns to clients.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.core.http.origin import parse_base_url
from gatehouse.features.cores.secrets_manager import SecretsManager

#: Interval between two reads of a credential, and minimum interval while there is none.
REFRESH_S = 60.0
RETRY_S = 5.0


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON value of a secret.

    url: URL of the Core, or the beginning of the URL up to a slash. value: value of the header.
    """

    url: str
    value: Annotated[str, Meta(pattern=r"^[!-~]+( [!-~]+)*\Z")]
    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")] = "Authorization"

    def __repr__(self) -> str:
        return f"Credential({self.url!r})"

    def value_for(self, core: CoreRecord) -> str:
        """The value for an instance. Raises Unavailable if its URL is not below `url`, or if its
        header is another.
        """
        declared = core.settings.credential_header or ""
        if not f"{core.url}/".startswith(f"{self.url}/"):
            raise _unavailable(f"the secret is for {self.url}, not for {core.url}")
        if declared.lower() != self.header.lower():
            raise _unavailable(f"the secret is for the header {self.header}, not for {declared}")
        return self.value


def parse_credential(secret: str) -> Credential:
    """Raises ValueError with the reason, which contains no part of the secret."""
    try:
        credential = msgspec.json.decode(secret, type=Credential)
    except (msgspec.MsgspecError, UnicodeError):
        raise ValueError(
            'the value is not {"url": "...", "header": "...", "value": "..."}'
        ) from None
    try:
        url = parse_base_url(credential.url).url
    except ValueError as exc:
        raise ValueError(f"the URL {exc}") from None
    return msgspec.structs.replace(credential, url=url)


@dataclass(slots=True, eq=False)
class _Entry:
    """The last result for a Core. reason: why there is no credential."""

    credential: Credential | None = None
    reason: str = ""
    read_at: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True, eq=False)
class Credentials:
    """The credentials that a worker uses. Not thread-safe; use in a single event loop.

    prefix: beginning of the names of the secrets. monotonic: clock in seconds.
    on_failure: called with the name of a Core and the reason.
    """

    secrets: SecretsManager
    prefix: str
    monotonic: Callable[[], float]
    on_failure: Callable[[str, str], None]
    _entries: dict[str, _Entry] = field(default_factory=dict)

    async def find(self, core: str, settings: CoreSettings) -> Credential | None:
        """The credential of a Core. None if its settings require none. Raises
        Unavailable.
        """
        if settings.credential_header is None:
            return None
        entry = self._entries.get(core)
        if entry is None:
            entry = self._entries[core] = _Entry()
        if entry.credential is None:
            await asyncio.sleep(0)  # a gateway continues in a task, which timeouts require
            async with entry.lock:
                if self.monotonic() - entry.read_at >= RETRY_S:
                    await self._read(core, entry)
        if entry.credential is None:
            raise _unavailable(entry.reason)
        return entry.credential

    async def check(self, core: CoreRecord) -> None:
        """Raises Unavailable if an instance requires a credential that is not available."""
        credential = await self.find(core.name, core.settings)
        if credential is not None:
            credential.value_for(core)

    async def refresh(self, settings_of: Callable[[str], CoreSettings]) -> None:
        """Reads the credentials in use again, and removes unused and missing ones."""
        self._entries = {
            core: entry
            for core, entry in self._entries.items()
            if (entry.credential or entry.lock.locked()) and settings_of(core).credential_header
        }
        known = [item for item in self._entries.items() if item[1].credential]
        await asyncio.gather(*(self._read(core, entry) for core, entry in known))

    async def _read(self, core: str, entry: _Entry) -> None:
        """Keeps the last credential while Secrets Manager is not available."""
        name, reason = self.prefix + core, ""
        try:
            if not self.prefix:
                raise ValueError("GATEHOUSE_CORE_CREDENTIALS_PREFIX is not set")
            entry.credential = parse_credential(await self.secrets.read(name))
        except Unavailable as exc:
            reason = exc.detail
        except (NotFound, ValueError) as exc:
            cause = exc.detail if isinstance(exc, NotFound) else exc
            entry.credential, reason = None, f"the secret {name}: {cause}"
        entry.reason, entry.read_at = reason, self.monotonic()
        if reason:
            self.on_failure(core, reason)


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("The credential of the Core is not available.", detail=detail)
