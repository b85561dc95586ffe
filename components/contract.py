"""Reads `runtime/contract.toml`: what the container listens on, is started with, and is told."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from components.settings.workloads import CoreSettings

PATH = Path(__file__).parent.parent / "runtime" / "contract.toml"
OPERATOR = "operator"
"""Who makes a secret (Secret.managed) that somebody brings."""


@dataclass(frozen=True, slots=True)
class ContractService:
    """One listening address: TCP port, and the paths for liveness and readiness."""

    name: str
    port: int
    health: str
    ready: str


@dataclass(frozen=True, slots=True)
class Secret:
    """An environment variable that ECS fills from Secrets Manager.

    managed: the service that makes and rotates the secret, "" when our rotation function does.
    json_key: the member of the secret's JSON that is injected, "" for the whole secret. arn: of a secret that somebody made, ""
    for those whose name follows from their kind.
    """

    variable: str
    kind: str
    managed: str
    json_key: str
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One command of the image, the services it opens, and what it is told."""

    name: str
    command: tuple[str, ...]
    services: tuple[ContractService, ...]
    variables: tuple[str, ...]
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A service that Lambda serves from the image: how it is started there, and what it is told."""

    name: str
    service: ContractService
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """The whole file. `user` is the numeric "uid:gid" of the container. functions: those that serve a service in this
    stack."""

    user: str
    processes: dict[str, Process]
    functions: dict[str, Function] = field(default_factory=dict)

    @property
    def services(self) -> dict[str, ContractService]:
        """Every service of every process, by name."""
        return {service.name: service for process in self.processes.values() for service in process.services}

    @property
    def addresses(self) -> dict[str, ContractService]:
        """Every service by name, whoever serves it: each has a host name."""
        return self.services | {function.service.name: function.service for function in self.functions.values()}

    @property
    def serving(self) -> tuple[Process, ...]:
        """The processes that have a service, and so run all the time."""
        return tuple(process for process in self.processes.values() if process.services)

    @property
    def made_secrets(self) -> tuple[str, ...]:
        """The kinds of secret that our rotation function makes, in the order of the file."""
        kinds = [s.kind for process in self.processes.values() for s in process.secrets if not s.managed]
        return tuple(dict.fromkeys(kinds))


def read(
    path: Path = PATH,
    *,
    apart: Collection[str] = (),
    given: Collection[str] = (),
    brought: Mapping[str, str] = MappingProxyType({}),
) -> Contract:
    """The contract. Raises KeyError when a process names a service that the file does not have.

    apart: the functions that serve their services here; the processes then run without these services, and are told nothing
    that is for them alone. given: the optional variables that the stack sets. brought: those that ECS fills from a secret which
    somebody made, with its ARN.
    """
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    services = {
        name: ContractService(name, service["port"], service["health"], service["ready"])
        for name, service in raw["service"].items()
    }
    told = [*raw["variable"], *(row for row in raw["optional"] if row["name"] in given)]
    injected = [*raw["secret"], *({**row, "managed": OPERATOR} for row in raw["optional"] if row["name"] in brought)]
    gone = {raw["function"][name]["service"] for name in apart}
    functions = {
        name: Function(
            name=name,
            service=services[function["service"]],
            entry_point=tuple(function["entry_point"]),
            command=tuple(function["command"]),
            variables=tuple(v["name"] for v in raw["variable"] if name in v.get("functions", ())),
        )
        for name, function in raw["function"].items()
        if name in apart
    }
    processes = {
        name: Process(
            name=name,
            command=tuple(word for word in process["command"] if word not in gone),
            services=tuple(services[service] for service in process["services"] if service not in gone),
            variables=tuple(v["name"] for v in told if name in v["processes"] and v.get("service") not in gone),
            secrets=tuple(
                Secret(s["name"], s["kind"], s.get("managed", ""), s.get("json_key", ""), brought.get(s["name"], ""))
                for s in injected
                if name in s["processes"]
            ),
        )
        for name, process in raw["process"].items()
    }
    return Contract(raw["image"]["user"], processes, functions)


def settable(path: Path = PATH) -> frozenset[str]:
    """The optional variables that a stack file may name by themselves, for no setting of their own stands behind them."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return frozenset(row["name"] for row in raw["optional"] if "setting" not in row)


def core_process(core: CoreSettings) -> Process:
    """A Core of the stack in the form of a process of the contract. Its image defines the command."""
    return Process(
        name=core.process_name,
        command=(),
        services=(ContractService(core.process_name, core.port, "", ""),),
        variables=("CORE_NAME", "CORE_URL", "GATEHOUSE_GATEWAY_URL"),
        secrets=(Secret("GATEHOUSE_CORE_TOKEN", core.process_name, OPERATOR, ""),),
    )
