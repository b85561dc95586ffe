"""Throughput of the verify endpoint and of the reverse proxy relative to /healthz."""

from bench.gateway.environment import environment, request, show_results
from bench.gateway.load_generator import measure


def main() -> None:
    with environment() as env:
        key = f"X-API-Key: {env.token}"
        requests = {
            "GET /healthz": request("/healthz"),
            "verify, header": request("/v1/keys/verify", key),
            "verify, JSON": request("/v1/keys/verify", body={"token": env.token, "scopes": ["cores:read"]}),
            "proxy, 100 bytes": request("/cores/docs/", key),
        }
        rows = {name: measure(env.gateway_port, content) for name, content in requests.items()}
        rows["upstream without gateway"] = measure(env.upstream_port, request("/"))
    title = "HMAC, scopes, two limits in Redis, metrics, log; one worker"
    show_results(title, rows, dict.fromkeys((name for name in rows if name != "GET /healthz"), "GET /healthz"))
