"""A proxy that kills the provider in the middle of a request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_HOP = ("connection", "content-length", "transfer-encoding", "content-encoding", "keep-alive")


@dataclass
class Proxy:
    """on_handled: called with the method and the path of each request that the server has handled,
    before the response is sent. If it returns True, there is no response.
    """

    url: str
    on_handled: Callable[[str, str, str], bool] = field(default=lambda method, path, call: False)


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    client = httpx.Client(base_url=upstream, timeout=60, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in _HOP
            }
            reply = client.request(self.command, self.path, content=body, headers=headers)
            call = self.headers.get("x-amz-target", "").rpartition(".")[2]
            if self.headers.get("idempotency-replay"):
                call = "replay"
            if found.on_handled(self.command, self.path, call):
                self.close_connection = True
                return
            self.send_response(reply.status_code)
            for name, value in reply.headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _forward

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
