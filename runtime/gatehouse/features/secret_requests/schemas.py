"""Request and response shapes of secret requests. No response contains a retrieval link."""

import base64
from typing import Annotated, ClassVar

from gatehouse.core.texts import matching
from gatehouse.features.secrets.encryption import KEY_BYTES, is_public_key
from gatehouse.features.secrets.link_token import PATH_CHARS
from gatehouse.features.secrets.models import TTL_S_DEFAULT
from gatehouse.features.secrets.schemas import (
    LINK_SECRET,
    SECRET_ID,
    SHARING_URL,
    Label,
    SecretView,
    Sender,
    Ttl,
)
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import Input, ShownOnce, View, doc
from gatehouse.platform.web.validation import checked, note_text

PURPOSE_CHARS_MAX = 500


def _public_key_problem(text: str) -> str:
    return "" if is_public_key(base64.b64decode(text)) else "must be an X25519 public key"


class RetrievalLink(Input, kw_only=True):
    """The public values of a link that the client created. The server encrypts the submission to
    this link.

    The client generates a random `path` and a random link secret, derives `verifier` and
    `public_key` from these values (see `link_keys` in docs/sharing-vectors.json), and stores the
    link `https://<host>/s/<path>#<link secret>`.
    """

    example: ClassVar = {
        "path": "7YcQ1tRw0aB9xK2m5Hd3Zp4k9LmA",
        "verifier": "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
        "public_key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
    }

    path: Annotated[
        str,
        matching(
            rf"[0-9A-Za-z]{{{PATH_CHARS}}}",
            f"{PATH_CHARS} letters and digits, such as 7YcQ1tRw0aB9xK2m5Hd3Zp4k9LmA",
            max_length=PATH_CHARS,
            description="Public part of the link: a secret ID (22 characters) followed by a "
            "link ID (6 characters).",
        ),
    ]
    verifier: Annotated[
        bytes,
        doc("Hash of the link secret, in base64.", min_length=KEY_BYTES, max_length=KEY_BYTES),
    ]
    public_key: Annotated[
        bytes,
        checked(
            _public_key_problem,
            min_length=KEY_BYTES,
            max_length=KEY_BYTES,
            description="X25519 public key to which the submission is encrypted, in base64.",
        ),
    ]


class CreateSecretRequest(Input, kw_only=True):
    """Parameters of a new secret request. `ttl_s`: also the lifetime of the submitted secret."""

    example: ClassVar = {"purpose": "Password of the staging database"}

    purpose: Annotated[
        str,
        note_text(
            min_length=1,
            max_length=PURPOSE_CHARS_MAX,
            description="Description of the requested secret and the reason for the request. Shown "
            "to everyone who opens the request page.",
        ),
    ]
    retrieval_link: RetrievalLink
    ttl_s: Ttl = TTL_S_DEFAULT
    requester: Sender = ""
    label: Label = ""


class CreatedSecretRequest(View):
    """A requested secret and its submission link. Only this response contains the link."""

    example: ClassVar = {
        "secret": {**example(SecretView), "state": "requested", "versions": []},
        "submission_link": f"{SHARING_URL}/r/{SECRET_ID}#{LINK_SECRET}",
    }

    secret: SecretView
    submission_link: Annotated[
        ShownOnce,
        doc(
            "Link with which anyone can submit a secret. The link cannot be used to read a secret."
        ),
    ]


class SubmittedSecret(View):
    """Response to a received submission. Repeating a request with the same `submission` has no
    effect.
    """

    submission: str
