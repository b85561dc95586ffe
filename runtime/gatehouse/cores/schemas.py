"""Request and response shapes of Cores, for the list in the console and for leases at the gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gatehouse.cores.models import URL_CHARS_MAX
from gatehouse.http.fields import Cursor, Environment, Instant, NextCursor
from gatehouse.http.validation import decode_body, invalid


class ListCores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query parameters for listing Cores."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of Cores.")] = 50


class CoreView(msgspec.Struct, frozen=True, kw_only=True):
    """A registered Core."""

    example: ClassVar = {
        "name": "docs",
        "url": "https://docs.example.com",
        "environment": "test",
        "registered_by": "3fGh82kLmQ0a",
        "expires_at": "2030-01-01T09:31:00Z",
        "draining": False,
        "live": True,
    }

    name: str
    url: str
    environment: Environment
    registered_by: Annotated[str, Meta(description="ID of the key that registered the Core.")]
    expires_at: Annotated[Instant, Meta(description="Time at which the lease expires.")]
    draining: Annotated[bool, Meta(description="True if the Core receives no new requests.")]
    live: Annotated[bool, Meta(description="True if the lease has not expired and the Core is not draining.")]


class CorePage(msgspec.Struct, frozen=True):
    example: ClassVar = {"cores": [CoreView.example], "next_cursor": None}

    cores: list[CoreView]
    next_cursor: NextCursor


LEASE_S_MIN = 5
LEASE_S_MAX = 3600
_LEASE_ID = "vQ2rX0m3kT9sLwYbN5cD8eFg"

LeaseId = Annotated[str, Meta(min_length=1, max_length=64, description="The `lease_id` of the registration.")]


class LeaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Registers a Core at `url` if `lease_id` is omitted. Otherwise renews the lease and, if `url` is sent, changes the URL."""

    examples: ClassVar = [{"url": "https://docs.example.com", "ttl_s": 60}, {"lease_id": _LEASE_ID, "ttl_s": 60}]

    url: Annotated[
        Annotated[str, Meta(max_length=URL_CHARS_MAX)] | None,
        Meta(description="Origin at which the gateway reaches the Core: https://host[:port]."),
    ] = None
    ttl_s: Annotated[
        Annotated[int, Meta(ge=LEASE_S_MIN, le=LEASE_S_MAX)] | None,
        Meta(description="Duration of the lease in seconds, at most the GATEHOUSE_CORE_LEASE_MAX_S setting of the deployment."),
    ] = None
    lease_id: LeaseId | None = None


class DrainCore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query parameters of DELETE /v1/cores/{name}."""

    lease_id: Annotated[LeaseId, Meta(examples=[_LEASE_ID])]


class Lease(msgspec.Struct, frozen=True):
    """A lease on the name of a Core."""

    example: ClassVar = {
        "name": "docs",
        "url": "https://docs.example.com",
        "lease_id": _LEASE_ID,
        "expires_at": "2030-06-01T09:01:00.000Z",
        "heartbeat_s": 20,
        "core_secret": "gtk_core_...",
    }

    name: str
    url: str
    lease_id: str
    expires_at: Instant
    heartbeat_s: Annotated[int, Meta(description="Interval between renewals in seconds.")]
    core_secret: Annotated[
        str | UnsetType,
        Meta(description="Secret that the gateway sends to the Core with each request. Returned only when the Core registers."),
    ] = UNSET


_decoder = msgspec.json.Decoder(LeaseRequest)


def decode_lease(body: bytes) -> LeaseRequest:
    """Decodes a request body. Raises a BadRequest that names the invalid field."""
    request = decode_body(_decoder, body)
    if request.lease_id is None and request.url is None:
        raise invalid("body.url", "is missing", "send the origin at which the gateway reaches the Core: https://host[:port]")
    return request
