"""Tokens of every kind, and the places of requests for them."""

import base64
import itertools
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gatehouse.core.tokens.token import checksum
from gatehouse.core.tokens.token_scanner import CORE_PREFIX, SESSION_PREFIX, Kind
from gatehouse.features.notifications.models import webhook_secret_text
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.platform.web.endpoint import Endpoint
from msgspec import inspect

from tests.runtime.tokens import unknown_token

Place = tuple[str, ...]


def _admin(prefix: str) -> str:
    head = f"{prefix}_admin_" + secrets.token_hex(22)[:43]
    return head + checksum(head)


def _jwt() -> str:
    parts = (
        json.dumps(part).encode()
        for part in ({"alg": "ES256", "typ": "JWT"}, {"sub": secrets.token_hex(8)})
    )
    encoded = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, secrets.token_urlsafe(48)))


#: (kind, token, secret part of the token).
TOKENS = [
    (kind, token, token[-30:])
    for kind, token in (
        (Kind.API_KEY, unknown_token().text),
        (Kind.API_KEY, unknown_token("gtk", "live").text),
        (Kind.API_KEY, unknown_token("acme_sk", "live").text),
        (Kind.BOOTSTRAP_TOKEN, _admin("gtk")),
        (Kind.BOOTSTRAP_TOKEN, _admin("acme")),
        (Kind.SIGN_IN_CODE, "gtk_signin_" + secrets.token_urlsafe(32)),
        (Kind.SESSION, SESSION_PREFIX + secrets.token_urlsafe(32)),
        (Kind.CORE_SECRET, CORE_PREFIX + secrets.token_urlsafe(32)),
        (Kind.WEBHOOK_SECRET, webhook_secret_text(secrets.token_bytes(32))),
        (Kind.LINK, LinkToken.create("5tRw0aB9xK2m7HqYc1dZ8eabcdef").url("http://127.0.0.1:1")),
        (Kind.LINK, LinkToken.create("2mKq8ZrT4vB6nX0sWc9yEd").url("http://127.0.0.1:1")),
        (Kind.JSON_WEB_TOKEN, _jwt()),
    )
]


def tokens() -> Iterator[tuple[Kind, str, str]]:
    return itertools.cycle(TOKENS)


@dataclass(frozen=True)
class TextField:
    """Text in a body. `place` contains `[]` for any item, `{}` for a value by any name, `{name}`
    for the name.
    """

    endpoint: Endpoint
    place: Place

    @property
    def id(self) -> str:
        return f"{self.endpoint.method} {self.endpoint.path} {'.'.join(self.place)}"

    @property
    def is_secret(self) -> bool:
        return bool(self.endpoint.secret_fields & set(self.place))

    def body(self, text: str) -> dict[str, Any]:
        example = dict(getattr(self.endpoint.body, "example", {}))
        example[self.place[0]] = _nested(self.place[1:], text)
        return example


def text_fields(endpoint: Endpoint) -> list[TextField]:
    if endpoint.body is None:
        return []
    return [
        TextField(endpoint, place)
        for place in dict.fromkeys(_places(inspect.type_info(endpoint.body)))
        if place
    ]


def query_fields(endpoint: Endpoint) -> list[str]:
    return [] if endpoint.query is None else list(endpoint.query.__struct_fields__)


def _nested(place: Place, text: str) -> Any:
    if not place:
        return text
    if place[0] == "[]":
        return [_nested(place[1:], text)]
    if place[0] == "{name}":
        return {text: "x"}
    return {"x" if place[0] == "{}" else place[0]: _nested(place[1:], text)}


def _places(info: inspect.Type) -> Iterator[Place]:
    if isinstance(info, inspect.Metadata):
        yield from _places(info.type)
    elif isinstance(info, inspect.UnionType):
        for option in info.types:
            yield from _places(option)
    elif isinstance(info, inspect.StrType | inspect.LiteralType | inspect.EnumType):
        yield ()
    elif isinstance(info, inspect.StructType):
        for field in info.fields:
            yield from ((field.encode_name, *place) for place in _places(field.type))
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        yield from (("[]", *place) for place in _places(info.item_type))
    elif isinstance(info, inspect.DictType):
        yield ("{name}",)
        yield from (("{}", *place) for place in _places(info.value_type))


def url(endpoint: Endpoint, value: str = "unknown") -> str:
    return re.sub(r"\{[^}]+\}", quote(value, safe=""), endpoint.path)
