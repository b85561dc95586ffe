"""Parts of Envoy's configuration (API v3) of clusters. Pure.

Source: www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api
"""

from collections.abc import Iterable
from typing import Any

Configuration = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."


def typed(type_name: str, /, **fields: Any) -> Configuration:
    """A message. type_name: name of its type without `envoy.`."""
    return {"@type": _TYPE + type_name, **fields}


def extension(name: str, type_name: str, /, **fields: Any) -> Configuration:
    return {"name": name, "typed_config": typed(type_name, **fields)}


def seconds(value: float) -> str:
    """A duration in the JSON form of Protocol Buffers."""
    return f"{value:.3f}s"


def header(name: bytes, value: str) -> Configuration:
    """An option that replaces the values of a header."""
    return {
        "header": {"key": name.decode(), "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def set_header(name: bytes, value: str) -> Configuration:
    """A mutation that replaces the values of a header."""
    return {"append": header(name, value)}


def remove_headers(names: Iterable[str]) -> Configuration:
    """A mutation that removes headers or trailers. `*` can be the first and the last character of a
    name, and a hyphen stands for all characters but letters and digits. One expression takes less
    time and memory than a mutation for each name.
    """
    pattern = "|".join(name.replace("*", ".*").replace("-", "[^a-z0-9]") for name in names)
    return {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": pattern}}}}


def protocol_options(**fields: Any) -> Configuration:
    """Options of the connections to a cluster."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {name: typed(name.removeprefix("envoy."), **fields)}


#: The last filter of a request to a cluster. As the only one, it replaces those of the router.
CODEC = extension(
    "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
)
