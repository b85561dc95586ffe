"""Creates retrieval links. The client that requests a secret creates the links and sends only the
public part of each link.

The link secret does not leave the client until the link is opened, so nobody else can open the
submitted secrets.
"""

import base64
import os

from gatehouse.core.tokens.token import SECRET_CHARS, base62
from gatehouse.features.secrets.encryption import link_keys
from gatehouse.features.secrets.link_token import PATH_CHARS, LinkToken


def create(random: bytes = b"") -> LinkToken:
    """Return a new link. The method `url` returns the link to keep. random: 64 bytes, by default
    those of the operating system.
    """
    random = random or os.urandom(64)
    path = base62(int.from_bytes(random[:32]) % 62**PATH_CHARS, PATH_CHARS)
    return LinkToken(path, base62(int.from_bytes(random[32:]), SECRET_CHARS))


def parameters(link: LinkToken) -> dict[str, str]:
    """Return the `retrieval_link` in the body of POST /v1/secret-requests, which does not contain
    the link secret.
    """
    keys = link_keys(link.secret, link.path)
    return {
        "path": link.path,
        "verifier": base64.b64encode(keys.verifier).decode("ascii"),
        "public_key": base64.b64encode(keys.public_key).decode("ascii"),
    }
