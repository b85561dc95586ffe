"""HTTP servers of this process that take the place of services."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def respond(self, status: int, body: bytes, content_type: str = "") -> None:
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def respond_json(self, document: Any, status: int = 200) -> None:
        self.respond(status, json.dumps(document).encode(), "application/json")

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def running(server: TCPServer) -> Iterator[str]:
    # `shutdown` waits for the end of an interval.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url
