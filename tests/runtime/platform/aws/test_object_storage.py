"""Objects in S3 and files: their size is bounded, and so is the wait for S3."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.errors import BadRequest, Unavailable
from gatehouse.platform.aws import object_storage

from tests.runtime.s3_bucket import BUCKET, bucket
from tests.runtime.silent_servers import full_server, silent_server

__all__ = ["bucket"]
LOCATION = f"s3://{BUCKET}/object"


def test_size_of_content_is_bounded(bucket: Any, tmp_path: Path) -> None:
    file, content = tmp_path / "file", bytes((1 << 20) + 1)
    file.write_bytes(content)
    bucket.put_object(Bucket=BUCKET, Key="object", Body=content)
    for location in (LOCATION, str(file)):
        assert object_storage.read(location, len(content))[0] == content
        with pytest.raises(BadRequest, match="is larger than 1 MiB"):
            object_storage.read(location, len(content) - 1)


def test_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    other, file = tmp_path / "other", tmp_path / "export"
    other.write_text("unchanged")
    for name in ("export", f".export.{os.getpid()}"):  # names that another user can predict
        (tmp_path / name).symlink_to(other)
    object_storage.write(str(file), b"content")
    assert (file.read_bytes(), file.is_symlink()) == (b"content", False)
    assert (file.stat().st_mode & 0o777, other.read_text()) == (0o600, "unchanged")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("server", "bound"), [(full_server, "_TIMEOUT_S"), (silent_server, "_READ_TIMEOUT_S")]
)
async def test_s3_that_does_not_respond_is_unavailable(
    server: Callable[[], AbstractContextManager[int]], bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "eu-central-1")
    monkeypatch.setattr(object_storage, "_ATTEMPTS", 1)
    monkeypatch.setattr(object_storage, bound, 0.1)
    with server() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable) as error:
                await asyncio.to_thread(object_storage.write, LOCATION, b"content")
    assert (
        error.value.detail
        == {"_TIMEOUT_S": "ConnectTimeoutError", "_READ_TIMEOUT_S": "ReadTimeoutError"}[bound]
    )
