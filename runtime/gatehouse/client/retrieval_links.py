"""Creates retrieval links. The client that requests a secret creates the links and sends only the public part of each link.

The link secret never leaves the client before the link is opened, so nobody else can open what is submitted.
"""

from __future__ import annotations

import base64
import os

from gatehouse.sharing.encryption import link_keys
from gatehouse.sharing.link_token import LinkToken, new_id
from gatehouse.sharing.models import ID_CHARS, LINK_CHARS


def create() -> LinkToken:
    """A new link. Its method `url` returns the link to keep."""
    return LinkToken.create(new_id(ID_CHARS, os.urandom), new_id(LINK_CHARS, os.urandom), os.urandom)


def parameters(link: LinkToken) -> dict[str, str]:
    """The entry of `retrieval_links` in the body of POST /v1/secret-requests. Contains no secret."""
    keys = link_keys(link.secret, link.path)
    return {
        "path": link.path,
        "verifier": base64.b64encode(keys.verifier).decode("ascii"),
        "public_key": base64.b64encode(keys.public_key).decode("ascii"),
    }
