"""Where checkpoints lie outside the database: a locked bucket, or a folder. One JSON object each, named by its row."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from gatehouse.audit.checkpoint import Checkpoint
from gatehouse.audit.schemas import CheckpointView, checkpoint_of, checkpoint_view
from gatehouse.errors import Unavailable

PREFIX = "checkpoints/"


_TIMEOUT_S = 5


_WRITTEN_ALREADY = {"PreconditionFailed", "ConditionalRequestConflict"}


class S3CheckpointArchive:
    """`ports_checkpoint.Vault` in S3 (s3:PutObject, s3:ListBucket, s3:GetObject).

    An object is written only where there is none (If-None-Match), and the bucket's object lock keeps it: both must be lost
    before a checkpoint can be replaced.
    """

    def __init__(self, bucket: str, prefix: str = PREFIX) -> None:
        # Five seconds to connect and to read, two attempts; failure side: no checkpoint now, the next turn tries again.
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
            # A bucket with object lock takes an object only with a checksum of its body.
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + _name(checkpoint),
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") not in _WRITTEN_ALREADY:
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
    """`ports_checkpoint.Vault` in a folder: for a machine without S3, and what `aws s3 sync` makes of the bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._put, checkpoint)

    async def all(self) -> tuple[Checkpoint, ...]:
        return await asyncio.to_thread(self._all)

    def _put(self, checkpoint: Checkpoint) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Written aside and linked: a name never stands for half a checkpoint, and never for a second one.
            aside = self._folder / f".{_name(checkpoint)}.{os.getpid()}"
            aside.write_text(_text(checkpoint))
            try:
                os.link(aside, self._folder / _name(checkpoint))
            except FileExistsError:
                return
            finally:
                aside.unlink()
        except OSError as exc:
            raise Unavailable("The folder of checkpoints cannot be written", detail=exc.strerror or type(exc).__name__) from exc

    def _all(self) -> tuple[Checkpoint, ...]:
        try:
            return tuple(_parse(file.read_bytes()) for file in sorted(self._folder.glob("*.json")))
        except OSError as exc:
            raise Unavailable("The folder of checkpoints cannot be read", detail=exc.strerror or type(exc).__name__) from exc


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.seq:020d}.json"


def _text(checkpoint: Checkpoint) -> str:
    return checkpoint_view(checkpoint).model_dump_json() + "\n"


def _parse(text: bytes) -> Checkpoint:
    try:
        return checkpoint_of(CheckpointView.model_validate_json(text))
    except (ValidationError, ValueError) as exc:
        raise Unavailable("A checkpoint cannot be read: it was changed", detail=type(exc).__name__) from exc


def _unavailable(exc: Exception) -> Unavailable:
    code = exc.response.get("Error", {}).get("Code", "") if isinstance(exc, ClientError) else ""
    return Unavailable("The bucket of checkpoints is not available", detail=f"{type(exc).__name__} {code}".strip())
