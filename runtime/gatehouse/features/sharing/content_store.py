"""Stores encrypted content in S3 and generates the KMS data keys for versions of the content."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.link_token import fingerprint
from gatehouse.features.sharing.models import ContentItem
from gatehouse.platform.aws import call, create_client, error_code

PREFIX = "secrets/"
_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 15.0
_ATTEMPTS = 3
_READ_BYTES = 256 * 1024
_CHECKSUM = "SHA256"
_MEDIA_TYPE = "application/octet-stream"
#: In some regions, botocore presigns with signature version 2, which does not support
#: `s3:signatureAge`. A regional host name never redirects a request.
_PRESIGNED = {"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}}
#: Error codes from HeadObject for a malformed version ID and for a version that does not exist. S3
#: returns 403 instead of 404 if the caller is not allowed to list the bucket.
_MISSING = frozenset({"400", "403", "404"})
#: Lifetime of a presigned request in seconds. The bucket policy denies older signatures
#: (components/iam/bucket_policies.py).
PRESIGNED_S = 60
#: Size of the parts in a multipart upload. S3 requires at least 5 MiB for all parts except the
#: last.
PART_BYTES = 8 * 1024 * 1024


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


class MultipartUpload:
    """A multipart upload of an object. `delete_all` aborts unfinished uploads."""

    def __init__(self, client: Any, upload: dict[str, str]) -> None:
        self._client = client
        self._upload = upload
        self._parts: list[dict[str, object]] = []

    async def add(self, content: bytes) -> None:
        number = len(self._parts) + 1
        reply = await call(
            self._client.upload_part,
            "S3",
            **self._upload,
            PartNumber=number,
            Body=content,
            ChecksumAlgorithm=_CHECKSUM,
        )
        part = {"PartNumber": number, "ETag": reply["ETag"]}
        # If the upload has a checksum algorithm, S3 returns the checksum of each part and requires
        # these checksums on completion.
        checksum = {"ChecksumSHA256": reply["ChecksumSHA256"]} if "ChecksumSHA256" in reply else {}
        self._parts.append({**part, **checksum})

    async def complete(self) -> str:
        """Complete the upload and return the version ID of the object."""
        reply = await call(
            self._client.complete_multipart_upload,
            "S3",
            **self._upload,
            MultipartUpload={"Parts": self._parts},
        )
        return str(reply.get("VersionId", ""))

    async def abort(self) -> None:
        """Delete the parts."""
        await call(self._client.abort_multipart_upload, "S3", **self._upload)


class PresignedUpload(msgspec.Struct, frozen=True):
    """A presigned S3 POST request for one object of a fixed size. `fields`: form fields to send
    before the field `file`.
    """

    url: str
    fields: dict[str, str]

    def __repr__(self) -> str:
        return "PresignedUpload(...)"


class ContentStore:
    """Stores the objects of secrets. Methods raise Unavailable."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = create_client(
            "s3",
            timeout_s=_TIMEOUT_S,
            attempts=_ATTEMPTS,
            read_timeout_s=_READ_TIMEOUT_S,
            config=_PRESIGNED,
        )

    @staticmethod
    def prefix(secret_id: str, version: int | None = None) -> str:
        """Return the key prefix for the objects of a secret, or of one version of the secret."""
        return f"{PREFIX}{secret_id}/" + (f"{version}/" if version is not None else "")

    @staticmethod
    def key(secret_id: str, version: int, item: int) -> str:
        return f"{ContentStore.prefix(secret_id, version)}{item}"

    @staticmethod
    def upload_key(secret_id: str, item: int, submission_id: str) -> str:
        """Return the key for an item that a client uploads. The key contains the submission ID, so
        no other submission can write the object."""
        return f"{ContentStore.prefix(secret_id, 1)}{item}-{submission_id}"

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> str:
        """Write an object and return its version ID. Objects that exceed the part size are written
        with a multipart upload.
        """
        buffer, upload = bytearray(), None
        try:
            async for chunk in chunks:
                buffer += chunk
                while len(buffer) > PART_BYTES:
                    upload = upload or await self._begin(key)
                    await upload.add(bytes(buffer[:PART_BYTES]))
                    del buffer[:PART_BYTES]
            if upload is not None:
                await upload.add(bytes(buffer))
                return await upload.complete()
        except BaseException:
            if upload is not None:
                with suppress(Unavailable):
                    await upload.abort()
            raise
        reply = await call(
            self._client.put_object,
            "S3",
            **self._object(key),
            Body=bytes(buffer),
            ChecksumAlgorithm=_CHECKSUM,
        )
        return str(reply.get("VersionId", ""))

    async def _begin(self, key: str) -> MultipartUpload:
        upload = await call(
            self._client.create_multipart_upload,
            "S3",
            **self._object(key),
            ChecksumAlgorithm=_CHECKSUM,
        )
        return MultipartUpload(
            self._client, {"Bucket": self._bucket, "Key": key, "UploadId": upload["UploadId"]}
        )

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key, "ContentType": _MEDIA_TYPE}

    async def read(self, item: ContentItem) -> Iterator[bytes]:
        """Return an iterator over the content of an object. Reading from the iterator blocks and
        raises AWS_ERRORS.
        """
        version = {"VersionId": item.object_version} if item.object_version else {}
        reply = await call(
            self._client.get_object, "S3", Bucket=self._bucket, Key=item.key, **version
        )
        return iter(partial(reply["Body"].read, _READ_BYTES), b"")

    async def presigned_download(self, item: ContentItem) -> str:
        """Return a URL with which anyone can read the ciphertext of an item for 60 seconds. Sends
        no request to S3.
        """
        version = {"VersionId": item.object_version} if item.object_version else {}
        parameters = {"Bucket": self._bucket, "Key": item.key, **version}
        url = await call(
            self._client.generate_presigned_url,
            "S3",
            ClientMethod="get_object",
            Params=parameters,
            ExpiresIn=PRESIGNED_S,
        )
        return str(url)

    async def presigned_upload(self, key: str, size: int) -> PresignedUpload:
        """Return a form with which anyone can write this object, with this size, for 60 seconds.
        Sends no request to S3.
        """
        fields = {"Content-Type": _MEDIA_TYPE}
        post = await call(
            self._client.generate_presigned_post,
            "S3",
            Bucket=self._bucket,
            Key=key,
            Fields=fields,
            Conditions=[fields, ["content-length-range", size, size]],
            ExpiresIn=PRESIGNED_S,
        )
        return PresignedUpload(post["url"], post["fields"])

    async def size(self, key: str, object_version: str) -> int | None:
        """Return the size of an object version in bytes, or None if the version does not exist."""
        try:
            reply = await call(
                self._client.head_object,
                "S3",
                Bucket=self._bucket,
                Key=key,
                VersionId=object_version,
            )
        except Unavailable as exc:
            if isinstance(exc.__cause__, Exception) and error_code(exc.__cause__) in _MISSING:
                return None
            raise
        return int(reply["ContentLength"])

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

    async def delete(self, items: Sequence[ContentItem]) -> None:
        """Delete the object versions of these items."""
        if items:
            objects = [{"Key": item.key, "VersionId": item.object_version} for item in items]
            await call(
                self._client.delete_objects,
                "S3",
                Bucket=self._bucket,
                Delete={"Objects": objects, "Quiet": True},
            )

    async def delete_all(self, prefix: str) -> list[tuple[str, str]]:
        """Delete every version and delete marker under a prefix. Returns the key and version ID of
        each.

        Also aborts unfinished multipart uploads.
        """
        return await call(self._delete_all, "S3", prefix=prefix)

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
        for upload in self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix).get(
            "Uploads", ()
        ):
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        return deleted
