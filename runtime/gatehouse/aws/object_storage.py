"""Files by place: a path, or s3://bucket/key, which is read with its entity tag and written only if it is still that one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse.errors import BadRequest, Conflict, NotFound, Unavailable

_S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)")


_TIMEOUT_S = 10


_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict"}


_MISSING = {"NoSuchKey", "NoSuchBucket", "404"}


#: Larger than any registry of keys; what is larger was meant to be something else.
BYTES_MAX = 1 << 30


def read(place: str) -> tuple[bytes, str]:
    """The content and its entity tag (empty for a file). Blocks. Raises NotFound, BadRequest, Unavailable."""
    found = _S3.fullmatch(place)
    if found is None:
        return _file(place), ""
    try:
        reply = _client().get_object(Bucket=found[1], Key=found[2])
        if reply["ContentLength"] > BYTES_MAX:
            raise BadRequest(f"{place} is larger than {BYTES_MAX >> 20} MiB")
        return reply["Body"].read(), reply["ETag"]
    except (BotoCoreError, ClientError) as exc:
        raise _refused(place, exc) from exc


def write(place: str, content: bytes, *, only_if: str | None = None, content_type: str = "application/octet-stream") -> None:
    """`only_if`: the entity tag that it must still have; empty: it must not be there; None: whatever is there is replaced.

    Blocks. Raises Conflict when somebody else was faster, Unavailable.
    """
    found = _S3.fullmatch(place)
    if found is None:
        _write_file(place, content, new=only_if == "")
        return
    condition = {} if only_if is None else {"IfMatch": only_if} if only_if else {"IfNoneMatch": "*"}
    try:
        _client().put_object(
            Bucket=found[1], Key=found[2], Body=content, ContentType=content_type, ChecksumAlgorithm="SHA256", **condition
        )
    except (BotoCoreError, ClientError) as exc:
        if _code(exc) in _CHANGED:
            if not only_if:
                raise Conflict(f"there is something at {place} already; choose another name") from exc
            raise Conflict(f"{place} was changed by somebody else at the same time; try again") from exc
        raise _refused(place, exc) from exc


def is_bucket(place: str) -> bool:
    """Whether a place is well-formed and in S3."""
    return _S3.fullmatch(place) is not None


def _client() -> Any:
    config = Config(connect_timeout=_TIMEOUT_S, read_timeout=60, retries={"total_max_attempts": 3})
    return boto3.client("s3", region_name=os.environ.get("AWS_REGION"), config=config)


def _file(place: str) -> bytes:
    if place.startswith("s3:"):
        raise BadRequest(f"{place} is no place in S3; write s3://bucket/key")
    try:
        return Path(place).read_bytes()
    except FileNotFoundError as exc:
        raise NotFound(f"there is no file {place}") from exc
    except OSError as exc:
        raise Unavailable(f"{place} cannot be read: {exc.strerror or type(exc).__name__}") from exc


def _write_file(place: str, content: bytes, *, new: bool) -> None:
    if place.startswith("s3:"):
        raise BadRequest(f"{place} is no place in S3; write s3://bucket/key")
    path = Path(place)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if new and path.exists():
            raise Conflict(f"there is something at {place} already; choose another name")
        # Written aside and renamed: a name never stands for half a file.
        aside.touch(mode=0o600)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as exc:
        raise Unavailable(f"{place} cannot be written: {exc.strerror or type(exc).__name__}") from exc


def _code(exc: Exception) -> str:
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def _refused(place: str, exc: Exception) -> NotFound | Unavailable:
    code = _code(exc)
    if code in _MISSING:
        return NotFound(f"there is nothing at {place}")
    why = {"AccessDenied": "the role in use may not; allow it for this object", "": "S3 cannot be reached"}.get(code, code)
    return Unavailable(f"{place} is not available: {why}", detail=f"{type(exc).__name__} {code}".strip())
