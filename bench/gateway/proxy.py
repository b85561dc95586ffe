"""What the hop through the gateway costs, beside the upstream asked directly: `python -m bench.gateway.proxy`."""

from __future__ import annotations

from bench.gateway.load import measure
from bench.gateway.stage import show, stage


def main() -> None:
    with stage() as scene:
        direct = b"GET / HTTP/1.1\r\nHost: u\r\n\r\n"
        proxied = f"GET /cores/docs/ HTTP/1.1\r\nHost: g\r\nX-API-Key: {scene.token}\r\n\r\n".encode()
        health = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
        rows = {
            "upstream, direct": measure(scene.upstream_port, direct),
            "GET /healthz": measure(scene.gateway_port, health),
            "through the gateway": measure(scene.gateway_port, proxied),
        }
    show("proxy: a decision with two limits, then 100 bytes from a Core; one worker", "GET /healthz", rows)


if __name__ == "__main__":
    main()
