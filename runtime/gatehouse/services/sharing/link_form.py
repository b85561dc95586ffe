"""The form that a link's page submits."""

from dataclasses import dataclass

from gatehouse.core.errors import BadRequest
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.links import claim_id_of
from gatehouse.platform.web.form_protection import FormProtection, number_to_type
from gatehouse.platform.web.forms import read_form
from gatehouse.platform.web.request import Request

#: Maximum size of a form or a JSON body.
BODY_BYTES_MAX = 8192
_FIELDS = frozenset({"link", "passphrase", "number", "csrf", "claim"})


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
    """The form of the page `path`. Raises CrossSite, BadRequest for a missing field, and the errors
    of `read_form`.
    """
    fields = await read_form(request, _FIELDS, BODY_BYTES_MAX)
    protection.check(request, fields.get("csrf", ""))
    if not (nonce := fields.get("claim", "")):
        raise BadRequest
    token, confirmed = parse(fields.get("link", "")), fields.get("number") == number_to_type(nonce)
    if token is not None and token.path != path:
        token = None
    return LinkForm(fields, token, claim_id_of(nonce, path), confirmed)
