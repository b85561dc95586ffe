"""Reads `runtime/contract.toml`: what the container listens on, is started with, and is told."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).parent.parent / "runtime" / "contract.toml"


@dataclass(frozen=True, slots=True)
class Door:
    """One listening address: TCP port, and the paths for liveness and readiness."""

    name: str
    port: int
    health: str
    ready: str


@dataclass(frozen=True, slots=True)
class Secret:
    """An environment variable that ECS fills from Secrets Manager.

    managed: the service that makes and rotates the secret, "" when our rotation function does.
    json_key: the member of the secret's JSON that is injected, "" for the whole secret.
    """

    variable: str
    kind: str
    managed: str
    json_key: str


@dataclass(frozen=True, slots=True)
class Process:
    """One command of the image, the doors it opens, and what it is told."""

    name: str
    command: tuple[str, ...]
    doors: tuple[Door, ...]
    variables: tuple[str, ...]
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """The whole file. `user` is the numeric "uid:gid" of the container."""

    user: str
    processes: dict[str, Process]

    @property
    def doors(self) -> dict[str, Door]:
        """Every door of every process, by name."""
        return {door.name: door for process in self.processes.values() for door in process.doors}

    @property
    def serving(self) -> tuple[Process, ...]:
        """The processes that have a door, and so run all the time."""
        return tuple(process for process in self.processes.values() if process.doors)

    @property
    def made_secrets(self) -> tuple[str, ...]:
        """The kinds of secret that our rotation function makes, in the order of the file."""
        kinds = [s.kind for process in self.processes.values() for s in process.secrets if not s.managed]
        return tuple(dict.fromkeys(kinds))


def read(path: Path = PATH) -> Contract:
    """The contract. Raises KeyError when a process names a door that the file does not have."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    doors = {name: Door(name, door["port"], door["health"], door["ready"]) for name, door in raw["door"].items()}
    processes = {
        name: Process(
            name=name,
            command=tuple(process["command"]),
            doors=tuple(doors[door] for door in process["doors"]),
            variables=tuple(v["name"] for v in raw["variable"] if name in v["processes"]),
            secrets=tuple(
                Secret(s["name"], s["kind"], s.get("managed", ""), s.get("json_key", ""))
                for s in raw["secret"]
                if name in s["processes"]
            ),
        )
        for name, process in raw["process"].items()
    }
    return Contract(raw["image"]["user"], processes)
