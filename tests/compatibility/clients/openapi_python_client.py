"""The same calls with openapi-python-client."""

from http import HTTPStatus
from os import environ
from uuid import uuid4

from gatehouse_gateway_client import AuthenticatedClient as GatewayClient
from gatehouse_gateway_client.api.keys import verify_key, verify_key_header
from gatehouse_gateway_client.models import VerifyRequest
from gatehouse_management_api_client import AuthenticatedClient
from gatehouse_management_api_client.api.keys import (
    create_key,
    list_keys,
    rotate_key,
    show_key,
    update_key,
)
from gatehouse_management_api_client.api.secrets import create_secret
from gatehouse_management_api_client.models import (
    CreateKey,
    CreateSecret,
    RateLimitInput,
    RotateKey,
    UpdateKey,
)
from gatehouse_sharing_service_client import Client as SharingClient
from gatehouse_sharing_service_client.api.links import open_link
from gatehouse_sharing_service_client.models import OpenLink

console = AuthenticatedClient(environ["CONSOLE"], environ["TOKEN"])
customer, once = f"customer-{uuid4().hex[:8]}", str(uuid4())

limit = RateLimitInput(name="requests", quota=1, window_s=3600)
created = create_key.sync(
    client=console,
    body=CreateKey(name="first", customer_id=customer, create_customer=True, limits=[limit]),
    idempotency_key=once,
)
reused = create_key.sync_detailed(
    client=console,
    body=CreateKey(name="second", customer_id=customer, create_customer=True),
    idempotency_key=once,
)
assert reused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, reused
assert reused.parsed.code == "idempotency_key_reused", reused.parsed
for name in ("second", "third", "fourth", "fifth"):
    create_key.sync(
        client=console, body=CreateKey(name=name, customer_id=customer, create_customer=True)
    )

pages, cursor = [], None
while cursor or not pages:
    page = list_keys.sync(
        client=console, customer=customer, limit=2, **({"cursor": cursor} if cursor else {})
    )
    pages.append([key.name for key in page.keys])
    cursor = page.next_cursor
assert sorted(map(len, pages)) == [1, 2, 2], pages

etag = show_key.sync_detailed(created.key.id, client=console).headers["ETag"]
changed = update_key.sync(
    created.key.id, client=console, body=UpdateKey(notes="changed"), if_match=etag
)
assert changed.key.notes == "changed", changed
outdated = update_key.sync_detailed(
    created.key.id, client=console, body=UpdateKey(notes="again"), if_match=etag
)
assert outdated.status_code == HTTPStatus.PRECONDITION_FAILED, outdated

rotated = rotate_key.sync(created.key.id, client=console, body=RotateKey(grace_s=0))
gateway = GatewayClient(environ["GATEWAY"], rotated.token)
verified = verify_key.sync(client=gateway, body=VerifyRequest(token=rotated.token))
assert verified.valid, verified
denied = verify_key_header.sync_detailed(client=gateway)
assert denied.status_code == HTTPStatus.TOO_MANY_REQUESTS, denied
assert int(denied.headers["Retry-After"]) > 0, denied

secret = create_secret.sync(client=console, body=CreateSecret(text="canary"))
opened = open_link.sync(
    client=SharingClient(environ["SHARING"]), body=OpenLink(link=secret.links[0].url)
)
assert opened.items[0].text == "canary", opened
