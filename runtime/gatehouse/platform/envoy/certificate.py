"""Self-signed certificates: of the services behind a load balancer, and of the Core of the gateway
itself.

An Application Load Balancer encrypts the connection but does not validate the certificate of a
target. Source: Elastic Load Balancing, "Target groups for your Application Load Balancers", routing
configuration.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatehouse.platform.envoy import process

#: Names of the files in the folder of Envoy.
CERTIFICATE, KEY = "certificate.pem", "key.pem"

_VALIDITY = timedelta(days=3650)
_CLOCK_SKEW = timedelta(days=1)


def write(folder: Path, host: str = "", *, prefix: str = "") -> str:
    """Writes a new key and its certificate, which only this user can read. Returns the certificate.

    host: DNS name in the certificate. prefix: of the names of the files.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gatehouse")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
    )
    if host:
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    for file, content in ((KEY, pem), (CERTIFICATE, certificate)):
        process.write(folder / (prefix + file), content)
    return certificate.decode("ascii")
