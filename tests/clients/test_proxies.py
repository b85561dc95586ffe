"""Reverse proxies configured as in the guide charge a request once: the balance after each."""

import re
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from gatehouse.platform.envoy import process

from sandbox import child_processes
from sandbox.ports import PLAIN_HTTP, free_port
from tests import http_servers, requires
from tests.compatibility.test_reverse_proxies import FILES, ROOT
from tests.runtime.services.gateway.conftest import Gateway
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits

#: The configurations in the guide, and those in the examples.
CONFIGURATIONS = FILES | dict(
    re.findall(
        r"^`([\w.]+)`:\n\n```\w*\n(.*?)^```",
        (ROOT / "docs/guides/reverse-proxies.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)
PROXIES = [
    pytest.param(
        ("nginx", "-p", "{folder}/", "-e", "stderr", "-c", "nginx.conf"),
        ("gatehouse.conf", "nginx.conf"),
        "8090",
        marks=requires.program("nginx"),
        id="nginx",
    ),
    pytest.param(
        ("caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"),
        ("Caddyfile",),
        "8091",
        marks=requires.program("caddy"),
        id="caddy",
    ),
    pytest.param(
        ("haproxy", "-f", "haproxy.cfg"),
        ("haproxy.cfg", "gatehouse.lua"),
        "8092",
        marks=requires.program("haproxy"),
        id="haproxy",
    ),
    pytest.param(
        (process.program(), "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"),
        ("envoy.yaml",),
        "8093",
        id="envoy",
    ),
]


class Service(http_servers.Handler):
    """Responds with the status in the path. 301 redirects to /200."""

    def do_GET(self) -> None:
        status = int(self.path[1:4])
        self.send_response(status, HTTPStatus(status).phrase)
        if status == 301:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET


@pytest.mark.parametrize(("command", "names", "port"), PROXIES)
async def test_proxy_charges_a_request_once(
    gateway: Gateway, tmp_path: Path, command: tuple[str, ...], names: tuple[str, ...], port: str
) -> None:
    key = await key_with_credits(gateway, 100, scopes=["orders:read"])
    own = free_port()
    with http_servers.serving(Service) as service:
        service_port = service.rpartition(":")[2]
        for name in names:
            text = CONFIGURATIONS[name]
            for documented, actual in (("8080", gateway.port), ("9000", service_port), (port, own)):
                text = text.replace(f":{documented}", f":{actual}")
                text = text.replace(f"port_value: {documented}", f"port_value: {actual}")
            (tmp_path / name).write_text(text)
        arguments = [argument.format(folder=tmp_path) for argument in command]
        child = child_processes.start("proxy", arguments, log=tmp_path / "log", cwd=tmp_path)
        headers = {"X-API-Key": key.token}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{own}", timeout=60, verify=PLAIN_HTTP
        ) as client:

            def is_ready() -> bool:
                try:
                    return client.get("/200").status_code == 401
                except httpx.HTTPError:
                    return False

            try:
                child_processes.wait_until(child, is_ready, "ready", 60)
                balance = 100
                for method in ("GET", "HEAD", "POST"):
                    for status in (200, 301, 404, 500, 503):
                        reply = client.request(method, f"/{status}", headers=headers)
                        balance -= 1
                        assert reply.status_code == status, method
                        assert await remaining_credits(gateway, key) == balance, (method, status)
            finally:
                child.stop()
