"""Throughput of the verify endpoint relative to /healthz: `python -m bench.gateway.verify`."""

from __future__ import annotations

import json

from bench.gateway.environment import Environment, environment, show
from bench.gateway.load_generator import measure


def requests(env: Environment) -> dict[str, bytes]:
    body = json.dumps({"token": env.token, "scopes": ["cores:read"]}).encode()
    return {
        "GET /healthz": b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n",
        "verify, header": f"GET /v1/keys/verify HTTP/1.1\r\nHost: g\r\nX-API-Key: {env.token}\r\n\r\n".encode(),
        "verify, JSON": f"POST /v1/keys/verify HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
    }


def main() -> None:
    with environment() as env:
        rows = {name: measure(env.gateway_port, request) for name, request in requests(env).items()}
    show("verify: HMAC, scopes, two limits in Redis, metrics, log; one worker", "GET /healthz", rows)


if __name__ == "__main__":
    main()
