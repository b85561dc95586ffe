"""Dependencies of secret sharing in a deployment: table, bucket, KMS key and clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, Outcome
from gatehouse.core.clock import Clock
from gatehouse.core.errors import RateLimited, Unavailable
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.content_store import ContentStore, DataKeys
from gatehouse.features.sharing.link_token import LinkToken, new_id
from gatehouse.features.sharing.models import Secret, SharingEvent
from gatehouse.features.sharing.table import Table
from gatehouse.platform.settings import SHARING_CREATES_PER_MINUTE, Settings, SharingSettings

_MINUTE_S = 60.0
#: Maximum number of concurrent computations of keys with a passphrase, which use 64 MiB of memory
#: each, and maximum wait of further computations.
ARGON2_PARALLEL = 2
ARGON2_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Shared dependencies of the secret sharing services.

    environment: name of the deployment. All encrypted keys are bound to this name.
    creates_per_minute: number of secrets, and of secret requests, that an owner can create per
        minute.
    """

    table: Table
    content: ContentStore
    data_keys: DataKeys
    environment: str
    clock: Clock
    creates_per_minute: int = SHARING_CREATES_PER_MINUTE
    argon2: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ARGON2_PARALLEL))

    @classmethod
    def from_settings(cls, settings: SharingSettings, clock: Clock) -> Self | None:
        """Return None if the table, the bucket or the key is not configured. Opens no
        connections.
        """
        if not (settings.secret_links_table and settings.secrets_bucket and settings.secrets_key):
            return None
        return cls(
            table=Table(settings.secret_links_table),
            content=ContentStore(settings.secrets_bucket),
            data_keys=DataKeys(settings.secrets_key, settings.environment),
            environment=settings.environment,
            clock=clock,
            # A Lambda function creates nothing for owners.
            creates_per_minute=(
                settings.sharing_creates_per_minute
                if isinstance(settings, Settings)
                else SHARING_CREATES_PER_MINUTE
            ),
        )

    def context(self, secret: Secret, link_id: str, version: int) -> encryption.Context:
        """Return the context to which the content key of a version is bound for a link."""
        expires_at_max = int(secret.expires_at_max)
        return encryption.Context(self.environment, secret.id, link_id, version, expires_at_max)

    async def take_create(self, kind: str, owner: str) -> None:
        """Count the creation of a `kind`, such as `secret`, by an owner.

        The count is exact across all processes. Raises RateLimited, Unavailable.
        """
        wait_s = await self.table.take_attempt(
            f"create:{kind}:{owner}",
            limit=self.creates_per_minute,
            window_s=_MINUTE_S,
            now=self.clock.now(),
        )
        if wait_s is not None:
            message = (
                f"You can create {self.creates_per_minute} {kind}s per minute. Try again "
                f"in {wait_s} s."
            )
            raise RateLimited(message, retry_after_s=wait_s)

    async def link_keys(
        self, token: LinkToken, passphrase: str, salt: bytes
    ) -> encryption.LinkKeys:
        """Return the keys of a link. `salt`: empty for a link without a passphrase. Raises
        Unavailable if too many others with a passphrase are being computed.
        """
        if not salt:
            return encryption.link_keys(token.secret, token.path)
        try:
            async with asyncio.timeout(ARGON2_TIMEOUT_S):
                await self.argon2.acquire()
        except TimeoutError:
            raise Unavailable(
                "The service is processing too many requests. Try again.",
                detail=f"no free slot within {ARGON2_TIMEOUT_S:g} s",
            ) from None
        try:
            return await asyncio.to_thread(
                encryption.link_keys, token.secret, token.path, passphrase, salt
            )
        finally:
            self.argon2.release()

    def event(
        self,
        actor: Actor,
        action: AuditAction,
        secret_id: str,
        details: Mapping[str, str | int] | None = None,
        *,
        link: str = "",
        outcome: Outcome = "success",
    ) -> SharingEvent:
        """Return an event with the current time. `link`: ID of the affected link."""
        recorded = {**(details or {}), **({"link": link} if link else {})}
        event = actor.event(
            action, target_id=secret_id, at=self.clock.now(), details={**recorded}, outcome=outcome
        )
        return SharingEvent(new_id(), event)
