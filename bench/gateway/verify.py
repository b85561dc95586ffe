"""How fast the gateway decides, beside the fastest thing that the same server does: `python -m bench.gateway.verify`."""

from __future__ import annotations

import json

from bench.gateway.load import measure
from bench.gateway.stage import Stage, show, stage


def requests(scene: Stage) -> dict[str, bytes]:
    body = json.dumps({"token": scene.token, "scopes": ["cores:read"]}).encode()
    return {
        "GET /healthz": b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n",
        "verify, header": f"GET /v1/keys/verify HTTP/1.1\r\nHost: g\r\nX-API-Key: {scene.token}\r\n\r\n".encode(),
        "verify, JSON": f"POST /v1/keys/verify HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
    }


def main() -> None:
    with stage() as scene:
        rows = {name: measure(scene.gateway_port, request) for name, request in requests(scene).items()}
    show("verify: HMAC, scopes, two limits in Redis, metrics, log; one worker", "GET /healthz", rows)


if __name__ == "__main__":
    main()
