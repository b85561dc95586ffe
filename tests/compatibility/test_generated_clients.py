"""Generated clients of the OpenAPI documents."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gatehouse.services.console.routes import document as console
from gatehouse.services.gateway.routes import document as gateway
from gatehouse.services.sharing.routes import document as sharing

from tests import processes, requires
from tests.journeys.conftest import Running

CLIENTS = Path(__file__).parent / "clients"
DOCUMENTS = {"console": console, "gateway": gateway, "sharing": sharing}
OAPI_CODEGEN = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, document in DOCUMENTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document()))
    return tmp_path


@pytest.fixture
def call(running: Running, folder: Path) -> Callable[..., None]:
    services = {
        "CONSOLE": running.console,
        "GATEWAY": running.gateway,
        "SHARING": running.sharing,
        "TOKEN": running.admin_token,
    }

    def call(*arguments: str, **variables: str) -> None:
        environ = {**os.environ, **services, **variables}
        result = processes.run(arguments, cwd=folder, env=environ, timeout=None)
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"

    return call


@requires.program("npm")
@pytest.mark.parametrize("client", ["openapi_fetch", "hey_api"])
def test_typescript(call: Callable[..., None], folder: Path, client: str) -> None:
    for name in ("package.json", "package-lock.json", "tsconfig.json", f"{client}.ts"):
        shutil.copy(CLIENTS / name, folder)
    call("npm", "ci", "--no-audit", "--no-fund")
    for name in DOCUMENTS:
        if client == "hey_api":
            call("npx", "openapi-ts", "-i", f"{name}.json", "-o", name)
        else:
            # Otherwise, fields of requests that have a default are required.
            optional = "--default-non-nullable=false"
            call("npx", "openapi-typescript", f"{name}.json", "-o", f"{name}.ts", optional)
    call("npx", "tsc", "--project", "tsconfig.json")
    call("node", f"out/{client}.js")


def test_python(call: Callable[..., None], folder: Path) -> None:
    call(sys.executable, "-m", "venv", "venv")
    python = str(folder / "venv/bin/python")
    call(python, "-m", "pip", "install", "--quiet", "-r", str(CLIENTS / "requirements.txt"))
    for name in DOCUMENTS:
        arguments = ("generate", "--path", f"{name}.json", "--output-path", name, "--meta", "setup")
        options = ("--config", str(CLIENTS / "openapi_python_client.yaml"), "--fail-on-warning")
        path = f"{folder / 'venv/bin'}:{os.environ['PATH']}"  # the generator runs ruff
        call("venv/bin/openapi-python-client", *arguments, *options, PATH=path)
    client = CLIENTS / "openapi_python_client.py"
    call(python, str(client), PYTHONPATH=os.pathsep.join(DOCUMENTS))


@requires.program("go")
def test_go(call: Callable[..., None], folder: Path) -> None:
    call("go", "mod", "init", "example.test/clients")
    for name in DOCUMENTS:
        (folder / name).mkdir()
        arguments = ("-generate", "types,client", "-package", name, "-o", f"{name}/client.go")
        call("go", "run", OAPI_CODEGEN, *arguments, f"{name}.json")
    shutil.copy(CLIENTS / "oapi_codegen.go", folder / "main.go")
    call("go", "mod", "tidy")
    call("go", "run", ".")
