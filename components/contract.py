"""Reads `runtime/contract.toml`: the services, processes, functions, variables and secrets of the
container image.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

PATH = Path(__file__).parent.parent / "runtime" / "contract.toml"
EXTERNAL = "operator"
"""Value of `managed` for a secret that an operator creates outside Pulumi."""


@dataclass(frozen=True)
class ContractService:
    """A service that a process serves, with its TCP port and the paths of its liveness and
    readiness checks.

    protected: Path that returns 401 without a credential; "" if the service has no such path.
    echo: Path to which the synthetic probe sends a request with the canary key; "" for none.
    """

    name: str
    port: int
    health: str
    ready: str
    protected: str = ""
    echo: str = ""


@dataclass(frozen=True)
class Secret:
    """An environment variable that ECS injects from Secrets Manager.

    managed: Creator of the secret: "rds", `EXTERNAL` for an operator, or "" for the rotation
        function.
    json_key: JSON key whose value is injected, or "" for the entire secret value.
    arn: ARN of a secret that an operator creates, or "" if the name is derived from the kind.
    """

    variable: str
    kind: str
    managed: str
    json_key: str
    arn: str = ""


@dataclass(frozen=True)
class Process:
    """A command that runs in an ECS task. A process without services is a one-off task."""

    name: str
    command: tuple[str, ...]
    services: tuple[ContractService, ...]
    variables: tuple[str, ...]
    secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class Function:
    """A Lambda function that runs the container image and serves one service."""

    name: str
    service: ContractService
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """The runtime contract as a stack deploys it.

    processes: Processes of the runtime, keyed by name.
    functions: Functions that the stack deploys, keyed by name.
    cores: Cores of the stack as processes, keyed by name.
    cores_domain: Domain below which each Core has a host name; "" without host names of Cores.
    replaceable: Variables that contain AWS addresses, which the sandbox replaces.
    secret_variables: Optional variables that ECS can inject from a secret that an operator creates.
    """

    user: str
    processes: dict[str, Process]
    functions: dict[str, Function] = field(default_factory=dict)
    cores: dict[str, Process] = field(default_factory=dict)
    domain: str = ""
    cores_domain: str = ""
    replaceable: tuple[str, ...] = ()
    secret_variables: tuple[str, ...] = ()

    @property
    def services(self) -> dict[str, ContractService]:
        return {
            service.name: service
            for process in self.processes.values()
            for service in process.services
        }

    @property
    def tasks(self) -> dict[str, Process]:
        """Processes and Cores that run as ECS tasks, keyed by name."""
        return self.processes | self.cores

    @property
    def ecs_services(self) -> dict[str, Process]:
        return {name: process for name, process in self.tasks.items() if process.services}

    @property
    def hosts(self) -> dict[str, str]:
        return {name: f"{name}.{self.domain}" for name in self._public_services()}

    @property
    def host_patterns(self) -> dict[str, tuple[str, ...]]:
        """Host name of each service, keyed by name, and the wildcard name of the Cores for the
        gateway.
        """
        wildcards = {"gateway": (f"*.{self.cores_domain}",)} if self.cores_domain else {}
        return {name: (host, *wildcards.get(name, ())) for name, host in self.hosts.items()}

    @property
    def urls(self) -> dict[str, str]:
        return {name: f"https://{host}" for name, host in self.hosts.items()}

    @property
    def health_urls(self) -> dict[str, str]:
        """URL of the liveness check of each service, keyed by name."""
        return {
            name: f"{self.urls[name]}{service.health}"
            for name, service in self._public_services().items()
        }

    @property
    def rotated_secrets(self) -> tuple[str, ...]:
        """Kinds of the secrets that the rotation function creates, in the order of the file."""
        kinds = [
            s.kind for process in self.processes.values() for s in process.secrets if not s.managed
        ]
        return tuple(dict.fromkeys(kinds))

    @property
    def external_secrets(self) -> dict[str, str]:
        """ARN of each secret that an operator creates, keyed by kind."""
        return {
            secret.kind: secret.arn
            for task in self.tasks.values()
            for secret in task.secrets
            if secret.arn
        }

    def _public_services(self) -> dict[str, ContractService]:
        return self.services | {
            function.service.name: function.service for function in self.functions.values()
        }


def read(
    *,
    functions: Collection[str] = (),
    optional_variables: Collection[str] | None = (),
    external_secrets: Mapping[str, str] = MappingProxyType({}),
) -> Contract:
    """Read the contract. Raises KeyError if `functions` names a function, or a process or function
    names a service, that does not exist.

    functions: Functions to deploy. Services that run as functions are removed from the processes.
    optional_variables: Optional variables to set, or None for all.
    external_secrets: ARN of the secret for each optional variable that ECS injects, keyed by
        variable.
    """
    raw = document()
    services = {
        name: ContractService(
            name,
            row["port"],
            row["health"],
            row["ready"],
            row.get("protected", ""),
            row.get("echo", ""),
        )
        for name, row in raw["service"].items()
    }
    variables = [
        *raw["variable"],
        *(
            row
            for row in raw["optional"]
            if optional_variables is None or row["name"] in optional_variables
        ),
    ]
    secrets = [
        *raw["secret"],
        *(
            {**row, "managed": EXTERNAL}
            for row in raw["optional"]
            if row["name"] in external_secrets
        ),
    ]
    in_functions = {raw["function"][name]["service"] for name in functions}
    processes = {
        name: Process(
            name=name,
            command=tuple(word for word in process["command"] if word not in in_functions),
            services=tuple(
                services[service] for service in process["services"] if service not in in_functions
            ),
            variables=tuple(v["name"] for v in variables if name in v["processes"]),
            secrets=tuple(
                Secret(
                    s["name"],
                    s["kind"],
                    s.get("managed", ""),
                    s.get("json_key", ""),
                    external_secrets.get(s["name"], ""),
                )
                for s in secrets
                if name in s["processes"]
            ),
        )
        for name, process in raw["process"].items()
    }
    return Contract(
        user=raw["image"]["user"],
        processes=processes,
        functions=_functions(raw, services, variables, functions),
        replaceable=tuple(row["name"] for row in raw["variable"] if row.get("stand_in")),
        secret_variables=tuple(row["name"] for row in raw["optional"] if "kind" in row),
    )


def _functions(
    raw: Mapping[str, Any],
    services: Mapping[str, ContractService],
    variables: Sequence[Mapping[str, Any]],
    names: Collection[str],
) -> dict[str, Function]:
    return {
        name: Function(
            name=name,
            service=services[row["service"]],
            entry_point=tuple(row["entry_point"]),
            command=tuple(row["command"]),
            variables=tuple(v["name"] for v in variables if name in v.get("functions", ())),
        )
        for name, row in raw["function"].items()
        if name in names
    }


def settable() -> frozenset[str]:
    """Return the optional variables that `environment_variables` accepts: those without a dedicated
    setting.
    """
    return frozenset(chain.from_iterable(document()["settable"].values()))


def cache_access() -> str:
    return str(document()["cache"]["access"])


@cache
def document() -> dict[str, Any]:
    """Return the file. The settable variables are optional variables as well."""
    raw = tomllib.loads(PATH.read_text(encoding="utf-8"))
    names = dict.fromkeys(chain.from_iterable(raw["settable"].values()))
    raw["optional"] += [
        {"name": name, "processes": [key for key, row in raw["settable"].items() if name in row]}
        for name in names
    ]
    return raw
