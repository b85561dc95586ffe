"""Reads the fields of a form that a page submits (application/x-www-form-urlencoded)."""

from collections.abc import Set
from urllib.parse import parse_qsl

from gatehouse.core.errors import BadRequest
from gatehouse.core.http.forwarding import query_flaw
from gatehouse.platform.web.request import Request

_MEDIA_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request, fields: Set[str], bytes_max: int) -> dict[str, str]:
    """The fields of a form. Raises BodyTooLarge, and BadRequest for another content type, and for
    unknown, repeated or too many fields.
    """
    content = await request.read_body(bytes_max)
    media_type = request.header(b"content-type").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE or query_flaw(content):
        raise BadRequest
    try:
        pairs = parse_qsl(
            content.decode("ascii"), keep_blank_values=True, max_num_fields=len(fields)
        )
    except ValueError:
        raise BadRequest from None
    form = dict(pairs)
    if len(form) != len(pairs) or not fields >= form.keys():
        raise BadRequest
    return form
