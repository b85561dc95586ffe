"""TLS contexts of HTTP clients. Reading the trusted certificates takes about 40 ms, so each process
reads them once.
"""

import ssl
from functools import lru_cache

import httpx


def tls_context(url: str, *, trust_env: bool) -> ssl.SSLContext:
    """The context for a client that sends requests to `url`. A context for http trusts no
    certificate.

    trust_env: use `SSL_CERT_FILE` or `SSL_CERT_DIR` instead of the certificates of certifi.
    """
    return (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if url.startswith("http://")
        else _trusted(trust_env)
    )


@lru_cache(maxsize=2)
def _trusted(trust_env: bool) -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=trust_env)
