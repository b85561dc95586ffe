"""The filters of a request to an instance of a Core, and of its response. Pure.

The router has those of a Core with default settings. The configuration of a cluster has others only
if its Core has other settings, because each byte of a cluster takes time at each change.
"""

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.http.header_names import NOT_RETURNED, NOT_RETURNED_TRAILERS
from gatehouse.platform.envoy.configuration import (
    CODEC,
    Configuration,
    extension,
    remove_headers,
    set_header,
)
from gatehouse.platform.proxy_headers import PATH

#: Fields that Envoy and translation.lua read in a response, before Envoy removes them.
OF_CONNECTIONS = ("connection", "upgrade")
_NOT_RETURNED = tuple(name for name in NOT_RETURNED if name not in OF_CONNECTIONS)


def filters(settings: CoreSettings) -> list[Configuration]:
    """The filters of a request to an instance, and of its response."""
    own = [
        set_header(name.encode(), f"%UPSTREAM_METADATA(gatehouse:header_{number})%")
        for number, name in enumerate(_own_headers(settings))
    ]
    if settings.identity_header:
        name = settings.identity_header.lower()
        own.append(set_header(name.encode(), "%REQ(gatehouse-customer-id)%"))
    cors = ("access-control-*",) if settings.cors_origins else ()
    mutations = {
        "request_mutations": [{"remove": PATH.decode()}, *own],
        "response_mutations": [remove_headers((*_NOT_RETURNED, *cors))],
    }
    if settings.http2:
        # The check cannot remove the key from trailers, which follow after the body.
        mutations["request_trailers_mutations"] = [remove_headers(("*",))]
        mutations["response_trailers_mutations"] = [remove_headers((*NOT_RETURNED_TRAILERS, *cors))]
    mutation = "extensions.filters.http.header_mutation.v3.HeaderMutation"
    result = [extension("headers", mutation, mutations=mutations)]
    if settings.body_max_bytes is not None:
        result.append(
            extension(
                "body_size",
                "extensions.filters.http.body_size_limit.v3.BodySizeLimit",
                max_request_bytes=settings.body_max_bytes,
            )
        )
    return [*result, CODEC]


def _own_headers(settings: CoreSettings) -> list[str]:
    """The names of the headers of `credential_headers`, in its order."""
    if settings.credential_header is not None:
        return ["gatehouse-core-secret", settings.credential_header.lower()]
    if settings.forward_authorization:
        return ["gatehouse-core-secret"]
    return ["authorization"]


#: Of a Core with default settings.
DEFAULT = filters(DEFAULT_SETTINGS)
