"""`HttpServer`: serves moto over HTTP/1.1 with persistent connections.

The server of moto closes the connection after each response, and waits 10 ms for further data
before it does so. A connection and a thread for each request take more CPU time than most AWS calls
of the emulator.
"""

import io
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wsgi import get_input_stream

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: `stop` waits at most this time for the thread that accepts connections.
_POLL_S = 0.05


class HttpServer(ThreadedWSGIServer):
    """A running server at `host` and `port`, which may be 0 for any port.

    restrict: returns an application that decides which requests reach the application of moto.
    """

    def __init__(
        self, host: str, port: int, restrict: Callable[[Application], Application]
    ) -> None:
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._connections: set[socket.socket] = set()
        super().__init__(
            host, port, restrict(DomainDispatcherApplication(create_backend_app)), _Handler
        )
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the server and its connections."""
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client closed the connection
                continue

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)


class _Handler(MotoRequestHandler):
    """Handles the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # A response is sent with one call.
    wbufsize = -1

    def handle_expect_100(self) -> bool:
        accepted = super().handle_expect_100()
        self.wfile.flush()
        return accepted

    def run_wsgi(self) -> None:
        """Read the complete request, so that the next request can follow on the connection, and
        send the response.
        """
        environ = self.make_environ()
        body = get_input_stream(environ, safe_fallback=True).read()
        if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
            self.close_connection = True  # the client closed the connection
            return
        environ["wsgi.input"] = io.BytesIO(body)
        status, headers, content = self._respond(environ)
        self.send_response(int(status[:3]), status[4:])
        for name, value in headers:
            self.send_header(name, value)
        has_content = self.command != "HEAD" and status[:3] not in {"204", "304"}
        if has_content and not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if has_content:
            self.wfile.write(content)

    def _respond(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and content of the response of the application."""
        application: Any = self.server.app
        response: list[Any] = []
        try:
            chunks = application(
                environ, lambda status, headers, _error=None: response.extend((status, headers))
            )
            try:
                content = b"".join(chunks)
            finally:
                getattr(chunks, "close", lambda: None)()
        except Exception:
            self.server.log("error", traceback.format_exc())
            return "500 Internal Server Error", [], b""
        status, headers = response[-2:]
        return status, headers, content

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""
