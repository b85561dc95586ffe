"""TLS for connections from a load balancer, with a self-signed certificate that exists only in the
memory of the process.

An Application Load Balancer encrypts the connection but does not validate the certificate of a
target. Source: Elastic Load Balancing, "Target groups for your Application Load Balancers", routing
configuration.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatehouse.platform.tls_records import limit

#: Time for a client to confirm that a TLS connection is closed.
SHUTDOWN_TIMEOUT_S = 2.0

_VALIDITY = timedelta(days=3650)
_CLOCK_SKEW = timedelta(days=1)


def self_signed_context() -> ssl.SSLContext:
    """Return the TLS configuration of a server, with TLS 1.2 or 1.3 and a new key and
    certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    limit(context)
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load(context, *_key_and_certificate())
    return context


def _key_and_certificate() -> tuple[bytes, bytes]:
    """Return a new key and its certificate in PEM. The load balancer does not check the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gatehouse")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pem, certificate.public_bytes(serialization.Encoding.PEM)


def _load(context: ssl.SSLContext, key: bytes, certificate: bytes) -> None:
    # OpenSSL reads files. The contents of a pipe are in no file system.
    with _pipe(certificate) as certificate_path, _pipe(key) as key_path:
        context.load_cert_chain(certificate_path, key_path)


@contextmanager
def _pipe(content: bytes) -> Iterator[str]:
    """The path of a pipe that contains `content`, which must be smaller than its buffer (16 KiB on
    macOS).
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, content)
        os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
