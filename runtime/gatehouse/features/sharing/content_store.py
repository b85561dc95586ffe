"""Stores encrypted content in S3 and generates the KMS data keys for versions of the content."""

from __future__ import annotations

from botocore.exceptions import ClientError

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.link_token import fingerprint
from gatehouse.features.sharing.models import ContentItem
from gatehouse.platform.aws import call, create_client, error_code

PREFIX = "secrets/"
_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 15.0
_ATTEMPTS = 3
_CHECKSUM = "SHA256"
_DELETED = frozenset({"NoSuchKey", "NoSuchVersion"})
_MEDIA_TYPE = "application/octet-stream"


class DataKeys:
    """Generates and decrypts KMS data keys. Methods raise Unavailable."""

    def __init__(self, key: str, environment: str) -> None:
        self._key = key
        self._environment = environment
        self._client = create_client("kms", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)

    async def generate(self, secret_id: str) -> tuple[bytes, bytes]:
        """Return a new 32-byte data key, first in plaintext and then encrypted by KMS."""
        reply = await call(
            self._client.generate_data_key,
            "KMS",
            KeyId=self._key,
            KeySpec="AES_256",
            EncryptionContext=self._context(secret_id),
        )
        return reply["Plaintext"], reply["CiphertextBlob"]

    async def decrypt(self, secret_id: str, data_key: bytes) -> bytes:
        reply = await call(
            self._client.decrypt,
            "KMS",
            KeyId=self._key,
            CiphertextBlob=data_key,
            EncryptionContext=self._context(secret_id),
        )
        plaintext: bytes = reply["Plaintext"]
        return plaintext

    def _context(self, secret_id: str) -> dict[str, str]:
        """Return the encryption context. CloudTrail records the context in plaintext, so the secret
        ID is only a fingerprint.
        """
        return {
            "purpose": "secret-content",
            "environment": self._environment,
            "secret": fingerprint(secret_id),
        }


class ContentStore:
    """Stores the objects of secrets. Methods raise Unavailable."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = create_client(
            "s3",
            timeout_s=_TIMEOUT_S,
            attempts=_ATTEMPTS,
            read_timeout_s=_READ_TIMEOUT_S,
        )

    @staticmethod
    def key(secret_id: str, version: int, item: int) -> str:
        return f"{PREFIX}{secret_id}/{version}/{item}"

    async def write(self, key: str, content: bytes) -> str:
        """Write an object and return its version ID."""
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
        for page in self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=PREFIX
        ):
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                secret_id = entry["Key"].removeprefix(PREFIX).partition("/")[0]
                newest[secret_id] = max(
                    newest.get(secret_id, 0.0), entry["LastModified"].timestamp()
                )
        return [secret_id for secret_id, written_at in newest.items() if written_at < older_than]

    async def delete_all(self, secret_id: str) -> list[tuple[str, str]]:
        """Delete every version and delete marker of the objects of a secret. Returns the key and
        version ID of each.
        """
        return await call(self._delete_all, "S3", prefix=f"{PREFIX}{secret_id}/")

    def _delete_all(self, *, prefix: str) -> list[tuple[str, str]]:
        deleted: list[tuple[str, str]] = []
        for page in self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=prefix
        ):
            versions = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if versions:
                reply = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": versions, "Quiet": True}
                )
                if reply.get("Errors"):
                    raise Unavailable(
                        "Objects could not be deleted.",
                        detail=f"S3 {reply['Errors'][0].get('Code', '')}",
                    )
                deleted += [(entry["Key"], entry["VersionId"]) for entry in versions]
        return deleted
