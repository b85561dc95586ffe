"""Envoy, Caddy and HAProxy as in the guide (nginx: tests/journeys)."""

import re
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from gatehouse.platform.envoy import process

from sandbox import child_processes
from sandbox.ports import PLAIN_HTTP, free_port
from tests import http_servers, requires
from tests.journeys.conftest import Running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/proxies"
FILES = {
    file.name: file.read_text() for file in (*EXAMPLES.iterdir(), ROOT / "examples/service.py")
}

#: The key ID as CGI, WSGI and PHP read it.
AS_CGI = """def as_cgi(headers):
    fields = [(name.lower().replace("_", "-"), value) for name, value in headers.items()]
    return ", ".join(value for name, value in fields if name == "gatehouse-key-id")
"""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("command", "names", "port"),
    [
        pytest.param(
            ("caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"),
            ("Caddyfile",),
            "8091",
            marks=requires.program("caddy"),
        ),
        pytest.param(
            ("haproxy", "-f", "haproxy.cfg"),
            ("haproxy.cfg", "gatehouse.lua"),
            "8092",
            marks=requires.program("haproxy"),
        ),
        pytest.param(
            ("envoy", "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"),
            ("envoy.yaml",),
            "8093",
        ),
    ],
    ids=["caddy", "haproxy", "envoy"],
)
def test_reverse_proxy(
    running: Running, tmp_path: Path, command: tuple[str, ...], names: tuple[str, ...], port: str
) -> None:
    service, own = free_port(), free_port()
    gateway = running.gateway.rpartition(":")[2]
    for name in (*names, "service.py"):
        text = FILES[name].replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
        text = text.replace("127.0.0.1:9000", f"127.0.0.1:{service}")
        text = text.replace("port_value: 8080", f"port_value: {gateway}")
        text = text.replace("port_value: 9000", f"port_value: {service}")
        text = text.replace('self.headers["Gatehouse-Key-Id"]', "as_cgi(self.headers)")
        (tmp_path / name).write_text(text.replace(port, str(own)))
    with (tmp_path / "service.py").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(AS_CGI + text)
    if command[0] == "envoy":
        command = (process.program(), *command[1:])
    log = tmp_path / "log"
    children = [
        child_processes.start(name, arguments, log=log, cwd=tmp_path)
        for name, arguments in (
            ("service", (sys.executable, "service.py", f"127.0.0.1:{service}")),
            ("proxy", command),
        )
    ]
    key_id, token = running.key(
        scopes=["orders:read"],
        methods=["GET"],
        limits=[{"name": "requests", "quota": 3, "window_s": 3600}],
    )

    def request(method: str = "GET", *keys: str) -> httpx.Response:
        headers = [("X-API-Key", key) for key in keys]
        url = f"http://127.0.0.1:{own}/orders"
        headers += [(name, "forged") for name in ("Gatehouse-Key-Id", "Gatehouse_Key_Id")]
        headers.append(("Connection", "close, Gatehouse-Key-Id"))
        body = b"not JSON" if method == "POST" else None
        return httpx.request(
            method, url, headers=headers, content=body, timeout=60, verify=PLAIN_HTTP
        )

    def is_ready() -> bool:
        try:
            return request().status_code == 401 and "service ready" in log.read_text()
        except httpx.HTTPError:
            return False

    try:
        child_processes.wait_until(children[1], is_ready, "ready", 60)
        assert request("POST", token).status_code == 403
        writer_id, writer = running.key(scopes=["orders:read"], methods=["POST"])
        written = request("POST", writer)
        assert (written.status_code, written.text) == (
            200,
            f"/orders for key {writer_id}; its token: None\n",
        )
        assert request("GET", writer).status_code == 403
        assert request("HEAD", token).status_code == 501  # of the service, which has no HEAD
        twice = request("GET", "one", "two")
        assert twice.status_code == 400
        assert twice.json()["code"] == "bad_request"
        replies = [request("GET", token) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]
        assert replies[0].text == f"/orders for key {key_id}; its token: None\n"
        assert int(replies[2].headers["retry-after"]) > 0
        assert request().headers.get_list("www-authenticate", split_commas=True)
    finally:
        for child in children:
            child.stop()


def test_examples_decide_at_the_endpoint_and_fail_closed() -> None:
    texts = {path.stem: path.read_text() for path in EXAMPLES.glob("*.yaml")}
    assert len(texts) == 5
    for name, text in texts.items():
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(text)), name
        assert re.search(r"/v1/keys/authorize[/?]scope=orders:read\b", text), name
        assert not re.search(r"(?i)(failopen|failure_mode_allow): true", text), name


@requires.program("haproxy")
def test_haproxy_denies_all_requests_if_the_script_fails(tmp_path: Path) -> None:
    class Service(http_servers.Handler):
        def do_GET(self) -> None:
            self.respond(200, b"")

    own = free_port()
    script = 'core.register_action("gatehouse", { "http-req" }, function() error() end)'
    (tmp_path / "gatehouse.lua").write_text(script)
    with http_servers.serving(Service) as service:
        text = FILES["haproxy.cfg"].replace("8092", str(own))
        text = text.replace("127.0.0.1:9000", service.partition("//")[2])
        (tmp_path / "haproxy.cfg").write_text(text)
        command = ("haproxy", "-f", "haproxy.cfg")
        child = child_processes.start("proxy", command, log=tmp_path / "log", cwd=tmp_path)
        try:
            transport = httpx.HTTPTransport(verify=PLAIN_HTTP, retries=8)
            with httpx.Client(transport=transport, timeout=60) as client:
                assert client.get(f"http://127.0.0.1:{own}/").status_code == 503
        finally:
            child.stop()
