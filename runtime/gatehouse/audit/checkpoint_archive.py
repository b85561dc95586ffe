"""Archives of checkpoints outside the database: an S3 bucket with object lock, or a directory. One JSON file per checkpoint."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse.audit.models import Checkpoint
from gatehouse.audit.schemas import CheckpointView, checkpoint_of, checkpoint_view
from gatehouse.errors import Unavailable

PREFIX = "checkpoints/"
_TIMEOUT_S = 5
_ALREADY_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict"}


class S3CheckpointArchive:
    """Bucket with object lock. Needs s3:PutObject, s3:ListBucket and s3:GetObject.

    `If-None-Match: *` prevents overwriting an object, and the object lock prevents deleting it.
    """

    def __init__(self, bucket: str, prefix: str = PREFIX) -> None:
        # On failure no checkpoint is taken; the next run tries again.
        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 2})
        self._bucket = bucket
        self._prefix = prefix
        self._client = boto3.client("s3", region_name=os.environ.get("AWS_REGION"), config=config)

    async def put(self, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._put, checkpoint)

    async def all(self) -> tuple[Checkpoint, ...]:
        return await asyncio.to_thread(self._all)

    def _put(self, checkpoint: Checkpoint) -> None:
        body = _text(checkpoint).encode()
        try:
            # Object lock requires a checksum of the body.
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + _name(checkpoint),
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") not in _ALREADY_EXISTS:
                raise _unavailable(exc) from exc
        except BotoCoreError as exc:
            raise _unavailable(exc) from exc

    def _all(self) -> tuple[Checkpoint, ...]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
            texts = [self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read() for name in sorted(names)]
        except (BotoCoreError, ClientError) as exc:
            raise _unavailable(exc) from exc
        return tuple(_parse(text) for text in texts)


class FileCheckpointArchive:
    """Directory, for deployments without S3. `aws s3 sync` of the bucket produces the same files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._put, checkpoint)

    async def all(self) -> tuple[Checkpoint, ...]:
        return await asyncio.to_thread(self._all)

    def _put(self, checkpoint: Checkpoint) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            # link() fails if the name exists, and the file is complete before it has its name.
            temporary = self._directory / f".{_name(checkpoint)}.{os.getpid()}"
            temporary.write_text(_text(checkpoint))
            try:
                os.link(temporary, self._directory / _name(checkpoint))
            except FileExistsError:
                return
            finally:
                temporary.unlink()
        except OSError as exc:
            raise Unavailable(
                "The directory of checkpoints cannot be written", detail=exc.strerror or type(exc).__name__
            ) from exc

    def _all(self) -> tuple[Checkpoint, ...]:
        try:
            return tuple(_parse(file.read_bytes()) for file in sorted(self._directory.glob("*.json")))
        except OSError as exc:
            raise Unavailable("The directory of checkpoints cannot be read", detail=exc.strerror or type(exc).__name__) from exc


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.seq:020d}.json"


def _text(checkpoint: Checkpoint) -> str:
    return msgspec.json.encode(checkpoint_view(checkpoint)).decode() + "\n"


def _parse(text: bytes) -> Checkpoint:
    try:
        return checkpoint_of(msgspec.json.decode(text, type=CheckpointView))
    except (msgspec.DecodeError, ValueError) as exc:
        raise Unavailable("A checkpoint cannot be read: it was modified", detail=type(exc).__name__) from exc


def _unavailable(exc: Exception) -> Unavailable:
    code = exc.response.get("Error", {}).get("Code", "") if isinstance(exc, ClientError) else ""
    return Unavailable("The bucket of checkpoints is not available", detail=f"{type(exc).__name__} {code}".strip())
