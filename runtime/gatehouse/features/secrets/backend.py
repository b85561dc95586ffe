"""Dependencies of secret sharing in a deployment: table, bucket with encrypted content, KMS key
and clock.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

from botocore.exceptions import ClientError

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, Outcome
from gatehouse.core.clock import Clock
from gatehouse.core.errors import RateLimited, Unavailable
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.deletion_receipt import LISTED_MAX, ObjectVersion
from gatehouse.features.secrets.link_token import fingerprint, new_id
from gatehouse.features.secrets.models import ContentItem, Secret, SharingEvent
from gatehouse.features.secrets.table import Table
from gatehouse.platform.aws import call, create_client, error_code
from gatehouse.platform.semaphores import Limit
from gatehouse.platform.settings import SHARING_CREATES_PER_MINUTE, Settings, SharingSettings

PREFIX = "secrets/"
_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 15.0
_ATTEMPTS = 3
_CHECKSUM = "SHA256"
_DELETED = frozenset({"NoSuchKey", "NoSuchVersion"})
_MEDIA_TYPE = "application/octet-stream"
_MINUTE_S = 60.0
#: The settings on which all processes that use the table agree. The content of its secrets cannot
#: be opened with others.
_FACTS = ("environment", "secrets_bucket", "secrets_key")
#: Maximum number of concurrent computations of the keys of passphrases, which use 64 MiB of memory
#: each, and of contents that are read, which use up to 20 MB each.
ARGON2_PARALLEL = 2
READS_PARALLEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Shared dependencies of the secret sharing services.

    environment: name of the deployment. All encrypted keys are bound to this name.
    creates_per_minute: number of secrets, of secret requests, and of new versions of secrets, that
        an owner can create per minute.
    """

    table: Table
    content: "ContentStore"
    data_keys: "DataKeys"
    environment: str
    clock: Clock
    creates_per_minute: int = SHARING_CREATES_PER_MINUTE
    argon2: Limit = field(default_factory=lambda: Limit(ARGON2_PARALLEL))
    reads: Limit = field(default_factory=lambda: Limit(READS_PARALLEL))

    @classmethod
    def from_settings(cls, settings: SharingSettings, clock: Clock) -> Self | None:
        """Return None if the table, the bucket or the key is not configured. Opens no
        connections.
        """
        if not (settings.secret_links_table and settings.secrets_bucket and settings.secrets_key):
            return None
        return cls(
            table=Table(
                settings.secret_links_table, {name: getattr(settings, name) for name in _FACTS}
            ),
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
        wait_s, _ = await self.table.take_attempt(
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

    async def passphrase_key(self, passphrase: str, salt: bytes) -> bytes:
        """Return the key of a passphrase. Raises Unavailable if too many others are being
        computed.
        """
        async with self.argon2:
            return await asyncio.to_thread(encryption.passphrase_key, passphrase, salt)

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


class DataKeys:
    """Generates and decrypts KMS data keys. Methods raise Unavailable."""

    def __init__(self, key: str, environment: str) -> None:
        self._key = key
        self._environment = environment
        self._client = create_client("kms", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)

    async def generate(self, secret_id: str) -> tuple[bytes, bytes]:
        """Return a new 32-byte data key, first in plaintext and then encrypted by KMS."""
        reply = await self._call(self._client.generate_data_key, secret_id, KeySpec="AES_256")
        return reply["Plaintext"], reply["CiphertextBlob"]

    async def decrypt(self, secret_id: str, data_key: bytes) -> bytes:
        reply = await self._call(self._client.decrypt, secret_id, CiphertextBlob=data_key)
        plaintext: bytes = reply["Plaintext"]
        return plaintext

    async def _call(self, operation: Any, secret_id: str, **arguments: Any) -> Any:
        # CloudTrail records the context in plaintext, so the secret ID is only a fingerprint.
        context = {
            "purpose": "secret-content",
            "environment": self._environment,
            "secret": fingerprint(secret_id),
        }
        return await call(operation, "KMS", KeyId=self._key, EncryptionContext=context, **arguments)


class ContentStore:
    """Stores the objects of secrets. Methods raise Unavailable."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = create_client(
            "s3", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS, read_timeout_s=_READ_TIMEOUT_S
        )

    @staticmethod
    def key(secret_id: str, version: int, item: int) -> str:
        return f"{PREFIX}{secret_id}/{version}/{item}"

    async def write(self, key: str, content: bytes) -> str:
        reply = await call(
            self._client.put_object,
            "S3",
            Bucket=self._bucket,
            Key=key,
            Body=content,
            ContentType=_MEDIA_TYPE,
            ChecksumAlgorithm=_CHECKSUM,
        )
        return str(reply["VersionId"])

    async def read(self, item: ContentItem) -> bytes | None:
        """Return the content of an object, or None if the object has been deleted."""
        return await call(self._read, "S3", item=item)

    def _read(self, *, item: ContentItem) -> bytes | None:
        try:
            reply = self._client.get_object(
                Bucket=self._bucket, Key=item.key, VersionId=item.object_version
            )
        except ClientError as exc:
            if error_code(exc) in _DELETED:
                return None
            raise
        content: bytes = reply["Body"].read()
        return content

    async def secret_ids(self, *, older_than: float) -> list[str]:
        """Return the IDs of secrets whose objects were all written before `older_than` (Unix
        seconds).
        """
        return await call(self._secret_ids, "S3", older_than=older_than)

    def _secret_ids(self, *, older_than: float) -> list[str]:
        newest: dict[str, float] = {}
        for entry in chain.from_iterable(self._pages(PREFIX)):
            secret_id = entry["Key"].removeprefix(PREFIX).partition("/")[0]
            newest[secret_id] = max(newest.get(secret_id, 0.0), entry["LastModified"].timestamp())
        return [secret_id for secret_id, written_at in newest.items() if written_at < older_than]

    async def delete_all(
        self, secret_id: str, known: Sequence[ObjectVersion] = ()
    ) -> tuple[int, list[ObjectVersion]]:
        """Delete every version and delete marker of the objects of a secret. Returns their number
        and the first LISTED_MAX of them, beginning with `known`, which S3 no longer lists if an
        earlier attempt deleted them.
        """
        return await call(self._delete_all, "S3", prefix=f"{PREFIX}{secret_id}/", known=known)

    def _delete_all(
        self, *, prefix: str, known: Sequence[ObjectVersion]
    ) -> tuple[int, list[ObjectVersion]]:
        # The first page is listed until it is empty, with versions that are written meanwhile.
        count, listed = len(known), [*known]
        while page := next(self._pages(prefix)):
            versions = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page]
            reply = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": versions, "Quiet": True}
            )
            if reply.get("Errors"):
                raise Unavailable(
                    "Objects could not be deleted.",
                    detail=f"S3 {reply['Errors'][0].get('Code', '')}",
                )
            pairs = [(entry["Key"], entry["VersionId"]) for entry in versions]
            others = [pair for pair in pairs if pair not in known]
            count += len(others)
            listed = (listed + others)[:LISTED_MAX]
        return count, listed

    def _pages(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            yield [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
