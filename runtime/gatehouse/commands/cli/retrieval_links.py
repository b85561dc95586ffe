"""Creates retrieval links. The client that requests a secret creates the links and sends only the
public part of each link.

The link secret does not leave the client until the link is opened, so nobody else can open the
submitted secrets.
"""

import base64

from gatehouse.features.secrets.encryption import link_keys
from gatehouse.features.secrets.link_token import PATH_CHARS, LinkToken, new_id


def create() -> LinkToken:
    """Return a new link. The method `url` returns the link to keep."""
    return LinkToken.create(new_id(PATH_CHARS))


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
