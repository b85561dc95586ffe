"""Writes the file with the clusters of Cores, from which Envoy reads their instances.

Envoy never resolves names. The addresses are resolved and checked here (core/http/origin.py), again
every PIN_S, so that a name cannot resolve to another address between the check and the connection
(CWE-918); TLS verifies the name. The file contains the secrets of Cores and their credentials, so
only this user can read it. The first worker writes it for all.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.errors import GatehouseError, Unavailable
from gatehouse.core.http.addresses import Network
from gatehouse.core.http.origin import BaseUrl, parse_base_url
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.cores.service import credential_headers, live_instances
from gatehouse.platform.envoy import configuration as envoy
from gatehouse.platform.envoy import core_filters, process
from gatehouse.platform.envoy.admin import Admin
from gatehouse.platform.envoy.bootstrap import BUFFER_BYTES
from gatehouse.platform.envoy.configuration import Configuration, extension, seconds, typed
from gatehouse.platform.observability import origin_of
from gatehouse.platform.resolver import SystemResolver
from gatehouse.platform.settings import Settings

#: Time for which a checked address is used before the host name is resolved again.
PIN_S = 60.0
#: Time in which changes are collected before the file is written, interval at which leases are
#: checked for their end, and maximum time until Envoy has applied a change.
COLLECT_S, CHECK_S, APPLIED_S = 0.01, 0.5, 5.0

#: An idle connection is closed before servers close it: few after 1 s, gunicorn after 2 s, Node.js
#: and uvicorn after 5 s. A request that meets the end of its connection is not sent again, because
#: the Core may have received it.
IDLE_S, IDLE_TLS_S, IDLE_HTTP2_S = 0.9, 4.0, 60.0

CONNECT_S, HEALTH_TIMEOUT_S = 5.0, 3.0

_CERTIFICATE_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def cluster_name(core: str) -> str:
    return f"core:{core}"


@dataclass(frozen=True, slots=True)
class OwnServer:
    """The server of the Core of the gateway itself: its host name, which is not resolved, its
    socket, and its certificate as PEM.
    """

    host: str
    path: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that can receive requests. headers: with its secret and credential."""

    record: CoreRecord
    url: BaseUrl
    address: str
    headers: tuple[tuple[str, str], ...]


#: Of which the configuration of a cluster is made.
_State = tuple[CoreSettings, tuple[Instance, ...]]


@dataclass(slots=True)
class _Pinned:
    address: str
    checked_at: float


