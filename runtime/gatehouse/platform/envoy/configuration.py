"""Parts of Envoy's configuration (API v3) that listeners and clusters share. Pure.

Source: www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api
"""

import re
from collections.abc import Iterable, Sequence
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


def add_header(name: bytes, value: str) -> Configuration:
    """An option that adds a header, unless there is one with the name."""
    return {**header(name, value), "append_action": "ADD_IF_ABSENT"}


def remove_headers(names: Iterable[str]) -> Configuration:
    """A mutation that removes headers. `*` can be the first and the last character of a name. One
    expression takes less time and memory than a mutation for each name.
    """
    pattern = "|".join(re.escape(name).replace(r"\*", ".*") for name in names)
    return {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": pattern}}}}


def protocol_options(**fields: Any) -> Configuration:
    """Options of the connections to a cluster."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {name: typed(name.removeprefix("envoy."), **fields)}


#: The last filter of a request to a cluster. As the only one, it replaces those of the router.
CODEC = extension(
    "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
)


def socket_cluster(name: str, paths: Sequence[str], *, is_relay: bool = False) -> Configuration:
    """A cluster of workers, each behind a Unix socket. A worker that does not respond receives no
    requests for a short time, while it is replaced. is_relay: each request has a connection of its
    own, and can have trailers.
    """
    common: Configuration = {"idle_timeout": "3600s"}
    if is_relay:
        common["max_requests_per_connection"] = 1
    unlimited = 1_000_000  # the connections of clients are limited instead
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": unlimited,
                    "max_pending_requests": unlimited,
                    "max_requests": unlimited,
                    "max_retries": 64,
                }
            ]
        },
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": "1s",
            "max_ejection_time": "2s",
            "max_ejection_percent": 50,
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}
                for path in paths
            ],
        },
        "typed_extension_protocol_options": protocol_options(
            common_http_protocol_options=common,
            explicit_http_config={"http_protocol_options": {"enable_trailers": is_relay}},
            http_filters=[CODEC],
        ),
    }
