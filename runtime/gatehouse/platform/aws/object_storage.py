"""Reads and writes local files and S3 objects. A location is a path or `s3://bucket/key`. Objects
have an entity tag, which makes conditional writes possible."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from gatehouse.core.errors import BadRequest, Conflict, NotFound, Unavailable
from gatehouse.platform import calls
from gatehouse.platform.aws import AWS_ERRORS, create_client, error_code, error_detail, record_error

_S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)")

#: Timeouts of a connection and of a response, for each of _ATTEMPTS attempts.
_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0
_ATTEMPTS = 3

_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict"}

_MISSING = {"NoSuchKey", "NoSuchBucket", "404"}

_ANSWERS = _CHANGED | {"NoSuchKey"}

#: Maximum size of an export or of a file to import. Exports are smaller.
BYTES_MAX = 1 << 30


def read(location: str, bytes_max: int) -> tuple[bytes, str]:
    """Content and entity tag. The entity tag of a file is empty. Blocks. Raises NotFound,
    BadRequest if the content is larger than `bytes_max`, and Unavailable.
    """
    s3 = _S3.fullmatch(location)
    if s3 is None:
        content = _file(location, bytes_max + 1)
        _check_size(location, len(content), bytes_max)
        return content, ""
    try:
        reply = _s3_client().get_object(Bucket=s3[1], Key=s3[2])
        _check_size(location, reply["ContentLength"], bytes_max)
        content = reply["Body"].read()
    except AWS_ERRORS as exc:
        record_error("S3", "get_object", exc, _ANSWERS)
        raise _error(location, exc) from exc
    calls.succeeded("S3", "get_object")
    return content, reply["ETag"]


def write(
    location: str,
    content: bytes,
    *,
    only_if: str | None = None,
    content_type: str = "application/octet-stream",
    make_folder: bool = False,
) -> None:
    """Write an object or a file. Blocks. Raises Conflict if the condition fails, BadRequest if the
    location is malformed, NotFound if the bucket does not exist, and Unavailable.

    only_if: the expected entity tag. An empty string means that the object must not exist; None
    means that the write is unconditional. For a file, an entity tag other than the empty string has
    no effect.
    make_folder: create the parent folder of a file.
    """
    s3 = _S3.fullmatch(location)
    if s3 is None:
        _write_file(location, content, new=only_if == "", make_folder=make_folder)
        return
    condition = {} if only_if is None else {"IfMatch": only_if} if only_if else {"IfNoneMatch": "*"}
    try:
        _s3_client().put_object(
            Bucket=s3[1],
            Key=s3[2],
            Body=content,
            ContentType=content_type,
            ChecksumAlgorithm="SHA256",
            **condition,
        )
    except AWS_ERRORS as exc:
        record_error("S3", "put_object", exc, _ANSWERS)
        if error_code(exc) in _CHANGED:
            if not only_if:
                raise Conflict(f"{location} already exists; choose another name") from exc
            text = f"{location} was changed in the meantime; try again"
            raise Conflict(text, retry_after_s=1) from exc
        raise _error(location, exc) from exc
    calls.succeeded("S3", "put_object")


def _s3_client() -> Any:
    return create_client(
        "s3", timeout_s=_TIMEOUT_S, read_timeout_s=_READ_TIMEOUT_S, attempts=_ATTEMPTS
    )


def _path(location: str) -> Path:
    if location.startswith("s3:"):
        raise BadRequest(f"{location} is not an S3 URL; use s3://bucket/key")
    return Path(location)


def _check_size(location: str, size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise BadRequest(f"{location} is larger than {bytes_max >> 20} MiB")


def _file(location: str, count: int) -> bytes:
    try:
        with _path(location).open("rb") as file:
            return file.read(count)
    except FileNotFoundError as exc:
        raise NotFound(f"{location} does not exist") from exc
    except OSError as exc:
        raise Unavailable(
            f"{location} cannot be read: {exc.strerror or type(exc).__name__}"
        ) from exc


def _write_file(location: str, content: bytes, *, new: bool, make_folder: bool) -> None:
    path = _path(location)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        # A new file with a random name, which another user of the folder cannot replace by a link.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            # The file is complete before it appears under its final name. link() fails if the name
            # exists.
            if new:
                os.link(temporary, path)
            else:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as exc:
        raise Conflict(f"{location} already exists; choose another name") from exc
    except OSError as exc:
        raise Unavailable(
            f"{location} cannot be written: {exc.strerror or type(exc).__name__}"
        ) from exc


def _error(location: str, exc: Exception) -> NotFound | Unavailable:
    code = error_code(exc)
    if code in _MISSING:
        return NotFound(f"{location} does not exist")
    reason = {
        "AccessDenied": "access denied; allow the role to access this object",
        "": "S3 cannot be reached",
    }.get(code, code)
    return Unavailable(f"{location} is not available: {reason}", detail=error_detail(exc))