@dataclass(eq=False)
class ClusterFile:
    """The clusters of the Cores in a registry. networks: private networks in which Cores are
    allowed. folder: of the Envoy process. on_failure: called with the reason why the file was not
    written. own: the server of the Core of the gateway itself; None if there is none.
    """

    cores: CoreRegistry
    credentials: Credentials
    pepper: Pepper
    environment: KeyEnvironment
    resolver: SystemResolver
    networks: Sequence[Network]
    settings: Settings
    folder: Path
    admin: Admin
    on_failure: Callable[[str], None]
    own: OwnServer | None = None
    _pinned: dict[str, _Pinned] = field(default_factory=dict)
    _encoded: dict[str, tuple[_State, bytes]] = field(default_factory=dict)
    _version: str = ""
    _written: bytes = b""
    _rejected: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _applied: asyncio.Condition = field(default_factory=asyncio.Condition)
    _requested: int = 0
    _completed: int = 0

    def change(self) -> None:
        """The registry, or a credential, has changed."""
        self._requested += 1
        self._changed.set()

    def instances_at(self, core: str, address: str, port: int) -> list[str]:
        """The IDs of the instances of a Core with an address."""
        known = self._encoded.get(core)
        found = () if known is None else known[0][1]
        return [
            each.record.instance_id
            for each in found
            if (each.address, each.url.port) == (address, port)
        ]

    async def applied(self) -> None:
        """Waits until Envoy has applied the changes until now."""
        self.change()
        number = self._requested
        try:
            async with asyncio.timeout(APPLIED_S), self._applied:
                await self._applied.wait_for(lambda: self._completed >= number)
        except TimeoutError:
            return  # the next requests are denied until it has

    async def run(self) -> None:
        """Writes the file at each change, and when a lease ends or an address has changed."""
        while True:
            try:
                await self._run_once()
            except Exception as exc:
                self.on_failure(f"{type(exc).__name__} at {origin_of(exc)}")
                await asyncio.sleep(CHECK_S)

    async def _run_once(self) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._changed.wait()
            await asyncio.sleep(COLLECT_S)
        except TimeoutError:
            pass
        self._changed.clear()
        number = self._requested
        if await self.write():
            await self._wait_for_envoy()
        async with self._applied:
            self._completed = number
            self._applied.notify_all()

    async def write(self) -> bool:
        """Writes the file. Returns False if it already contains the clusters."""
        now = self.cores.now()
        names = list(self.cores)
        instances = await asyncio.gather(*(self._instances(name, now) for name in names))
        encoded = []
        for name, found in zip(names, instances, strict=True):
            settings = self.cores.settings(name)
            state = (settings, found)
            known = self._encoded.get(name)
            if known is None or known[0] != state:
                cluster = self._cluster(name, settings, found)
                known = self._encoded[name] = state, msgspec.json.encode(cluster)
            encoded.append(known[1])
        for name in self._encoded.keys() - set(names):
            del self._encoded[name]
        content = b",".join(encoded)
        if content == self._written and self._version:
            return False
        self._version = str(time.time_ns())
        self._written = content
        document = b'{"version_info":"%b","resources":[%b]}' % (self._version.encode(), content)
        process.write_clusters(self.folder, document)
        return True

    async def _wait_for_envoy(self) -> None:
        deadline, pause = time.monotonic() + APPLIED_S, 0.002
        while time.monotonic() < deadline:
            text = (await self.admin.get("/stats?filter=^cluster_manager.cds.")).decode()
            if f'version_text: "{self._version}"' in text:
                return
            rejected = text.partition("update_rejected: ")[2].partition("\n")[0]
            if rejected.isdigit() and int(rejected) > self._rejected:
                self._rejected = int(rejected)
                self.on_failure("Envoy has rejected a cluster, and uses the others")
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    async def _instances(self, name: str, now: float) -> tuple[Instance, ...]:
        """The instances of a Core with a checked address. The scheme and the path of the URL are
        those of the instance that was registered last: Envoy adds the same path for all.
        """
        try:
            live = live_instances(
                self.cores.instances(name), self.environment, self.pepper, now=now
            )
        except GatehouseError:
            return ()
        found = []
        newest = parse_base_url(live[-1].url)
        for record in live:
            url = parse_base_url(record.url)
            if (url.scheme, url.path) != (newest.scheme, newest.path):
                continue
            address = await self._address(url, record)
            if not address:
                continue
            settings = record.settings
            try:
                credential = await self.credentials.find(name, settings)
                headers = credential_headers(self.pepper, record, credential)
            except GatehouseError:
                continue  # the check denies the request with the reason
            found.append(Instance(record, url, address, tuple(headers)))
        return tuple(found)

    async def _address(self, url: BaseUrl, record: CoreRecord) -> str:
        """The checked address of an instance. Empty if it has none. While the name server does not
        respond, the address remains in use.
        """
        if self.own is not None and url.host == self.own.host:
            return self.own.path
        known, now = self._pinned.get(url.authority), time.monotonic()
        if known is not None and now - known.checked_at < PIN_S:
            return known.address
        try:
            addresses = await self.resolver.checked_addresses(url, self.networks)
        except Unavailable:
            return known.address if known else ""
        except ValueError:
            self._pinned.pop(url.authority, None)
            return ""
        address = known.address if known and known.address in addresses else addresses[0]
        self._pinned[url.authority] = _Pinned(address, now)
        return address

    # The configuration of a cluster

    def _cluster(
        self, name: str, settings: CoreSettings, instances: Sequence[Instance]
    ) -> Configuration:
        is_tls = bool(instances) and instances[0].url.scheme == "https"
        full_name = cluster_name(name)
        cluster = typed(
            "config.cluster.v3.Cluster",
            name=full_name,
            alt_stat_name=f"core_{name}",
            type="STATIC",
            metadata={"filter_metadata": {"gatehouse": {"error_format": settings.error_format}}},
            connect_timeout=seconds(CONNECT_S),
            per_connection_buffer_limit_bytes=BUFFER_BYTES,
            lb_policy="LEAST_REQUEST",
            load_assignment={
                "cluster_name": full_name,
                "endpoints": [{"lb_endpoints": [_endpoint(each, settings) for each in instances]}],
            },
            circuit_breakers={"thresholds": [self._thresholds(max(1, len(instances)))]},
            outlier_detection=self._outlier_detection,
            typed_extension_protocol_options=_protocol_options(settings, is_tls=is_tls),
        )
        if is_tls:
            hosts = dict.fromkeys(each.url.host for each in instances)
            cluster["transport_socket_matches"] = [
                _tls(host, self._authorities(host), is_http2=settings.http2) for host in hosts
            ]
        if settings.health_path and self.settings.core_health_interval_s and instances:
            cluster["health_checks"] = [self._health_check(settings, instances)]
        return cluster

    def _authorities(self, host: str) -> Configuration:
        if self.own is not None and host == self.own.host:
            return {"inline_string": self.own.certificate}
        return {"filename": certificate_file()}

    def _thresholds(self, instances: int) -> Configuration:
        settings = self.settings
        thresholds: Configuration = {
            "max_requests": settings.core_requests_max * instances,
            # A request that exceeds the maximum does not wait for a connection.
            "max_connections": 1_000_000,
            "max_pending_requests": settings.core_requests_max * instances,
            "track_remaining": False,
        }
        percent = settings.retry_budget_percent
        if percent:
            budget = {"budget_percent": {"value": percent}, "min_retry_concurrency": 3}
            return {**thresholds, "retry_budget": budget}
        return {**thresholds, "max_retries": 0}

    @property
    def _outlier_detection(self) -> Configuration:
        settings = self.settings
        failures = settings.circuit_breaker_failures
        ejected = {"enforcing_consecutive_gateway_failure": 100} if failures else {}
        local = {} if failures else {"enforcing_consecutive_local_origin_failure": 0}
        return {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": failures or 5,
            "consecutive_gateway_failure": failures or 5,
            **ejected,
            **local,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": seconds(settings.circuit_breaker_reset_s),
            "max_ejection_time": seconds(max(30.0, settings.circuit_breaker_reset_s)),
            "max_ejection_percent": 100,
        }

    def _health_check(self, settings: CoreSettings, instances: Sequence[Instance]) -> Configuration:
        """Health checks have only the headers that all instances have in common: the credential,
        and the secret of a Core with one instance.
        """
        common = set(instances[0].headers).intersection(*(each.headers for each in instances))
        headers = [("user-agent", "gatehouse"), *sorted(common)]
        interval = seconds(self.settings.core_health_interval_s)
        return {
            "timeout": seconds(HEALTH_TIMEOUT_S),
            "interval": interval,
            "no_traffic_interval": interval,
            "no_traffic_healthy_interval": interval,
            "unhealthy_threshold": 3,
            "healthy_threshold": 2,
            "http_health_check": {
                "path": instances[0].url.path + (settings.health_path or "/"),
                "expected_statuses": [{"start": 200, "end": 300}],
                "codec_client_type": "HTTP2" if settings.http2 else "HTTP1",
                "request_headers_to_add": [
                    envoy.header(name.encode(), value.replace("%", "%%")) for name, value in headers
                ],
            },
        }


