"""Encrypted content in S3, and the KMS data keys of its versions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gatehouse.aws import call, create_client
from gatehouse.errors import Unavailable
from gatehouse.sharing.link_token import fingerprint
from gatehouse.sharing.models import ContentItem

PREFIX = "secrets/"
_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 15.0
_ATTEMPTS = 3
_READ_BYTES = 256 * 1024
#: Size of the parts of a multipart upload. S3 requires at least 5 MiB for all parts but the last.
PART_BYTES = 8 * 1024 * 1024


class DataKeys:
    """KMS data keys. Methods raise Unavailable."""

    def __init__(self, key: str, environment: str) -> None:
        self._key = key
        self._environment = environment
        self._client = create_client("kms", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)

    async def generate(self, secret_id: str) -> tuple[bytes, bytes]:
        """A new data key of 32 bytes: in plaintext, and encrypted by KMS."""
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
        """CloudTrail records the context in plain text, so it contains a fingerprint only."""
        return {"purpose": "secret-content", "environment": self._environment, "secret": fingerprint(secret_id)}


class ContentStore:
    """Objects of secrets. Methods raise Unavailable."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = create_client("s3", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS, read_timeout_s=_READ_TIMEOUT_S)

    @staticmethod
    def key(secret_id: str, version: int, item: int) -> str:
        return f"{PREFIX}{secret_id}/{version}/{item}"

    async def write(self, key: str, ciphertext: bytes) -> str:
        """Write an object and return its version id."""
        reply = await call(
            self._client.put_object,
            "S3",
            Bucket=self._bucket,
            Key=key,
            Body=ciphertext,
            ContentType="application/octet-stream",
            ChecksumAlgorithm="SHA256",
        )
        return str(reply.get("VersionId", ""))

    async def read(self, item: ContentItem) -> Iterator[bytes]:
        """The content of an object, in pieces. Reading the iterator blocks and raises AWS_ERRORS."""
        version = {"VersionId": item.object_version} if item.object_version else {}
        reply = await call(self._client.get_object, "S3", Bucket=self._bucket, Key=item.key, **version)
        return iter(partial(reply["Body"].read, _READ_BYTES), b"")

    async def secret_ids(self, *, older_than: float) -> list[str]:
        """Ids of secrets that have objects, all of which were written before a time (Unix seconds)."""
        return await call(self._secret_ids, "S3", older_than=older_than)

    def _secret_ids(self, *, older_than: float) -> list[str]:
        newest: dict[str, float] = {}
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=PREFIX):
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                secret_id = entry["Key"].removeprefix(PREFIX).partition("/")[0]
                newest[secret_id] = max(newest.get(secret_id, 0.0), entry["LastModified"].timestamp())
        return [secret_id for secret_id, written_at in newest.items() if written_at < older_than]

    async def delete_all(self, prefix: str) -> list[tuple[str, str]]:
        """Delete every version and delete marker under a prefix. Returns key and version id of each."""
        return await call(self._delete_all, "S3", prefix=prefix)

    def _delete_all(self, *, prefix: str) -> list[tuple[str, str]]:
        deleted: list[tuple[str, str]] = []
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix):
            versions = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if versions:
                reply = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": versions, "Quiet": True})
                if reply.get("Errors"):
                    raise Unavailable("Objects could not be deleted.", detail=f"S3 {reply['Errors'][0].get('Code', '')}")
                deleted += [(entry["Key"], entry["VersionId"]) for entry in versions]
        for upload in self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix).get("Uploads", ()):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return deleted
