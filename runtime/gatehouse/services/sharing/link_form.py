"""The form that a link's page submits."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from gatehouse.core.errors import BadRequest
from gatehouse.core.http.forwarding import query_flaw
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.links import claim_id_of
from gatehouse.platform.web.request import Request
from gatehouse.services.sharing.form_protection import FormProtection, number_to_type

#: Maximum size of a form or a JSON body.
BODY_BYTES_MAX = 8192
_FIELDS = frozenset({"link", "passphrase", "number", "csrf", "claim"})
_MEDIA_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class LinkForm:
    """token: None if the link is incomplete or belongs to another page. claim: the claim ID.
    confirmed: the form contains the number on its page.
    """

    fields: dict[str, str]
    token: LinkToken | None
    claim: str
    confirmed: bool

    def __repr__(self) -> str:
        return "LinkForm(...)"


async def read_link_form(request: Request, protection: FormProtection, path: str) -> LinkForm:
    """The form of the page `path`. Raises CrossSite, and BadRequest for another content type, and
    for missing, unknown, repeated or too many fields.
    """
    content = await request.read_body(BODY_BYTES_MAX)
    media_type = request.header(b"content-type").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE or query_flaw(content):
        raise BadRequest
    try:
        pairs = parse_qsl(
            content.decode("ascii"), keep_blank_values=True, max_num_fields=len(_FIELDS)
        )
    except ValueError:
        raise BadRequest from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not _FIELDS.issuperset(fields):
        raise BadRequest
    protection.check(request, fields.get("csrf", ""))
    if not (nonce := fields.get("claim", "")):
        raise BadRequest
    token, confirmed = parse(fields.get("link", "")), fields.get("number") == number_to_type(nonce)
    if token is not None and token.path != path:
        token = None
    return LinkForm(fields, token, claim_id_of(nonce, path), confirmed)
