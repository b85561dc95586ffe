"""Memory of a gateway under a flood of connections: `python -m bench memory`.

At the same time, clients keep connections open without a request, send large heads and begin
others, and do not read large responses.
"""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from bench.gateway.environment import Environment, cpu_s, environment, limit, memory_bytes

CONNECTIONS, HEADS, READERS = 10_000, 2_000, 200
HEAD_BYTES = 60_000
#: Keys of the stalled readers: a key has at most 128 requests in progress.
KEYS = 4
#: Number of networks of the clients.
NETWORKS = 8
INCREASE_MB_MAX = 150
_SETTINGS = {
    "GATEHOUSE_CONNECTIONS_MAX": str(2 * CONNECTIONS),
    "GATEHOUSE_ADDRESS_CONNECTIONS_MAX": str(2 * CONNECTIONS),
    "GATEHOUSE_REQUEST_TIMEOUT_S": "600",
    "GATEHOUSE_RESPONSE_TIMEOUT_S": "600",
}


def main() -> None:
    """Measures and prints the memory. Raises SystemExit if it increases by more than
    INCREASE_MB_MAX.
    """
    limits = (4 * CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits), limits[1]))
    with environment(1, **_SETTINGS) as env, ExitStack() as stack:
        tokens = env.create_keys([[limit(1_000_000)]] * KEYS)
        before = _settled(env)
        print(f"empty process: {before:.0f} MB")
        for name, requests in _loads(tokens):
            for number, request in enumerate(requests):
                stack.enter_context(_connection(env, number % NETWORKS, request))
            print(f"{name}: +{_settled(env) - before:.0f} MB")
        increase = _settled(env) - before
    if increase > INCREASE_MB_MAX:
        raise SystemExit(f"The memory increases by more than {INCREASE_MB_MAX} MB.")


def _loads(tokens: Sequence[str]) -> Iterator[tuple[str, Sequence[bytes]]]:
    """Names of loads that are added to each other, with the start of each connection."""
    line = b"X-Filler-%04d: " + b"a" * (HEAD_BYTES // 100) + b"\r\n"
    head = b"GET /healthz?%b HTTP/1.1\r\nHost: a\r\n" % (b"a" * 5_000)
    head += b"".join(line % number for number in range(90))
    idle = CONNECTIONS - HEADS - READERS
    readers = [
        f"GET /cores/docs/files/10MB HTTP/1.1\r\nHost: a\r\nX-API-Key: {token}\r\n\r\n".encode()
        for token in tokens
    ]
    yield f"{idle} connections without a request", [b""] * idle
    yield f"{HEADS} heads, and as many that do not end", [head + b"\r\n" + head] * HEADS
    yield f"{READERS} stalled readers", [readers[n % KEYS] for n in range(READERS)]


def _connection(env: Environment, network: int, start: bytes) -> socket.socket:
    url = urlsplit(env.gateway)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.bind((f"127.0.1.{network + 1}", 0))
    connection.connect((url.hostname, url.port))
    with contextlib.suppress(ConnectionError):  # the gateway rejects it
        connection.sendall(start)
    return connection


def _settled(env: Environment) -> float:
    used_s = -1.0
    while abs(used_s - (used_s := cpu_s(env.pids["gateway"]))) > 0.1:
        time.sleep(2)
    return memory_bytes(env.pids["gateway"]) / 1e6
