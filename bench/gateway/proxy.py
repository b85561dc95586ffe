"""Throughput of the reverse proxy relative to the upstream: `python -m bench.gateway.proxy`."""

from __future__ import annotations

from bench.gateway.environment import environment, show
from bench.gateway.load_generator import measure


def main() -> None:
    with environment() as env:
        direct = b"GET / HTTP/1.1\r\nHost: u\r\n\r\n"
        proxied = f"GET /cores/docs/ HTTP/1.1\r\nHost: g\r\nX-API-Key: {env.token}\r\n\r\n".encode()
        health = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
        rows = {
            "upstream, direct": measure(env.upstream_port, direct),
            "GET /healthz": measure(env.gateway_port, health),
            "through the gateway": measure(env.gateway_port, proxied),
        }
    show("proxy: decision with two rate limits, 100 bytes from a Core; one worker", "GET /healthz", rows)


if __name__ == "__main__":
    main()
