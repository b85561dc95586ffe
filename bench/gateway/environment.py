"""Environment for the benchmarks: PostgreSQL, Redis, the gateway as in production with and without
TLS, API keys, nginx as a Core and for comparison, Envoy without any feature of the gateway, and a
WebSocket server as a Core.
"""

import asyncio
import base64
import json
import os
import secrets
import ssl
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import psutil
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import Pepper, build
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login
from gatehouse.platform.envoy import process
from gatehouse.platform.envoy.configuration import Configuration, extension

from sandbox import child_processes
from sandbox.local import servers
from sandbox.ports import free_port

#: Sizes of the files that nginx serves at `/files/{name}`, in bytes.
FILES = {"100KB": 100_000, "10MB": 10_000_000}

_SERVE = (
    "from gatehouse.platform import settings, supervisor; "
    "supervisor.serve(['gateway'], settings.load())"
)
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream core {{ server 127.0.0.1:{core}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "{reply}"; }}
    location /files/ {{
      root {folder}; etag off; add_header Last-Modified ""; add_header Cache-Control no-store;
    }}
    location /cores/docs/ {{
      proxy_pass http://core/; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""
_INSERT_CORE = """
INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at)
VALUES ($1, $2, 'test', 'bench', $3, 1, now() + interval '1 hour')"""
_CHANGES_READ = (
    "SELECT (SELECT min(confirmed_seq) FROM gateway_worker) >= (SELECT max(change_seq) FROM "
    "api_key)"
)


def limit(rate: int, *, burst: int = 0, window_s: int = 1) -> dict[str, object]:
    """A rate limit. burst: by default, as large as the limit."""
    return {"name": f"per{window_s}", "quota": rate, "window_s": window_s, "burst": burst or rate}


@dataclass(frozen=True)
class Environment:
    gateway: str
    tls: str
    nginx: str
    envoy: str
    pids: Mapping[str, int]
    database_url: str
    pepper: Pepper
    websocket_port: int

    def create_keys(self, limits: Sequence[Sequence[dict[str, object]]]) -> list[str]:
        """Inserts one key for each list of limits. Returns the tokens when the gateway knows about
        the keys, which it reads at the first request.
        """
        return asyncio.run(self._create_keys(limits))

    def register_core(self, token: str, name: str, url: str) -> None:
        asyncio.run(self._execute(_INSERT_CORE, name, url, token.split("_")[2][:12]))

    async def _execute(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.database_url)
        await connection.execute(statement, *arguments)
        await connection.close()

    async def _create_keys(self, limits: Sequence[Sequence[dict[str, object]]]) -> list[str]:
        now, tokens = datetime.now(UTC), []
        rows: list[tuple[object, ...]] = []
        for number, each in enumerate(limits):
            random = secrets.token_bytes(9), secrets.token_bytes(32)
            token = build("gtk", KeyEnvironment.TEST, *random, pepper=self.pepper, generation=1)
            tokens.append(token.text)
            name = f"invoices, nightly export {number}"
            digest = self.pepper.digest(token.text, 1)
            state: tuple[object, ...] = (1, 1, "test", "active", name, ["cores:read"], [])
            rows.append((token.id, digest, *state, json.dumps(each), now, "bench"))
        columns = "id digest pepper_generation id_generation environment state name scopes "
        columns += "cores limits created_at created_by"
        connection = await asyncpg.connect(self.database_url)
        await connection.copy_records_to_table("api_key", records=rows, columns=columns.split())
        async with asyncio.timeout(60):
            while not await connection.fetchval(_CHANGES_READ):
                await asyncio.sleep(0.1)
        await connection.close()
        return tokens


@contextmanager
def environment(workers: int = 1) -> Iterator[Environment]:
    """Starts the environment. The WebSocket server is started by the benchmark."""
    pepper = secrets.token_bytes(32)
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        redis = stack.enter_context(servers.redis())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        asyncio.run(runner.migrate(login(postgres.owner_url, "url")))
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")
        }
        variables = {
            **inherited,
            "GATEHOUSE_ENVIRONMENT": "bench",
            "GATEHOUSE_DATABASE_URL": postgres.app_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
            "GATEHOUSE_PEPPER": json.dumps(
                {"current": 1, "generations": {"1": base64.b64encode(pepper).decode()}}
            ),
            "GATEHOUSE_REDIS_URL": redis,
            "GATEHOUSE_REDIS_AUTH": "url",
            "GATEHOUSE_CORE_NETWORKS": "127.0.0.0/8",
            "GATEHOUSE_TRUSTED_PROXIES": "127.0.0.0/8",
            "GATEHOUSE_BIND": "127.0.0.1",
            "GATEHOUSE_WORKERS": str(workers),
        }
        ports = {
            name: free_port() for name in ("gateway", "tls", "core", "nginx", "envoy", "websocket")
        }
        pids = {"envoy": _start_envoy(stack, folder, ports["envoy"], ports["core"])}
        for name in ("gateway", "tls"):
            own = {
                "GATEHOUSE_GATEWAY_PORT": str(ports[name]),
                "GATEHOUSE_TLS": "self_signed" if name == "tls" else "off",
            }
            child = child_processes.start(
                name,
                [sys.executable, "-c", _SERVE],
                log=folder / f"{name}.log",
                env={**variables, **own},
            )
            stack.callback(child.stop)
            pids[name] = child.pid
            scheme = "https" if name == "tls" else "http"
            url = f"{scheme}://127.0.0.1:{ports[name]}/readyz"
            child_processes.wait_until(child, lambda url=url: _is_ready(url), "ready", 60)  # type: ignore[misc]  # mypy does not infer the default
        for name in ("core", "nginx"):
            _start_nginx(stack, folder / name, ports[name], ports["core"])
        nginx, envoy, core = (
            f"http://127.0.0.1:{ports[name]}" for name in ("nginx", "envoy", "core")
        )
        result = Environment(
            f"http://127.0.0.1:{ports['gateway']}",
            f"https://127.0.0.1:{ports['tls']}",
            nginx,
            envoy,
            pids,
            postgres.app_url,
            Pepper({1: pepper}, 1),
            ports["websocket"],
        )
        (token,) = result.create_keys([[]])
        result.register_core(token, "docs", core)
        result.register_core(token, "echo", f"http://127.0.0.1:{ports['websocket']}")
        yield result


def _start_nginx(stack: ExitStack, folder: Path, port: int, core: int) -> None:
    (folder / "files").mkdir(parents=True)
    folder.parent.chmod(0o755)
    for name, size in FILES.items():
        (folder / "files" / name).write_bytes(bytes(size))
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, reply="x" * 100, port=port, core=core))
    child = child_processes.start(
        "nginx", ["nginx", "-c", str(config), "-e", f"{folder}/error.log"], log=folder / "log"
    )
    stack.callback(child.stop)
    child_processes.wait_until(child, lambda: _is_ready(f"http://127.0.0.1:{port}/"), "ready", 20)


