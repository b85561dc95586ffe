"""Reads how Envoy uses the instances of Cores: whether their health checks fail, and whether they
are ejected after failures.
"""

from dataclasses import dataclass, field

import msgspec

from gatehouse.features.cores.reports import InstanceKey, InstanceState
from gatehouse.platform.envoy.admin import Admin
from gatehouse.platform.observability import Observer
from gatehouse.services.gateway.clusters import ClusterFile, cluster_name

_PREFIX = cluster_name("")


class _SocketAddress(msgspec.Struct):
    address: str = ""
    port_value: int = 0


class _Address(msgspec.Struct):
    socket_address: _SocketAddress = msgspec.field(default_factory=_SocketAddress)


class _Health(msgspec.Struct):
    failed_active_health_check: bool = False
    failed_outlier_check: bool = False


class _Host(msgspec.Struct):
    address: _Address
    health_status: _Health = msgspec.field(default_factory=_Health)


class _Cluster(msgspec.Struct):
    name: str
    host_statuses: list[_Host] = []


class _Clusters(msgspec.Struct):
    """Source: envoy.admin.v3.Clusters."""

    cluster_statuses: list[_Cluster] = []


_decode = msgspec.json.Decoder(_Clusters).decode
_USED = InstanceState()


@dataclass(slots=True, eq=False)
class InstanceStates:
    admin: Admin
    clusters: ClusterFile
    observer: Observer
    _last: dict[InstanceKey, InstanceState] = field(default_factory=dict)

    async def read(self) -> dict[InstanceKey, InstanceState]:
        """The states of the instances that are not used normally. Logs the changes."""
        try:
            clusters = _decode(await self.admin.get("/clusters?format=json"))
        except msgspec.MsgspecError:
            return self._last  # Envoy is starting, or ends
        states = {}
        for cluster in clusters.cluster_statuses:
            for host in cluster.host_statuses:
                health, at = host.health_status, host.address.socket_address
                state = InstanceState(
                    health.failed_outlier_check, health.failed_active_health_check
                )
                if state != _USED and cluster.name.startswith(_PREFIX):
                    core = cluster.name.removeprefix(_PREFIX)
                    for instance in self.clusters.instances_at(core, at.address, at.port_value):
                        states[core, instance] = state
        self._report(states)
        return states

    def _report(self, states: dict[InstanceKey, InstanceState]) -> None:
        metrics, log = self.observer.metrics, self.observer.log
        metrics.circuit_breakers_open.set(sum(state.ejected for state in states.values()))
        metrics.unhealthy_instances.set(sum(state.unhealthy for state in states.values()))
        for key in self._last.keys() | states.keys():
            before, now = self._last.get(key, _USED), states.get(key, _USED)
            core, instance = key
            if before.unhealthy != now.unhealthy:
                log.warning("core health", core=core, instance=instance, healthy=not now.unhealthy)
            if before.ejected != now.ejected:
                state = "open" if now.ejected else "closed"
                log.warning("circuit breaker", core=core, instance=instance, state=state)
        self._last = states