def _endpoint(instance: Instance, settings: CoreSettings) -> Configuration:
    url, record = instance.url, instance.record
    address: Configuration = {
        "socket_address": {"address": instance.address, "port_value": url.port}
    }
    if instance.address.startswith("/"):
        address = {"pipe": {"path": instance.address}}
    metadata: dict[str, Any] = {"instance": record.instance_id}
    metadata |= {f"header_{number}": value for number, (_, value) in enumerate(instance.headers)}
    filter_metadata: dict[str, Any] = {"gatehouse": metadata}
    if url.scheme == "https":
        filter_metadata["envoy.transport_socket_match"] = {"host": url.host}
    return {
        "endpoint": {
            "address": address,
            # Without a name here, Envoy sends the Host of the client.
            **({} if record.settings.forward_host else {"hostname": url.authority}),
            **(
                {"health_check_config": {"hostname": url.authority}} if settings.health_path else {}
            ),
        },
        "metadata": {"filter_metadata": filter_metadata},
    }


def _tls(host: str, authorities: Configuration, *, is_http2: bool) -> Configuration:
    san = {"san_type": "DNS", "matcher": {"exact": host}}
    try:
        ipaddress.ip_address(host)
        san["san_type"] = "IP_ADDRESS"
        sni: dict[str, str] = {}
    except ValueError:
        sni = {"sni": host}
    context = {
        "alpn_protocols": ["h2" if is_http2 else "http/1.1"],
        "validation_context": {"trusted_ca": authorities, "match_typed_subject_alt_names": [san]},
    }
    return {
        "name": host,
        "match": {"host": host},
        "transport_socket": extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            **sni,
            common_tls_context=context,
        ),
    }


def _protocol_options(settings: CoreSettings, *, is_tls: bool) -> Configuration:
    idle_s = IDLE_HTTP2_S if settings.http2 else IDLE_TLS_S if is_tls else IDLE_S
    protocol: Configuration = (
        {"http2_protocol_options": {"max_concurrent_streams": 1024}}
        if settings.http2
        else {"http_protocol_options": {"enable_trailers": False}}
    )
    filters = core_filters.filters(settings)
    own = {} if filters == core_filters.DEFAULT else {"http_filters": filters}
    return envoy.protocol_options(
        common_http_protocol_options={
            "idle_timeout": seconds(idle_s),
            "max_headers_count": 200,
            "max_response_headers_kb": 96,
        },
        explicit_http_config=protocol,
        **own,
    )


def certificate_file() -> str:
    import os
    import ssl

    paths = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile)
    for path in (*paths, *_CERTIFICATE_FILES):
        if path and Path(path).exists():
            return path
    return _CERTIFICATE_FILES[0]
