"""MinIO, an implementation of Amazon S3."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import child_processes
from sandbox.ports import free_port
from tests.references.maven import listens

MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
MINIO_VARIABLE = "GATEHOUSE_TEST_MINIO"
"""Path of the program. If it is set, the tests of secret sharing use it instead of the emulator."""


@contextmanager
def running_minio(program: str, user: str, password: str, region: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        variables = {
            "MINIO_ROOT_USER": user,
            "MINIO_ROOT_PASSWORD": password,
            "MINIO_SITE_REGION": region,
            "MINIO_BROWSER": "off",
        }
        child = child_processes.start(
            "minio",
            (program, "server", f"{folder}/data", "--address", f"127.0.0.1:{port}"),
            log=Path(folder, "minio.log"),
            env={**os.environ, **variables},
        )
        try:
            child_processes.wait_until(child, lambda: listens(port), "ready", 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.stop()
