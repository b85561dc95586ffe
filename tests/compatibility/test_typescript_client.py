"""The TypeScript client and its middleware, with the test runner of Node.js."""

import os
import shutil
from pathlib import Path

import pytest

from tests import processes, requires
from tests.journeys.conftest import Running

CLIENT = Path(__file__).parents[2] / "clients/typescript"
BYTES_MAX = 25_000

pytestmark = [pytest.mark.slow, pytest.mark.requirement("TR-07", "TR-16")]


@requires.program("npm")
def test_typescript_client(running: Running, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    keys = {"READ": running.key(scopes=["orders:read"], owner="shop")[1]}
    for name in ("EXPRESS", "FASTIFY", "HONO"):
        limits = [{"name": "requests", "quota": 1, "window_s": 3600}]
        keys[f"LIMITED_{name}"] = running.key(scopes=["orders:read"], limits=limits)[1]
    environment = {**os.environ, "GATEWAY": running.gateway, **keys}
    for command in (("npm", "ci"), ("npm", "run", "build"), ("npm", "test")):
        result = processes.run(command, cwd=folder, env=environment, timeout=None)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert "# fail 0" in result.stdout
    assert "# skipped 0" in result.stdout
    # Without the packages of the tests, too.
    shutil.rmtree(folder / "node_modules")
    program = (
        "import { GatewayClient } from '@gatehouse/client';"
        "import '@gatehouse/client/express';import '@gatehouse/client/fastify';"
        "import '@gatehouse/client/hono';"
        "const { READ, GATEWAY } = process.env;"
        "console.log((await new GatewayClient(GATEWAY).verify(READ)).code)"
    )
    module = ("node", "--input-type=module", "--eval", program)
    result = processes.run(module, cwd=folder, env=environment, timeout=None)
    assert result.stdout == "VALID\n", result.stderr


def test_typescript_client_is_small_and_has_no_dependencies() -> None:
    assert '"dependencies"' not in (CLIENT / "package.json").read_text()
    assert sum(path.stat().st_size for path in (CLIENT / "src").glob("*.ts")) <= BYTES_MAX