def _start_envoy(stack: ExitStack, folder: Path, port: int, core: int) -> int:
    """Starts an Envoy that only forwards requests. Returns its process ID."""
    route = {"cluster": "core", "prefix_rewrite": "/"}
    routes = [{"match": {"prefix": "/cores/docs/"}, "route": route}]
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="plain",
        http_filters=[
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
        ],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    )
    listener = {"address": _address(port), "filter_chains": [{"filters": [manager]}]}
    endpoint = {"endpoint": {"address": _address(core)}}
    cluster = {
        "name": "core",
        "load_assignment": {"cluster_name": "core", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    config = folder / "plain.json"
    config.write_text(
        json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
    )
    options = ["--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
    child = child_processes.start("envoy", [process.program(), *options], log=folder / "envoy.log")
    stack.callback(child.stop)
    return child.pid


def _address(port: int) -> Configuration:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _is_ready(url: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=5, context=context):  # noqa: S310 - a server of this environment
            return True
    except OSError:
        return False


def cpu_s(pid: int) -> tuple[float, float]:
    """CPU time of a gateway, with its workers and their parent process, and that of its Envoy."""
    process, total_s, envoy_s = psutil.Process(pid), 0.0, 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total_s += times.user + times.system
        if each.name() == "envoy":
            envoy_s += times.user + times.system
    return total_s, envoy_s
