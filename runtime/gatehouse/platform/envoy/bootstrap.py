"""The bootstrap configuration of Envoy: a listener for each service, the routes, and what Envoy
responds itself. Pure.

Routes and listeners are static. What depends on a request, such as the cluster and the path at the
Core, is in the response of the check (services/gateway/check.py), and the clusters of Cores are in
a file (services/gateway/clusters.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gatehouse.core import errors, features
from gatehouse.core.errors import GatehouseError
from gatehouse.core.http.header_names import NOT_RETURNED
from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy import certificate, process, upstream
from gatehouse.platform.envoy.configuration import (
    Configuration,
    add_header,
    extension,
    header,
    seconds,
    set_header,
    socket_cluster,
    typed,
)
from gatehouse.platform.proxy_headers import (
    CLASS,
    CLUSTER,
    FORMAT,
    INSTANCE,
    LENGTH,
    PATH,
    PEER,
    RELAY,
    REQUEST_HEADERS,
    REQUEST_ID,
    TLS,
    URLS,
)
from gatehouse.platform.settings import Settings
from gatehouse.platform.web import asgi

#: Time without data from a Core, or from a client that sends a body, for which there are routes.
#: That of a Core is rounded up. The first is the default of Cores.
TIMEOUTS_S = (60, 1, 2, 5, 10, 30, 120, 300, 600, 1800, 3600)
#: Class of the routes of WebSockets that do not pass the relay.
WEBSOCKET = "websocket"
#: The cluster for denied requests with a large body.
REFUSAL = "refusal"
#: Statuses of the check. Envoy replaces the body of an error of the check (envoyproxy/envoy, issue
#: 14001), so a denial with status 503 has another one, and so has a check that fails.
DENIED_503, CHECK_FAILED = 470, 511

#: Time in which a check responds; in which any other request arrives, and a worker responds to it.
CHECK_S, WORKER_S = 10.0, 60.0

HEADERS_MAX = 100
HEADERS_KB_MAX = 60

#: Methods whose requests are sent to another instance also after a Core may have received them.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Bytes of a connection that Envoy keeps in each direction before it stops reading.
BUFFER_BYTES = 65_536

#: Every upgrade except that to a WebSocket is ignored (RFC 9110, section 7.8).
_OTHER_UPGRADES = (
    "(?i)(?:[^w].*|w|w[^e].*|we|we[^b].*|web|web[^s].*|webs|webs[^o].*|webso|webso[^c].*|websoc|"
    "websoc[^k].*|websock|websock[^e].*|websocke|websocke[^t].*|websocket.+)?"
)

#: Headers of responses of Cores that are not returned, without those that Envoy removes and sets.
_OF_CONNECTIONS = ("connection", "te", "trailer", "transfer-encoding", "upgrade", "date")
_NOT_RETURNED = tuple(
    name for name in NOT_RETURNED if "*" not in name and name not in _OF_CONNECTIONS
)

_REQUEST_ID = "%REQ(gatehouse-request-id)%"
_AUTHZ, _BUFFER, _LUA = "ext_authz", "buffer", "lua"
_HTTP = "extensions.filters.http."


@dataclass(frozen=True, slots=True)
class Service:
    """A service that listens on a port. workers: number of its processes."""

    name: str
    port: int
    workers: int = 1


def socket_path(folder: Path, name: str, worker: int) -> Path:
    """The Unix socket of a worker. name: of the service, or what a gateway serves: check, relay."""
    return folder / f"{name}-{worker}.sock"


def log_path(folder: Path, worker: int) -> Path:
    """The pipe with the access log of the requests that a worker has checked."""
    return folder / f"completions-{worker}"


@dataclass(frozen=True, slots=True)
class Worker:
    """number: of the worker among those of the service. folder: of Envoy."""

    service: str
    number: int
    folder: Path

    @property
    def socket(self) -> Path:
        return socket_path(self.folder, self.service, self.number)


def worker_digits(worker: int) -> str:
    """The last digits of the IDs of the requests that a worker has checked."""
    return f"{worker:02x}"


@dataclass(frozen=True)
class Bootstrap:
    """translation: the Lua program that translates the URLs in responses."""

    folder: Path
    services: Sequence[Service]
    settings: Settings
    translation: str

    def document(self) -> Configuration:
        listeners = [self._listener(service) for service in self.services]
        clusters = [
            socket_cluster(each.name, self._sockets(each.name, each.workers))
            for each in self.services
        ]
        dynamic: Configuration = {}
        if gateway := self._gateway:
            listeners.append(self._egress)
            clusters.append(socket_cluster("check", self._sockets("check", gateway.workers)))
            relays = self._sockets("relay", gateway.workers)
            clusters.append(socket_cluster("relay", relays, is_relay=True))
            clusters.append(socket_cluster(REFUSAL, self._sockets(REFUSAL, gateway.workers)))
            dynamic["dynamic_resources"] = {"cds_config": self._clusters_file}
        return {
            "node": {"id": "gatehouse", "cluster": "gatehouse"},
            "admin": {
                "address": {"pipe": {"path": str(self.folder / process.ADMIN), "mode": 0o600}}
            },
            "static_resources": {"listeners": listeners, "clusters": clusters},
            **dynamic,
            "stats_config": _STATISTICS,
            "overload_manager": self._overload_manager,
            "layered_runtime": {
                "layers": [
                    {
                        "name": "static",
                        "static_layer": {
                            "re2.max_program_size.error_level": 1000,
                            "envoy.reloadable_features.strict_chunk_parsing": True,
                        },
                    }
                ]
            },
        }

    @cached_property
    def _gateway(self) -> Service | None:
        return next((each for each in self.services if each.name == "gateway"), None)

    def _sockets(self, name: str, workers: int) -> list[str]:
        return [str(socket_path(self.folder, name, worker)) for worker in range(workers)]

    @property
    def _clusters_file(self) -> Configuration:
        source = {
            "path": str(self.folder / process.CLUSTERS_FILE),
            "watched_directory": {"path": str(self.folder / process.CLUSTERS)},
        }
        return {"resource_api_version": "V3", "path_config_source": source}

    @property
    def _overload_manager(self) -> Configuration:
        return {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3."
                    "DownstreamConnectionsConfig",
                    max_active_downstream_connections=self.settings.connections_max,
                )
            ]
        }

    # Listeners

    def _listener(self, service: Service) -> Configuration:
        chain: Configuration = {"filters": [self._connection_manager(service)]}
        if self.settings.tls != "off":
            chain["transport_socket"] = self._tls
        return {
            "name": service.name,
            "address": {
                "socket_address": {
                    "address": self.settings.bind,
                    "port_value": service.port,
                    "ipv4_compat": self.settings.bind == "::",
                }
            },
            "filter_chains": [chain],
            "per_connection_buffer_limit_bytes": BUFFER_BYTES,
            "enable_reuse_port": True,
        }

    @property
    def _tls(self) -> Configuration:
        files = {"certificate_chain": certificate.CERTIFICATE, "private_key": certificate.KEY}
        context = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [
                {name: {"filename": str(self.folder / file)} for name, file in files.items()}
            ],
        }
        return extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context=context,
        )

    def _connection_manager(self, service: Service) -> Configuration:
        settings = self.settings
        is_gateway = service is self._gateway
        filters = [_HEALTH, *(self._gateway_filters if is_gateway else ())]
        if service.name == "console":
            filters.append(_COMPRESSOR)
        return extension(
            "envoy.filters.network.http_connection_manager",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=service.name,
            codec_type="AUTO",
            http_protocol_options={
                "accept_http_10": True,
                "enable_trailers": False,
                "ignore_http_11_upgrade": [{"safe_regex": {"regex": _OTHER_UPGRADES}}],
            },
            http2_protocol_options={
                "max_concurrent_streams": 128,
                "initial_stream_window_size": 4 * BUFFER_BYTES,
                "initial_connection_window_size": 16 * BUFFER_BYTES,
                "allow_connect": False,
            },
            common_http_protocol_options={
                # The check decides which of them a Core receives.
                "headers_with_underscores_action": "ALLOW" if is_gateway else "DROP_HEADER",
                "max_headers_count": HEADERS_MAX,
                "idle_timeout": seconds(settings.idle_timeout_s),
            },
            max_request_headers_kb=HEADERS_KB_MAX,
            request_headers_timeout=seconds(settings.request_timeout_s),
            # A body for a Core can arrive at any rate.
            request_timeout=seconds(0 if is_gateway else WORKER_S),
            stream_flush_timeout=seconds(settings.response_timeout_s),
            # The connection of a WebSocket ends after this time.
            delayed_close_timeout="1s",
            drain_timeout="5s",
            use_remote_address=True,
            xff_num_trusted_hops=1,  # the workers decide which X-Forwarded-Proto is trusted
            internal_address_config={
                "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
            },
            # The Core responds to `Expect`, after the check.
            proxy_100_continue=is_gateway,
            upgrade_configs=[{"upgrade_type": "websocket"}] if is_gateway else [],
            early_header_mutation_extensions=[_EARLY_MUTATIONS],
            http_filters=[*filters, _ROUTER],
            route_config=self._gateway_routes if is_gateway else _routes(service.name),
            access_log=self._access_logs("request") if is_gateway else [],
            **_all_listeners(),
        )

    # Gateway

    @property
    def _gateway_filters(self) -> list[Configuration]:
        return [
            # Before the check, so that it can use a header that the check adds to the response.
            _filter(_LUA, "lua.v3.Lua", default_source_code={"inline_string": self.translation}),
            _filter(_AUTHZ, "ext_authz.v3.ExtAuthz", **_CHECK),
            # The other services read a body only after they have authorized the request.
            _filter(_BUFFER, "buffer.v3.Buffer", max_request_bytes=self.settings.body_max_bytes),
        ]

    @property
    def _gateway_routes(self) -> Configuration:
        hosts = [{"name": "gateway", "domains": ["*"], "routes": self._own_routes}]
        if domain := self.settings.cores_domain.partition(":")[0]:
            # No endpoint of the gateway has the host name of a Core.
            domains = [f"*.{domain}", f"*.{domain}."]
            cores = _core_routes("/", self.settings.body_max_bytes)
            routes = [_MALFORMED, *cores] if self._forwards else [_absent("/")]
            hosts.append({"name": "cores", "domains": domains, "routes": routes})
        return {
            "virtual_hosts": hosts,
            "validate_clusters": False,
            "ignore_port_in_host_matching": True,
        }

    @property
    def _own_routes(self) -> list[Configuration]:
        bytes_max = self.settings.body_max_bytes
        cores = _core_routes("/cores/", bytes_max) if self._forwards else []
        worker = _worker_route("gateway", off=(_AUTHZ, _LUA))
        expecting = _worker_route("gateway", off=(_AUTHZ, _LUA, _BUFFER))
        expecting["match"]["headers"] = [{"name": "expect", "present_match": True}]
        for route in (worker, expecting):
            route["route"]["max_stream_duration"] = {"max_stream_duration": seconds(WORKER_S)}
        return [_MALFORMED, *cores, expecting, worker]

    @cached_property
    def _forwards(self) -> bool:
        return features.PROXY not in features.off(self.settings.features)

    @property
    def _egress(self) -> Configuration:
        """The listener to which the relay sends requests, which a check has allowed."""
        manager = extension(
            "envoy.filters.network.http_connection_manager",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="egress",
            http_protocol_options={"enable_trailers": True},
            delayed_close_timeout="0s",
            common_http_protocol_options={"max_headers_count": 2 * HEADERS_MAX},
            max_request_headers_kb=2 * HEADERS_KB_MAX,
            use_remote_address=False,
            proxy_100_continue=True,
            upgrade_configs=[{"upgrade_type": "websocket"}],
            http_filters=[_ROUTER],
            route_config={
                "virtual_hosts": [
                    {
                        "name": "cores",
                        "domains": ["*"],
                        "routes": _class_routes("/"),
                        "response_headers_to_add": [
                            header(INSTANCE, "%UPSTREAM_METADATA(gatehouse:instance)%")
                        ],
                    }
                ],
                "validate_clusters": False,
            },
            access_log=self._access_logs("core"),
            **_all_listeners(),
        )
        path = str(self.folder / process.EGRESS)
        return {
            "name": "egress",
            "address": {"pipe": {"path": path, "mode": 0o600}},
            "filter_chains": [{"filters": [manager]}],
            "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        }

    def _access_logs(self, kind: str) -> list[Configuration]:
        """The logs of the requests that a check has allowed: one of each worker. That of the first
        worker also contains requests whose check failed.

        kind: `request`, or `core` for the part of a request behind the relay.
        """
        assert self._gateway is not None  # noqa: S101 - only the gateway has access logs
        fields = {"kind": kind, **_LOG_FIELDS}
        return [
            {
                **extension(
                    "envoy.access_loggers.file",
                    "extensions.access_loggers.file.v3.FileAccessLog",
                    path=str(log_path(self.folder, worker)),
                    log_format={"json_format": fields, "omit_empty_values": True},
                ),
                "filter": _checked_by(worker),
            }
            for worker in range(self._gateway.workers)
        ]


def _checked_by(worker: int) -> Configuration:
    matcher = {"suffix": worker_digits(worker)}
    of_worker = {"name": REQUEST_ID.decode(), "string_match": matcher}
    is_allowed: Configuration = {"header_filter": {"header": of_worker}}
    if worker:
        return is_allowed
    has_no_check = {"response_flag_filter": {"flags": ["UAEX"]}}  # or was denied
    failed = {"and_filter": {"filters": [has_no_check, _cel(_CHECK_ERROR)]}}
    return {"or_filter": {"filters": [is_allowed, failed]}}


#: The cluster of a Core has the format of its errors (services/gateway/clusters.py).
_OPENAI = "xds.cluster_metadata.filter_metadata['gatehouse']['error_format'] == 'openai'"
_CHECK_ERROR = "response.code_details == 'ext_authz_error'"


def _cel(expression: str) -> Configuration:
    name = "envoy.access_loggers.extension_filters.cel"
    type_name = "extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": extension(name, type_name, expression=expression)}


#: Fields of a line of the access log, see services/gateway/completions.py.
_LOG_FIELDS = {
    "request_id": "%REQ(gatehouse-request-id)%",
    "key_id": "%REQ(gatehouse-key-id)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "cause": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "ms": "%DURATION%",
    "before_us": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "core_us": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream_sent": "%UPSTREAM_WIRE_BYTES_SENT%",
    "instance": "%UPSTREAM_METADATA(gatehouse:instance)%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
}

#: Few of the hundreds of statistics of a cluster, which would take most of its memory.
_STATISTICS = {
    "stats_matcher": {
        "inclusion_list": {
            "patterns": [
                {
                    "safe_regex": {
                        "regex": r"cluster\..*\.(upstream_rq_([2345]xx|active|timeout|retry|"
                        r"retry_overflow|pending_overflow)|upstream_cx_(active|connect_fail)|"
                        r"membership_(healthy|total)|outlier_detection\.ejections_active)|"
                        r"http\..*\.(downstream_(rq_active|rq_[12345]xx|cx_active|cx_total|"
                        r"cx_overload_disable_keepalive|rq_too_large)|ext_authz\..*)|"
                        r"listener_manager\..*|cluster_manager\.cds\..*|server\.(live|uptime|"
                        r"memory_.*|state|total_connections)|filesystem\..*|overload\..*"
                    }
                }
            ]
        }
    },
    "stats_tags": [{"tag_name": "core", "regex": r"^cluster\.(core_([a-z0-9-]+)\.)"}],
}

_EARLY_MUTATIONS = extension(
    "headers",
    "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    mutations=[
        set_header(PEER, "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
        set_header(TLS, "%DOWNSTREAM_TLS_VERSION%"),
        set_header(LENGTH, "%REQ(content-length)%"),
        *({"remove": name.decode()} for name in REQUEST_HEADERS if name not in (PEER, TLS, LENGTH)),
    ],
)


#: Options of retries: another host of the cluster, if there is one, which is selected at random.
_ON_OTHER_HOST: Configuration = {
    "retry_host_predicate": [
        extension(
            "envoy.retry_host_predicates.previous_hosts",
            "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        )
    ],
    "host_selection_retry_max_attempts": 16,
}


def _worker_retries(retry_on: str) -> Configuration:
    """Retries while a worker is replaced. It has no requests, so it would be selected again."""
    return {
        "retry_on": retry_on,
        **_ON_OTHER_HOST,
        "num_retries": 6,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
    }


def _names(*names: bytes) -> list[str]:
    return [name.decode() for name in names]


#: Headers of the response of a check that Envoy itself uses.
_FROM_CHECK = (CLUSTER, PATH, CLASS, RELAY, FORMAT, proxy_headers.REFUSAL)

_CHECK: Configuration = {
    "failure_mode_allow": False,
    "clear_route_cache": True,
    "status_on_error": {"code": "NetworkAuthenticationRequired"},  # CHECK_FAILED
    "allowed_headers": {"patterns": [{"safe_regex": {"regex": ".*"}}]},
    "http_service": {
        "server_uri": {"uri": "http://check", "cluster": "check", "timeout": seconds(CHECK_S)},
        "retry_policy": _worker_retries("connect-failure,reset"),
        "authorization_response": {
            "allowed_upstream_headers": {
                "patterns": [
                    *({"exact": name} for name in _names(*_FROM_CHECK)),
                    *({"prefix": prefix} for prefix in ("gatehouse-", "x-forwarded-")),
                    *(
                        {"exact": name}
                        for name in (
                            "forwarded",
                            "traceparent",
                            "cookie",
                            "destination",
                            "authorization",
                        )
                    ),
                ]
            },
            "allowed_client_headers_on_success": {
                "patterns": [
                    *({"prefix": prefix} for prefix in ("ratelimit", "access-control-")),
                    *({"exact": name} for name in (URLS.decode(), "vary", "x-request-id")),
                    {"exact": "gatehouse-request-id"},
                ]
            },
        },
    },
}


def _filter(name: str, type_name: str, **fields: Any) -> Configuration:
    return extension(f"envoy.filters.http.{name}", _HTTP + type_name, **fields)


def _off(*names: str) -> Configuration:
    """Configuration of a route that disables filters."""
    return {
        "typed_per_filter_config": {
            f"envoy.filters.http.{name}": typed("config.route.v3.FilterConfig", disabled=True)
            for name in names
        }
    }


#: Responds with status 503 at /readyz while the process drains.
_HEALTH = _filter(
    "health_check",
    "health_check.v3.HealthCheck",
    pass_through_mode=True,
    headers=[{"name": ":path", "string_match": {"exact": asgi.READY_PATH}}],
)

#: Compresses the files of the web UI, not what contains secrets of users (BREACH).
_COMPRESSOR = _filter(
    "compressor",
    "compressor.v3.Compressor",
    response_direction_config={
        "common_config": {"content_type": ["text/html", "text/javascript", "text/css"]}
    },
    compressor_library=extension("gzip", "extensions.compression.gzip.compressor.v3.Gzip"),
)

_ROUTER = _filter(
    "router",
    "router.v3.Router",
    suppress_envoy_headers=True,
    upstream_http_filters=upstream.DEFAULT,
)


def _routes(cluster: str) -> Configuration:
    """The routes of a service without Cores."""
    routes = [_malformed(()), _worker_route(cluster)]
    host = {"name": cluster, "domains": ["*"], "routes": routes}
    return {"virtual_hosts": [host], "validate_clusters": False}


def _worker_route(cluster: str, off: Sequence[str] = ()) -> Configuration:
    """The route of the endpoints of a service."""
    # A verification, which changes little, is sent again if its worker is killed meanwhile.
    reset = "reset" if cluster == "gateway" else "reset-before-request"
    return {
        "match": {"prefix": "/"},
        "route": {
            "cluster": cluster,
            "timeout": "0s",  # a client can read an export slowly
            "idle_timeout": seconds(WORKER_S),
            "retry_policy": _worker_retries(f"connect-failure,{reset}"),
        },
        **(_off(*off) if off else {}),
    }


def _malformed(off: Sequence[str]) -> Configuration:
    """Lengths that servers read differently, such as 010 (RFC 9110, section 8.6)."""
    length = {"name": "content-length", "string_match": {"safe_regex": {"regex": "0.+|.{17,}"}}}
    route: Configuration = {
        "match": {"prefix": "/", "headers": [length]},
        "direct_response": {"status": 400},
    }
    return {**route, **_off(*off)}


_MALFORMED = _malformed((_AUTHZ, _LUA, _BUFFER))


def _absent(prefix: str) -> Configuration:
    return {
        "match": {"prefix": prefix},
        "direct_response": {"status": 404},
        **_off(_AUTHZ, _LUA, _BUFFER),
    }


def _core_routes(prefix: str, signed_bytes_max: int) -> list[Configuration]:
    """The routes of requests to Cores: those that a check has allowed, and those before it.

    signed_bytes_max: size of a signed body, which the check receives.
    """
    unchecked: Configuration = {
        "match": {"prefix": prefix},
        "direct_response": {"status": 500},
        **_off(_BUFFER),
    }
    signed = {
        "match": {
            "prefix": prefix,
            "headers": [{"name": "signature-input", "present_match": True}],
        },
        "direct_response": {"status": 500},
        "typed_per_filter_config": {
            **_off(_BUFFER)["typed_per_filter_config"],
            f"envoy.filters.http.{_AUTHZ}": typed(
                f"{_HTTP}ext_authz.v3.ExtAuthzPerRoute",
                check_settings={
                    "with_request_body": {
                        "max_request_bytes": signed_bytes_max,
                        "allow_partial_message": False,
                        "pack_as_bytes": True,
                    }
                },
            ),
        },
    }
    return [*_class_routes(prefix), *_relay_routes(prefix), signed, unchecked]


def class_of(timeout_s: float, method: str) -> str:
    """The class of the route of a request, for the time of its Core."""
    fitting = min(each for each in TIMEOUTS_S if each >= timeout_s)
    return f"{fitting}s" if method in SAFE_METHODS else f"{fitting}u"


def _class_routes(prefix: str) -> list[Configuration]:
    """A route of each class, to the cluster that the check has set."""
    classes = [
        (f"{timeout_s}{suffix}", timeout_s, is_safe)
        for timeout_s in TIMEOUTS_S
        for suffix, is_safe in (("s", True), ("u", False))
    ]
    routes = [_class_route(prefix, *each) for each in classes]
    websocket = _class_route(prefix, WEBSOCKET, max(TIMEOUTS_S), is_safe=False)
    return [*routes, _upgraded(websocket)]


def _relay_routes(prefix: str) -> list[Configuration]:
    headers = [{"name": RELAY.decode(), "present_match": True}]
    route: Configuration = {
        "match": {"prefix": prefix, "headers": headers},
        "route": {"cluster": "relay", "timeout": "0s", "idle_timeout": seconds(max(TIMEOUTS_S))},
        "request_headers_to_remove": _names(RELAY, PEER, TLS, LENGTH),
        "response_headers_to_remove": _names(INSTANCE),
        **_off(_BUFFER),
    }
    of_class = {"name": CLASS.decode(), "string_match": {"exact": WEBSOCKET}}
    match = {"prefix": prefix, "headers": [*headers, of_class]}
    return [_upgraded({**route, "match": match}), route]


def _upgraded(route: Configuration) -> Configuration:
    """A route of WebSockets. On others, status 101 is malformed (translation.lua)."""
    action = {**route["route"], "upgrade_configs": [{"upgrade_type": "websocket"}]}
    return {**route, "name": WEBSOCKET, "route": action}


def _class_route(prefix: str, name: str, timeout_s: int, is_safe: bool) -> Configuration:
    retry_on = "connect-failure,refused-stream," + ("reset" if is_safe else "reset-before-request")
    retries: Configuration = {
        "retry_on": retry_on,
        "num_retries": 1,
        **_ON_OTHER_HOST,
        "per_try_idle_timeout": seconds(timeout_s),
    }
    return {
        "match": {
            "prefix": prefix,
            "headers": [
                {"name": CLASS.decode(), "string_match": {"exact": name}},
                {"name": RELAY.decode(), "present_match": False},
            ],
        },
        "route": {
            "cluster_header": CLUSTER.decode(),
            "cluster_not_found_response_code": "SERVICE_UNAVAILABLE",
            "path_rewrite": f"%REQ({PATH.decode()})%",
            "timeout": "0s",
            "idle_timeout": seconds(timeout_s),
            "auto_host_rewrite": True,
            "retry_policy": retries,
        },
        "request_headers_to_remove": _names(CLUSTER, CLASS, FORMAT, PEER, TLS, LENGTH),
        "response_headers_to_remove": list(_NOT_RETURNED),
        "response_headers_to_add": [add_header(b"x-request-id", _REQUEST_ID)],
        **_off(_BUFFER),
    }


def _all_listeners() -> Configuration:
    """Options of every listener. Paths and headers stay as the client has sent them."""
    return {
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        # That of a route applies only from the next event on (envoyproxy/envoy, issue 36742).
        "stream_idle_timeout": seconds(max(TIMEOUTS_S)),
        "local_reply_config": {"mappers": _local_replies()},
    }


def _local_replies() -> list[Configuration]:
    """The problem documents of what Envoy responds itself, by its flags and statuses."""
    return [
        {"filter": _status(DENIED_503), "status_code": 503},
        _reply(
            errors.Unavailable("API keys cannot be verified temporarily."), _status(CHECK_FAILED)
        ),
        *(reply for error, *flags in CORE_ERRORS for reply in _core_replies(error, flags)),
        *(_reply(error, _own_status(error.status)) for error in _OWN_ERRORS),
    ]


#: The errors of requests to Cores, with the flags of Envoy that they stand for. UO also stands for
#: a request that was not retried, so it comes after the flags of failures
#: (www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage).
CORE_ERRORS: tuple[tuple[Any, ...], ...] = (
    (errors.CoreUnreachable(), "UF", "LR"),
    (errors.CoreUnreachable("The Core has no address that the gateway may use."), "UH"),
    (errors.CoreMalformed(), "UPE"),
    (errors.CoreUnreachable("The Core closed the connection."), "UC", "UR"),
    (errors.CoreTimeout(), "UT", "SI"),
    (errors.CoreOverloaded(), "UO"),
    (errors.CoreNotRegistered(), "NC"),
)
_OWN_ERRORS = (
    errors.BadRequest("The request is malformed."),
    errors.NotFound(),
    errors.RequestTimeout(),
    errors.BodyTooLarge(),
    errors.UpgradeRequired(),
    errors.HeadersTooLarge(),
    errors.Unavailable(),
)


def _status(status: int) -> Configuration:
    comparison = {"op": "EQ", "value": {"default_value": status, "runtime_key": "gatehouse"}}
    return {"status_code_filter": {"comparison": comparison}}


def _own_status(status: int) -> Configuration:
    """A response of Envoy that is not a denial of the check."""
    return _cel(f"response.code == {status} && response.code_details != 'ext_authz_denied'")


def _core_replies(error: GatehouseError, flags: Sequence[str]) -> list[Configuration]:
    """The replies for an error of a Core, in each format that Cores can declare."""
    condition = {"response_flag_filter": {"flags": list(flags)}}
    both = {"and_filter": {"filters": [condition, _cel(_OPENAI)]}}
    members = asgi.openai_members(error, error.code)
    return [
        _reply(error, both, _REQUEST_ID, members, asgi.JSON),
        _reply(error, condition, _REQUEST_ID),
    ]


def _reply(
    error: GatehouseError,
    condition: Configuration,
    request_id: str = "%UNIQUE_ID%",
    members: Configuration | None = None,
    media_type: bytes = asgi.PROBLEM_JSON,
) -> Configuration:
    """request_id: by default, of a request that was not checked. members: of the body, by default
    of a problem document.
    """
    headers = [(name, value.decode()) for name, value in asgi.problem_headers(error)]
    headers.append((b"x-request-id", request_id))
    return {
        "filter": condition,
        "status_code": error.status,
        "body_format_override": {
            "json_format": members or asgi.problem_members(error, request_id),
            "content_type": media_type.decode(),
        },
        "headers_to_add": [header(*each) for each in headers],
    }
