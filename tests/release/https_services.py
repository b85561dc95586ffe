"""An HTTPS proxy that answers all requests for a stack with 200."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from tests import certificates, http_servers


@contextmanager
def serving(folder: Path, domain: str) -> Iterator[dict[str, str]]:
    """Serve on a free port. Yields the environment variables of clients.

    folder: receives the certificate, for all names directly below `domain`.
    """
    context = certificates.server_context(folder, f"*.{domain}")

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self._read_head()
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with context.wrap_socket(self.connection, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
                )

        def _read_head(self) -> None:
            while self.rfile.readline().strip():
                continue

    with http_servers.running(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as url:
        yield {"HTTPS_PROXY": url, "SSL_CERT_FILE": str(folder / "certificate.pem")}
