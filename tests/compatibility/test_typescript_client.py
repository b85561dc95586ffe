"""The TypeScript client and its middleware, with the test runner of Node.js."""

import json
import os
import re
import shutil
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sandbox import child_processes
from sandbox.ports import PLAIN_HTTP, free_port
from tests import processes, requires
from tests.journeys.conftest import Running

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/typescript"
GUIDE = ROOT / "docs/guides/protect-a-service.md"
#: Without the generated types.
BYTES_MAX = 52_000
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")])
#: As in test/services.js of the client.
SCOPES = ["orders:read", "orders:write", "items:read", "files:read", "mounted:read"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, built, with the packages of its tests."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for command in (("npm", "ci"), ("npm", "run", "build")):
        result = processes.run(command, cwd=folder, timeout=None)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return folder


@requires.program("npm")
def test_code_blocks_compile_under_strict(client: Path) -> None:
    """Also those in JavaScript. The tests in them pass."""
    folder, files = client / "blocks", []
    folder.mkdir()
    for page in PAGES:
        text = page.read_text()
        found = re.findall(r"^```(?:ts|js)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for number, block in enumerate(block for block in found if "@gatehouse/client" in block):
            files.append(folder / f"{page.stem}-{number}.ts")
            files[-1].write_text(block)
    assert len(files) >= 7
    settings = {"strict": True, "module": "NodeNext", "target": "ES2022", "types": ["node"]}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": settings}))
    compile = ("npx", "tsc", "--project", "blocks")
    result = processes.run(compile, cwd=client, timeout=None)
    assert result.returncode == 0, result.stdout
    tests = [file.with_suffix(".js") for file in files if "node:test" in file.read_text()]
    assert tests
    result = processes.run(("node", "--test", *tests), cwd=client, timeout=None)
    assert result.returncode == 0, result.stdout
    files[0].write_text(
        "import express from 'express';\n"
        "import { GatewayClient } from '@gatehouse/client';\n"
        "import { requireKey } from '@gatehouse/client/express';\n"
        "const gateway = new GatewayClient('');\n"
        "express().get('/', requireKey(gateway, { scope: ['a'] }), () => {});\n"
        "console.log((await gateway.verify('a')).code === 'RATE_LIMITD');\n"
    )
    output = processes.run(compile, cwd=client, timeout=None).stdout
    assert re.findall(r"\.ts\((\d)", output) == ["5", "6"], output


@requires.program("npm")
def test_typescript_client(running: Running, client: Path, tmp_path: Path) -> None:
    keys = {
        "READ": running.key(scopes=["orders:read"], customer_id="shop", create_customer=True)[1]
    }
    credits = {"remaining": 5}
    keys["CREDITS"] = running.key(credits=credits)[1]
    for name in ("EXPRESS", "FASTIFY", "HONO"):
        limits = [{"name": "requests", "quota": 1, "window_s": 3600}]
        keys[f"LIMITED_{name}"] = running.key(scopes=["orders:read"], limits=limits)[1]
        scopes = ["orders:read", "items:read", "mounted:read"]
        keys[f"CREDITS_{name}"] = running.key(scopes=scopes, credits=credits)[1]
        keys[f"PRICED_{name}"] = running.key(
            scopes=["orders:read", "mounted:read"], cores=["docs"], credits={"remaining": 9}
        )[1]
    keys["PARTNER"] = running.key(scopes=["mounted:read"])[1]
    keys["OTHER_CORE"] = running.key(scopes=["orders:read", "mounted:read"], cores=["other"])[1]
    only = {"cores": ["docs"], "methods": ["GET"], "scopes": ["orders:read"]}
    keys["DOCS"] = running.key(customer_id="shop", credits=credits, **only)[1]
    private_key = Ed25519PrivateKey.generate()
    pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keys["PRIVATE_KEY"] = private_key.private_bytes(*pem).decode()
    public_key = private_key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    keys["SIGNED"] = running.key(public_key=public_key.decode())[1]
    limits = [{"name": "requests", "quota": 100_000, "window_s": 3600}]
    keys["ALL"] = running.key(scopes=SCOPES, limits=limits, credits={"remaining": 100_000})[1]
    for number, scope in enumerate(SCOPES):
        others = [other for other in SCOPES if other != scope]
        keys[f"WITHOUT_{number}"] = running.key(scopes=others, limits=limits)[1]
    service = running.key(scopes=["role:service"])[1]
    limit = {"name": "sign-in", "quota": 2, "window_s": 3600}
    assert running.manage("POST", "/v1/limits", limit).status_code == 201
    keys["TAKE"] = json.dumps({"url": running.gateway, "token": service, "limit": "sign-in"})
    keys["SPELLINGS"] = str(ROOT / "tests/clients/spellings.json")
    console = {"CONSOLE": running.console, "ADMIN": running.admin_token}
    environment = {**os.environ, "GATEWAY": running.gateway, **console, **keys}
    result = processes.run(("npm", "test"), cwd=client, env=environment, timeout=None)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    assert "# fail 0" in result.stdout
    assert "# skipped 0" in result.stdout
    # Without the packages of the tests, too.
    folder = tmp_path / "client"
    shutil.copytree(client, folder, ignore=shutil.ignore_patterns("node_modules"))
    program = (
        "import { GatewayClient } from '@gatehouse/client';"
        "import '@gatehouse/client/express';import '@gatehouse/client/fastify';"
        "import '@gatehouse/client/hono';import '@gatehouse/client/testing';"
        "const { READ, GATEWAY } = process.env;"
        "console.log((await new GatewayClient(GATEWAY).verify(READ)).code)"
    )
    module = ("node", "--input-type=module", "--eval", program)
    result = processes.run(module, cwd=folder, env=environment, timeout=None)
    assert result.stdout == "VALID\n", result.stderr


@requires.program("npm")
def test_express_service_of_the_guide(running: Running, tmp_path: Path) -> None:
    shutil.copytree(
        CLIENT,
        tmp_path / "clients/typescript",
        ignore=shutil.ignore_patterns("node_modules", "dist"),
    )
    (tmp_path / "package.json").write_text("{}")
    commands = re.findall(r"^\$ (npm .*)$", GUIDE.read_text(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        result = processes.run(("sh", "-c", command), cwd=tmp_path, timeout=None)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    file = r"^`orders.mjs`:\n\n```js\n(.*?)^```$"
    (text,) = re.findall(file, GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "orders.mjs").write_text(text)
    port = free_port()
    environment = {**os.environ, "GATEWAY": running.gateway, "PORT": str(port)}
    service = child_processes.start(
        "service", ("node", "orders.mjs"), log=tmp_path / "log", cwd=tmp_path, env=environment
    )

    def get(**headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{port}/orders"
        return httpx.get(url, headers=headers, timeout=60, verify=PLAIN_HTTP)

    def is_ready() -> bool:
        try:
            return get().status_code == 401
        except httpx.HTTPError:
            return False

    try:
        child_processes.wait_until(service, is_ready, "ready", 60)
        token = running.key(scopes=["orders:read"], customer_id="shop", create_customer=True)[1]
        assert get(Authorization=f"Bearer {token}").json() == {"orders_of": "shop"}
    finally:
        service.stop()


def test_typescript_client_is_small_and_has_no_dependencies() -> None:
    assert '"dependencies"' not in (CLIENT / "package.json").read_text()
    assert (
        sum(path.stat().st_size for path in (CLIENT / "src").glob("*.ts") if path.stem != "types")
        <= BYTES_MAX
    )
