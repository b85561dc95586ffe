"""An HTTPS proxy that answers every request for the services of a stack with status 200."""

import datetime
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import http_servers


@contextmanager
def serving(folder: Path, domain: str) -> Iterator[dict[str, str]]:
    """Serve on a free port. Yields the environment variables of clients.

    folder: receives the certificate, for all names directly below `domain`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = _write_certificate(folder, domain)
    context.load_cert_chain(certificate, folder / "key.pem")

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
        yield {"HTTPS_PROXY": url, "SSL_CERT_FILE": str(certificate)}


def _write_certificate(folder: Path, domain: str) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain)])
    signed = (
        x509.CertificateBuilder(
            name,
            name,
            key.public_key(),
            x509.random_serial_number(),
            now,
            now + datetime.timedelta(days=1),
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{domain}")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    encodings = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(key.private_bytes(*encodings))
    return file
