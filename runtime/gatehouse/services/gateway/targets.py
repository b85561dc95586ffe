"""What the requests to a Core have in common. Computed when the registry changes or a lease
ends.
"""

import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from gatehouse.core.cores import CoreRecord, CoreSettings
from gatehouse.core.errors import GatehouseError
from gatehouse.core.http.header_names import Names, forwarded_names
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.cores.service import live_instances
from gatehouse.platform.envoy.bootstrap import class_of
from gatehouse.services.gateway.clusters import cluster_name


class Instance(msgspec.Struct, frozen=True, gc=False):
    """The newest live instance of a Core. base: path of its URL, without a slash at the end."""

    record: CoreRecord
    scheme: str
    authority: str
    base: str


class Target(msgspec.Struct, frozen=True, gc=False):
    """A Core. instance: an error if there is none that can receive a request. forwarded: names of
    headers of clients, and whether the Core receives them. route: class of the routes for the time
    limit of the Core. valid_until: time of the registry. version: of the Core in the registry.
    """

    version: int
    settings: CoreSettings
    instance: Instance | GatehouseError
    forwarded: Names
    cluster: bytes
    route: bytes
    valid_until: float


@dataclass(slots=True, eq=False)
class Targets:
    """The Cores that requests can have. Not thread-safe."""

    cores: CoreRegistry
    environment: KeyEnvironment
    pepper: Pepper
    _known: dict[str, Target] = field(default_factory=dict)

    def find(self, name: str) -> Target:
        """A Core, which may be unknown."""
        target, now, version = self._known.get(name), self.cores.now(), self.cores.version(name)
        if target is None or target.version != version or now >= target.valid_until:
            target = self._read(name, now)
            if len(self._known) > len(self.cores):  # Cores that are no longer registered
                self._known.clear()
            if name in self.cores:  # clients can invent any number of names
                self._known[name] = target
        return target

    def _read(self, name: str, now: float) -> Target:
        settings, registered = self.cores.settings(name), self.cores.instances(name)
        instance: Instance | GatehouseError
        try:
            record = live_instances(registered, self.environment, self.pepper, now=now)[-1]
        except GatehouseError as exc:
            instance = exc
        else:
            url = urlsplit(record.url)
            instance = Instance(record, url.scheme, url.netloc, url.path)
        return Target(
            self.cores.version(name),
            settings,
            instance,
            forwarded_names(settings),
            cluster_name(name).encode(),
            class_of(settings.response_timeout_s).encode(),
            min((each.expires_at for each in registered if each.is_live(now)), default=math.inf),
        )
