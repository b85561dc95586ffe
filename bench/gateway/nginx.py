"""Compares the gateway with nginx and prints ratios. Requires `nginx` and `wrk` on PATH.

A static response measures HTTP on this machine, `proxy_pass` measures a proxy without key
verification, and `auth_request` measures nginx with the verify endpoint. All rows are measured in
turn, several times, so that disturbances affect all rows equally.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.gateway.environment import Environment, environment, show
from bench.gateway.load_generator import CONNECTIONS, Result
from sandbox import child_processes
from sandbox.ports import free_port

SECONDS = 3
ROUNDS = 5
_CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream core {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  upstream gateway {{ server 127.0.0.1:{gateway}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{upstream};
    location / {{ return 200 "{reply}"; }}
    location /files/ {{ root {folder}; etag off; add_header Last-Modified ""; add_header Cache-Control no-store; }}
  }}
  server {{
    listen 127.0.0.1:{port};
    location = /static {{ return 200 "ok"; }}
    location /proxy/ {{ proxy_pass http://core/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /guarded/ {{
      auth_request /verify; proxy_pass http://core/; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
    location = /verify {{
      internal; proxy_pass http://gateway/v1/keys/verify; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}
}}
"""  # noqa: E501


_BASELINES = {
    **dict.fromkeys(("verify, JSON", "verify, header"), "nginx, return 200 (POST)"),
    **dict.fromkeys(
        ("nginx, auth_request + proxy_pass", "proxy through the gateway"), "nginx, proxy_pass"
    ),
    "proxy through the gateway, 100 KB": "nginx, proxy_pass, 100 KB",
    "proxy through the gateway, 10 MB": "nginx, proxy_pass, 10 MB",
}
_FILES = {"100 KB": 100_000, "10 MB": 10_000_000}
_FILE_CONNECTIONS = "-c16"


def missing() -> list[str]:
    """The required programs that are not on PATH."""
    return [name for name in ("nginx", "wrk") if shutil.which(name) is None]


def main(workers: int = 1) -> None:
    """Measures and prints the ratios."""
    rounds = _measure(workers)
    show(
        f"{workers} gateway worker(s), {CONNECTIONS} connections, one rate limit; {ROUNDS} rounds "
        f"of {SECONDS} s in turn",
        ("", "requests/s", "p50 ms", "p99 ms", "failed", "ratio (lowest to highest)", "of"),
        [_row(name, rounds) for name in rounds[0]],
    )


def _row(name: str, rounds: Sequence[Mapping[str, Result]]) -> tuple[str, ...]:
    """Medians of the rounds, and the ratios to the baseline; a row of nginx itself has none."""
    results, baseline = [row[name] for row in rounds], _BASELINES.get(name, "")
    ratios = sorted(row[name].rps / row[baseline].rps for row in rounds) if baseline else []
    return (
        name,
        f"{median(result.rps for result in results):,.0f}",
        f"{median(result.p50_ms for result in results):.2f}",
        f"{median(result.p99_ms for result in results):.2f}",
        str(sum(result.failed for result in results)),
        f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else "",
        baseline,
    )


def _measure(workers: int) -> list[dict[str, Result]]:
    with (
        environment(workers, free_port(), limits=1) as env,
        _nginx(env) as nginx_port,
        TemporaryDirectory() as folder,
    ):
        gateway, nginx = f"http://127.0.0.1:{env.gateway_port}", f"http://127.0.0.1:{nginx_port}"
        body = Path(folder) / "verify.lua"
        request = json.dumps({"token": env.token, "scopes": ["cores:read"]})
        body.write_text(f"wrk.method = 'POST'\nwrk.body = '{request}'\n")
        key = ["-H", f"X-API-Key: {env.token}"]
        targets = {
            "nginx, return 200 (POST)": ["-s", str(body), nginx + "/static"],
            "verify, JSON": ["-s", str(body), gateway + "/v1/keys/verify"],
            "verify, header": [*key, gateway + "/v1/keys/verify"],
            "nginx, proxy_pass": [nginx + "/proxy/"],
            "nginx, auth_request + proxy_pass": [*key, nginx + "/guarded/"],
            "proxy through the gateway": [*key, gateway + "/cores/docs/"],
        }
        for size in _FILES:
            targets[f"nginx, proxy_pass, {size}"] = [
                _FILE_CONNECTIONS,
                nginx + f"/proxy/files/{_name(size)}",
            ]
            targets[f"proxy through the gateway, {size}"] = [
                *key,
                _FILE_CONNECTIONS,
                gateway + f"/cores/docs/files/{_name(size)}",
            ]
        for arguments in targets.values():  # warm-up
            _wrk(arguments, "1")
        return [
            {name: _wrk(arguments, str(SECONDS)) for name, arguments in targets.items()}
            for _ in range(ROUNDS)
        ]


@contextmanager
def _nginx(env: Environment) -> Iterator[int]:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "files").mkdir()
        for size, number in _FILES.items():
            (Path(folder) / "files" / _name(size)).write_bytes(bytes(number))
        port = free_port()
        config = Path(folder) / "nginx.conf"
        ports = {"upstream": env.upstream_port, "gateway": env.gateway_port, "port": port}
        config.write_text(_CONFIG.format(folder=folder, reply="x" * 100, **ports))
        command = ["nginx", "-c", str(config), "-e", f"{folder}/error.log"]
        child = child_processes.start("nginx", command, log=Path(folder) / "nginx.log")
        try:
            child_processes.wait_until(
                child, lambda: _wrk([f"http://127.0.0.1:{port}/static"], "1").rps > 0, "ready", 20
            )
            yield port
        finally:
            child.stop()


def _name(size: str) -> str:
    return size.replace(" ", "")


def _wrk(arguments: list[str], seconds: str) -> Result:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    latencies = _milliseconds(text, "50"), _milliseconds(text, "99")
    requests = re.search(r"(\d+) requests in", text)
    counts = int(failed[1]) if failed else 0, int(requests[1]) if requests else 0
    return Result(float(rate[1]) if rate else 0.0, *latencies, *counts)


def _milliseconds(text: str, percentile: str) -> float:
    match = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text)
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]] if match else 0.0
